"""Where bytes lie after an operation, which of them were written, and which checksums were computed."""

from itertools import pairwise

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, snapshot, write_bundle
from support.contents import assert_same_files
from support.golden import load
from support.rewriting import COPY, assert_sound, data_files, lists, rewritten, strings, tensors_in, write
from tensorbundle.entries import BundleHeader
from tensorbundle.tools import TransferOptions, rewrite
from tensorbundle.tools.operations.editing.layout import even_slices

MATRIX = np.arange(40, dtype=np.float32).reshape(8, 5)
# But for a tensor that lacks a slice, which is never written.
GOLDEN = [each.path for each in load() if not (each.is_v1 or each.prefix.startswith("unreadable-slices"))]


def layout(prefix):
    """Shard, offset and size of every stored tensor or slice."""
    with tb.open(prefix) as ckpt:
        return {
            tb.slices.readable_key(key): (entry.shard, entry.offset, entry.nbytes)
            for key, entry in ckpt.index.raw_entries()
            if not entry.slices
        }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda each: f"{each.parts[-3]}-{each.parent.name}-{each.name}")
def test_nothing_changed(tmp_path, path):
    """Copied, a checkpoint of TensorFlow's is the same bytes."""
    rewrite(path, tmp_path / "m", options=COPY)
    assert_same_files(tmp_path / "m", path)


@pytest.mark.parametrize(
    ("shape", "count", "axis", "specs"),
    [
        ((5, 2), 3, 0, ["0,2:0,2", "2,2:0,2", "4,1:0,2"]),
        ((2, 4), 2, 1, ["0,2:0,2", "0,2:2,2"]),
        ((3,), 3, 0, ["0,1", "1,1", "2,1"]),
        ((7,), 1, 0, ["0,7"]),
    ],
)
def test_even_slices(shape, count, axis, specs):
    assert [str(each) for each in even_slices(shape, count, axis)] == specs


class TestPartition:
    @pytest.mark.parametrize(
        ("value", "count", "axis"),
        [
            (MATRIX, 3, 0),
            (MATRIX, 8, 0),
            (MATRIX, 2, 1),
            (MATRIX, 5, -1),
            (np.arange(24, dtype=np.int16).reshape(2, 3, 4), 3, 1),
            (strings(b"a", b"", b"c" * 200), 2, 0),
            (np.bool_([True, False]), 2, 0),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("data", ["share", "copy"])
    def test_any_axis(self, tmp_path, value, count, axis, data):
        source = write(tmp_path / "m", {"a": np.float32(1), "e": value, "z": np.int8(2)})
        partition = {"e": {"slices": count, "axis": axis}}
        rewrite(source, tmp_path / "out", partition=partition, options=TransferOptions(data=data))
        assert_sound(tmp_path / "out")
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.entry("e").slices == even_slices(value.shape, count, axis % value.ndim)

    def test_rows_stay_where_they_are(self, tmp_path):
        source = write(tmp_path / "m", {"a": np.float32(1), "e": MATRIX})
        summary = rewrite(source, tmp_path / "out", partition={"e": 2})
        assert layout(tmp_path / "out") == {
            "a": (0, 0, 4),
            "e[0,4:0,5]": (0, 4, 80),
            "e[4,4:0,5]": (0, 84, 80),
        }
        index = (tmp_path / "out.index").stat().st_size
        assert (summary.bytes_shared, summary.bytes_written) == (164, index)

    def test_columns_are_written(self, tmp_path):
        source = write(tmp_path / "m", {"a": np.float32(1), "e": MATRIX})
        rewrite(source, tmp_path / "out", partition={"e": {"slices": 2, "axis": 1}})
        assert layout(tmp_path / "out") == {
            "a": (0, 0, 4),
            "e[0,8:0,3]": (1, 0, 96),
            "e[0,8:3,2]": (1, 96, 64),
        }

    def test_again(self, tmp_path):
        """Slices that stay the same stay where they are."""
        source = write(tmp_path / "m", {"e": MATRIX}, cuts={"e": (2, 0)})
        rewrite(source, tmp_path / "out", partition={"e": 4})
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        rewrite(source, tmp_path / "same", partition={"e": 2}, options=COPY)
        assert_same_files(tmp_path / "same", source)

    def test_into_one(self, tmp_path):
        source = write(tmp_path / "m", {"e": MATRIX}, cuts={"e": (2, 0)})
        rewrite(source, tmp_path / "out", partition={"e": 1})
        assert layout(tmp_path / "out") == {"e": (0, 0, 160)}

    @pytest.mark.parametrize("data", ["share", "copy"])
    def test_damage_does_not_get_a_good_checksum(self, tmp_path, data):
        """The checksum of the whole is the only one there is; the slices' own must not be made of damaged bytes."""
        source = write(tmp_path / "m", {"e": MATRIX})
        with (tmp_path / "m.data-00000-of-00001").open("r+b") as file:
            file.write(b"\x01")
        with pytest.raises(tb.CorruptionError, match="crc32c"):
            rewrite(source, tmp_path / "out", partition={"e": 2}, options=TransferOptions(data=data))

    def test_without_verification_nothing_is_checked(self, tmp_path):
        """A tensor beside the one whose slices need checksums."""
        source = write(tmp_path / "m", {"a": MATRIX, "e": MATRIX})
        with (tmp_path / "m.data-00000-of-00001").open("r+b") as file:
            file.write(b"\x01")
        rewrite(
            source, tmp_path / "out", partition={"e": 2}, options=TransferOptions(data="copy", verify=False)
        )

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            ({"e": 9}, r"key 'e': 9 slices along axis 0 of \[8, 5\]$"),
            ({"e": 0}, r"0 slices along axis 0 of \[8, 5\]$"),
            ({"e": {"slices": 2, "axis": 2}}, r"axis 2 of a tensor of rank 2$"),
            ({"e": {"slices": 2, "axis": -3}}, r"axis -3 of a tensor of rank 2$"),
            ({"scalar": 1}, r"axis 0 of a tensor of rank 0$"),
            ({"empty": 1}, r"1 slices along axis 0 of \[0, 3\]$"),
        ],
        ids=str,
    )
    def test_what_can_not_be(self, tmp_path, step, message):
        tensors = {"e": MATRIX, "scalar": np.float32(1), "empty": np.empty((0, 3), np.float32)}
        with pytest.raises(tb.ConflictError, match=message):
            rewrite(write(tmp_path / "m", tensors), tmp_path / "out", partition=step)


