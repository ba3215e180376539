"""Where TensorFlow and we part on purpose: files that only one of us reads or lists, and those that TensorFlow dies of.

Each class of them is a `Difference` with an example, a change of the checkpoint `SAMPLE`. The tests hold the examples
against TensorFlow, and let nothing else differ in any file that hypothesis alters.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import tensorbundle as tb
from support.bundles import raw
from support.contents import content
from support.differential import Contents, Saved
from tensorbundle.coding import crc32c, encode_varint, mask
from tensorbundle.dtypes import DType
from tensorbundle.entries import parse_entry
from tensorbundle.keys import decode_key
from tensorbundle.slices import TensorSlice
from tensorbundle.table import BlockHandle, Footer

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.altered import Altered
    from support.tensorflow_process import TensorFlowProcess

DIED = r"^died SIG(ABRT|SEGV|BUS)$"
EMPTY = "^no elements$"
VALUE = "^value$"


def _cut(dtype: str, shape: tuple[int, ...], *parts: str) -> Saved:
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    texts = values.astype(str).astype(bytes) if dtype == "string" else values
    return Saved(DType[dtype], texts.astype(DType[dtype].numpy), tuple(map(TensorSlice.parse_spec, parts)))


_TENSORS = {
    # Its first slice comes right after the header, and would be taken for it where it is missing.
    b"b": _cut("float32", (4, 2), "0,2:-", "2,2:-"),
    b"deep": _cut("int8", (2, *[1] * 8), "0,1" + ":-" * 8, "1,1" + ":-" * 8),
    b"half": _cut("float16", (4,), "0,2", "2,2"),
    b"small": _cut("float8_e5m2", (2,)),
    b"t": _cut("string", (4,), "0,2", "2,2"),
    b"void": _cut("float32", (4, 0), "0,2:-", "2,2:-"),
    b"whole": _cut("float32", (2, 3)),
    b"words": _cut("string", (2,)),
    b"z": _cut("float32", (0,)),
}
_V1_TENSORS = {name: each for name, each in _TENSORS.items() if name != b"small"}
_PIECES = [(name, number) for name, each in _TENSORS.items() for number in range(max(1, len(each.slices)))]
SAMPLE = Contents(_TENSORS, [_PIECES])
V1_SAMPLE = Contents(_V1_TENSORS, [[piece for piece in _PIECES if piece[0] in _V1_TENSORS]])


def piece(name: bytes, spec: str) -> bytes:
    """The key of a slice."""
    return TensorSlice.parse_spec(spec).key(name)


# What happens


def our_outcome(prefix: str, key: bytes) -> tuple[str, Any]:
    """What we make of a tensor: a word or our error for the classes below, and what was read."""
    try:
        with tb.open(prefix) as ckpt:
            array = ckpt[decode_key(key)]
            found = ckpt.entry(decode_key(key)).dtype.value, array.shape, _exact(array)
            return "value" if array.size else "no elements", found
    except tb.BundleError as error:
        return error.reason, None


def their_outcome(process: TensorFlowProcess, prefix: str, key: bytes, dtype: str) -> tuple[str, Any]:
    """The same of TensorFlow, which must be asked for a type."""
    kind, *answer = process.restore(prefix, key, dtype)
    if kind != "value":
        return " ".join((kind, *answer)), None
    name, shape, found = answer[0]
    if name == "bool":
        found = _exact(np.frombuffer(found, np.uint8).astype(bool))
    return "value" if np.prod(shape, dtype=int) else "no elements", (name, shape, found)


def _exact(array: np.ndarray) -> bytes | list[bytes]:
    """The content; of truth values only what they mean, as any byte but zero is a true one."""
    return content(array.view(np.uint8) != 0 if array.dtype == np.bool_ else array)


def our_listing(prefix: str) -> tuple[str, Any]:
    """What we list, as `our_outcome`."""
    try:
        with tb.open(prefix) as ckpt:
            return "value", {key: (entry.dtype.value, entry.shape) for key, entry in ckpt.entries()}
    except tb.BundleError as error:
        return error.reason, None


def their_listing(process: TensorFlowProcess, prefix: str) -> tuple[str, Any]:
    """What TensorFlow lists, as `their_outcome`."""
    kind, *answer = process.listing(prefix)
    return ("value", answer[0]) if kind == "value" else (" ".join((kind, *answer)), None)


# Classes


class Difference(NamedTuple):
    """A class of files that TensorFlow and we do not treat alike.

    Attributes:
        why: what they have in common.
        ours: what matches our error, or the word for what we read.
        theirs: what matches TensorFlow's.
        alter: makes one of `SAMPLE`.
        key: the tensor in which the example shows; None for the listing.
        v1: whether the example is of a V1 file.
    """

    why: str
    ours: str
    theirs: str
    alter: Callable[[Altered], object]
    key: bytes | None = None
    v1: bool = False

    def __str__(self) -> str:
        return self.why


def known(mine: str, other: str, *, listing: bool, v1: bool) -> bool:
    """Whether these two outcomes belong to one of the classes."""
    return any(
        re.search(each.ours, mine) and re.search(each.theirs, other)
        for each in DIFFERENCES
        if (each.key is None) == listing and each.v1 == v1
    )


def _entry(key: bytes, old: str, new: str) -> Callable[[Altered], object]:
    """Changes bytes, given in hex, in the message under a key."""

    def alter(found: Altered) -> None:
        value = dict(found.table.items)[key]
        assert raw(old) in value, value.hex()
        _put(found, key, value.replace(raw(old), raw(new), 1))

    return alter


def _put(found: Altered, key: bytes, value: bytes) -> None:
    """Gives a key another value."""
    found.table.items = [(each, value if each == key else old) for each, old in found.table.items]


def _append(key: bytes, more: str) -> Callable[[Altered], object]:
    """Adds bytes to the message under a key."""

    return lambda found: _put(found, key, dict(found.table.items)[key] + raw(more))


def _drop(key: bytes) -> Callable[[Altered], object]:
    return lambda found: found.table.items.remove((key, dict(found.table.items)[key]))


def _blocks(size: int, **changes: Any) -> Callable[[Altered], object]:
    def alter(found: Altered) -> None:
        found.table.block_items = size
        for name, value in changes.items():
            setattr(found.table, name, value)

    return alter


def _swap(found: Altered) -> None:
    items = found.table.items
    items[1], items[2] = items[2], items[1]


def _data(change: Callable[[bytes], bytes | None]) -> Callable[[Altered], object]:
    def alter(found: Altered) -> None:
        [end] = [each for each in found.files if each.startswith(".data")]
        found.files[end] = change(found.files[end])

    return alter


def _longer_string(found: Altered) -> None:
    """One byte more for `words` than its strings take."""
    entry = parse_entry(dict(found.table.items)[b"words"])
    _put(found, b"words", entry._replace(nbytes=entry.nbytes + 1).encode())
    _data(lambda data: data + b"\0")(found)


def _huge_string(found: Altered) -> None:
    """A string of 2**50 bytes, with a checksum that agrees."""
    payload = encode_varint(2**50) + encode_varint(0)
    payload += struct.pack("<I", mask(crc32c(struct.pack("<QI", 2**50, 0))))
    [end] = [len(each) for each in found.files.values() if isinstance(each, bytes)]
    _data(lambda data: data + payload)(found)
    entry = parse_entry(dict(found.table.items)[b"words"])
    _put(found, b"words", entry._replace(offset=end, nbytes=len(payload)).encode())


def _footer_in_trailer(found: Altered) -> None:
    """The last byte of the index block's checksum is also the first one of the footer."""
    table = found.table.encode()
    footer = Footer.parse(table[-48:])
    last = table[-49]
    offset = last if last < 0x80 else last & 0x7F | 0x80
    found.table.damage = table[:-49] + Footer(BlockHandle(offset, 8), footer.index_handle).encode()


