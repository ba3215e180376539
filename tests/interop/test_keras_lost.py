"""Layers in lists and dictionaries, which Keras 3 leaves out of its checkpoints: named, and rescued where an optimizer has them."""

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import keras, train
from support.tensorflow import tf
from tensorbundle.tools import convert, info
from tensorbundle.tools.cli import main

pytest.importorskip("h5py")

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own
INPUTS = np.random.default_rng(0).random((8, 3)).astype("f4")


def model_of():
    of = keras(3)

    class Net(of.Model):
        def __init__(self):
            super().__init__()
            self.first = of.layers.Dense(4)
            self.blocks = [of.layers.Dense(5), of.layers.BatchNormalization(), of.layers.Dense(6)]
            self.heads = {"z": of.layers.Dense(2), "a": of.layers.Dense(3)}

        def call(self, inputs, training=False):
            hidden = self.first(inputs)
            for each in self.blocks:
                hidden = each(hidden, training=training) if "batch" in each.name else each(hidden)
            return self.heads["a"](self.heads["z"](hidden))

    of.utils.clear_session()
    model = Net()
    model.compile("adam", "mse")
    model(INPUTS)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def saved(tmp_path):
    model = model_of()
    train(model, model.optimizer, INPUTS, np.zeros((8, 3), "f4"), 3)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(tmp_path / "ckpt"))
    return model


def test_it_is_said(saved, tmp_path, capsys):
    [note] = info(tmp_path / "ckpt").notes
    assert "Keras 3 left out the layers" in note
    assert "10 variables of them are stored" in note
    path = str(tmp_path / "ckpt")
    assert main(["check", path, "--against", path, "--with", "read"]) == 0
    assert "Keras 3 left out the layers" in capsys.readouterr().out


def test_what_is_trained_is_rescued(saved, tmp_path, capsys):
    fresh = model_of()
    fresh.save_weights(tmp_path / "fresh.weights.h5")
    convert(tmp_path / "ckpt", tmp_path / "out.weights.h5", template=tmp_path / "fresh.weights.h5")
    fresh.load_weights(tmp_path / "out.weights.h5")
    for ours, theirs in zip(fresh.trainable_variables, saved.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert int(fresh.optimizer.iterations) == 3
    saved.save_weights(tmp_path / "all.weights.h5")
    with tb.open(tmp_path / "out.weights.h5") as out, tb.open(tmp_path / "all.weights.h5") as whole:
        lost = {key for key in whole if not np.array_equal(out[key], whole[key])}
    assert lost == {f"blocks/batch_normalization/vars/{number}" for number in (2, 3)}
    command = ["convert", str(tmp_path / "ckpt"), str(tmp_path / "again.weights.h5")]
    assert main([*command, "--template", str(tmp_path / "fresh.weights.h5")]) == 0
    assert "not in the checkpoint, kept from the template: blocks/batch_norm" in "".join(capsys.readouterr())
