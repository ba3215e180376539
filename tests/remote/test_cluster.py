"""Shards written by the workers of a Dask cluster on this machine, one of which is killed in the middle."""

import os
import re
import shlex
import signal
import threading
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.tools import cast, extract
from tensorbundle.tools.rewriting.cluster import cluster
from tensorbundle.tools.rewriting.options import TransferOptions

ROOT = Path(__file__).resolve().parents[2]
SHARDS = 6


@pytest.fixture(scope="module")
def workers(libraries):
    """The address of a scheduler with two workers in processes of their own."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as found:
        yield found


@pytest.fixture
def source(tmp_path):
    with tb.create(tmp_path / "model") as writer:
        for number in range(SHARDS):
            if number:
                writer.start_shard()
            writer.add(f"t{number}", np.full(30_000, number, np.float32))
            writer.add(f"s{number}", [b"text", str(number).encode()])
    return tmp_path / "model"


@pytest.fixture
def remote(s3, source):
    s3.put(source.parent, "run/")
    return "s3://bucket/run/model"


def test_the_same_bytes_as_from_one_machine(s3, remote, source, tmp_path, workers, run):
    cast(source, tmp_path / "model16", {"t*": "bfloat16"}, options=TransferOptions(data="copy"))
    run("cast", remote, "s3://bucket/new/model16", "t*=bfloat16", "--scheduler", workers.scheduler_address)
    for path in tmp_path.glob("model16.*"):
        assert s3.content(f"new/{path.name}") == path.read_bytes()


def test_the_commands_of_the_page(s3, workers, run, tmp_path, monkeypatch):
    """And its Python code, with the address of this scheduler."""
    monkeypatch.chdir(tmp_path)
    with tb.create("s3://bucket/run/model") as writer:
        for name in ("embedding", "embedding/Adam", "embedding/Adam_1"):
            writer.add(name, np.arange(200, dtype=np.float32).reshape(20, 10))
    for step in (1000, 2000):
        extract("s3://bucket/run/model", f"s3://bucket/run/model.ckpt-{step}", "*")
    page = (ROOT / "docs" / "remote.md").read_text(encoding="utf-8")
    lines = re.findall(r"^tensorbundle .*$", page, re.MULTILINE)
    assert [line.split()[1] for line in lines] == ["ls", "show", "slim", "convert", "diff", "cast"]
    for line in lines:
        run(*shlex.split(line.replace("tcp://10.0.0.1:8786", workers.scheduler_address))[1:])
    with tb.open("s3://bucket/small/model") as checkpoint:
        assert checkpoint["embedding"].dtype == "bfloat16"
    [code] = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    exec(compile(code.replace('{"anon": True}', "{}"), "remote.md", "exec"), {})


def test_tasks_have_no_bytes_and_are_one_for_each_shard(s3, remote, workers):
    import pickle

    sizes = []
    with cluster(workers.scheduler_address) as executor:

        class Counting:
            def submit(self, do, item):
                sizes.append(len(pickle.dumps(item)))
                return executor.submit(do, item)

        options = TransferOptions(executor=Counting())
        extract(remote, "s3://bucket/new/model", "*", options=options)
    assert len(sizes) == SHARDS
    assert max(sizes) < 4000


def killing_a_worker(workers, methods):
    """A fault that kills a worker when a request about one of the data shards comes, and the event of that."""
    from distributed import Client

    killed = threading.Event()
    with Client(workers.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2)  # one may have been killed by the test before
        pid = next(iter(client.run(os.getpid).values()))

    def kill(_, request):
        if request.method in methods and "00003-of-00006" in request.path and not killed.is_set():
            killed.set()
            os.kill(pid, signal.SIGKILL)

    return kill, killed


def test_a_worker_that_is_killed_in_the_middle(s3, remote, source, workers):
    """Its task runs again on another one, and what it left half-written is in nobody's way, and is deleted."""
    s3.log.fault, killed = killing_a_worker(workers, ("PUT", "POST"))
    with cluster(workers.scheduler_address) as executor:
        extract(remote, "s3://bucket/new/model", "*", options=TransferOptions(executor=executor))
    assert killed.is_set()
    for path in source.parent.glob("model.*"):
        assert s3.content(f"new/{path.name}") == path.read_bytes()
    assert s3.uploads() == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["hash", "diff"])
def test_a_worker_that_is_killed_while_it_reads(s3, remote, workers, run, command):
    arguments, status = [command, remote], 0
    if command == "diff":
        with tb.create("s3://bucket/run/other") as writer:
            for number in range(SHARDS):
                writer.add(f"t{number}", np.full(30_000, number + 0.5, np.float32))
                writer.add(f"s{number}", [b"text", b"other"])
        arguments, status = [*arguments, "s3://bucket/run/other", "--values"], 1
    alone = run(*arguments, status=status).out
    s3.log.fault, killed = killing_a_worker(workers, ("GET",))
    assert run(*arguments, "--scheduler", workers.scheduler_address, status=status).out == alone
    assert killed.is_set()


def test_a_pool_of_processes_writes_the_same_bytes(source):
    from concurrent.futures import ProcessPoolExecutor

    cast(source, source.parent / "one", {"t*": "bfloat16"}, options=TransferOptions(data="copy"))
    with ProcessPoolExecutor(2) as executor:
        options = TransferOptions(data="copy", executor=executor)
        cast(source, source.parent / "two", {"t*": "bfloat16"}, options=options)
    for path in source.parent.glob("one.*"):
        assert path.with_name(path.name.replace("one", "two")).read_bytes() == path.read_bytes()


