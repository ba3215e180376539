"""State goes from one optimizer into the program of another, wrapped ones and copies of weights included."""

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import keras
from support.optimizer_programs import CASES, STEPS, filled, tf_variables
from support.tensorflow import tf
from tensorbundle.tools import convert
from tensorbundle.tools.optimizers.table import COPIES

ROWS = 6
KERAS_3 = {
    "emb": "sequential/embedding/embeddings",
    "d/kernel": "sequential/dense/kernel",
    "d/bias": "sequential/dense/bias",
}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("tf1-adam", "legacy-lookahead"),
        ("bert-adam", "keras2-adam"),
        ("legacy-lookahead", "legacy-adam"),
        ("legacy-adam", "legacy-moving-average"),
        ("legacy-adam", "legacy-loss-scale"),
        ("legacy-loss-scale", "keras2-adam"),
        ("keras2-adam-sharded", "keras2-adam"),
        ("keras2-loss-scale", "legacy-adam"),
        ("keras2-adam", "keras3-loss-scale"),
        ("keras3-loss-scale", "keras3-adam"),
        ("keras3-adam", "keras3-loss-scale"),
        ("keras3-adamax", "keras3-schedule-free"),
        ("keras2-adafactor", "keras3-adafactor"),
        ("t2t-adafactor", "keras2-adafactor"),
        ("keras2-ftrl", "legacy-ftrl"),
    ],
)
def test_state_goes_along(source, target, tmp_path):
    """Slots of one role follow their variable, the number of steps goes over, copies are equal to their variable."""
    trained, fresh = CASES[source].build(ROWS), CASES[target].build(ROWS)
    trained.mark()
    trained.save(str(tmp_path / "trained"))
    fresh.save(str(tmp_path / "fresh"))
    names = KERAS_3 if target.startswith("keras3") and not source.startswith("keras3") else None
    absent = {role for role in fresh.slots if role not in trained.slots and role not in COPIES}
    summary = convert(
        tmp_path / "trained",
        tmp_path / "out",
        to="tf2",
        template=tmp_path / "fresh",
        map=names,
        allow_unused=True,
        allow_missing=bool(absent),
    )
    fresh.restore(str(tmp_path / "out"))
    for number, (was, now) in enumerate(zip(trained.variables, fresh.variables, strict=True)):
        assert np.array_equal(fresh.values([now])[0], trained.values([was])[0])
        for role, slots in fresh.slots.items():
            if slots[number] is None or role in absent:
                continue
            [found] = fresh.values([slots[number]])
            expected = was if role in COPIES else trained.slots[role][number]
            if expected is not None and found.shape and trained.values([expected])[0].shape:
                assert np.array_equal(found, trained.values([expected])[0]), (role, number)
    assert fresh.values([fresh.steps])[0] == STEPS
    copies = sum(role in COPIES for role in fresh.slots)
    assert summary.changes.get("copied from its variable", 0) == 3 * copies
    assert "missing, kept from the template" not in summary.changes or absent


@pytest.mark.parametrize(
    ("source", "make", "roles"),
    [
        ("legacy-adagrad", lambda keras: keras.optimizers.legacy.Adagrad(), ["accumulator"]),
        ("tf1-adagrad", lambda keras: keras.optimizers.legacy.Adagrad(), ["accumulator"]),
        (
            "tf1-adam",
            lambda keras: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.legacy.Adam()),
            ["m", "v"],
        ),
        (
            "legacy-loss-scale",
            lambda keras: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.legacy.Adam()),
            ["m", "v"],
        ),
    ],
)
@pytest.mark.parametrize("counted", [False, True])
def test_legacy_optimizers_that_were_not_built(source, make, roles, counted, tmp_path):
    """FRESH has neither slots nor hyperparameters, perhaps a number of steps; after restoring it has the slots."""
    trained = CASES[source].build(ROWS)
    trained.mark()
    trained.save(str(tmp_path / "trained"))

    def program():
        module = tf.Module()
        module.emb, module.kernel, module.bias = tf_variables(ROWS)
        optimizer = make(keras(2))
        if counted:
            optimizer.iterations  # noqa: B018  makes it
        return module, optimizer

    module, optimizer = program()
    tf.train.Checkpoint(model=module, optimizer=optimizer).write(str(tmp_path / "fresh"))
    convert(tmp_path / "trained", tmp_path / "out", to="tf2", template=tmp_path / "fresh")
    module, optimizer = program()
    status = tf.train.Checkpoint(model=module, optimizer=optimizer).read(str(tmp_path / "out"))
    variables = [module.emb, module.kernel, module.bias]
    optimizer._create_all_weights(variables)
    status.assert_nontrivial_match()
    inner = getattr(optimizer, "_optimizer", optimizer)
    for place, role in enumerate(roles, 1):
        for number, each in enumerate(variables, 1):
            slot = inner.get_slot(each, role).numpy()
            assert np.array_equal(slot, filled(slot.shape, 100 * place + number))
    assert optimizer.iterations.numpy() == STEPS


def test_steps_without_moments_are_refused(tmp_path):
    """Adam's bias correction takes zeros for what many steps left: each moment is listed, unless it is allowed."""
    trained, fresh = CASES["legacy-sgd"].build(ROWS), CASES["legacy-adam"].build(ROWS)
    trained.mark()
    trained.save(str(tmp_path / "trained"))
    fresh.save(str(tmp_path / "fresh"))
    paths = tmp_path / "trained", tmp_path / "out"
    with pytest.raises(tb.ConflictError, match=r"6 missing, .*SLOT/optimizer/m'"):
        convert(*paths, to="tf2", template=tmp_path / "fresh")
    convert(*paths, to="tf2", template=tmp_path / "fresh", allow_missing=True)
