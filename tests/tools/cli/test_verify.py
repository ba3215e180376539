"""`tensorbundle verify` on checkpoints with one thing wrong, or several."""

import os
import re
import shutil
import zipfile

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, snapshot, write_bundle
from support.golden import SAMPLE, load_all
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.proto.graph import Attribute, Node, ObjectGraph
from tensorbundle.proto.nodes import encode_nodes
from tensorbundle.table import FOOTER_BYTES
from tensorbundle.tools import Problem, Report, verify, verify_all
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.writer import BundleWriter, append_bytes

LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
LFS_CAUSE = "a Git-LFS pointer: fetch the real file with 'git lfs pull'"
CHANGED = "its bytes changed after they were written, on disk or while copying"
NEVER_WRITTEN = "all zeros: these bytes were never written (a full disk, or a crash while saving)"
OTHER_CHECKPOINT = "nothing in this file matches the index: one of the two belongs to another checkpoint"
ZERO_TAIL = "zeros from offset 0x7d0 on: the end was never written"
CUT_SHORT = "the file was cut short: it has 4020 of at least 4025 bytes, 5 are missing"
NO_SHARD = r"no such file; 3 tensors are stored in it, .* first"
IMPOSSIBLE = "an impossible entry, under a correct checksum: a faulty program or an attacker wrote the index"
NOT_COPIED = "it was not copied along, or was deleted"
FIELDS = ["prefix", "severity", "kind", "key", "path", "offset", "message", "cause"]
FIRST, SECOND, INDEX = "m.data-00000-of-00002", "m.data-00001-of-00002", "m.index"
WORDS = np.array([b"hello", b"", b"world"], object)
SLICES = [tb.TensorSlice.parse_spec(spec) for spec in ("0,2:-", "2,2:-")]


def write(directory, seed=1):
    """Two data shards: a (4000 bytes), b (8), words (17); c (800), the two slices of parts (24 each)."""
    random = np.random.default_rng(seed)
    with tb.create(directory / "m") as writer:
        writer.add("a", random.random(1000, np.float32))
        writer.add("b", np.int64(seed))
        writer.add("words", np.roll(WORDS, seed))
        writer.start_shard()
        writer.add("c", random.random(100))
        for number, part in enumerate(SLICES):
            writer.add_slice("parts", [4, 3], part, np.full((2, 3), seed + number, np.float32))
    return directory


@pytest.fixture
def ckpt(tmp_path):
    return write(tmp_path)


def problems(run, prefix):
    """What `verify` finds as tuples, text and JSON compared; the key of a slice as `parts[0,2:-]`."""
    output = run("verify", prefix, "--json", status=1)
    *found, summary = output.records
    assert all(list(record) == FIELDS for record in found)
    assert list(summary) == ["prefix", "tensors", "bytes", "problems"]
    assert summary["problems"] == len(found)
    text = run("verify", prefix, status=1).out.split("\n")[:-1]
    assert len(text) == len(found) + 1
    for line, record in zip(text, found, strict=False):
        assert line.startswith(f"{record['severity']}: {record['kind']}: {record['path']}: ")
        assert record["offset"] is None or f"offset {record['offset']:#x}: " in line
        told = record["cause"] is None or record["cause"] in record["message"]
        assert line.endswith(record["message"] if told else f" ({record['cause']})")
    plural = "s" if len(found) > 1 else ""
    assert f" checked: {len(found)} problem{plural}" in text[-1]
    return found


def check(found, *expected):
    """Each expected problem: severity, kind, key, file, offset, message (a regular expression) and cause."""
    assert len(found) == len(expected), found
    for record, (severity, kind, key, name, offset, message, cause) in zip(found, expected, strict=True):
        assert (record["severity"], record["kind"], record["key"]) == (severity, kind, key)
        assert record["path"].rpartition("/")[2] == name
        assert record["offset"] == offset
        assert re.fullmatch(message, record["message"]), record["message"]
        assert record["cause"] == cause


def flip(path, *offsets):
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 0x40
    path.write_bytes(data)


def fill(path, start, stop, content=b"\0"):
    data = path.read_bytes()
    path.write_bytes(data[:start] + content * (stop - start) + data[stop:])


def crc(nbytes):
    return rf"crc32c of {nbytes} bytes: stored [0-9a-f]{{8}}, computed [0-9a-f]{{8}}"


def flipped(bit, offset):
    return f"bit {bit} of the byte at offset {offset:#x} is flipped: memory or storage is faulty"


def cut(nbytes, end):
    return (
        rf"{nbytes} bytes wanted, the file ends at {end}: it is cut short, or belongs to another checkpoint"
    )


