"""Other formats: TensorFlow reads files of others in place, and others read what we write, with equal values."""

import json

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from support.keras import keras
from support.tensorflow import tf
from tensorbundle.errors import ConflictError
from tensorbundle.tools import TransferOptions, convert, diff, rewrite
from tensorbundle.tools.cli import main

h5py = pytest.importorskip("h5py")
safetensors = pytest.importorskip("safetensors.numpy")

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own
RNG = np.random.default_rng(0)
TENSORS = {
    "encoder/kernel": RNG.normal(size=(30, 40)).astype("f4"),
    "encoder/bias": RNG.normal(size=40).astype("f4"),
    "step": np.array(7, "i8"),
    "half": RNG.normal(size=(5, 3)).astype("f2"),
    "brain": RNG.normal(size=(7, 2)).astype(ml_dtypes.bfloat16),
    "flags": np.array([True, False]),
    "complex": np.array([1 + 2j], "c8"),
    "empty": np.zeros((0, 3), "f4"),
    "small": np.arange(5, dtype="u1"),
}
METADATA = {"format": "tf"}


def write_npz(path):
    np.savez(path, **TENSORS)


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        for key, values in TENSORS.items():
            dataset = file.create_dataset(key, data=values)
            if values.dtype == ml_dtypes.bfloat16:
                dataset.attrs["dtype"] = "bfloat16"


WRITERS = {
    "m.safetensors": lambda path: safetensors.save_file(TENSORS, path, METADATA),
    "m.npz": write_npz,
    "m.h5": write_hdf5,
}


