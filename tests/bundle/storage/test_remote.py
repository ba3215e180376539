"""Checkpoints behind URLs, in fsspec's memory file system: read, written, refused."""

import logging
import pickle
import sys
import threading
import uuid

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.storage import downloads, faults, pool, readahead, store_of, uploads
from tensorbundle.storage.remote import RemoteStore
from tensorbundle.storage.settings import storage_options
from tensorbundle.tools import convert, extract
from tensorbundle.tools.operations.directories.checking import verify
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.writer import BundleWriter, append_bytes

fsspec = pytest.importorskip("fsspec", reason="URLs need the [remote] extra")

NUMBERS = np.arange(30_000, dtype=np.float32).reshape(300, 100)


@pytest.fixture
def root():
    """The URL of a folder in memory that is there for one test."""
    name = f"memory://{uuid.uuid4().hex}"
    yield name
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("tensorbundle.storage.spans.cut.__defaults__", (1000,))
    monkeypatch.setattr(uploads, "part_bytes", lambda size: 1000)


def write(prefix, **more):
    with tb.create(prefix, **more) as writer:
        writer.add("a", NUMBERS)
        writer.add("b", np.int64(3))
        writer.add("s", [b"text", b""])


def names(root):
    return sorted(store_of(root).list(root))


def test_what_was_written_is_read(root):
    write(f"{root}/model")
    assert names(root) == ["model.data-00000-of-00001", "model.index"]
    with tb.open(f"{root}/model") as checkpoint:
        assert list(checkpoint) == ["a", "b", "s"]
        np.testing.assert_array_equal(checkpoint["a"], NUMBERS)
        assert checkpoint["s"].tolist() == [b"text", b""]


@pytest.mark.parametrize(
    "region",
    [
        np.s_[3],
        np.s_[10:20],
        np.s_[:, 5],
        np.s_[10:20:3, 90:],
        np.s_[-1, ::-7],
        np.s_[5:5],
        np.s_[...],
        np.s_[2:4, 1:99],
    ],
)
def test_regions(root, region):
    write(f"{root}/model")
    with tb.open(f"{root}/model") as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("a", region), NUMBERS[region])


def test_a_region_outside_is_refused(root):
    write(f"{root}/model")
    with tb.open(f"{root}/model") as checkpoint, pytest.raises(tb.RegionError):
        checkpoint.read("a", np.s_[300])


@pytest.mark.usefixtures("small_parts")
def test_files_of_many_parts_are_the_same_bytes(root, tmp_path):
    write(f"{root}/model")
    write(tmp_path / "model")
    fs = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        assert fs.cat_file(f"{root}/{path.name}") == path.read_bytes()
    assert names(root) == ["model.data-00000-of-00001", "model.index"]  # and nothing temporary
    with tb.open(f"{root}/model") as checkpoint:
        np.testing.assert_array_equal(checkpoint["a"], NUMBERS)


def test_the_state_file_and_its_directory(root):
    write(f"{root}/model")
    extract(f"{root}/model", f"{root}/run/small", "b", options=TransferOptions(state=True))
    with tb.open(f"{root}/run") as checkpoint:
        assert checkpoint.prefix == f"{root}/run/small"
    assert tb.compat.latest_checkpoint(f"{root}/run") == f"{root}/run/small"
    assert tb.compat.load_variable(f"{root}/run", "b") == 3


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".h5", ""])
def test_other_formats_between_urls_and_files(root, tmp_path, ending):
    """From a URL to a URL the same bytes as from a file to a file."""
    with tb.create(tmp_path / "model") as writer:
        writer.add("a/b", NUMBERS)
        writer.add("c", np.int64(3))
    with tb.create(f"{root}/model") as writer:
        writer.add("a/b", NUMBERS)
        writer.add("c", np.int64(3))
    how = {} if ending else {"to": "tf2"}
    local = convert(
        tmp_path / "model", tmp_path / f"new{ending}", options=TransferOptions(data="copy"), **how
    )
    there = convert(f"{root}/model", f"{root}/new{ending}", **how)
    assert there.bytes_written == local.bytes_written
    fs = fsspec.filesystem("memory")
    for path in tmp_path.glob("new*"):
        assert fs.cat_file(f"{root}/{path.name}") == path.read_bytes()
    with tb.open(f"{root}/new{ending}") as one, tb.open(tmp_path / f"new{ending}") as other:
        assert list(one) == list(other)
        np.testing.assert_array_equal(one[next(iter(one))], other[next(iter(one))])


