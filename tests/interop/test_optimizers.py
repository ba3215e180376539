"""TensorFlow restores what `resize` makes, with the optimizer's state, for every class of optimizer."""

import numpy as np
import pytest

from support.optimizer_programs import CASES, STEPS
from tensorbundle.tools import rewrite

OLD, NEW = "abcdef", "cxbay"
ROWS = [OLD.find(token) for token in NEW]


@pytest.mark.parametrize("name", CASES)
def test_resize(name, tmp_path):
    """A program with an embedding of the new size restores it, and finds every slot's rows where they belong."""
    before = CASES[name].build(len(OLD))
    before.mark()
    before.save(str(tmp_path / "trained"))
    for file, tokens in (("old", OLD), ("new", NEW)):
        (tmp_path / file).write_text("\n".join(tokens))
    step = {"old_vocab": str(tmp_path / "old"), "new_vocab": str(tmp_path / "new")}
    key = {"tf1": "emb", "average": "emb"}.get(CASES[name].generation, "model/emb")
    key = {"keras3": "optimizer/_trainable_variables/0"}.get(CASES[name].generation, key)
    key = {"tf1-adam-object": "model/emb", "estimator-keras-adam": "emb"}.get(name, key)
    rewrite(tmp_path / "trained", tmp_path / "resized", resize={key: step})

    after = CASES[name].build(len(NEW))
    after.restore(str(tmp_path / "resized"))
    assert before.slots.keys() == after.slots.keys()
    for role, slots in {"": before.variables, **before.slots}.items():
        for number, (was, now) in enumerate(
            zip(slots, after.variables if not role else after.slots[role], strict=True)
        ):
            if was is None:
                continue
            [expected], [found] = before.values([was]), after.values([now])
            follows = number == 0 and expected.shape[:1] == (len(OLD),)
            if follows:
                expected = np.insert(expected, 0, 0, 0)[[row + 1 for row in ROWS]]
            assert np.array_equal(found, expected), (role, number)
    if after.steps is not None:
        assert after.values([after.steps])[0] == STEPS
