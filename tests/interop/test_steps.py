"""What steps make of checkpoints is what TensorFlow and Keras restore."""

import numpy as np
import pytest

from tensorbundle import tools
from tensorbundle.tools import reshape, rewrite

tf = pytest.importorskip("tensorflow")
tf_keras = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.interop


def test_a_counter_for_what_write_wrote(tmp_path):
    """`restore` wants a save counter, and `write` writes none."""
    variable = tf.Variable([1.0, 2.0])
    tf.train.Checkpoint(net=variable).write(str(tmp_path / "written"))
    tools.set(tmp_path / "written", tmp_path / "saved", {"save_counter": "5:int64"})
    checkpoint = tf.train.Checkpoint(net=tf.Variable([0.0, 0.0]))
    checkpoint.restore(str(tmp_path / "saved")).assert_consumed()
    assert checkpoint.save_counter.numpy() == 5
    assert checkpoint.net.numpy().tolist() == [1, 2]


def test_a_variable_below_new_objects(tmp_path):
    tf.train.Checkpoint(net=tf.Variable([1.0])).save(str(tmp_path / "m"))
    tools.set(tmp_path / "m-1", tmp_path / "more", {"state/step": "7:int32"})
    step = tf.Variable(0, dtype=tf.int32)
    holder = tf.train.Checkpoint(step=step)
    tf.train.Checkpoint(net=tf.Variable([0.0]), state=holder).restore(
        str(tmp_path / "more")
    ).assert_consumed()
    assert step.numpy() == 7


def test_shapes_that_are_shared(tmp_path):
    values = tf.reshape(tf.range(24, dtype=tf.float32), [4, 6])
    tf.train.Checkpoint(net=tf.Variable(values)).save(str(tmp_path / "m"))
    summary = reshape(tmp_path / "m-1", tmp_path / "out", {"net": [2, 2, -1]})
    assert summary.bytes_shared > 0
    checkpoint = tf.train.Checkpoint(net=tf.Variable(tf.zeros([2, 2, 6])))
    checkpoint.restore(str(tmp_path / "out")).assert_consumed()
    assert checkpoint.net.numpy().tolist() == tf.reshape(values, [2, 2, 6]).numpy().tolist()


def gru_of_tf1(inputs, gates, gates_bias, candidate, candidate_bias):
    """The last state of TensorFlow 1's GRUCell (python/keras/layers/legacy_rnn/rnn_cell_impl.py, `GRUCell.call`)."""
    units = candidate_bias.size
    state = np.zeros([len(inputs), units], np.float32)
    for each in inputs.swapaxes(0, 1):
        both = 1 / (1 + np.exp(-(np.concatenate([each, state], 1) @ gates + gates_bias)))
        reset, update = both[:, :units], both[:, units:]
        new = np.tanh(np.concatenate([each, reset * state], 1) @ candidate + candidate_bias)
        state = update * state + (1 - update) * new
    return state


def test_the_gru_of_tf1_in_keras(tmp_path):
    """The same outputs from the same inputs, by the recipe in docs/values.md."""
    units, size = 4, 3
    generator = np.random.default_rng(0)
    shapes = {"gates/kernel": (7, 8), "gates/bias": (8,), "candidate/kernel": (7, 4), "candidate/bias": (4,)}
    weights = {name: generator.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(f"rnn/gru_cell/{name}", initializer=each)
            for name, each in weights.items()
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(tmp_path / "m"), write_meta_graph=False)
    cell = "rnn/gru_cell"
    made = tmp_path / "made"
    for number, step in enumerate(
        (
            {"split": {f"{cell}/gates/kernel": {"into": {"r": units, "z": units}, "axis": 1}}},
            {"concat": {"all": {"of": ["z", "r", f"{cell}/candidate/kernel"], "axis": 1}}},
            {"split": {"all": {"into": {"kernel": size, "recurrent_kernel": units}}}},
            {"split": {f"{cell}/gates/bias": {"into": {"rb": units, "zb": units}}}},
            {"concat": {"bias": {"of": ["zb", "rb", f"{cell}/candidate/bias"]}}},
        )
    ):
        source = tmp_path / "m" if number == 0 else f"{made}{number - 1}"
        rewrite(source, f"{made}{number}", **step)
    layer = tf_keras.layers.GRU(units, reset_after=False)
    inputs = generator.normal(size=[2, 5, size]).astype("f4")
    layer(tf.constant(inputs))  # which builds it
    reader = tf.train.load_checkpoint(f"{made}{number}")
    layer.set_weights([reader.get_tensor(name) for name in ("kernel", "recurrent_kernel", "bias")])
    expected = gru_of_tf1(
        inputs,
        *(weights[name] for name in ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")),
    )
    np.testing.assert_allclose(layer(tf.constant(inputs)), expected, rtol=1e-5, atol=1e-6)