def slice_key(part):
    return f"parts[{part}]"


@pytest.mark.parametrize(
    ("path", "text", "numbers"),
    [
        ("guide-tf1", "guide-tf1/tf1-ckpt: 3 tensors, 12 B checked: no problems\n", (3, 12)),
        (
            "partitioned-sharded",
            "partitioned-sharded/model.ckpt-100: 8 tensors, 316 B checked: no problems\n",
            (8, 316),
        ),
        ("est-tf2", "est-tf2/model.ckpt-1: 3 tensors, 203 B checked: no problems\n", (3, 203)),
        (SAMPLE, "36 tensors, 27.2 KiB checked: no problems\n", (36, 27880)),
    ],
    ids=["plain", "slices", "shards", "sample"],
)
def test_nothing_is_wrong(run, in_golden, path, text, numbers):
    output = run("verify", path)
    assert (output.out, output.err) == (text, "")
    assert run("verify", path, "--json").records == [
        {
            "prefix": text.partition(": ")[0] if path is not SAMPLE else str(SAMPLE),
            "tensors": numbers[0],
            "bytes": numbers[1],
            "problems": 0,
        }
    ]


def test_golden_checkpoints(run):
    """Three are wrong, and TensorFlow says so too or has lost a variable."""
    found = {}
    for golden in load_all():
        report = verify(golden.path)
        if report.problems:
            found[str(golden)] = [(each.kind, each.key) for each in report.problems]
    assert found == {
        "tf-2.15:unreadable-slices/model.ckpt": [("slices", "hole")],
        "tf-2.21:unreadable-slices/model.ckpt": [("slices", "hole")],
        "tf-2.21:max-shard-size-lossy/ckpt-1": [("dangling-key", "empty/.ATTRIBUTES/VARIABLE_VALUE")],
    }


def test_the_operation_returns_data(ckpt):
    told = []
    assert verify(ckpt / "m", progress=told.append) == Report(6, 4000 + 8 + 17 + 800 + 48, [])
    assert sum(told) == 4873
    flip(ckpt / FIRST, 4003)
    [problem] = verify(ckpt / "m").problems
    assert isinstance(problem, Problem)
    assert (problem.key, problem.offset, problem.path) == ("b", 4000, str(ckpt / FIRST))
    assert list(problem.to_json()) == FIELDS


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            lambda path: flip(path / FIRST, 3999),
            ("error", "checksum", "a", FIRST, 0, crc(4000), flipped(6, 0xF9F)),
        ),
        (
            lambda path: flip(path / SECOND, 805),
            ("error", "checksum", slice_key(SLICES[0]), SECOND, 800, crc(24), flipped(6, 0x325)),
        ),
        (
            lambda path: fill(path / FIRST, 0, 4000),
            ("error", "checksum", "a", FIRST, 0, crc(4000), NEVER_WRITTEN),
        ),
        (
            lambda path: fill(path / FIRST, 2000, 4000),
            ("error", "checksum", "a", FIRST, 0, crc(4000), ZERO_TAIL),
        ),
        (
            lambda path: flip(path / FIRST, 4008),  # the first string's length
            ("error", "checksum", "words", FIRST, 4008, r"string lengths add up to .*", CHANGED),
        ),
        (
            lambda path: flip(path / FIRST, 4024),  # the last string's last character
            ("error", "checksum", "words", FIRST, 4008, crc(17), flipped(6, 4024)),
        ),
        (
            lambda path: (path / SECOND).unlink(),
            ("error", "missing-shard", None, SECOND, None, NO_SHARD, NOT_COPIED),
        ),
        (
            lambda path: fill(path / FIRST, 4020, 4025, b""),
            ("error", "truncated", "words", FIRST, 4008, cut(17, 4020), CUT_SHORT),
        ),
    ],
    ids=["bit", "bit in slice", "zeros", "zero tail", "length", "string", "missing", "truncated"],
)
def test_one_thing_is_wrong(run, ckpt, damage, expected):
    damage(ckpt)
    check(problems(run, ckpt / "m"), expected)


def test_many_tensors_behind_the_end(run, tmp_path):
    """Text shows the first ten."""
    with tb.create(tmp_path / "m") as writer:
        for number in range(13):
            writer.add(f"w{number:02}", np.float32(1))
    os.truncate(tmp_path / "m.data-00000-of-00001", 4)
    *lines, more, last = run("verify", tmp_path / "m", status=1).out.splitlines()
    assert [re.search(r"key '(.*?)'", line)[1] for line in lines] == [
        f"w{number:02}" for number in range(1, 11)
    ]
    assert more.endswith("-of-00001: 2 more tensors; --json lists them")
    assert last.endswith("12 problems")
    assert len(run("verify", tmp_path / "m", "--json", status=1).out.splitlines()) == 13


