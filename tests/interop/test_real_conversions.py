"""Real checkpoints become what Keras 3 loads, in one command each, with the values that TensorFlow reads of them."""

import json
import os

import numpy as np
import pytest

from support.corpus import THIRD_PARTY
from support.keras import keras
from support.tensorflow import tf
from tensorbundle.tools import check, diff
from tensorbundle.tools.cli import main

pytest.importorskip("h5py")

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own


def dense(of, inputs, *layers):
    return of.Sequential([of.Input((inputs,)), *(of.layers.Dense(*each) for each in layers)])


# By checkpoint: the model as its program has it, for either Keras.
WEIGHTS = {
    "ByeongjunCho__tf2-TIL/training_2-cp0000/cp-0000.ckpt": lambda of: of.Sequential(
        [
            of.Input((784,)),
            of.layers.Dense(512, "relu"),
            of.layers.Dropout(0.2),
            of.layers.Dense(10, "softmax"),
        ]
    ),
    "jhonatantirado__DemoTensorFlow/weights-2019-05-28/my_model": lambda of: of.Sequential(
        [
            of.Input((28, 28)),
            of.layers.Flatten(),
            of.layers.Dense(128, "relu"),
            of.layers.Dense(10, "softmax"),
        ]
    ),
}
SAVED_MODELS = [
    "themasterz854__Dataspellfiles/x-sm-2022-06-27",
    "keremtatlici__finance-buysell-with-RL/rl-1-sm-2021",
]


def converted(source, tmp_path):
    """The one command; every value is equal, and the way back gives the checkpoint again."""
    target, back = str(tmp_path / "out.weights.h5"), str(tmp_path / "back")
    assert main(["convert", str(source), target]) == 0
    found = diff(source, target)
    assert found.equal
    assert found.counts["same"] > 3
    assert main(["convert", target, back, "--to", "tf2", "--template", str(source)]) == 0
    assert main(["diff", str(source), back]) == 0
    return target


def assert_outputs_equal(old, new, shape):
    inputs = np.random.default_rng(0).random((5, *shape)).astype("f4")
    np.testing.assert_allclose(np.asarray(new(inputs)), np.asarray(old(inputs)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", WEIGHTS)
def test_weights_that_tf_keras_saved(path, tmp_path):
    target = converted(THIRD_PARTY / path, tmp_path)
    old, new = (WEIGHTS[path](keras(number)) for number in (2, 3))
    old.load_weights(THIRD_PARTY / path).expect_partial()
    new.save_weights(tmp_path / "fresh.weights.h5")
    assert not check(target, tmp_path / "fresh.weights.h5").found
    new.load_weights(target)
    assert_outputs_equal(old, new, old.input_shape[1:])


@pytest.mark.parametrize("path", SAVED_MODELS)
def test_saved_models(path, tmp_path):
    target = converted(THIRD_PARTY / path, tmp_path)
    old = tf.saved_model.load(str(THIRD_PARTY / path))
    variables = old.variables
    layers = [(kernel.shape[1], "relu") for kernel in variables[::2]]
    of = keras(3)
    new = dense(of, variables[0].shape[0], *layers)
    new.load_weights(target)
    for ours, theirs in zip(new.weights, variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs.numpy())


def test_4_gb_of_safetensors_in_place(tmp_path):
    """The file becomes the data shard; of what is written, all but an index was there."""
    size = 4_000_000_000
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [1000, size // 4000], "data_offsets": [0, size]}}
    ).encode()
    source = tmp_path / "m.safetensors"
    with source.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(file.tell() + size)  # a hole
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(7).tobytes())
    assert main(["convert", str(source), str(tmp_path / "ckpt"), "--to", "v2"]) == 0
    written = [each for each in tmp_path.iterdir() if not each.samefile(source)]
    assert sum(each.stat().st_size for each in written) < 1_000_000
    assert main(["diff", str(source), str(tmp_path / "ckpt")]) == 0
    reader = tf.train.load_checkpoint(str(tmp_path / "ckpt"))
    assert reader.get_variable_to_shape_map() == {"w": [1000, size // 4000]}
