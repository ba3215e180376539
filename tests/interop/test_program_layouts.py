"""The layouts of generated programs (`support/program_layouts.py`) are those that TF1, Keras 2 and Keras 3 really write."""

from __future__ import annotations

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import keras
from support.program_layouts import save
from support.programs import OPTIMIZERS, Layer, Part, Program, Training
from support.tensorflow import tf, tf1
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

pytestmark = [pytest.mark.filterwarnings("ignore")]  # Keras's own

CLASSES = {"momentum": "SGD", "amsgrad": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}
OPTIONS = {"momentum": {"momentum": 0.9}, "amsgrad": {"amsgrad": True}, "rmsprop": {"momentum": 0.9}}


def program(form):
    """Layers with names and without."""
    layers = [
        Layer("embedding", "words", "first", (5, 4)),
        Layer("dense", None, "second"),
        Layer("batch_normalization", None, "third"),
        Layer("layer_normalization", "norm", "fourth"),
        Layer("plain", None, "fifth", (4, 3)),
    ]
    if form == "attributes":
        del layers[0]  # what a subclassed model is called with is no list of tokens
    return Program(form, [Part("model", None, layers)], [0])


def layer(module, each):
    name = {"name": each.name} if each.name else {}
    if each.kind == "embedding":
        return module.layers.Embedding(*each.sizes, **name)
    if each.kind in ("dense", "plain"):
        return module.layers.Dense(each.sizes[1], use_bias=each.kind == "dense", **name)
    kind = {"batch_normalization": "BatchNormalization", "layer_normalization": "LayerNormalization"}
    return getattr(module.layers, kind[each.kind])(**name)


class Schedule(tf.Module):
    """A schedule of the learning rate that has a variable of its own; Keras's class is put before it."""

    def __init__(self):
        super().__init__()
        self.warm = tf.Variable(0.1, name="warm")

    def __call__(self, step):
        return self.warm

    def get_config(self):
        return {}


def real(layout, form, training, prefix):
    """A checkpoint that Keras wrote."""
    optimizer = training.optimizer
    module = keras(3 if layout == "keras3" else 2)
    module.backend.clear_session()
    made = program(form).parts[0].layers
    if form == "sequential":
        model = module.Sequential([module.layers.Input((1,)), *(layer(module, each) for each in made)])
    else:
        layers = {each.attribute: layer(module, each) for each in made}

        class Net(module.Model):
            def __init__(self):
                super().__init__()
                for name, each in layers.items():
                    setattr(self, name, each)

            def call(self, inputs):
                for each in layers.values():
                    inputs = each(inputs)
                return inputs

        model = Net()
        model(tf.zeros([1, 4]))
    home = module.optimizers.legacy if layout == "legacy" else module.optimizers
    name = CLASSES.get(optimizer, optimizer.capitalize())
    options = dict(OPTIONS.get(optimizer, {}))
    schedules = module.optimizers.schedules
    if training.schedule == "stateless":
        options["learning_rate"] = schedules.ExponentialDecay(0.1, 10, 0.9)
    elif training.schedule:
        kind = type("Own", (Schedule, schedules.LearningRateSchedule), {})
        options["learning_rate"] = kind()
    if training.copies:
        options["use_ema"] = True
    trainer = getattr(home, name)(**options)
    if training.scaled:
        home = module.optimizers if layout == "keras3" else module.mixed_precision
        trainer = home.LossScaleOptimizer(trainer)
    if layout == "legacy" and training.scaled:
        trainer._optimizer._create_all_weights(model.trainable_variables)
    elif layout == "legacy":
        trainer._create_all_weights(model.trainable_variables)
    else:
        trainer.build(model.trainable_variables)
    return tf.train.Checkpoint(model=model, optimizer=trainer).save(str(prefix))


def described(prefix):
    """Every tensor's shape and full name, by key; and what lists of optimizers lead to."""
    with tb.open(prefix) as ckpt:
        if ckpt.object_graph is None:
            return {key: list(ckpt.entry(key).shape) for key in ckpt}
        owners = {each.checkpoint_key: each.full_name for _, _, each in ckpt.object_graph.attributes()}
        found = {key: (owners[key], list(ckpt.entry(key).shape)) for key in ckpt if key != OBJECT_GRAPH_KEY}
        lists = {
            path: {
                name: child.attributes[0].checkpoint_key if child.attributes else ""
                for name, child in node.children.items()
            }
            for path, node in ckpt.object_graph.walk()
            if path.startswith("optimizer/") and node.children
        }
        return found, lists


@pytest.mark.parametrize("form", ["sequential", "attributes"])
@pytest.mark.parametrize("layout", ["keras2", "legacy", "keras3"])
def test_keras(layout, form, tmp_path):
    optimizers = OPTIMIZERS.keys() - {"none", *(["sgd"] if layout == "keras2" else [])}
    for optimizer in optimizers if form == "sequential" else ["adam"]:
        training = Training(optimizer)
        prefix = real(layout, form, training, tmp_path / optimizer)
        ours = save(program(form), layout, training, tmp_path / f"{optimizer}-ours", 1_000).prefix
        assert described(ours) == described(prefix), optimizer


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        (layout, options)
        for layout in ("keras2", "legacy", "keras3")
        for options in (
            {"copies": "average"},
            {"scaled": True},
            {"schedule": "stateless"},
            {"schedule": "stateful"},
        )
        if (layout, *options) != ("legacy", "copies")  # TensorFlow Addons made these
    ],
)
def test_keras_with_more_state(layout, options, tmp_path):
    training = Training("adam", **options)
    ours = save(program("sequential"), layout, training, tmp_path / "ours", 1_000).prefix
    assert described(ours) == described(real(layout, "sequential", training, tmp_path / "real"))


def test_tf1(tmp_path):
    """Variables of `tf.compat.v1.layers`, by the names that they have had since TensorFlow 1.0."""
    made = Program(
        "sequential",
        [
            Part(
                "model",
                None,
                [
                    Layer("dense", None, "a"),
                    Layer("batch_normalization", None, "b"),
                    Layer("plain", "c", "c"),
                ],
            )
        ],
        [0],
    )
    for optimizer, name in (("adam", "Adam"), ("momentum", "Momentum"), ("rmsprop", "RMSProp")):
        with tf.Graph().as_default(), tf1.Session() as session:
            names = [("dense", "kernel", [4, 4]), ("dense", "bias", [4])]
            names += [
                ("batch_normalization", each, [4])
                for each in ("gamma", "beta", "moving_mean", "moving_variance")
            ]
            names += [("c", "kernel", [4, 4])]
            variables = []
            for scope, role, shape in names:
                with tf1.variable_scope(scope):
                    trained = not role.startswith("moving")
                    variables.append(tf1.get_variable(role, shape, trainable=trained))
            step = tf1.train.get_or_create_global_step()
            options = {"Momentum": (0.1, 0.9), "RMSProp": (0.1, 0.9, 0.9)}.get(name, (0.1,))
            loss = tf.add_n([tf.reduce_sum(each * np.float32(2)) for each in variables])
            update = getattr(tf1.train, f"{name}Optimizer")(*options).minimize(loss, global_step=step)
            session.run(tf1.global_variables_initializer())
            session.run(update)
            tf1.train.Saver().save(session, str(tmp_path / name), write_meta_graph=False)
        ours = save(made, "tf1", Training(optimizer), tmp_path / f"{name}-ours", 1_000).prefix
        assert described(ours) == described(tmp_path / name)
