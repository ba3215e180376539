"""The safetensors format: a JSON header, then the bytes of the tensors.

Layout (huggingface/safetensors, README "Format" and `safetensors/src/tensor.rs`):

    u64 little-endian: N | N bytes of UTF-8 JSON, padded with spaces | the bytes of the tensors

The JSON object maps each name to `{"dtype", "shape", "data_offsets": [begin, end]}`, with offsets from the end of the
header, and `__metadata__` to an object of strings. Ranges follow each other without gaps or overlaps, from 0 to the end
of the file. Values are little-endian, in C order.

A set of tensors in several files has an index, `NAME.safetensors.index.json`: `{"metadata": {"total_size": BYTES},
"weight_map": {TENSOR: FILE}}`, with files named `NAME-00001-of-00005.safetensors` (the convention of Hugging Face).
"""

from __future__ import annotations

import json
import math
import re
import struct
from json.decoder import scanstring  # type: ignore[attr-defined]  # the decoder's own function for strings
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import BundleError, CorruptionError, UnsupportedError, listed
from tensorbundle.limits import MAX_HEADER_BYTES
from tensorbundle.slices import MAX_RANK
from tensorbundle.tools.formats.listed_index import MOST_SHOWN, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "DTYPES",
    "Header",
    "encode_header",
    "parse_header",
    "parse_weight_map",
    "why_not_writable",
    "written_order",
]

LENGTH: Final = struct.Struct("<Q")
METADATA: Final = "__metadata__"
ENDING: Final = ".safetensors"
INDEX_ENDING: Final = ".safetensors.index.json"
# The JSON of one tensor: three members, with at most 254 dimensions of 20 digits.
_MAX_TENSOR_JSON: Final = 16_384
_MAX_INDEX_METADATA: Final = 1 << 20
_SPACE: Final = re.compile(r"[ \t\n\r]+")  # JSON's white space

# `enum Dtype`, in its order: by increasing alignment. None: TensorFlow has no such type, or stores it in another way:
# F4 packs two values into a byte.
DTYPES: Final[dict[str, DType | None]] = {
    "BOOL": DType.bool,
    "F4": None,
    "F6_E2M3": None,
    "F6_E3M2": None,
    "U8": DType.uint8,
    "I8": DType.int8,
    "F8_E5M2": DType.float8_e5m2,
    "F8_E4M3": DType.float8_e4m3fn,
    "F8_E8M0": None,
    "F8_E4M3FNUZ": DType.float8_e4m3fnuz,
    "F8_E5M2FNUZ": DType.float8_e5m2fnuz,
    "I16": DType.int16,
    "U16": DType.uint16,
    "F16": DType.float16,
    "BF16": DType.bfloat16,
    "I32": DType.int32,
    "U32": DType.uint32,
    "F32": DType.float32,
    "C64": DType.complex64,
    "F64": DType.float64,
    "I64": DType.int64,
    "U64": DType.uint64,
}
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items() if dtype is not None}
_RANKS: Final = {dtype: number for number, dtype in enumerate(DTYPES.values()) if dtype is not None}


class Header(NamedTuple):
    """The header of one file.

    Attributes:
        size: bytes before the tensors, the length of the JSON included.
        tensors: by name; offsets count from the start of the file. The format has no checksums.
        metadata: the strings under `__metadata__`.
    """

    size: int
    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]


def header_size(start: bytes, file_size: int) -> int:
    """The number of bytes before the tensors, by the first eight bytes of a file.

    Raises:
        CorruptionError: the number is larger than the file, or than the format allows.
    """
    if len(start) < LENGTH.size:
        raise CorruptionError(
            f"{len(start)} bytes, a safetensors file begins with the {LENGTH.size} bytes of a length"
        )
    (length,) = LENGTH.unpack_from(start)
    if length > MAX_HEADER_BYTES:
        raise CorruptionError(f"a header of {length} bytes, at most {MAX_HEADER_BYTES} are allowed", offset=0)
    if LENGTH.size + length > file_size:
        raise CorruptionError(
            f"a header of {length} bytes in a file of {file_size}: it is cut short", offset=0
        )
    return int(LENGTH.size + length)


