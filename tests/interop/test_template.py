"""Templates: training goes on in another program as it would have in the one that wrote the checkpoint.

A model is trained for some steps in TF1's graph mode and saved; `convert --template` puts that into the structure of the
same model in Keras; Keras restores it, and both go on. Their losses must agree. And the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import assert_same_files
from support.keras import keras, train
from support.tensorflow import tf, tf1
from tensorbundle.tools import TransferOptions, convert, rewrite
from tensorbundle.tools.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Keras's own
]

RATE = 0.05
BEFORE, AFTER = 4, 6
SIZES = (5, 4, 3)
RANDOM = np.random.default_rng(3)
INPUTS = RANDOM.normal(size=(8, SIZES[0])).astype(np.float32)
TARGETS = RANDOM.normal(size=(8, SIZES[-1])).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """One algorithm: how TF1 and Keras are told to follow it.

    Attributes:
        tf1: the optimizer in `tf.compat.v1.train`.
        keras: its class's name in Keras.
        same: arguments of Keras's.
    """

    tf1: Callable[[], Any]
    keras: str
    same: dict[str, Any] = field(default_factory=dict)


CASES = {
    "SGD": Case(lambda: tf1.train.GradientDescentOptimizer(RATE), "SGD"),
    "Momentum": Case(lambda: tf1.train.MomentumOptimizer(RATE, 0.9), "SGD", {"momentum": 0.9}),
    "Nesterov": Case(
        lambda: tf1.train.MomentumOptimizer(RATE, 0.9, use_nesterov=True),
        "SGD",
        {"momentum": 0.9, "nesterov": True},
    ),
    "Adam": Case(lambda: tf1.train.AdamOptimizer(RATE), "Adam", {"epsilon": 1e-8}),
    "Adam-betas": Case(
        lambda: tf1.train.AdamOptimizer(RATE, 0.5, 0.9),
        "Adam",
        {"epsilon": 1e-8, "beta_1": 0.5, "beta_2": 0.9},
    ),
    "RMSProp": Case(
        lambda: tf1.train.RMSPropOptimizer(RATE, 0.8, 0.7, 1e-3),
        "RMSprop",
        {"rho": 0.8, "momentum": 0.7, "epsilon": 1e-3},
    ),
    "RMSProp-centered": Case(
        lambda: tf1.train.RMSPropOptimizer(RATE, 0.8, 0.7, 1e-3, centered=True),
        "RMSprop",
        {"rho": 0.8, "momentum": 0.7, "epsilon": 1e-3, "centered": True},
    ),
    "Adagrad": Case(lambda: tf1.train.AdagradOptimizer(RATE), "Adagrad", {"epsilon": 1e-12}),
    "Adadelta": Case(
        lambda: tf1.train.AdadeltaOptimizer(1.0, 0.9, 1e-6), "Adadelta", {"rho": 0.9, "epsilon": 1e-6}
    ),
    "Ftrl": Case(
        lambda: tf1.train.FtrlOptimizer(RATE, l1_regularization_strength=0.01),
        "Ftrl",
        {"l1_regularization_strength": 0.01},
    ),
}
KINDS = {"legacy": 2, "new": 2, "keras3": 3}


def tf1_loss():
    """The model of two dense layers, in graph mode."""
    hidden = INPUTS
    for name, inputs, outputs in (("dense", *SIZES[:2]), ("out", *SIZES[1:])):
        with tf1.variable_scope(name):
            kernel = tf1.get_variable("kernel", [inputs, outputs])
            bias = tf1.get_variable("bias", [outputs])
        hidden = tf.matmul(hidden, kernel) + bias
        hidden = tf.tanh(hidden) if name == "dense" else hidden
    return tf.reduce_mean(tf.square(hidden - TARGETS))


def tf1_run(case, steps, *, restored=None, saved=None, build=tf1_loss):
    """Losses of so many steps in graph mode, from a checkpoint on and into another."""
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.set_random_seed(5)
        loss = build()
        step = tf1.train.get_or_create_global_step()
        update = case.tf1().minimize(loss, global_step=step)
        saver = tf1.train.Saver()
        if restored is None:
            session.run(tf1.global_variables_initializer())
        else:
            saver.restore(session, str(restored))
        losses = []
        for _ in range(steps):
            losses.append(float(session.run(loss)))
            session.run(update)
        if saved is not None:
            saver.save(session, str(saved), write_meta_graph=False)
        return losses


def build(kind, case, *, ran=True):
    """The model and the optimizer in Keras, as their program has them before training; and their checkpoint."""
    module = keras(KINDS[kind])
    model = module.Sequential(
        [
            module.layers.Input(SIZES[:1]),
            module.layers.Dense(SIZES[1], activation="tanh", name="dense"),
            module.layers.Dense(SIZES[2], name="out"),
        ]
    )
    home = module.optimizers.legacy if kind == "legacy" else module.optimizers
    rate = 1.0 if case.keras == "Adadelta" else RATE
    optimizer = getattr(home, case.keras)(learning_rate=rate, **case.same)
    if kind != "legacy":
        optimizer.build(model.trainable_variables)
    elif ran:
        optimizer._create_all_weights(model.trainable_variables)
    return model, optimizer, tf.train.Checkpoint(model=model, optimizer=optimizer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_tf1_to_keras(name, kind, tmp_path):
    case = CASES[name]
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    convert(tmp_path / "tf1", tmp_path / "tf2-7", to="tf2", template=fresh)
    model, optimizer, checkpoint = build(kind, case)
    status = checkpoint.restore(str(tmp_path / "tf2-7"))
    status.assert_consumed()
    assert (int(checkpoint.save_counter), int(optimizer.iterations)) == (7, BEFORE)
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    expected = tf1_run(case, AFTER, restored=tmp_path / "tf1")
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_keras_to_tf1(name, kind, tmp_path):
    case = CASES[name]
    model, optimizer, checkpoint = build(kind, case)
    train(model, optimizer, INPUTS, TARGETS, BEFORE)
    trained = checkpoint.save(str(tmp_path / "trained"))
    tf1_run(case, 0, saved=tmp_path / "fresh")
    options = {
        name: case.same[name] for name in ("beta_1", "beta_2") if name in case.same and kind != "legacy"
    }
    if (name, kind) == ("SGD", "new"):
        options["allow_unused"] = True  # it keeps momentums that are all zero
    convert(trained, tmp_path / "tf1", to="tf1", template=tmp_path / "fresh", **options)
    losses = tf1_run(case, AFTER, restored=tmp_path / "tf1")
    expected = train(model, optimizer, INPUTS, TARGETS, AFTER)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_legacy_optimizer_that_has_not_run(name, tmp_path):
    """It has no variables at all; they are made and restored when it runs, but for those that TF1 does not have."""
    case = CASES[name]
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    fresh = build("legacy", case, ran=False)[2].save(str(tmp_path / "fresh"))
    rate = RATE if case.keras == "SGD" else None  # momentum contains it, and it is not stored yet
    convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", template=fresh, learning_rate=rate)
    model, optimizer, checkpoint = build("legacy", case, ran=False)
    status = checkpoint.restore(str(tmp_path / "tf2-1"))
    status.assert_existing_objects_matched()
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    np.testing.assert_allclose(losses, tf1_run(case, AFTER, restored=tmp_path / "tf1"), rtol=2e-5)
    with tb.open(tmp_path / "tf2-1") as ours, tb.open(checkpoint.save(str(tmp_path / "again"))) as theirs:
        hyperparameters = {key for key in theirs if key.startswith("optimizer/")} - set(ours)
        assert set(ours) == set(theirs) - hyperparameters
        assert "optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE" in ours


class Eager(tf.Module):
    """The same model with variables of its own, trained by an optimizer of TF1 without a session."""

    def __init__(self, case):
        super().__init__()
        self.variables_ = {
            name: tf.Variable(np.random.default_rng(len(name)).normal(size=shape).astype("f4"), name=name)
            for name, shape in (
                ("dense/kernel", SIZES[:2]), ("dense/bias", SIZES[1:2]), ("out/kernel", SIZES[1:]), ("out/bias", SIZES[2:])
            )
        }  # fmt: skip
        self.optimizer = case.tf1()
        self.checkpoint = tf.train.Checkpoint(vars=self.variables_, optimizer=self.optimizer)

    def __call__(self, inputs, training):
        found = self.variables_
        hidden = tf.tanh(inputs @ found["dense/kernel"] + found["dense/bias"])
        return hidden @ found["out/kernel"] + found["out/bias"]

    @property
    def trainable_variables(self):
        return list(self.variables_.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in CASES if name != "SGD"])
def test_objects_of_tf1(name, kind, tmp_path):
    """Optimizers of TF1 that were saved as objects, to Keras and back."""
    case = CASES[name]
    eager = Eager(case)
    train(eager, eager.optimizer, INPUTS, TARGETS, BEFORE)
    trained = eager.checkpoint.save(str(tmp_path / "trained"))
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    adam = name.startswith("Adam")
    options = {name: value for name, value in case.same.items() if name.startswith("beta")} if adam else {}
    # Only powers of beta say how many steps there were.
    options |= {"allow_missing": not adam, "allow_unused": not adam}
    convert(trained, tmp_path / "out-1", to="tf2", template=fresh, **options)
    model, optimizer, checkpoint = build(kind, case)
    checkpoint.restore(str(tmp_path / "out-1")).assert_consumed()
    assert int(optimizer.iterations) == (BEFORE if adam else 0)
    again = eager.checkpoint.save(str(tmp_path / "again"))
    convert(tmp_path / "out-1", tmp_path / "back-1", to="tf2", template=again, **options)
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    np.testing.assert_allclose(losses, train(eager, eager.optimizer, INPUTS, TARGETS, AFTER), rtol=2e-5)
    other = Eager(case)
    train(other, other.optimizer, INPUTS, TARGETS, 1)
    other.checkpoint.restore(str(tmp_path / "back-1")).assert_consumed()
    np.testing.assert_allclose(train(other, other.optimizer, INPUTS, TARGETS, AFTER), losses, rtol=2e-5)


PAIRS = [
    ("legacy", "new"),
    ("legacy", "keras3"),
    ("new", "keras3"),
    ("new", "legacy"),
    ("keras3", "legacy"),
    ("keras3", "new"),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=map("-".join, PAIRS))
@pytest.mark.parametrize("name", ["Momentum", "Adam-betas", "RMSProp-centered", "Adadelta", "Ftrl"])
def test_keras_to_keras(name, source, target, tmp_path):
    case = CASES[name]
    model, optimizer, checkpoint = build(source, case)
    train(model, optimizer, INPUTS, TARGETS, BEFORE)
    trained = checkpoint.save(str(tmp_path / "trained"))
    fresh = build(target, case)[2].save(str(tmp_path / "fresh"))
    convert(trained, tmp_path / "out-1", to="tf2", template=fresh)
    other_model, other_optimizer, other = build(target, case)
    other.restore(str(tmp_path / "out-1")).assert_consumed()
    np.testing.assert_allclose(
        train(other_model, other_optimizer, INPUTS, TARGETS, AFTER),
        train(model, optimizer, INPUTS, TARGETS, AFTER),
        rtol=2e-5,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["SGD", "Nesterov", "Adam", "RMSProp-centered", "Ftrl"])
def test_copied_bytes_are_those_of_checkpoint_write(name, kind, tmp_path):
    """What the program itself writes after it restored them."""
    case, clear_session = CASES[name], keras(KINDS[kind]).backend.clear_session
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    clear_session()  # so that objects are called the same in both programs
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    options = TransferOptions(data="copy")
    convert(tmp_path / "tf1", tmp_path / "ours-7", to="tf2", template=fresh, options=options)
    clear_session()
    *_, checkpoint = build(kind, case)
    checkpoint.restore(str(tmp_path / "ours-7")).assert_consumed()
    checkpoint.write(str(tmp_path / "theirs"))
    assert_same_files(tmp_path / "ours-7", tmp_path / "theirs")


def partitioned_loss(parts):
    """The model with its first kernel in parts."""

    def build_loss():
        with tf1.variable_scope("dense", partitioner=tf1.fixed_size_partitioner(parts)):
            kernel = tf.convert_to_tensor(tf1.get_variable("kernel", SIZES[:2]))
        with tf1.variable_scope("dense"):
            hidden = tf.tanh(INPUTS @ kernel + tf1.get_variable("bias", [SIZES[1]]))
        with tf1.variable_scope("out"):
            kernel = tf1.get_variable("kernel", SIZES[1:])
            return tf.reduce_mean(tf.square(hidden @ kernel + tf1.get_variable("bias", [SIZES[2]]) - TARGETS))

    return build_loss


@pytest.mark.parametrize("data", ["share", "copy"])
@pytest.mark.parametrize("kind", KINDS)
def test_partitioned_variables(kind, data, tmp_path):
    """Of TF1, their slots are partitioned too; whole in Keras; and back into other parts."""
    case, options = CASES["Adam"], TransferOptions(data=data)
    tf1_run(case, BEFORE, saved=tmp_path / "tf1", build=partitioned_loss(2))
    with tb.open(tmp_path / "tf1") as ckpt:
        assert all(len(ckpt.entry(f"dense/kernel{slot}").slices) == 2 for slot in ("", "/Adam", "/Adam_1"))
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", template=fresh, options=options)
    model, optimizer, checkpoint = build(kind, case)
    checkpoint.restore(str(tmp_path / "tf2-1")).assert_consumed()
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    expected = tf1_run(case, AFTER, restored=tmp_path / "tf1", build=partitioned_loss(2))
    np.testing.assert_allclose(losses, expected, rtol=2e-5)

    tf1_run(case, 0, saved=tmp_path / "three", build=partitioned_loss(3))
    convert(tmp_path / "tf2-1", tmp_path / "back", to="tf1", template=tmp_path / "three", options=options)
    with tb.open(tmp_path / "back") as ckpt:
        assert all(len(ckpt.entry(f"dense/kernel{slot}").slices) == 3 for slot in ("", "/Adam", "/Adam_1"))
    again = tf1_run(case, AFTER, restored=tmp_path / "back", build=partitioned_loss(3))
    np.testing.assert_allclose(again, expected, rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [4, 300])
def test_without_a_global_step(kind, steps, tmp_path):
    """The powers of beta say how many there were."""
    case = CASES["Adam"]
    tf1_run(case, steps, saved=tmp_path / "all")
    rewrite(tmp_path / "all", tmp_path / "tf1", drop=["global_step"])
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", template=fresh)
    model, optimizer, checkpoint = build(kind, case)
    checkpoint.restore(str(tmp_path / "tf2-1")).assert_consumed()
    assert int(optimizer.iterations) == steps
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    np.testing.assert_allclose(losses, tf1_run(case, AFTER, restored=tmp_path / "all"), rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_momentum_that_keras_does_not_keep(kind, tmp_path):
    """RMSProp of TF1 has one always; without it Keras has no place for it, and needs none."""
    options = {"rho": 0.9, "epsilon": 1e-12}  # which is not everywhere under the root
    case = Case(lambda: tf1.train.RMSPropOptimizer(RATE, 0.9, 0.0, 1e-12), "RMSprop", options)
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    fresh = build(kind, case)[2].save(str(tmp_path / "fresh"))
    with pytest.raises(tb.ConflictError, match=r"4 left over, .*'dense/bias/RMSProp_1'"):
        convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", template=fresh)
    convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", template=fresh, allow_unused=True)
    model, optimizer, checkpoint = build(kind, case)
    checkpoint.restore(str(tmp_path / "tf2-1")).assert_consumed()
    losses = train(model, optimizer, INPUTS, TARGETS, AFTER)
    expected = tf1_run(case, AFTER, restored=tmp_path / "tf1")
    np.testing.assert_allclose(losses, expected, rtol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_alone(kind, tmp_path):
    """A model without its optimizer, from the command line; slots have no place and are left out."""
    case = CASES["Adam"]
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    model, *_ = build(kind, case)
    fresh = tf.train.Checkpoint(model=model).save(str(tmp_path / "fresh"))
    arguments = ["convert", tmp_path / "tf1", tmp_path / "tf2-3", "--to", "tf2", "--template", fresh]
    assert main([str(each) for each in arguments]) == 2
    assert main([*map(str, arguments), "--allow-unused"]) == 0
    other, *_ = build(kind, case)
    tf.train.Checkpoint(model=other).restore(str(tmp_path / "tf2-3")).assert_consumed()
    loss = float(tf.reduce_mean(tf.square(other(INPUTS) - TARGETS)))
    np.testing.assert_allclose(loss, tf1_run(case, 1, restored=tmp_path / "tf1")[0], rtol=2e-5)


def test_save_weights(tmp_path):
    """A template that has no save counter, as `load_weights` must not find one."""
    case = CASES["Adam"]
    tf1_run(case, BEFORE, saved=tmp_path / "tf1")
    model, *_ = build("new", case)
    model.save_weights(str(tmp_path / "fresh"))
    convert(tmp_path / "tf1", tmp_path / "weights", to="tf2", template=tmp_path / "fresh", allow_unused=True)
    other, *_ = build("new", case)
    other.load_weights(str(tmp_path / "weights")).assert_consumed()
    loss = float(tf.reduce_mean(tf.square(other(INPUTS) - TARGETS)))
    np.testing.assert_allclose(loss, tf1_run(case, 1, restored=tmp_path / "tf1")[0], rtol=2e-5)