class TestUnpartition:
    def test_side_by_side(self, tmp_path):
        """Only an index is written; the checksum is put together from those of the slices."""
        source = write(tmp_path / "m", {"a": np.float32(1), "e": MATRIX}, cuts={"e": (3, 0)})
        summary = rewrite(source, tmp_path / "out", unpartition=True)
        assert_sound(tmp_path / "out")
        assert layout(tmp_path / "out") == {"a": (0, 0, 4), "e": (0, 4, 160)}
        assert summary.bytes_written == (tmp_path / "out.index").stat().st_size
        assert data_files(tmp_path / "out") == [".data-00000-of-00001"]
        rewrite(source, tmp_path / "copy", unpartition=True, options=COPY)
        write(tmp_path / "whole", {"a": np.float32(1), "e": MATRIX})
        assert_same_files(tmp_path / "copy", tmp_path / "whole")

    @pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0)], ids=str)
    def test_not_side_by_side(self, tmp_path, order):
        parts = even_slices(MATRIX.shape, 3, 0)
        with tb.create(tmp_path / "m") as writer:
            for number in order:
                writer.add_slice("e", MATRIX.shape, parts[number], MATRIX[parts[number].box(MATRIX.shape)])
        rewrite(tmp_path / "m", tmp_path / "out", unpartition="e")
        assert_sound(tmp_path / "out")
        assert tensors_in(tmp_path / "out") == tensors_in(tmp_path / "m")

    def test_in_many_shards(self, tmp_path):
        with tb.create(tmp_path / "m") as writer:
            for part in even_slices(MATRIX.shape, 4, 1):
                writer.add_slice("e", MATRIX.shape, part, MATRIX[part.box(MATRIX.shape)])
                writer.start_shard()
        rewrite(tmp_path / "m", tmp_path / "out", unpartition=True, options=COPY)
        assert tensors_in(tmp_path / "out") == tensors_in(tmp_path / "m")
        assert layout(tmp_path / "out") == {"e": (0, 0, 160)}

    def test_only_what_patterns_name(self, tmp_path):
        source = write(tmp_path / "m", {"e": MATRIX, "f": MATRIX}, cuts={"e": (2, 0), "f": (2, 1)})
        rewrite(source, tmp_path / "out", unpartition=["f"])
        assert list(layout(tmp_path / "out")) == ["e[0,4:0,5]", "e[4,4:0,5]", "f"]

    @pytest.mark.parametrize(("value", "error"), [("z", tb.ConflictError), ("y", tb.TensorNotFoundError)])
    def test_nothing_to_do(self, tmp_path, value, error):
        source = write(tmp_path / "m", {"e": MATRIX, "z": MATRIX}, cuts={"e": (2, 0)})
        with pytest.raises(error):
            rewrite(source, tmp_path / "out", unpartition=value)

    @pytest.mark.parametrize(
        "step", [{"unpartition": True}, {"partition": {"e": {"slices": 2, "axis": 0}}}], ids=str
    )
    @pytest.mark.parametrize("starts", [(0, 2), (0, 1)], ids=["a gap", "an overlap"])
    def test_slices_that_do_not_fit(self, tmp_path, step, starts):
        with tb.create(tmp_path / "m") as writer:
            for start in starts:
                writer.add_slice(
                    "e", (4, 4), tb.TensorSlice(((start, 2), (0, 3))), np.ones((2, 3), np.float32)
                )
        with pytest.raises(tb.CorruptionError, match="slices"):
            rewrite(tmp_path / "m", tmp_path / "out", **step)


