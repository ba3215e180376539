"""Fixtures of the tests of commands and operations."""

import os

import pytest

from support.cli import V215, Runner


@pytest.fixture
def run(capsys):
    """Calls a command in this process; see `Runner`."""
    return Runner(capsys)


@pytest.fixture
def in_golden(monkeypatch):
    """Makes the folder of golden checkpoints the working directory, so that messages have short paths."""
    monkeypatch.chdir(V215)


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_disks():
    """Files are not flushed: that shows after a power failure only, and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield
