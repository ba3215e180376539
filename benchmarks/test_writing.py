"""How much longer than writing their bytes does it take to write NumPy arrays as a checkpoint?"""

import pytest

import tensorbundle as tb

CONTENDERS = [
    "tensorbundle",
    pytest.param("tensorflow", marks=pytest.mark.interop),
    "safetensors",
    "write",
    "write and fsync",
]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_write(contender, compare, program, out, size):
    """In process, libraries imported and arrays made. We return when everything is on disk; TensorFlow earlier."""
    target = out / "model.ckpt"
    model = [size, 200]
    commands = {
        "tensorbundle": [*program("with_tensorbundle"), "save", out / "small", target, *model],
        "tensorflow": [*program("with_tensorflow"), "save", out / "small", target, *model],
        "safetensors": [*program("with_safetensors"), out / "small", target, *model],
        "write": [*program("bare"), "write", out / "small", target, *model, "no"],
        "write and fsync": [*program("bare"), "write", out / "small", target, *model, "fsync"],
    }
    compare("write from NumPy", contender, commands[contender], volume=size)
    written = sum(path.stat().st_size for path in out.iterdir() if path.name.startswith("model.ckpt"))
    assert 0.8 * size < written < 1.2 * size or size < 2_000_000
    if contender in {"tensorbundle", "tensorflow"}:
        with tb.open(target) as ckpt:
            assert len(ckpt) == 200
            assert ckpt["encoder/layer_000/norm_000/scale"].std() == pytest.approx(1, rel=0.2)