def test_a_truncated_shard(run, ckpt):
    fill(ckpt / FIRST, 3000, 4025, b"")
    cause = "the file was cut short: it has 3000 of at least 4025 bytes, 1025 are missing"
    check(
        problems(run, ckpt / "m"),
        ("error", "truncated", "a", FIRST, 0, cut(4000, 3000), cause),
        ("error", "truncated", "b", FIRST, 4000, cut(8, 3000), cause),
        ("error", "truncated", "words", FIRST, 4008, cut(17, 3000), cause),
    )
    assert verify(ckpt / "m").tensors == 3  # those of the other shard


def test_an_empty_shard(run, ckpt):
    (ckpt / FIRST).write_bytes(b"")
    found = problems(run, ckpt / "m")
    assert [each["kind"] for each in found] == ["truncated"] * 3
    assert {each["cause"] for each in found} == {"the file is empty: all of its 4025 bytes are missing"}


def test_the_shard_of_another_checkpoint_of_the_same_size(run, ckpt, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(write(tmp_path / "other", seed=2) / FIRST, ckpt / FIRST)
    found = problems(run, ckpt / "m")
    assert [(each["kind"], each["key"]) for each in found] == [
        ("checksum", key) for key in ("a", "b", "words")
    ]
    assert {each["cause"] for each in found} == {OTHER_CHECKPOINT}


@pytest.mark.parametrize("same", [np.zeros(4), np.zeros((0, 3))], ids=["zeros", "empty"])
def test_the_shard_of_another_checkpoint_with_a_tensor_in_common(run, tmp_path, same):
    """Slots and biases that are still zero are alike in all checkpoints of a model, and empty tensors always."""
    for name in ("m", "other"):
        with tb.create(tmp_path / name) as writer:
            for key in ("v", "w", "x"):
                writer.add(key, np.random.default_rng(len(name)).random(100))
            writer.add("same", same)
    (tmp_path / "other.data-00000-of-00001").replace(tmp_path / "m.data-00000-of-00001")
    found = problems(run, tmp_path / "m")
    assert [each["key"] for each in found] == ["v", "w", "x"]
    assert {each["cause"] for each in found} == {OTHER_CHECKPOINT}


def test_the_shard_of_another_checkpoint_with_fewer_changes(run, tmp_path):
    for name in ("m", "other"):
        with tb.create(tmp_path / name) as writer:
            for number, key in enumerate("uvwx"):
                writer.add(key, np.random.default_rng(number and len(name)).random(100))
    (tmp_path / "other.data-00000-of-00001").replace(tmp_path / "m.data-00000-of-00001")
    found = problems(run, tmp_path / "m")
    assert [each["key"] for each in found] == ["v", "w", "x"]
    assert {each["cause"] for each in found} == {
        "3 of 4 tensors in this file do not match the index: one of the two belongs to another checkpoint"
    }


@pytest.mark.parametrize(
    ("start", "stop", "told"),
    [
        (4096, 8192, True),
        (5000, 8192, True),
        (4096, 4608, True),
        (0, 8192, True),
        (4096, 4600, False),
        (4100, 8190, False),
    ],
)
@pytest.mark.parametrize("buffer", [1 << 20, 5000, 700])
def test_a_hole(run, tmp_path, monkeypatch, start, stop, told, buffer):
    monkeypatch.setattr("tensorbundle.tools.operations.inspecting.zeros.BUFFER_BYTES", buffer)
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.full(5000, 0x01010101, np.int32))
        writer.add("b", np.full(50, 0x01010101, np.int32))
    fill(tmp_path / "m.data-00000-of-00001", start, stop)
    [found] = problems(run, tmp_path / "m")
    hole = f"zeros from offset {start:#x} to {stop:#x}: these bytes were never written"
    assert found["cause"] == (hole if told else CHANGED)


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")]
)
def test_a_shard_that_can_not_be_opened(run, ckpt, monkeypatch, error):
    real = os.open

    def refuse(path, *arguments, **named):
        if str(path).endswith(FIRST):
            raise error
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    message = rf"can't be read: {error.strerror}; 3 tensors are stored in it, 'a' first"
    check(problems(run, ckpt / "m"), ("error", "unreadable-shard", None, FIRST, None, message, None))
    assert verify(ckpt / "m").tensors == 3


