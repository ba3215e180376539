"""What a transfer shares, copies and checks, and what is left when something goes wrong."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import itertools
import os
import pickle
import random
import resource
import shutil
import signal
import threading
import time
import warnings
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, snapshot, write_bundle
from support.cli import spawn
from support.contents import files, our_reading
from support.depth import DEEP, sample
from tensorbundle.coding import crc32c
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.filenames import shard_path
from tensorbundle.index import BundleIndex
from tensorbundle.slices import readable_key
from tensorbundle.tools import Summary, TransferOptions, average, cast, convert
from tensorbundle.tools.rewriting.bundle_output import BundleOutput
from tensorbundle.tools.rewriting.plan import Literal, Plan, PlannedEntry
from tensorbundle.tools.rewriting.transfer import transfer

SHARE, COPY = TransferOptions(data="share"), TransferOptions(data="copy")
DATA = pytest.mark.parametrize("data", ["share", "copy"])
MIB = 1 << 20


def write(prefix, seed=1, shards=2):
    """A name-based checkpoint: numbers, strings, slices and an empty tensor in every data shard."""
    generator = np.random.default_rng(seed)
    prefix.parent.mkdir(exist_ok=True)
    with tb.create(prefix) as writer:
        for number in range(shards):
            if number:
                writer.start_shard()
            writer.add(f"{number}/a", generator.random(6, np.float32))
            writer.add(f"{number}/empty", np.zeros((0, 3)))
            writer.add(f"{number}/words", np.array([generator.bytes(5), b"", b"x"], object))
            for row in range(2):
                part = tb.TensorSlice.parse_spec(f"{row},1:-")
                writer.add_slice(f"{number}/parts", [2, 2], part, generator.random((1, 2)))
    return prefix


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "src/m")


@pytest.fixture
def out(tmp_path):
    """An empty directory for destinations."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


class Elsewhere(Executor):
    """Runs jobs from copies, as a process of its own would."""

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*pickle.loads(pickle.dumps(args))))
        return future


def options(data, **others):
    return TransferOptions(data=data, **others)


