"""Bundles with one fault each: all cases of malformed checkpoints that TensorFlow was tried with, and what is said of them.

`python tests/support/faulty_files.py DIR` writes them, each as `DIR/NAME/m`. Everything is encoded here, by hand: numbers that
no encoder of the package writes, such as negative sizes, are part of the cases.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crc32c import crc32c

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CASES", "Case", "Files"]

FLOAT, INT32, STRING = 1, 3, 7
GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A message of protobuf: numbers as varints, bytes after their size."""
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def block(items: Sequence[tuple[bytes, bytes]], restarts: bytes | None = None) -> bytes:
    """A block without shared prefixes, and with one restart point."""
    body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in items)
    return body + (struct.pack("<II", 0, 1) if restarts is None else restarts)


def shape(*sizes: int) -> bytes:
    return message(*((2, message((1, size))) for size in sizes))


def cut(*extents: tuple[int, int]) -> bytes:
    """A slice: starts and lengths."""
    return message(*((1, message((1, start), (2, length))) for start, length in extents))


@dataclass(frozen=True)
class Entry:
    """An entry of an index: what it says, and the bytes that its checksum is of."""

    dtype: int
    dims: bytes
    offset: int
    data: bytes
    size: int | None = None
    shard: int = 0
    slices: tuple[bytes, ...] = ()
    crc: bytes | None = None

    def encode(self) -> bytes:
        size = len(self.data) if self.size is None else self.size
        fields: list[tuple[int, int | bytes]] = [(1, self.dtype), (2, self.dims)]
        fields += [(3, self.shard)] * bool(self.shard) + [(4, self.offset)] * bool(self.offset)
        fields += [(5, size)] * bool(size) + [(7, each) for each in self.slices]
        checksum = b"" if self.slices else b"\x35" + (self.crc or masked(self.data))
        return message(*fields) + checksum


def strings(*values: bytes, lengths: Sequence[int] | None = None) -> tuple[bytes, bytes]:
    """The bytes of a tensor of strings, and the checksum that its entry has."""
    sizes = [len(each) for each in values] if lengths is None else lengths
    fixed = b"".join(struct.pack("<I" if size < 2**32 else "<Q", size) for size in sizes)
    check = masked(fixed)
    data = b"".join(map(varint, sizes)) + check + b"".join(values)
    return data, masked(fixed + check + b"".join(values))


A = struct.pack("<6f", *range(6))
B = struct.pack("<3i", 7, 8, 9)
S, S_CRC = strings(b"hello", b"world")
PART = struct.pack("<2f", 1, 2)
# Extents in order-preserving code: start and length of each dimension (`TensorSlice.key`).
FIRST, SECOND = cut((0, 1), (0, 2)), cut((1, 1), (0, 2))


def slice_key(name: bytes, *extents: tuple[int, int]) -> bytes:
    def signed(value: int) -> bytes:
        return bytes([0x80 + value])  # of small numbers

    def number(value: int) -> bytes:
        return b"\x01" + bytes([value]) if value else b"\0"

    dims = b"".join(signed(start) + signed(length) for start, length in extents)
    return number(0) + name + b"\0\x01" + number(len(extents)) + dims


ENTRIES = {
    b"a": Entry(FLOAT, shape(6), 0, A),
    b"b": Entry(INT32, shape(3), 24, B),
    b"p": Entry(FLOAT, shape(2, 2), 0, b"", slices=(FIRST, SECOND)),
    b"s": Entry(STRING, shape(2), 36, S, crc=S_CRC),
    slice_key(b"p", (0, 1), (0, 2)): Entry(FLOAT, shape(1, 2), 52, PART),
    slice_key(b"p", (1, 1), (0, 2)): Entry(FLOAT, shape(1, 2), 60, PART),
}
LAST_SLICE = slice_key(b"p", (1, 1), (0, 2))
VERSION = message((1, 1))


