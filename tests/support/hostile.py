"""Small files that cost much, or try to: each is made at any size, of up to a megabyte.

`INPUTS` has them by name. Each grows in proportion to `count`, so that a test can count how work grows with it;
at `full` it takes about a megabyte, index and data together. `command_lines` gives every command that can be asked about one.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cramjam
import numpy as np

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.v1_files import item, saved, snappy_table, v1_bytes
from tensorbundle import coding
from tensorbundle.block import BlockBuilder
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.payloads import encode_strings
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.table import BlockHandle, Footer
from tensorbundle.v1.saved_slices import encode_meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = ["INPUTS", "Input", "command_lines", "write_model"]

_KEY = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(frozen=True)
class Input:
    """A hostile file.

    Attributes:
        make: writes it for a count to a directory, and returns the path to give to commands.
        full: the count for about a megabyte.
        kind: "checkpoint", "directory", "recipe", "map", "structure" or "text": which commands take it.
        key: the name of a tensor in it, for commands that want one.
    """

    make: Callable[[Path, int], Path]
    full: int
    kind: str = "checkpoint"
    key: str = "a"


INPUTS: dict[str, Input] = {}


def _input(
    full: int, kind: str = "checkpoint", key: str = "a"
) -> Callable[[Callable[[Path, int], Path]], None]:
    def add(make: Callable[[Path, int], Path]) -> None:
        INPUTS[make.__name__] = Input(make, full, kind, key)

    return add


def _block(items: Iterable[tuple[bytes, bytes]], interval: int = 16) -> bytes:
    builder = BlockBuilder(interval)
    for key, value in items:
        builder.add(key, value)
    return builder.finish()


def _write_blocks(directory: Path, blocks: Iterable[tuple[bytes, bytes, int]], times: int = 1) -> Path:
    """A bundle whose index has these blocks: a key that is not before theirs, the stored bytes, the kind of compression.

    The last one is listed several times.
    """
    out = bytearray()
    index = BlockBuilder(1)

    def put(block: bytes, compression: int) -> BlockHandle:
        stored = block + bytes([compression])
        handle = BlockHandle(len(out), len(block))
        out.extend(stored + struct.pack("<I", coding.mask(coding.crc32c(stored))))
        return handle

    for key, block, compression in blocks:
        last = put(block, compression).encode()
        index.add(key, last)
    for number in range(times - 1):
        index.add(b"z%08d" % number, last)
    metaindex, handle = put(_block([]), 0), put(index.finish(), 0)
    (directory / "m.index").write_bytes(bytes(out) + Footer(metaindex, handle).encode())
    (directory / "m.data-00000-of-00001").write_bytes(b"")
    return directory / "m"


# Object graphs, as protobuf: what no program that uses `ObjectGraph` can make


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return coding.encode_varint(number << 3) + coding.encode_varint(value)
    return coding.encode_varint(number << 3 | 2) + coding.encode_varint(len(value)) + value


def _node(
    children: Iterable[tuple[str, int]] = (),
    key: str | None = None,
    slots: Iterable[tuple[int, str, int]] = (),
) -> bytes:
    found = [_field(1, _field(1, number) + _field(2, name.encode())) for name, number in children]
    if key is not None:
        names = _field(1, b"VARIABLE_VALUE") + _field(2, key.encode())
        found.append(_field(2, names + _field(3, (key + _KEY).encode())))
    for variable, name, slot in slots:
        found.append(_field(3, _field(1, variable) + _field(2, name.encode()) + _field(3, slot)))
    return _field(1, b"".join(found))


def _with_graph(directory: Path, nodes: Sequence[bytes], tensors: Sequence[str]) -> Path:
    graph = b"".join(nodes)
    head, _, crc = encode_strings([graph])
    data = head + graph
    entry = TensorEntry(DType.string, (), len(data), crc32c=crc)
    entries = {OBJECT_GRAPH_KEY.encode(): entry}
    for key in tensors:
        entries[(key + _KEY).encode()] = plain("float32", [2], bytes(8), offset=len(data))
        data += bytes(8)
    write_bundle(directory / "m", entries, [data])
    return directory / "m"


@_input(90_000)
def deep_chain(directory: Path, count: int) -> Path:
    """Each object hangs on the one before: the paths are quadratic."""
    nodes = [_node([("a", number + 1)]) for number in range(count)]
    return _with_graph(directory, [*nodes, _node(key="a")], ["a"])


@_input(3_000)
def chain(directory: Path, count: int) -> Path:
    """The same as deep as paths may be."""
    nodes = [_node([("a", number + 1)]) for number in range(count)]
    return _with_graph(directory, [*nodes, _node(key="a")], ["a"])


@_input(35_000)
def diamonds(directory: Path, count: int) -> Path:
    """Two ways from each object to the next: exponentially many paths."""
    count //= 35
    nodes = [_node([("a", number + 1), ("b", number + 1)]) for number in range(count)]
    return _with_graph(directory, [*nodes, _node(key="a")], ["a"])


@_input(60_000)
def many_edges(directory: Path, count: int) -> Path:
    """One variable with many names."""
    nodes = [_node([(f"a{number}", 1) for number in range(count)]), _node(key="a")]
    return _with_graph(directory, nodes, ["a"])


@_input(80_000)
def dense_graph(directory: Path, count: int) -> Path:
    """All objects lead to all."""
    side = max(2, int(count**0.5))
    nodes = [_node([(f"c{number}", number) for number in range(side)])] * side
    return _with_graph(directory, nodes, [])


@_input(60_000)
def many_objects(directory: Path, count: int) -> Path:
    """Objects without anything."""
    nodes = [_node([(str(number), number + 1) for number in range(count)])]
    return _with_graph(directory, nodes + [_node()] * count, [])


@_input(300_000)
def many_nodes(directory: Path, count: int) -> Path:
    """Objects that nothing leads to."""
    return _with_graph(directory, [_node()] * count, [])


@_input(15_000, key="w")
def shared_key(directory: Path, count: int) -> Path:
    """Objects that all name one tensor."""
    root = _node([(f"w{number}", number + 1) for number in range(count)])
    return _with_graph(directory, [root] + [_node(key="w")] * count, ["w"])


@_input(100_000, key="w")
def equal_slots(directory: Path, count: int) -> Path:
    """One slot, listed again and again."""
    nodes = [_node([("w", 1), ("opt", 2)]), _node(key="w"), _node(slots=[(1, "m", 3)] * count)]
    slot = "w/.OPTIMIZER_SLOT/opt/m"
    return _with_graph(directory, [*nodes, _node(key=slot)], ["w", slot])


@_input(60_000, key="w")
def many_slots(directory: Path, count: int) -> Path:
    """One slot under many names."""
    slots = [(1, f"m{number}", 3) for number in range(count)]
    slot = "w/.OPTIMIZER_SLOT/opt/m"
    nodes = [_node([("w", 1), ("opt", 2)]), _node(key="w"), _node(slots=slots), _node(key=slot)]
    return _with_graph(directory, nodes, ["w", slot])


@_input(10, key="w")
def slot_with_child(directory: Path, count: int) -> Path:
    """Objects that hang on a slot variable, which TensorFlow does not write."""
    slot = "w/.OPTIMIZER_SLOT/opt/m"
    nodes = [_node([("w", 1), ("opt", 2)]), _node(key="w"), _node(slots=[(1, "m", 3)])]
    nodes += [_node([("extra", 4)], slot), _node(key="extra")]
    return _with_graph(directory, nodes, ["w", slot, "extra"])


# Names and entries


@_input(30_000, key="s1/v")
def many_names(directory: Path, count: int) -> Path:
    """Short names, one scope and one number each: nothing odd but how many they are."""
    data = np.arange(count, dtype=np.float32).tobytes()
    entries = {
        b"s%d/v" % number: plain("float32", [1], data[4 * number : 4 * number + 4], offset=4 * number)
        for number in range(count)
    }
    write_bundle(directory / "m", entries, [data])
    return directory / "m"


@_input(30_000, key="v0")
def many_slots_in_names(directory: Path, count: int) -> Path:
    """Variables with two slots each, by their names alone."""
    names = [f"v{number}{end}" for number in range(count // 3) for end in ("", "/Adam", "/Adam_1")]
    entry = plain("float32", [0], b"")
    write_bundle(directory / "m", {name.encode(): entry for name in names}, [b""])
    return directory / "m"


@_input(20_000, key="v0")
def nameless_slots(directory: Path, count: int) -> Path:
    """Slots, each of which may be any variable's."""
    names = [f"{start}{number}" for number in range(count // 2) for start in ("v", "training/Adam/Variable_")]
    entry = plain("float32", [0], b"")
    write_bundle(directory / "m", {name.encode(): entry for name in names}, [b""])
    return directory / "m"


@_input(5_500, key="v0")
def many_optimizers(directory: Path, count: int) -> Path:
    """Optimizers of which each has a slot of each variable."""
    side = max(2, int(count**0.5))
    names = [*(f"v{number}" for number in range(side)), *(f"o{number}" for number in range(side))]
    slots = [
        [(1 + variable, "m", 1 + 2 * side + optimizer * side + variable) for variable in range(side)]
        for optimizer in range(side)
    ]
    keys = [f"v{variable}/.OPTIMIZER_SLOT/o{each}/m" for each in range(side) for variable in range(side)]
    nodes = [_node([(name, number) for number, name in enumerate(names, 1)])]
    nodes += [_node(key=name) for name in names[:side]]
    nodes += [_node(slots=each) for each in slots]
    return _with_graph(directory, nodes + [_node(key=key) for key in keys], [*names[:side], *keys])


@_input(25_000, key="a0/w")
def same_ends(directory: Path, count: int) -> Path:
    """Each name is that of the other checkpoint's variable in another scope, and all have the same values."""
    entry = plain("float32", [2], bytes(8))
    names = [f"a{number}/w".encode() for number in range(count)]
    write_bundle(directory / "m", dict.fromkeys(names, entry), [bytes(8)])
    return directory / "m"


@_input(1_400, key="a/v")
def many_scopes(directory: Path, count: int) -> Path:
    """Names with up to as many scopes."""
    entries = {b"a/" * (number + 1) + b"v": plain("float32", [0], b"") for number in range(count)}
    write_bundle(directory / "m", entries, [b""])
    return directory / "m"


@_input(20_000, key="f0/a/v")
def deep_scopes(directory: Path, count: int) -> Path:
    """Families of names with hundreds of scopes."""
    entries = {}
    for number in range(count):
        family, depth = divmod(number, 500)
        entries[b"f%d/" % family + b"a/" * (depth + 1) + b"v"] = plain("float32", [0], b"")
    write_bundle(directory / "m", entries, [b""])
    return directory / "m"


@_input(5, key="b")
def long_name(directory: Path, count: int) -> Path:
    """One name of many parts."""
    name = b"a/" * (count * 50_000) + b"v"
    write_bundle(directory / "m", {name: plain("float32", [0], b""), b"b": plain("float32", [0], b"")}, [b""])
    return directory / "m"


@_input(70, key="m")
def long_prefix(directory: Path, count: int) -> Path:
    """Few names of hundreds of scopes and thousands of characters, as many as a small index can list."""
    value = plain("float32", [0], b"").encode()
    start = b"layers/" * (2_000 * count)
    items = [(start + b"%03d" % number, value) for number in range(14)]
    items = [(b"", BundleHeader(1).encode()), *items, (b"m", value)]
    return _write_blocks(directory, [(b"m", _block(items, 1 << 30), 0)])


@_input(50_000)
def prefix_bomb(directory: Path, count: int) -> Path:
    """Each key is the one before and a byte more: all keys together are quadratic."""
    value = plain("float32", [0], b"").encode()
    rest = b"".join(
        coding.encode_varint(number) + b"\1" + coding.encode_varint(len(value)) + b"a" + value
        for number in range(count)
    )
    head = BundleHeader(1).encode()
    block = bytes([0, 0, len(head)]) + head + rest + struct.pack("<II", 0, 1)
    return _write_blocks(directory, [(b"b", block, 0)])


@_input(7_000, key="b")
def prefix_bombs(directory: Path, count: int) -> Path:
    """The same in many blocks, each with as long keys as are allowed."""
    value = plain("float32", [0], b"").encode()
    head = BundleHeader(1).encode()
    blocks = [(b"a", bytes([0, 0, len(head)]) + head + struct.pack("<II", 0, 1), 0)]
    for family in range(b"b"[0], b"b"[0] + max(1, count // 1_400)):
        pairs = [(bytes([family]) * (number + 1), value) for number in range(min(count, 1_400))]
        body, last = b"", b""
        for key, value in pairs:
            body += coding.encode_varint(len(last)) + bytes([1, len(value)]) + key[-1:] + value
            last = key
        blocks.append((bytes([family, 0xFF]), body + struct.pack("<II", 0, 1), 0))
    return _write_blocks(directory, blocks)


def _short_names(count: int) -> Iterable[bytes]:
    """Keys of five bytes, of which each has nearly all from the one before."""
    return (
        b"a" + b"".join(b"%c" % (48 + (number >> shift & 63)) for shift in (18, 12, 6, 0))
        for number in range(count)
    )


@_input(60_000, key="a0001")
def short_names(directory: Path, count: int) -> Path:
    """As many tensors as an index can list: short names, empty, and no restart points."""
    value = plain("float32", [0], b"").encode()
    items = [(b"", BundleHeader(1).encode()), *((name, value) for name in _short_names(count))]
    return _write_blocks(directory, [(items[-1][0], _block(items, 1 << 30), 0)])


@_input(1_200_000, key="a0001")
def compressed_names(directory: Path, count: int) -> Path:
    """The same, compressed: a tensor takes less than a byte."""
    value = plain("float32", [0], b"").encode()
    items = [(b"", BundleHeader(1).encode()), *((name, value) for name in _short_names(count))]
    blocks = []
    for start in range(0, len(items), 4096):
        some = items[start : start + 4096]
        blocks.append((some[-1][0], bytes(cramjam.snappy.compress_raw(_block(some, 1 << 30))), 1))
    return _write_blocks(directory, blocks)


@_input(20_000)
def same_block(directory: Path, count: int) -> Path:
    """One data block in many places of the index block: each is read, checked and decoded."""
    value = plain("float32", [0], b"").encode()
    items = [(b"", BundleHeader(1).encode()), *((name, value) for name in _short_names(count))]
    return _write_blocks(directory, [(items[-1][0], _block(items), 0)], times=count)


@_input(20_000)
def same_empty_block(directory: Path, count: int) -> Path:
    """The same with a block that has nothing but restart points, so that no key is out of order."""
    first = _block([(b"", BundleHeader(1).encode()), (b"a", plain("float32", [0], b"").encode())])
    empty = bytes(20 * count) + struct.pack("<I", 5 * count)
    return _write_blocks(directory, [(b"b", first, 0), (b"c", empty, 0)], times=count)


@_input(2)
def high_rank(directory: Path, count: int) -> Path:
    """Tensors that NumPy can't have."""
    entries = {b"a": plain("float32", [1] * 69 + [2], bytes(8)), b"b": plain("float32", [2], bytes(8))}
    entries[b"c"] = plain("float32", [1] * 253 + [2], bytes(8))
    write_bundle(directory / "m", entries, [bytes(8)])
    return directory / "m"


@_input(2)
def huge_shapes(directory: Path, count: int) -> Path:
    """Shapes of many elements and no bytes."""
    entries = {b"a": plain("float32", [0, 2**62, 2**62], b""), b"b": plain("float32", [2**40, 0], b"")}
    entries[b"c"] = TensorEntry(DType.float32, (2**31, 2**31), 8)
    entries[b"d"] = TensorEntry(DType.string, (2**40,), 8)
    write_bundle(directory / "m", entries, [bytes(8)])
    return directory / "m"


@_input(5_000, key="a00001")
def aliases(directory: Path, count: int) -> Path:
    """Many names for the same bytes."""
    data = bytes(range(256)) * (count * 3 // 5)
    entry = plain("float32", [len(data) // 4], data)
    write_bundle(directory / "m", {b"a%05d" % number: entry for number in range(count)}, [data])
    return directory / "m"


@_input(5_000, key="a00001")
def overlaps(directory: Path, count: int) -> Path:
    """Many names for nearly the same bytes."""
    data = bytes(range(256)) * (count * 3 // 5)
    size = len(data) // 2
    entries = {}
    for number in range(count):
        entries[b"a%05d" % number] = plain(
            "float32", [size // 4], data[4 * number : 4 * number + size], offset=4 * number
        )
    write_bundle(directory / "m", entries, [data])
    return directory / "m"


@_input(100_000)
def many_shards(directory: Path, count: int) -> Path:
    """A header that counts shards that are not there."""
    write_bundle(directory / "m", {b"a": plain("float32", [0], b"")}, header=BundleHeader(10 * count))
    return directory / "m"


@_input(24_000, key="t00001")
def flipped_blocks(directory: Path, count: int) -> Path:
    """Blocks of one entry each, half of which have a flipped bit, and nothing that says where they are."""
    entry = plain("float32", [0], b"").encode()
    head = _block([(b"", BundleHeader(1).encode())])
    blocks = [(b"t%05d" % number, _block([(b"t%05d" % number, entry)]), 0) for number in range(count)]
    path = _write_blocks(directory, [(b"a", head, 0), *blocks])
    index = directory / "m.index"
    data = bytearray(index.read_bytes())
    size = len(blocks[0][1]) + 5  # with its trailer
    start = len(head) + 5
    for at in range(start, start + count * size, 2 * size):
        data[at + 5] ^= 1
    index.write_bytes(data[: start + count * size])
    return path


# Slices


def _sliced(directory: Path, shape: Sequence[int], slices: Sequence[tb.TensorSlice]) -> Path:
    entries: dict[bytes, TensorEntry] = {
        b"t": TensorEntry(DType.float32, tuple(shape), 0, slices=tuple(slices))
    }
    for each in slices:
        size = [length for _, length in each.extents]
        entries[each.key(b"t")] = plain("float32", size, bytes(4 * int(np.prod(size))))
    write_bundle(directory / "m", entries, [bytes(64)])
    return directory / "m"


@_input(16_000, key="t")
def many_slices(directory: Path, count: int) -> Path:
    """A tensor in slices of one element."""
    return _sliced(directory, [count], [tb.TensorSlice(((start, 1),)) for start in range(count)])


@_input(14_000, key="t")
def slice_grid(directory: Path, count: int) -> Path:
    """The same in two dimensions."""
    side = max(2, int(count**0.5))
    grid = [tb.TensorSlice(((row, 1), (column, 1))) for row in range(side) for column in range(side)]
    return _sliced(directory, [side, side], grid)


@_input(14_000, key="t")
def slice_plus(directory: Path, count: int) -> Path:
    """Slices that overlap each other in every pair: rows and columns."""
    half = count // 2
    rows = [tb.TensorSlice(((row, 1), (0, half))) for row in range(half)]
    columns = [tb.TensorSlice(((0, half), (column, 1))) for column in range(half)]
    entry = TensorEntry(DType.float32, (half, half), 0, slices=(*rows, *columns))
    write_bundle(directory / "m", {b"t": entry}, [b""])
    return directory / "m"


@_input(12_000, key="t")
def slice_aliases(directory: Path, count: int) -> Path:
    """A tensor whose slices all are the same bytes, as large as may be read."""
    rows = 2048
    data = np.arange(rows, dtype=np.float32).tobytes()
    slices = [tb.TensorSlice(((start * rows, rows),)) for start in range(count)]
    entries: dict[bytes, TensorEntry] = {
        b"t": TensorEntry(DType.float32, (count * rows,), 0, slices=tuple(slices))
    }
    for each in slices:
        entries[each.key(b"t")] = plain("float32", [rows], data)
    write_bundle(directory / "m", entries, [data + bytes(count * 40)])
    return directory / "m"


@_input(8_000, key="t00001")
def many_partitioned(directory: Path, count: int) -> Path:
    """Many tensors of one slice."""
    piece = tb.TensorSlice(((0, 1),))
    entries: dict[bytes, TensorEntry] = {}
    for number in range(count):
        name = b"t%05d" % number
        entries[name] = TensorEntry(DType.float32, (1,), 0, slices=(piece,))
        entries[piece.key(name)] = plain("float32", [1], bytes(4))
    write_bundle(directory / "m", entries, [bytes(4)])
    return directory / "m"


# Strings


@_input(1_000_000, key="s")
def many_strings(directory: Path, count: int) -> Path:
    """A tensor of empty strings."""
    head, _, crc = encode_strings([b""] * count)
    entry = TensorEntry(DType.string, (count,), len(head), crc32c=crc)
    write_bundle(directory / "m", {b"s": entry}, [head])
    return directory / "m"


@_input(20_000, key="s00001")
def many_string_tensors(directory: Path, count: int) -> Path:
    """Many names for one tensor of strings."""
    head, _, crc = encode_strings([b""] * (count // 4))
    entry = TensorEntry(DType.string, (count // 4,), len(head), crc32c=crc)
    write_bundle(directory / "m", {b"s%05d" % number: entry for number in range(count)}, [head])
    return directory / "m"


@_input(5_000, key="s00001")
def string_overlaps(directory: Path, count: int) -> Path:
    """Many tensors of strings in nearly the same bytes, all of which are decoded before they prove to be wrong."""
    size = 100 * count
    data = bytes(size + count)
    entries = {
        b"s%05d" % number: TensorEntry(DType.string, (size - 4,), size, offset=number)
        for number in range(count)
    }
    write_bundle(directory / "m", entries, [data])
    return directory / "m"


# V1 files


@_input(10_000, key="t1")
def v1_names(directory: Path, count: int) -> Path:
    """Many small tensors."""
    value = np.zeros(1, np.int8)
    tensors = [saved(f"t{number}", "int8", (1,)) for number in range(count)]
    (directory / "m").write_bytes(v1_bytes(tensors, [item(f"t{number}", value) for number in range(count)]))
    return directory / "m"


@_input(10_000, key="t")
def v1_slices(directory: Path, count: int) -> Path:
    """One tensor in slices of one element."""
    specs = [f"{start},1" for start in range(count)]
    value = np.zeros(1, np.int8)
    tensors = [saved("t", "int8", (count,), specs)]
    (directory / "m").write_bytes(v1_bytes(tensors, [item("t", value, spec) for spec in specs]))
    return directory / "m"


@_input(300, key="t0")
def v1_bomb(directory: Path, count: int) -> Path:
    """Blocks that are far larger than they are stored."""
    value = np.zeros(count << 12, np.int8)
    tensors = [saved(f"t{number}", "int8", value.shape) for number in range(count // 20)]
    items = [item(f"t{number}", value) for number in range(count // 20)]
    (directory / "m").write_bytes(snappy_table([(b"", encode_meta(tensors)), *items]))
    return directory / "m"


@_input(20)
def snappy_claims(directory: Path, count: int) -> Path:
    """Blocks that claim to be of gigabytes."""
    first = _block([(b"", BundleHeader(1).encode()), (b"a", plain("float32", [0], b"").encode())])
    claim = coding.encode_varint(2**32 - 1) + bytes(cramjam.snappy.compress_raw(bytes(1 << 19)))[3:]
    blocks = [(b"b", first, 0), *((b"c%02d" % number, claim, 1) for number in range(count))]
    return _write_blocks(directory, blocks)


# Other formats


@_input(12_000, key="t1")
def safetensors_names(directory: Path, count: int) -> Path:
    """Many empty tensors."""
    header = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(count)}
    text = json.dumps(header).encode()
    (directory / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return directory / "m.safetensors"


@_input(5_000, key="t1")
def safetensors_files(directory: Path, count: int) -> Path:
    """Many files of one tensor each."""
    files = {}
    for number in range(count):
        header = {f"t{number}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
        text = json.dumps(header).encode()
        name = files[f"t{number}"] = f"m-{number}.safetensors"
        (directory / name).write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    path = directory / "m.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": files}))
    return path


@_input(100)
def safetensors_nested(directory: Path, count: int) -> Path:
    """A header that is nested deep."""
    text = b'{"a":' + b"[" * (4000 * count) + b"]" * (4000 * count) + b"}"
    (directory / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return directory / "m.safetensors"


@_input(100)
def safetensors_digits(directory: Path, count: int) -> Path:
    """A number of many digits."""
    text = b'{"a":{"dtype":"F32","shape":[' + b"9" * (9000 * count) + b'],"data_offsets":[0,0]}}'
    (directory / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    return directory / "m.safetensors"


@_input(6_000, key="1")
def npz_names(directory: Path, count: int) -> Path:
    """Many small members."""
    member = io.BytesIO()
    np.lib.format.write_array(member, np.zeros(0, np.float32))
    with zipfile.ZipFile(directory / "m.npz", "w") as file:
        for number in range(count // 2):
            file.writestr(f"{number}.npy", member.getvalue())
    return directory / "m.npz"


@_input(100)
def npz_bomb(directory: Path, count: int) -> Path:
    """A compressed member a thousand times as large as it is stored."""
    start = io.BytesIO()
    size = count * 10 << 20
    np.lib.format.write_array_header_1_0(start, {"descr": "|i1", "fortran_order": False, "shape": (size,)})
    with (
        zipfile.ZipFile(directory / "m.npz", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(start.getvalue())
        for _ in range(count * 10):
            member.write(bytes(1 << 20))
    return directory / "m.npz"


# Directories, recipes, maps, texts


@_input(30_000, "directory")
def many_paths(directory: Path, count: int) -> Path:
    """A state file that lists checkpoints that are not there."""
    listed = "".join(f'all_model_checkpoint_paths: "a{number}"\n' for number in range(count))
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "a"\n{listed}')
    return directory


@_input(8_000, "directory")
def many_far_paths(directory: Path, count: int) -> Path:
    """The same, each in a directory of its own, absolute and with parts that lead back."""
    listed = "".join(
        f'all_model_checkpoint_paths: "/far/{number}/../{number}/../x/{number}/model.ckpt-{number}"\n'
        for number in range(count)
    )
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "a"\n{listed}')
    return directory


@_input(10, "directory")
def long_path(directory: Path, count: int) -> Path:
    """A path of very many parts."""
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "{"a/" * (count * 50_000)}b"\n')
    return directory


@_input(30_000, "directory")
def same_path(directory: Path, count: int) -> Path:
    """One checkpoint that is there, listed again and again."""
    write_model(directory / "a")
    listed = 'all_model_checkpoint_paths: "a"\n' * count
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "a"\n{listed}')
    return directory


@_input(20_000, "recipe")
def nested_recipe(directory: Path, count: int) -> Path:
    """Lists in lists."""
    (directory / "r.toml").write_text("rename = " + "[" * count + "]" * count)
    return directory / "r.toml"


@_input(20_000, "recipe")
def long_recipe(directory: Path, count: int) -> Path:
    """Many pairs."""
    pairs = "".join(f'"a{number}" = "b{number}"\n' for number in range(count))
    (directory / "r.toml").write_text(f"[rename]\n{pairs}")
    return directory / "r.toml"


@_input(10_000, "recipe")
def many_steps(directory: Path, count: int) -> Path:
    """Many steps, forth and back."""
    steps = "".join(f'[[steps]]\nrename = {{ "{a}" = "{b}" }}\n' for a, b in ("wv", "vw"))
    (directory / "r.toml").write_text(steps * (count // 2))
    return directory / "r.toml"


@_input(20_000, "map")
def long_map(directory: Path, count: int) -> Path:
    """Many pairs."""
    (directory / "map.txt").write_text("".join(f"a{number}=b{number}\n" for number in range(count)))
    return directory / "map.txt"


@_input(30_000, "map")
def many_globs(directory: Path, count: int) -> Path:
    """Many patterns that match nothing."""
    (directory / "map.txt").write_text("".join(f"*a*b{number}*=x*y*z*\n" for number in range(count)))
    return directory / "map.txt"


@_input(40_000, "recipe")
def many_patterns(directory: Path, count: int) -> Path:
    """The same in a recipe."""
    patterns = ",".join(f'"*a*b{number}*"' for number in range(count))
    (directory / "r.toml").write_text(f"drop = [{patterns}]\n")
    return directory / "r.toml"


@_input(30_000, "structure")
def wide_structure(directory: Path, count: int) -> Path:
    """Many variables that are not there."""
    (directory / "s.json").write_text(json.dumps({f"a{number}": f"b{number}" for number in range(count)}))
    return directory / "s.json"


@_input(30_000, "structure")
def structure_of_one(directory: Path, count: int) -> Path:
    """One variable in many places."""
    (directory / "s.json").write_text(json.dumps({f"a{number}": "w" for number in range(count)}))
    return directory / "s.json"


@_input(60, "recipe")
def split_and_joined(directory: Path, count: int) -> Path:
    """A tensor that is split and joined again, so that it is computed of twice as many others each time."""
    steps = [
        "split = { w = { into = { a = 1, b = 1 } } }",
        'concat = { w = { of = ["a", "b"] } }',
    ]
    text = "".join(f"[[steps]]\n{each}\n" for _ in range(count) for each in steps)
    (directory / "r.toml").write_text(text)
    return directory / "r.toml"


@_input(30_000, "text")
def long_log(directory: Path, count: int) -> Path:
    """A log of many lines that nearly are known."""
    line = "Unresolved object in checkpoint (root).model.layer\n"
    (directory / "log").write_text(line * (count // 2))
    return directory / "log"


@_input(10, "text")
def long_line(directory: Path, count: int) -> Path:
    """A line of very many words."""
    (directory / "log").write_text("Checksum does not match: stored " * (count * 3000))
    return directory / "log"


@_input(10, "text")
def digits(directory: Path, count: int) -> Path:
    """A number of very many digits."""
    (directory / "log").write_text("Checksum does not match: stored " + "9" * (count * 100_000))
    return directory / "log"


@_input(5_000, key="a00001")
def damaged_overlaps(directory: Path, count: int) -> Path:
    """Many names for nearly the same bytes, all of which are wrong."""
    path = INPUTS["overlaps"].make(directory, count)
    shard = directory / "m.data-00000-of-00001"
    shard.write_bytes(np.random.default_rng(0).bytes(shard.stat().st_size))
    return path


# Commands


def write_model(prefix: Path) -> Path:
    """A small checkpoint, object-based, to go with a hostile one."""
    with tb.create(prefix) as writer:
        writer.add("w", np.zeros(2, np.float32))
        writer.add_object_graph(tb.ObjectGraph.from_names(["w"]))
    return prefix


def command_lines(
    kind: str, path: object, model: object, out: object, key: str = "a"
) -> dict[str, list[str]]:
    """Every command, with arguments that make it look at `path`, or at `model` and it; outputs are at `out`.

    Commands that want a tensor get `key`.

    Commands that are asked about a text read it from standard input.
    """
    at, other, to = str(path), str(model), str(out)
    lenient = "--allow-missing", "--allow-unused"
    if kind == "recipe":
        return {"rewrite": ["rewrite", other, to, "--recipe", at]}
    if kind == "map":
        return {
            "rename": ["rename", other, to, "--map", at],
            "convert": ["convert", other, to, "--to", "tf2", "--template", other, "--map", at],
        }
    if kind == "structure":
        return {
            "convert": ["convert", other, to, "--to", "tf2", "--structure", at, *lenient],
            "check": ["check", other, "--against", at],
        }
    if kind == "text":
        return {
            "explain": ["explain", "-"],
            "explain --checkpoint": ["explain", "-", "--checkpoint", other],
        }
    lines = {name: [name, at] for name in ("info", "ls", "tree", "graph", "verify", "stats", "hash")}
    lines |= {
        "ls --long": ["ls", at, "--long"],
        "ls pattern": ["ls", at, "a*b*c*d*e*f*", "*"],
        "ls --json": ["ls", at, "--json"],
        "graph --variables": ["graph", at, "--variables"],
        "graph --format json": ["graph", at, "--format", "json"],
        "graph --format mermaid": ["graph", at, "--format", "mermaid"],
        "show": ["show", at, "*"],
        "report": ["report", at, "-o", f"{to}.html", "--overwrite"],
        "diff": ["diff", at, at, "--values"],
        "diff other": ["diff", at, other],
        "check": ["check", at, "--against", other],
        "check against": ["check", other, "--against", at],
        "suggest": ["suggest", at, other],
        "suggest to": ["suggest", other, at],
        "explain": ["explain", "Unresolved object in checkpoint (root).model.layer", "--checkpoint", at],
    }
    if kind == "directory":
        lines |= {
            "latest": ["latest", at],
            "latest --all": ["latest", at, "--all"],
            "verify --all": ["verify", "--all", at],
            "manage": ["manage", at],
            "manage prune": ["manage", at, "prune", "--max-to-keep", "2", "--dry-run"],
            "manage repair": ["manage", at, "repair", "--dry-run"],
            "manage clean": ["manage", at, "clean", "--dry-run"],
        }
    writing = {
        "convert tf1": ["convert", at, to, "--to", "tf1"],
        "convert tf2": ["convert", at, to, "--to", "tf2"],
        "convert tf2 deep": ["convert", at, to, "--to", "tf2", "--root", "a/" * 50_000 + "b"],
        "convert v1": ["convert", at, f"{to}-v1", "--to", "v1"],
        "convert v2": ["convert", at, f"{to}-v2", "--to", "v2"],
        "convert template": ["convert", at, to, "--to", "tf2", "--template", other, *lenient],
        "convert to template": ["convert", other, to, "--to", "tf2", "--template", at, *lenient],
        "convert to names": ["convert", other, to, "--to", "tf1", "--template", at, *lenient],
        "convert safetensors": ["convert", at, f"{to}.safetensors", "--allow-unused"],
        "convert npz": ["convert", at, f"{to}.npz", "--allow-unused"],
        "convert weights": ["convert", at, f"{to}.weights.h5", "--allow-unused"],
        "rename": ["rename", at, to, "/=zz/"],
        "rename --regex": ["rename", at, to, "--regex", "(.*)=>x/\\1"],
        "cast": ["cast", at, to, "*=bfloat16"],
        "drop": ["drop", at, to, key],
        "extract": ["extract", at, to, "*[!z]"],
        "slim": ["slim", at, to],
        "set": ["set", at, to, "zz=0:int64"],
        "reshape": ["reshape", at, to, "*=-1"],
        "transpose": ["transpose", at, to, "*=0"],
        "split": ["split", at, to, key, "x=1", "y=1"],
        "concat": ["concat", at, to, "zz", key, key],
        "reshard": ["reshard", at, to, "--shards", "3"],
        "compact": ["compact", at, to],
        "partition": ["partition", at, to, f"{key}=2"],
        "unpartition": ["unpartition", at, to],
        "merge": ["merge", f"x={at}", f"y={other}", to],
        "average": ["average", at, at, to],
        "salvage": ["salvage", at, to],
        "copy": ["reshard", at, to, "--shards", "1", "--data", "copy"],
    }
    return lines | {name: [*argv, "--overwrite"] for name, argv in writing.items()}
