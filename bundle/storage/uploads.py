"""Files while they are written to a URL: in parts that are sent as they fill, invisible until the last one was sent.

A file never takes the name of another, unless that may be replaced. S3 decides that when the upload is completed
(`If-None-Match`); elsewhere the name is looked at right before, which leaves a moment in between. A name that is taken by
the very same bytes is no conflict: then an earlier attempt succeeded, and its answer was lost.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Self

from tensorbundle.coding import crc32c
from tensorbundle.errors import ConflictError
from tensorbundle.storage.faults import patiently, translated
from tensorbundle.storage.fetching import is_s3
from tensorbundle.storage.paths import temporary_name
from tensorbundle.storage.pool import budget, submit
from tensorbundle.storage.s3 import (
    NextPart,
    S3Parts,
    abort_s3,
    begin_s3,
    call_s3,
    complete_s3,
    is_taken,
    part_bytes,
)
from tensorbundle.storage.spans import Span, cut

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tensorbundle.storage.protocols import Buffer, RandomAccessFile

__all__ = ["RemoteWriter", "must_have", "upload"]


def upload(
    path: str,
    fs: Any,
    name: str,
    reopen: Callable[[], RandomAccessFile],
    *,
    replace: bool,
    held: bool,
    size: int | None,
    appeared: Callable[[str], None] | None = None,
) -> RemoteWriter:
    """A file that will be `name` in a file system of fsspec.

    Args:
        path: its URL.
        fs: the file system.
        name: what it will be called there.
        reopen: opens what has the name, for reading.
        replace: whether it may take the name of another file.
        held: whether it waits for `finish` when it is closed.
        size: about how many bytes it will have, if that is known.
        appeared: given the URL when the file has appeared, unless another one had the same bytes there.
    """
    how: dict[str, Any] = {"replace": replace, "held": held, "size": size, "appeared": appeared}
    if not is_s3(fs):
        return _StreamUpload(path, fs, name, reopen, **how)
    writer = _S3Upload(path, fs, name, reopen, **how)
    if size is not None and size > part_bytes(size):
        writer.begin()
    return writer


class RemoteWriter:
    """A file while it is written to a URL (`WritableFile`).

    Attributes:
        path: its URL.
        size: bytes written so far.
    """

    def __init__(
        self,
        path: str,
        fs: Any,
        name: str,
        reopen: Callable[[], RandomAccessFile],
        *,
        replace: bool,
        held: bool,
        size: int | None,
        appeared: Callable[[str], None] | None,
    ) -> None:
        """See `upload`."""
        self.path = path
        self.size = 0
        self._fs, self._name, self._reopen = fs, name, reopen
        self._replace, self._held, self._appeared = replace, held, appeared
        self._is_own = True  # not another writer's with the same bytes
        self._part_bytes = part_bytes(size)
        self._next = NextPart(self._part_bytes)
        self._crc = 0
        self._open = True
        budget.begin_file()

    @property
    def upload_id(self) -> str | None:
        """What S3 calls its upload, if that was begun."""
        return None

    def write(self, data: Buffer) -> None:
        """See `WritableFile`."""
        view = memoryview(data).cast("B")
        self._crc = crc32c(view, self._crc)
        self.size += len(view)
        for part in self._next.filled(view):
            self._guard(functools.partial(self._send, part))

    def spread(self, size: int) -> None:
        """See `WritableFile`: written from start to end."""

    def close(self) -> None:
        """See `WritableFile`: the file appears, unless it is held; then little of it stays in memory."""
        if not self._held:
            self.finish()
        elif self._open:
            self._guard(self._seal)

    def finish(self) -> None:
        """Send the rest, and let the file appear; a second call does nothing.

        Raises:
            ConflictError: its name is taken, and it may not replace what has it.
            UnreadableFileError: it can't be written.
        """
        if self._open:
            self._end()
            try:
                self._guard(self._complete)
            except BaseException:
                self._abort()
                raise
            if self._is_own and self._appeared is not None:
                self._appeared(self.path)

    def abandon(self) -> None:
        """See `WritableFile`: the file never appears."""
        if self._open:
            self._end()
            self._abort()

    def _end(self) -> None:
        self._open = False
        budget.end_file()

    def _guard(self, do: Callable[[], None]) -> None:
        """Raise an error of ours for what a library raises."""
        try:
            do()
        except Exception as error:
            raise translated(error, self.path, doing="written").locate(path=self.path) from error

    def _send(self, part: memoryview) -> None:
        """Send the next part."""
        raise NotImplementedError

    def _seal(self) -> None:
        """Send what there is, nothing else being to come, if the file does not appear by that."""

    def _complete(self) -> None:
        """Send the rest and let the file appear."""
        raise NotImplementedError

    def _abort(self) -> None:
        """Delete what was sent; what fails leaves parts that `manage URL clean` deletes."""
        raise NotImplementedError

    def _must_be_this(self) -> None:
        """Refuse what has the name, unless it has the same bytes; it may be another writer's.

        Raises:
            ConflictError: it is something else.
        """
        must_have(self._reopen, self.size, self._crc)
        self._is_own = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def must_have(reopen: Callable[[], RandomAccessFile], size: int, crc: int) -> None:
    """Refuse a file that has other bytes; all of it is read.

    Raises:
        ConflictError: its size is not `size`, or its checksum not `crc`.
    """
    with reopen() as file:
        same = file.size == size
        found = 0
        if same:
            file.prefetch([(0, size)])
            for part in cut([Span(0, size)]):
                buffer = bytearray(part.size)
                file.readinto(part.offset, memoryview(buffer))
                found = crc32c(buffer, found)
        if not same or found != crc:
            raise ConflictError("exists; use --overwrite (overwrite=True) to replace it", path=file.path)


class _S3Upload(RemoteWriter):
    """A multipart upload of S3; one request if there is only one part."""

    _begun: Future[str] | None = None
    _parts: S3Parts | None = None

    def begin(self) -> None:
        """Begin the upload now, as there will be several parts, while their bytes are not there yet."""
        self._begun = submit(begin_s3, self._fs, self._name)

    @property
    def upload_id(self) -> str | None:
        """See `RemoteWriter`."""
        return None if self._begun is None else self._begun.result()

    def _send(self, part: memoryview) -> None:
        if self._parts is None:
            if self._begun is None:
                self.begin()
            self._parts = S3Parts(self.path, self._fs, self._name, str(self.upload_id), 1, self._next)
        self._parts.send(part)

    def _seal(self) -> None:
        if self._parts is not None:
            self._parts.finish_parts()

    def _complete(self) -> None:
        if self._parts is not None:
            complete_s3(
                self._fs,
                self._name,
                str(self.upload_id),
                self._parts.finish_parts(),
                replace=self._replace,
                must_be_this=self._must_be_this,
            )
            return
        condition: dict[str, Any] = {} if self._replace else {"IfNoneMatch": "*"}
        try:
            call_s3(self._fs, self._name, "put_object", self._next.rest(), **condition)
        except Exception as error:
            if not is_taken(error):
                raise
            self._must_be_this()
        self._abort()  # what was begun, as more bytes were expected

    def _abort(self) -> None:
        if self._parts is not None:
            self._parts.stop()
        with contextlib.suppress(Exception):  # then nothing was begun
            if self.upload_id is not None:
                abort_s3(self._fs, self._name, self.upload_id)


class _StreamUpload(RemoteWriter):
    """A file of fsspec. Kinds that are visible while they are written get a temporary name first."""

    _stream: Any = None
    _temporary: str | None = None

    def _send(self, part: memoryview) -> None:
        if self._stream is None:
            from fsspec.spec import AbstractBufferedFile

            stream = (
                self._fs.open(self._name, "wb", block_size=self._part_bytes) if self._is_hidden() else None
            )
            if not isinstance(stream, AbstractBufferedFile):
                self._temporary = temporary_name(self._name)
                stream = self._fs.open(self._temporary, "wb")
            self._stream = stream
        self._stream.write(part)

    def _is_hidden(self) -> bool:
        """Whether files of this kind appear when they are closed, as far as their class tells."""
        from fsspec.implementations.local import LocalFileSystem
        from fsspec.implementations.memory import MemoryFileSystem

        return not isinstance(self._fs, (LocalFileSystem, MemoryFileSystem))

    def _complete(self) -> None:
        rest = self._next.rest()
        if self._stream is not None and rest:
            self._stream.write(rest)
        if not self._replace and self._is_taken():
            self._must_be_this()
            self._abort()
            return
        if self._stream is None:
            patiently(lambda: self._fs.pipe_file(self._name, bytes(rest)))
            return
        self._stream.close()
        if self._temporary is not None:
            self._fs.mv(self._temporary, self._name)

    def _is_taken(self) -> bool:
        self._fs.invalidate_cache()
        return bool(patiently(lambda: self._fs.exists(self._name)))

    def _abort(self) -> None:
        if self._stream is None:
            return
        try:
            if self._temporary is not None:
                self._stream.close()
                self._fs.rm_file(self._temporary)
            else:
                self._stream.discard()
                self._stream.closed = True  # or its deletion would send the rest
        except Exception:  # noqa: S110  whatever a library raises; a temporary file stays for `clean`
            pass