def state_of(directory):
    """What a source must not lose: each file's content, and when it was last changed."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def logged(monkeypatch):
    """A list to which every flushing and placing of a file or directory is added as it happens, with its inode."""
    log = []

    def placing(source, target, real):
        real(source, target)
        if "tempstate" not in os.path.basename(target):
            log.append(("place", os.stat(target).st_ino))

    monkeypatch.setattr(os, "fsync", lambda descriptor: log.append(("flush", os.fstat(descriptor).st_ino)))
    monkeypatch.setattr(os, "link", functools.partial(placing, real=os.link))
    monkeypatch.setattr(os, "replace", functools.partial(placing, real=os.replace))
    return log


class TestSharing:
    def test_data_shards_are_shared_and_one_small_one_is_new(self, source, out):
        summary = convert(source, out / "m-7", to="tf2")
        assert summary.sharing in ("hard link", "reflink")
        sizes = {path.name: path.stat().st_size for path in out.iterdir()}
        assert sorted(sizes) == [f"m-7.data-0000{number}-of-00003" for number in range(3)] + ["m-7.index"]
        for number in range(2):
            ours, theirs = shard_path(str(out / "m-7"), number, 3), shard_path(str(source), number, 2)
            assert Path(ours).read_bytes() == Path(theirs).read_bytes()
            assert summary.sharing == "reflink" or os.path.samefile(ours, theirs)
        new = sizes["m-7.data-00002-of-00003"]
        assert new < 2000
        assert summary == Summary(
            prefix=str(out / "m-7"),
            tensors=10,
            bytes_written=new + sizes["m-7.index"],
            bytes_shared=sum(len(data) for data in files(source).values()) - len(files(source)[".index"]),
            bytes_read=summary.bytes_shared,  # so little that all of it is checked
            seconds=summary.seconds,
            sharing=summary.sharing,
            changes=summary.changes,
        )
        assert 0 < summary.seconds < 60

    def test_towards_tf1_nothing_but_the_index_is_new(self, source, out):
        convert(source, out / "two", to="tf2")
        summary = convert(out / "two", out / "one", to="tf1")
        assert len(files(out / "one")) == 3
        assert summary.bytes_written == len(files(out / "one")[".index"])
        assert our_reading(out / "one") == our_reading(source)

    @pytest.fixture
    def reflinks(self, monkeypatch):
        """A file system that has them: simulated by copying."""

        def clone(target, request, origin):
            assert request == 0x40049409
            os.write(target, os.pread(origin, MIB, 0))

        monkeypatch.setattr(fcntl, "ioctl", clone)

    def test_reflinks(self, source, out, reflinks):
        assert convert(source, out / "m", to="tf2").sharing == "reflink"
        assert convert(out / "m", out / "back", to="tf1").sharing == "reflink"
        assert our_reading(out / "back") == our_reading(source)
        assert not os.path.samefile(shard_path(str(source), 0, 2), shard_path(str(out / "m"), 0, 3))

    def test_reflinks_are_flushed(self, source, out, reflinks, monkeypatch):
        """They are new files, and without it may be empty after a power failure."""
        log = logged(monkeypatch)
        convert(source, out / "m", to="tf2")
        assert all(("flush", path.stat().st_ino) in log for path in out.iterdir())

    @pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP])
    def test_where_the_file_system_can_not_share_it_copies_and_says_so(self, source, out, monkeypatch, code):
        def refuse(*arguments, **_):
            raise OSError(code, os.strerror(code), *map(str, arguments[:1]))

        convert(source, out / "copied", to="tf2", options=COPY)
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(fcntl, "ioctl", refuse)
        summary = convert(source, out / "m", to="tf2")
        assert summary.sharing == f"copied instead: can't be linked there: {os.strerror(code)}"
        assert summary.bytes_shared == 0
        assert files(out / "m") == files(out / "copied")
        assert not list(out.glob("*tempstate*"))

    def test_symbolic_links_are_followed(self, source, out, tmp_path):
        """Caches keep checkpoints as links to files with hashes for names; what is shared is the file."""
        (tmp_path / "cache").mkdir()
        for path in source.parent.iterdir():
            (tmp_path / "cache" / path.name).symlink_to(path)
        convert(tmp_path / "cache/m", out / "m", to="tf2")
        shutil.rmtree(tmp_path / "cache")
        assert not any(path.is_symlink() for path in out.iterdir())
        convert(out / "m", out / "back", to="tf1")
        assert our_reading(out / "back") == our_reading(source)

    def test_the_data_of_another_checkpoint_is_found(self, source, out, tmp_path):
        write(tmp_path / "other/m", seed=2)
        name = "m.data-00001-of-00002"
        assert (tmp_path / "other" / name).stat().st_size == (source.parent / name).stat().st_size
        shutil.copy(tmp_path / "other" / name, source.parent / name)
        with pytest.raises(
            tb.CorruptionError, match=r"crc32c of \d+ bytes: stored \w{8}, computed \w{8}"
        ) as caught:
            convert(source, out / "m", to="tf2")
        assert caught.value.path == str(source.parent / name)
        assert caught.value.key is not None
        assert list(out.iterdir()) == []

    @pytest.mark.slow
    def test_the_sample_is_bounded(self, tmp_path, out):
        """Only small tensors are read: 4 MiB, or a thousand."""
        with tb.create(tmp_path / "m") as writer:
            writer.add("big", np.zeros(5 * MIB, np.uint8))
            for number in range(1500):
                writer.add(f"{number}", np.int32(number))
        assert convert(tmp_path / "m", out / "m", to="tf2").bytes_read == 4000
        assert (
            convert(tmp_path / "m", out / "n", to="tf2", options=options("share", verify=False)).bytes_read
            == 0
        )

    def test_a_shard_that_is_nearly_all_dead_is_not_kept_alive(self, tmp_path, out):
        """Twelve megabytes for the sake of four bytes: those are copied."""
        entry = plain("float32", [], b"1234", offset=5 * MIB)
        source = write_bundle(tmp_path / "m", {b"a": entry}, [bytes(5 * MIB) + b"1234" + bytes(7 * MIB)])
        summary = convert(source, out / "m", to="tf2")
        assert (summary.bytes_shared, summary.bytes_read) == (0, 4)
        assert sum(map(len, files(out / "m").values())) < 2000


class TestCopying:
    @pytest.mark.slow
    def test_every_flipped_byte_is_noticed(self, source, out):
        """By file, offset and key; nothing is left at the destination."""
        with tb.open(source) as ckpt:
            places = [
                (ckpt.index.shard_path(entry.shard), entry.offset, entry.nbytes, readable_key(key))
                for key, entry in ckpt.index.raw_entries()
                if not entry.slices
            ]
        for path, offset, nbytes, key in places:
            data = Path(path).read_bytes()
            for position in range(offset, offset + nbytes):
                changed = bytearray(data)
                changed[position] ^= 0x20
                Path(path).write_bytes(changed)
                with pytest.raises(tb.CorruptionError) as caught:
                    convert(source, out / "m", to="tf2", options=COPY)
                assert (caught.value.path, caught.value.offset, caught.value.key) == (path, offset, key)
                assert list(out.iterdir()) == []
            Path(path).write_bytes(data)
        assert sum(nbytes for _, _, nbytes, _ in places) == 2 * (24 + 0 + 13 + 32)
        convert(source, out / "m", to="tf2", options=COPY)

    def test_without_checks_bytes_are_carried_as_they_are(self, source, out):
        path = Path(shard_path(str(source), 0, 2))
        data = bytearray(path.read_bytes())
        data[0] ^= 0x20
        path.write_bytes(data)
        convert(source, out / "m", to="tf2", options=options("copy", verify=False))
        with pytest.raises(tb.CorruptionError, match="crc32c"), tb.open(out / "m") as ckpt:
            ckpt["vars/0.Sa/.ATTRIBUTES/VARIABLE_VALUE"]

    def test_summary(self, source, out):
        summary = convert(source, out / "m", to="tf2", options=COPY)
        assert (summary.bytes_shared, summary.bytes_read, summary.sharing) == (0, 138, None)
        assert summary.bytes_written == sum(len(data) for data in files(out / "m").values())

    def test_progress_is_told_of_every_byte(self, source, out):
        told = []
        convert(source, out / "m", to="tf2", options=options("copy", progress=told.append))
        assert sum(told) == 138

    def test_executors_tell_progress_too(self, source, out):
        """Threads as bytes are moved; what may be another process, of which only results come back, by shards."""
        for number, executor in enumerate((ThreadPoolExecutor(2), Elsewhere())):
            told = []
            how = options("copy", progress=told.append, executor=executor)
            convert(source, out / f"m-{number}", to="tf2", options=how)
            assert sum(told) == 138
            executor.shutdown()

    @pytest.mark.parametrize("to", ["tf1", "tf2"])
    def test_jobs_change_nothing(self, tmp_path, out, to):
        source = write(tmp_path / "src/m", shards=5)
        if to == "tf1":
            convert(source, tmp_path / "src/two", to="tf2", options=COPY)
            source = tmp_path / "src/two"
        convert(source, out / "m", to=to, options=COPY)
        alone = snapshot(out)
        with ThreadPoolExecutor(4) as executor:
            convert(source, out / "m", to=to, options=options("copy", executor=executor, overwrite=True))
        assert snapshot(out) == alone

    def test_an_error_in_one_of_many_jobs(self, tmp_path, out):
        source = write(tmp_path / "src/m", shards=5)
        path = Path(shard_path(str(source), 3, 5))
        path.write_bytes(bytes(path.stat().st_size))
        with ThreadPoolExecutor(4) as executor, pytest.raises(tb.CorruptionError) as caught:
            convert(source, out / "m", to="tf2", options=options("copy", executor=executor))
        assert caught.value.path == str(path)
        assert list(out.iterdir()) == []


@DATA
class TestBoth:
    def test_sources_do_not_change(self, source, out, data):
        before = state_of(source.parent)
        convert(source, out / "two", to="tf2", options=options(data))
        inner = state_of(out)
        convert(out / "two", out / "one", to="tf1", options=options(data))
        assert state_of(source.parent) == before
        assert {name: state_of(out)[name] for name in inner} == inner

    def test_read_only_sources(self, source, out, data):
        for path in source.parent.iterdir():
            path.chmod(0o444)
        source.parent.chmod(0o555)
        try:
            convert(source, out / "m", to="tf2", options=options(data))
            convert(out / "m", out / "m", to="tf1", options=options(data, overwrite=True))
        finally:
            source.parent.chmod(0o755)
        assert our_reading(out / "m") == our_reading(source)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_files_are_flushed_before_they_appear_and_the_index_is_last(
        self, source, out, data, overwrite, monkeypatch
    ):
        if overwrite:
            write(out / "m", seed=9)
        log = logged(monkeypatch)
        convert(source, out / "m", to="tf2", options=options(data, overwrite=overwrite))
        shared = {path.stat().st_ino for path in source.parent.iterdir()}
        placed = {path.stat().st_ino for path in out.iterdir()}
        assert {number for call, number in log if call == "place"} >= placed
        for number in placed - shared:
            assert log.index(("flush", number)) < log.index(("place", number))
        assert log[-2:] == [("place", (out / "m.index").stat().st_ino), ("flush", out.stat().st_ino)]

    def test_the_same_input_gives_the_same_bytes(self, source, out, data):
        for name in ("m", "n"):
            convert(source, out / name, to="tf2", options=options(data))
        assert files(out / "m") == files(out / "n")

    @pytest.mark.parametrize("damage", ["missing", "cut"])
    def test_incomplete_sources(self, source, out, data, damage):
        path = Path(shard_path(str(source), 1, 2))
        if damage == "missing":
            path.unlink()
        else:
            os.truncate(path, 60)
        with pytest.raises(tb.BundleError) as caught:
            convert(source, out / "m", to="tf2", options=options(data))
        reason = {
            "missing": "no such file: this data shard is missing",
            "cut": "16 bytes wanted, the file ends at 60: it is cut short, or belongs to another checkpoint",
        }[damage]
        assert (caught.value.path, caught.value.reason) == (str(path), reason)
        assert list(out.iterdir()) == []

    def test_big_endian_sources(self, tmp_path, out, data):
        """The output is little-endian, as all that we write."""
        value = np.array([1.5, -2], ">f4").tobytes()
        source = write_bundle(
            tmp_path / "m", {b"a": plain("float32", [2], value)}, [value], BundleHeader(1, big_endian=True)
        )
        convert(source, out / "two", to="tf2", options=options(data))
        convert(out / "two", out / "one", to="tf1", options=options(data))
        assert our_reading(out / "one") == our_reading(source)
        with tb.open(out / "one") as ckpt:
            assert not ckpt.index.header.big_endian
            assert ckpt["a"].tolist() == [1.5, -2]

    def test_two_tensors_of_one_key(self, out, data):
        plan = Plan(
            BundleOutput(),
            [PlannedEntry(b"k", Literal.string(b"y")), PlannedEntry(b"k", Literal.string(b"x"))],
        )
        with pytest.raises(
            tb.ConflictError, match="two tensors would get this key: a new one and a new one"
        ) as caught:
            transfer(plan, str(out / "m"), options(data))
        assert caught.value.key == "k"
        assert list(out.iterdir()) == []

    def test_literals_alone(self, out, data):
        plan = Plan(
            BundleOutput(),
            [PlannedEntry(b"e", Literal.string(b"")), PlannedEntry(b"s", Literal.string(b"x\0"))],
        )
        summary = transfer(plan, str(out / "m"), options(data))
        with tb.open(out / "m") as ckpt:
            assert (ckpt["e"].item(), ckpt["s"].item(), ckpt.num_shards) == (b"", b"x\0", 1)
        assert (summary.tensors, summary.bytes_read) == (2, 0)

    def test_ranges_that_several_keys_share(self, tmp_path, out, data):
        entry = plain("float32", [2], b"12345678")
        source = write_bundle(
            tmp_path / "m", {b"a": entry, b"b": entry, b"c": entry._replace(shape=(1, 2))}, [b"12345678"]
        )
        convert(source, out / "two", to="tf2", options=options(data))
        convert(out / "two", out / "one", to="tf1", options=options(data))
        assert our_reading(out / "one") == our_reading(source)

    def test_an_existing_checkpoint_is_not_replaced(self, source, out, data):
        write(out / "m", seed=9)
        before = snapshot(out)
        with pytest.raises(tb.ConflictError) as caught:
            convert(source, out / "m", to="tf2", options=options(data))
        assert str(caught.value) == f"{out}/m.index: exists; use --overwrite (overwrite=True) to replace it"
        assert snapshot(out) == before

    def test_a_lone_data_shard_is_not_replaced_either(self, source, out, data):
        (out / "m.data-00001-of-00003").write_bytes(b"mine")
        with contextlib.suppress(tb.ConflictError):
            convert(source, out / "m", to="tf2", options=options(data))
        assert (out / "m.data-00001-of-00003").read_bytes() == b"mine" or len(files(out / "m")) == 4
        assert not list(out.glob("*tempstate*"))

    @pytest.mark.parametrize("old_shards", [1, 2, 3, 4])
    def test_an_overwritten_checkpoint_leaves_nothing_but_what_is_not_its(
        self, source, out, data, old_shards
    ):
        write(out / "m", seed=9, shards=old_shards)
        others = ["m.meta", "m.data-00000-of-00009", "m-2.index", "m-2.data-00000-of-00001", "checkpoint"]
        for name in others:
            (out / name).write_bytes(b"other")
        convert(source, out / "m", to="tf2", options=options(data, overwrite=True))
        count = len(files(out / "m")) - 1
        expected = [shard_path("m", number, count) for number in range(count)]
        assert sorted(snapshot(out)) == sorted([*expected, "m.index", *others])
        convert(out / "m", out / "back", to="tf1")
        assert our_reading(out / "back") == our_reading(source)

    def test_a_damaged_checkpoint_can_be_overwritten(self, source, out, data):
        write(out / "m", seed=9, shards=3)
        (out / "m.index").write_bytes(b"garbage")
        convert(source, out / "m", to="tf2", options=options(data, overwrite=True))
        convert(out / "m", out / "back", to="tf1")
        assert our_reading(out / "back") == our_reading(source)

    @pytest.mark.parametrize("to", ["tf1", "tf2"])
    def test_in_place(self, source, data, to):
        """Arrays that were read before keep their values: they are of files that only lost their names."""
        expected = our_reading(source)
        if to == "tf1":
            convert(source, source, to="tf2", options=options(data, overwrite=True))
        before = our_reading(source)
        with tb.open(source) as ckpt:
            arrays = {key: ckpt[key] for key in before}
            convert(source, source, to=to, options=options(data, overwrite=True))
            assert {key: array.tobytes() for key, array in arrays.items() if array.dtype != object} == {
                key: content for key, (_, _, content) in before.items() if isinstance(content, bytes)
            }
        assert {path.name.split(".")[0] for path in source.parent.iterdir()} == {"m"}
        assert len(list(source.parent.iterdir())) == len(files(source))
        if to == "tf2":
            convert(source, source, to="tf1", options=options(data, overwrite=True))
        assert our_reading(source) == expected

    def test_in_place_again_and_again(self, source, data):
        expected = our_reading(source)
        for _ in range(4):
            convert(source, source, to="tf2", options=options(data, overwrite=True))
            convert(source, source, to="tf1", options=options(data, overwrite=True))
        assert our_reading(source) == expected
        assert len(files(source)) < 6

    def test_a_state_file(self, source, out, data):
        (out / "checkpoint").write_bytes(b'model_checkpoint_path: "old"\n')
        convert(source, out / "m", to="tf2", options=options(data, state=True))
        assert (out / "checkpoint").read_bytes() == (
            b'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "old"\nall_model_checkpoint_paths: "m"\n'
        )
        with tb.open(out) as ckpt:
            assert ckpt.prefix == str(out / "m")

    def test_no_directory(self, source, tmp_path, data):
        with pytest.raises(tb.MissingFileError) as caught:
            convert(source, tmp_path / "nope/m", to="tf2", options=options(data))
        assert str(caught.value) == f"{tmp_path}/nope: no such directory; make it first"

    def test_a_directory_that_can_not_be_written_to(self, source, out, data, monkeypatch):
        real = os.open

        def refuse(path, flags, *arguments, **named):
            if flags & os.O_CREAT:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return real(path, flags, *arguments, **named)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(tb.BundleError) as caught:
            convert(source, out / "m", to="tf2", options=options(data))
        assert str(caught.value) == f"{out}: can't write into this directory: Permission denied"
        assert list(out.iterdir()) == []


def fork(action):
    """A child process that runs `action` and ends; its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process are idle
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            action()
        os._exit(0)
    return child


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_one_of_the_checkpoints_whole(tmp_path, out):
    """Killed again and again while it overwrites one checkpoint with the other and back, in turn sharing and copying."""
    sources = [write(tmp_path / "a/m", seed=1), write(tmp_path / "b/m", seed=2, shards=3)]
    allowed = []
    for source in sources:
        convert(source, out / "m", to="tf2", options=options("copy", overwrite=True))
        allowed.append(our_reading(out / "m"))

    def to_and_fro(data):
        for source in itertools.cycle(sources):
            convert(source, out / "m", to="tf2", options=options(data, overwrite=True))

    moments = random.Random(1)
    for number in range(30 if DEEP else 4):
        child = fork(lambda data=("share", "copy")[number % 2]: to_and_fro(data))
        time.sleep(moments.uniform(0.01, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert our_reading(out / "m") in allowed
    assert list(out.glob("*tempstate*")) or not DEEP  # it was at work
    convert(sources[0], out / "m", to="tf2", options=options("share", overwrite=True))
    assert our_reading(out / "m") == allowed[0]


@contextlib.contextmanager
def largest_file(size):
    """The operating system refuses to let files grow beyond this: a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, MIB + 1000])
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk(tmp_path, out, size, jobs, overwrite):
    """Nothing is left of the new checkpoint, the old one stays, and the error says where it happened."""
    with tb.create(tmp_path / "m") as writer:
        for number in range(4):
            writer.add(f"{number}", np.full(MIB, number, np.uint8))
            if number == 1:
                writer.start_shard()
        writer.add("last", np.full(4 * MIB, 7, np.uint8))
    if overwrite:
        write(out / "m", seed=7)
    before = snapshot(out)
    with (
        largest_file(size),
        ThreadPoolExecutor(jobs) as executor,
        pytest.raises((OSError, tb.BundleError)) as caught,
    ):
        convert(
            tmp_path / "m",
            out / "m",
            to="tf2",
            options=options("copy", executor=executor, overwrite=overwrite),
        )
    assert snapshot(out) == before
    assert "File too large" in str(caught.value)
    assert str(out) in str(caught.value)


def test_a_full_disk_while_sharing(source, out):
    with largest_file(100), pytest.raises((OSError, tb.BundleError), match="File too large") as caught:
        convert(source, out / "m", to="tf2")
    assert list(out.iterdir()) == []
    assert str(out) in str(caught.value)


@DATA
def test_two_threads_that_overwrite_one_checkpoint(tmp_path, out, data):
    sources = [write(tmp_path / f"{number}/m", seed=number, shards=number) for number in (1, 3)]
    allowed = []
    for source in sources:
        convert(source, out / "m", to="tf2", options=options("copy", overwrite=True))
        allowed.append(our_reading(out / "m"))
    together = threading.Barrier(2)
    errors = []

    def work(source):
        together.wait()
        try:
            for _ in range(15):
                convert(source, out / "m", to="tf2", options=options(data, overwrite=True))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[source]) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert our_reading(out / "m") in allowed
    assert len(files(out / "m")) == len(list(out.iterdir()))


@pytest.mark.slow
@pytest.mark.parametrize("data", sample(["share", "copy"], 1))
def test_processes_that_write_one_checkpoint(tmp_path, out, data):
    """Without `--overwrite` one of them gets it, and the others say so."""
    sources = [write(tmp_path / f"{number}/m", seed=number) for number in range(4)]
    processes = [spawn("convert", source, out / "m", "--to", "tf2", "--data", data) for source in sources]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    winners = [source for source, (_, status) in zip(sources, ends, strict=True) if status == 0]
    assert len(winners) == 1
    for error, status in ends:
        assert status == 0 or (
            status == 2 and error.endswith(": exists; use --overwrite (overwrite=True) to replace it\n")
        )
    assert len(files(out / "m")) == len(list(out.iterdir()))
    convert(out / "m", out / "back", to="tf1")
    assert our_reading(out / "back") == our_reading(winners[0])


PEAK = """
import sys
from tensorbundle.tools.cli import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmHWM")))  # kB; ru_maxrss counts the parent's too
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "{}", "{}-2", "--to", "tf2", "--data", "copy"],
        ["convert", "{}", "{}-3", "--to", "tf2"],
        ["verify", "{}"],
    ],
    ids=["copy", "share", "verify"],
)
def test_memory_is_bounded_whatever_the_size_of_a_tensor(tmp_path, arguments):
    mebibytes = 300 if DEEP else 120
    size = mebibytes * MIB
    prefix = str(tmp_path / "m")
    crc = 0
    for _ in range(mebibytes):
        crc = crc32c(bytes(MIB), crc)
    with open(shard_path(prefix, 0, 1), "wb") as file:
        file.truncate(size)
    entry = TensorEntry(tb.DType.uint8, (size,), size, crc32c=crc)
    write_bundle(tmp_path / "m", {b"big": entry}, header=BundleHeader(1))
    process = spawn(*[each.format(prefix) for each in arguments], "--quiet", script=PEAK)
    output, error = process.communicate()
    assert (error, process.returncode) == ("", 0)
    assert int(output.split()[-1]) < 100_000


def test_slices_that_are_computed_are_looked_up_once_each(tmp_path, monkeypatch):
    count = 50
    slices = [tb.TensorSlice(((start, 1),)) for start in range(count)]
    entries = {b"t": TensorEntry(tb.DType.float32, (count,), 0, slices=tuple(slices))}
    entries |= {each.key(b"t"): plain("float32", [1], bytes(4)) for each in slices}
    write_bundle(tmp_path / "m", entries, [bytes(4)])
    asked = []
    stored = BundleIndex.stored
    monkeypatch.setattr(BundleIndex, "stored", lambda *args: asked.append(args) or stored(*args))
    cast(tmp_path / "m", tmp_path / "cast", {"*": "bfloat16"})
    assert len(asked) < 10 * count
    asked.clear()
    average([tmp_path / "m", tmp_path / "m"], tmp_path / "mean")
    assert len(asked) < 20 * count
