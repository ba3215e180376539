"""The encoding of string and variant tensors, and their checksums.

Layouts, n elements in C order (TensorFlow core/util/tensor_bundle/tensor_bundle.cc, `WriteStringTensor`,
`WriteVariantTensor`):

    strings  = varint64 length, n times | u32 masked crc of the lengths | the n byte strings
    variants = n times: varint64 length | an encoded VariantTensorDataProto | u32 masked crc so far

The checksum of a plain tensor is the CRC-32C of its bytes. The checksum of strings covers, instead of the varints, each
length as u32 (u64 from 2**32 on), then the stored u32, then the strings. The checksum of variants covers each length as
u64, the message, then the stored u32. In a big-endian bundle these fixed-width integers are big-endian.

Checksums are computed in one pass over chunks of any size, so memory is bounded.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Final, Protocol

from tensorbundle.coding import crc32c, encode_varint, mask, read_varint, read_varints
from tensorbundle.dtypes import DType
from tensorbundle.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PayloadChecksum", "decode_strings", "encode_strings", "payload_checksum"]

Buffer = bytes | bytearray | memoryview
_LENGTHS_AT_ONCE: Final = 4096


class PayloadChecksum(Protocol):
    """Checks the bytes of one tensor, given in order, in chunks of any size."""

    def update(self, chunk: Buffer) -> None:
        """Take the next bytes.

        Raises:
            CorruptionError: the bytes are not a valid encoding.
        """

    def finish(self) -> int:
        """The unmasked checksum of all bytes.

        Raises:
            CorruptionError: bytes are missing.
        """


def payload_checksum(
    dtype: DType, elements: int, nbytes: int, *, big_endian: bool = False
) -> PayloadChecksum:
    """A new checksum for a tensor of this type, number of elements and size in bytes."""
    if dtype is DType.string:
        return _StringChecksum(elements, nbytes, big_endian)
    if dtype is DType.variant:
        return _VariantChecksum(elements, nbytes, big_endian)
    return _PlainChecksum()


class _PlainChecksum:
    def __init__(self) -> None:
        self._crc = 0

    def update(self, chunk: Buffer) -> None:
        self._crc = crc32c(chunk, self._crc)

    def finish(self) -> int:
        return self._crc


class _StringChecksum:
    """Checks a string tensor: the lengths, their checksum, then strings whose sizes must add up."""

    def __init__(self, elements: int, nbytes: int, big_endian: bool) -> None:
        self._nothing = nbytes == elements == 0
        if nbytes < elements:
            raise CorruptionError(f"{elements} strings can't fit in {nbytes} bytes")
        self._order = ">" if big_endian else "<"
        self._lengths_due = elements
        self._left = nbytes  # bytes that have not come yet
        self._bodies = 0  # bytes that the lengths promise
        self._head = b""  # the start of a varint or of the lengths' checksum that a chunk cut
        self._crc = 0
        self._in_bodies = False

    def update(self, chunk: Buffer) -> None:
        self._left -= len(chunk)
        if self._nothing:
            return
        if not self._in_bodies:
            chunk = self._take_lengths(self._head + bytes(chunk))
        if self._in_bodies:
            self._crc = crc32c(chunk, self._crc)

    def _take_lengths(self, buf: bytes) -> bytes:
        pos = 0
        while self._lengths_due:
            lengths, pos = read_varints(buf, pos, min(self._lengths_due, _LENGTHS_AT_ONCE))
            if not lengths:
                break  # the next chunk has the rest of it
            self._lengths_due -= len(lengths)
            self._bodies += sum(lengths)
            rest = len(buf) - pos + self._left
            if self._bodies > rest:
                raise CorruptionError(f"string lengths add up to {self._bodies} bytes, {rest} are left")
            self._crc = _extend_with_lengths(self._crc, lengths, self._order)
        if self._left and (self._lengths_due or len(buf) - pos < 4):
            self._head = buf[pos:]
            return b""
        if self._lengths_due:
            raise CorruptionError(f"the lengths of {self._lengths_due} strings are cut short")
        stored = buf[pos : pos + 4]
        if stored != struct.pack(f"{self._order}I", mask(self._crc)):
            raise CorruptionError(
                f"checksum of the string lengths: stored {stored.hex()}, "
                f"computed {struct.pack(f'{self._order}I', mask(self._crc)).hex()}"
            )
        self._crc = crc32c(stored, self._crc)
        self._head, self._in_bodies = b"", True
        rest = len(buf) - pos - 4 + self._left
        if rest != self._bodies:
            raise CorruptionError(f"string lengths add up to {self._bodies} bytes, {rest} are stored")
        return buf[pos + 4 :]

    def finish(self) -> int:
        if self._nothing:
            return 0
        if self._left or not self._in_bodies:
            raise CorruptionError("the strings are cut short")
        return self._crc


class _VariantChecksum:
    def __init__(self, elements: int, nbytes: int, big_endian: bool) -> None:
        self._order = ">" if big_endian else "<"
        self._due = elements
        self._left = nbytes
        self._body = 0  # bytes of the current message that have not come yet
        self._state = "length"
        self._head = b""
        self._crc = 0

    def update(self, chunk: Buffer) -> None:
        self._left -= len(chunk)
        buf, self._head = self._head + bytes(chunk), b""
        pos = 0
        while pos < len(buf):
            if self._state == "body":
                part = buf[pos : pos + self._body]
                self._crc = crc32c(part, self._crc)
                self._body -= len(part)
                pos += len(part)
                if not self._body:
                    self._state = "checksum"
                continue
            if self._due == 0:
                raise CorruptionError(f"{len(buf) - pos + self._left} bytes after the last variant")
            short = not _varint_ends(buf, pos) if self._state == "length" else len(buf) - pos < 4
            if short and len(buf) - pos < 10 and self._left:
                self._head = buf[pos:]
                return
            if self._state == "length":
                self._body, pos = read_varint(buf, pos)
                if self._body > len(buf) - pos + self._left:
                    raise CorruptionError(f"a variant of {self._body} bytes, which are more than are left")
                self._crc = crc32c(struct.pack(f"{self._order}Q", self._body), self._crc)
                self._state = "body" if self._body else "checksum"
            else:
                stored = buf[pos : pos + 4]
                if stored != struct.pack(f"{self._order}I", mask(self._crc)):
                    raise CorruptionError("checksum of a variant does not match")
                self._crc = crc32c(stored, self._crc)
                pos += 4
                self._due -= 1
                self._state = "length"

    def finish(self) -> int:
        if self._due or self._left or self._head:
            raise CorruptionError("the variants are cut short")
        return self._crc


def decode_strings(buf: memoryview, elements: int, *, big_endian: bool = False) -> list[bytes]:
    """The strings in the bytes of a string tensor; its lengths are checked against their checksum.

    Raises:
        CorruptionError: the lengths are damaged, or do not add up to the number of bytes.
    """
    lengths = _StringChecksum(elements, len(buf), big_endian)
    lengths.update(buf)
    lengths.finish()
    sizes, pos = read_varints(buf, 0, elements)
    ends = list(itertools.accumulate(sizes, initial=pos + 4))
    return [bytes(buf[start:end]) for start, end in itertools.pairwise(ends)]


def encode_strings(values: Sequence[bytes]) -> tuple[bytes, int, int]:
    """The bytes before the strings, the size of these and the strings together, and the tensor's checksum."""
    lengths = [len(value) for value in values]
    crc = _extend_with_lengths(0, lengths, "<")
    stored = struct.pack("<I", mask(crc))
    crc = crc32c(stored, crc)
    for value in values:
        crc = crc32c(value, crc)
    head = b"".join(map(encode_varint, lengths)) + stored
    return head, len(head) + sum(lengths), crc


def _extend_with_lengths(crc: int, lengths: Sequence[int], order: str) -> int:
    if not lengths:
        return crc
    if max(lengths) < 2**32:
        return crc32c(struct.pack(f"{order}{len(lengths)}I", *lengths), crc)
    for length in lengths:
        crc = crc32c(struct.pack(order + ("I" if length < 2**32 else "Q"), length), crc)
    return crc


def _varint_ends(buf: bytes, pos: int) -> bool:
    return any(byte < 0x80 for byte in buf[pos : pos + 10])
