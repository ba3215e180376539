"""Slimmed checkpoints from public repositories: what goes is the optimizers' state, what stays TensorFlow restores."""

import re

import pytest

import tensorbundle as tb
from support.corpus import ROWS, THIRD_PARTY
from support.mirror import COUNTER_KEY, GRAPH_KEY, VARIABLE, mirrored
from support.tensorflow import restore_by_name, their_reading
from tensorbundle.tools import rewrite
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.draft import Draft

# What is state by its name, written down after looking at all of them.
BY_NAME = re.compile(
    r"/(Adagrad|Ftrl|Momentum)(_1)?$"  # Estimators, minigo
    r"|^training/(Adagrad|Ftrl)/"  # Estimators with Keras optimizers
    r"|_slot_(v|vr|vc|m)$"  # Mesh TensorFlow: T5's Adafactor
)
BY_PATH = re.compile(r"/\.OPTIMIZER_SLOT/|(^|/)(\w*optimizer|tf_optimizer)/(\w+/)*\w+/\.ATTRIBUTES/")


def drafts():
    for path in ROWS:
        try:
            with tb.open(THIRD_PARTY / path) as checkpoint:
                yield path, Draft.of(checkpoint)
        except tb.BundleError:
            continue


def optimizer_state(draft):
    return Optimizers.of_draft(draft).state & draft.tensors.keys()


DRAFTS = dict(drafts())


@pytest.mark.parametrize("path", DRAFTS)
def test_optimizer_state(path):
    draft = DRAFTS[path]
    pattern = BY_NAME if draft.graph is None else BY_PATH
    assert optimizer_state(draft) == {key for key in draft.tensors if pattern.search(key)}


def whole(path):
    try:
        return bool(their_reading(THIRD_PARTY / path))
    except Exception:
        return False


SLIMMED = [path for path, draft in DRAFTS.items() if optimizer_state(draft)]


@pytest.mark.parametrize("path", [path for path in SLIMMED if DRAFTS[path].graph is None])
def test_slim_by_name(path, tmp_path):
    if not whole(path):
        pytest.skip("its data is not there")
    values = their_reading(THIRD_PARTY / path)
    rewrite(THIRD_PARTY / path, tmp_path / "out", slim=True)
    expected = {name: value for name, value in values.items() if not BY_NAME.search(name)}
    assert their_reading(tmp_path / "out") == expected
    restore_by_name(tmp_path / "out", expected)


@pytest.mark.parametrize("path", [path for path in SLIMMED if DRAFTS[path].graph is not None])
def test_slim_by_path(path, tmp_path):
    """Whatever the model's classes were: its variables are restored, and nothing is left over."""
    if not all(key.endswith(VARIABLE) for key in DRAFTS[path].tensors):
        pytest.skip("not only variables")
    if not whole(path):
        pytest.skip("its data is not there")
    values = their_reading(THIRD_PARTY / path)
    rewrite(THIRD_PARTY / path, tmp_path / "out", slim=True)
    found = mirrored(tmp_path / "out")
    own = (GRAPH_KEY, COUNTER_KEY)
    kept = [value for key, value in values.items() if not BY_PATH.search(key) and key not in own]
    assert sorted(found.values()) == sorted(kept)
