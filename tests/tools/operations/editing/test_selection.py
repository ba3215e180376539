"""Leaving tensors out: by patterns, all but some, or the optimizer's state."""

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import V215, V221
from support.golden import SAMPLE
from support.rewriting import (
    assert_sound,
    by_path,
    keras_like,
    rewritten,
    tensors_in,
    tree,
    variable,
    write,
    write_objects,
)
from tensorbundle.proto.graph import RegisteredSaver, Slot
from tensorbundle.tools import rewrite

TF1 = [
    "a/w",
    "a/w/Adam",
    "a/w/Adam_1",
    "a/b",
    "a/b/Momentum",
    "beta1_power",
    "train/beta2_power_1",
    "global_step",
]


def named(tmp_path, names):
    return write(tmp_path / "m", {name: np.float32(number) for number, name in enumerate(names)})


@pytest.mark.parametrize(
    ("patterns", "fitting"),
    [
        ("a/w", ["a/w"]),
        ("*/Adam*", ["a/w/Adam", "a/w/Adam_1"]),
        (["*_power*", "global_step"], ["beta1_power", "global_step", "train/beta2_power_1"]),
        ("a/?", ["a/b", "a/w"]),
        ("a/[!w]", ["a/b"]),
        ("re:^a/.*m(_1)?$", ["a/b/Momentum", "a/w/Adam", "a/w/Adam_1"]),
        ("re:Adam", ["a/w/Adam", "a/w/Adam_1"]),
    ],
    ids=str,
)
def test_patterns(tmp_path, patterns, fitting):
    source = named(tmp_path, TF1)
    assert list(rewritten(source, tmp_path / "kept", extract=patterns)) == fitting
    left = rewritten(source, tmp_path / "left", drop=patterns)
    assert list(left) == sorted(set(TF1) - set(fitting))
    assert all(left[name] == TF1.index(name) for name in left)


@pytest.mark.parametrize("step", ["drop", "extract"])
@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ("a/v", tb.TensorNotFoundError, r"m: no tensor matches the pattern 'a/v'; near: 'a/"),
        (["a/w", "zz*"], tb.TensorNotFoundError, r"m: no tensor matches the pattern 'zz\*'$"),
        ("re:(", tb.BundleError, r"^pattern 're:\(' is not a regular expression: "),
        (3, tb.BundleError, r"^step (drop|extract): 3 is not text"),
    ],
    ids=str,
)
def test_strict(tmp_path, step, patterns, error, message):
    with pytest.raises(error, match=message):
        rewrite(named(tmp_path, TF1), tmp_path / "out", **{step: patterns})


def test_everything(tmp_path):
    with pytest.raises(tb.ConflictError, match=r"m: this would remove every tensor$"):
        rewrite(named(tmp_path, TF1), tmp_path / "out", drop="*")


MODEL = ["model/last/w", "model/layer-0/bias", "model/layer-0/kernel", "save_counter"]


class TestObjects:
    @pytest.mark.parametrize(
        "pattern",
        ["optimizer/*", "optimizer", "re:^optimizer/"],
    )
    def test_an_optimizer(self, tmp_path, pattern):
        """Its own variables; `optimizer` alone is not the path of one."""
        source = write_objects(tmp_path / "m", keras_like())
        if pattern == "optimizer":
            with pytest.raises(tb.TensorNotFoundError):
                rewrite(source, tmp_path / "out", drop=pattern)
            return
        rewrite(source, tmp_path / "out", drop=pattern)
        left = by_path(tmp_path / "out")
        assert left == {
            key: value for key, value in by_path(source).items() if not key.startswith("optimizer")
        }

    def test_slots_go_with_their_variable(self, tmp_path):
        source = write_objects(tmp_path / "m", keras_like())
        rewrite(source, tmp_path / "out", drop="model/layer-0/kernel")
        found = by_path(tmp_path / "out")
        assert [path for path in found if "kernel" in path] == []
        assert len(found) == len(by_path(source)) - 3

    def test_slots_alone(self, tmp_path):
        source = write_objects(tmp_path / "m", keras_like())
        rewrite(source, tmp_path / "out", drop="*OPTIMIZER_SLOT*")
        assert sorted(by_path(tmp_path / "out")) == [
            *MODEL[:3],
            "optimizer/decay",
            "optimizer/iter",
            "save_counter",
        ]

    def test_extract_leaves_the_save_counter(self, tmp_path):
        source = write_objects(tmp_path / "m", keras_like())
        rewrite(source, tmp_path / "out", extract="model/last/*")
        assert by_path(tmp_path / "out") == {"save_counter": 0, "model/last/w": 5}

    def test_extract_of_slots(self, tmp_path):
        """What a pattern names is there afterwards, or it is said why not."""
        source = write_objects(tmp_path / "m", keras_like())
        try:
            rewrite(source, tmp_path / "out", extract="*OPTIMIZER_SLOT*")
        except tb.BundleError:
            return
        assert len([key for key in tensors_in(tmp_path / "out") if "SLOT" in key]) == 4

    def test_an_object_with_two_names(self, tmp_path):
        shared = variable()
        source = write_objects(tmp_path / "m", tree({"a": {"x": shared, "y": None}, "b": {"x": shared}}))
        rewrite(source, tmp_path / "out", drop="a/x")
        assert by_path(tmp_path / "out") == {"a/y": 1}
        with tb.open(tmp_path / "out") as ckpt:
            assert "b" not in ckpt.object_graph.root.children or not ckpt.object_graph["b"].children

    def test_saved_by_others(self, tmp_path):
        """Objects that registered savers saved have no attributes, and must not go for that."""
        root = tree({"x": None, "y": None})
        special = tree({})
        special.registered_saver = RegisteredSaver("Custom", "s")
        root.children["s"] = special
        source = write_objects(tmp_path / "m", root)
        rewrite(source, tmp_path / "out", drop="x")
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.object_graph["s"].registered_saver == RegisteredSaver("Custom", "s")