def test_existing_is_kept_unless_overwritten(root):
    write(f"{root}/model")
    with pytest.raises(ConflictError, match="--overwrite"), tb.create(f"{root}/model") as writer:
        writer.add("x", 1)
    with tb.create(f"{root}/model", overwrite=True) as writer:
        writer.add("x", 1)
    # Under names that the old one does not have, whose files are gone.
    assert names(root) == ["model.data-00000-of-00002", "model.data-00001-of-00002", "model.index"]
    with tb.open(f"{root}/model") as checkpoint:
        assert list(checkpoint) == ["x"]


def test_a_writer_that_fails_leaves_nothing(root):
    def interrupted():
        with tb.create(f"{root}/model") as writer:
            writer.add("a", NUMBERS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(root) == []


def test_what_another_writer_puts_there_meanwhile_stays(root):
    def second():
        with tb.create(f"{root}/model") as writer:
            writer.add("x", 1)
            write(f"{root}/model")

    with pytest.raises(ConflictError, match="exists"):
        second()
    with tb.open(f"{root}/model") as checkpoint:
        np.testing.assert_array_equal(checkpoint["a"], NUMBERS)


def test_shards_without_an_index_are_in_the_way(root):
    fsspec.filesystem("memory").pipe_file(f"{root}/model.data-00000-of-00001", b"half")
    with pytest.raises(ConflictError, match="manage DIR clean"):
        write(f"{root}/model")
    assert names(root) == ["model.data-00000-of-00001"]


class Faulty(fsspec.get_filesystem_class("memory")):
    """Answers as bad servers do."""

    protocol = "faulty"
    cachable = False
    behaviour = staticmethod(lambda data, start, end: data[start:end])
    changes = False

    def cat_file(self, path, start=None, end=None, **kwargs):
        data = bytes(self.store[self._strip_protocol(path)].getbuffer())
        if type(self).changes:
            self.pipe_file(path, data)  # with another time
        return type(self).behaviour(data, start, end)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))


@pytest.fixture
def faulty(root, monkeypatch):
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    write(f"{root}/model")
    monkeypatch.setattr("tensorbundle.storage.faults.time.sleep", lambda _: None)
    return f"{root.replace('memory', 'faulty')}/model", monkeypatch


def test_a_server_without_ranges_is_refused(faulty):
    url, patch = faulty
    patch.setattr(Faulty, "behaviour", staticmethod(lambda data, start, end: data))
    with tb.open(url) as checkpoint, pytest.raises(UnsupportedError, match="ignores byte ranges"):
        checkpoint["b"]


def test_short_answers_are_asked_for_again(faulty):
    url, patch = faulty
    calls = []

    def half(data, start, end):
        calls.append(start)
        return data[start : (start + end) // 2] if len(calls) % 3 else data[start:end]

    patch.setattr(Faulty, "behaviour", staticmethod(half))
    with tb.open(url) as checkpoint:
        assert list(checkpoint) == ["a", "b", "s"]
    assert len(calls) == 3


def test_a_file_that_changes_is_an_error(faulty):
    url, patch = faulty
    patch.setattr(Faulty, "changes", True)
    with pytest.raises(CorruptionError, match="changed while it was read"):
        tb.open(url)


def test_a_shard_that_is_cut_short(root):
    write(f"{root}/model")
    fs = fsspec.filesystem("memory")
    path = f"{root}/model.data-00000-of-00001"
    fs.pipe_file(path, fs.cat_file(path)[:-5])
    with tb.open(f"{root}/model") as checkpoint:
        with pytest.raises(CorruptionError, match="cut short") as caught:
            checkpoint["s"]
        assert caught.value.key == "s"
        assert checkpoint["b"] == 3
    fs.rm_file(path)
    with tb.open(f"{root}/model") as checkpoint, pytest.raises(MissingFileError):
        checkpoint["b"]


def test_stores_are_values(root):
    write(f"{root}/model")
    with tb.open(f"{root}/model") as checkpoint:
        store = checkpoint.index.store
        copy = pickle.loads(pickle.dumps(store))
        assert copy == store == RemoteStore({})
        assert hash(copy) == hash(store)
        assert copy.seen == store.seen != {}  # so that workers notice a change too
        assert pickle.loads(pickle.dumps(checkpoint.index)).get(b"b") == checkpoint.entry("b")
    assert RemoteStore({"a": 1}) != RemoteStore({})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://x/y", "no URLs begin with nonsense://"),
        ("memry://x/y", "near: 'memory'"),
    ],
)
def test_schemes_that_do_not_exist(url, said):
    with pytest.raises(UnsupportedError, match=said):
        tb.open(url)


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UnsupportedError, match="pip install gcsfs"):
        tb.open("gs://bucket/x")


