"""From what a person gives to a checkpoint's files."""

import os
import re

import pytest

import tensorbundle as tb
from support.bundles import table_bytes, write_bundle
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import is_checkpoint, prefixes_in, shards_of, v1_files

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def test_paths():
    assert index_path("run/m") == "run/m.index"
    assert shard_path("run/m", 3, 12) == "run/m.data-00003-of-00012"
    assert shard_path("m", 123456, 1234567) == "m.data-123456-of-1234567"


def test_shards_of(tmp_path):
    for name in (
        "m.data-00001-of-00002",
        "m.data-00000-of-00002",
        "m.data-100000-of-100001",
        "m.data-0000-of-00002",
        "m.data-00000-of-00002.tempstate7",
        "xm.data-00000-of-00002",
        "m.data-00000-of-00002.data-00000-of-00001",
        "m.index",
    ):
        (tmp_path / name).touch()
    prefix = str(tmp_path / "m")
    assert shards_of(prefix) == {
        (0, 2): f"{prefix}.data-00000-of-00002",
        (1, 2): f"{prefix}.data-00001-of-00002",
        (100000, 100001): f"{prefix}.data-100000-of-100001",
    }
    assert shards_of(str(tmp_path / "none" / "m")) == {}
    assert prefixes_in(str(tmp_path)) == ["m"]


@pytest.fixture
def run(tmp_path):
    """A directory with the checkpoints m-1 and m-2, and a state file that says m-2."""
    for name in ("m-1", "m-2"):
        write_bundle(tmp_path / name, {}, [b""])
        (tmp_path / f"{name}.meta").write_bytes(b"graph")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-2"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("m-1", "m-1"),
        ("m-1.index", "m-1"),
        ("m-1.meta", "m-1"),
        ("m-1.data-00000-of-00001", "m-1"),
        ("m-1.data-00007-of-00009", "m-1"),  # a shard of the checkpoint, though not there
        ("", "m-2"),
        ("checkpoint", "m-2"),
        ("../RUN", "m-2"),
    ],
)
def test_what_means_a_checkpoint(run, given, meant):
    path = str(run / given) if given != "../RUN" else f"{run}/../{run.name}/"
    assert resolve_prefix(path).replace(f"/../{run.name}", "") == str(run / meant)


def test_paths_relative_to_the_working_directory(run, monkeypatch):
    monkeypatch.chdir(run)
    assert resolve_prefix("m-1") == "m-1"
    assert resolve_prefix("m-1.index") == "m-1"
    assert resolve_prefix("checkpoint") == "./m-2"
    assert resolve_prefix(".") == "./m-2"
    with tb.open("m-1") as ckpt:
        assert len(ckpt) == 0


def test_a_prefix_wins_over_a_directory_of_its_name(run):
    (run / "m-1").mkdir()
    assert resolve_prefix(str(run / "m-1")) == str(run / "m-1")
    with pytest.raises(
        tb.MissingFileError, match="a directory without a 'checkpoint' state file; no checkpoint is"
    ):
        resolve_prefix(str(run / "m-1") + "/")


@pytest.mark.parametrize("name", ["[a]*?", "a b", "ü", "-x", ".index", "m.index", "checkpoint", "a\nb"])
def test_names_are_taken_literally(tmp_path, name):
    prefix = write_bundle(tmp_path / name, {}, [b""])
    assert resolve_prefix(prefix) == prefix
    assert resolve_prefix(f"{prefix}.index") == prefix


def test_an_empty_prefix(tmp_path):
    """`Checkpoint.write("dir/")` writes `dir/.index`."""
    write_bundle(tmp_path / "x", {}, [b""])
    for path in tmp_path.iterdir():
        path.rename(tmp_path / path.name.removeprefix("x"))
    assert resolve_prefix(f"{tmp_path}/") == resolve_prefix(str(tmp_path)) == f"{tmp_path}/"
    with tb.open(tmp_path) as ckpt:
        assert ckpt.prefix == f"{tmp_path}/"


