"""`check` of Keras weights says what `model.load_weights` does: what loads, and how many objects do not."""

import re

import numpy as np
import pytest

from support.keras import keras
from tensorbundle.tools import check

pytest.importorskip("h5py")

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own


def dense(of, *units):
    return [of.layers.Dense(each) for each in units]


MODELS = {
    "small": lambda of: dense(of, 4, 2),
    "large": lambda of: dense(of, 4, 2, 2, 3),
    "wide": lambda of: dense(of, 5, 2),
    "norm": lambda of: [*dense(of, 4), of.layers.BatchNormalization(), *dense(of, 2)],
    "no bias": lambda of: [of.layers.Dense(4, use_bias=False), of.layers.Dense(2)],
    "renamed": lambda of: [
        of.layers.Dense(4, name="a"),
        of.layers.Dropout(0.1),
        of.layers.Dense(2, name="b"),
    ],
}


def model_of(name):
    of = keras(3)
    return of.Sequential([of.Input((3,)), *MODELS[name](of)])


@pytest.mark.parametrize("target", MODELS)
def test_load_weights(target, tmp_path):
    model_of(target).save_weights(tmp_path / "fresh.weights.h5")
    for source in MODELS:
        model_of(source).save_weights(tmp_path / "a.weights.h5")
        found = check(tmp_path / "a.weights.h5", tmp_path / "fresh.weights.h5")
        model = model_of(target)
        try:
            model.load_weights(tmp_path / "a.weights.h5")
        except ValueError as error:
            said = re.search(r"A total of \d+ objects could not be loaded", str(error))[0]
            assert said in found.failure.message, source
            if "expected" in str(error):
                loaded = {path for path in found.changed if path.startswith("layers/dense")}
                assert len(loaded) < len(model.weights)
        else:
            assert found.failure is None, source


def test_an_optimizer_that_is_skipped(tmp_path):
    model = model_of("small")
    model.compile("adam", "mse")
    model.fit(np.zeros((2, 3)), np.zeros((2, 2)), verbose=0)
    model.save_weights(tmp_path / "a.weights.h5")
    other = model_of("small")
    other.compile("sgd", "mse")
    other.optimizer.build(other.trainable_variables)
    other.save_weights(tmp_path / "fresh.weights.h5")
    found = check(tmp_path / "a.weights.h5", tmp_path / "fresh.weights.h5")
    with pytest.warns(UserWarning, match="it has 2 variables whereas the saved optimizer has 10 variables"):
        other.load_weights(tmp_path / "a.weights.h5")
    details = {each.detail for each in found.findings if each.path.startswith("optimizer")}
    assert "skipped with a warning: the optimizer has 2 variables, that in A 10" in details
