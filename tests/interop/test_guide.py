"""TensorFlow's guide to migrating checkpoints, situation by situation: real TensorFlow before and after.

https://www.tensorflow.org/guide/migrate/migrating_checkpoints. What the guide does with Estimators is in
`test_estimator.py`, and its two conversion functions are compared with in `test_convert.py`.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import tensorbundle as tb
from support.keras import KERAS_2, KERAS_3
from support.tensorflow import in_session, tf, tf1, their_reading
from tensorbundle.tools.cli import main

if KERAS_2 is None:
    pytest.skip("needs Keras 2", allow_module_level=True)

VALUES = {"a": 1.0, "b": 2.0, "scoped/c": 3.0}


@pytest.fixture
def run(capsys):
    """Call a command; what it printed with `--json`, as objects."""

    def call(*arguments, status=0):
        capsys.readouterr()
        found = main([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert found == status, printed
        return [json.loads(line) for line in printed.out.splitlines()]

    return call


def graph_variables(values=VALUES, scope=""):
    """Variables of the guide's TF1 model, in the default graph."""
    return {
        name: tf1.get_variable(scope + name, initializer=tf.constant(value)) for name, value in values.items()
    }


def eager_variables(values=VALUES):
    return {name: tf.Variable(value, name=name) for name, value in values.items()}


def zeros(values=VALUES):
    return dict.fromkeys(values, 0.0)


def save_tf1(prefix, values=VALUES):
    """What the guide saves with a v1 `Saver`."""
    return in_session(
        lambda: graph_variables(values),
        lambda session, _: tf1.train.Saver().save(session, str(prefix)),
    )


def save_tf2(prefix):
    """What the guide saves with `Checkpoint(variables=[a, b, c])`."""
    return tf.train.Checkpoint(variables=list(eager_variables().values())).save(str(prefix))


def read(variables):
    return {name: float(variable.numpy()) for name, variable in variables.items()}


# Printing a checkpoint


@pytest.mark.parametrize("save", [save_tf1, save_tf2])
def test_print_a_checkpoint(save, run, tmp_path):
    from tensorbundle import compat

    prefix = save(tmp_path / "ckpt")
    theirs, ours = tf.train.load_checkpoint(prefix), compat.load_checkpoint(prefix)
    assert ours.get_variable_to_shape_map() == theirs.get_variable_to_shape_map()
    dtypes = theirs.get_variable_to_dtype_map()
    assert {key: each.name for key, each in ours.get_variable_to_dtype_map().items()} == {
        key: each.name for key, each in dtypes.items()
    }
    for key, dtype in dtypes.items():
        np.testing.assert_array_equal(ours.get_tensor(key), theirs.get_tensor(key))
        if dtype != tf.string:
            [shown] = run("show", prefix, key)
            assert (shown["dtype"], shown["shape"]) == (dtype.name, [])
            assert shown["values"] == theirs.get_tensor(key)
    listed = run("ls", prefix)
    assert {each["key"]: (each["dtype"], each["shape"]) for each in listed} == {
        key: (dtype.name, theirs.get_variable_to_shape_map()[key]) for key, dtype in dtypes.items()
    }


def test_keys_paths_and_full_names(run, tmp_path):
    prefix = save_tf2(tmp_path / "ckpt")
    views = {
        ("variables/0", "a", "variables/0/.ATTRIBUTES/VARIABLE_VALUE"),
        ("variables/1", "b", "variables/1/.ATTRIBUTES/VARIABLE_VALUE"),
        ("variables/2", "scoped/c", "variables/2/.ATTRIBUTES/VARIABLE_VALUE"),
        ("save_counter", "save_counter", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"),
    }
    nodes = run("graph", prefix, "--format", "json")
    assert views == {
        (node["path"], each["full_name"], each["checkpoint_key"])
        for node in nodes
        for each in node["attributes"]
    }
    rows = run("ls", prefix, "--long", "re:VALUE$")
    assert views == {(row["path"], row["full_name"], row["key"]) for row in rows}
    assert all(row["path"] is None for row in run("ls", save_tf1(tmp_path / "tf1"), "--long"))


# Same names: both savers, in graphs and eagerly


def restore_in_four_ways(prefix, values=VALUES):
    """What a v1 `Saver` and a `Checkpoint` restore by name, each in a graph and eagerly."""

    def saver(session, variables):
        tf1.train.Saver().restore(session, prefix)
        return session.run(variables)

    def checkpoint(session, variables):
        # `restore` would look for a save counter, which no `Saver` writes.
        tf.train.Checkpoint(variables=list(variables.values())).read(prefix).run_restore_ops(session)
        return session.run(variables)

    for restore in (saver, checkpoint):
        yield in_session(lambda: graph_variables(zeros(values)), restore)
    variables = eager_variables(zeros(values))
    tf1.train.Saver(var_list=list(variables.values())).restore(sess=None, save_path=prefix)
    yield read(variables)
    variables = eager_variables(zeros(values))
    status = tf.train.Checkpoint(variables=list(variables.values())).restore(prefix)
    status.assert_consumed()
    status.assert_existing_objects_matched()
    yield read(variables)


@pytest.mark.parametrize("data", ["share", "copy"])
def test_same_names(data, run, tmp_path):
    """From a file of ours, by way of a TF2 one of ours."""
    run("convert", save_tf1(tmp_path / "ckpt"), tmp_path / "objects", "--to", "tf2", "--data", data)
    run("convert", tmp_path / "objects", tmp_path / "names", "--to", "tf1", "--data", data)
    assert list(restore_in_four_ways(str(tmp_path / "names"))) == [VALUES] * 4


def test_same_names_from_objects(run, tmp_path):
    """A v1 `Saver` restores an object-based checkpoint by the full names in it."""
    run("convert", save_tf1(tmp_path / "ckpt"), tmp_path / "objects", "--to", "tf2")
    prefix = str(tmp_path / "objects")

    def restore(session, variables):
        tf1.train.Saver().restore(session, prefix)
        return session.run(variables)

    assert in_session(lambda: graph_variables(zeros()), restore) == VALUES
    variables = eager_variables(zeros())
    tf1.train.Saver(var_list=variables).restore(sess=None, save_path=prefix)
    assert read(variables) == VALUES


# Assignment maps

MODEL = {
    "old/a": np.float32([1, 2]),
    "old/b": np.float32([3]),
    "old/deep/c": np.float32([4, 5, 6]),
    "older/a": np.float32([7, 8]),
    "step": np.float32([9]),
}


def save_model(prefix):
    return save_tf1(prefix, MODEL)


def initialised(prefix, assignment_map, shapes):
    """The values that a graph's variables get from `init_from_checkpoint`; those it leaves are zeros."""

    def build():
        variables = {
            name: tf1.get_variable(name, initializer=tf.zeros(shape)) for name, shape in shapes.items()
        }
        tf1.train.init_from_checkpoint(prefix, assignment_map)
        return variables

    return in_session(
        build, lambda session, variables: {k: v.tolist() for k, v in session.run(variables).items()}
    )


MAPS = {
    "scope": ({"old/": "new/"}, {"new/a": [2], "new/b": [1], "new/deep/c": [3]}),
    "name": ({"old/a": "x", "step": "new/step"}, {"x": [2], "new/step": [1]}),
    "root": (
        {"/": "all/"},
        {"all/old/a": [2], "all/old/b": [1], "all/old/deep/c": [3], "all/older/a": [2], "all/step": [1]},
    ),
    "to the root": ({"old/": "/"}, {"a": [2], "b": [1], "deep/c": [3]}),
    "scope and a name": ({"old/": "new/", "old/a": "x"}, {"new/b": [1], "new/deep/c": [3], "x": [2]}),
    "pairs": (
        [("old/a", "one"), ("old/a", "two"), ("older/a", "three")],
        {"one": [2], "two": [2], "three": [2]},
    ),
    "scopes of one": ([("old/", "one/"), ("old/", "two/")], {"one/a": [2], "two/a": [2], "two/deep/c": [3]}),
}


@pytest.mark.parametrize(("assignment_map", "shapes"), MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("syntax", ["python", "json"])
def test_assignment_map(assignment_map, shapes, syntax, run, tmp_path):
    """After `rename --map`, no map is needed."""
    prefix = save_model(tmp_path / "ckpt")
    expected = initialised(prefix, assignment_map, shapes)
    assert all(map(any, expected.values()))
    file = tmp_path / "map"
    file.write_text(repr(assignment_map) if syntax == "python" else json.dumps(assignment_map))
    renamed = str(tmp_path / "renamed")
    run("rename", prefix, renamed, "--map", file)
    assert initialised(renamed, {"/": "/"}, shapes) == expected

    def restore(session, variables):
        tf1.train.Saver().restore(session, renamed)
        return {name: value.tolist() for name, value in session.run(variables).items()}

    def build():
        return {name: tf1.get_variable(name, initializer=tf.zeros(shape)) for name, shape in shapes.items()}

    assert in_session(build, restore) == expected


@pytest.mark.parametrize("parts", [None, 2, 3])
def test_assignment_map_of_a_partitioned_variable(parts, run, tmp_path):
    """The fourth and fifth forms take variables; in a file they are names, of parts or of the whole."""
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    prefix = save_tf1(tmp_path / "ckpt", {"emb": table, "w": np.float32([1])})

    def build(assign, source):
        partitioner = None if parts is None else tf1.fixed_size_partitioner(parts)
        variable = tf1.get_variable("new/table", [6, 2], partitioner=partitioner)
        pieces = [variable] if parts is None else list(variable)
        if assign:
            tf1.train.init_from_checkpoint(source, {"emb": pieces if parts else variable})
        else:
            tf1.train.init_from_checkpoint(source, {"/": "/"})
        return variable if parts is None else variable.as_tensor()

    def value(session, built):
        return session.run(built).tolist()

    assert in_session(lambda: build(True, prefix), value) == table.tolist()
    names = "new/table" if parts is None else [f"new/table/part_{number}" for number in range(parts)]
    (tmp_path / "map").write_text(json.dumps({"emb": names}))
    run("rename", prefix, tmp_path / "renamed", "--map", tmp_path / "map")
    assert in_session(lambda: build(False, str(tmp_path / "renamed")), value) == table.tolist()


@pytest.mark.parametrize(
    ("assignment_map", "theirs", "ours"),
    [
        ({"old/": "new"}, None, "a scope ends in '/' on both sides"),  # TensorFlow cuts off the first letter
        ({"old": "new/"}, "Assignment map with scope only name", "a scope ends in '/' on both sides"),
        ({"old/aa": "new/a"}, "is not found in", "matches nothing; near: 'old/a'"),
        ({"odl/": "new/"}, "is not found in", "matches nothing; near: 'old/"),
    ],
)
def test_assignment_map_that_does_not_fit(assignment_map, theirs, ours, capsys, tmp_path):
    prefix = save_model(tmp_path / "ckpt")
    if theirs is not None:
        with pytest.raises(ValueError, match=theirs):
            initialised(prefix, assignment_map, {"new/a": [2]})
    (tmp_path / "map").write_text(repr(assignment_map))
    capsys.readouterr()
    assert main(["rename", prefix, str(tmp_path / "out"), "--map", str(tmp_path / "map")]) == 2
    assert ours in capsys.readouterr().err
    assert not (tmp_path / "out.index").exists()


# A v1 `Saver` with a dictionary of names


@pytest.mark.parametrize("given_as", ["pairs", "file"])
def test_saver_with_other_names(given_as, run, tmp_path):
    prefix = save_tf1(tmp_path / "ckpt")
    names = {name: f"new_scope/{name}" for name in VALUES}
    variables = eager_variables(zeros())
    tf1.train.Saver(var_list=variables).restore(sess=None, save_path=prefix)
    assert read(variables) == VALUES
    pairs = [f"{old}={new}" for old, new in names.items()]
    (tmp_path / "map").write_text("\n".join(pairs))
    how = pairs if given_as == "pairs" else ["--map", tmp_path / "map"]
    run("rename", prefix, tmp_path / "renamed", *how)

    def restore(session, variables):
        tf1.train.Saver().restore(session, str(tmp_path / "renamed"))
        return session.run(variables)

    assert in_session(lambda: graph_variables(zeros(), "new_scope/"), restore) == VALUES


# A maintained `Checkpoint` object: lists by order, dictionaries by key, whatever the variables are called

STRUCTURE = {"unscoped": ["a", "b"], "scoped": ["scoped/c"]}


@pytest.mark.parametrize("how", ["json", "toml", "template"])
def test_maintained_checkpoint_object(how, run, tmp_path):
    prefix = save_tf1(tmp_path / "ckpt")
    if how == "template":
        old = eager_variables(zeros())
        fresh = tf.train.Checkpoint(unscoped=[old["a"], old["b"]], scoped=[old["scoped/c"]])
        given = ["--template", fresh.save(str(tmp_path / "fresh"))]
    else:
        given = ["--structure", tmp_path / f"structure.{how}"]
        text = json.dumps(STRUCTURE) if how == "json" else 'unscoped = ["a", "b"]\nscoped = ["scoped/c"]\n'
        Path(given[1]).write_text(text)
    converted = str(tmp_path / "converted-1")
    run("convert", prefix, converted, "--to", "tf2", *given)

    def build():
        return [
            tf1.get_variable(name, initializer=0.0) for name in ("a_different_name", "b_different_name", "c")
        ]

    def restore(session, variables):
        a, b, c = variables
        checkpoint = tf.train.Checkpoint(unscoped=[a, b], scoped=[c])
        checkpoint.restore(converted).assert_consumed().run_restore_ops(session)
        return session.run(variables)

    assert in_session(build, restore) == [1, 2, 3]
    a, b, c = (tf.Variable(0.0) for _ in range(3))
    checkpoint = tf.train.Checkpoint(unscoped=[a, b], scoped=[c])
    checkpoint.restore(converted).assert_consumed()
    assert [float(each.numpy()) for each in (a, b, c)] == [1, 2, 3]
    assert run("check", converted, "--against", checkpoint.save(str(tmp_path / "live")))[-1] == ALL_HOLD


ALL_HOLD = {
    "assert_consumed": True,
    "assert_existing_objects_matched": True,
    "assert_nontrivial_match": True,
}


# MonitoredSession with a Scaffold


def train_monitored(folder, steps, object_based):
    """A `MonitoredTrainingSession` that adds 2 to a variable in each step; the prefix of its last checkpoint."""
    with tf.Graph().as_default():
        step = tf1.train.get_or_create_global_step()
        variable = tf1.get_variable("var", initializer=-1.0)
        train = tf.group(variable.assign_add(2.0), step.assign_add(1))
        saver = tf.train.Checkpoint(var_list={"var": variable, "global_step": step}) if object_based else None
        scaffold = tf1.train.Scaffold(saver=saver) if object_based else tf1.train.Scaffold()
        with tf1.train.MonitoredTrainingSession(
            checkpoint_dir=str(folder), scaffold=scaffold, save_checkpoint_steps=1, save_summaries_steps=0
        ) as session:
            for _ in range(steps):
                session.run(train)
    return tf.train.latest_checkpoint(str(folder))


def test_monitored_session(run, tmp_path):
    """From a TF1 style directory to a TF2 style one and back; training goes on where it was."""
    folders = [tmp_path / name for name in ("names", "objects", "again")]
    for folder in folders:
        folder.mkdir()
    names, objects, again = folders
    train_monitored(names, 2, object_based=False)
    how = ["--root", "var_list", "--no-save-counter", "--state"]
    run("convert", names, objects / "model.ckpt-2", "--to", "tf2", *how)
    assert str(train_monitored(objects, 1, object_based=True)).endswith("model.ckpt-3")
    run("convert", objects, again / "model.ckpt-3", "--to", "tf1", "--state")
    last = train_monitored(again, 3, object_based=False)
    assert str(last).endswith("model.ckpt-6")
    assert {key: value for key, (_, _, value) in their_reading(last).items()} == {
        "var": np.float32(11).tobytes(),
        "global_step": np.int64(6).tobytes(),
    }


# Keras


VERSIONS = {"keras 2": KERAS_2} | ({"keras 3": KERAS_3} if KERAS_3 else {})


def make_model(keras, inputs=3):
    model = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)])
    if inputs:
        model.build([None, inputs])
    return model


