"""Training goes on in Keras 3 where it stopped in tf_keras, and back: equal outputs, and equal losses of the next steps."""

import warnings

import numpy as np
import pytest

from support.keras import keras, train
from support.tensorflow import tf
from tensorbundle.errors import ConflictError
from tensorbundle.tools import convert, diff

pytest.importorskip("h5py")

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own, but those of load()
RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.random((16, 3)).astype("f4"), RNG.random((16, 2)).astype("f4")
BEFORE, AFTER = 7, 12

# How each generation makes it.
OPTIMIZERS = {
    "adam": lambda of: of.Adam(0.01),
    "amsgrad": lambda of: of.Adam(0.01, amsgrad=True),
    "adamax": lambda of: of.Adamax(0.01),
    "nadam": lambda of: of.Nadam(0.01),
    "sgd-momentum": lambda of: of.SGD(0.05, momentum=0.9),
    "rmsprop": lambda of: of.RMSprop(0.01),
    "rmsprop-momentum": lambda of: of.RMSprop(0.01, momentum=0.9),
    "rmsprop-centered": lambda of: of.RMSprop(0.01, momentum=0.9, centered=True),
    "adagrad": lambda of: of.Adagrad(0.1),
    "adadelta": lambda of: of.Adadelta(1.0),
    "ftrl": lambda of: of.Ftrl(0.05),
}
NEWER = {
    "adamw": lambda of: of.AdamW(0.01),
    "lion": lambda of: of.Lion(0.01),
    "adafactor": lambda of: of.Adafactor(0.05),
    "averages": lambda of: of.Adam(0.01, use_ema=True),
    "schedule": lambda of: of.Adam(of.schedules.ExponentialDecay(0.01, 5, 0.5)),
}
OF_KERAS_3 = {
    "lamb": lambda of: of.Lamb(0.01),
    "muon": lambda of: of.Muon(0.01),
    "accumulated": lambda of: of.Adam(0.01, gradient_accumulation_steps=3),
    "loss-scale": lambda of: of.LossScaleOptimizer(of.Adam(0.01)),
}
BOTH = OPTIMIZERS | NEWER
OF_EVERY_KERAS = ["amsgrad", "rmsprop-centered", "averages"]
INTO_KERAS_3 = [
    *((2, name) for name in BOTH if name not in OF_EVERY_KERAS),
    *(pytest.param(2, name, marks=pytest.mark.every_keras) for name in OF_EVERY_KERAS),
    *(("legacy", name) for name in OPTIMIZERS if name != "nadam"),  # whose momentums grow otherwise
    *((3, name) for name in BOTH | OF_KERAS_3),
]


def model_of(number, make):
    """A compiled model with a frozen layer; of Keras 2, of Keras 2 with a legacy optimizer, or of Keras 3."""
    of = keras(3 if number == 3 else 2)
    of.utils.set_random_seed(1)
    dense = of.layers.Dense
    frozen = dense(4, activation="tanh", trainable=False)
    model = of.Sequential(
        [of.Input((3,)), dense(4, activation="tanh"), of.layers.BatchNormalization(), frozen, dense(2)]
    )
    model.compile(make(of.optimizers.legacy if number == "legacy" else of.optimizers), "mse")
    if number == 3:
        model.optimizer.build(model.trainable_variables)
    return model


def losses(model, steps=AFTER):
    return train(model, model.optimizer, INPUTS, TARGETS, steps)


def save(number, model, path):
    """In TensorFlow's format; Keras 3 has only that of `tf.train.Checkpoint`."""
    if number == 3:
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(path))
    else:
        model.save_weights(path, save_format="tf")


def assert_goes_on(old, new):
    np.testing.assert_allclose(np.asarray(new(INPUTS)), np.asarray(old(INPUTS)), rtol=1e-5, atol=1e-6)
    assert np.asarray(new.optimizer.iterations) == np.asarray(old.optimizer.iterations) > 0
    np.testing.assert_allclose(losses(new), losses(old), rtol=1e-4)


