"""Values that get another shape in a template: kernels of BERT's attention, which Keras has with an axis for heads."""

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import main
from support.rewriting import assert_sound, by_path, finished, tree, variable, write
from tensorbundle.proto.graph import Slot
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import convert, rewrite

KERNEL, BIAS = np.arange(24, dtype="f4").reshape(4, 6), np.arange(6, dtype="f4")
SHAPES = {"q/kernel": (4, 2, 3), "q/bias": (2, 3)}


@pytest.fixture
def source(tmp_path):
    """As TF1 wrote it, with Adam's means."""
    tensors = {"q/kernel": KERNEL, "q/bias": BIAS, "global_step": np.int64(7)}
    for number, name in enumerate(("Adam", "Adam_1"), 1):
        tensors |= {f"q/{each}/{name}": tensors[f"q/{each}"] + 100 * number for each in ("kernel", "bias")}
    return write(tmp_path / "source", tensors)


def template(prefix, *, built=True):
    """A Keras 2 program with a legacy Adam, which has run or not."""
    kernel, bias = variable("q/kernel"), variable("q/bias")
    optimizer = tree(dict.fromkeys(("iter", "beta_1", "beta_2", "decay", "learning_rate")) if built else {})
    for role in ("m", "v") if built else ():
        optimizer.slots += [
            Slot(role, each, variable(f"{name}/{role}"))
            for name, each in (("q/kernel", kernel), ("q/bias", bias))
        ]
    graph = finished(tree({"q": {"kernel": kernel, "bias": bias}, "optimizer": optimizer}))
    tensors = {}
    for path, _, each in graph.attributes():
        shape = next((shape for name, shape in SHAPES.items() if path.startswith(name)), ())
        value = np.int64(0) if path == "optimizer/iter" else np.full(shape, 0.5, "f4")
        tensors[each.checkpoint_key] = value
    return write(prefix, tensors, graph=graph)


@pytest.mark.parametrize("built", [True, False])
def test_row_by_row(source, built, tmp_path):
    """Also slots, those that the optimizer has not made yet among them; and the summary lists all."""
    fresh = template(tmp_path / "fresh", built=built)
    summary = convert(source, tmp_path / "out", to="tf2", template=fresh, allow_reshape=True)
    assert_sound(tmp_path / "out")
    with tb.open(tmp_path / "out") as ckpt:
        found = {key.removesuffix(attribute_key("")): ckpt[key] for key in ckpt}
    for name, value in (("q/kernel", KERNEL), ("q/bias", BIAS)):
        for path, added in (
            (name, 0),
            (f"{name}/.OPTIMIZER_SLOT/optimizer/m", 100),
            (f"{name}/.OPTIMIZER_SLOT/optimizer/v", 200),
        ):
            assert np.array_equal(found[path], (value + added).reshape(SHAPES[name])), path
    assert (summary.changes["by name, reshaped"], summary.changes["as optimizer state, reshaped"]) == (2, 4)
    [note] = [each for each in summary.notes if each.what == "reshaped"]
    assert {*note.keys} == {attribute_key(path) for path in found if path.startswith("q/")}


def test_refused_unless_it_is_allowed(source, tmp_path):
    """The advice is true."""
    fresh = template(tmp_path / "fresh")
    with pytest.raises(
        tb.ConflictError, match=r"--allow-reshape \(allow_reshape=True\) reshapes those of as many elements"
    ):
        convert(source, tmp_path / "out", to="tf2", template=fresh)
    argv = ["convert", source, str(tmp_path / "out"), "--to", "tf2", "--template", fresh, "--allow-reshape"]
    assert main(argv) == 0
    rewrite(source, tmp_path / "again", convert={"to": "tf2", "template": fresh, "allow_reshape": True})
    assert by_path(tmp_path / "again").keys() == by_path(tmp_path / "out").keys()


def test_of_another_number_of_elements(tmp_path):
    """A new head is no matter of shapes, and nothing advises so."""
    source = write(tmp_path / "source", {"head": np.zeros((4, 6), "f4"), "b": np.zeros(2, "f4")})
    graph = finished(tree({"head": None, "b": None}))
    fresh = write(
        tmp_path / "fresh",
        {attribute_key("head"): np.zeros((4, 2, 4), "f4"), attribute_key("b"): np.zeros(2, "f4")},
        graph=graph,
    )
    for options in ({}, {"allow_reshape": True}):
        with pytest.raises(tb.ConflictError) as caught:
            convert(
                source, tmp_path / "out", to="tf2", template=fresh, map={"head": "head", "b": "b"}, **options
            )
        assert "--allow-reshape" not in str(caught.value)


def test_averages_over_axes_that_depend_on_lengths(tmp_path):
    """Mesh TensorFlow's Adafactor averages over the two longest axes, which are others in another shape."""

    def save(name, shape, first, roles):
        slots = dict(zip(roles, ((*shape[:-1],), (*shape[:-2], shape[-1])), strict=True))
        tensors = {"k": np.arange(first, first + 24, dtype="f4").reshape(shape)}
        tensors |= {f"k_slot_{role}": np.mean(tensors["k"], -number) for number, role in enumerate(slots, 1)}
        return write(tmp_path / name, tensors)

    source = save("source", (6, 2, 2), 10, ("vr", "vc"))
    fresh = save("fresh", (2, 3, 2, 2), 0, ("vr", "vc"))
    with pytest.raises(tb.ConflictError, match=r"2 left over.*'k_slot_vc'.*'k_slot_vr'"):
        convert(source, tmp_path / "out", to="tf1", template=fresh, allow_reshape=True)


def test_only_with_a_template(source, tmp_path):
    with pytest.raises(tb.BundleError, match="for the template of a program only"):
        convert(source, tmp_path / "out", to="tf2", allow_reshape=True)