def weights(model):
    return [each.tolist() for each in model.get_weights()]


@pytest.mark.parametrize("keras", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize("built", [True, False])
def test_keras_model_as_root_and_below_it(keras, built, run, tmp_path):
    """`Checkpoint(model)` is not `Checkpoint(model=model)`, and one becomes the other."""
    trained = make_model(keras)
    as_root = tf.train.Checkpoint(trained).save(str(tmp_path / "root"))
    run("rename", as_root, tmp_path / "below-1", "/=model/")
    below = tf.train.Checkpoint(model=trained).save(str(tmp_path / "inside"))
    run("rename", below, tmp_path / "top-1", "model/=/")
    for name, wrap in (
        ("below-1", lambda model: tf.train.Checkpoint(model=model)),
        ("top-1", tf.train.Checkpoint),
    ):
        model = make_model(keras, 3 if built else None)
        status = wrap(model).restore(str(tmp_path / name))
        if not built:  # the values wait until the variables are made
            model.build([None, 3])
        status.assert_existing_objects_matched()
        if built:
            status.assert_consumed()
        assert weights(model) == weights(trained)


def test_keras_save_weights(run, tmp_path):
    """`save_weights` in TensorFlow's format is `Checkpoint(model).write`, without a counter."""
    trained = make_model(KERAS_2)
    trained.save_weights(str(tmp_path / "weights"))
    run("rename", tmp_path / "weights", tmp_path / "below", "/=model/")
    model = make_model(KERAS_2)
    tf.train.Checkpoint(model=model).read(str(tmp_path / "below")).assert_consumed()
    assert weights(model) == weights(trained)
    run("rename", tmp_path / "below", tmp_path / "again", "model/=/")
    model = make_model(KERAS_2)
    model.load_weights(str(tmp_path / "again")).assert_consumed()
    assert weights(model) == weights(trained)


def fit(model, optimizer, steps):
    """Train some steps; the losses."""
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
    y = np.stack([x.sum(1), x.prod(1)], 1)
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x) - y))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        losses.append(float(loss))
    return losses


