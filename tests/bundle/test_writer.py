"""Writing a bundle: nothing before the end, all or nothing then, whatever fails."""

import errno
import os
import threading

import pytest

import tensorbundle as tb
from support.bundles import read_everything, snapshot
from support.memory_disk import MemoryDisk
from tensorbundle.coding import crc32c
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.filenames import index_path
from tensorbundle.storage.local import LocalStore
from tensorbundle.writer import BundleWriter, append_bytes


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    """Flushing is the slow part, and test_commit.py looks at that."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write(prefix, contents, *, overwrite=False, shards=1, store=None):
    """A bundle of the uint8 tensors `contents`, by turns in its shards."""
    with BundleWriter(str(prefix), overwrite=overwrite, store=store) as writer:
        files = [writer.add_shard() for _ in range(shards)]
        for i, (key, data) in enumerate(contents.items()):
            number, shard = files[i % shards]
            offset, nbytes, crc = append_bytes(shard, [data[:1], data[1:]])
            writer.put(key.encode(), TensorEntry(DType.uint8, (len(data),), nbytes, number, offset, crc))
    return writer


def values(prefix):
    return {key: content for key, (_, _, content) in read_everything(prefix).items()}


OLD = {"a": b"old a", "b": b"old b"}
NEW = {"a": b"new a", "c": b"new c!"}


def test_nothing_is_visible_before_the_end(tmp_path):
    with BundleWriter(str(tmp_path / "m")) as writer:
        number, shard = writer.add_shard()
        shard.write(b"data")
        writer.put(b"k", TensorEntry(DType.uint8, (4,), 4, number, 0, 0))
        assert all(".tempstate" in name for name in snapshot(tmp_path))
    assert list(snapshot(tmp_path)) == ["m.data-00000-of-00001", "m.index"]
    assert writer.bytes_written == sum(map(len, snapshot(tmp_path).values()))


@pytest.mark.parametrize(
    "store", [LocalStore(), MemoryDisk(directories=["run"])], ids=["threads", "one after another"]
)
def test_large_tensors_are_written_in_pieces(tmp_path, monkeypatch, store):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr("tensorbundle.writer._PIECE_BYTES", 3000)
    monkeypatch.setattr("tensorbundle.writer._CACHED_BYTES", 700)
    data = bytes(range(251)) * 40
    with BundleWriter("run/m", store=store) as writer:
        number, shard = writer.add_shard()
        places = [
            append_bytes(shard, chunks) for chunks in ([data], [data[:100], data], [b""], [data[:3000]])
        ]
        sizes = [len(data), len(data) + 100, 0, 3000]
        assert [size for _, size, _ in places] == sizes
        assert [crc for _, _, crc in places] == [
            crc32c(each) for each in (data, data[:100] + data, b"", data[:3000])
        ]
        for key, (offset, size, crc) in zip("abcd", places, strict=True):
            writer.put(key.encode(), TensorEntry(DType.uint8, (size,), size, number, offset, crc))
    with tb.open("run/m", store=store) as ckpt:
        assert [ckpt[key].tobytes() for key in "abcd"] == [data, data[:100] + data, b"", data[:3000]]


def test_an_exception_leaves_nothing(tmp_path):
    def stop():
        with BundleWriter(str(tmp_path / "m")) as writer:
            writer.add_shard()[1].write(b"data")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    assert snapshot(tmp_path) == {}


def test_a_bundle_without_tensors_has_an_empty_shard(tmp_path):
    write(tmp_path / "m", {}, shards=0)
    assert snapshot(tmp_path)["m.data-00000-of-00001"] == b""
    assert values(tmp_path / "m") == {}


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_several_shards(tmp_path, shards):
    write(tmp_path / "m", NEW, shards=shards)
    assert len(snapshot(tmp_path)) == shards + 1
    assert values(tmp_path / "m") == NEW


def test_a_bundle_that_exists_is_refused(tmp_path):
    write(tmp_path / "m", OLD)
    before = snapshot(tmp_path)
    with pytest.raises(
        tb.ConflictError, match=r"exists; use --overwrite \(overwrite=True\) to replace it"
    ) as caught:
        BundleWriter(str(tmp_path / "m"))
    assert caught.value.path == index_path(str(tmp_path / "m"))
    assert snapshot(tmp_path) == before


def test_a_stray_data_file_is_refused_and_kept(tmp_path):
    stray = tmp_path / "m.data-00000-of-00001"
    stray.write_bytes(b"somebody's")
    with pytest.raises(tb.ConflictError, match="exists") as caught:
        write(tmp_path / "m", NEW)
    assert caught.value.path == str(stray)
    assert snapshot(tmp_path) == {stray.name: b"somebody's"}


@pytest.mark.parametrize("key", [b"k", b"\xff"])
def test_two_tensors_with_one_key(tmp_path, key):
    writer = BundleWriter(str(tmp_path / "m"))
    writer.put(key, TensorEntry(DType.uint8, (), 1))
    with pytest.raises(tb.ConflictError, match="two tensors with one key") as caught:
        writer.put(key, TensorEntry(DType.uint8, (), 1))
    assert caught.value.key == key.decode("utf-8", "surrogateescape")
    with pytest.raises(ValueError, match="a tensor needs a key of at least one byte"):
        writer.put(b"", TensorEntry(DType.uint8, (), 1))
    writer.abort()


def test_files_beside_the_index(tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"old")
    with BundleWriter(str(tmp_path / "m")) as writer:
        writer.add_file(str(tmp_path / "checkpoint"), b"new")
        assert (tmp_path / "checkpoint").read_bytes() == b"old"
    assert (tmp_path / "checkpoint").read_bytes() == b"new"


def test_relative_prefixes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("m", NEW)
    assert values("m") == NEW


# Overwriting


@pytest.mark.parametrize("new_shards", [1, 2, 3])
@pytest.mark.parametrize("old_shards", [1, 2, 3])
def test_overwrite_keeps_the_old_one_until_the_commit(tmp_path, monkeypatch, old_shards, new_shards):
    write(tmp_path / "m", OLD, shards=old_shards)
    old = snapshot(tmp_path)
    seen = []
    replace = os.replace

    def look_then_replace(source, target):
        seen.append(values(tmp_path / "m"))
        replace(source, target)
        seen.append(values(tmp_path / "m"))

    monkeypatch.setattr(os, "replace", look_then_replace)
    writer = BundleWriter(str(tmp_path / "m"), overwrite=True)
    writer.add_shard()[1].write(b"never")
    assert {name: data for name, data in snapshot(tmp_path).items() if ".tempstate" not in name} == old
    writer.abort()
    assert snapshot(tmp_path) == old
    write(tmp_path / "m", NEW, overwrite=True, shards=new_shards)
    assert seen[0] == OLD
    assert seen[-1] == NEW
    assert seen == [OLD] * seen.count(OLD) + [NEW] * seen.count(NEW)
    assert values(tmp_path / "m") == NEW
    with tb.open(tmp_path / "m") as ckpt:
        assert len(snapshot(tmp_path)) == ckpt.num_shards + 1  # nothing of the old one is left


def test_an_old_shard_with_other_contents_never_loses_its_name_before_the_commit(tmp_path, monkeypatch):
    write(tmp_path / "m", OLD)
    targets = []
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda old, new: (targets.append(os.path.basename(new)), replace(old, new))
    )
    write(tmp_path / "m", NEW, overwrite=True)
    assert targets == ["m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"]
    assert snapshot(tmp_path)["m.data-00001-of-00002"] == b""


def test_the_old_one_stays_if_somebody_deletes_the_new_index(tmp_path, monkeypatch):
    """Before it is moved; its name is that of a temporary file."""
    write(tmp_path / "m", OLD)
    replace = os.replace

    def replace_too_late(old, new):
        if new.endswith(".index"):
            os.unlink(old)
        replace(old, new)

    monkeypatch.setattr(os, "replace", replace_too_late)
    with pytest.raises(
        tb.BundleError, match="can't be written: No such file or directory; nothing was changed"
    ):
        write(tmp_path / "m", NEW, overwrite=True)
    assert values(tmp_path / "m") == OLD


def test_a_shard_that_another_program_deletes_while_names_are_chosen(tmp_path, monkeypatch):
    write(tmp_path / "m", OLD)
    real = LocalStore.open

    def open_too_late(store, path):
        if path.endswith(".data-00000-of-00001"):
            os.unlink(path)
        return real(store, path)

    monkeypatch.setattr(LocalStore, "open", open_too_late)
    write(tmp_path / "m", NEW, overwrite=True)
    monkeypatch.undo()
    assert values(tmp_path / "m") == NEW


def test_overwriting_with_the_same_contents_gives_the_same_bytes(tmp_path):
    write(tmp_path / "m", NEW)
    before = snapshot(tmp_path)
    for _ in range(2):
        write(tmp_path / "m", NEW, overwrite=True)
        assert snapshot(tmp_path) == before


def test_overwriting_leaves_other_checkpoints_alone(tmp_path):
    write(tmp_path / "m", OLD, shards=2)
    write(tmp_path / "m.x", OLD)
    write(tmp_path / "xm", OLD)
    (tmp_path / "m.data-00000-of-00007").write_bytes(b"stray")  # of no bundle that is there
    write(tmp_path / "m", NEW, overwrite=True)
    assert values(tmp_path / "m.x") == values(tmp_path / "xm") == OLD
    assert (tmp_path / "m.data-00000-of-00007").read_bytes() == b"stray"


def test_overwriting_a_damaged_bundle(tmp_path):
    write(tmp_path / "m", OLD)
    (tmp_path / "m.index").write_bytes(b"damaged")
    write(tmp_path / "m", NEW, overwrite=True)
    assert values(tmp_path / "m") == NEW


def test_a_reader_of_the_old_one_goes_on(tmp_path):
    write(tmp_path / "m", OLD)
    with tb.open(tmp_path / "m") as ckpt:
        before = ckpt["a"]
        write(tmp_path / "m", NEW, overwrite=True)
        assert before.tobytes() == b"old a"


# Two writers


def test_of_two_writers_the_second_to_commit_is_refused(tmp_path):
    first, second = BundleWriter(str(tmp_path / "m")), BundleWriter(str(tmp_path / "m"))
    first.add_shard()[1].write(b"first")
    second.add_shard()[1].write(b"second")
    second.commit()
    after = snapshot(tmp_path).keys() - {name for name in snapshot(tmp_path) if ".tempstate" in name}
    with pytest.raises(tb.ConflictError, match="exists"):
        first.commit()
    assert snapshot(tmp_path).keys() == after
    assert snapshot(tmp_path)["m.data-00000-of-00001"] == b"second"


@pytest.mark.parametrize("overwrite", [True, False])
def test_writers_at_one_destination_at_once(tmp_path, overwrite):
    """What is there in the end is one of theirs, whole."""
    start = threading.Barrier(8)
    refused = []

    def run(number):
        start.wait()
        try:
            write(
                tmp_path / "m",
                {"a": bytes([number]) * 9, "b": bytes([number])},
                overwrite=overwrite,
                shards=2,
            )
        except tb.ConflictError:
            refused.append(number)

    threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = values(tmp_path / "m")
    assert set(found["a"]) == set(found["b"])
    assert len(refused) == (0 if overwrite else 7)
    with tb.open(tmp_path / "m") as ckpt:
        assert len(snapshot(tmp_path)) == ckpt.num_shards + 1


# Failing disks


def test_the_error_of_a_full_disk():
    clean, disk = MemoryDisk(directories=["run"]), MemoryDisk(directories=["run"])
    write("run/m", NEW, store=clean)
    disk.fails = clean.asked.index("flush")
    with pytest.raises(
        tb.BundleError, match="can't be written: No space left on device; nothing was changed"
    ) as caught:
        write("run/m", NEW, store=disk)
    assert caught.value.path == "run/m"
    assert disk.files == {}


def test_an_old_shard_that_can_not_be_removed(tmp_path, monkeypatch):
    """The new one is there by then, and that is what counts."""
    write(tmp_path / "m", OLD, shards=2)
    unlink = os.unlink

    def refuse_old(path):
        if str(path).endswith("-of-00002"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse_old)
    try:
        write(tmp_path / "m", NEW, overwrite=True)
    except tb.BundleError as error:
        assert "nothing was changed" not in str(error)  # noqa: PT017  an error is not required
    assert values(tmp_path / "m") == NEW


def test_no_such_directory(tmp_path):
    (tmp_path / "file").touch()
    for directory in ("none", "file"):
        with pytest.raises(tb.MissingFileError, match="no such directory; make it first"):
            BundleWriter(str(tmp_path / directory / "m"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(tb.BundleError, match="can't write into this directory"):
        write(tmp_path / "m", NEW)
    tmp_path.chmod(0o755)