@dataclass
class Files:
    """A bundle in parts.

    Attributes:
        items: keys and values in the order in which they are written, the header first.
        data: the only data shard; None if it is missing.
        blocks: how many data blocks the items are divided into.
        kinds: the compression type that each data block claims.
        restarts: the end of the first data block.
        handles: of data blocks, as they are written instead of the right ones.
        body: the first data block, instead of the one that the items make.
        damage: changes the whole index.
    """

    items: list[tuple[bytes, bytes]]
    data: bytes | None = A + B + S + PART + PART
    blocks: int = 1
    kinds: dict[int, int] = field(default_factory=dict)
    restarts: bytes | None = None
    handles: dict[int, bytes] = field(default_factory=dict)
    body: bytes | None = None
    damage: Callable[[bytes], bytes] = bytes

    @classmethod
    def of(
        cls,
        entries: dict[bytes, Entry | bytes],
        header: bytes | None = message((1, 1), (3, VERSION)),
        **parts: object,
    ) -> Files:
        values = {key: each if isinstance(each, bytes) else each.encode() for key, each in entries.items()}
        items = [] if header is None else [(b"", header)]
        return replace(cls(items + sorted(values.items())), **parts)  # type: ignore[arg-type]

    def index(self) -> bytes:
        out, listed = b"", []
        size = -(-len(self.items) // self.blocks)
        for number in range(self.blocks):
            some = self.items[number * size : (number + 1) * size]
            content = block(some, None if number else self.restarts)
            content = self.body if self.body is not None and not number else content
            listed.append((some[-1][0], self.handles.get(number, varint(len(out)) + varint(len(content)))))
            content += bytes([self.kinds.get(number, 0)])
            out += content + masked(content)
        meta = block([]) + b"\0"
        index = block(listed) + b"\0"
        footer = varint(len(out)) + varint(len(meta) - 1)
        footer += varint(len(out) + len(meta) + 4) + varint(len(index) - 1)
        out += meta + masked(meta) + index + masked(index)
        return self.damage(out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57))

    def write(self, directory: Path) -> Path:
        """Write it to a directory, which is made; returns its prefix."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "m.index").write_bytes(self.index())
        if self.data is not None:
            (directory / "m.data-00000-of-00001").write_bytes(self.data)
        return directory / "m"


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        files: the bundle.
        error: a regular expression in what reading all of it says; None if it is read as it is.
        kind: of the first problem that `verify` finds; None if there is none.
    """

    files: Files
    error: str | None
    kind: str | None


CASES: dict[str, Case] = {}


def case(name: str, files: Files, error: str | None, kind: str | None) -> None:
    CASES[name] = Case(files, error, kind)


def changed(key: bytes, **fields: object) -> Files:
    """The bundle with one entry changed."""
    return Files.of({**ENTRIES, key: replace(ENTRIES[key], **fields)})  # type: ignore[arg-type]


def flipped(place: int) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]

    return flip


SOUND = Files.of(ENTRIES)
DATA = SOUND.data or b""
THREE = Files.of(ENTRIES, blocks=3)

# The table
case("sound", SOUND, None, None)
case("several blocks", THREE, None, None)
case(
    "index of 47 bytes",
    replace(SOUND, damage=lambda data: data[-47:]),
    "47 bytes, too short for a table",
    "index",
)
case("index is empty", replace(SOUND, damage=lambda data: b""), "0 bytes, too short for a table", "index")
case("bad magic number", replace(SOUND, damage=flipped(-1)), "not a table: magic number", "index")
case("front is cut off", replace(SOUND, damage=lambda data: data[10:]), "index block", "index")
case("end is cut off", replace(SOUND, damage=lambda data: data[:-10]), "not a table: magic number", "index")
case("index block is damaged", replace(SOUND, damage=flipped(-60)), "index block: crc32c stored", "index")
case("first block is damaged", replace(THREE, damage=flipped(20)), "data block 0: crc32c stored", "index")
case("last block is damaged", replace(THREE, damage=flipped(200)), "data block 2: crc32c stored", "index")
case("unknown block type", replace(SOUND, kinds={0: 2}), "compression type 2, only 0", "index")
case("not snappy", replace(SOUND, kinds={0: 1}), "data block 0", "index")
case(
    "snappy bomb",
    replace(SOUND, body=varint(1 << 31) + b"\xfe\1\0" * 40, kinds={0: 1}),
    "claims|times as many|expand",
    "index",
)
case("handle of a huge size", replace(SOUND, handles={0: varint(0) + varint(2**64 - 5)}), "claims", "index")
case(
    "handle of 32 TiB",
    replace(SOUND, handles={0: varint(0) + varint(2**45)}),
    "claims 35184372088832 bytes",
    "index",
)
case(
    "handle past the end",
    replace(SOUND, handles={0: varint(2**20) + varint(9)}),
    "the blocks end at",
    "index",
)
case("handle is no handle", replace(SOUND, handles={0: b"\xff" * 11 + b"\1"}), "varint", "index")
case(
    "keys twice",
    replace(SOUND, items=[*SOUND.items[:2], *SOUND.items[1:]]),
    "not after|ascend|order",
    "index",
)
case(
    "keys not in order",
    replace(SOUND, items=[SOUND.items[0], *reversed(SOUND.items[1:])]),
    "not after|ascend|order",
    "index",
)
case("restarts beyond the block", replace(SOUND, restarts=struct.pack("<II", 0, 2**30)), "restart", "index")
case("no restarts", replace(SOUND, restarts=struct.pack("<I", 0)), "restart", "index")
case(
    "key shares too much",
    replace(SOUND, body=b"\5\1\0a" + struct.pack("<II", 0, 1)),
    "prefix|shares|shared",
    "index",
)
case(
    "value beyond the block", replace(SOUND, body=b"\0\0\x7fab" + struct.pack("<II", 0, 1)), "block", "index"
)

