"""Keras 2 and Keras 3, as far as they are installed: tf_keras, or what TensorFlow up to 2.15 has; and Keras 3."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import pytest

from support.tensorflow import tf


def _imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _version(module: Any) -> str:
    return "" if module is None else module.__version__.partition(".")[0]


_INSTALLED = {
    _version(each): each for each in (_imported("keras"), _imported("tf_keras")) if each is not None
}
KERAS_2, KERAS_3 = _INSTALLED.get("2"), _INSTALLED.get("3")
if KERAS_2 is None and os.environ.get("TENSORBUNDLE_REQUIRE_TENSORFLOW"):
    raise ImportError("no Keras 2, which these tests need: install the extra 'interop'")


def keras(number: int) -> Any:
    """Keras 2 or Keras 3; the test is skipped where there is none."""
    found = KERAS_2 if number == 2 else KERAS_3
    if found is None:
        pytest.skip(f"needs Keras {number}")
    return found


def train(model: Any, optimizer: Any, inputs: Any, targets: Any, steps: int) -> list[float]:
    """Losses (mean squared errors) of so many steps on the same data, each before its update."""
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(inputs, training=True) - targets))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        losses.append(float(loss))
    return losses
