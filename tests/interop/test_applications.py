"""Models of keras.applications: with the names that recipes expect, and loaded by Keras 3 where recipes make them."""

import importlib

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import keras
from support.published import IMAGE_MODELS
from support.tensorflow import tf
from tensorbundle.tools import diff, rewrite
from tensorbundle.tools.cli import main

pytest.importorskip("h5py")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # Keras's own
FILTERS, STRIDES, UNITS = (
    (4, 8, 8, 512),
    (2, 2, 2, 1),
    2,
)  # of the stacks; the last has the channels of the real model
EPSILON = 1.001e-5  # Keras's; TF-Slim has 1e-5


def test_efficientnet_of_tf_keras(tmp_path):
    """A checkpoint and a legacy file have the names of the small one, and become the same tensors."""
    of = importlib.import_module(f"{keras(2).__name__}.src.applications.efficientnet")
    model = of.EfficientNet(
        0.1, 1.0, 32, weights=None, input_shape=(32, 32, 3), classes=3
    )  # B0, a tenth as wide
    model.save_weights(tmp_path / "ckpt", save_format="tf")
    model.save_weights(tmp_path / "legacy.h5")
    for name in ("ckpt", "legacy.h5"):
        rewrite(tmp_path / name, tmp_path / f"{name}.safetensors", recipe="hf:efficientnet-b0")
    assert diff(tmp_path / "ckpt.safetensors", tmp_path / "legacy.h5.safetensors").equal
    rewrite(tmp_path / "ckpt.safetensors", tmp_path / "back", recipe="tf:efficientnet-b0")
    with tb.open(tmp_path / "back") as back:
        assert set(back) == set(IMAGE_MODELS["efficientnet-b0"]())
        for weight in model.weights:
            name = weight.name.partition(":")[0]
            np.testing.assert_array_equal(
                back[name if "/" in name else f"normalization/{name}"], weight.numpy()
            )


class Slim(dict):
    """The tensors of resnet_v2_50, and what TF-Slim computes with them."""

    def norm(self, scope, inputs):
        mean, variance, gamma, beta = (
            self[f"resnet_v2_50/{scope}/{each}"]
            for each in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return tf.nn.relu((inputs - mean) / np.sqrt(variance + EPSILON) * gamma + beta)

    def convolution(self, scope, inputs, stride=1, biased=True):
        kernel = self[f"resnet_v2_50/{scope}/weights"]
        before = (kernel.shape[0] - 1) // 2  # conv2d_same
        padded = tf.pad(inputs, [[0, 0], [before, before], [before, before], [0, 0]])
        out = tf.nn.conv2d(padded, kernel, stride, "VALID")
        return out + self[f"resnet_v2_50/{scope}/biases"] if biased else out

    def unit(self, scope, inputs, stride):
        before = self.norm(f"{scope}/preact", inputs)
        has_shortcut = f"resnet_v2_50/{scope}/shortcut/weights" in self
        shortcut = (
            self.convolution(f"{scope}/shortcut", before) if has_shortcut else inputs[:, ::stride, ::stride]
        )
        hidden = self.norm(
            f"{scope}/conv1/BatchNorm", self.convolution(f"{scope}/conv1", before, biased=False)
        )
        hidden = self.convolution(f"{scope}/conv2", hidden, stride, biased=False)
        hidden = self.norm(f"{scope}/conv2/BatchNorm", hidden)
        return shortcut + self.convolution(f"{scope}/conv3", hidden)

    def __call__(self, images):
        hidden = self.convolution("conv1", images, 2)
        hidden = tf.nn.max_pool2d(hidden, 3, 2, "SAME")
        for block, stride in enumerate(STRIDES, 1):
            for number in range(1, UNITS + 1):
                at = f"block{block}/unit_{number}/bottleneck_v2"
                hidden = self.unit(at, hidden, stride if number == UNITS else 1)
        hidden = tf.reduce_mean(self.norm("postnorm", hidden), [1, 2], keepdims=True)
        return self.convolution("logits", hidden)[:, 0, 0]


def small_resnet():
    """ResNet50V2 of Keras 3 with fewer blocks and channels."""
    module = importlib.import_module("keras.src.applications.resnet")

    def stacks(inputs):
        hidden = inputs
        for number, filters in enumerate(FILTERS):
            stride = STRIDES[number]
            hidden = module.stack_residual_blocks_v2(hidden, filters, UNITS, stride, name=f"conv{number + 2}")
        return hidden

    return module.ResNet(
        stacks, True, True, weights=None, input_shape=(33, 33, 3), classes=3, classifier_activation=None
    )


def test_resnet_of_tf_slim_in_keras_3(tmp_path):
    keras(3)
    new = small_resnet()
    new.save_weights(tmp_path / "fresh.weights.h5")
    rng = np.random.default_rng(0)
    with tb.create(tmp_path / "named") as writer:
        for weight in new.weights:
            scale = 1 / np.sqrt(np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.1
            values = rng.normal(0, scale, weight.shape)
            if weight.path.endswith(("variance", "gamma")):
                values = np.abs(values) + 1
            elif weight.path == "conv1_conv/bias":
                values = values + 5  # where all is positive, padding with zeros is as good as none
            writer.add(weight.path, values.astype("f4"))
    rewrite(tmp_path / "named", tmp_path / "slim", recipe="tf:resnet-v2-50")
    rewrite(tmp_path / "slim", tmp_path / "keras", recipe="keras:resnet-v2-50")
    paths = [str(tmp_path / name) for name in ("keras", "fresh.weights.h5", "names.map", "out.weights.h5")]
    assert main(["suggest", *paths[:2], "-o", paths[2]]) == 0
    assert main(["rename", paths[0], paths[3], "--map", paths[2]]) == 0
    new.load_weights(paths[3])
    images = rng.normal(size=(2, 33, 33, 3)).astype("f4")
    with tb.open(tmp_path / "slim") as slim:
        expected = Slim(slim)(images).numpy()
    np.testing.assert_allclose(np.asarray(new(images)), expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected).mean() > 0.01
