"""Everything that asks what an optimizer keeps, over one checkpoint of each class of optimizer: `golden/optimizers`.

Values say what a tensor is (`support/optimizer_programs.py`): N is variable number N, 100 K + N its slot number K.
"""

import json
from collections import Counter

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from support.rewriting import assert_sound
from tensorbundle.tools import convert, rewrite
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints
from tensorbundle.tools.operations.restoring.programs import slot_handling
from tensorbundle.tools.optimizers.finding import Optimizers, names_in_graph
from tensorbundle.tools.optimizers.table import axes_of
from tensorbundle.tools.rewriting.draft import Draft

FOLDER = GOLDEN / "optimizers"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
HANDLING = {"tf1": "at once", "legacy": "queued", "keras2": "refused", "keras3": "none"}
KEPT = ("save_counter", "global_step")
every_case = pytest.mark.parametrize("name", EXPECTED)


def values(name):
    with tb.open(FOLDER / name) as ckpt:
        return {key: ckpt[key] for key in ckpt if key != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def found_in(name):
    with tb.open(FOLDER / name) as ckpt:
        return Optimizers.of_draft(Draft.of(ckpt))


def number(array):
    """Which slot of which variable a tensor is; 0 of a variable itself."""
    return divmod(int(array.flat[0]), 100)


def variables(tensors):
    """The keys of the three variables, by their number."""
    found = {}
    for key, array in tensors.items():
        place, variable = number(array)
        if array.dtype == np.float32 and array.shape and place == 0 and 1 <= variable <= 3:
            found[variable] = key
    assert sorted(found) == [1, 2, 3]
    return found


def test_nothing_is_missing():
    assert len(EXPECTED) == 62


@every_case
def test_slots(name):
    """Each slot is its variable's, with its role, and nothing is in doubt."""
    tensors, expected = values(name), EXPECTED[name]
    known = {key: variable for variable, key in variables(tensors).items()}
    [optimizer] = [each for each in found_in(name).found if each.generation == expected["generation"]]
    assert (optimizer.doubtful, optimizer.orphans) == ({}, [])
    roles = list(expected["slots"])
    counted = Counter()
    for (role, variable), slot in optimizer.slots.items():
        place, of = number(tensors[slot])
        if tensors[slot].dtype == np.float32 and (tensors[slot].shape or "adafactor" not in name):
            assert (roles[place - 1], of) == (role, known[variable])
        assert axes_of(role, tensors[variable].shape, tensors[slot].shape) is not None
        counted[role] += 1
    assert counted == expected["slots"]


# Names that are not unique or do not tell; no slots.
UNTOLD = (
    "keras2-adafactor",
    "keras2-adam-sharded",
    "keras2-lion",
    "keras3-adafactor",
    "keras3-muon",
    "keras3-sgd",
)
LATER = [name for name in EXPECTED if name.startswith(("keras2", "keras3")) and name not in UNTOLD]


@pytest.mark.parametrize("name", LATER)
def test_names_alone(name):
    """The names that `convert --to tf1` stores tell the same slots. Training in Keras 2 puts the class before slots' names."""
    with tb.open(FOLDER / name) as ckpt:
        draft = Draft.of(ckpt)
    [known] = Optimizers.of_draft(draft).found
    names = names_in_graph(draft.graph)
    if name.startswith("keras2"):
        scope = name.split("-")[1].replace("loss", "adam")
        names |= {key: f"{scope}/{names[key]}" for key in known.slots.values()}
    found = Optimizers.of(None, {names[key]: draft.tensors[key].shape for key in names})
    expected = {(role, names[variable]): names[slot] for (role, variable), slot in known.slots.items()}
    [optimizer] = [each for each in found.found if each.slots]
    assert (optimizer.slots, optimizer.iterations) == (expected, names[known.iterations])
    assert found.state.isdisjoint(variable for _, variable in expected)


@every_case
def test_steps(name):
    """The number of steps is what the program counted; that of TF1's objects and averages is elsewhere."""
    [optimizer] = [each for each in found_in(name).found if each.generation == EXPECTED[name]["generation"]]
    elsewhere = ("tf1-adam-object", "tf1-average", "estimator-keras-adam")
    assert (optimizer.iterations is None) == (name in elsewhere)
    if optimizer.iterations is not None:
        assert values(name)[optimizer.iterations] == 7


@every_case
def test_slim(name, tmp_path):
    """What is left is the variables and what counts; averages that TF1 keeps are weights."""
    tensors = values(name)
    if name == "tf1-average":
        with pytest.raises(tb.ConflictError, match="no optimizer state"):
            rewrite(FOLDER / name, tmp_path / "out", slim=True)
        return
    rewrite(FOLDER / name, tmp_path / "out", slim=True)
    assert_sound(tmp_path / "out")
    left = values(tmp_path / "out")
    assert len(variables(left)) == 3
    others = [key for key in left if key not in variables(left).values()]
    assert all(key.startswith(KEPT) for key in others)
    assert len(tensors) > len(left)


@every_case
@pytest.mark.parametrize("axis", [0, 1])
def test_resize(name, axis, tmp_path):
    """Every slot that has the axis follows; the other ones, and those of other variables, stay."""
    tensors = values(name)
    emb = variables(tensors)[1]
    old = "abcdef"[: tensors[emb].shape[axis]]
    for file, tokens in (("old", old), ("new", "cxbay")):
        (tmp_path / file).write_text("\n".join(tokens))
    step = {"old_vocab": str(tmp_path / "old"), "new_vocab": str(tmp_path / "new"), "axis": axis}
    if (name, axis) == ("t5-adafactor", 1):
        with pytest.raises(tb.ConflictError, match="over another axis where the tensor is"):
            rewrite(FOLDER / name, tmp_path / "out", resize={emb: step | {"oov": 9}})
        step["oov"] = 0
    rewrite(FOLDER / name, tmp_path / "out", resize={emb: step})
    assert_sound(tmp_path / "out")
    roles = ["", *EXPECTED[name]["slots"]]
    with tb.open(tmp_path / "out") as out:
        for key, array in tensors.items():
            place, variable = number(array)
            expected = array
            if variable == 1 and array.dtype == np.float32 and place < len(roles) and array.shape:
                axes = axes_of(roles[place], tensors[emb].shape, array.shape)
                if axis in axes:
                    taken = np.insert(array, 0, 0, axes.index(axis))  # row 0 is zeros
                    expected = np.take(taken, [3, 0, 2, 1, 0], axes.index(axis))
            assert np.array_equal(out[key], expected), key


@every_case
def test_templates(name, tmp_path):
    """All state of a checkpoint has a place in itself, by what it means."""
    template = FOLDER / name
    to = "tf1" if values(name).keys() & {"emb"} else "tf2"
    summary = convert(FOLDER / name, tmp_path / "out", to=to, template=template)
    assert_sound(tmp_path / "out")
    with tb.open(tmp_path / "out") as out:
        for key, array in values(name).items():
            assert np.array_equal(out[key], array), key
    assert summary.changes.get("missing, kept from the template", 0) == 0
    by_state = summary.changes.get("as optimizer state", 0)
    assert by_state >= sum(EXPECTED[name]["slots"].values())


@every_case
def test_objects(name):
    """`graph` and `check` take the same objects for optimizers."""
    with tb.open(FOLDER / name) as ckpt:
        graph = ckpt.object_graph
        if graph is None:
            return
        told = hints(ckpt, graph, Tensors(dict(ckpt.entries())))
        generation = EXPECTED[name]["generation"]
        for each in Optimizers.of_draft(Draft.of(ckpt)).found:
            node = graph[each.path]
            assert "optimizer" in told[node]
            assert slot_handling(node) == HANDLING[generation]
