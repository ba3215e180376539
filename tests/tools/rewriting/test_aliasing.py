"""Ranges that are the same, or overlap, in a source's index stay so when they are copied."""

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.rewriting import assert_sound
from tensorbundle.tools import TransferOptions, rewrite, verify

DATA = np.arange(1000, dtype="<f4").tobytes()


def source(path, ranges):
    """A bundle whose tensors are ranges of one data shard, in bytes."""
    entries = {
        name.encode(): plain("float32", [(stop - start) // 4], DATA[start:stop], offset=start)
        for name, (start, stop) in ranges.items()
    }
    write_bundle(path, entries, [DATA])
    return path


@pytest.mark.parametrize(
    ("ranges", "size"),
    [
        ({f"t{number:03}": (0, 4000) for number in range(200)}, 4000),
        ({f"t{number:03}": (4 * number, 2000 + 4 * number) for number in range(200)}, 2796),
        ({"whole": (0, 4000), "rows": (400, 800), "more": (1200, 1600)}, 4000),
        ({"a": (0, 400), "b": (200, 600), "c": (1000, 1400), "d": (1400, 1800)}, 1400),
        ({"a": (0, 400), "b": (400, 800)}, 800),
    ],
    ids=["same", "shifted", "inside", "some", "none"],
)
def test_overlapping_ranges_are_copied_once(tmp_path, ranges, size):
    made = source(tmp_path / "m", ranges)
    rewrite(made, tmp_path / "out", compact=True)
    assert (tmp_path / "out.data-00000-of-00001").stat().st_size == size
    assert {each.kind for each in verify(tmp_path / "out").problems} <= {"overlap"}
    with tb.open(tmp_path / "out") as ckpt:
        assert {name: ckpt[name].tobytes() for name in ckpt} == {
            name: DATA[start:stop] for name, (start, stop) in ranges.items()
        }


def test_each_of_them_is_checked(tmp_path):
    made = source(tmp_path / "m", {"a": (0, 400), "b": (200, 600)})
    shard = tmp_path / "m.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[500] ^= 1
    shard.write_bytes(data)
    with pytest.raises(tb.CorruptionError, match=r"key 'b'.*crc32c of 400 bytes"):
        rewrite(made, tmp_path / "out", compact=True)
    rewrite(made, tmp_path / "out", compact=True, options=TransferOptions(verify=False))


def test_new_tensors_between_them(tmp_path):
    made = source(tmp_path / "m", {"a": (0, 400), "b": (0, 400), "c": (400, 800)})
    rewrite(made, tmp_path / "out", cast={"c": "float64"}, compact=True)
    assert_sound(tmp_path / "out")
    with tb.open(tmp_path / "out") as ckpt:
        assert (ckpt.entry("a").offset, ckpt["c"].dtype) == (ckpt.entry("b").offset, np.float64)
        assert ckpt["a"].tobytes() == ckpt["b"].tobytes() == DATA[:400]


@pytest.mark.parametrize(("command", "nbytes"), [(["compact"], 600), (["convert", "--to", "v1"], 1200)])
def test_plans_count_them_once(run, tmp_path, command, nbytes):
    """If the output can have ranges that overlap."""
    made = source(tmp_path / "m", {"a": (0, 400), "b": (200, 600), "c": (0, 400)})
    *_, total = run(*command, made, tmp_path / "out", "--dry-run", "--json").records
    assert (total["bytes_written"], total["bytes_read"]) == (nbytes, nbytes)