def test_without_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'tensorbundle\[remote\]' s3fs"):
        tb.open("s3://bucket/x")


def test_options_go_to_the_scheme_that_has_the_files():
    store = RemoteStore({"a": 1, "s3": {"b": 2}, "gs": {"c": 3}, "client_kwargs": {"d": 4}})
    known = ["s3", "gs", "simplecache", "memory"]
    flat = {"a": 1, "client_kwargs": {"d": 4}}
    assert store._options_for(["s3"], known) == {"s3": {**flat, "b": 2}}
    assert store._options_for(["simplecache", "s3"], known) == {"s3": {**flat, "b": 2}}
    assert store._options_for(["memory"], known) == {"memory": flat}


def test_a_chain_of_schemes(root, tmp_path):
    write(f"{root}/model")
    url = f"simplecache::{root}/model"
    with tb.open(url, storage_options={"simplecache": {"cache_storage": str(tmp_path)}}) as checkpoint:
        np.testing.assert_array_equal(checkpoint["a"], NUMBERS)
    assert any(tmp_path.iterdir())


def test_nothing_is_written_over_http():
    pytest.importorskip("aiohttp")
    with pytest.raises(UnsupportedError, match="over HTTP"):
        tb.create("http://127.0.0.1:9/model")


def test_a_directory_on_disk_as_a_url(tmp_path):
    """A store whose files are visible while they are written, and whose directories must exist."""
    write(f"local://{tmp_path}/model")
    with tb.open(tmp_path / "model") as checkpoint:
        np.testing.assert_array_equal(checkpoint["a"], NUMBERS)
    with pytest.raises(BundleError):
        write(f"local://{tmp_path}/missing/model")


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, 32 << 20), (0, 8 << 20), (80 << 30, 9 << 20), (5 << 40, 525 << 20)],
)
def test_parts_are_long_enough_that_so_many_suffice(size, expected):
    assert uploads.part_bytes(size) == expected
    assert size is None or -(-size // expected) <= 10_000


@pytest.mark.slow
def test_a_large_index_is_listed_in_three_requests(root, monkeypatch):
    """What is near its end is read at first, and the rest at once."""
    monkeypatch.setattr(downloads, "NEAR_BYTES", 100)
    monkeypatch.setattr(downloads.RemoteFile, "near_bytes", 100)
    with tb.create(f"{root}/model") as writer:
        for number in range(10_000):
            writer.add(f"tensor/with/a/long/name/{number:06}" + "x" * 60, number)
    calls = []
    once = downloads.RemoteFile._once
    look = RemoteStore._look
    monkeypatch.setattr(downloads.RemoteFile, "_once", lambda *a: calls.append(a[2]) or once(*a))
    monkeypatch.setattr(RemoteStore, "_look", lambda *a: calls.append("look") or look(*a))
    with tb.open(f"{root}/model") as checkpoint:
        assert len(list(checkpoint.entries())) == 10_000
        assert checkpoint.num_shards == 1
    # Versions are asked for after each read, as this file system tells none with the bytes.
    sizes = [each for each in calls if each != "look"]
    assert sizes[0] == 100
    assert len(sizes) == 3


def test_options_of_a_block(root):
    write(f"{root}/model")
    with storage_options({"memory": {}}), tb.open(f"{root}/model") as checkpoint:
        assert checkpoint.index.store == RemoteStore({"memory": {}})


class Together(fsspec.get_filesystem_class("memory")):
    """Requests for data wait until so many are on their way at the same time, or two seconds."""

    protocol = "together"
    cachable = False
    wanted = 0
    now = most = 0
    changed = threading.Condition()

    def cat_file(self, path, start=None, end=None, **kwargs):
        cls = type(self)
        if ".data-" in path:
            with cls.changed:
                cls.now += 1
                cls.most = max(cls.most, cls.now)
                cls.changed.notify_all()
                cls.changed.wait_for(lambda: cls.most >= cls.wanted, 2)
                cls.now -= 1
        return super().cat_file(path, start, end)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("together://", "memory://"))