def test_a_shard_that_can_not_be_read_to_its_end(run, ckpt, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    found = problems(run, ckpt / "m")
    assert [each["kind"] for each in found] == ["unreadable-shard"] * 2


@pytest.mark.parametrize(
    ("shape", "readable"), [((0, 2**62), False), ((1,) * 100, False), ((0, 2**31), True)]
)
def test_shapes_that_numpy_can_not_have(run, tmp_path, shape, readable):
    data = bytes(4 * np.prod(shape, dtype=object))
    prefix = write_bundle(tmp_path / "m", {b"a": plain("float32", shape, data)}, [data])
    if readable:
        assert verify(prefix).problems == []
        return
    [found] = problems(run, prefix)
    assert (found["severity"], found["kind"], found["key"]) == ("warning", "shape", "a")


def test_swapped_shards(run, ckpt):
    (ckpt / FIRST).rename(ckpt / "t")
    (ckpt / SECOND).rename(ckpt / FIRST)
    (ckpt / "t").rename(ckpt / SECOND)
    found = problems(run, ckpt / "m")
    assert [each["kind"] for each in found] == ["truncated"] * 3 + ["checksum"] * 3
    assert {each["cause"] for each in found[3:]} == {OTHER_CHECKPOINT}


def test_a_git_lfs_pointer_in_place_of_a_shard(run, ckpt):
    (ckpt / FIRST).write_bytes(LFS)
    found = problems(run, ckpt / "m")
    assert [(each["kind"], each["key"]) for each in found] == [
        ("truncated", key) for key in ("a", "b", "words")
    ]
    assert {each["cause"] for each in found} == {LFS_CAUSE}


def test_a_git_lfs_pointer_in_place_of_a_shard_whose_first_tensor_is_small(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("small", np.float32(1))
        writer.add("large", np.ones(1000, np.float32))
    (tmp_path / "m.data-00000-of-00001").write_bytes(LFS)
    found = problems(run, tmp_path / "m")
    assert {each["key"] for each in found} == {"small", "large"}
    assert {each["cause"] for each in found} == {LFS_CAUSE}


def test_a_git_lfs_pointer_in_place_of_the_index(run, ckpt):
    (ckpt / INDEX).write_bytes(LFS)
    [found] = problems(run, ckpt / "m")
    assert (found["kind"], found["key"], found["path"]) == ("index", None, str(ckpt / INDEX))
    assert found["message"].endswith(f": {LFS_CAUSE}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda data: data[:-1],
            r"not a table: magic number 0x[0-9a-f]{16}, expected 0xdb4775248b80fb57: it was cut short, or is something else",
        ),
        (lambda data: data[:30], r"30 bytes, too short for a table \(its footer takes 48\)"),
        (lambda data: b"", r"0 bytes, too short for a table \(its footer takes 48\)"),
        (lambda data: bytes(len(data)), r"not a table: all zeros: these bytes were never written"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], r"data block 0: crc32c stored \w{8}, computed \w{8}"),
    ],
    ids=["cut", "short", "empty", "zeros", "bit"],
)
def test_an_index_that_can_not_be_opened(run, ckpt, damage, message):
    (ckpt / INDEX).write_bytes(damage((ckpt / INDEX).read_bytes()))
    [found] = problems(run, ckpt / "m")
    assert (found["severity"], found["kind"], found["path"]) == ("error", "index", str(ckpt / INDEX))
    assert re.fullmatch(message, found["message"])
    assert run("verify", ckpt / "m", "--json", status=1).records[-1] == {
        "prefix": str(ckpt / "m"),
        "tensors": 0,
        "bytes": 0,
        "problems": 1,
    }


def many_blocks(directory):
    """A checkpoint whose index has several blocks: long keys."""
    keys = [f"{number:02d}{'x' * 60_000}" for number in range(16)]
    with tb.create(directory / "m") as writer:
        for number, key in enumerate(keys):
            writer.add(key, np.full(10, number, np.float32))
    with tb.open(directory / "m") as ckpt:
        blocks = [[key for key, _ in ckpt.index.table.block_items(number)] for number in range(4)]
        return keys, blocks, ckpt.index.table.handles


@pytest.mark.parametrize("number", [1, 2])
def test_a_bad_index_block_does_not_hide_the_others(run, tmp_path, number):
    keys, blocks, handles = many_blocks(tmp_path)
    assert sum(map(len, blocks)) >= 16
    flip(tmp_path / INDEX, handles[number].offset + 100)
    fill(
        tmp_path / "m.data-00000-of-00001", 600, 604, b"\xff"
    )  # in the last tensor, which is in the last block
    found = problems(run, tmp_path / "m")
    block = rf"data block {number}: crc32c stored \w{{8}}, computed \w{{8}}"
    check(
        found,
        (
            "error",
            "index",
            None,
            INDEX,
            handles[number].offset,
            block,
            flipped(6, handles[number].offset + 100),
        ),
        ("error", "checksum", keys[15], "m.data-00000-of-00001", 600, crc(40), CHANGED),
    )
    assert verify(tmp_path / "m").tensors == 16 - len(blocks[number])