EIGHT = {name: np.full(number, number, np.uint8) for number, name in enumerate("abcdefgh", 10)}


class TestReshard:
    @pytest.mark.parametrize("count", [1, 2, 3, 8, 12])
    @pytest.mark.parametrize("before", [[], ["c", "d"]], ids=["from one", "from three"])
    def test_a_number(self, tmp_path, count, before):
        source = write(tmp_path / "m", EIGHT, new_shard_at=before)
        rewrite(source, tmp_path / "out", reshard=count)
        assert_sound(tmp_path / "out")
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        files = [f".data-{number:05}-of-{count:05}" for number in range(count)]
        assert data_files(tmp_path / "out") == files
        if count <= 3:
            sizes = [(tmp_path / f"out{each}").stat().st_size for each in files]
            assert max(sizes) - min(sizes) <= 2 * 17

    @pytest.mark.parametrize(("size", "shards"), [(108, 1), ("108B", 1), (107, 2), (33, 4), (20, 8), (1, 8)])
    def test_a_size(self, tmp_path, size, shards):
        source = write(tmp_path / "m", EIGHT)
        rewrite(source, tmp_path / "out", reshard={"max_shard_size": size})
        files = data_files(tmp_path / "out")
        assert len(files) == shards
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        by_shard = {}
        for shard, _, nbytes in layout(tmp_path / "out").values():
            by_shard.setdefault(shard, []).append(nbytes)
        limit = int(str(size).strip("B"))
        assert all(sum(each) <= limit or len(each) == 1 for each in by_shard.values())
        assert all(sum(each) + following[0] > limit for each, following in pairwise(by_shard.values()))

    def test_cut(self, tmp_path):
        source = write(tmp_path / "m", {"big": MATRIX, "flat": MATRIX[:1], "s": strings(b"a" * 500)})
        rewrite(source, tmp_path / "out", reshard={"max_shard_size": 50, "cut": True})
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        assert max(nbytes for key, (_, _, nbytes) in layout(tmp_path / "out").items() if key != "s") <= 50

    def test_cut_of_what_is_cut_already(self, tmp_path):
        source = write(tmp_path / "m", {"big": MATRIX}, cuts={"big": (2, 0)})
        rewrite(source, tmp_path / "out", reshard={"max_shard_size": 50, "cut": True})
        assert max(nbytes for _, _, nbytes in layout(tmp_path / "out").values()) <= 50

    def test_a_size_and_strings_that_are_written_anew(self, tmp_path):
        """How long they are is known, though not where they will lie."""
        tensors = {name: strings(*[name.encode() * 100] * 8) for name in "abc"}
        source = write(tmp_path / "m", tensors)
        rewrite(source, tmp_path / "out", partition=dict.fromkeys("abc", 4), reshard={"max_shard_size": 500})
        assert tensors_in(tmp_path / "out") == tensors_in(source)
        sizes = [(tmp_path / f"out{each}").stat().st_size for each in data_files(tmp_path / "out")]
        assert max(sizes) <= 500

    @pytest.mark.parametrize("data", ["share", "copy"])
    def test_nothing_is_shared(self, tmp_path, data):
        summary = rewrite(
            write(tmp_path / "m", EIGHT),
            tmp_path / "out",
            reshard=2,
            options=TransferOptions(data=data),
        )
        assert summary.bytes_shared == 0

    @pytest.mark.parametrize(
        "value",
        [0, -1, {"shards": 2, "max_shard_size": "1MB"}, {}, {"max_shard_size": 0}, {"shards": 0}],
        ids=str,
    )
    def test_what_can_not_be(self, tmp_path, value):
        with pytest.raises(
            tb.ConflictError, match=r"reshard takes a number of shards or a size, at least 1$"
        ):
            rewrite(write(tmp_path / "m", EIGHT), tmp_path / "out", reshard=value)