def assert_equal(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_tensorflow_reads_the_file_itself(name, write, tmp_path):
    """No byte of a tensor is copied: the file is the data shard, and only an index is written."""
    write(tmp_path / name)
    summary = rewrite(tmp_path / name, tmp_path / "ckpt", options=TransferOptions())
    assert summary.bytes_shared == (tmp_path / name).stat().st_size
    assert summary.bytes_written < 1000
    assert (tmp_path / "ckpt.data-00000-of-00001").samefile(tmp_path / name)
    reader = tf.train.load_checkpoint(str(tmp_path / "ckpt"))
    assert reader.get_variable_to_shape_map().keys() == TENSORS.keys()
    for key, values in TENSORS.items():
        assert_equal(np.asarray(reader.get_tensor(key)), values)


def test_safetensors_are_those_of_the_package(tmp_path):
    with tb.create(tmp_path / "ckpt") as writer:
        for key, values in TENSORS.items():
            writer.add(key, values)
    options = TransferOptions(metadata=METADATA)
    rewrite(tmp_path / "ckpt", tmp_path / "ours.safetensors", options=options)
    safetensors.save_file(TENSORS, tmp_path / "theirs.safetensors", METADATA)
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    loaded = safetensors.load_file(tmp_path / "ours.safetensors")
    for key, values in TENSORS.items():
        assert_equal(loaded[key], values)


def test_a_sharded_set_is_loaded_file_by_file(tmp_path):
    safetensors.save_file(TENSORS, tmp_path / "m.safetensors")
    options = TransferOptions(max_shard_bytes=2000)
    rewrite(tmp_path / "m.safetensors", tmp_path / "out.safetensors", options=options)
    index = json.loads((tmp_path / "out.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 1
    assert index["metadata"]["total_size"] == sum(values.nbytes for values in TENSORS.values())
    loaded = {key: value for file in files for key, value in safetensors.load_file(tmp_path / file).items()}
    for key, values in TENSORS.items():
        assert_equal(loaded[key], values)


def models(of):
    """Models of one Keras, each with inputs."""
    layers = of.layers
    yield (
        "sequential",
        of.Sequential(
            [
                of.Input((8,)),
                layers.Dense(4),
                layers.Dropout(0.5),
                layers.BatchNormalization(),
                layers.Dense(3),
            ]
        ),
    )
    inner = of.Sequential([of.Input((4,)), layers.Dense(4), layers.BatchNormalization()], name="enc")
    first = of.Input((8,))
    yield "nested", of.Model(first, layers.Dense(2, name="mine")(inner(layers.Dense(4)(first))))
    steps = of.Input((7, 5))
    hidden = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(steps)
    hidden = layers.TimeDistributed(layers.Dense(3))(layers.GRU(3, return_sequences=True)(hidden))
    yield "recurrent", of.Model(steps, layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)])(hidden))
    yield (
        "attention",
        of.Model(steps, layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(steps, steps))),
    )
    image = of.Input((16, 16, 3))
    hidden = layers.SeparableConv2D(5, 3)(layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    yield "convolution", of.Model(image, layers.Conv2DTranspose(2, 3)(layers.DepthwiseConv2D(3)(hidden)))


def model_of(number, name):
    of = keras(number)
    of.utils.set_random_seed(1)
    return next(model for each, model in models(of) if each == name)


def randomize(model):
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(np.abs(rng.normal(size=weight.shape)))


def outputs(model):
    inputs = np.random.default_rng(3).random((2, *model.inputs[0].shape[1:])).astype("f4")
    return np.asarray(model(inputs, training=False))


MODELS = ["sequential", "nested", "recurrent", "attention", "convolution"]


WAYS = [
    *((name, how) for name in MODELS for how in ("config", "legacy")),
    *(pytest.param(name, "template", marks=pytest.mark.every_keras) for name in MODELS),
    *((name, "saved model") for name in ("sequential", "nested")),  # which takes Keras long to write
]


@pytest.mark.parametrize(("name", "how"), WAYS)
def test_keras_3_loads_the_weights_of_a_tf_keras_model(name, how, tmp_path):
    old = model_of(2, name)
    randomize(old)
    given = {}
    if how == "saved model":
        old.save(tmp_path / "saved", save_format="tf")
        source = tmp_path / "saved"
    else:
        old.save_weights(tmp_path / "weights", save_format="tf")
        source = tmp_path / "weights"
    new = model_of(3, name)
    if how == "config":
        (tmp_path / "model.json").write_text(old.to_json())
        given["config"] = tmp_path / "model.json"
    elif how == "template":
        new.save_weights(tmp_path / "fresh.weights.h5")
        given["template"] = tmp_path / "fresh.weights.h5"
    target = tmp_path / ("out.h5" if how == "legacy" else "out.weights.h5")
    convert(source, target, **given)
    assert diff(source, target).equal
    new.load_weights(target)
    np.testing.assert_allclose(outputs(new), outputs(old), rtol=1e-4, atol=1e-5)


def subclassed(number):
    """A model with layers in attributes, lists and dictionaries, a layer of layers, and one that is used twice."""
    of = keras(number)
    dense = of.layers.Dense

    class Block(of.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = of.layers.LayerNormalization()
            self.inner = [dense(4), dense(4, use_bias=False)]

        def build(self, shape):
            for each in (self.norm, *self.inner):
                each.build(shape)

        def call(self, inputs):
            return self.norm(self.inner[1](self.inner[0](inputs)))

    class Net(of.Model):
        def __init__(self):
            super().__init__()
            self.stem, self.before = dense(4), dense(4)
            self.blocks = [Block(), of.layers.BatchNormalization(), Block()]
            self.heads = {"z": dense(3), "a": dense(2)}
            self.tail = Block()

        def call(self, inputs, training=False):
            hidden = self.before(self.before(self.stem(inputs)))
            for each in self.blocks:
                hidden = each(hidden)
            hidden = self.tail(hidden)
            return of.layers.concatenate([each(hidden) for each in self.heads.values()])

    of.utils.set_random_seed(1)
    model = Net()
    model(np.zeros((1, 3), "f4"))
    return model


@pytest.mark.every_keras
def test_a_subclassed_model(tmp_path):
    old, new = subclassed(2), subclassed(3)
    randomize(old)
    old.save_weights(tmp_path / "weights", save_format="tf")
    new.save_weights(tmp_path / "fresh.weights.h5")
    inputs = RNG.random((5, 3)).astype("f4")
    for name, given in (("out.weights.h5", {"template": tmp_path / "fresh.weights.h5"}), ("out.h5", {})):
        new = subclassed(3)
        convert(tmp_path / "weights", tmp_path / name, **given)
        new.load_weights(tmp_path / name)
        np.testing.assert_allclose(np.asarray(new(inputs)), np.asarray(old(inputs)), rtol=1e-4, atol=1e-5)


def unsorted(number, *, in_turn=False):
    """A model whose layers have equal shapes, in a dictionary that is not sorted; or in two lists that are filled in turn."""
    of = keras(number)
    dense = of.layers.Dense

    class Net(of.Model):
        def __init__(self):
            super().__init__()
            self.heads = {} if in_turn else {"z": dense(4), "a": dense(4)}
            self.tails = {"y": dense(4), "b": dense(4)} if not in_turn else {}
            self.p, self.q = [], []
            for _ in range(2 if in_turn else 0):
                self.p.append(dense(4))
                self.q.append(dense(4))

        def call(self, inputs):
            hidden = inputs
            for first, second in zip(self.p, self.q, strict=True):
                hidden = first(hidden) - second(hidden)
            for each in (*self.heads.values(), *self.tails.values()):
                hidden = each(hidden)
            return hidden

    of.utils.set_random_seed(1)
    model = Net()
    model(np.zeros((1, 4), "f4"))
    randomize(model)
    return model


def same(one, other):
    inputs = RNG.random((3, 4)).astype("f4")
    return np.allclose(np.asarray(one(inputs)), np.asarray(other(inputs)), rtol=1e-3, atol=1e-4)


def write_legacy(model, path):
    """As `model.save("model.h5")` of Keras 3 writes the weights of models that it can save so."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


@pytest.mark.every_keras
@pytest.mark.parametrize("in_turn", [False, True])
def test_the_kerases_have_layers_in_different_orders(in_turn, tmp_path, capsys):
    """No way exchanges layers of equal shapes: each is right, or refused."""
    models, readers = ({number: unsorted(number, in_turn=in_turn) for number in (2, 3)} for _ in range(2))
    old = models[2]
    old.save_weights(tmp_path / "ckpt", save_format="tf")
    for number, model in models.items():
        model.save_weights(tmp_path / f"{number}.weights.h5")
    old.save_weights(tmp_path / "2.h5")
    write_legacy(models[3], tmp_path / "3.h5")
    assert main(["check", str(tmp_path / "2.h5"), "--against", str(tmp_path / "3.h5")]) == 0
    assert "layers of equal shapes may get each other's weights" in capsys.readouterr().out

    def loads(number, source, name, **given):
        convert(tmp_path / source, tmp_path / name, **given)
        for weight in readers[number].weights:
            weight.assign(np.zeros(weight.shape))
        readers[number].load_weights(tmp_path / name)
        return readers[number]

    assert same(loads(3, "ckpt", "alone.weights.h5"), old)
    for number in (2, 3):
        template = tmp_path / f"{number}.weights.h5"
        assert same(loads(number, "ckpt", f"like-{number}.weights.h5", template=template), old)
    assert same(loads(2, "ckpt", "for-2.h5", keras=2), old)
    with pytest.raises(ConflictError, match="in turn" if in_turn else "--keras 2 or --keras 3"):
        convert(tmp_path / "ckpt", tmp_path / "out.h5")
    back = {"to": "tf2", "template": tmp_path / "ckpt"}
    for name in ("2.h5", "2.weights.h5", "3.weights.h5"):
        assert same(loads(2, name, f"back-{name[:-3]}", **back), models[int(name[0])])
    if in_turn:
        for source, name, given in (("ckpt", "out.h5", {"keras": 3}), ("3.h5", "back", back)):
            with pytest.raises(ConflictError, match="in turn"):
                convert(tmp_path / source, tmp_path / name, **given)
    else:
        assert same(loads(3, "ckpt", "for-3.h5", keras=3), old)
        assert same(loads(2, "3.h5", "back-3", **back), models[3])


@pytest.mark.parametrize(
    "of", [lambda model: {"model": model}, lambda model: {"root": model}], ids=["model", "root"]
)
def test_automatic_names_are_enough(of, tmp_path, capsys):
    old = model_of(2, "sequential")
    randomize(old)
    tf.train.Checkpoint(**of(old)).save(tmp_path / "ckpt")
    assert main(["convert", str(tmp_path / "ckpt-1"), str(tmp_path / "out.weights.h5")]) == 0
    assert "save counter" in capsys.readouterr().out
    new = model_of(3, "sequential")
    new.load_weights(tmp_path / "out.weights.h5")
    np.testing.assert_allclose(outputs(new), outputs(old), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["out.weights.h5", "out.keras"])
@pytest.mark.parametrize("name", MODELS)
def test_back_into_a_checkpoint_of_tf_keras(name, kind, tmp_path):
    new = model_of(3, name)
    randomize(new)
    (new.save if kind.endswith(".keras") else new.save_weights)(tmp_path / kind)
    old = model_of(2, name)
    tf.train.Checkpoint(model=old).write(str(tmp_path / "fresh"))
    convert(tmp_path / kind, tmp_path / "ckpt", to="tf2", template=tmp_path / "fresh")
    assert diff(tmp_path / kind, tmp_path / "ckpt").equal
    tf.train.Checkpoint(model=old).read(str(tmp_path / "ckpt")).assert_consumed()
    np.testing.assert_allclose(outputs(old), outputs(new), rtol=1e-4, atol=1e-5)