def test_the_first_index_block_does_not_hide_the_others(run, tmp_path):
    """It holds the header, yet the number of data shards is in their names too."""
    _, blocks, handles = many_blocks(tmp_path)
    flip(tmp_path / INDEX, handles[0].offset + 100)
    problems(run, tmp_path / "m")
    assert verify(tmp_path / "m").tensors == 16 - (len(blocks[0]) - 1)


def test_bytes_of_an_index_that_are_in_no_block(run, ckpt):
    data = (ckpt / INDEX).read_bytes()
    (ckpt / INDEX).write_bytes(data[:-FOOTER_BYTES] + b"junk" + data[-FOOTER_BYTES:])
    check(
        problems(run, ckpt / "m"),
        ("warning", "index", None, INDEX, len(data) - FOOTER_BYTES, "4 bytes are in no block", CHANGED),
    )


@pytest.fixture
def raw(ckpt):
    """The entries and data of the checkpoint, and a function that writes them changed."""
    with tb.open(ckpt / "m") as opened:
        entries = dict(opened.index.raw_entries())
    data = [(ckpt / name).read_bytes() for name in (FIRST, SECOND)]

    def rewrite(changed, header=None):
        return write_bundle(ckpt / "m", {**entries, **changed}, data, header)

    return entries, rewrite


def test_a_size_that_does_not_fit_the_shape(run, raw):
    entries, rewrite = raw
    prefix = rewrite({b"c": entries[b"c"]._replace(shape=(99,)), b"b": entries[b"b"]._replace(nbytes=9)})
    check(
        problems(run, prefix),
        ("error", "size", "b", FIRST, 4000, r"9 bytes stored, int64 \[\] takes 8", IMPOSSIBLE),
        ("error", "size", "c", SECOND, 0, r"800 bytes stored, float64 \[99\] takes 792", IMPOSSIBLE),
    )


def test_entries_that_can_not_be_read(run, raw):
    _, rewrite = raw
    prefix = rewrite(
        {
            b"bad": b"\x08\x01\xff",
            b"odd": b"\x08\x7f",
            b"below": b"\x08\x03\x12\x00\x20" + b"\xff" * 9 + b"\x01",
        }
    )
    found = problems(run, prefix)
    assert [(each["kind"], each["key"]) for each in found] == [
        ("entry", key) for key in ("bad", "below", "odd")
    ]
    assert {each["path"] for each in found} == {f"{prefix}.index"}
    assert found[2]["message"] == "data type number 127 is not one that a checkpoint stores"
    assert verify(prefix).tensors == 6  # the others


def test_a_shard_that_the_header_does_not_count(run, raw):
    entries, rewrite = raw
    prefix = rewrite({b"b": entries[b"b"]._replace(shard=5)})
    check(
        problems(run, prefix),
        (
            "error",
            "missing-shard",
            None,
            "m.data-00005-of-00002",
            None,
            r"data shard 5 of 2; 1 tensors are stored in it, 'b' first",
            IMPOSSIBLE,
        ),
    )


def test_a_wrong_number_of_shards_in_the_header(run, raw):
    _, rewrite = raw
    prefix = rewrite({}, BundleHeader(3))
    found = problems(run, prefix)
    assert [(each["kind"], each["path"]) for each in found] == [
        ("missing-shard", f"{prefix}.data-0000{number}-of-00003") for number in (0, 1)
    ]


def test_an_empty_tensor_with_a_checksum(run, tmp_path):
    prefix = write_bundle(tmp_path / "m", {b"a": plain("float32", [0], b"")._replace(crc32c=5)}, [b"abcd"])
    [found] = problems(run, prefix)
    assert (found["kind"], found["key"]) == ("checksum", "a")
    assert found["cause"] != NEVER_WRITTEN  # there is nothing that could have been written


def test_orphan_slices(run, raw):
    entries, rewrite = raw
    orphan = tb.TensorSlice.parse_spec("0,2:-").key(b"gone")
    prefix = rewrite({orphan: entries[SLICES[0].key(b"parts")]})
    check(
        problems(run, prefix),
        (
            "warning",
            "orphan-slice",
            "gone[0,2:-]",
            INDEX,
            None,
            "a slice that no tensor lists",
            "its tensor was renamed or removed without it",
        ),
    )


