"""Going on after a run that was killed: what is complete and right is used, the rest is written again."""

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import BundleError, ConflictError
from tensorbundle.tools import extract
from tensorbundle.tools.rewriting.options import TransferOptions

SHARDS = 4
NEW = "s3://bucket/new/model"
RESUME = TransferOptions(resume=True)


@pytest.fixture
def source(tmp_path):
    with tb.create(tmp_path / "model") as writer:
        for number in range(SHARDS):
            if number:
                writer.start_shard()
            writer.add(f"t{number}", np.full(3000, number, np.float32))
            writer.add(f"s{number}", [b"text", b"of", str(number).encode()])
    return tmp_path / "model"


@pytest.fixture
def killed(s3, source):
    """A run that is killed before its last shard, as far as that can be done in this process: nothing is deleted."""
    s3.log.fault = lambda _, request: (
        "403" if request.path.endswith("00003-of-00004") and request.method == "PUT" else None
    )
    with pytest.raises(BundleError, match="no permission"):
        extract(source, NEW, "*", options=RESUME)
    s3.log.clear()
    assert len(s3.objects()) == SHARDS - 1
    return s3


def written(s3):
    return sorted(each.path.rpartition("/")[2] for each in s3.log.requests if each.method in ("PUT", "POST"))


def test_only_what_is_missing_is_written(killed, source):
    extract(source, NEW, "*", options=RESUME)
    assert written(killed) == ["model.data-00003-of-00004", "model.index"]
    for path in source.parent.iterdir():
        assert killed.content(f"new/{path.name}") == path.read_bytes()


def test_what_is_not_right_is_written_again(killed, source):
    name = "model.data-00001-of-00004"
    data = bytearray(killed.content(f"new/{name}"))
    data[100] ^= 1
    killed.client.put_object(Bucket="bucket", Key=f"new/{name}", Body=bytes(data))
    killed.log.clear()
    extract(source, NEW, "*", options=RESUME)
    assert written(killed) == [name, "model.data-00003-of-00004", "model.index"]
    assert killed.content(f"new/{name}") == (source.parent / name).read_bytes()


def test_without_the_option_it_is_in_the_way(killed, source):
    with pytest.raises(ConflictError, match="--resume"):
        extract(source, NEW, "*")
    assert len(killed.objects()) == SHARDS - 1


def test_on_the_command_line(killed, source, run):
    run("extract", source, NEW, "*", "--resume")
    assert "model.index" in written(killed)


def test_an_overwriting_run_is_resumed(s3, source):
    extract(source, NEW, "*")
    s3.log.fault = lambda _, request: (
        "403" if request.path.endswith(".index") and request.method == "PUT" else None
    )
    again = TransferOptions(overwrite=True, resume=True)
    with pytest.raises(BundleError, match="no permission"):
        extract(source, NEW, "t*", options=again)
    s3.log.clear()
    extract(source, NEW, "t*", options=again)
    assert written(s3) == ["model.data-00004-of-00005", "model.index"]  # the first one is empty
    with tb.open(NEW) as checkpoint:
        assert list(checkpoint) == [f"t{number}" for number in range(SHARDS)]
        assert checkpoint["t2"][0] == 2
    assert len(s3.objects()) == 6  # one empty shard more, so that names differ, and the index