@pytest.mark.parametrize("inside", ["saved_model.pb", "saved_model.pbtxt", None])
def test_a_saved_model(tmp_path, inside):
    (tmp_path / "variables").mkdir()
    prefix = write_bundle(tmp_path / "variables" / "variables", {}, [b""])
    if inside:
        (tmp_path / inside).touch()
    assert resolve_prefix(str(tmp_path)) == prefix


def test_the_only_checkpoint_without_a_state_file(tmp_path):
    """As published models come."""
    prefix = write_bundle(tmp_path / "bert_model.ckpt", {}, [b""])
    (tmp_path / "vocab.txt").touch()
    assert resolve_prefix(str(tmp_path)) == prefix
    write_bundle(tmp_path / "other", {}, [b""])
    with pytest.raises(tb.MissingFileError, match=r"state file; found 'bert_model.ckpt', 'other'"):
        resolve_prefix(str(tmp_path))


def test_a_state_file_with_an_absolute_path(run):
    (run / "elsewhere").mkdir()
    (run / "elsewhere" / "checkpoint").write_text(f'model_checkpoint_path: "{run}/m-1"\n')
    assert resolve_prefix(str(run / "elsewhere")) == str(run / "m-1")


def test_a_state_file_that_names_an_absent_checkpoint(run):
    """Neither the older ones that it lists nor what lies there is taken instead."""
    (run / "checkpoint").write_text('model_checkpoint_path: "m-3"\nall_model_checkpoint_paths: "m-1"\n')
    with pytest.raises(
        tb.MissingFileError,
        match=r"its state file names 'm-3' as the latest checkpoint, which is not there; found 'm-1', 'm-2'$",
    ) as caught:
        resolve_prefix(str(run))
    assert caught.value.path == str(run)


def test_a_damaged_state_file(run):
    (run / "checkpoint").write_text("model_checkpoint_path:")
    with pytest.raises(tb.CorruptionError, match="not a state file") as caught:
        resolve_prefix(str(run))
    assert caught.value.path == str(run / "checkpoint")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            "m-10",
            r"no checkpoint of this name \(m-10.index does not exist\); found 'm-1'$",
        ),  # the near one
        ("m-10.index", r"\(m-10.index does not exist\); found 'm-1'$"),
        ("m-3.data-00000-of-00001", r"\(m-3.index does not exist\); found"),
        ("zzz", r"\(zzz.index does not exist\); found 'm-1', 'm-2'$"),
        ("none/m", "no such directory: '.*/none'$"),
        ("none/", "no such directory: '.*/none'$"),
    ],
)
def test_nothing_there(run, given, reason):
    with pytest.raises(tb.MissingFileError, match=reason) as caught:
        resolve_prefix(f"{run}/{given}")
    assert caught.value.path == f"{run}/{given}"


DIED = ".* is a file of a save that died, .*'tensorbundle salvage' saves .*"
PARTS = ".* has the parts of a save that was not merged, .*: give that directory"


@pytest.mark.parametrize(
    ("left", "of_this", "of_any"),
    [
        ("n.index.tempstate123", DIED, DIED),
        ("n.data-00001-of-00002.tempstate1", DIED, DIED),
        ("other.index.tempstate123", "", DIED),
        ("n_temp/", PARTS, PARTS),
        ("n_temp_0b1c/", PARTS, PARTS),
        ("other_temp/", "", PARTS),
        ("n_temp", "", ""),
        ("n.tempstate1", "", ""),
    ],
)
def test_a_save_that_did_not_end(run, left, of_this, of_any):
    (run / left).mkdir() if left.endswith("/") else (run / left).touch()
    with pytest.raises(tb.MissingFileError) as caught:
        resolve_prefix(str(run / "n"))
    assert re.fullmatch(
        rf"no checkpoint of this name \(n.index .*\); found 'm-1', 'm-2'{of_this}", caught.value.reason
    )
    (run / "checkpoint").unlink()
    with pytest.raises(tb.MissingFileError) as caught:
        resolve_prefix(str(run))
    assert re.fullmatch(f"a directory without .*; found 'm-1', 'm-2'{of_any}", caught.value.reason)