@pytest.mark.parametrize(
    ("listed", "stored", "message"),
    [
        ("0,2:-", {}, r"its slices hold 6 of the 12 elements wanted"),
        ("0,2:- 1,2:-", {}, r"slices 0 and 1 overlap"),
        ("0,2:- 0,2:-", {}, r"slices 0 and 1 overlap"),
        ("0,2:- 2,3:-", {}, r"slice 2,3:- reaches outside the shape \[4, 3\]"),
        ("0,2:- 2,2:-:-", {}, r"slice 2,2:-:- has 3 dimensions, the tensor has 2"),
        ("0,2:- 2,2:-", {"2,2:-": None}, r"slice 2,2:- is listed, but its entry is missing"),
        (
            "0,2:- 2,2:-",
            {"2,2:-": "int32"},
            r"slice 2,2:- is stored as int32 \[2, 3\], expected float32 \[2, 3\]",
        ),
    ],
    ids=["hole", "overlap", "twice", "outside", "rank", "missing", "dtype"],
)
def test_slices_that_do_not_fit(run, tmp_path, listed, stored, message):
    """Built entry by entry, as the writer would not."""
    slices = {spec: tb.TensorSlice.parse_spec(spec) for spec in listed.split()}
    data = bytes(range(24))
    with BundleWriter(str(tmp_path / "m")) as writer:
        number, shard = writer.add_shard()
        offset, _, _ = append_bytes(shard, [data])
        whole = tuple(slices[spec] for spec in listed.split())
        writer.put(b"parts", TensorEntry(tb.DType.float32, (4, 3), 0, slices=whole))
        for spec, part in slices.items():
            dtype = stored.get(spec, "float32")
            if dtype is not None:
                writer.put(part.key(b"parts"), plain(dtype, [2, 3], data, offset=offset, shard=number))
    cause = cause_line("missing-slices") if "hold" in message else None
    check(problems(run, tmp_path / "m"), ("error", "slices", "parts", INDEX, None, message, cause))


def with_graph(directory, value, *keys):
    with tb.create(directory / "m") as writer:
        for key in keys:
            writer.add(key, np.float32(len(key)))
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", value)
    return directory / "m"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"\xff\xff", r"not an object graph: .*"),
        (b"", r"an object graph without nodes"),
        (bytes.fromhex("0a04 0a02 0807"), r"object graph node 0: child '' is node 7, there are 1"),
        (np.float32([1, 2]), r"2 values of float32, expected one string"),
        (np.array([], object), r".*"),
        (np.array([b"\x0a\x00", b"x"], object), r"2 values of .*, expected one string"),
    ],
    ids=["garbage", "empty", "edge", "numbers", "none", "two"],
)
def test_a_graph_that_is_none(run, tmp_path, value, message):
    prefix = with_graph(tmp_path, value)
    [found] = problems(run, prefix)
    assert (found["severity"], found["kind"]) == ("error", "graph")
    assert found["key"] == "_CHECKPOINTABLE_OBJECT_GRAPH"
    assert re.fullmatch(message, found["message"])


def test_a_graph_whose_bytes_are_damaged_is_told_once(run, tmp_path):
    prefix = with_graph(
        tmp_path,
        tb.ObjectGraph.from_names(["a"], save_counter=False).encode(),
        "vars/a/.ATTRIBUTES/VARIABLE_VALUE",
    )
    path = tmp_path / "m.data-00000-of-00001"
    flip(path, path.stat().st_size - 5)
    [found] = problems(run, prefix)
    assert (found["kind"], found["key"]) == ("checksum", "_CHECKPOINTABLE_OBJECT_GRAPH")


def test_keys_in_the_graph(run, tmp_path):
    root = Node()
    for name, key in {"there": "k", "same": "k", "gone": "lost"}.items():
        root.children[name] = Node(attributes=[Attribute("VARIABLE_VALUE", name, key)])
    root.children["other"] = Node(attributes=[Attribute("STATE", "", "no variable's")])
    prefix = with_graph(tmp_path, np.array(ObjectGraph(root).encode(), object), "k")
    check(
        problems(run, prefix),
        (
            "warning",
            "shared-key",
            "k",
            INDEX,
            None,
            "objects 'there' and 'same' share one key; TensorFlow restores only one of them",
            None,
        ),
        (
            "warning",
            "dangling-key",
            "lost",
            INDEX,
            None,
            "object 'gone' names this key, which is not in the index",
            "a variable was not initialised when it was saved, or its tensor was removed",
        ),
    )


