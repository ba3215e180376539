"""Other shapes: reshape, transpose, split, concat, and the slots of optimizers along."""

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from support.rewriting import by_path, finished, lists, rewritten, strings, tree, variable, write
from tensorbundle.proto.graph import Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import reshape, rewrite, transpose
from tensorbundle.tools.operations.steps.recipe import rewrite_with, step_of

W = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.fixture
def source(tmp_path):
    tensors = {
        "a/kernel": W,
        "a/kernel/Adam": W + 100,
        "a/kernel/Adam_1": W[0, 0],  # as some optimizers keep a scalar
        "a/bias": W[0],
        "b/kernel": W * 2,
    }
    return write(tmp_path / "m", tensors)


def test_reshape_takes_slots_along_and_shares(tmp_path, source):
    """No byte of a data shard is written: a shape is part of the index only."""
    summary = reshape(source, tmp_path / "out", {"a/*kernel": [2, 2, -1]})
    assert [(each.what, each.keys) for each in summary.notes] == [("reshaped", ("a/kernel", "a/kernel/Adam"))]
    assert (summary.bytes_dead, summary.bytes_shared) == (
        0,
        sum(each.nbytes for each in (W, W, W[0, 0], W[0], W)),
    )
    with tb.open(tmp_path / "out") as ckpt:
        assert lists(ckpt) == {
            "a/kernel": W.reshape(2, 2, 6).tolist(),
            "a/kernel/Adam": (W + 100).reshape(2, 2, 6).tolist(),
            "a/kernel/Adam_1": W[0, 0].tolist(),
            "a/bias": W[0].tolist(),
            "b/kernel": (W * 2).tolist(),
        }


@pytest.mark.parametrize("data", ["share", "copy"])
def test_what_is_reshaped_can_be_changed_further(tmp_path, source, data):
    found = rewritten(
        source,
        tmp_path / "out",
        reshape={"b/kernel": [24]},
        transpose={"a/kernel": [1, 0]},
        cast={"b/kernel": "float64"},
        partition={"b/kernel": 5},
    )
    assert found["b/kernel"].tolist() == (W * 2).reshape(-1).tolist()
    assert found["a/kernel"].tolist() == W.T.tolist()
    assert found["a/kernel/Adam"].tolist() == (W + 100).T.tolist()


def test_slices_strings_and_scalars(tmp_path):
    tensors = {"p": W, "s": strings(b"a", b"bc", b"", b"d"), "n": np.int64([[7]])}
    source = write(tmp_path / "m", tensors, cuts={"p": (3, 1)})
    found = rewritten(source, tmp_path / "out", reshape={"p": [3, 8], "s": [2, 2], "n": []})
    assert lists(found) == {
        "p": W.reshape(3, 8).tolist(),
        "s": [[b"a", b"bc"], [b"", b"d"]],
        "n": 7,
    }


@pytest.mark.parametrize(("axes", "shared"), [([0, 2, 1], True), ([2, 0, 1], True), ([1, 0, 2], False)])
def test_axes_of_length_one_move_without_a_copy(tmp_path, axes, shared):
    array = np.arange(12, dtype=np.int16).reshape(3, 4, 1)
    source = write(tmp_path / "m", {"a": array})
    summary = transpose(source, tmp_path / "out", {"a": axes})
    assert (summary.bytes_shared > 0) == shared
    assert tb.open(tmp_path / "out")["a"].tolist() == array.transpose(axes).tolist()


def test_objects_keep_their_slots(tmp_path):
    kernel = variable("kernel")
    optimizer = tree({"iter": None, "decay": None})
    optimizer.slots = [Slot("m", kernel, variable())]
    graph = finished(tree({"net": {"kernel": kernel}, "optimizer": optimizer}))
    keys = [each.checkpoint_key for _, _, each in graph.attributes()]
    slot = attribute_key("net/kernel/.OPTIMIZER_SLOT/optimizer/m")
    values = {key: W if "kernel" in key else np.float32(1) for key in keys}
    source = write(tmp_path / "m", values, graph=graph)
    found = rewritten(source, tmp_path / "out", transpose={"net/kernel": [1, 0]})
    assert found[slot].shape == found[attribute_key("net/kernel")].shape == (6, 4)
    with pytest.raises(tb.UnsupportedError, match=r"has slots in its optimizer .*'slim'"):
        rewrite(source, tmp_path / "cut", split={"net/kernel": {"into": {"net/a": 2, "net/b": 2}}})
    rewrite(source, tmp_path / "cut", slim=True, split={"net/kernel": {"into": {"net/a": 1, "net/c/b": -1}}})
    assert sorted(by_path(tmp_path / "cut")) == ["net/a", "net/c/b"]
    rewrite(tmp_path / "cut", tmp_path / "whole", concat={"net/a": {"of": ["net/a", "net/c/b"]}})
    assert tb.open(tmp_path / "whole")[attribute_key("net/a")].tolist() == W.tolist()
    assert sorted(by_path(tmp_path / "whole")) == ["net/a"]


