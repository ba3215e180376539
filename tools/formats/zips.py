"""The members of zip archives and their bytes, as far as `.npz` and `.keras` files need them.

Layout (PKWARE APPNOTE 6.3, sections 4.3 and 4.5): each member has a local header before its data; the central directory at
the end of the file lists them all; an end record has its offset. For a size or offset of 2**32 - 1, the real one is in
a ZIP64 extra field or record.

Limits: the directory is read only if it has at most 100 MB, members may not share bytes, and an archive whose members would
expand to more than 128 MiB and more than a hundredfold is refused.
"""

from __future__ import annotations

import re
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from tensorbundle.errors import BundleError, CorruptionError, UnsupportedError
from tensorbundle.limits import MAX_DIRECTORY_BYTES, MAX_EXPANDED_BYTES, MAX_EXPANSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["InflatedFile", "Member", "Readable", "beginnings_of", "members_of"]

_END: Final = struct.Struct("<4s4H2LH")  # signature, 2 disks, 2 counts, size, offset, comment length
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LENGTHS: Final = struct.Struct(
    "<8xH18x3H"
)  # of `_CENTRAL`: the flags, and the lengths of name, extra field and comment
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT: Final = 0xFFFF
_STORED: Final = 0
_DEFLATED: Final = 8
_CHUNK_BYTES: Final = 1 << 20


class Readable(Protocol):
    """A file that can be read at any position."""

    path: str

    @property
    def size(self) -> int:
        """Its size in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`."""


class Member(NamedTuple):
    """One file in an archive.

    Attributes:
        name: its name.
        start: the offset of its data in the archive.
        stored: the size of its data in the archive, in bytes.
        size: its size when read, in bytes.
        crc32: the CRC-32 of its bytes when read.
        deflated: whether its data is compressed.
        comment: the member's comment.
    """

    name: str
    start: int
    stored: int
    size: int
    crc32: int
    deflated: bool
    comment: bytes = b""


class _Directory(NamedTuple):
    offset: int
    size: int
    members: int


def members_of(file: Readable) -> list[Member]:
    """The members of an archive, in the order of its directory.

    Raises:
        CorruptionError: not a zip archive, a damaged one, or members that share bytes or a name.
        UnsupportedError: it is encrypted, split, or compressed by another method; or a member expands too much.
    """
    try:
        directory = _find_directory(file)
        found = list(_central_entries(file, directory))
    except (CorruptionError, UnsupportedError) as error:
        raise error.locate(path=file.path) from None
    end, before = 0, ""
    for each, header in sorted(found, key=lambda pair: pair[1]):
        if header < end:
            raise CorruptionError(
                f"members {before!r} and {each.name!r} share bytes", path=file.path, offset=header
            )
        end, before = each.start + each.stored, each.name
    if end > directory.offset:
        raise CorruptionError(
            f"member {before!r} reaches into the directory", path=file.path, offset=directory.offset
        )
    names: set[str] = set()
    for each, header in found:
        if each.name in names:
            raise CorruptionError("two members of this name", path=file.path, offset=header, key=each.name)
        names.add(each.name)
    return [each for each, _ in found]


def beginnings_of(file: Readable, start: bytes) -> list[bytes]:
    """The names of members that begin with `start`, up to the character after the next '/'; nothing else is checked.

    A name may come more than once. Names that are neither ASCII nor UTF-8 keep their bytes.

    Raises:
        CorruptionError: not a zip archive, or a damaged one.
        UnsupportedError: it is split.
    """
    try:
        directory = _find_directory(file)
    except (CorruptionError, UnsupportedError) as error:
        raise error.locate(path=file.path) from None
    data = file.read(directory.offset, directory.size)
    # A name has no zero bytes, and there are some before the name of the next entry, so no match takes a '/' from that. A
    # name without '/' takes what follows, too; only then are lengths needed, which make every match another one.
    name = rb".{16}(?=(%b[^/\0]*+(?:/[^\0])?+))" % re.escape(start)
    found = set(re.findall(rb"PK\x01\x02.{26}" + name, data, re.DOTALL))
    if all(b"/" in each[len(start) :] for each in found):
        return list(found)
    sized = re.findall(rb"PK\x01\x02.{24}(..)" + name, data, re.DOTALL)
    sizes = struct.unpack(f"<{len(sized)}H", b"".join(size for size, _ in sized))
    return [each[:size] for size, (_, each) in zip(sizes, sized, strict=True)]


