"""The state file `checkpoint`."""

import errno
import os
from dataclasses import replace

import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.directories import write_checkpoints, write_state, write_v1
from tensorbundle import state as state_module
from tensorbundle.state import CheckpointState

# What CheckpointManager writes.
MANAGED = b"""\
model_checkpoint_path: "ckpt-3"
all_model_checkpoint_paths: "ckpt-2"
all_model_checkpoint_paths: "ckpt-3"
all_model_checkpoint_timestamps: 1795176283.2356062
all_model_checkpoint_timestamps: 1795176283.2385008
last_preserved_timestamp: 1795176282.2050602
"""


def read(directory, text):
    (directory / "checkpoint").write_bytes(text)
    return CheckpointState.read(str(directory))


def test_what_a_manager_writes(tmp_path):
    state = read(tmp_path, MANAGED)
    assert state == CheckpointState(
        str(tmp_path),
        "ckpt-3",
        ("ckpt-2", "ckpt-3"),
        (1795176283.2356062, 1795176283.2385008),
        1795176282.2050602,
    )
    assert state.latest == str(tmp_path / "ckpt-3")
    assert state.encode() == MANAGED


def test_what_save_writes(tmp_path):
    text = b'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n'
    state = read(tmp_path, text)
    assert state == CheckpointState(str(tmp_path), "m-1", ("m-1",))
    assert state.encode() == text


def test_an_absolute_path_is_used_as_it_is(tmp_path):
    assert read(tmp_path, b'model_checkpoint_path: "/other/m-1"').latest == "/other/m-1"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ('a"b', rb'"a\"b"'),
        ("a\\b", rb'"a\\b"'),
        ("größe", '"größe"'.encode()),
        ("a'b", rb'"a\'b"'),
        ("a\nb", rb'"a\nb"'),
        ("a\tb\r", rb'"a\tb\r"'),
        ("\0\x1f\x7f\x80", b'"\\000\\037\\177\xc2\x80"'),
    ],
)
def test_strings_are_written_as_tensorflow_does(tmp_path, name, written):
    text = CheckpointState(str(tmp_path), name).encode()
    assert text == b"model_checkpoint_path: " + written + b"\n"
    assert read(tmp_path, text).latest_path == name


@pytest.mark.parametrize(
    "text",
    [
        b"model_checkpoint_path: 'c'",
        rb'model_checkpoint_path: "\143"',
        rb'model_checkpoint_path: "\x63"',
        b'# a comment\nmodel_checkpoint_path: "c"  # and another',
        b'model_checkpoint_path: "b"\nmodel_checkpoint_path: "c"',  # the last one wins
        b'model_checkpoint_path:\n"" "c"\n\n',  # strings side by side are one
        b'all_model_checkpoint_paths: ["a", "b"] model_checkpoint_path: "c"',
        b'model_checkpoint_path: "c"\r\nall_model_checkpoint_timestamps: 1f\r\n',
    ],
)
def test_text_format_is_more_than_what_is_written(tmp_path, text):
    assert read(tmp_path, text).latest_path == "c"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "names no latest checkpoint"),
        (b'all_model_checkpoint_paths: "m"', "names no latest checkpoint"),
        (b'model_checkpoint_path: ""', "names no latest checkpoint"),
        (b'model_checkpoint_path: "m', "not a state file: 1:"),
        (b"model_checkpoint_path: 3", "not a state file: 1:"),
        (b'model_checkpoint_path: "c"; unknown: 3', "not a state file: 1:29 .* no field named .unknown."),
        (b'model_checkpoint_path: "c" [a.b]: 3', "not a state file: 1:"),
        (b'1: "c"', "not a state file: 1:"),
        (b'\xef\xbb\xbfmodel_checkpoint_path: "c"', "not a state file: 1:1"),
        (b"{ " * 100_000, "not a state file: 1:1"),
        (b'model_checkpoint_path: "' + b"x" * 10_000, "not a state file: .{,200}$"),
        (b"\xff\xfe", "not a state file: invalid start byte"),
        (rb'model_checkpoint_path: "\xff"', "not a state file: "),
    ],
)
def test_malformed(tmp_path, text, reason):
    with pytest.raises(tb.CorruptionError, match=reason) as caught:
        read(tmp_path, text)
    assert caught.value.path == str(tmp_path / "checkpoint")


