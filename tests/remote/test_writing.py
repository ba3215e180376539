"""Checkpoints written to S3: which requests appear when, and what is left of writers that fail."""

import contextlib

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import ConflictError, UnreadableFileError
from tensorbundle.tools import convert
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.writer import BundleWriter, append_bytes

pytestmark = pytest.mark.usefixtures("small_parts")
BIG = np.arange(2500, dtype=np.float32)  # three parts
COPY = TransferOptions(data="copy")


def write(prefix, big=BIG, **more):
    with tb.create(prefix, **more) as writer:
        writer.add("big", big)
        writer.add("b", 3)


@pytest.fixture
def local(tmp_path):
    write(tmp_path / "model")
    return tmp_path / "model"


def test_the_index_comes_last_in_one_request(s3, local):
    convert(local, "s3://bucket/run/model", to="tf2", options=COPY)
    writing = [each for each in s3.log.requests if each.method in ("PUT", "POST", "DELETE")]
    assert [each.method for each in writing] == ["POST", "PUT", "PUT", "PUT", "POST", "PUT"]
    assert writing[-1].path == "/bucket/run/model.index"
    assert s3.uploads() == []


def test_from_anywhere_to_anywhere_the_bytes_are_the_same(s3, local, tmp_path):
    convert(local, tmp_path / "new", to="tf2", options=COPY)
    convert(local, "s3://bucket/one/new", to="tf2", options=COPY)
    convert("s3://bucket/one/new", "s3://bucket/two/new", to="tf1", options=COPY)
    convert("s3://bucket/two/new", tmp_path / "back", to="tf2", options=COPY)
    for path in tmp_path.glob("new.*"):
        assert s3.content(f"one/{path.name}") == path.read_bytes()
        assert (tmp_path / path.name.replace("new", "back")).read_bytes() == path.read_bytes()


def interrupted():
    with tb.create("s3://bucket/run/model", shards=2) as writer:
        writer.add("big", BIG)
        writer.start_shard()
        writer.add("more", BIG)
        raise KeyboardInterrupt


def test_a_writer_that_fails_leaves_neither_files_nor_parts(s3):
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert s3.objects() == {}
    assert s3.uploads() == []


@pytest.mark.parametrize("fails", [False, True])
def test_uploads_that_nobody_knows_of_are_deleted(s3, local, fails):
    """Those of the files that were written, as machines leave that die; nobody else's."""
    for name in ("model.data-00000-of-00001", "model.data-00000-of-00002", "model.index", "other.index"):
        s3.client.create_multipart_upload(Bucket="bucket", Key=f"run/{name}")
    if fails:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    else:
        convert(local, "s3://bucket/run/model", to="tf2", options=COPY)
    left = sorted(each["Key"].removeprefix("run/") for each in s3.uploads())
    others = ["model.data-00000-of-00001", "model.index"] if fails else ["model.data-00000-of-00002"]
    assert left == [*others, "other.index"]


@pytest.mark.parametrize("refused", ["GET", "DELETE"])
@pytest.mark.usefixtures("no_pauses")
def test_what_can_not_be_deleted_is_left_to_clean(s3, run, refused):
    """A server that does not answer is asked about one file, not about each."""
    tries = []

    def fault(_, request):
        if request.method == refused and (refused == "DELETE" or "uploads" in request.query):
            tries.append(request.path)
            return "500"
        return "403" if request.method == "PUT" and request.path.endswith("-00001-of-00003") else None

    with tb.create("s3://bucket/run/old") as writer:
        writer.add("b", 3)
    s3.log.fault = fault
    with pytest.raises(UnreadableFileError):
        write("s3://bucket/run/model", shards=3)
    assert len(set(tries)) == 1
    s3.log.clear()
    run("manage", "s3://bucket/run", "clean")
    assert sorted(s3.objects()) == ["run/old.data-00000-of-00001", "run/old.index"]


def test_an_overwritten_checkpoint_can_be_read_until_the_index_is_replaced(s3):
    write("s3://bucket/run/model")
    with tb.create("s3://bucket/run/model", overwrite=True) as writer:
        writer.add("big", -BIG)
        with tb.open("s3://bucket/run/model") as old:
            np.testing.assert_array_equal(old["big"], BIG)
    with tb.open("s3://bucket/run/model") as new:
        np.testing.assert_array_equal(new["big"], -BIG)
    assert sorted(s3.objects()) == [
        *(f"run/model.data-0000{number}-of-00002" for number in (0, 1)),
        "run/model.index",
    ]