# The header
case("no header", Files.of(ENTRIES, header=None), "header", "index")
case("header is empty", Files.of(ENTRIES, header=b""), "shards", "index")
case("header is no message", Files.of(ENTRIES, header=b"\xff"), "varint|message", "index")
case("no shards", Files.of(ENTRIES, header=message((1, 0), (3, VERSION))), "shards", "index")
case("fewer than no shards", Files.of(ENTRIES, header=message((1, -1), (3, VERSION))), "shards", "index")
case("too many shards", Files.of(ENTRIES, header=message((1, 2**31 - 1), (3, VERSION))), "shards", "index")
case(
    "more shards",
    Files.of(ENTRIES, header=message((1, 2), (3, VERSION))),
    "data shard 0 is missing",
    "missing-shard",
)
case(
    "min consumer 2",
    Files.of(ENTRIES, header=message((1, 1), (3, message((1, 2), (2, 2))))),
    "excludes readers of version 1",
    "version",
)
case(
    "producer -1",
    Files.of(ENTRIES, header=message((1, 1), (3, message((1, -1))))),
    "excludes readers of version 1",
    "version",
)
case(
    "bad consumer 1",
    Files.of(ENTRIES, header=message((1, 1), (3, message((1, 1), (3, 1))))),
    "excludes readers of version 1",
    "version",
)
case("unknown byte order", Files.of(ENTRIES, header=message((1, 1), (2, 2), (3, VERSION))), None, None)
case(
    "wrong byte order",
    Files.of(ENTRIES, header=message((1, 1), (2, 1), (3, VERSION))),
    "key 's'",
    "checksum",
)

# Entries
case("entry is no message", Files.of({**ENTRIES, b"a": b"\x08\x01\xff"}), "key 'a'", "entry")
case("entry is empty", Files.of({**ENTRIES, b"a": b""}), "key 'a'.*data type number 0", "entry")
case(
    "varint of 11 bytes",
    Files.of({**ENTRIES, b"a": b"\x08" + b"\xff" * 10 + b"\1"}),
    "key 'a'.*varint",
    "entry",
)
case("dtype 0", changed(b"a", dtype=0), "key 'a'.*data type number 0", "entry")
case("dtype of a reference", changed(b"a", dtype=101), "key 'a'.*data type number 101", "entry")
case("dtype unknown", changed(b"a", dtype=57), "key 'a'.*data type number 57", "entry")
case("dtype of a resource", changed(b"a", dtype=20), "values of type resource can't be NumPy arrays", None)
case("dtype of another size", changed(b"a", dtype=2), "24 bytes stored, float64 .* takes 48", "size")
case("dtype of the same size", changed(b"a", dtype=INT32), None, None)
case("negative dimension", changed(b"a", dims=shape(-6)), "key 'a'.*dimension of -6 elements", "entry")
case("shape overflows", changed(b"a", dims=shape(2**40, 2**40)), "takes 4835703278458516698824704", "shape")
case(
    "255 dimensions",
    changed(b"a", dims=shape(*[1] * 254, 6)),
    "shape of 255 dimensions, at most 254",
    "entry",
)
case("254 dimensions", changed(b"a", dims=shape(*[1] * 253, 6)), "NumPy can't have", "shape")
case("2**50 elements", changed(b"a", dims=shape(2**50)), "takes 4503599627370496", "size")
case(
    "empty and huge",
    Files.of({b"a": Entry(FLOAT, shape(0, 2**62, 2**62), 0, b"")}),
    "NumPy can't have",
    "shape",
)
case("unknown rank", changed(b"a", dims=message((3, 1))), "24 bytes stored, float32 .* takes 4", "size")
case("offset -8", changed(b"a", offset=-8), "negative number: shard 0, offset -8", "entry")
case("offset 2**63 - 1", changed(b"a", offset=2**63 - 1), "24 bytes wanted, the file ends at 68", "truncated")
case("offset past the end", changed(b"a", offset=100), "24 bytes wanted, the file ends at 68", "truncated")
case("size too small", changed(b"a", size=20), r"20 bytes stored, float32 \[6\] takes 24", "size")
case("size too large", changed(b"a", size=28), r"28 bytes stored, float32 \[6\] takes 24", "size")
case("size 0", changed(b"a", size=0), r"0 bytes stored, float32 \[6\] takes 24", "size")
case("size -1", changed(b"a", size=-1), "negative number: shard 0, offset 0, -1 bytes", "entry")
case("shard 5 of 1", changed(b"a", shard=5), "data shard 5 of 1", "missing-shard")
case("shard -1", changed(b"a", shard=-1), "negative number: shard -1", "entry")
case("wrong checksum", changed(b"a", crc=b"abcd"), "key 'a': crc32c of 24 bytes: stored", "checksum")

