"""How long does it take to rename every tensor of a checkpoint?"""

import filecmp

import numpy as np
import pytest

import tensorbundle as tb


@pytest.mark.parametrize(
    "contender",
    [
        "tensorbundle, shared",
        "tensorbundle, copied",
        pytest.param("tensorflow", marks=pytest.mark.interop),
        "cp",
    ],
)
def test_rename(contender, compare, checkpoint, tensorbundle, program, out):
    """Whole processes: everything goes below a scope."""
    source = checkpoint("name-based")
    files = sorted(source.parent.iterdir())
    rename = [*tensorbundle, "rename", source, out / "model.ckpt", "/=scope/"]
    commands = {
        "tensorbundle, shared": rename,
        "tensorbundle, copied": [*rename, "--data", "copy"],
        "tensorflow": [*program("with_tensorflow"), "rename", source, out / "model.ckpt", "scope/"],
        "cp": ["cp", *files, out],
    }
    volume = sum(path.stat().st_size for path in files)
    measured = compare("rename", contender, commands[contender], reads=files, volume=volume)
    if contender == "cp":
        assert all(filecmp.cmp(path, out / path.name, shallow=False) for path in files)
        return
    with tb.open(source) as before, tb.open(out / "model.ckpt") as after:
        assert list(after) == [f"scope/{key}" for key in before]
        for key in list(before)[1::50]:
            np.testing.assert_array_equal(after[f"scope/{key}"], before[key])
    assert measured.bytes_written < 1_000_000 or contender != "tensorbundle, shared"
