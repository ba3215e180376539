"""An Estimator goes on from a checkpoint that was converted, in TensorFlow 2.15, the last that has Estimator."""

import os
import re
import shutil

import numpy as np
import pytest

from support.contents import assert_same_files
from support.tensorflow import described, tf, tf1, their_reading
from tensorbundle.tools import TransferOptions, convert

if not hasattr(tf, "estimator"):
    if os.environ.get("TENSORBUNDLE_REQUIRE_ESTIMATOR"):
        pytest.fail(f"TensorFlow {tf.__version__} has no Estimator", pytrace=False)
    pytest.skip("needs TensorFlow 2.15, the last that has Estimator", allow_module_level=True)

COPY = TransferOptions(data="copy", state=True)
SHARE = TransferOptions(state=True)


def config(folder):
    """One thread, so that training gives the same bits every time."""
    session = tf1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    return tf.estimator.RunConfig(model_dir=str(folder), tf_random_seed=1, session_config=session)


def classifier(folder, warm_start=None):
    """Wide and deep, its embedding and that one's slots in two parts each."""
    column = tf.feature_column
    number = column.numeric_column("x", shape=[3])
    letter = column.categorical_column_with_hash_bucket("k", 64)
    return tf1.estimator.DNNLinearCombinedClassifier(
        config=config(folder),
        linear_feature_columns=[number],
        linear_optimizer=tf1.train.FtrlOptimizer(0.05),
        dnn_feature_columns=[number, column.embedding_column(letter, 8)],
        dnn_optimizer=tf1.train.AdamOptimizer(0.01),
        dnn_hidden_units=[8, 4],
        input_layer_partitioner=tf1.fixed_size_partitioner(2),
        warm_start_from=warm_start,
    )


def examples():
    features = {"x": np.arange(18, dtype=np.float32).reshape(6, 3), "k": np.array([b"a", b"b", b"c"] * 2)}
    return tf.data.Dataset.from_tensors((features, np.array([0, 1] * 3))).repeat()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of an Estimator after three steps."""
    folder = tmp_path_factory.mktemp("trained")
    classifier(folder).train(examples, max_steps=3)
    return folder


@pytest.fixture(scope="module")
def six_steps(trained, tmp_path_factory):
    """What it reads after three more, without us."""
    folder = tmp_path_factory.mktemp("more") / "steps"
    shutil.copytree(trained, folder)
    return trained_on(folder)


def trained_on(folder):
    classifier(folder).train(examples, max_steps=6)
    return their_reading(tf.train.latest_checkpoint(str(folder)))


@pytest.mark.parametrize("options", [SHARE, COPY], ids=["share", "copy"])
def test_goes_on_from_what_was_converted_and_back(options, trained, six_steps, tmp_path):
    """As if nothing had happened: after the same number of steps, every variable has the same bits."""
    convert(trained, tmp_path / "tf2", to="tf2", options=options)
    (tmp_path / "tf1").mkdir()
    convert(tmp_path / "tf2", tmp_path / "tf1/model.ckpt-3", to="tf1", options=options)
    if options is COPY:
        assert_same_files(tmp_path / "tf1/model.ckpt-3", trained / "model.ckpt-3")
    assert trained_on(tmp_path / "tf1") == six_steps


@pytest.mark.parametrize("form", ["tf1", "tf2"])
def test_warm_starts(form, trained, tmp_path):
    """From either form; the object-based one is matched by full names."""
    prefix = tmp_path / "tf2"
    convert(trained, prefix, to="tf2")
    if form == "tf1":
        convert(prefix, tmp_path / "tf1", to="tf1")
        prefix = tmp_path / "tf1"
    folder = tmp_path / "warm"
    estimator = classifier(folder, warm_start=str(prefix))
    estimator.train(examples, steps=1)
    source = their_reading(trained / "model.ckpt-3")
    first = their_reading(folder / "model.ckpt-0")
    weights = [name for name in source if re.fullmatch(r"(dnn|linear)/.*(kernel|bias|weights)", name)]
    assert len(weights) == 9
    assert {name: first[name] for name in weights} == {name: source[name] for name in weights}


def guide_estimator(folder, object_based):
    """The migration guide's: each step adds 2 to a variable."""

    def model_fn(features, labels, mode):
        step = tf1.train.get_or_create_global_step()
        variable = tf1.get_variable("var", [], initializer=tf1.constant_initializer(-1.0))
        saver = tf.train.Checkpoint(var_list={"var": variable, "global_step": step}) if object_based else None
        return tf.estimator.EstimatorSpec(
            mode,
            predictions=variable,
            train_op=tf.group(variable.assign_add(2), step.assign_add(1)),
            loss=tf.constant(1.0),
            scaffold=tf1.train.Scaffold(saver=saver) if object_based else None,
        )

    return tf.estimator.Estimator(model_fn, config=config(folder))


def test_changes_its_saver_and_back(tmp_path):
    """From names to objects: the guide's way, on the Estimator's own checkpoint; and back again."""
    by_name, by_object, again = (tmp_path / name for name in ("by_name", "by_object", "again"))
    for folder in (by_name, by_object, again):
        folder.mkdir()

    def data():
        return tf.data.Dataset.from_tensor_slices(([1, 2, 3], [4, 5, 6]))

    guide_estimator(by_name, object_based=False).train(data, steps=2)
    convert(
        by_name,
        by_object / "model.ckpt-2",
        to="tf2",
        root="var_list",
        save_counter=False,
        options=SHARE,
    )
    guide_estimator(by_object, object_based=True).train(data, steps=1)
    newest = tf.train.latest_checkpoint(str(by_object))
    convert(newest, again / "model.ckpt-3", to="tf1", options=SHARE)
    guide_estimator(again, object_based=False).train(data, steps=3)
    assert their_reading(tf.train.latest_checkpoint(str(again))) == {
        "global_step": described(tf.constant(6, tf.int64)),
        "var": described(tf.constant(11.0)),
    }