def test_one_large_tensor_is_cut_over_tasks(s3, tmp_path, workers, monkeypatch):
    monkeypatch.setattr("tensorbundle.tools.rewriting.multipart.RANGE_BYTES", 40_000)
    monkeypatch.setattr("tensorbundle.storage.remote.part_bytes", lambda _: 8_000)
    with tb.create(tmp_path / "model") as writer:
        writer.add("a", np.arange(100, dtype=np.int32))
        writer.add("large", np.arange(60_000, dtype=np.float32))
        writer.add("z", np.arange(7, dtype=np.float64))
    s3.put(tmp_path, "run/")
    lost = []

    def lose(_, request):
        """The answer to the request that completes the upload."""
        if request.method == "POST" and "uploadId" in request.query and not lost:
            lost.append(request)
            return "lost"
        return None

    s3.log.fault = lose
    with cluster(workers.scheduler_address) as executor:
        options = TransferOptions(executor=executor)
        extract("s3://bucket/run/model", "s3://bucket/new/model", "*", options=options)
        assert lost
        numbers = [each.query for each in s3.log.requests if "partNumber" in each.query]
        assert len(numbers) == 31
        for path in tmp_path.glob("model.*"):
            assert s3.content(f"new/{path.name}") == path.read_bytes()
        key = "run/model.data-00000-of-00001"
        data = bytearray(s3.content(key))
        data[100_000] ^= 1
        s3.client.put_object(Bucket="bucket", Key=key, Body=bytes(data))
        with pytest.raises(CorruptionError, match="crc32c") as caught:
            extract("s3://bucket/run/model", "s3://bucket/bad/model", "*", options=options)
    assert caught.value.key == "large"
    assert not [each for each in s3.objects() if each.startswith("bad/")]
    assert s3.uploads() == []


def test_reading_on_a_cluster_finds_the_same(s3, remote, workers, run, tmp_path):
    with tb.create("s3://bucket/run/other") as writer:
        for number in range(SHARDS):
            writer.add(f"t{number}", np.full(30_000, number + (number == 2), np.float32))
    for command in (
        ("stats", remote),
        ("hash", remote),
        ("verify", remote),
        ("diff", remote, "s3://bucket/run/other", "--values"),
    ):
        status = int(command[0] == "diff")
        alone = run(*command, status=status)
        s3.log.clear()
        together = run(*command, "--scheduler", workers.scheduler_address, status=status)
        assert together.out == alone.out
        assert len(s3.log.requests) > SHARDS


def test_an_error_of_a_worker_is_ours(s3, remote, workers):
    key = "run/model.data-00002-of-00006"
    data = bytearray(s3.content(key))
    data[50] ^= 1
    s3.client.put_object(Bucket="bucket", Key=key, Body=bytes(data))
    with (
        cluster(workers.scheduler_address) as executor,
        pytest.raises(CorruptionError, match="crc32c") as caught,
    ):
        extract(remote, "s3://bucket/new/model", "*", options=TransferOptions(executor=executor))
    assert caught.value.key == "t2"
    assert not [each for each in s3.objects() if each.startswith("new/")]


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        (
            ["cast"],
            "s3://bucket/new",
            "6 data shards of up to 58.6 KiB, one task for each, as values are computed",
        ),
        (["drop", "s*"], "s3://bucket/new", None),
        (
            ["drop", "t0"],
            "s3://bucket/new",
            "5 data shards of up to 117.2 KiB, one task for each, as strings are checked",
        ),
        (
            ["drop", "s*", "--resume"],
            "s3://bucket/new",
            "as --resume (resume=True) works on whole data shards",
        ),
        (["drop", "s*", "--data=copy"], "new", "only S3 takes the parts of a file from several machines"),
        (["convert"], "new.safetensors", "workers write data shards; this machine writes safetensors files"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_what_workers_leave_to_one_is_said(source, run, monkeypatch, command, name, said):
    monkeypatch.setattr("tensorbundle.tools.rewriting.multipart.RANGE_BYTES", 20_000)
    destination = name if "://" in name else source.parent / name
    more = ["t*=bfloat16"] if command == ["cast"] else ["--allow-unused"]
    found = run(
        command[0], source, destination, *command[1:], *more, "--dry-run", "--scheduler=tcp://x:1"
    ).err
    assert (said in found) if said else ("--scheduler" not in found), found


def test_no_scheduler(run, source):
    import tensorbundle.tools.rewriting.cluster as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CONNECT_SECONDS", 0.2)
        message = run.error("extract", source, source.parent / "new", "*", "--scheduler", "tcp://127.0.0.1:9")
    assert message.startswith("tcp://127.0.0.1:9: no scheduler answers")


def test_a_pool_of_processes_that_breaks(source):
    from concurrent.futures import ProcessPoolExecutor

    class Broken(ProcessPoolExecutor):
        def submit(self, do, item):
            return super().submit(os._exit, 1)

    with Broken(1) as executor, pytest.raises(BundleError, match="processes that do the work failed"):
        extract(source, source.parent / "new", "t*", options=TransferOptions(data="copy", executor=executor))
    assert not list(source.parent.glob("new*"))


def connection_of_dask():
    from distributed.comm.core import CommClosedError

    return CommClosedError("in <TCP (closed) ConnectionPool.gather>: Stream is closed")


@pytest.mark.parametrize(
    "error",
    [
        lambda: RuntimeError("task-1 cancelled for reason: scheduler-connection-lost.\\nClient lost it"),
        connection_of_dask,
    ],
)
def test_a_scheduler_that_is_lost(source, error):
    class Lost(Executor):
        def submit(self, *_):
            future = Future()
            future.set_exception(error())
            return future

    with pytest.raises(
        BundleError, match=r"scheduler was lost; .* run the same command again; .* with --resume"
    ):
        extract(source, source.parent / "new", "t*", options=TransferOptions(data="copy", executor=Lost()))
    assert not list(source.parent.glob("new*"))