def test_of_two_writers_at_once_the_first_wins(s3):
    def second():
        with tb.create("s3://bucket/run/model") as writer:
            writer.add("big", -BIG)
            write("s3://bucket/run/model")

    with pytest.raises(ConflictError):
        second()
    with tb.open("s3://bucket/run/model") as checkpoint:
        np.testing.assert_array_equal(checkpoint["big"], BIG)
    assert s3.uploads() == []


def test_of_two_overwriting_writers_the_last_index_wins(s3, run):
    """And what the other one wrote belongs to no index."""
    write("s3://bucket/run/model")
    with tb.create("s3://bucket/run/model", overwrite=True, shards=3) as writer:
        writer.add("big", -BIG)
        write("s3://bucket/run/model", 2 * BIG, overwrite=True)
        with tb.open("s3://bucket/run/model") as checkpoint:
            np.testing.assert_array_equal(checkpoint["big"], 2 * BIG)
    with tb.open("s3://bucket/run/model") as checkpoint:
        np.testing.assert_array_equal(checkpoint["big"], -BIG)
    run("manage", "s3://bucket/run", "clean")
    shards = [f"run/model.data-0000{number}-of-00003" for number in range(3)]
    assert sorted(s3.objects()) == [*shards, "run/model.index"]
    assert run("verify", "s3://bucket/run/model").out.endswith("no problems\n")


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_one_file_replaces_another_at_once(s3, local, ending):
    convert(local, f"s3://bucket/run/new.{ending}")
    with pytest.raises(ConflictError):
        convert(local, f"s3://bucket/run/new.{ending}")
    convert(local, f"s3://bucket/run/new.{ending}", options=TransferOptions(overwrite=True))
    assert list(s3.objects()) == [f"run/new.{ending}"]
    with tb.open(f"s3://bucket/run/new.{ending}") as checkpoint:
        np.testing.assert_array_equal(checkpoint["big"], BIG)


def test_files_that_wait_for_the_others_are_not_in_memory(s3, local):
    """Of a set of files, each is sent as soon as it is complete, and all appear at the end."""
    seen = []

    def look(number, request):
        if "partNumber" not in request.query and request.method in ("PUT", "POST"):
            seen.append((request.path.rpartition("/")[2], "uploads" in request.query.split("&")))

    with tb.create(local.parent / "several") as writer:
        for number in range(3):
            writer.add(f"t{number}", np.full(5_000, number, np.float32))
    options = TransferOptions(max_shard_bytes=21_000)
    s3.log.fault = look
    convert(local.parent / "several", "s3://bucket/run/new.safetensors", options=options)
    files = [f"new-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert seen == [
        *((name, True) for name in files),
        *((name, False) for name in files),
        ("new.safetensors.index.json", False),
    ]


def test_a_bucket_that_does_not_exist(s3, run, local):
    assert run.error("ls", "s3://nowhere/run/model") == (
        "s3://nowhere/run/model.index: no such bucket; its name is the first part of the URL"
    )
    assert "no such bucket" in run.error("convert", local, "s3://nowhere/run/model", "--to", "tf2")


def test_options_on_the_command_line(s3_server, run, local):
    s3_server.put(local.parent, "run/")
    options = [
        "--storage-option=key=test",
        "--storage-option=s3.secret=test",
        f"--storage-option=endpoint_url={s3_server.endpoint}",
    ]
    assert "big" in run("ls", "s3://bucket/run/model", *options).out
    s3_server.empty()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("folder", ["s3://bucket/run", "memory://two"])
def test_a_writer_that_fails_deletes_nothing_of_another_one(s3, folder, sign):
    """Both begin before a file is there; one has put its data shards there when the other one fails, with the same bytes or others."""
    place = f"{folder}/model{sign}"

    def failing():
        with BundleWriter(place, shards=2) as writer:
            files = [writer.add_shard()[1] for _ in range(2)]
            yield
            for file in files:
                append_bytes(file, [sign * BIG])
                with contextlib.suppress(ConflictError):
                    file.close()
            raise KeyboardInterrupt

    other = failing()
    next(other)
    with BundleWriter(place, shards=2) as writer:
        for number in range(2):
            _, file = writer.add_shard()
            offset, size, crc = append_bytes(file, [BIG])
            file.close()
            writer.put(
                b"t%d" % number, TensorEntry(DType.named("float32"), BIG.shape, size, number, offset, crc)
            )
        with pytest.raises(KeyboardInterrupt):
            next(other)
    with tb.open(place) as checkpoint:
        for key in ("t0", "t1"):
            np.testing.assert_array_equal(checkpoint[key], BIG)
