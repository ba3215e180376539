"""What one step adds, as a conversion a save counter, the next step edits as if a checkpoint had it."""

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import our_reading
from support.rewriting import lists, write
from tensorbundle.tools import convert, rewrite
from tensorbundle.tools.operations.converting.conversion import to_tf2
from tensorbundle.tools.operations.editing.combining import average
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import transfer

SAVES = "save_counter"
COUNTER = f"{SAVES}/.ATTRIBUTES/VARIABLE_VALUE"
SCALAR = "axis 0 of a tensor of rank 0"


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"w": np.float32([[1, 2], [3, 4]])})


def edited(source, destination, **steps):
    """What comes out, or why nothing does."""
    try:
        rewrite(source, destination, **steps)
    except tb.BundleError as error:
        return error.reason, error.key
    return our_reading(destination)


@pytest.mark.parametrize(
    ("edit", "refused"),
    [
        ({"cast": {"*": "bfloat16"}}, None),  # which is for floating-point tensors
        ({"cast": {SAVES: "float32"}}, None),
        ({"cast": {SAVES: "int32"}}, "more than rounding would be lost"),
        ({"cast": {SAVES: "int32", "allow_lossy": True}}, None),
        ({"reshape": {SAVES: [1]}}, None),
        ({"reshape": {SAVES: [1, 1]}, "transpose": {SAVES: [1, 0]}}, None),
        ({"reshape": {SAVES: [2]}}, "shape [2] for []"),
        ({"partition": {SAVES: 2}}, SCALAR),
        ({"split": {SAVES: {"into": {"a": 1}}}}, SCALAR),
        ({"concat": {"a": {"of": [SAVES, "vars/w"]}}}, SCALAR),
        ({"set": {SAVES: "3"}}, None),
        ({"rename": {SAVES: "saves"}}, None),
        ({"drop": SAVES}, None),
        ({"reshard": 3}, None),
        ({"reshard": {"max_shard_size": "4B", "cut": True}}, None),
    ],
    ids=str,
)
def test_as_if_it_were_stored(tmp_path, source, edit, refused):
    convert(source, tmp_path / "saved-7", to="tf2")
    found = edited(source, tmp_path / "once-7", convert="tf2", **edit)
    assert found == edited(tmp_path / "saved-7", tmp_path / "twice-7", **edit)
    if refused is None:
        assert isinstance(found, dict)
    else:
        assert (found[0][: len(refused)], found[1]) in [(refused, COUNTER), (refused, None)]


def test_resize(tmp_path, source):
    (tmp_path / "vocabulary").write_text("a\n")
    words = {"old_vocab": str(tmp_path / "vocabulary"), "new_vocab": str(tmp_path / "vocabulary")}
    assert edited(source, tmp_path / "m-7", convert="tf2", resize={SAVES: words}) == (SCALAR, COUNTER)


@pytest.mark.parametrize(("saves", "differ"), [((3, 8), [COUNTER]), ((8, 8), [])], ids=str)
def test_average(tmp_path, source, saves, differ):
    other = write(tmp_path / "other", {"w": np.float32([[3, 4], [5, 6]])})
    drafts = []
    with tb.open(source) as first, tb.open(other) as second:
        for ckpt, count in zip((first, second), saves, strict=True):
            drafts.append(Draft.of(ckpt))
            to_tf2(drafts[-1], counter=count)
        mean, from_last = average(drafts)
        transfer(mean.plan(), str(tmp_path / "out"), TransferOptions())
    assert from_last == differ
    with tb.open(tmp_path / "out") as ckpt:
        assert lists({name: ckpt[name] for name in ("vars/w", SAVES)}) == {
            "vars/w": [[2, 3], [4, 5]],
            SAVES: 8,
        }
