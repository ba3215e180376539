"""A file behind a URL, open for reading at any position.

A request takes longer than megabytes do, so reading is in few and long ones: near ranges are merged, long ones cut into
parts that are read side by side, and what will be read is read ahead (`readahead.py`). Every response must have the length
that was asked for, and be of the version of the file that was seen first.
"""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from tensorbundle.errors import BundleError, CorruptionError, MissingFileError, UnsupportedError
from tensorbundle.storage.faults import ShortBodyError, code_of, patiently, status_of, translated
from tensorbundle.storage.fetching import fetch
from tensorbundle.storage.pool import IN_FLIGHT, submit
from tensorbundle.storage.readahead import ReadAhead
from tensorbundle.storage.spans import Span, cut, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

__all__ = ["RemoteFile", "Seen"]

NEAR_BYTES: Final = 1 << 20
_ONE_REQUEST: Final = 256 << 20  # bytes that `read` asks for at once


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a file or directory.

    Attributes:
        is_file: whether it is a file.
        size: bytes, if that is known.
        version: what changes when it does, if anything tells.
        modified: nanoseconds since the epoch, 0 if unknown.
        end: its last bytes, if they came along.
    """

    is_file: bool
    size: int | None
    version: str | None
    modified: int = 0
    end: bytes = field(default=b"", repr=False)


class RemoteFile:
    """A file behind a URL, open for reading at any position (`RandomAccessFile`). Opening it makes no request."""

    near_bytes = NEAR_BYTES

    def __init__(self, path: str, fs: Any, name: str, look: Callable[[], Seen], seen: Seen | None) -> None:
        """The file `name` of a file system of fsspec.

        Args:
            path: its URL.
            fs: the file system.
            name: what the file is called there.
            look: asks what the file is.
            seen: what is known of it already.
        """
        self.path = path
        self._fs, self._name = fs, name
        self._look = look
        self._size = None if seen is None else seen.size
        self._version = None if seen is None else seen.version
        self._end = b"" if seen is None else seen.end
        self._tells_version = True  # whether responses do, as far as is known
        self._ahead: list[ReadAhead] = []
        self._closed = False

    @property
    def size(self) -> int:
        """See `RandomAccessFile`; asked for when it is first needed.

        Raises:
            MissingFileError, UnreadableFileError: as `Store.open`.
        """
        if self._size is None:
            seen = self._look()
            if not seen.is_file:
                raise MissingFileError("not a file but a directory", path=self.path)
            if seen.size is None:
                raise UnsupportedError("the server does not say how long the file is", path=self.path)
            self._must_be(seen.version)
            self._size = seen.size
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """See `RandomAccessFile`: one request, unless it is of more than 256 MiB."""
        if self._end and self._size is not None and 0 < size == len(self._end) == self._size - offset:
            end, self._end = self._end, b""  # which is the reader's from now on
            return end
        if size > _ONE_REQUEST:
            return self.read_ranges([(offset, size)])[0]
        data = self._part(offset, size)
        self._must_be_unchanged()
        return data

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """See `RandomAccessFile`."""
        for ahead in self._ahead:
            if ahead.fill(offset, buffer):
                if ahead.is_used_up:
                    self._must_be_unchanged()
                return
        self._check(offset, len(buffer))
        self._fill([Span(offset, len(buffer))], [buffer])

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See `RandomAccessFile`: near ones in one request, long ones in several side by side."""
        for offset, size in ranges:
            self._check(offset, size)
        spans = merged(ranges)
        buffers = [memoryview(bytearray(span.size)) for span in spans]
        self._fill(spans, buffers)
        starts = [span.offset for span in spans]
        out = []
        for offset, size in ranges:
            number = bisect.bisect_right(starts, offset) - 1
            start = offset - starts[number] if size else 0
            out.append(bytes(buffers[number][start : start + size]) if size else b"")
        return out

    def _fill(self, spans: Sequence[Span], buffers: Sequence[memoryview]) -> None:
        """Fill a buffer for each span, in parts that are read side by side, each into its place.

        The first response says how long the file is, where that is not known yet; what it can't have is not asked for any
        more then.
        """
        waiting: deque[tuple[memoryview, Future[bytes]]] = deque()
        try:
            for span, buffer in zip(spans, buffers, strict=True):
                for part in cut([span]):
                    if len(waiting) == IN_FLIGHT:
                        waiting[0][1].result()
                        waiting.popleft()
                        if spans[-1].end > self.size:
                            raise self._cut_short(*spans[-1], self.size)
                    start = part.offset - span.offset
                    view = buffer[start : start + part.size]
                    waiting.append((view, submit(self._part, *part, view)))
            while waiting:
                waiting[0][1].result()
                waiting.popleft()
        except CorruptionError:
            self._check(*spans[-1])
            raise
        finally:
            for view, future in waiting:
                future.cancel()
                view.release()  # so that what still arrives is not written there
        self._must_be_unchanged()

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See `RandomAccessFile`."""
        self._ahead = [each for each in self._ahead if not each.is_used_up]
        if ranges and not any(each.covers(*ranges[0]) for each in self._ahead):
            self._ahead.append(ReadAhead(self._part, ranges))

    def map(self) -> memoryview | None:
        """See `RandomAccessFile`: there is no memory."""
        return None

    def stamp(self) -> tuple[int, int]:
        """See `RandomAccessFile`: nothing is mapped."""
        return 0, 0

    def _check(self, offset: int, size: int) -> None:
        """Refuse what the file can't have, as far as its size is known; it is asked for before much memory is taken."""
        if self._closed:
            raise BundleError("this checkpoint was closed", path=self.path)
        known = self._size if size <= _ONE_REQUEST else self.size
        if offset < 0 or size < 0 or (known is not None and offset + size > known):
            raise self._cut_short(offset, size, known)

    def _cut_short(self, offset: int, size: int, known: int | None) -> CorruptionError:
        where = "before" if known is None else f"at {known}"
        return CorruptionError(
            f"{size} bytes wanted, the file ends {where}: it is cut short", path=self.path, offset=offset
        )

    def _part(self, offset: int, size: int, into: memoryview | None = None) -> bytes:
        """One range, in one request that is made again if it fails for a reason that may pass; or nothing, but in `into`."""
        self._check(offset, size)
        if not size:
            return b""
        try:
            return patiently(lambda: self._once(offset, size, into))
        except Exception as error:
            if _is_past_the_end(error):
                raise self._cut_short(offset, size, self._size) from None
            raise translated(error, self.path).locate(path=self.path) from error

    def _once(self, offset: int, size: int, into: memoryview | None) -> bytes:
        fetched = fetch(self._fs, self._name, offset, offset + size, into)
        self._tells_version = fetched.version is not None
        self._must_be(fetched.version)
        if fetched.size is not None and self._size is None:
            self._size = fetched.size
        found, known = fetched.received, fetched.size if fetched.size is not None else self._size
        if found < size:
            if known is not None and offset + size <= known:
                raise ShortBodyError(f"{found} bytes of {size}: the response was cut short")
            raise self._cut_short(offset, size, known)
        return fetched.data

    def _must_be_unchanged(self) -> None:
        """Ask for the version, if that is known and did not come with the bytes.

        Raises:
            CorruptionError: as `_must_be`.
        """
        if self._version is not None and not self._tells_version:
            self._must_be(self._look().version)

    def _must_be(self, version: str | None) -> None:
        """Refuse another version than the one that was seen first."""
        if self._version is not None and version is not None and version != self._version:
            raise CorruptionError("the file changed while it was read", path=self.path)
        self._version = self._version or version

    def close(self) -> None:
        """See `RandomAccessFile`."""
        self._closed = True
        for each in self._ahead:
            each.close()
        self._ahead.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_past_the_end(error: BaseException) -> bool:
    """Whether a range begins after the end of its file (status 416)."""
    return status_of(error) == 416 or code_of(error) in ("InvalidRange", "416")
