"""What `convert --template` and `suggest` make of generated pairs of programs, judged by the truth."""

import os

import pytest

from support.depth import DEEP
from support.judging import judge, make_pair
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item

PAIRS = int(os.environ.get("TENSORBUNDLE_PAIRS", "400" if DEEP else "48"))
AT_ONCE = 12


@pytest.fixture(scope="module")
def tally():
    """How many pairs the files tell, and of how many of these not all is found."""
    return {"told": 0, "refused": []}


@pytest.mark.parametrize("first", range(0, PAIRS, AT_ONCE))
def test_no_tensor_has_another_ones_values(first, tally, tmp_path):
    """Right or refused; and nothing that `suggest` calls certain or likely is wrong."""
    for seed in range(first, min(first + AT_ONCE, PAIRS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        pair = make_pair(seed, folder)
        verdict = judge(pair, folder)
        assert not verdict.faults, (pair.label, verdict.faults)
        tally["told"] += pair.told
        tally["refused"] += [pair.label] if verdict.refused else []
    assert len(tally["refused"]) <= 2 + tally["told"] / 20, tally["refused"]


def test_known_pairs_stay():
    """Also where values say something else, or the same once more."""
    left = [Item(name, "kind", checksum=name, full_name=name) for name in "ab"]
    right = [Item(name, "kind", checksum=name, full_name=name) for name in "ab"]
    for known in ({"a": "a"}, {"a": "b"}, {"a": "a", "b": "b"}):
        found = match(left, right, known).matches
        assert {each.old: each.new for each in found}.keys().isdisjoint(known)


def test_a_name_without_a_scope_hides_no_scope():
    """As `global_step` is beside what TF1 code puts into one scope."""

    def items(*names):
        return [Item(name, "kind", full_name=name) for name in names]

    left = items("net/dense/kernel", "net/conv1d/kernel")
    for others in ([], ["global_step"]):
        right = items("tower/Conv/weights", "tower/fully_connected/weights", *others)
        found = match(left, right).matches
        assert {each.old: each.new for each in found if each.settled} == {
            "net/dense/kernel": "tower/fully_connected/weights",
            "net/conv1d/kernel": "tower/Conv/weights",
        }