OPTIMIZERS = {
    "legacy": (KERAS_2, KERAS_2.optimizers.legacy.Adam),
    **{name: (keras, keras.optimizers.Adam) for name, keras in VERSIONS.items()},
}


@pytest.mark.parametrize(("keras", "make_optimizer"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_keras_optimizer(keras, make_optimizer, run, tmp_path):
    """Slots and hyperparameters come along when objects are renamed, and training goes on as it would have."""
    model, optimizer = make_model(keras), make_optimizer(0.05)
    fit(model, optimizer, 3)
    saved = tf.train.Checkpoint(net=model, opt=optimizer).save(str(tmp_path / "ckpt"))
    expected = fit(model, optimizer, 3)
    run("rename", saved, tmp_path / "renamed-1", "net=model", "opt=optimizer")
    model, optimizer = make_model(keras), make_optimizer(0.05)
    if make_optimizer is not KERAS_2.optimizers.legacy.Adam:
        optimizer.build(model.trainable_variables)
    status = tf.train.Checkpoint(model=model, optimizer=optimizer).restore(str(tmp_path / "renamed-1"))
    np.testing.assert_allclose(fit(model, optimizer, 3), expected, rtol=1e-6)
    status.assert_existing_objects_matched()


# Saving and loading, TF1 and TF2, in TF1 and in TF2


def test_tf1_in_tf2(run, tmp_path):
    """Saved eagerly by a `Saver`; written by us; restored eagerly by a `Saver`."""
    variables = list(eager_variables().values())
    path = tf1.train.Saver(var_list=variables).save(sess=None, save_path=str(tmp_path / "eager"))
    run("convert", path, tmp_path / "v1", "--to", "v1")
    run("convert", tmp_path / "v1", tmp_path / "ours", "--to", "v2")
    assert their_reading(tmp_path / "ours") == their_reading(path)
    for prefix in ("v1", "ours"):
        variables = eager_variables(zeros())
        saver = tf1.train.Saver(var_list=list(variables.values()))
        saver.restore(sess=None, save_path=str(tmp_path / prefix))
        assert read(variables) == VALUES


def test_tf2_in_tf1(run, tmp_path):
    """Saved in a session by a `Checkpoint`; converted there and back by us; restored in a session."""

    def save(session, variables):
        checkpoint = tf.train.Checkpoint(var_list=variables)
        with session.as_default():
            session.run(checkpoint.save_counter.initializer)
            return checkpoint.save(str(tmp_path / "in-session"))

    path = in_session(graph_variables, save)
    run("convert", path, tmp_path / "names", "--to", "tf1")
    run("convert", tmp_path / "names", tmp_path / "objects-1", "--to", "tf2", "--root", "var_list")

    def restore(session, variables):
        checkpoint = tf.train.Checkpoint(var_list=variables)
        checkpoint.restore(str(tmp_path / "objects-1")).assert_consumed().run_restore_ops(session)
        return session.run(variables)

    assert in_session(lambda: graph_variables(zeros()), restore) == VALUES


# CheckpointManager, `save` and `restore`, `write` and `read`, and the assertions


def test_manager_goes_on(run, tmp_path):
    """A manager takes over the directory that `convert --state` made, and `manage` prunes as it would."""
    run("convert", save_tf1(tmp_path / "ckpt"), tmp_path / "ckpt-5", "--to", "tf2", "--state")
    variables = eager_variables(zeros())
    checkpoint = tf.train.Checkpoint(vars=variables)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=10)
    assert manager.latest_checkpoint == str(tmp_path / "ckpt-5")
    manager.restore_or_initialize()
    assert read(variables) == VALUES
    assert [Path(manager.save()).name for _ in range(3)] == ["ckpt-6", "ckpt-7", "ckpt-8"]
    run("manage", tmp_path, "prune", "--max-to-keep", "1")
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-8")
    assert not (tmp_path / "ckpt-7.index").exists()
    again = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=10)
    assert again.checkpoints == [str(tmp_path / "ckpt-8")]
    assert Path(again.save()).name == "ckpt-9"


