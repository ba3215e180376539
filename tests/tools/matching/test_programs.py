"""Generated pairs of programs are what they claim to be, and the judge sees what is wrong."""

import re

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.judging import Verdict, convert_pair, make_pair
from support.rewriting import assert_sound


@pytest.mark.parametrize("seed", range(12))
def test_a_seed_is_a_pair(seed, tmp_path):
    """The same one each time; checkpoints without faults, in which every tensor has its own value."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pair = make_pair(seed, tmp_path / name)
        found.append((snapshot(tmp_path / name), pair.right, pair.told))
    assert re.sub("Layer.*", "", str(found[0][1:])) == re.sub("Layer.*", "", str(found[1][1:]))
    assert found[0][0] == found[1][0]
    for side in (pair.source, pair.fresh):
        assert_sound(side.prefix)
        assert len({*side.values.values()}) == len(side.values)
        with tb.open(side.prefix) as ckpt:
            assert all(float(ckpt[key].flat[0]) == value for key, value in side.values.items())
    assert pair.right.keys() == pair.fresh.tokens.keys()
    assert {*pair.right.values()} <= {None, *pair.source.tokens}


def test_the_judge_sees_a_crossing(tmp_path):
    """Two values are exchanged, another one stays as it was."""
    for seed in range(100):
        folder = tmp_path / str(seed)
        folder.mkdir()
        pair = make_pair(seed, folder)
        verdict = Verdict()
        if all(pair.right.values()) and not convert_pair(pair, folder / "right", verdict, "convert"):
            break
    assert not verdict.faults
    keys = [key for key, token in pair.fresh.tokens.items() if not token.role]
    one, other, last = keys[:2] + keys[-1:]
    pair.right[one], pair.right[other] = pair.right[other], pair.right[one]
    convert_pair(pair, folder / "crossed", verdict, "convert")
    assert {each.split()[1] for each in verdict.faults} == {one, other}
    verdict = Verdict()
    pair.right[one], pair.right[other] = pair.right[other], pair.right[one]
    pair.fresh.values[last] = float(np.float32(pair.source.values[pair.right[last]]))
    convert_pair(pair, folder / "kept", verdict, "convert")
    assert [each.split(": ")[1] for each in verdict.faults] == [
        f"{last} silently keeps its value, not that of {pair.right[last]}"
    ]
