"""Checkpoints of other people: TensorFlow and we read the same, and TensorFlow restores what we converted."""

import pytest

from support.contents import our_reading
from support.corpus import ROWS, THIRD_PARTY
from support.object_graphs import tf1_names
from support.tensorflow import described, other_values, restore_by_name, tf, their_reading
from tensorbundle.names import resolve_prefix
from tensorbundle.tools import convert

READABLE = [path for path, row in ROWS.items() if "TF reads all" in row["notes"] and not path.endswith("/")]


def test_nothing_is_missing():
    assert len(READABLE) == 50


def theirs(path):
    """What TensorFlow reads; of several V1 files it wants the pattern."""
    return their_reading(resolve_prefix(f"{THIRD_PARTY}/{path}"))


@pytest.mark.parametrize("path", READABLE)
def test_same_reading(path):
    assert our_reading(THIRD_PARTY / path) == theirs(path)


@pytest.mark.parametrize("path", [path for path in READABLE if ROWS[path]["flavour"] == "name-based"])
def test_to_tf2(path, tmp_path):
    values = theirs(path)
    variables = {name: other_values(value) for name, value in values.items()}
    convert(THIRD_PARTY / path, tmp_path / "tf2", to="tf2")
    tf.train.Checkpoint(vars=variables).restore(str(tmp_path / "tf2")).assert_consumed()
    assert {name: described(variable) for name, variable in variables.items()} == values


@pytest.mark.parametrize("path", [path for path in READABLE if ROWS[path]["flavour"] == "object-based"])
def test_to_tf1(path, tmp_path):
    """By object paths: the names of variables are not always distinct."""
    source = our_reading(THIRD_PARTY / path)
    expected = {name: source[key] for name, key in tf1_names(source, "keys") if key in source}
    convert(THIRD_PARTY / path, tmp_path / "tf1", to="tf1", names="keys")
    assert our_reading(tmp_path / "tf1") == expected
    if expected:
        restore_by_name(tmp_path / "tf1", expected)