def _find_directory(file: Readable) -> _Directory:
    tail_size = min(file.size, _END.size + _MAX_COMMENT)
    tail = file.read(file.size - tail_size, tail_size)
    at = len(tail) - _END.size + 1
    while True:  # the comment at the end may contain the same signature
        at = tail.rfind(b"PK\5\6", 0, max(at + 3, 0))
        if at < 0:
            raise CorruptionError("no end record: not a zip archive, or its end is lost")
        _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, at)
        if at + _END.size + comment == len(tail):
            break
    end = file.size - tail_size + at
    limit = end
    locator = end - _END64_LOCATOR.size
    if 0xFFFFFFFF in (size, offset) or 0xFFFF in (here, count):
        if locator < 0:
            raise CorruptionError("no ZIP64 end record", offset=end)
        signature, _, place, _ = _END64_LOCATOR.unpack(file.read(locator, _END64_LOCATOR.size))
        if signature == b"PK\6\7":
            if place + _END64.size > locator:
                raise CorruptionError("the ZIP64 end record is not before its locator", offset=locator)
            signature, _, _, _, disk, first_disk, here, count, size, offset = _END64.unpack(
                file.read(place, _END64.size)
            )
            if signature != b"PK\6\6":
                raise CorruptionError("no ZIP64 end record at its offset", offset=place)
            limit = place
    if disk or first_disk or here != count:
        raise UnsupportedError("an archive in several files", offset=end)
    if offset + size != limit:
        raise CorruptionError(
            f"a directory from {offset} to {offset + size}, its end record is at {limit}", offset=end
        )
    if size > MAX_DIRECTORY_BYTES:
        raise CorruptionError(
            f"a directory of {size} bytes, at most {MAX_DIRECTORY_BYTES} are allowed", offset=end
        )
    if count * _CENTRAL.size > size:
        raise CorruptionError(f"{count} members in a directory of {size} bytes", offset=end)
    return _Directory(offset, size, count)


def _central_entries(file: Readable, directory: _Directory) -> list[tuple[Member, int]]:
    """Each member, and the offset of its local header."""
    data = file.read(directory.offset, directory.size)
    found = []
    expanded = 0
    pos = 0
    for _ in range(directory.members):
        at = directory.offset + pos
        if pos + _CENTRAL.size > len(data) or data[pos : pos + 4] != b"PK\1\2":
            raise CorruptionError("no entry of the directory here", offset=at)
        (_, _, _, flags, method, _, _, crc, stored, size, *lengths, disk, _, _, header) = (
            _CENTRAL.unpack_from(data, pos)
        )
        name_size, extra_size, _ = lengths
        pos += _CENTRAL.size
        if pos + sum(lengths) > len(data):
            raise CorruptionError("an entry of the directory is cut short", offset=at)
        raw = data[pos : pos + name_size]
        extra = data[pos + name_size : pos + name_size + extra_size]
        comment = data[pos + name_size + extra_size : pos + sum(lengths)]
        pos += sum(lengths)
        try:
            name = raw.decode("utf-8" if flags & 0x800 else "cp437")
        except UnicodeDecodeError:
            raise CorruptionError(f"a name that is not UTF-8: {raw[:80]!r}", offset=at) from None
        wide = _zip64(extra)
        try:
            size, stored, header = (
                next(wide) if each == 0xFFFFFFFF else each for each in (size, stored, header)
            )
        except (StopIteration, RuntimeError):
            raise CorruptionError("sizes that are in no ZIP64 field", offset=at, key=name) from None
        if flags & 1 or disk not in (0, 0xFFFF) or method not in (_STORED, _DEFLATED):
            what = "encrypted" if flags & 1 else f"compressed by method {method}, only deflate is supported"
            raise UnsupportedError(f"this member is {what}", offset=at, key=name)
        if method == _STORED and size != stored:
            raise CorruptionError(f"{stored} bytes stored of a member of {size}", offset=at, key=name)
        expanded += size
        if expanded > max(MAX_EXPANDED_BYTES, MAX_EXPANSION * file.size):
            raise UnsupportedError(
                f"{file.size} bytes that expand to {expanded} and more, at most {MAX_EXPANSION} times as many are taken",
                offset=at,
                key=name,
            )
        start = _data_start(file, header, stored, name)
        found.append((Member(name, start, stored, size, crc, method == _DEFLATED, comment), header))
    return found