def parse_header(header: bytes, file_size: int) -> Header:
    """Parse the header: the first `header_size` bytes of a file.

    Memory is bounded by the size of the header: the text of each tensor is decoded separately.

    Raises:
        CorruptionError: the format does not allow it: JSON of another form, a name given twice, a range whose length
            contradicts type and shape, or ranges with gaps or overlaps between them.
        UnsupportedError: types that TensorFlow does not have; the reason names all of them.
    """
    scanner = _Scanner(_text(header[LENGTH.size :], LENGTH.size))
    parsed = Header(len(header), {}, {})
    unsupported: list[str] = []
    if not scanner.text.startswith("{"):
        raise CorruptionError(
            "the header does not begin with '{': not a safetensors file", offset=LENGTH.size
        )
    for name in scanner.members():
        if name in parsed.tensors or (name == METADATA and parsed.metadata):
            raise CorruptionError("this name is given twice", key=name)
        if name == METADATA:
            parsed.metadata.update(scanner.strings())
            continue
        try:
            kind, shape, begin, end = _tensor(scanner.flat_object())
        except CorruptionError as error:
            raise error.locate(key=name) from None
        dtype = DTYPES[kind]
        if dtype is None:
            unsupported.append(f"{name!r} ({kind})")
            dtype = DType.uint8  # of its bytes, so that ranges can be checked
            shape = (end - begin,)
        parsed.tensors[name] = TensorEntry(dtype, shape, end - begin, 0, len(header) + begin)
    scanner.end()
    _check_ranges(parsed, file_size)
    if unsupported:
        raise UnsupportedError(
            f"types that TensorFlow does not have: {listed(unsupported, most=MOST_SHOWN)}", offset=LENGTH.size
        )
    return parsed


def _tensor(text: str) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape and range in the JSON of one tensor.

    Raises:
        CorruptionError: a member is missing, given twice or of another kind.
    """
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise CorruptionError(f"not the description of a tensor: {text[:80]!r}") from None
    kind, shape, offsets = (found.get(name) for name in ("dtype", "shape", "data_offsets"))
    if not isinstance(kind, str) or kind not in DTYPES:
        raise CorruptionError(f"dtype {kind!r} is not one of the format's types")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise CorruptionError(f"shape {_cut(shape)} is not a list of at most {MAX_RANK} sizes")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CorruptionError(f"data_offsets {_cut(offsets)} are not the begin and the end of a range")
    return kind, tuple(shape), offsets[0], offsets[1]


def _check_ranges(header: Header, file_size: int) -> None:
    """Check that ranges have the lengths that types and shapes need, and follow each other to the end of the file.

    Raises:
        CorruptionError: a length is wrong, or there are gaps or overlaps.
    """
    end, before = header.size, None
    for name, entry in sorted(header.tensors.items(), key=lambda each: (each[1].offset, each[1].nbytes)):
        if entry.nbytes != entry.expected_nbytes:
            raise CorruptionError(
                f"a range of {entry.nbytes} bytes, {entry.dtype} {_cut(list(entry.shape))} takes {entry.expected_nbytes}",
                offset=entry.offset,
                key=name,
            )
        if entry.offset != end:
            what = "overlaps" if entry.offset < end else f"leaves {entry.offset - end} bytes unused after"
            raise CorruptionError(
                f"its range {what} {'the header' if before is None else repr(before)}",
                offset=entry.offset,
                key=name,
            )
        end, before = entry.offset + entry.nbytes, name
    if end != file_size:
        what = "cut short" if file_size < end else "longer than its tensors"
        raise CorruptionError(f"the tensors end at {end}, the file at {file_size}: it is {what}", offset=end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CorruptionError(f"a member is given twice among {[name for name, _ in pairs]}")
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _text(data: bytes, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorruptionError("the JSON is not UTF-8", offset=offset + error.start) from None


class _Scanner:
    """Reads a JSON object member by member, so that only one value at a time is in memory besides the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._pos = 0

    def members(self) -> Iterable[str]:
        """The names of an object's members; the caller must read each value before the next name."""
        self._take("{")
        if self._peek() == "}":
            self._pos += 1
            return
        while True:
            name = self._string()
            self._take(":")
            yield name
            if self._peek() == "}":
                self._pos += 1
                return
            self._take(",")

    def strings(self) -> dict[str, str]:
        """An object of strings; null is an empty one.

        Raises:
            CorruptionError: not such an object, or a name is given twice.
        """
        if self._peek() == "n" and self.text.startswith("null", self._pos):
            self._pos += 4
            return {}
        found: dict[str, str] = {}
        for name in self.members():
            if name in found:
                raise CorruptionError("this name is given twice", key=name)
            found[name] = self._string()
        return found

    def flat_object(self) -> str:
        """The text of an object without objects inside."""
        self._peek()
        start = self._pos
        end = self.text.find("}", start, start + _MAX_TENSOR_JSON) + 1
        if not end or self.text[start : start + 1] != "{":
            self._fail(f"no object of at most {_MAX_TENSOR_JSON} characters")
        self._pos = end
        return self.text[start:end]

    def skip_value(self) -> None:
        """Skip any value, of a bounded size."""
        self._peek()
        window = self.text[self._pos : self._pos + _MAX_INDEX_METADATA]
        try:
            _, length = json.JSONDecoder().raw_decode(window)
        except (ValueError, RecursionError):
            self._fail(f"no JSON value of at most {_MAX_INDEX_METADATA} characters")
        self._pos += length

    def end(self) -> None:
        """Check that only white space follows."""
        if self._peek():
            self._fail("characters after the object")

    def _peek(self) -> str:
        found = _SPACE.match(self.text, self._pos)
        self._pos = found.end() if found else self._pos
        return self.text[self._pos : self._pos + 1]

    def _take(self, char: str) -> None:
        if self._peek() != char:
            self._fail(f"{char!r} expected")
        self._pos += 1

    def _string(self) -> str:
        if self._peek() != '"':
            self._fail("expected a string")
        try:
            value, self._pos = scanstring(self.text, self._pos + 1)
            value.encode()  # half of a surrogate pair is not text
        except ValueError:
            self._fail("not a JSON string")
        return str(value)

    def _fail(self, reason: str) -> NoReturn:
        found = self.text[self._pos : self._pos + 20]
        raise CorruptionError(
            f"JSON: {reason}, found {found!r} at character {self._pos}"
            if found
            else f"JSON: {reason}, found the end"
        )