_SLICE = piece(b"b", "0,2:-")
_WORDS = piece(b"t", "0,2")


def _twice(found: Altered) -> None:
    found.table.items.insert(0, found.table.items[0])
    found.table.block_items = 1


def _same(found: Altered) -> None:
    """Nothing is altered."""


_READ = f"{VALUE}|{EMPTY}"
_DAMAGE = "crc32c stored|compression type|bad snappy data"
_MESSAGES = "protobuf field|varint"
_RECORD = f"its record is of|its record is missing|values stored|cut short|not a|{_MESSAGES}|{_DAMAGE}"

DIFFERENCES = [
    # Tensors that TensorFlow does not read
    Difference(
        "TensorFlow puts slices of some types together, and not those of others (docs/format.md, 8.4)",
        *(VALUE, r"Dtype \w+ not supported", _same, b"half"),
    ),
    Difference(
        "types of one byte have no byte order, yet TensorFlow refuses them in a big-endian bundle (docs/format.md, 9.3)",
        *(_READ, "Byte-swapping not supported", _append(b"", "1001"), b"small"),
    ),
    Difference(
        "slices without elements: we need no data and do not look at their entries",
        *(
            EMPTY,
            "^error (NotFound|DataLoss|OutOfRange|Internal|InvalidArgument)",
            _data(lambda _: None),
            b"void",
        ),
    ),
    # Tensors that only TensorFlow reads
    Difference(
        "no header: TensorFlow takes the first entry for one (docs/format.md, 14)",
        *("no header", _READ, _drop(b""), b"whole"),
    ),
    Difference(
        "a header in a damaged block, which TensorFlow passes over (docs/format.md, 3.4)",
        *(_DAMAGE, _READ, _blocks(1, bad_checksums={0}), b"whole"),
    ),
    Difference(
        "keys twice or out of order: TensorFlow finds some of them (docs/format.md, 3.4)",
        *("keys do not ascend", _READ, _twice, b"whole"),
    ),
    Difference(
        "no elements, beyond the end of a file that was cut",
        *("the file ends at", EMPTY, _data(lambda data: data[:-1]), b"z"),
    ),
    Difference(
        "a piece whose shape is not its slice's: TensorFlow does not compare the two",
        *("is stored as", _READ, _entry(_SLICE, "1208 12020802 12020802", "1204 12020804"), b"b"),
    ),
    Difference(
        "a slice that is all of the tensor: TensorFlow takes the tensor's own entry for its piece",
        *("its entry is missing", _READ, _append(b"whole", "3a04 0a00 0a00"), b"whole"),
    ),
    Difference(
        "strings that take fewer bytes than their entry says (docs/format.md, 7.2)",
        *("string lengths add up to|strings can't fit", VALUE, _longer_string, b"words"),
    ),
    Difference(
        "an index block that reaches into the footer",
        *("the blocks end at", _READ, _footer_in_trailer, b"whole"),
    ),
    Difference(
        "protobuf tags and numbers of too many bits, of which its C++ code drops some, and groups, which are obsolete",
        *(_MESSAGES, _READ, _append(b"", "9083808010 01"), b"whole"),
    ),
    # Listings
    Difference("the same for a listing: no header", "no header", VALUE, _drop(b"")),
    Difference(
        "a damaged block, whose keys TensorFlow leaves out", _DAMAGE, VALUE, _blocks(3, bad_checksums={2})
    ),
    Difference("keys out of order, of which it lists some", "keys do not ascend", VALUE, _swap),
    Difference("an index block in the footer", "the blocks end at", VALUE, _footer_in_trailer),
    Difference("more bits than protobuf has, in a header", _MESSAGES, VALUE, _append(b"", "9083808010 01")),
    Difference(
        "no data shards, or far too many", "header says .* data shards", VALUE, _entry(b"", "0801", "0800")
    ),
    Difference(
        "types of references, which it lists though no checkpoint has them",
        *("data type number", VALUE, _append(b"whole", "086b")),
    ),
    Difference(
        "places before the beginning of the file, at which it does not look yet",
        *("negative number", VALUE, _append(b"whole", "28f8ffffffffffffffff01")),
    ),
    Difference(
        "impossible shapes of pieces, at which it does not look yet",
        *("dimension of -", VALUE, _entry(_SLICE, "1208 12020802", "1211 120b08f8ffffffffffffffff01")),
    ),
    Difference(
        "pieces of strings that are not there or do not fit, without which we do not know the tensor's size",
        *("^slice .*(missing|is stored as|reaches outside|dimensions)", VALUE, _drop(_WORDS)),
    ),
    Difference(
        "slices that no tensor lists: their keys are no text (docs/format.md, 8.4)",
        *(VALUE, "UnicodeDecodeError", _drop(b"b")),
    ),
    # V1 files
    Difference(
        "a record of another tensor or slice than its key says: TensorFlow reads its values",
        *("its record is of", _READ, _entry(piece(b"whole", "-:-"), '"whole"', '"other"'), b"whole", True),
    ),
    Difference(
        "a record with a name that is no text, for which TensorFlow refuses it",
        *(
            _READ,
            "Error copying slice data",
            _entry(piece(b"whole", "-:-"), "12", "12030a01ff 12"),
            b"whole",
            True,
        ),
    ),
    Difference(
        "no elements: TensorFlow does not look at the record",
        *(f"{_RECORD}|no values of type", EMPTY, _drop(piece(b"z", "-")), b"z", True),
    ),
    Difference(
        "types that TensorFlow's V1 format does not have and protobuf does",
        *(_READ, "not yet supported", _entry(b"", "1813", "180e"), b"half", True),
    ),
    Difference(
        "a meta record that begins like the header of a bundle",
        *("the index of a V2 checkpoint", _READ, _entry(b"", "0a", "0801 0a"), b"whole", True),
    ),
    Difference(
        "a type of references, for which we refuse the file, and TensorFlow that tensor",
        *("data type number", _READ, _entry(b"", "1813", "1865"), b"whole", True),
    ),
    Difference(
        "a tensor without slices, for which we refuse the file, and TensorFlow that tensor",
        *("without slices", _READ, _entry(b"", "22020a00 12020801", "2a020a00 12020801"), b"whole", True),
    ),
    Difference(
        "slices that overlap, for which we refuse the tensor, and TensorFlow the file",
        *(_READ, "Overlapping slices", _entry(b"", "0a0408021002", "0a0408011002"), b"whole", True),
    ),
    Difference(
        "a name that is no text, for which TensorFlow refuses the file",
        *(
            _READ,
            "Failed to find the saved tensor slices",
            _entry(b"", '"void"', '"vo" ff "d"'),
            b"whole",
            True,
        ),
    ),
    Difference(
        "records out of order, of which TensorFlow finds some",
        *("keys do not ascend", _READ, _twice, b"whole", True),
    ),
    Difference(
        "a record of strings, without which we do not know their size",
        *(_RECORD, VALUE, _drop(piece(b"words", "-")), None, True),
    ),
    Difference(
        "a meta record like a header", "the index of a V2", VALUE, _entry(b"", "0a", "0801 0a"), None, True
    ),
    Difference("a type of references", "data type number", VALUE, _entry(b"", "1813", "1865"), None, True),
    Difference(
        "a tensor without slices",
        *("without slices", VALUE, _entry(b"", "22020a00 12020801", "2a020a00 12020801"), None, True),
    ),
    Difference(
        "slices that overlap",
        *(VALUE, "Overlapping slices", _entry(b"", "0a0408021002", "0a0408011002"), None, True),
    ),
    Difference(
        "a name that is no text",
        *(VALUE, "Failed to find the saved", _entry(b"", '"void"', '"vo" ff "d"'), None, True),
    ),
    Difference("records out of order", "keys do not ascend", VALUE, _twice, None, True),
]

# Files that TensorFlow dies of, and what we say of them (docs/format.md, 14).
DEADLY = [
    Difference("slices of more than 8 dimensions", VALUE, DIED, _same, b"deep"),
    Difference("the same in a V1 file", VALUE, DIED, _same, b"deep", True),
    Difference("a string of 2**50 bytes", "string lengths add up to", DIED, _huge_string, b"words"),
    Difference("an entry that is no message", _MESSAGES, DIED, _append(b"whole", "ff")),
    Difference(
        "a negative dimension",
        "dimension of -",
        DIED,
        _entry(b"whole", "1208 12020802 12020803", "1211 12020802 120b08ffffffffffffffffff01"),
    ),
    Difference("a slice listed twice", VALUE, DIED, _append(b"b", "3a06 0a021002 0a00")),
]
