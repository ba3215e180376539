"""Servers and networks that fail, at every request of a run: the run is as if they had not, or says what happened."""

import random
import re
import threading

import numpy as np
import pytest

import tensorbundle as tb
from support.depth import sample
from support.remote_servers import FAULTS
from tensorbundle.errors import BundleError
from tensorbundle.storage import faults
from tensorbundle.storage.remote import RemoteStore
from tensorbundle.storage.settings import storage_options
from tensorbundle.tools import convert
from tensorbundle.tools.rewriting.options import TransferOptions

SOON = {"http": {"client_kwargs": {"timeout": 0.3}}}  # when a server is silent
BIG = np.arange(2500, dtype=np.float32)  # three parts


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("source") / "model"
    with tb.create(prefix) as writer:
        writer.add("big", BIG)
        writer.add("b", 3)
    return prefix


def rewritten(log, source, destination):
    """What was asked, one by one, to make a checkpoint of another."""
    log.clear()
    convert(source, destination, to="tf2", options=TransferOptions(data="copy"))
    return [each.what for each in log.requests]


@pytest.mark.usefixtures("no_pauses", "small_parts")
@pytest.mark.parametrize("fault", [each for each in FAULTS if each not in ("hang", "stall")])
def test_each_request_to_s3_may_fail_once(s3, source, fault):
    s3.put(source.parent, "run/")
    count = len(rewritten(s3.log, "s3://bucket/run/model", "s3://bucket/new/model"))
    expected = {key: s3.content(key) for key in s3.objects()}
    for number in sample(range(count), 5):
        for key in expected:
            if key.startswith("new/"):
                s3.client.delete_object(Bucket="bucket", Key=key)
        s3.log.clear()
        s3.log.fault = lambda at, _, number=number: fault if at == number else None
        convert("s3://bucket/run/model", "s3://bucket/new/model", to="tf2")
        s3.log.fault = None
        assert {key: s3.content(key) for key in s3.objects()} == expected, number
        assert s3.uploads() == []


@pytest.mark.usefixtures("no_pauses", "small_parts")
def test_answers_to_requests_that_were_carried_out_may_be_lost(s3, source):
    """Also the one that completes an upload, and the one that puts the index there."""
    s3.put(source.parent, "run/")
    count = len(rewritten(s3.log, "s3://bucket/run/model", "s3://bucket/new/model"))
    expected = {key: s3.content(key) for key in s3.objects()}
    for number in sample(range(count), 5):
        for key in expected:
            if key.startswith("new/"):
                s3.client.delete_object(Bucket="bucket", Key=key)
        s3.log.clear()
        s3.log.fault = lambda at, request, number=number: "lost" if at == number else None
        convert("s3://bucket/run/model", "s3://bucket/new/model", to="tf2")
        s3.log.fault = None
        assert {key: s3.content(key) for key in s3.objects()} == expected, number
        assert s3.uploads() == []


@pytest.mark.usefixtures("no_pauses", "small_parts")
@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_s3_may_fall_silent_once(s3, source, fault):
    """Also after it did what it was asked for, and in the middle of its answer."""
    s3.put(source.parent, "run/")
    count = len(rewritten(s3.log, "s3://bucket/run/model", "s3://bucket/new/model"))
    expected = {key: s3.content(key) for key in s3.objects()}
    soon = {**s3.options["s3"]["config_kwargs"], "read_timeout": 0.2}
    with storage_options({"s3": {**s3.options["s3"], "config_kwargs": soon}}):
        first = random.randrange(7)  # so that in the long run each request has been the one
        for number in sample(range(count), 2) if fault == "hang" else range(first, count, 7):
            for key in expected:
                if key.startswith("new/"):
                    s3.client.delete_object(Bucket="bucket", Key=key)
            s3.log.clear()
            s3.log.fault = lambda at, _, number=number: fault if at == number else None
            convert("s3://bucket/run/model", "s3://bucket/new/model", to="tf2")
            s3.log.clear()
            assert {key: s3.content(key) for key in s3.objects()} == expected, number
            assert s3.uploads() == []


