"""Fixtures of the tests of commands and operations."""

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