def test_split_and_concat_are_each_others_inverse(tmp_path, source):
    parts = rewritten(
        source,
        tmp_path / "parts",
        drop="*/Adam_1",
        split={"a/kernel": {"into": {"x": 1, "y": -1, "z": 2}, "axis": 1}},
    )
    assert {key: array.shape for key, array in parts.items() if key[0] in "xyz"} == {
        f"{name}{slot}": (4, size)
        for name, size in {"x": 1, "y": 3, "z": 2}.items()
        for slot in ("", "/Adam")
    }
    whole = rewritten(
        tmp_path / "parts", tmp_path / "whole", concat={"a/kernel": {"of": ["x", "y", "z"], "axis": -1}}
    )
    assert lists(whole) == {
        "a/kernel": W.tolist(),
        "a/kernel/Adam": (W + 100).tolist(),
        "a/bias": W[0].tolist(),
        "b/kernel": (W * 2).tolist(),
    }


def test_concat_of_slices_and_strings(tmp_path):
    tensors = {"p": W, "q": W + 50, "s": strings(b"a", b"b"), "t": strings(b"c")}
    source = write(tmp_path / "m", tensors, cuts={"p": (2, 0), "q": (3, 1)})
    found = rewritten(
        source, tmp_path / "out", concat={"w": {"of": ["q", "p"], "axis": 1}, "s": {"of": ["s", "t"]}}
    )
    assert lists(found) == {"w": np.concatenate([W + 50, W], 1).tolist(), "s": [b"a", b"b", b"c"]}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"reshape": {"a/kernel": [5, -1]}}, r"key 'a/kernel': shape \[5, -1\] for \[4, 6\]$"),
        ({"reshape": {"a/*": [4, 6]}}, r"key 'a/kernel/Adam_1': shape \[4, 6\] for \[\]$"),
        ({"reshape": {"nope*": [1]}}, r"nope"),
        ({"transpose": {"a/bias": [0, 1]}}, r"key 'a/bias': axes \[0, 1\] of a tensor of rank 1$"),
        ({"split": {"a/bias": {"into": {"x": 2, "y": 2}}}}, r"lengths \[2, 2\] for the 6 of axis 0$"),
        ({"split": {"a/bias": {"into": {"x": -1, "y": -1}}}}, r"lengths \[-1, -1\] for the 6"),
        ({"split": {"a/bias": {"into": {"x": 9, "y": -3}}}}, r"lengths \[9, -3\] for the 6"),
        ({"split": {"a/bias": {"into": {"x": 6}, "axis": 1}}}, r"axis 1 of a tensor of rank 1$"),
        ({"split": {"a/bias": {"into": {"b/kernel": 2, "y": 4}}}}, r"key 'b/kernel': a tensor of this name exists already"),
        ({"split": {"a/kernel": {"into": {"x": 2, "y": 2}}}}, r"Adam_1': this slot of 'a/kernel' has another shape"),
        ({"split": {"a/bias": {"into": 3}}}, r"step split: 3 is not a table"),
        ({"split": {"a/bias": {}}}, r"step split: \{\} lacks 'into'"),
        ({"concat": {"x": {"of": ["a/bias", "b/kernel"]}}}, r"can't be joined along axis 0: 'a/bias' float32 \[6\]"),
        ({"concat": {"x": {"of": ["a/bias", "a/bias"]}}}, r"lists a tensor twice$"),
        ({"concat": {"x": {"of": ["b/kernel", "a/kernel"]}}}, r"Adam_1'"),
        ({"concat": {"x": {"of": []}}}, r"step concat: an empty list$"),
        ({"concat": {"a/bias": {"of": ["b/kernel"]}}}, r"key 'a/bias': a tensor of this name exists already$"),
        ({"drop": "a/kernel/Adam_1", "concat": {"x": {"of": ["b/kernel", "a/kernel"]}}}, r"'a/kernel/Adam' is a slot that not all"),
    ],
    ids=str,
)  # fmt: skip
def test_refused(tmp_path, source, steps, message):
    with pytest.raises(tb.BundleError, match=message):
        rewrite(source, tmp_path / "out", **steps)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", ["keras3-adafactor", "t5-adafactor", "keras2-adam"])
def test_slots_in_lists(tmp_path, name):
    """Slots are found in every optimizer; what an optimizer averages over an axis can't follow."""
    source = GOLDEN / "optimizers" / name
    if name.endswith("adafactor"):
        with pytest.raises(tb.ConflictError, match=r"averages '.*' over an axis of this tensor"):
            transpose(source, tmp_path / "out", {"*emb*" if name[0] == "t" else "*embeddings": [1, 0]})
        return
    summary = transpose(source, tmp_path / "out", {"model/emb": [1, 0]})
    assert len(summary.notes[0].keys) == 3


def test_tensors_that_are_split_and_joined_again_and_again(tmp_path):
    """Each time the result is computed of twice as many tensors, which a few dozen steps would not end."""
    source = write(tmp_path / "m", {"w": np.zeros(2, np.float32)})
    pair = [
        {"split": {"w": {"into": {"a": 1, "b": 1}}}},
        {"concat": {"w": {"of": ["a", "b"]}}},
    ]

    def steps(times):
        return [step_of(*item) for _ in range(times) for each in pair for item in each.items()]

    rewrite_with(steps(10), source, tmp_path / "few")
    with pytest.raises(tb.UnsupportedError, match="this joins parts of more than 10000 tensors; write a"):
        rewrite_with(steps(40), source, tmp_path / "many")
