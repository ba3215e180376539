"""How many requests and bytes reading takes, over S3 and over HTTP."""

import http.server
import threading
from functools import partial

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import CorruptionError, UnsupportedError
from tensorbundle.tools import convert

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
    """The URL of a folder with the files, and the log of the server."""
    server = request.getfixturevalue(request.param)
    if request.param == "s3":
        server.put(files, "run/")
        return "s3://bucket/run", server.log
    for path in files.iterdir():
        (server.folder / path.name).symlink_to(path)
    return server.url, server.log


def asked(log):
    return [each.what.split("?")[0].split("/")[0] for each in log.requests]


def test_a_listing_takes_two_requests_and_the_bytes_of_the_index(served, files, run):
    root, log = served
    run("ls", f"{root}/model", "--long")
    assert asked(log) == ["HEAD ", "GET "]
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
    assert asked(log) == ["HEAD ", "GET ", "GET "]
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
    assert len(log.requests) == 4  # one for its size, as more than 8 MiB are wanted
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
    assert len(parts) == 4
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