def parse_weight_map(content: bytes) -> dict[str, str]:
    """Parse the index of a sharded set: the file of each tensor.

    Raises:
        CorruptionError: not such an index, a name is given twice, or a file is not in the same directory.
    """
    scanner = _Scanner(_text(content, 0))
    weights: dict[str, str] | None = None
    seen: set[str] = set()
    for name in scanner.members():
        if name in seen or len(seen) == 16:
            raise CorruptionError("this name is given twice, or there are too many", key=name)
        seen.add(name)
        if name == "weight_map":
            weights = scanner.strings()
        else:
            scanner.skip_value()
    scanner.end()
    if weights is None:
        raise CorruptionError("no 'weight_map': not the index of a sharded set of safetensors files")
    for name, file in weights.items():
        if "/" in file or "\0" in file or file in ("", ".", ".."):
            raise CorruptionError(f"file {file!r} is not the name of a file in the same directory", key=name)
    return weights


def why_not_writable(name: str, dtype: DType) -> str | None:
    """The reason why the format can't store a tensor of this name and type; None if it can."""
    if dtype not in _NAMES:
        return f"safetensors has no values of type {dtype}"
    if name == METADATA:
        return f"{METADATA!r} is the name of the metadata"
    if not is_text(name):
        return "names in safetensors are UTF-8, and this is not; rename the tensor first"
    return None


def written_order(tensors: Mapping[str, DType]) -> list[str]:
    """The names in the order in which the safetensors package writes them: by type, then by name (`prepare`)."""
    return sorted(tensors, key=lambda name: (-_RANKS[tensors[name]], name.encode()))


def encode_header(
    tensors: Iterable[tuple[str, DType, tuple[int, ...]]],
    metadata: Mapping[str, str],
    *,
    alignment: int = LENGTH.size,
    phase: int = 0,
) -> bytes:
    """The header of a file with these tensors, one after another in this order.

    Its size is `phase` more than a multiple of `alignment`.

    It has the same bytes as that of the safetensors package, if tensors are in that package's order and there is at
    most one string of metadata. The package writes several strings in a random order; here they are sorted.

    Raises:
        UnsupportedError: the header is larger than the format allows.
    """
    members: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, dtype, shape in tensors:
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        members[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(len(text) + (phase - LENGTH.size - len(text)) % alignment)
    if len(text) > MAX_HEADER_BYTES:
        raise UnsupportedError(
            f"a header of {len(text)} bytes, safetensors allows {MAX_HEADER_BYTES}; use --max-shard-size"
        )
    return LENGTH.pack(len(text)) + text
