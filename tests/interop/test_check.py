"""What `check` forecasts is what TensorFlow does: over generated pairs of programs, and after following its advice."""

import json
import os
import re
import shlex

import pytest

import tensorbundle as tb
from support import model_pairs
from support.contents import content
from support.keras import KERAS_2, KERAS_3
from support.model_pairs import is_variable, pair, value_of
from support.tensorflow import VERSION, described, tf, tf1
from tensorbundle.tools import forecast
from tensorbundle.tools.cli import main

if VERSION < (2, 16):
    pytest.skip("the forecast is of the current restore", allow_module_level=True)

pytestmark = [
    # TensorFlow's own warnings stumble over objects that nothing leads to.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

DEEP = os.environ.get("TENSORBUNDLE_HYPOTHESIS") == "deep"
SEED, PAIRS = (2, 2000) if DEEP else (1, 500)
CHUNK = 50
ASSERTIONS = ("assert_consumed", "assert_existing_objects_matched", "assert_nontrivial_match")
INVISIBLE = (None, [], ((0,), b""))  # values of which nobody can tell whether they were restored


def attempt(action):
    try:
        return action(), None
    except Exception as error:
        return None, error


def outcome(each):
    """What a restore raised, which assertions pass, and the objects that have another value then."""
    before = {path: value_of(live) for path, live in each.objects.items()}
    status, error = attempt(each.restore)
    passes = {}
    if error is None and status is not None:
        passes = {name: attempt(getattr(status, name))[1] is None for name in ASSERTIONS}
        getattr(status, "expect_partial", lambda: None)()  # no warnings when it goes
    after = {path: value_of(live) for path, live in each.objects.items()}
    return error, passes, {path for path in before if before[path] != after[path]}


def differences(each):
    """How a forecast and the restore itself differ."""
    found = forecast(each.source, each.against, method=each.method)
    invisible = {path for path, live in each.objects.items() if value_of(live) in INVISIBLE}
    error, passes, changed = outcome(each)
    expected = found.failure.error if found.failure is not None else None
    raised = None if error is None else type(error).__name__
    if raised != expected and not (error and expected and "deserialize" in expected):
        yield f"raises {raised} ({error}), forecast is {found.failure}"
    for name, value in passes.items():
        if value != (getattr(found, name) is True):
            yield f"{name} {'passes' if value else 'fails'}, forecast is {getattr(found, name)}"
    unseen = {path for path in invisible if value_of(each.objects[path]) in INVISIBLE}
    forecast_changed = found.changed.keys() & each.objects.keys() - unseen
    if changed != forecast_changed:
        yield f"changed {changed - forecast_changed}, forecast but not changed {forecast_changed - changed}"
    yield from wrong_values(each, found)


def wrong_values(each, found):
    """Variables that did not get the tensor that was forecast."""
    with tb.open(each.source) as ckpt:
        for path, key in found.changed.items():
            live = each.objects.get(path)
            if key is None or not is_variable(live):
                continue
            if described(tf.convert_to_tensor(live))[1:] != (ckpt[key].shape, content(ckpt[key])):
                yield f"{path} has not the value of {key}"


@pytest.mark.parametrize("first", range(0, PAIRS, CHUNK))
def test_pairs(tmp_path, first):
    seen, wrong = set(), {}
    for number in range(first, first + CHUNK):
        each = pair(tmp_path, SEED, number)
        found = list(differences(each))
        if found:
            wrong[number, each.label] = found
        seen.add(each.label)
    model_pairs.forget()
    assert not wrong, json.dumps({str(key): value for key, value in wrong.items()}, indent=1)
    assert len(seen) >= 4


def test_deferred_values(tmp_path):
    """What is unused is restored when the program gets it, where the forecast says so."""
    source = tf.train.Checkpoint(a=tf.Variable(1.0), b={"c": tf.Variable(2.0)}).write(str(tmp_path / "a"))
    program = tf.train.Checkpoint(a=tf.Variable(0.0))
    found = forecast(source, program.write(str(tmp_path / "b")), method="read")
    details = {each.path: each.detail for each in found.findings if each.status == "unused"}
    assert details == {"b/c": "float32 [], not in B; restored with 'b'"}
    program.read(source).expect_partial()
    program.b = {"c": tf.Variable(0.0)}
    assert program.b["c"].numpy() == 2.0


def variables(*shape, dtype="float32", names=("w", "b")):
    return {name: tf.Variable(tf.ones(shape, dtype)) for name in names}


def dense_stack(library, *units):
    model = library.Sequential([library.layers.Dense(each) for each in units])
    model(tf.ones([1, 3]))
    return model


def trained(model, optimizer):
    ones = [(tf.ones_like(each), each) for each in model.trainable_variables]
    optimizer.apply_gradients(ones)
    return tf.train.Checkpoint(model=model, optimizer=optimizer)


def renamed_scopes():
    return (
        tf.train.Checkpoint(enc=variables(2, 3), head={"kernel": tf.Variable([1.0])}),
        tf.train.Checkpoint(encoder=variables(2, 3), top={"kernel": tf.Variable([0.0])}),
    )


def wrapped():
    inner = variables(2, 3), variables(4)
    return tf.train.Checkpoint(model={"a": inner[0], "b": inner[1]}), tf.train.Checkpoint(
        a=variables(2, 3), b=variables(4)
    )


def unwrapped():
    return wrapped()[::-1]


def of_another_type():
    return (
        tf.train.Checkpoint(a=variables(2, 3), step=tf.Variable(1.0)),
        tf.train.Checkpoint(a=variables(2, 3, dtype="bfloat16"), step=tf.Variable(0.0)),
    )


def with_a_layer_less():
    return (
        tf.train.Checkpoint(layers=[variables(7), variables(3), variables(2, 2)]),
        tf.train.Checkpoint(layers=[variables(3), variables(2, 2)]),
    )


def with_slots_elsewhere():
    programs = []
    for name in ("old", "new"):
        holder = variables(2, names=("v", "w"))
        optimizer = tf1.train.MomentumOptimizer(0.1, 0.9)
        optimizer.apply_gradients([(tf.ones([2]), each) for each in holder.values()])
        programs.append(tf.train.Checkpoint(**{name: holder}, opt=optimizer))
    return programs


def to_a_newer_optimizer():
    return (
        trained(dense_stack(KERAS_2, 4, 2), KERAS_2.optimizers.legacy.Adam()),
        trained(dense_stack(KERAS_2, 4, 2), KERAS_2.optimizers.Adam()),
    )


def model_at_the_root():
    return tf.train.Checkpoint(dense_stack(KERAS_3, 4, 2)), tf.train.Checkpoint(
        model=dense_stack(KERAS_3, 4, 2)
    )


needs_keras_2 = pytest.mark.skipif(KERAS_2 is None, reason="needs Keras 2")


@pytest.mark.parametrize(
    "programs",
    [
        renamed_scopes,
        wrapped,
        unwrapped,
        of_another_type,
        with_slots_elsewhere,
        with_a_layer_less,
        pytest.param(to_a_newer_optimizer, marks=needs_keras_2),
        model_at_the_root,
    ],
)
def test_following_the_advice(tmp_path, monkeypatch, capsys, programs):
    """Before, something fails; after the commands that `check` prints, TensorFlow restores everything that fits."""
    monkeypatch.chdir(tmp_path)
    saved, program = programs()
    source, against = saved.write("a"), program.write("b")
    before = attempt(lambda: program.read(source).assert_existing_objects_matched())
    assert before[1] is not None
    assert main(["check", source, "--against", against, "--with", "read"]) == 1
    commands = re.findall(r"^   \$ tensorbundle (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert commands
    for command in commands:
        assert main(shlex.split(command)) == 0
    made = shlex.split(commands[-1])[2]
    found = forecast(made, against, method="read")
    assert found.assert_existing_objects_matched is True
    status = program.read(made).assert_existing_objects_matched()
    if found.assert_consumed is True:
        status.assert_consumed()
    else:
        assert programs is with_a_layer_less
        status.expect_partial()


def test_structure_file_stands_for_the_program(tmp_path):
    """A structure file says the same as a checkpoint of the program that it describes."""
    structure = {
        "encoder": {"layers": [{"$dtype": "float32", "$shape": [2]}, "plain"]},
        "step": {"$dtype": "int64", "$shape": []},
    }
    (tmp_path / "s.json").write_text(json.dumps(structure))
    layers = [tf.Variable([1.0, 2.0]), tf.Variable(1.0, name="plain")]
    program = tf.train.Checkpoint(encoder={"layers": layers}, step=tf.Variable(1, dtype=tf.int64))
    against = program.write(str(tmp_path / "b"))
    others = {
        "same": tf.train.Checkpoint(encoder={"layers": layers}, step=tf.Variable(2, dtype=tf.int64)),
        "shape": tf.train.Checkpoint(encoder={"layers": layers[::-1]}, step=tf.Variable(2, dtype=tf.int64)),
        "less": tf.train.Checkpoint(encoder={"layers": layers[:1]}, more=tf.Variable(2)),
    }
    for name, other in others.items():
        source = other.write(str(tmp_path / name))
        one, two = (forecast(source, each, method="read") for each in (tmp_path / "s.json", against))
        known = [each for each in two.findings if each.path != "encoder/layers/1"]  # of no known shape
        assert [each for each in one.findings if each.path != "encoder/layers/1"] == known
        assert {key: value is True for key, value in one.assertions().items()} == {
            key: value is True for key, value in two.assertions().items()
        }


def test_saved_model_stands_for_the_program(tmp_path):
    program = tf.Module()
    program.v, program.w = tf.Variable([1.0]), tf.Variable([2.0])
    tf.saved_model.save(program, str(tmp_path / "exported"))
    source = tf.train.Checkpoint(v=tf.Variable([3.0]), x=tf.Variable([4.0])).write(str(tmp_path / "a"))
    found = forecast(source, tmp_path / "exported", method="read")
    assert [(each.path, each.status) for each in found.findings] == [
        ("v", "restored"),
        ("w", "missing"),
        ("x", "unused"),
    ]
    assert found.assert_consumed is not True
    with pytest.raises(AssertionError):
        tf.train.Checkpoint(program).read(source).assert_consumed()
