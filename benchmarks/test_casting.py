"""How much longer than reading and writing as many bytes does it take to cast a checkpoint to a smaller type?"""

import numpy as np
import pytest

import tensorbundle as tb


@pytest.mark.parametrize(
    "contender", ["tensorbundle", pytest.param("tensorflow", marks=pytest.mark.interop), "read and write"]
)
def test_cast(contender, compare, checkpoint, tensorbundle, program, out):
    """Whole processes: float32 to bfloat16."""
    source = checkpoint("name-based")
    files = sorted(source.parent.iterdir())
    data = next(path for path in files if ".data-" in path.name)
    commands = {
        "tensorbundle": [*tensorbundle, "cast", source, out / "model.ckpt", "*=bfloat16"],
        "tensorflow": [*program("with_tensorflow"), "cast", source, out / "model.ckpt", "bfloat16"],
        "read and write": [*program("bare"), "halve", data, out / "bytes"],
    }
    volume = data.stat().st_size
    compare("cast to bfloat16", contender, commands[contender], reads=files, volume=volume)
    if contender == "read and write":
        assert (out / "bytes").stat().st_size == volume // 2
        return
    with tb.open(source) as before, tb.open(out / "model.ckpt") as after:
        assert list(after) == list(before)
        for key in list(before)[1::50]:
            assert after.entry(key).dtype == "bfloat16"
            np.testing.assert_array_equal(after[key], before[key].astype(after[key].dtype))