@pytest.mark.usefixtures("no_pauses")
def test_s3_may_stop_to_receive_in_the_middle_of_a_part(s3, monkeypatch):
    """Which no time-out of the library ends: those begin when a request has been sent."""
    assert not RemoteStore().exists("s3://bucket/run/file")  # the library is ready
    s3.log.clear()
    monkeypatch.setattr("tensorbundle.storage.s3._SECONDS", 0.5)
    monkeypatch.setattr("tensorbundle.storage.s3._SLOWEST", 1e9)

    def stop(number, _):
        monkeypatch.setattr("tensorbundle.storage.s3._SECONDS", 60)
        return None if number else "hang"

    s3.log.fault = stop
    with RemoteStore().writer("s3://bucket/run/file") as file:
        file.write(bytes(8_000_000))  # more than the buffers of a connection
    assert len(s3.log.requests) >= 2
    assert s3.objects() == {"run/file": 8_000_000}


@pytest.mark.usefixtures("small_parts")
def test_a_writer_that_is_interrupted_waits_for_no_silent_server(s3):
    """And what it began is deleted."""
    released, waited = threading.Event(), []

    def silent(_, request):
        if "partNumber" in request.query:
            waited.append(released.wait(30))

    def interrupted():
        with tb.create("s3://bucket/run/model") as writer:
            s3.log.fault = silent
            writer.add("big", BIG)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    released.set()
    s3.log.fault = None
    assert False not in waited
    assert s3.uploads() == []
    assert s3.objects() == {}


@pytest.mark.usefixtures("no_pauses", "small_parts")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ending", ["", ".safetensors"])
def test_each_request_over_http_may_fail_once(http, source, tmp_path, fault, ending):
    folder = source.parent
    if ending:
        convert(source, tmp_path / f"model{ending}")
        folder = tmp_path
    for path in folder.glob("model*"):
        (http.folder / path.name).symlink_to(path)
    url = f"{http.url}/model{ending}"
    count = len(rewritten(http.log, url, tmp_path / "new"))
    expected = contents(tmp_path, "new")
    assert count >= 5
    with storage_options(SOON):
        for number in range(count):
            http.log.clear()
            http.log.fault = lambda at, _, number=number: fault if at == number else None
            convert(url, tmp_path / f"new{number}", to="tf2", options=TransferOptions(data="copy"))
            assert contents(tmp_path, f"new{number}") == expected
            no_body = http.log.requests[number].method == "HEAD"
            assert len(http.log.requests) > count or (fault in ("short", "stall") and no_body)


def contents(folder, name):
    return {path.name.partition(".")[2]: path.read_bytes() for path in folder.glob(f"{name}.*")}


@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_never_answers_is_an_error(http, run):
    http.log.fault = lambda *_: "hang"
    option = '--storage-option=http.client_kwargs={"timeout": 0.02}'
    assert "after 6 attempts" in run.error("ls", f"{http.url}/model", option)
    assert len(http.log.requests) == 6


@pytest.mark.usefixtures("no_pauses", "small_parts")
def test_a_server_that_stays_broken_is_an_error_and_leaves_nothing(s3, source):
    count = len(rewritten(s3.log, source, "s3://bucket/new/model"))
    # Of the last two, the index and a list of uploads that nobody needs, either may be the first.
    for number in sample(range(count - 1), 5):
        for key in list(s3.objects()):
            s3.client.delete_object(Bucket="bucket", Key=key)
        s3.log.clear()
        s3.log.fault = lambda at, request, number=number: (
            "500" if at >= number and request.method != "DELETE" else None
        )
        with pytest.raises(BundleError, match="after 6 attempts"):
            convert(source, "s3://bucket/new/model", to="tf2")
        s3.log.fault = None
        assert s3.objects() == {}, number
        assert s3.uploads() == []


