"""How many requests and bytes reading takes, over S3 and over HTTP."""

import http.server
import threading
from functools import partial

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.tools import convert
from tensorbundle.writer import BundleWriter, append_bytes

ROWS = np.arange(5_000_000, dtype=np.float32).reshape(1000, 5000)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with tb.create(folder / "model") as writer:
        for number in range(100):
            writer.add(f"layer{number}/kernel", np.full(1000, number, np.float32))
        writer.add("embedding", ROWS)
        writer.add("nothing", np.zeros((0, 3), np.float32))
    convert(folder / "model", folder / "model.safetensors")
    return folder


@pytest.fixture(params=["s3", "http"])
def served(request, files):
    return serve(request, files)


def serve(request, folder):
    """The URL of a folder with the files of another one, and the log of the server."""
    server = request.getfixturevalue(request.param)
    if request.param == "s3":
        server.put(folder, "run/")
        return "s3://bucket/run", server.log
    for path in folder.iterdir():
        (server.folder / path.name).symlink_to(path)
    return server.url, server.log


def asked(log):
    return [each.what.split("?")[0].split("/")[0] for each in log.requests]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The folder of a checkpoint with an index of 2.5 MiB in ten blocks; its tensors have the same 4000 bytes."""
    folder = tmp_path_factory.mktemp("many")
    writer = BundleWriter(str(folder / "model"), shards=1)
    with writer.staging, writer:
        number, file = writer.add_shard()
        with file:
            offset, nbytes, crc = append_bytes(file, [bytes(4000)])
        entry = TensorEntry(DType.named("float32"), (10, 100), nbytes, number, offset, crc)
        for each in range(2500):
            writer.put(f"{each:04}{'k' * 1000}".encode(), entry)
    return folder


@pytest.fixture(params=["s3", "http"])
def served_many(request, many):
    return serve(request, many)


@pytest.fixture(params=["index of 2 MiB", "index of 20 MiB"])
def size_of_index(request, monkeypatch):
    """The same files; what is small is scaled down."""
    if request.param == "index of 20 MiB":
        monkeypatch.setattr("tensorbundle.table._SMALL_BYTES", 100_000)


@pytest.mark.usefixtures("size_of_index")
@pytest.mark.parametrize("command", [["ls"], ["ls", "--long"], ["ls", "24*"], ["info"], ["tree"]])
def test_a_listing_of_many_takes_at_most_three(served_many, many, run, command):
    root, log = served_many
    run(command[0], f"{root}/model", *command[1:])
    of_index = [each for each in log.requests if each.path.endswith("model.index")]
    assert len(of_index) <= 3
    assert sum(each.sent for each in of_index) < (many / "model.index").stat().st_size + 300_000


@pytest.mark.usefixtures("size_of_index")
@pytest.mark.parametrize("number", [0, 1234, 2499])
def test_a_tensor_of_many_takes_one_more(served_many, many, run, number):
    root, log = served_many
    run("show", f"{root}/model", f"{number:04}{'k' * 1000}[3]")
    assert len(log.requests) <= 4
    assert log.requests[-1].sent == 400
    assert log.sent <= (many / "model.index").stat().st_size + 400


def test_a_listing_takes_one_request_and_the_bytes_of_the_index(served, files, run):
    root, log = served
    run("ls", f"{root}/model", "--long")
    assert asked(log) == ["GET "]
    assert log.sent == (files / "model.index").stat().st_size


def test_a_tensor_takes_one_more_and_its_bytes(served):
    root, log = served
    with tb.open(f"{root}/model") as checkpoint:
        log.clear()
        assert checkpoint["layer7/kernel"].tolist() == [7] * 1000
        assert checkpoint["nothing"].shape == (0, 3)
    assert asked(log) == ["GET "]
    assert log.sent == 4000


def test_rows_take_one_more_and_their_bytes(served, run):
    root, log = served
    assert "50000" in run("show", f"{root}/model", "embedding[10:12, :2]").out
    assert asked(log) == ["GET ", "GET "]
    with tb.open(f"{root}/model") as checkpoint:
        log.clear()
        np.testing.assert_array_equal(checkpoint.read("embedding", np.s_[10:12]), ROWS[10:12])
    assert asked(log) == ["GET "]
    assert log.sent == 2 * 20_000


def test_a_large_tensor_comes_in_parts(served):
    root, log = served
    with tb.open(f"{root}/model") as checkpoint:
        log.clear()
        np.testing.assert_array_equal(checkpoint["embedding"], ROWS)
    assert asked(log) == ["GET "] * 3
    assert log.sent == ROWS.nbytes


def test_safetensors_take_two_requests(served, run):
    root, log = served
    run("ls", f"{root}/model.safetensors")
    assert asked(log) == ["HEAD ", "GET "]
    with tb.open(f"{root}/model.safetensors") as checkpoint:
        log.clear()
        assert checkpoint["layer7/kernel"].tolist() == [7] * 1000
    assert asked(log) == ["GET "]


@pytest.mark.parametrize("ending", ["npz", "h5"])
def test_formats_with_a_header_for_each_tensor_take_few_requests(served, ending, tmp_path, request, run):
    root, log = served
    with tb.create(tmp_path / "small") as writer:
        for number in range(100):
            writer.add(f"layer{number}/kernel", np.full(100, number, np.float32))
    name = f"small.{ending}"
    convert(tmp_path / "small", tmp_path / name)
    if root.startswith("s3"):
        s3 = request.getfixturevalue("s3")
        s3.client.put_object(Bucket="bucket", Key=f"run/{name}", Body=(tmp_path / name).read_bytes())
    else:
        (request.getfixturevalue("http").folder / name).symlink_to(tmp_path / name)
    log.clear()
    assert len(run("ls", f"{root}/{name}", "--json").records) >= 100
    assert len(log.requests) <= 4
    with tb.open(f"{root}/{name}") as checkpoint:
        assert checkpoint[next(iter(checkpoint))].size == 100


def test_verify_reads_each_byte_once(served, files, run):
    root, log = served
    run("verify", f"{root}/model")
    name = "model.data-00000-of-00001"
    of_data = [each for each in log.requests if each.path.endswith(name) and each.method == "GET"]
    *parts, head = of_data  # which tells whether the file is something else
    assert len(parts) == 3
    assert sum(each.sent for each in parts) == (files / name).stat().st_size
    assert head.sent == 4096


def test_a_file_that_is_replaced_is_noticed(served, tmp_path, request):
    root, _ = served
    with tb.create(tmp_path / "model") as writer:
        for number in range(100):
            writer.add(f"layer{number}/kernel", np.full(1000, -number, np.float32))
        writer.add("embedding", -ROWS)
    name = "model.data-00000-of-00001"
    with tb.open(f"{root}/model", verify=False) as checkpoint:
        assert checkpoint["layer7/kernel"][0] == 7
        if root.startswith("s3"):
            s3 = request.getfixturevalue("s3")
            s3.client.put_object(Bucket="bucket", Key=f"run/{name}", Body=(tmp_path / name).read_bytes())
        else:
            link = request.getfixturevalue("http").folder / name
            link.unlink()
            link.symlink_to(tmp_path / name)
        with pytest.raises(CorruptionError, match="changed while it was read"):
            checkpoint["layer8/kernel"]


class Whole(http.server.SimpleHTTPRequestHandler):
    """Python's own server, which knows no ranges."""

    def log_message(self, *_):
        pass


def test_a_server_without_ranges_is_refused(files):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Whole, directory=files))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(UnsupportedError, match="ignores byte ranges"):
            tb.open(f"http://127.0.0.1:{server.server_port}/model")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