def test_what_is_there_is_told_in_short(tmp_path):
    for name in "abcdef":
        (tmp_path / f"{name}.index").touch()
    with pytest.raises(tb.MissingFileError, match=r"found 'a', 'b', 'c' and 3 more$"):
        resolve_prefix(str(tmp_path))


def test_shards_without_index(run):
    (run / "m-1.index").unlink()
    for given in ("m-1", "m-1.data-00000-of-00001", "m-1.index"):
        with pytest.raises(
            tb.MissingFileError, match="there is 1 data shard of that name: without its index"
        ) as caught:
            resolve_prefix(str(run / given))
        assert caught.value.path == str(run / "m-1.index")


def test_git_lfs_pointers(run):
    """Of an index, of a data shard and of a file of no checkpoint."""
    (run / "m-1.index").write_bytes(LFS)
    (run / "m-2.data-00000-of-00001").write_bytes(LFS)
    (run / "old").write_bytes(LFS)
    for given in ("m-1", "m-1.index", "old"):
        with pytest.raises(
            tb.CorruptionError, match="a Git-LFS pointer: fetch the real file with 'git lfs pull'"
        ):
            tb.open(run / given)


V1 = table_bytes([(b"", b"\x0a\x00")])  # without tensors


@pytest.fixture
def old(tmp_path):
    """A directory with V1 checkpoints: `one` in a single file, `two` in two, `both` in one and in two."""
    for name in ("one", "two-00000-of-00002", "two-00001-of-00002"):
        (tmp_path / name).write_bytes(V1)
    for name in ("both", "both-00000-of-00002", "both-00001-of-00002"):
        (tmp_path / name).write_bytes(V1)
    (tmp_path / "one.meta").write_bytes(b"graph")
    (tmp_path / "two.meta").write_bytes(b"graph")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "two-?????-of-00002"\n')
    return tmp_path


TWO = "two-?????-of-00002"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("one", "one"),
        ("one.meta", "one"),
        ("two", TWO),
        ("two.meta", TWO),
        (TWO, TWO),
        ("two-?????-of-?????", TWO),
        ("two-00000-of-00002", TWO),
        ("two-00001-of-00002", TWO),
        ("both", "both"),  # as for TensorFlow, to which it is no pattern
        ("both-?????-of-00002", "both-?????-of-00002"),
        ("both-00001-of-00002", "both-?????-of-00002"),
        ("", TWO),
        ("checkpoint", TWO),
    ],
)
def test_what_means_a_v1_checkpoint(old, given, meant):
    assert resolve_prefix(str(old / given)) == str(old / meant)
    with tb.open(old / given) as ckpt:
        assert ckpt.prefix == str(old / meant)
        assert ckpt.num_shards == len(v1_files(str(old / meant))) == (1 if meant in ("one", "both") else 2)
    assert is_checkpoint(str(old / meant))


def test_v1_paths_relative_to_the_working_directory(old, monkeypatch):
    monkeypatch.chdir(old)
    for given in ("two", "two-00000-of-00002", TWO):
        assert resolve_prefix(given) == TWO
    assert resolve_prefix(".") == f"./{TWO}"
    assert v1_files(TWO) == ["two-00000-of-00002", "two-00001-of-00002"]


def test_one_of_several_v1_files_by_itself(old):
    """Where others are missing, it can be read as what it is; what means them all can't."""
    (old / "two-00001-of-00002").unlink()
    with tb.open(old / "two-00000-of-00002") as ckpt:
        assert (ckpt.prefix, ckpt.num_shards) == (str(old / "two-00000-of-00002"), 1)
    for given in ("two", TWO, "two.meta", ""):
        with pytest.raises(tb.MissingFileError, match="one of the files of a V1 checkpoint") as caught:
            tb.open(old / given)
        assert caught.value.path == str(old / "two-00001-of-00002")