@pytest.mark.parametrize(
    ("status", "said"),
    [("403", "no permission"), ("401", "not accepted"), ("404", "no such file|no checkpoint|no such dir")],
)
def test_refusals_say_what_to_do(http, run, status, said):
    http.log.fault = lambda *_: status
    message = run.error("ls", f"{http.url}/model")
    assert re.search(said, message), message


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("403", "no permission.*; ask for it"),
        ("400 ExpiredToken", "the credentials have expired; get new ones"),
        ("403 InvalidAccessKeyId", "the credentials are not accepted.*; configure them"),
        ("404 NoSuchBucket", "no such bucket; its name is the first part of the URL"),
    ],
)
def test_what_s3_refuses_says_what_to_do(s3, run, source, fault, said):
    s3.log.fault = lambda *_: fault
    for command in (["ls", "s3://bucket/run/model"], ["extract", source, "s3://bucket/run/model", "*"]):
        message = run.error(*command)
        assert re.search(f"^s3://bucket/run.*: {said}", message), message


@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_is_not_there(run, monkeypatch):
    """An address that nobody has answered at is wrong; after an answer, somebody restarts the server."""
    monkeypatch.setattr("tensorbundle.storage.faults._answered", threading.Event())
    nobody = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9"}
    nobody["config_kwargs"] = {"retries": {"max_attempts": 0}}
    with storage_options({"s3": nobody}):
        for url in ("s3://bucket/run/model", "http://127.0.0.1:9/model"):
            assert re.search(r"no server answers \(.*\); check the URL", run.error("ls", url))
        faults._answered.set()
        assert "after 6 attempts" in run.error("ls", "s3://bucket/run/model")


@pytest.mark.usefixtures("no_pauses", "small_parts")
@pytest.mark.parametrize("file", [".index", ".data-00000-of-00001"])
def test_what_can_not_be_read_now_is_not_lost(s3, source, run, file):
    """A tensor behind a server that does not answer may be there tomorrow: nothing is saved without it."""
    s3.put(source.parent, "run/")
    s3.log.fault = lambda _, request: "500" if request.path.endswith(f"model{file}") else None
    message = run.error("salvage", "s3://bucket/run/model", "s3://bucket/new/model")
    assert "after 6 attempts" in message
    s3.log.fault = None
    assert not [each for each in s3.objects() if each.startswith("new/")]


EVERY = {
    "info": ["@"],
    "ls": ["@"],
    "tree": ["@"],
    "show": ["@", "b"],
    "stats": ["@"],
    "graph": ["@"],
    "verify": ["@"],
    "report": ["@", "-o", "s3://bucket/new.html"],
    "diff": ["@", "@2"],
    "hash": ["@"],
    "check": ["@", "--against", "@2"],
    "suggest": ["@", "@2"],
    "convert": ["@", "@new", "--to", "tf2"],
    "rename": ["@", "@new", "b=c"],
    "cast": ["@", "@new", "*=float16"],
    "drop": ["@", "@new", "b"],
    "extract": ["@", "@new", "b"],
    "slim": ["@", "@new"],
    "set": ["@", "@new", "b=4"],
    "reshape": ["@", "@new", "big=50,50"],
    "transpose": ["@", "@new", "big=0"],
    "split": ["@", "@new", "big", "x=3", "y=-1"],
    "concat": ["@", "@new", "c", "b", "big"],
    "salvage": ["@", "@new"],
    "reshard": ["@", "@new", "--shards", "2"],
    "compact": ["@", "@new"],
    "partition": ["@", "@new", "big=2"],
    "unpartition": ["@", "@new"],
    "merge": ["@", "@2", "@new"],
    "average": ["@", "@2", "@new"],
    "latest": ["s3://bucket/run"],
    "manage": ["s3://bucket/run", "clean"],
}


@pytest.mark.slow
@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("command", EVERY)
def test_each_command_says_that_a_server_is_broken(s3, source, run, command):
    """And not that something is not there, or damaged."""
    s3.put(source.parent, "run/")
    for fault, said in (
        ("500", "after 6 attempts"),
        ("403", "no permission"),
        ("400 ExpiredToken", "have expired"),
    ):
        s3.log.fault = lambda *_, fault=fault: fault
        message = run.error(command, *(each.replace("@", "s3://bucket/run/model") for each in EVERY[command]))
        assert said in message, message
    s3.log.fault = None