class TestCompact:
    def test_dead_bytes_go(self, tmp_path):
        source = write(tmp_path / "m", {"a": np.ones(1000), "b": np.float32([1, 2])})
        rewrite(source, tmp_path / "dead", drop="a")
        assert layout(tmp_path / "dead") == {"b": (0, 8000, 8)}
        summary = rewrite(tmp_path / "dead", tmp_path / "out", compact=True)
        assert layout(tmp_path / "out") == {"b": (0, 0, 8)}
        assert (summary.bytes_shared, summary.bytes_read) == (0, 8)

    def test_what_is_compact_stays(self, tmp_path):
        source = write(tmp_path / "m", {"a": np.ones(10), "b": np.float32([1, 2])}, new_shard_at=["b"])
        rewrite(source, tmp_path / "out", compact=True)
        assert_same_files(tmp_path / "out", source)


class TestSharing:
    @pytest.mark.parametrize(
        ("dead", "live", "shared"),
        [
            (1000, 10, True),  # less than a megabyte would be dead
            ((1 << 20) - 10, 10, True),
            ((1 << 20) + 10, 10, False),
            ((2 << 20), 200_000, False),  # a twelfth
            ((2 << 20), 300_000, True),  # an eighth
        ],
    )
    def test_what_is_mostly_dead_is_copied(self, tmp_path, dead, live, shared):
        source = write(tmp_path / "m", {"dead": np.zeros(dead, np.uint8), "live": np.ones(live, np.uint8)})
        summary = rewrite(source, tmp_path / "out", drop="dead")
        assert summary.bytes_shared == (dead + live if shared else 0)
        assert layout(tmp_path / "out")["live"] == (0, dead if shared else 0, live)
        assert_sound(tmp_path / "out")

    def test_per_shard(self, tmp_path):
        tensors = {"a": np.zeros(3 << 20, np.uint8), "b": np.float32(1), "c": np.arange(9.0)}
        source = write(tmp_path / "m", tensors, new_shard_at=["c"])
        summary = rewrite(source, tmp_path / "out", drop="a")
        assert summary.bytes_shared == 72
        assert {key: tuple(each[1:]) for key, each in layout(tmp_path / "out").items()} == {
            "b": (0, 4),
            "c": (0, 72),
        }
        assert_sound(tmp_path / "out")


def test_the_same_twice(tmp_path):
    source = write(tmp_path / "m", {"e": MATRIX, "w": MATRIX, "s": strings(b"a")}, cuts={"w": (2, 1)})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rewrite(source, tmp_path / name / "out", cast={"e": "float16"}, unpartition=True, rename={"*": "x/*"})
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


@pytest.mark.parametrize("data", ["share", "copy"])
@pytest.mark.parametrize(
    "steps", [{}, {"partition": {"f": 2}}, {"cast": {"f": "float16"}}, {"reshard": 2}], ids=str
)
def test_a_big_endian_source(tmp_path, steps, data):
    """What is written is little-endian, with checksums of its own."""
    raw = np.arange(6, dtype=">f4").tobytes() + b"\1\2"
    entries = {b"f": plain("float32", [2, 3], raw[:24]), b"u": plain("uint8", [2], raw[24:], offset=24)}
    source = write_bundle(tmp_path / "m", entries, [raw], BundleHeader(1, big_endian=True))
    found = rewritten(source, tmp_path / "out", options=TransferOptions(data=data), **steps)
    assert lists(found) == {"f": [[0, 1, 2], [3, 4, 5]], "u": [1, 2]}
    with tb.open(tmp_path / "out") as ckpt:
        assert not ckpt.index.header.big_endian
