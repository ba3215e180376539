"""What becomes of an optimizer's state in a template. Checkpoints of `golden/optimizers` have values that say what they are."""

import numpy as np
import pytest

import tensorbundle as tb
from support.golden import GOLDEN
from support.rewriting import finished, tree, variable, write
from tensorbundle.proto.graph import Node
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import convert

FOLDER = GOLDEN / "optimizers"
SLOT = "model/emb/.OPTIMIZER_SLOT/optimizer/"


def fit(tmp_path, source, template, **options):
    """The values by path, and the summary."""
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    summary = convert(FOLDER / source, out, to="tf2", template=FOLDER / template, **options)
    with tb.open(out) as ckpt:
        return {key.removesuffix(attribute_key("")): ckpt[key] for key in ckpt}, summary


def refused(tmp_path, source, template, **options):
    with pytest.raises(tb.ConflictError) as caught:
        convert(source, tmp_path / "out", to="tf2", template=template, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "template", "copies"),
    [
        ("legacy-adam", "legacy-lookahead", "slow"),
        ("legacy-adam", "legacy-moving-average", "average"),
    ],
)
def test_copies_are_made(source, template, copies, tmp_path):
    """Lookahead takes its slow weights for what they are once there are steps: they must not be the template's."""
    found, summary = fit(tmp_path, source, template)
    assert np.array_equal(found[f"{SLOT}{copies}"], found["model/emb"])
    assert found[f"{SLOT}base/v"][0][0] == 201
    assert found["optimizer/iter"] == 7
    assert summary.changes["copied from its variable"] == 3


def test_copies_in_lists(tmp_path):
    """The other moments of AMSGrad are missing, each listed."""
    assert r"3 missing" in refused(tmp_path, FOLDER / "keras2-adam", FOLDER / "keras2-adam-all")
    found, summary = fit(tmp_path, "keras2-adam", "keras2-adam-all", allow_missing=True, allow_unused=True)
    assert np.array_equal(found["optimizer/_variables/1"], found["model/emb"])
    assert summary.changes["copied from its variable"] == 3


def test_wrapped_optimizers_are_looked_through(tmp_path):
    reason = refused(tmp_path, FOLDER / "legacy-lookahead", FOLDER / "legacy-adam")
    assert reason.count("/slow'") == 3
    assert "missing" not in reason
    found, _ = fit(tmp_path, "legacy-lookahead", "legacy-adam", allow_unused=True)
    assert (found["optimizer/iter"], found[f"{SLOT}m"][0][0]) == (7, 101)


def test_steps_of_an_inner_optimizer(tmp_path):
    found, _ = fit(tmp_path, "keras3-loss-scale", "keras3-adam")
    assert found["optimizer/_iterations"] == 7
    found, _ = fit(tmp_path, "keras3-adam", "keras3-loss-scale")
    assert (found["optimizer/inner_optimizer/_iterations"], found["optimizer/_iterations"]) == (7, 0)


def test_steps_without_moments(tmp_path):
    """Zeros do not go with a number of steps: Adam's bias correction would take them for what many steps left."""
    reason = refused(tmp_path, FOLDER / "legacy-sgd", FOLDER / "legacy-adam")
    assert "6 missing" in reason
    found, _ = fit(tmp_path, "legacy-sgd", "legacy-adam", allow_missing=True)
    assert found["optimizer/iter"] == 7
    found, _ = fit(tmp_path, "legacy-sgd", "legacy-sgd-momentum")  # whose momentum may begin anew
    assert found["optimizer/iter"] == 7


def test_an_optimizer_without_any_state_stays(tmp_path):
    """No slots and no steps: the template's optimizer begins anew as a whole."""
    values = {"emb": np.ones((6, 4), "f4"), "d/kernel": np.ones((4, 3), "f4"), "d/bias": np.ones(3, "f4")}
    source = write(tmp_path / "m", values)
    found, _ = fit(tmp_path, source, "legacy-adam")
    assert found[f"{SLOT}m"][0][0] == 101


def test_slots_that_only_positions_tell_apart(tmp_path):
    """Two layers of one name and shape, as a generator's and a discriminator's: no order is assumed."""
    optimizer = tree({"_iterations": None, "_variables": {}})
    optimizer.children["_momentums"] = Node(
        children={str(number): variable("m/d/kernel") for number in range(2)}
    )
    root = Node(children={"a": variable("d/kernel"), "b": variable("d/kernel"), "o": optimizer})
    graph = finished(root)
    tensors = {
        each.checkpoint_key: np.full(2, number, "f4") if number != 2 else np.int64(3)
        for number, (_, _, each) in enumerate(graph.attributes())
    }
    source = write(tmp_path / "m", tensors, graph=graph)
    reason = refused(tmp_path, source, source)
    assert "'o/_momentums/0' (m/d/kernel) may be a slot of any of these" in reason
    assert "'a' (d/kernel); 'b' (d/kernel)" in reason


