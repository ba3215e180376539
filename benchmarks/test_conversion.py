"""How long does it take to convert a checkpoint from TF1 to TF2, or back?

TensorFlow's contender is the conversion functions of its guide "Migrating model checkpoints".
"""

import filecmp

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, attribute_key, escape_name

CONTENDERS = [
    "tensorbundle, shared",
    "tensorbundle, copied",
    pytest.param("tensorflow", marks=pytest.mark.interop),
    "cp",
    "cp and fsync",
]


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("target", ["tf2", "tf1"])
def test_convert(target, contender, compare, checkpoint, tensorbundle, program, out):
    """Whole processes, the same source for all."""
    source = checkpoint("name-based" if target == "tf2" else "object-based")
    files = sorted(source.parent.iterdir())
    convert = [*tensorbundle, "convert", "--to", target, source, out / "model.ckpt-1"]
    commands = {
        "tensorbundle, shared": [*convert, "--data", "share"],
        "tensorbundle, copied": [*convert, "--data", "copy"],
        # `Checkpoint.save` adds its own number to the prefix.
        "tensorflow": [
            *program("with_tensorflow"),
            f"to-{target}",
            source,
            out / ("model.ckpt" if target == "tf2" else "model.ckpt-1"),
        ],
        "cp": ["cp", *files, out],
        # We do not return before everything is on disk, which `cp` and TensorFlow leave to the operating system.
        "cp and fsync": ["sh", "-c", 'cp "$@" && shift $(($# - 1)) && sync "$1"/*', "sh", *files, out],
    }
    volume = sum(path.stat().st_size for path in files)
    measured = compare(f"convert to {target}", contender, commands[contender], reads=files, volume=volume)
    if contender.startswith("cp"):
        assert all(filecmp.cmp(path, out / path.name, shallow=False) for path in files)
        return
    is_the_conversion_of(source, out / "model.ckpt-1", target)
    assert measured.bytes_written < 1_000_000 or contender != "tensorbundle, shared"


def is_the_conversion_of(source, prefix, target):
    """Whether `prefix` has the keys that it should have, and the values of a few of them."""
    with tb.open(source) as before, tb.open(prefix) as after:
        if target == "tf2":
            keys = {name: attribute_key(f"vars/{escape_name(name)}") for name in before}
            extra = {attribute_key(SAVE_COUNTER), OBJECT_GRAPH_KEY}
        else:
            graph = before.object_graph
            keys = {
                each.checkpoint_key: each.full_name
                for path, _, each in graph.attributes()
                if path != SAVE_COUNTER
            }
            extra = set()
        assert set(after) == {*keys.values(), *extra}
        by_size = sorted(keys, key=lambda key: before.entry(key).nbytes)
        for key in (by_size[0], by_size[len(by_size) // 2], by_size[-2]):
            np.testing.assert_array_equal(after[keys[key]], before[key])
