"""The state file `checkpoint`."""

import pytest

import tensorbundle as tb
from tensorbundle.proto.state import CheckpointState

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
        b'model_checkpoint_path: "c"; unknown_field: 3',
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
