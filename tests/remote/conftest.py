"""Servers on this machine. Where the libraries of the [remote-tests] extra are missing, tests of this folder are skipped.

With TENSORBUNDLE_REQUIRE_REMOTE=1, as in `.ci/run`, they fail then.
"""

import importlib.util
import logging
import os
from pathlib import Path

import pytest

from support.cli import Runner
from support.remote_servers import HttpServer, S3Server
from tensorbundle.storage.settings import storage_options

HERE = Path(__file__).parent
REQUIRED = os.environ.get("TENSORBUNDLE_REQUIRE_REMOTE") == "1"
NEEDED = ("fsspec", "s3fs", "moto", "aiohttp", "distributed")


def pytest_collection_modifyitems(items):
    here = f"{HERE}{os.sep}"
    for item in items:  # of all folders
        if str(item.path).startswith(here):
            # The libraries leave connections to the garbage collector, and use what newer ones deprecate.
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.xdist_group("remote"))


@pytest.fixture(scope="session", autouse=True)
def libraries():
    missing = [each for each in NEEDED if importlib.util.find_spec(each) is None]
    if missing:
        reason = f"needs the [remote-tests] extra: {', '.join(missing)}"
        pytest.fail(reason) if REQUIRED else pytest.skip(reason)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def s3_server(libraries):
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server):
    """S3 with an empty bucket `bucket`, which URLs mean while the test runs."""
    with storage_options(s3_server.options):
        yield s3_server
    s3_server.log.clear()
    s3_server.empty()


@pytest.fixture
def http(libraries, tmp_path):
    """HTTP with the files of a folder, `http.folder`."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = HttpServer(folder)
    yield server
    server.close()


@pytest.fixture
def small_parts(monkeypatch):
    """Files of a few kilobytes have several parts."""
    monkeypatch.setattr("tensorbundle.storage.spans.cut.__defaults__", (4000,))
    monkeypatch.setattr("tensorbundle.storage.uploads.part_bytes", lambda _: 4000)


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr("tensorbundle.storage.faults.time.sleep", lambda _: None)


@pytest.fixture
def run(capsys):
    """Calls a command in this process; see `Runner`."""
    return Runner(capsys)