def load(model, path):
    """Keras 3 leaves the optimizer as it is, and warns, where it has another number of variables."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping variable loading")
        model.load_weights(path)


@pytest.mark.parametrize(("number", "name"), INTO_KERAS_3)
def test_into_keras_3(number, name, tmp_path):
    make = (BOTH | OF_KERAS_3)[name]
    old = model_of(number, make)
    losses(old, BEFORE)
    save(number, old, tmp_path / "ckpt")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    assert diff(tmp_path / "ckpt", tmp_path / "out.weights.h5").equal
    new = model_of(3, make)
    load(new, tmp_path / "out.weights.h5")
    assert_goes_on(old, new)


# Nadam of tf_keras does not go on with what itself saved: it forgets for which step its product of momentums is.
@pytest.mark.parametrize("name", [name for name in BOTH if name != "nadam"])
def test_back_into_tf_keras(name, tmp_path):
    new = model_of(3, BOTH[name])
    losses(new, BEFORE)
    new.save_weights(tmp_path / "new.weights.h5")
    old = model_of(2, BOTH[name])
    old.optimizer.build(old.trainable_variables)
    save(2, old, tmp_path / "fresh")
    convert(tmp_path / "new.weights.h5", tmp_path / "ckpt", to="tf2", template=tmp_path / "fresh")
    assert diff(tmp_path / "new.weights.h5", tmp_path / "ckpt").equal
    old.load_weights(tmp_path / "ckpt").assert_consumed()
    assert_goes_on(new, old)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "nadam"])
def test_back_into_a_legacy_optimizer(name, tmp_path):
    new = model_of(3, OPTIMIZERS[name])
    losses(new, BEFORE)
    new.save(tmp_path / "new.keras")
    old = model_of("legacy", OPTIMIZERS[name])
    old.optimizer._create_all_weights(old.trainable_variables)
    save(2, old, tmp_path / "fresh")
    convert(tmp_path / "new.keras", tmp_path / "ckpt", to="tf2", template=tmp_path / "fresh")
    assert diff(tmp_path / "new.keras", tmp_path / "ckpt").equal
    old.load_weights(tmp_path / "ckpt").assert_consumed()
    assert_goes_on(new, old)


TOLD_BY_TEMPLATE = {
    "sgd": lambda of: of.SGD(0.1),  # Keras 2 keeps momentums nevertheless, Keras 3 has none
    "nadam": lambda of: of.Nadam(0.01),  # Keras 3.10 moved the product of momentums
}


@pytest.mark.every_keras
@pytest.mark.parametrize("name", TOLD_BY_TEMPLATE)
def test_what_the_template_tells(name, tmp_path):
    make = TOLD_BY_TEMPLATE[name]
    old = model_of(2, make)
    losses(old, BEFORE)
    save(2, old, tmp_path / "ckpt")
    new = model_of(3, make)
    new.save_weights(tmp_path / "fresh.weights.h5")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")
    assert diff(tmp_path / "ckpt", tmp_path / "out.weights.h5").equal
    load(new, tmp_path / "out.weights.h5")
    assert_goes_on(old, new)


def with_custom_layer(number):
    """A model whose layer has variables, all of one shape, in a dictionary and in a list in another order than they were made."""
    of = keras(number)
    of.utils.set_random_seed(1)

    class Custom(of.layers.Layer):
        def __init__(self):
            super().__init__()
            variable = of.Variable if number == 3 else tf.Variable
            start, z, a, end = (
                variable(RNG.random((3, 3)).astype("f4"), name=each) for each in ("s", "z", "a", "e")
            )
            self.start, self.items, self.end = start, {"z": z, "a": a}, end

        def build(self, shape):
            first, second = (self.add_weight(name=each, shape=(3, 3)) for each in ("first", "second"))
            self.list = [second, first]
            self.built = True

        def call(self, inputs):
            for each in (self.start, self.items["z"], self.end, self.items["a"], *self.list):
                inputs = inputs + 0.5 * tf.tanh(inputs @ each)
            return inputs

    model = of.Sequential([of.Input((3,)), Custom(), of.layers.Dense(2)])
    model.compile(of.optimizers.Adam(0.01), "mse")
    if number == 3:
        model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.every_keras
def test_variables_in_lists_and_dictionaries(tmp_path):
    old, new = with_custom_layer(2), with_custom_layer(3)
    losses(old, BEFORE)
    save(2, old, tmp_path / "ckpt")
    with pytest.raises(ConflictError, match=r"dictionaries of variables"):
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
    new.save_weights(tmp_path / "fresh.weights.h5")
    template = tmp_path / "fresh.weights.h5"
    convert(
        tmp_path / "ckpt", tmp_path / "out.weights.h5", template=template, keras=3
    )  # files tell since 3.6
    load(new, tmp_path / "out.weights.h5")
    assert_goes_on(old, new)


def test_scaled_losses(tmp_path):
    """Keras 2 and Keras 3 keep what scales losses elsewhere."""
    of = keras(2)
    of.mixed_precision.set_global_policy("mixed_float16")
    keras(3).config.set_dtype_policy("mixed_float16")
    try:
        old = model_of(2, lambda of: of.Adam(0.01))
        old.fit(INPUTS, TARGETS, batch_size=4, shuffle=False, verbose=0)
        save(2, old, tmp_path / "ckpt")
        convert(tmp_path / "ckpt", tmp_path / "out.weights.h5")
        new = model_of(3, lambda of: of.Adam(0.01))
        load(new, tmp_path / "out.weights.h5")
        inner = new.optimizer.inner_optimizer
        assert float(new.optimizer.dynamic_scale) == float(old.optimizer.loss_scale)
        assert int(inner.iterations) == int(old.optimizer.iterations) == 4
        history = [
            each.fit(INPUTS, TARGETS, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
            for each in (old, new)
        ]
        np.testing.assert_allclose(*history, rtol=1e-2)
    finally:
        of.mixed_precision.set_global_policy("float32")
        keras(3).config.set_dtype_policy("float32")
