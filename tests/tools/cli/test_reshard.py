"""`tensorbundle reshard`."""

import resource

import numpy as np
import pytest

from support.commands import check_refusal, check_writing
from support.rewriting import data_files, write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.zeros(100), "b": np.zeros(100), "c": np.zeros(50)})


@pytest.mark.parametrize(
    ("arguments", "shards"),
    [
        (["--shards", "4"], 4),
        (["--max-shard-size", "1kB"], 3),
        (["--max-shard-size", "1.6KB"], 2),
        (["--max-shard-size", "400", "--cut"], 5),
    ],
    ids=str,
)
def test_shards(run, tmp_path, source, arguments, shards):
    assert check_writing(run, tmp_path, "reshard", [source], *arguments)["bytes_shared"] == 0
    assert len(data_files(tmp_path / "copied")) == shards


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-shard-size", "big"], "'big' is not a size such as 2GB or 512MiB"),
        (["--shards", "-1"], "SOURCE: reshard takes a number of shards or a size, at least 1"),
        (["--shards", "0"], "SOURCE: reshard takes a number of shards or a size, at least 1"),
    ],
    ids=str,
)
def test_errors(run, tmp_path, source, arguments, message):
    found = check_refusal(run, tmp_path, "reshard", source, tmp_path / "out", *arguments)
    assert found == message.replace("SOURCE", source)


@pytest.mark.parametrize("arguments", [[], ["--shards", "1", "--max-shard-size", "1"]])
def test_usage(run, source, arguments):
    with pytest.raises(SystemExit) as caught:
        run("reshard", source, "out", *arguments)
    assert caught.value.code == 2


def test_more_shards_than_files_may_be_open(tmp_path, source, run):
    """Data shards that wait for their turn need no descriptor."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        run("reshard", source, tmp_path / "out", "--shards", "400")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