def test_several_problems_at_once(run, raw, ckpt):
    entries, rewrite = raw
    orphan = tb.TensorSlice.parse_spec("0,2:-").key(b"gone")
    rewrite(
        {
            orphan: entries[SLICES[1].key(b"parts")],
            b"bad": b"\x08\x7f",
            b"words": entries[b"words"]._replace(crc32c=7),
        }
    )
    flip(ckpt / FIRST, 17)
    fill(ckpt / SECOND, 820, 848, b"")
    found = problems(run, ckpt / "m")
    slices = map(slice_key, SLICES)
    assert {(each["kind"], each["key"]) for each in found} == {
        ("entry", "bad"), ("checksum", "a"), ("checksum", "words"), ("orphan-slice", "gone[0,2:-]"),
        *(("truncated", each) for each in (*slices, "gone[0,2:-]")),
    }  # fmt: skip
    assert len(found) == 7


def test_aliases_are_read_once(run, tmp_path):
    data = np.float32([1, 2]).tobytes()
    entry = plain("float32", [2], data)
    prefix = write_bundle(
        tmp_path / "m", {b"a": entry, b"b": entry, b"c": entry._replace(shape=(2, 1))}, [data]
    )
    assert run("verify", prefix, "--json").records == [
        {"prefix": prefix, "tensors": 3, "bytes": 8, "problems": 0}
    ]


def test_bytes_that_nothing_needs_are_no_problem(run, ckpt):
    for name in (FIRST, SECOND):
        with (ckpt / name).open("ab") as file:
            file.write(b"more")
    assert run("verify", ckpt / "m", "--json").records[-1]["problems"] == 0


def test_big_tensors_are_read_in_pieces(run, tmp_path, monkeypatch):
    """Strings with more lengths than a buffer has bytes, and numbers that many buffers hold."""
    monkeypatch.setattr("tensorbundle.tools.operations.inspecting.zeros.BUFFER_BYTES", 1 << 14)
    with tb.create(tmp_path / "m") as writer:
        writer.add("words", np.array([b"x" * (number % 5) for number in range(40_000)], object))
        writer.add("numbers", np.random.default_rng(3).random(20_000))
    assert verify(tmp_path / "m").problems == []
    path = tmp_path / "m.data-00000-of-00001"
    flip(path, path.stat().st_size - 1)
    assert [each["key"] for each in problems(run, tmp_path / "m")] == ["numbers"]


def test_a_missing_checkpoint_could_not_be_verified(run, tmp_path):
    message = run.error("verify", tmp_path / "nope")
    assert (
        message
        == f"{tmp_path / 'nope'}: no checkpoint of this name (nope.index does not exist); no checkpoint is there"
    )


def test_nothing_is_changed(run, ckpt):
    flip(ckpt / FIRST, 3)
    before = snapshot(ckpt)
    problems(run, ckpt / "m")
    assert snapshot(ckpt) == before


def test_several_checkpoints(run, ckpt, tmp_path):
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", seed=2)
    flip(tmp_path / "other" / FIRST, 3)
    output = run("verify", ckpt / "m", tmp_path / "other/m", tmp_path / "none", "--json", status=2)
    first, problem, second, error = output.records
    assert (error["error"], error["path"]) == ("missing-file", str(tmp_path / "none"))
    assert (first["prefix"], first["problems"]) == (str(ckpt / "m"), 0)
    assert problem["prefix"] == second["prefix"] == str(tmp_path / "other/m")
    assert output.err.startswith(f"tensorbundle verify: {tmp_path / 'none'}: no checkpoint of this name")
    assert output.err == run("verify", ckpt / "m", tmp_path / "none", "--json", "--quiet", status=2).err
    assert run("verify", ckpt / "m", tmp_path / "other/m", status=1).out.count("checked") == 2
    assert "which checkpoint?" in run.error("verify")


def test_a_directory_and_its_state_file(run, ckpt):
    (ckpt / "checkpoint").write_text(
        'model_checkpoint_path: "m"\nall_model_checkpoint_paths: "gone"\nall_model_checkpoint_paths: "m"\n'
    )
    *found, summary = run("verify", ckpt, "--json", status=1).records
    assert [(each["kind"], each["severity"], each["path"]) for each in found] == [
        ("state-file", "warning", str(ckpt / "checkpoint"))
    ]
    assert "'gone', which is not there" in found[0]["message"]
    assert summary["prefix"] == str(ckpt / "m")
    assert f"{ckpt / 'm'}: 6 tensors" in run("verify", ckpt, status=1).out
    (ckpt / "n.index").write_bytes(b"nothing")
    records = run("verify", "--all", ckpt, "--json", status=1).records
    assert [each["prefix"] for each in records if "tensors" in each] == [str(ckpt / "m"), str(ckpt)]
    (ckpt / "checkpoint").write_text("nonsense")
    [trouble] = [each for each in run("verify", "--all", ckpt, "--json", status=1).records if "kind" in each]
    assert (trouble["kind"], trouble["severity"]) == ("state-file", "error")