# Strings
case("strings in too few bytes", changed(b"s", size=1), "2 strings can't fit in 1 bytes", "size")
case("strings in fewer bytes", changed(b"s", size=12), "key 's'", "checksum")
case("strings in more bytes", changed(b"s", size=18), "key 's'", "overlap")
case("more strings", changed(b"s", dims=shape(3)), "key 's'", "checksum")
case("2**40 strings", changed(b"s", dims=shape(2**40)), "1099511627776 strings can't fit in 16 bytes", "size")
case("lengths are damaged", replace(SOUND, data=flipped(36)(DATA)), "key 's'", "checksum")
case("checksum of lengths is damaged", replace(SOUND, data=flipped(39)(DATA)), "key 's'", "checksum")
case("a string is damaged", replace(SOUND, data=flipped(45)(DATA)), "key 's': crc32c of 16 bytes", "checksum")
HUGE, HUGE_CRC = strings(b"x", lengths=[2**50])
case(
    "length 2**50",
    Files.of({b"s": Entry(STRING, shape(1), 0, HUGE, crc=HUGE_CRC)}, data=HUGE),
    "key 's'",
    "checksum",
)

# Data
case("data is damaged", replace(SOUND, data=flipped(3)(DATA)), "key 'a': crc32c of 24 bytes", "checksum")
case("data is cut off", replace(SOUND, data=DATA[:30]), "12 bytes wanted, the file ends at 30", "truncated")
case("data is empty", replace(SOUND, data=b""), "24 bytes wanted, the file ends at 0", "truncated")
case("data is missing", replace(SOUND, data=None), "data shard 0 is missing", "missing-shard")

# Slices
case("slice twice", changed(b"p", slices=(FIRST, FIRST, SECOND)), "key 'p'", "slices")
case(
    "slice is missing",
    Files.of({key: each for key, each in ENTRIES.items() if key != LAST_SLICE}),
    "is listed, but its entry is missing",
    "slices",
)
case("slice outside", changed(b"p", slices=(FIRST, cut((1, 9), (0, 2)))), "key 'p'", "slices")
case("slice of another rank", changed(b"p", slices=(FIRST, cut((1, 1)))), "key 'p'", "slices")
case("slice begins before", changed(b"p", slices=(FIRST, cut((-1, 1), (0, 2)))), "key 'p'", "entry")
case("slice of negative length", changed(b"p", slices=(FIRST, cut((1, -1), (0, 2)))), "key 'p'", "entry")
case("slices leave a hole", changed(b"p", slices=(FIRST,)), "key 'p'", "slices")
case("slice of another type", changed(LAST_SLICE, dtype=INT32), "is stored as int32", "slices")
case("slice of another shape", changed(LAST_SLICE, dims=shape(2)), "is stored as float32", "slices")


def main() -> None:
    """Write every case to the directory that is given."""
    for name, each in CASES.items():
        print(each.files.write(Path(sys.argv[1]) / name.replace(" ", "-")))


if __name__ == "__main__":
    main()
