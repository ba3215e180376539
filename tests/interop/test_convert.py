"""TF1 to TF2 and back: TensorFlow restores what `convert` made, with the values that were in the source."""

import re
import shutil

import numpy as np
import pytest

import tensorbundle as tb
from support import golden, guide
from support.contents import any_bits, as_array, assert_same_files, our_reading
from support.object_graphs import COUNTER_KEY, GRAPH_KEY, graph_in, key_of, object_paths, tf1_names
from support.tensorflow import (
    PLAIN,
    VERSION,
    UninitializedVariable,
    below,
    described,
    in_session,
    other_values,
    restore_by_name,
    restore_raw,
    save_raw,
    tensor,
    tf,
    tf1,
    their_reading,
)
from tensorbundle.dtypes import DType
from tensorbundle.tools import TransferOptions, convert
from tensorbundle.tools.cli import main

COPY = TransferOptions(data="copy")

# This TensorFlow reads what it or an older one wrote.
CASES = [case for case in golden.load() if not case.is_v1 and case.version <= VERSION]
NAME_BASED = {str(case): case.path for case in CASES if not case.object_based} | {"sample": golden.SAMPLE}
NAME_BASED.pop("tf-2.21:many-names/model.ckpt", None)  # once is enough
OBJECT_BASED = [case for case in CASES if case.object_based]
UNREADABLE = [name for name in NAME_BASED if "unreadable-slices" in name]
READABLE = [name for name in NAME_BASED if name not in UNREADABLE]
NOT_FOR_VARIABLES = {"qint16", "quint16", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"}


def command(*arguments):
    assert main(["convert", "--json", *map(str, arguments)]) == 0


def in_dictionary(values, root="vars"):
    """Fresh variables below `root`, and the `tf.train.Checkpoint` that holds them."""
    variables = {name: other_values(value) for name, value in values.items()}
    return variables, tf.train.Checkpoint(**below(root, variables))


def assert_restored(variables, values):
    assert {name: described(variable) for name, variable in variables.items()} == values


def beside(path, tmp_path):
    """A copy of the checkpoint where its bytes can be shared: links do not reach other file systems."""
    folder = tmp_path / "source"
    folder.mkdir()
    for each in path.parent.glob(f"{path.name}.*"):
        shutil.copy(each, folder)
    return folder / path.name


def by_names(*selected):
    paths = {str(case): case.path for case in golden.load_all()} | {"sample": golden.SAMPLE}
    return pytest.mark.parametrize("path", [paths[name] for name in selected], ids=selected)


# TF1 to TF2


@by_names(*READABLE)
@pytest.mark.parametrize("data", ["share", "copy"])
def test_to_tf2(path, data, tmp_path):
    """TensorFlow's reader finds every tensor under its new key, and `Checkpoint` restores every variable.

    The source may go away meanwhile, also if its bytes are shared.
    """
    source = their_reading(path)
    options = TransferOptions(data=data)
    summary = convert(beside(path, tmp_path), tmp_path / "tf2", to="tf2", options=options)
    assert (summary.bytes_shared > 0) == (data == "share")
    shutil.rmtree(tmp_path / "source")
    found = their_reading(tmp_path / "tf2")
    assert found.pop(GRAPH_KEY)[:2] == ("string", ())
    assert found.pop(COUNTER_KEY) == described(tf.constant(1, tf.int64))
    assert found == {key_of(["vars", name]): value for name, value in source.items()}

    values = {name: value for name, value in source.items() if value[0] not in NOT_FOR_VARIABLES}
    variables, checkpoint = in_dictionary(values)
    status = checkpoint.restore(str(tmp_path / "tf2"))
    status.assert_existing_objects_matched()
    if values == source:
        status.assert_consumed()
    assert_restored(variables, values)
    restore_by_name(tmp_path / "tf2", values)  # full names are the TF1 names

    saved = checkpoint.save(str(tmp_path / "next"))
    assert saved == str(tmp_path / "next-2")
    assert our_reading(saved)[COUNTER_KEY] == described(tf.constant(2, tf.int64))


@pytest.mark.parametrize("data", ["share", "copy"])
def test_slices_that_tensorflow_does_not_join(data, tmp_path):
    """It restores each slice by itself, before and after."""
    whole = {"half": any_bits(DType.float16, (4,)), "words": np.array([b"one", b"", b"two", b"\0"], object)}
    parts = {"4 1,3": np.s_[1:], "4 0,1": np.s_[:1]}
    pieces = [(name, spec, tensor(whole[name][part])) for name in whole for spec, part in parts.items()]
    save_raw(tmp_path / "tf1", *pieces)
    convert(tmp_path / "tf1", tmp_path / "tf2", to="tf2", options=TransferOptions(data=data))
    with tb.open(tmp_path / "tf2") as ckpt:
        for name, array in whole.items():
            np.testing.assert_array_equal(ckpt[key_of(["vars", name])], array)
    for name, spec, piece in pieces:
        found = restore_raw(tmp_path / "tf2", key_of(["vars", name]), piece.dtype.name, spec)
        assert found == described(piece)


@pytest.mark.parametrize("root", ["vars", "other/nested", "od..d", ""])
@pytest.mark.parametrize("data", ["share", "copy"])
def test_root(root, data, tmp_path):
    values = their_reading(golden.SAMPLE)
    command(beside(golden.SAMPLE, tmp_path), tmp_path / "tf2", "--to", "tf2", "--root", root, "--data", data)
    variables, checkpoint = in_dictionary(values, root.replace("..", "."))
    checkpoint.restore(str(tmp_path / "tf2")).assert_consumed()
    assert_restored(variables, values)


def test_restore_before_the_variables_exist(tmp_path):
    """Values wait for objects, as long as the graph marks what has values."""
    values = their_reading(golden.SAMPLE)
    convert(golden.SAMPLE, tmp_path / "tf2", to="tf2", root="model/weights")
    checkpoint = tf.train.Checkpoint()
    status = checkpoint.restore(str(tmp_path / "tf2"))
    variables = {name: other_values(value) for name, value in values.items()}
    checkpoint.model = tf.Module()
    checkpoint.model.weights = variables
    status.assert_consumed()
    assert_restored(variables, values)


@pytest.mark.parametrize(("name", "counter"), [("model.ckpt-300", 300), ("model.ckpt", 1), ("a-b", 1)])
def test_save_counter_goes_on(name, counter, tmp_path):
    """From the number in the prefix, as if `Checkpoint.save` had written it."""
    values = their_reading(golden.SAMPLE)
    convert(golden.SAMPLE, tmp_path / name, to="tf2")
    _, checkpoint = in_dictionary(values)
    checkpoint.restore(str(tmp_path / name)).assert_consumed()
    assert checkpoint.save_counter == counter
    assert checkpoint.save(str(tmp_path / "next")).endswith(f"next-{counter + 1}")


def test_without_save_counter(tmp_path):
    """For `read`, which must not find a counter; `restore` must."""
    values = their_reading(golden.SAMPLE)
    command(golden.SAMPLE, tmp_path / "without", "--to", "tf2", "--no-save-counter")
    command(golden.SAMPLE, tmp_path / "with", "--to", "tf2")
    variables, checkpoint = in_dictionary(values)
    checkpoint.read(str(tmp_path / "without")).assert_consumed()
    assert_restored(variables, values)
    with pytest.raises(AssertionError, match="save_counter"):
        tf.train.Checkpoint(vars=variables).read(str(tmp_path / "with")).assert_consumed()
    with pytest.raises(AssertionError, match="save_counter"):
        tf.train.Checkpoint(vars=variables).restore(str(tmp_path / "without")).assert_consumed()


def test_variable_named_like_the_counter(tmp_path):
    """At the root, and without a counter of our own, it keeps its value."""
    save_raw(tmp_path / "tf1", ("save_counter", "", tf.constant(7.5)), ("v", "", tf.constant(1.0)))
    convert(tmp_path / "tf1", tmp_path / "tf2", to="tf2", root="", save_counter=False)
    module = tf.Module()
    module.save_counter, module.v = tf.Variable(0.0), tf.Variable(0.0)
    tf.train.Checkpoint(module).read(str(tmp_path / "tf2")).assert_existing_objects_matched()
    assert (module.save_counter.numpy(), module.v.numpy()) == (7.5, 1.0)


@by_names("tf-2.15:guide-tf1/tf1-ckpt", "tf-2.15:est-wide-deep/model.ckpt-3", "tf-2.15:many-names/model.ckpt")
@pytest.mark.parametrize("root", ["vars", "other/nested"])
def test_copied_bytes_are_those_of_checkpoint_save(path, root, tmp_path):
    """Index, data and state file: variables in sorted order, named as in TF1."""
    with tb.open(path) as ckpt:
        variables = {name: tf.Variable(ckpt[name], name=name) for name in sorted(ckpt)}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    tf.train.Checkpoint(**below(root, variables)).save(str(tmp_path / "theirs/ckpt"))
    command(path, tmp_path / "ours/ckpt-1", "--to", "tf2", "--root", root, "--data", "copy", "--state")
    assert_same_files(tmp_path / "ours/ckpt-1", tmp_path / "theirs/ckpt-1")
    assert (tmp_path / "ours/checkpoint").read_bytes() == (tmp_path / "theirs/checkpoint").read_bytes()


def test_every_dtype_is_copied_to_the_same_bytes(tmp_path):
    dtypes = [dtype for dtype in PLAIN if dtype not in NOT_FOR_VARIABLES]
    arrays = {f"scope/{dtype}": any_bits(dtype, (3, 4)) for dtype in sorted(dtypes)}
    arrays |= {"words": np.array([b"a", b"", b"\0"], object)}
    save_raw(tmp_path / "tf1", *((name, "", tensor(array)) for name, array in arrays.items()))
    variables = {name: tf.Variable(tensor(array), name=name) for name, array in arrays.items()}
    theirs = tf.train.Checkpoint(vars=variables).save(str(tmp_path / "theirs"))
    convert(tmp_path / "tf1", tmp_path / "ours-1", to="tf2", options=COPY)
    assert_same_files(tmp_path / "ours-1", theirs)


def cut_in(parts):
    return lambda: tf1.get_variable("emb", [64, 8], partitioner=tf1.fixed_size_partitioner(parts))


@pytest.mark.parametrize("parts", [2, 3])
def test_partitioned_variable(parts, tmp_path):
    """The sample's embedding, stored in two slices, into a variable of other parts: by its key, and back by its name."""
    name = "dnn/input_from_feature_columns/input_layer/profile_embedding/embedding_weights"
    convert(golden.SAMPLE, tmp_path / "tf2", to="tf2")
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1")
    expected = as_array(their_reading(golden.SAMPLE)[name])

    def restore(session, variable):
        for prefix, key in ((tmp_path / "tf2", key_of(["vars", name])), (tmp_path / "tf1", name)):
            session.run([part.assign(tf.zeros_like(part)) for part in variable])
            tf1.train.Saver({key: variable}).restore(session, str(prefix))
            np.testing.assert_array_equal(session.run(variable.as_tensor()), expected)

    in_session(cut_in(parts), restore)


# TF2 to TF1


COUNTER = [(COUNTER_KEY, "the save counter of tf.train.Checkpoint")]
LEFT_OUT = {
    "iterator/ckpt-1": [
        ("iterator/.ATTRIBUTES/ITERATOR_STATE", "not a variable: its object stores ITERATOR"),
    ],
    "max-shard-size-lossy/ckpt-1": [
        ("empty/.ATTRIBUTES/VARIABLE_VALUE", "named in the object graph, but not stored"),
    ],
    "python-state/ckpt-1": [("progress/.ATTRIBUTES/py_state", "not a variable: its object stores py_state")],
    "registered-saver/ckpt-1": [("blob/numbers", "saved by Golden.Blob")],
    "tables/ckpt-1": [
        ("module/table/.ATTRIBUTES/table-keys", "not a variable: its object stores table"),
        ("module/table/.ATTRIBUTES/table-values", "not a variable: its object stores table"),
    ],
}
NAMELESS = {("variable-root/only", "keys")}
NOT_BY_A_SAVER = {  # slices, when it saves eagerly, and nothing at all
    "max-shard-size/ckpt-1",
    "max-shard-size-lossy/ckpt-1",
    "sharded-variable/ckpt-1",
    "graph-only/nothing",
}
NOT_JOINED = {"max-shard-size-lossy/ckpt-1"}  # TensorFlow does not join slices of float16 and strings


@pytest.mark.parametrize("case", OBJECT_BASED, ids=str)
@pytest.mark.parametrize("names", ["auto", "keys", "full-names"])
def test_to_tf1(case, names, tmp_path):
    source = our_reading(case.path)
    expected = {name: source[key] for name, key in tf1_names(source, names) if key in source}
    if (case.prefix, names) in NAMELESS:
        with pytest.raises(tb.ConflictError, match="without a distinct TF1 name: no name"):
            convert(case.path, tmp_path / "tf1", to="tf1", names=names)
        return
    convert(case.path, tmp_path / "tf1", to="tf1", names=names)
    assert our_reading(tmp_path / "tf1") == expected
    if case.prefix not in NOT_JOINED:
        assert their_reading(tmp_path / "tf1") == expected
        if expected:
            restore_by_name(tmp_path / "tf1", expected)


@pytest.mark.parametrize(
    "case", [case for case in OBJECT_BASED if case.prefix not in NOT_BY_A_SAVER], ids=str
)
def test_copied_bytes_are_those_of_a_saver(case, tmp_path):
    """Sorted by name."""
    source = our_reading(case.path)
    variables = {
        name: tf.Variable(tensor(as_array(source[key])))
        for name, key in tf1_names(source, "auto")
        if key in source
    }
    tf1.train.Saver(var_list=variables).save(sess=None, save_path=str(tmp_path / "theirs"))
    convert(case.path, tmp_path / "ours", to="tf1", options=COPY)
    assert_same_files(tmp_path / "ours", tmp_path / "theirs")


@pytest.mark.parametrize("case", OBJECT_BASED, ids=str)
def test_left_out(case, tmp_path):
    summary = convert(case.path, tmp_path / "tf1", to="tf1")
    expected = LEFT_OUT.get(case.prefix, []) + (COUNTER if COUNTER_KEY in case.records else [])
    assert sorted((each.key, each.reason) for each in summary.left_out) == sorted(expected)
    known = {each.key for each in summary.left_out} | {GRAPH_KEY}
    assert summary.tensors == len(case.records.keys() - known)


@pytest.mark.parametrize("names", ["auto", "keys", "full-names"])
def test_names_that_are_not_distinct(names, tmp_path):
    """Names of variables need not be; those of objects are."""
    checkpoint = tf.train.Checkpoint(a=tf.Variable(1.0), b=tf.Variable(2.0))
    prefix = checkpoint.save(str(tmp_path / "tf2"))
    if names == "keys":
        convert(prefix, tmp_path / "tf1", to="tf1", names=names)
        restore_by_name(tmp_path / "tf1", {"a": described(checkpoint.a), "b": described(checkpoint.b)})
    else:
        with pytest.raises(tb.ConflictError, match=re.escape("'Variable' (a, b); --names keys takes")):
            convert(prefix, tmp_path / "tf1", to="tf1", names=names)


def test_uninitialised_variable(tmp_path):
    """It is in the object graph and has no value."""
    variable = UninitializedVariable(dtype=tf.float32, shape=[2], name="lost")
    prefix = tf.train.Checkpoint(vars={"lost": variable, "kept": tf.Variable(1.0)}).save(
        str(tmp_path / "tf2")
    )
    summary = convert(prefix, tmp_path / "tf1", to="tf1")
    assert [each.key for each in summary.left_out] == [key_of(["vars", "lost"]), COUNTER_KEY]
    assert their_reading(tmp_path / "tf1") == {"kept": described(tf.constant(1.0))}


def test_saved_model_directory(tmp_path):
    module = tf.Module()
    module.w = tf.Variable([1.5, 2.5], name="w")
    module.more = [tf.Variable(3, name="scope/n")]
    tf.saved_model.save(module, str(tmp_path / "model"))
    command(tmp_path / "model", tmp_path / "tf1", "--to", "tf1")
    restore_by_name(tmp_path / "tf1", {"w": described(module.w), "scope/n": described(module.more[0])})


# There and back


UNSORTED = ("rare-dtypes", "raw-slices", "merged")  # not by a `Saver`, which sorts


@by_names(*READABLE)
@pytest.mark.parametrize("data", ["share", "copy"])
def test_to_tf2_and_back(path, data, tmp_path):
    """What a `Saver` wrote comes back; copied, with the same bytes."""
    options = TransferOptions(data=data)
    convert(beside(path, tmp_path), tmp_path / "tf2", to="tf2", options=options)
    convert(tmp_path / "tf2", tmp_path / "tf1", to="tf1", options=options)
    assert their_reading(tmp_path / "tf1") == their_reading(path)
    if data == "copy" and path.parent.name not in UNSORTED:
        assert_same_files(tmp_path / "tf1", path)


@pytest.mark.parametrize("case", [case for case in OBJECT_BASED if "in-session" in case.prefix], ids=str)
def test_to_tf1_and_back(case, tmp_path):
    """A dictionary of variables, which `tf.train.Checkpoint` saved in a session, comes back with the same bytes."""
    convert(case.path, tmp_path / "tf1", to="tf1", options=COPY)
    convert(tmp_path / "tf1", tmp_path / "tf2-1", to="tf2", root="var_list", options=COPY)
    assert_same_files(tmp_path / "tf2-1", case.path)


# Beside the functions of the migration guide


@by_names("tf-2.15:guide-tf1/tf1-ckpt", "tf-2.15:est-wide-deep/model.ckpt-3", "sample")
def test_same_as_the_guide_to_tf2(path, tmp_path):
    convert(path, tmp_path / "ours", to="tf2")
    ours = their_reading(tmp_path / "ours")
    theirs = their_reading(guide.convert_tf1_to_tf2(str(path), str(tmp_path / "theirs")))
    # Their graph has the variables in the order of a hash table, and no names.
    our_paths, their_paths = (sorted(object_paths(graph_in(each)).values()) for each in (ours, theirs))
    assert our_paths == their_paths
    assert ours | {GRAPH_KEY: None} == theirs | {GRAPH_KEY: None}


GUIDE_CASES = [case for case in OBJECT_BASED if any(key.startswith("var_list/") for key in case.records)]


@pytest.mark.parametrize("case", GUIDE_CASES, ids=str)
def test_same_as_the_guide_to_tf1(case, tmp_path):
    """They drop what is not in `var_list`; an Estimator's step, for instance."""
    convert(case.path, tmp_path / "ours", to="tf1")
    ours = their_reading(tmp_path / "ours")
    theirs = their_reading(guide.convert_tf2_to_tf1(str(case.path), str(tmp_path / "theirs")))
    assert ours.keys() - theirs.keys() == ({"global_step"} if "est-tf2" in case.prefix else set())
    assert {name: ours[name] for name in theirs} == theirs


DOTTED = {"a.b": "a..b", "a.Sb": "a./b", ".": "..", "./x": "../x", "..S": ".../", "plain/name": "plain/name"}


def test_names_with_dots(tmp_path):
    """Right, where the guide's function is not."""
    variables = {name: tf.Variable(float(number)) for number, name in enumerate(DOTTED)}
    prefix = tf.train.Checkpoint(var_list=variables).save(str(tmp_path / "tf2"))
    convert(prefix, tmp_path / "ours", to="tf1")
    restore_by_name(tmp_path / "ours", {name: described(variable) for name, variable in variables.items()})
    theirs = guide.convert_tf2_to_tf1(prefix, str(tmp_path / "theirs"))
    assert their_reading(theirs).keys() == set(DOTTED.values())