def test_every_checkpoint_of_a_directory(run, ckpt):
    with tb.create(ckpt / "n") as writer:
        writer.add("x", np.zeros(3))
    flip(ckpt / FIRST, 4003)
    reports = list(verify_all(ckpt))
    assert [(each.prefix, len(each.problems)) for each in reports] == [
        (str(ckpt / "m"), 1),
        (str(ckpt / "n"), 0),
    ]
    assert run("verify", "--all", ckpt, "--quick").out.count("index and layout checked: no problems") == 2


def test_a_directory_without_checkpoints(run, tmp_path):
    (tmp_path / "below").mkdir()
    assert run.error("verify", "--all", tmp_path) == f"{tmp_path}: no checkpoint in this directory"
    write(tmp_path / "below")
    assert run.error("verify", "--all", tmp_path) == f"{tmp_path}: no checkpoint in this directory"


def test_quick_reads_no_data(run, ckpt, monkeypatch):
    flip(ckpt / FIRST, 4003)

    def refuse(*args, **options):
        raise AssertionError("data is read")

    monkeypatch.setattr("tensorbundle.tools.operations.inspecting.shard_checks.checked", refuse)
    assert run("verify", ckpt / "m", "--quick").out == "index and layout checked: no problems\n"
    fill(ckpt / FIRST, 3000, 4025, b"")
    assert {each.kind for each in verify(ckpt / "m", quick=True).problems} == {"truncated"}


def test_overlaps_are_problems_and_dead_bytes_are_none(run, tmp_path):
    data = np.arange(6, dtype="f4").tobytes()
    entries = {
        b"a": plain("float32", [3], data[:12]),
        b"b": plain("float32", [2], data[8:16], offset=8),
        b"c": plain("float32", [2], data[8:16], offset=8),
    }
    prefix = write_bundle(tmp_path / "m", entries, [data])
    check(
        problems(run, prefix),
        ("warning", "overlap", "b", "m.data-00000-of-00001", 8, "4 of its bytes are also those of 'a'", None),
    )
    report = verify(prefix)
    assert (report.dead_bytes, report.aliases) == (8, 1)
    text = run("verify", prefix, status=1).out.splitlines()[-1]
    assert text.endswith("1 problem; 8 B that no tensor refers to; 1 tensor shares bytes with another")


def test_a_newer_version(run, ckpt):
    header = BundleHeader(2, min_consumer=2).encode()
    with tb.open(ckpt / "m") as opened:
        entries = dict(opened.index.raw_entries())
    write_bundle(ckpt / "m", entries, header=header)
    [found] = problems(run, ckpt / "m")
    assert (found["kind"], found["cause"]) == (
        "version",
        "it was written by, or for, a newer version of TensorFlow",
    )


def test_objects_that_nothing_leads_to_and_tensors_that_no_object_names(run, tmp_path):
    graph = ObjectGraph.from_names(["a"], save_counter=False)
    lost = Node(attributes=[Attribute("VARIABLE_VALUE", "b", "b")])
    graph.nodes.append(lost)
    with tb.create(tmp_path / "m") as writer:
        for node in graph.nodes:
            for each in node.attributes:
                writer.add(each.checkpoint_key, np.int32(1))
        writer.add("c", np.int32(1))
        graph_bytes = encode_nodes(graph.nodes)
        writer.add("_CHECKPOINTABLE_OBJECT_GRAPH", graph_bytes)
    found = problems(run, tmp_path / "m")
    assert [(each["kind"], each["key"]) for each in found] == [
        ("unreachable-node", "_CHECKPOINTABLE_OBJECT_GRAPH"),
        ("unnamed-key", "c"),
    ]


def test_a_file_is_told_one_thing_of(run, tmp_path):
    """What its name says is not followed by what its bytes seem to say."""
    (tmp_path / "saved_model.pb").write_bytes(b"short")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for name, reason in (
        ("saved_model.pb", f"offset 0x0: the graph of a SavedModel: give its directory, '{tmp_path}'"),
        ("m.keras", "no member 'model.weights.h5': not a Keras model"),
    ):
        first = run("verify", tmp_path / name, status=1).out.splitlines()[0]
        assert first == f"error: index: {tmp_path / name}: {reason}"