def _zip64(extra: bytes) -> Iterator[int]:
    """The numbers of the ZIP64 extra field, if there is one."""
    pos = 0
    while pos + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, pos)
        pos += 4
        if kind == 1:
            field = extra[pos : pos + size]
            for at in range(0, len(field) // 8 * 8, 8):
                yield struct.unpack_from("<Q", field, at)[0]
            return
        pos += size


def _data_start(file: Readable, header: int, stored: int, name: str) -> int:
    """The offset of a member's data; the extra field before it differs from that in the directory."""
    if header + _LOCAL.size > file.size:
        raise CorruptionError("its local header is after the end of the file", offset=header, key=name)
    local = _LOCAL.unpack(file.read(header, _LOCAL.size))
    if local[0] != b"PK\3\4":
        raise CorruptionError("no local header at its offset", offset=header, key=name)
    start = header + _LOCAL.size + int(local[9]) + int(local[10])
    if start + stored > file.size:
        raise CorruptionError(
            f"{stored} bytes wanted, the file ends at {file.size}: it is cut short", offset=start, key=name
        )
    return start


class InflatedFile:
    """The bytes of a compressed member, as a file that is read from start to end.

    Reading at an earlier offset decompresses it again from the start.
    """

    near_bytes = 0

    def __init__(self, archive: Readable, member: Member) -> None:
        """Read `member` of `archive`, which must stay open while this is used."""
        self.path = archive.path
        self.size = member.size
        self._archive = archive
        self._member = member
        self._lock = threading.Lock()
        self._restart()

    def _restart(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._taken = 0  # compressed bytes so far
        self._position = 0  # of the next inflated byte

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`.

        Raises:
            CorruptionError: the member ends before them, or is damaged.
        """
        out = bytearray(size)
        self.readinto(offset, memoryview(out))
        return bytes(out)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes at `offset`; raises the same errors as `read`."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise self._damaged(f"{len(buffer)} bytes wanted at {offset}, it has {self.size}")
        with self._lock:
            if offset < self._position:
                self._restart()
            while self._position < offset:
                self._next(min(offset - self._position, _CHUNK_BYTES))
            done = 0
            while done < len(buffer):
                chunk = self._next(min(len(buffer) - done, _CHUNK_BYTES))
                buffer[done : done + len(chunk)] = chunk
                done += len(chunk)

    def _next(self, limit: int) -> bytes:
        """The next inflated bytes: at least one, at most `limit`."""
        while True:
            pending = self._inflate.unconsumed_tail
            if not pending:
                size = min(_CHUNK_BYTES, self._member.stored - self._taken)
                pending = self._archive.read(self._member.start + self._taken, size) if size else b""
                self._taken += size
            try:
                chunk = self._inflate.decompress(pending, limit)
            except zlib.error as error:
                raise self._damaged(f"can't be inflated: {error}") from None
            if chunk:
                self._position += len(chunk)
                return chunk
            if self._inflate.eof or (not pending and self._taken == self._member.stored):
                raise self._damaged(f"ends after {self._position} of {self.size} bytes")

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of several ranges, each an offset and a size."""
        return [self.read(offset, size) for offset, size in ranges]

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Does nothing: bytes are read in order anyway."""

    def map(self) -> memoryview | None:
        """None: the inflated bytes are in no file that could be mapped."""
        return None

    def stamp(self) -> tuple[int, int]:
        """See `RandomAccessFile`: nothing is mapped."""
        return 0, 0

    def close(self) -> None:
        """Does nothing: the archive belongs to the caller."""

    def _damaged(self, reason: str) -> BundleError:
        return CorruptionError(
            f"member {self._member.name!r}: {reason}", path=self.path, offset=self._member.start
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