def test_copies_of_which_it_is_not_told_whose_they_are(tmp_path):
    """They would keep the template's values, which are missing then, also where nothing else of the optimizer goes on."""

    def save(name, first, optimizer=None):
        layers = {part: Node(children={"kernel": variable("d/kernel")}) for part in ("a", "b")}
        graph = finished(Node(children=layers | ({} if optimizer is None else {"o": optimizer})))
        tensors = {
            each.checkpoint_key: np.full(2, first + number, "f4")
            for number, (path, _, each) in enumerate(graph.attributes())
            if path != "o/_iterations"
        }
        tensors |= {} if optimizer is None else {attribute_key("o/_iterations"): np.int64(0)}
        return write(tmp_path / name, tensors, graph=graph)

    optimizer = tree({"_iterations": None, "_variables": {}})
    averages = {str(number): variable("average/d/kernel") for number in range(2)}
    optimizer.children["_model_variables_moving_average"] = Node(children=averages)
    source, fresh = save("source", 10), save("fresh", 20, optimizer)
    assert "2 missing" in refused(tmp_path, source, fresh)


# The powers of beta of TF1's Adam

POWERS = tuple((f"beta1_power{end}", f"beta2_power{end}") for end in ("", "_1", "_2"))


def adams(path, steps, *, first=0, beta_1=0.9, powers=POWERS, layer="dense", more=()):
    """A checkpoint of two models with an Adam each, after these numbers of steps."""
    values = {}
    for number, part in enumerate("gd", first):
        for slot in ("", "/Adam", "/Adam_1"):
            values[f"{part}/{layer}{slot}"] = np.full(2, 10 * number + len(slot), "f4")
    for count, pair in zip(steps, powers, strict=False):
        for name, beta in zip(pair, (beta_1, 0.999), strict=True):
            values[name] = np.float32(beta) ** np.float32(count + 1)
    return write(path, values | dict(more))


def powers_of(source, template, output, **options):
    """The powers in the source and in what becomes of it, by name."""
    convert(source, output, to="tf1", template=template, **options)
    found = []
    for path in (source, output):
        with tb.open(path) as ckpt:
            found.append({key: float(ckpt[key]) for key in ckpt if "power" in key})
    return found


@pytest.mark.parametrize("counted", [{}, {"global_step": np.int64(7)}])
def test_powers_of_several_optimizers_by_name(counted, tmp_path):
    source = adams(tmp_path / "a", (7, 35), more=counted)
    fresh = adams(tmp_path / "b", (0, 0), first=9, more={key: np.int64(0) for key in counted})
    before, after = powers_of(source, fresh, tmp_path / "out")
    assert after == before


def test_powers_of_another_name_are_not_computed_from_the_steps_of_another_optimizer(tmp_path):
    source = adams(tmp_path / "a", (7, 35), more={"global_step": np.int64(7)})
    other = (POWERS[0], POWERS[2])
    fresh = adams(tmp_path / "b", (0, 0), first=9, powers=other, more={"global_step": np.int64(0)})
    with pytest.raises(tb.ConflictError, match=r"2 missing.*'beta1_power_2'.*2 left over.*'beta1_power_1'"):
        convert(source, tmp_path / "out", to="tf1", template=fresh)
    rules = tmp_path / "map"
    rules.write_text("beta1_power_1=beta1_power_2\nbeta2_power_1=beta2_power_2\n")
    before, after = powers_of(source, fresh, tmp_path / "out", map=rules)
    assert [*after.values()] == [*before.values()]


def test_rules_for_powers_come_before_names(tmp_path):
    source = adams(tmp_path / "a", (7, 35))
    fresh = adams(tmp_path / "b", (0, 0), first=9)
    rules = tmp_path / "map"
    crossed = dict(zip((*POWERS[0], *POWERS[1]), (*POWERS[1], *POWERS[0]), strict=True))
    rules.write_text("".join(f"{old}={new}\n" for old, new in crossed.items()))
    before, after = powers_of(source, fresh, tmp_path / "out", map=rules)
    assert after == {new: before[old] for old, new in crossed.items()}


def test_equal_powers_in_another_scope_are_carried(tmp_path):
    """Whatever beta they are powers of."""
    inner = tuple(tuple(f"train/{name}" for name in pair) for pair in POWERS)
    source = adams(tmp_path / "a", (7, 7), beta_1=0.5, powers=inner, more={"global_step": np.int64(7)})
    fresh = adams(tmp_path / "b", (0, 0), first=9, more={"global_step": np.int64(0)})
    before, after = powers_of(source, fresh, tmp_path / "out")
    assert [*after.values()] == [*before.values()]


def test_slots_that_rules_name_bring_their_steps_along(tmp_path):
    """As slots do that follow their variable: among several optimizers, those that gave the slots."""
    source = adams(tmp_path / "a", (7, 7), more={"x/dense/ExponentialMovingAverage": np.ones(2, "f4")})
    fresh = adams(tmp_path / "b", (0, 0), first=9, layer="fc")
    rules = tmp_path / "map"
    rules.write_text("".join(f"{part}/dense{end}={part}/fc{end}\n" for part in "gd" for end in ("", "/")))
    before, after = powers_of(source, fresh, tmp_path / "out", map=rules, allow_unused=True)
    assert after == before