@pytest.mark.parametrize("counter", [True, False])
@pytest.mark.parametrize("how", ["restore", "read"])
def test_counter_and_assertions(counter, how, run, tmp_path):
    """`restore` needs the counter that `read` must not find; `check` knows."""
    source = save_tf1(tmp_path / "ckpt")
    out = str(tmp_path / "out-1")
    run("convert", source, out, "--to", "tf2", *([] if counter else ["--no-save-counter"]))
    variables = eager_variables(zeros())
    checkpoint = tf.train.Checkpoint(vars=variables)
    live = checkpoint.write(str(tmp_path / "live"))
    fits = counter == (how == "restore")
    records = run("check", out, "--against", live, "--with", how, status=0 if fits else 1)
    [forecast] = [each for each in records if ALL_HOLD.keys() <= each.keys()]
    status = getattr(checkpoint, how)(out)
    for name in ALL_HOLD:
        try:
            getattr(status, name)()
        except AssertionError:
            assert forecast[name] is not True, name
        else:
            assert forecast[name] is True, name
    assert forecast["assert_consumed"] is True or not fits
    assert read(variables) == VALUES


def test_the_error_tree_is_ours(tmp_path):
    """What the guide's reader says of a name that is not there, ours says too, and what is near."""
    prefix = save_tf1(tmp_path / "ckpt")
    with pytest.raises(tf.errors.NotFoundError):
        tf.train.load_variable(prefix, "scoped/d")
    with tb.open(prefix) as ckpt, pytest.raises(tb.TensorNotFoundError, match="near: 'scoped/c'"):
        ckpt["scoped/d"]