def test_missing(tmp_path):
    with pytest.raises(tb.MissingFileError, match="no such state file") as caught:
        CheckpointState.read(str(tmp_path))
    assert caught.value.path == str(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (1700000000, b"1700000000.0"),
        (0.0, b"0.0"),
        (1e16, b"1e+16"),
        (float("-inf"), b"-inf"),
        (float("nan"), b"nan"),
    ],
)
def test_numbers_are_written_as_tensorflow_does(time, written):
    text = CheckpointState("run", "", (), (time,), time).encode()
    preserved = b"last_preserved_timestamp: " + written + b"\n" if time else b""
    assert text == b"all_model_checkpoint_timestamps: " + written + b"\n" + preserved


def test_a_carriage_return_in_a_name_stays(tmp_path):
    assert read(tmp_path, b'model_checkpoint_path: "a\rb"').latest_path == "a\rb"


def test_a_directory_of_that_name_is_no_state_file(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(tb.MissingFileError, match="no such state file"):
        CheckpointState.read(str(tmp_path))


def test_the_size_is_bounded(tmp_path):
    with open(tmp_path / "checkpoint", "wb") as file:
        file.truncate(state_module.MAX_STATE_BYTES + 1)
    with pytest.raises(tb.CorruptionError, match="not a state file: 16777217 bytes"):
        CheckpointState.read(str(tmp_path))


class TestListed:
    """Paths with their timestamps, paired as a CheckpointManager pairs them when it starts."""

    @pytest.mark.parametrize(
        ("paths", "timestamps", "listed"),
        [
            ((), (), {"c": None}),
            (("b", "c"), (), {"b": None, "c": None}),
            (("b", "c"), (1.0, 2.0), {"b": 1.0, "c": 2.0}),
            (("b", "c"), (1.0,), {"b": 1.0, "c": None}),
            (("b", "c"), (1.0, 2.0, 3.0), {"b": 1.0, "c": 2.0}),
            (("a", "b"), (1.0, 2.0), {"a": 1.0, "b": 2.0, "c": None}),
            (("b", "c", "b"), (1.0, 2.0, 3.0), {"b": 3.0, "c": 2.0}),
        ],
    )
    def test_pairs(self, paths, timestamps, listed):
        found = CheckpointState("run", "c", paths, timestamps).listed
        assert list(found.items()) == list(listed.items())

    def test_a_state_of_nothing(self):
        assert CheckpointState("run", "").listed == {}


class TestLocated:
    """Where a listed path is now."""

    @pytest.fixture
    def run(self, tmp_path):
        write_checkpoints(tmp_path / "run", ["m-1"])
        write_v1(tmp_path / "run" / "old")
        write_v1(tmp_path / "run" / "two-00000-of-00002")
        write_v1(tmp_path / "run" / "two-00001-of-00002")
        write_checkpoints(tmp_path / "other", ["m-1", "m-2"])
        return write_state(tmp_path / "run", ["m-1"])

    @pytest.mark.parametrize(
        ("path", "where"),
        [
            ("m-1", "run/m-1"),
            ("./m-1", "run/./m-1"),
            ("m-3", "run/m-3"),
            ("old", "run/old"),
            ("two-?????-of-00002", "run/two-?????-of-00002"),
            ("../other/m-2", "run/../other/m-2"),  # where TensorFlow finds it
            ("../gone/m-1", "run/m-1"),
            ("../gone/m-3", "run/../gone/m-3"),
            ("/gone/m-1", "run/m-1"),
            ("/gone/old", "run/old"),
            ("/gone/two-?????-of-00002", "run/two-?????-of-00002"),
            ("/gone/m-3", "/gone/m-3"),
            ("/gone/checkpoint", "/gone/checkpoint"),  # not the state file
            ("/gone/", "/gone/"),
            ("/gone/m-1\0", "/gone/m-1\0"),
        ],
    )
    def test_paths(self, tmp_path, run, path, where):
        assert run.located(path) == os.path.join(tmp_path, where)

    def test_what_is_still_where_it_was(self, tmp_path, run):
        assert run.located(f"{tmp_path}/other/m-1") == f"{tmp_path}/other/m-1"

    def test_a_prefix_without_a_name(self, tmp_path, run):
        for ending in (".index", ".data-00000-of-00001"):
            (tmp_path / "run" / f"m-1{ending}").rename(tmp_path / "run" / ending)
        assert run.located("/gone/") == f"{tmp_path}/run/"
        path = CheckpointState.of_prefixes(str(tmp_path / "run"), f"{tmp_path}/run/").latest_path
        assert path == "./"  # TensorFlow writes ".", and finds nothing there
        assert run.located(path) == f"{tmp_path}/run/./"

    def test_several_v1_checkpoints_of_one_name(self, tmp_path, run):
        write_v1(tmp_path / "run" / "two-00000-of-00003")
        assert run.located(f"{tmp_path}/run/two") == f"{tmp_path}/run/two"


class TestSaved:
    """What a state becomes when a checkpoint was saved."""

    def test_the_first_one(self, tmp_path):
        state = CheckpointState(str(tmp_path), "").saved("m-1", 5.0)
        assert state == CheckpointState(str(tmp_path), "m-1", ("m-1",))

    def test_timestamps_go_on_where_there_are_any(self):
        state = CheckpointState("run", "a", ("a",), (1.0,), 0.5).saved("b", 5.0)
        assert state == CheckpointState("run", "b", ("a", "b"), (1.0, 5.0), 0.5)
        assert CheckpointState("run", "a", ("a",)).saved("b", 5.0).timestamps == ()
        assert CheckpointState("run", "b", ("a",), (1.0,)).saved("c", 5.0).timestamps == ()

    def test_one_that_is_listed_where_it_was(self, tmp_path):
        write_checkpoints(tmp_path, ["a"])
        state = CheckpointState(str(tmp_path), "/gone/a", ("/gone/b", "/gone/a"), (1.0, 2.0)).saved("a", 5.0)
        assert state == CheckpointState(str(tmp_path), "a", ("/gone/b", "a"), (1.0, 5.0))

    @pytest.mark.parametrize("path", ["b", "./b", "../run/b", os.path.abspath("run/b")])
    def test_one_that_is_listed_moves_to_the_end(self, path):
        state = CheckpointState("run", "c", ("a", path, "c"), (1.0, 2.0, 3.0)).saved("b", 5.0)
        assert state == CheckpointState("run", "b", ("a", "c", "b"), (1.0, 3.0, 5.0))


class TestWriting:
    def test_what_is_there_is_replaced_at_once(self, tmp_path):
        (tmp_path / "checkpoint").write_bytes(b"old")
        state = write_state(tmp_path, ["a", "b"], [1.0, 2.5])
        assert CheckpointState.read(str(tmp_path)) == state
        assert snapshot(tmp_path) == {"checkpoint": state.encode()}

    def test_a_full_disk_changes_nothing(self, tmp_path, monkeypatch):
        def fail(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        state = write_state(tmp_path, ["a"])
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(tb.BundleError, match=r"can't be written: No space left on device") as caught:
            replace(state, latest_path="b").write()
        assert caught.value.path == str(tmp_path / "checkpoint")
        assert snapshot(tmp_path) == {"checkpoint": state.encode()}

    def test_no_directory(self, tmp_path):
        with pytest.raises(tb.MissingFileError, match="no such directory"):
            write_state(tmp_path / "nope", ["a"])

    def test_a_path_that_is_not_utf_8(self, tmp_path):
        with pytest.raises(tb.UnsupportedError, match="path that is not UTF-8"):
            write_state(tmp_path, ["a\udcff"])
        assert snapshot(tmp_path) == {}

    @pytest.mark.parametrize("name", ["m.index", "m"])
    def test_a_new_one_is_readable_by_no_more_than_the_checkpoint(self, tmp_path, name):
        (tmp_path / name).touch(mode=0o600)
        state = CheckpointState.of_prefixes(str(tmp_path), str(tmp_path / "m"))
        state.write()
        assert (tmp_path / "checkpoint").stat().st_mode & 0o777 == 0o600
        (tmp_path / "checkpoint").chmod(0o644)
        state.write()
        assert (tmp_path / "checkpoint").stat().st_mode & 0o777 == 0o644

    def test_the_file_itself_is_no_checkpoint(self, tmp_path):
        with pytest.raises(tb.ConflictError, match="the state file has this name"):
            write_state(tmp_path, [str(tmp_path / "checkpoint")])
        assert snapshot(tmp_path) == {}

    def test_the_latest_is_listed_last(self):
        assert CheckpointState.of_prefixes("run", "run/b").all_paths == ("b",)
        assert CheckpointState.of_prefixes("run", "run/b", ["run/b", "run/a"]).all_paths == ("b", "a", "b")

    def test_timestamps_that_do_not_fit(self):
        with pytest.raises(ValueError, match="1 timestamps for 2 checkpoints"):
            CheckpointState.of_prefixes("run", "b", ["a", "b"], timestamps=[1.0])