@pytest.fixture
def together(root, monkeypatch):
    """A checkpoint of three data shards, which have 30, 3 and 3 parts."""
    fsspec.register_implementation("together", Together, clobber=True)
    with tb.create(f"{root}/model", shards=3) as writer:
        writer.add("large", np.arange(7500, dtype=np.float32))
        for name in "ab":
            writer.start_shard()
            writer.add(name, np.ones(3000, np.uint8))
    monkeypatch.setattr("tensorbundle.storage.spans.cut.__defaults__", (1000,))
    monkeypatch.setattr(Together, "most", 0)
    return root.replace("memory", "together"), monkeypatch


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (lambda checkpoint: checkpoint["large"], pool.IN_FLIGHT),
        (lambda checkpoint: checkpoint.read("large", copy=True), pool.IN_FLIGHT),
        (lambda checkpoint: checkpoint.read("large", np.s_[1000:3000]), 8),
    ],
)
def test_parts_of_a_tensor_are_asked_for_together(together, read, wanted):
    """From the first one on, though nothing has told the size of the file."""
    root, patch = together
    patch.setattr(Together, "wanted", wanted)
    with tb.open(f"{root}/model") as checkpoint:
        read(checkpoint)
    assert Together.most == wanted


def test_what_is_verified_is_read_ahead(together):
    root, patch = together
    patch.setattr(Together, "wanted", readahead._MOST)
    assert not verify(f"{root}/model").problems
    assert Together.most == readahead._MOST


@pytest.mark.parametrize("names", [["large"], ["a", "b"]])
def test_the_next_data_shard_is_read_before_the_last_one_is_written(together, tmp_path, names):
    root, patch = together
    wanted = readahead._MOST if names == ["large"] else 6
    patch.setattr(Together, "wanted", wanted)
    extract(f"{root}/model", tmp_path / "copy", names, options=TransferOptions(jobs=2))
    assert Together.most == wanted


@pytest.mark.parametrize("claimed", [10**5, 10**12, 2**50])
@pytest.mark.parametrize("region", [None, np.s_[50_000:]])
def test_what_an_index_claims_of_a_file_is_not_asked_for(root, monkeypatch, claimed, region):
    """More than it has: the first response tells how much that is, and memory is taken for no more."""
    writer = BundleWriter(f"{root}/model", shards=1)
    with writer.staging, writer:
        number, file = writer.add_shard()
        with file:
            append_bytes(file, [bytes(4000)])
        writer.put(b"x", TensorEntry(DType.named("uint8"), (claimed,), claimed, number, 0, 1))
    monkeypatch.setattr("tensorbundle.storage.spans.cut.__defaults__", (1000,))
    asked = []
    monkeypatch.setattr(downloads.RemoteFile, "_once", counted(downloads.RemoteFile._once, asked))
    with tb.open(f"{root}/model") as checkpoint, pytest.raises(CorruptionError, match="cut short") as caught:
        checkpoint["x"] if region is None else checkpoint.read("x", region)
    assert caught.value.key == "x"
    assert len(asked) <= 1 + pool.IN_FLIGHT


def counted(do, calls):
    def call(*arguments):
        calls.append(arguments)
        return do(*arguments)

    return call


def test_a_question_without_a_request_is_no_answer(monkeypatch):
    """Else a server that nobody reached yet is taken for one that is busy, and is waited for."""
    monkeypatch.setattr(faults, "_answered", threading.Event())
    assert not RemoteStore({}, {}).is_file("memory://nowhere/x.index", reading_end=True)
    assert not faults._answered.is_set()


def test_what_libraries_log_is_not_printed(monkeypatch):
    """Python prints warnings and errors for which no logger has a handler."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for name in ("gcsfs.retry", "s3fs", "google.auth"):
        assert logging.getLogger(name).hasHandlers()