def test_several_numbers_of_v1_files(old):
    (old / "two-00000-of-00001").write_bytes(V1)
    for given in ("two", "two.meta", "two-?????-of-?????"):
        with pytest.raises(
            tb.ConflictError,
            match=r"there are .*two-[?]{5}-of-00001' and .*-of-00002'; give the name of one of them",
        ):
            tb.open(old / given)
    assert is_checkpoint(str(old / "two"))
    assert resolve_prefix(str(old / TWO)) == str(old / TWO)
    assert resolve_prefix(str(old / "two-00000-of-00001")) == str(old / "two-?????-of-00001")


@pytest.mark.parametrize("count", ["99999999999", "9" * 200, "00000", "000002"])
def test_a_file_name_that_claims_many_others(tmp_path, count):
    """Neither time nor memory go with what a name says."""
    (tmp_path / f"m-00000-of-{count}").write_bytes(V1)
    assert len(v1_files(str(tmp_path / "m"))) == (0 if count == "00000" else 2)
    with pytest.raises(tb.MissingFileError):
        tb.open(tmp_path / "m")
    with tb.open(tmp_path / f"m-00000-of-{count}") as ckpt:
        assert list(ckpt) == []


def test_data_shards_are_no_v1_files(run):
    """Although their names look like those of V1 files with the prefix `m-1.data`."""
    for given in ("m-1.data", "m-1.data-?????-of-00001"):
        assert v1_files(str(run / given)) == []
        with pytest.raises(tb.MissingFileError):
            tb.open(run / given)


def test_of_both_formats_under_one_name_the_new_one_is_read(old):
    """As TensorFlow does."""
    write_bundle(old / "one", {}, [b""])
    write_bundle(old / "two", {}, [b""])
    for given, meant in (("one", "one"), ("two", "two"), ("two-00000-of-00002", TWO)):
        assert resolve_prefix(str(old / given)) == str(old / meant)
        with tb.open(old / given) as ckpt:
            assert ckpt.index.file_format == ("v1" if meant == TWO else "v2")


def test_a_v1_state_file_that_is_out_of_date(old):
    for path in old.glob("two-*"):
        path.unlink()
    with pytest.raises(
        tb.MissingFileError, match=r"its state file names 'two-[?]{5}-of-00002' as the latest"
    ):
        tb.open(old)


@pytest.mark.parametrize("listed", ["/gone/to/run/m-1", "../somewhere/m-1"])
def test_state_file_of_a_moved_directory(run, listed):
    """What the state file calls by where it was is beside it now."""
    (run / "checkpoint").write_text(f'model_checkpoint_path: "{listed}"\n')
    assert resolve_prefix(str(run)) == str(run / "m-1")


def test_state_file_of_a_moved_directory_without_it(run):
    (run / "checkpoint").write_text('model_checkpoint_path: "/gone/to/run/m-9"\n')
    with pytest.raises(
        tb.MissingFileError, match="m-9' as the latest checkpoint, which is not there; found 'm-1'"
    ):
        resolve_prefix(str(run))


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "weights").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(tb.CorruptionError, match="an HDF5 file") as caught:
        tb.open(tmp_path / "weights")
    assert caught.value.path == str(tmp_path / "weights")


@pytest.mark.parametrize("path", ["", "/", "no\0such", "no\0such/m", "x" * 5000])
def test_impossible_paths(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tb.MissingFileError):
        tb.open(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_index_that_is_no_regular_file(make, tmp_path):
    make(tmp_path / "m.index")
    with pytest.raises(tb.MissingFileError, match=r"m\.index: not a regular file but a (pipe|directory)"):
        resolve_prefix(str(tmp_path / "m"))


def test_a_set_of_files_has_the_name_that_it_was_written_by(tmp_path):
    listed = tmp_path / "m.safetensors.index.json"
    listed.touch()
    assert resolve_prefix(str(tmp_path / "m.safetensors")) == str(listed)
    (tmp_path / "m.safetensors").touch()
    assert resolve_prefix(str(tmp_path / "m.safetensors")) == str(tmp_path / "m.safetensors")
    with pytest.raises(tb.MissingFileError, match=r"n.safetensors: no such file"):
        resolve_prefix(str(tmp_path / "n.safetensors"))
    with pytest.raises(tb.MissingFileError, match=r"n.npz: no such file"):
        resolve_prefix(str(tmp_path / "n.npz"))