class TestSlim:
    @pytest.mark.parametrize(
        "names",
        [
            ["v", "v/Adam", "v/Adam_1", "beta1_power", "beta2_power"],
            ["v", "v/Momentum"],
            ["v", "v/RMSProp", "v/RMSProp_1", "v/RMSProp_2"],
            ["v", "v/Adagrad"],
            ["v", "v/Adadelta", "v/Adadelta_1"],
            ["v", "v/Ftrl", "v/Ftrl_1"],
            ["v", "v/adam_m", "v/adam_v"],
            ["v", "v/LAMB", "v/LAMB_1"],
            ["v", "training/Adam/iter", "training/Adam/v/m", "training_1/SGD/decay"],
            ["v", "opt/beta1_power_1"],
            ["v", "v/Adam", "scope/v", "scope/v/Adam_2"],
            ["v", "step", "dense/Momentum/kernel", "v/Momentum"],
        ],
        ids=lambda each: each[-1],
    )
    def test_names(self, tmp_path, names):
        state = [name for name in names if name not in ("v", "scope/v", "step", "dense/Momentum/kernel")]
        found = rewritten(named(tmp_path, names), tmp_path / "out", slim=True)
        assert sorted(found) == sorted(set(names) - set(state))

    @pytest.mark.parametrize(
        "names",
        [
            ["w", "global_step"],
            ["Adam", "Momentum/kernel", "encoder/Adam/w"],  # no variable that they could be slots of
            ["power", "my_beta1_power_curve"],
            ["layer/kernel", "layer/m"],
            ["training/dense/kernel"],
        ],
        ids=str,
    )
    def test_no_state(self, tmp_path, names):
        with pytest.raises(
            tb.ConflictError,
            match=r"m: no optimizer state was found; 'drop' removes what patterns match, such as '\*/Adam\*'$",
        ):
            rewrite(named(tmp_path, names), tmp_path / "out", slim=True)

    def test_not_asked_for(self, tmp_path):
        assert sorted(rewritten(named(tmp_path, TF1), tmp_path / "out", slim=False)) == sorted(TF1)

    @pytest.mark.parametrize(
        "edges",
        [
            ["iter", "decay"],
            ["_iterations", "_learning_rate", "_variables"],
            ["iterations", "_learning_rate"],
        ],
    )
    def test_objects(self, tmp_path, edges):
        kernel = variable()
        optimizer = tree(dict.fromkeys(edges))
        optimizer.children["watched"] = kernel  # the way through it is no longer than the other
        optimizer.slots = [Slot("m", kernel, variable())]
        source = write_objects(
            tmp_path / "m", tree({"o": optimizer, "model": {"layer": {"w": kernel}}, "save_counter": None})
        )
        rewrite(source, tmp_path / "out", slim=True)
        assert list(by_path(tmp_path / "out")) == ["save_counter", "model/layer/w"]

    def test_an_optimizer_inside_a_model(self, tmp_path):
        root = tree({"model": {"w": None}})
        root.children["model"].children["optimizer"] = tree({"iter": None, "decay": None, "momentum": None})
        rewrite(write_objects(tmp_path / "m", root), tmp_path / "out", slim=True)
        assert by_path(tmp_path / "out") == {"model/w": 0}

    @pytest.mark.parametrize(
        ("path", "gone", "count"),
        [
            (V215 / "keras-adam/ckpt-1", ["optimizer"], 14),
            (V221 / "keras-adam/ckpt-1", ["optimizer"], 14),
            (V215 / "keras-legacy-adam-slots/ckpt-1", ["optimizer"], 13),
            (SAMPLE, [], 22),
        ],
        ids=str,
    )
    def test_golden(self, tmp_path, path, gone, count):
        """Variables may be known by other paths afterwards: the shortest one led through the optimizer."""
        before = tensors_in(path)
        rewrite(path, tmp_path / "out", slim=True)
        assert_sound(tmp_path / "out")
        after = tensors_in(tmp_path / "out")
        assert 0 < len(after) < len(before)
        assert not [
            key
            for key in after
            if "OPTIMIZER_SLOT" in key or key.startswith(tuple(f"{each}/" for each in gone))
        ]
        lost = list(before.values())
        for each in after.values():
            lost.remove(each)
        assert len(lost) == count
