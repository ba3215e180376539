"""Requests to S3 that write files: uploads in parts that follow each other, some of them on their way at a time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import threading
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, Self

from tensorbundle.errors import BundleError, ConflictError
from tensorbundle.storage.faults import code_of, patiently, translated
from tensorbundle.storage.pool import budget, pages, submit
from tensorbundle.storage.protocols import SentPart
from tensorbundle.storage.spans import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from tensorbundle.storage.protocols import Buffer

__all__ = [
    "NextPart",
    "S3Parts",
    "abort_s3",
    "begin_s3",
    "call_s3",
    "complete_s3",
    "is_taken",
    "part_bytes",
    "uploads_to_s3",
]

MAX_PARTS: Final = 10_000  # of one upload to S3
_MIB: Final = 1 << 20
_GONE: Final = "NoSuchUpload"  # the code of S3 for an upload that was completed or deleted
_SECONDS: Final = 60  # for a request, beside the time that its bytes take
_SLOWEST: Final = 20_000  # bytes of one request a second; several are sent at a time


def part_bytes(size: int | None) -> int:
    """How long the parts of a file are: 8 MiB, or so long that at most 10,000 make up the whole."""
    if size is None:
        return 4 * PART_BYTES
    needed = -(-size // (MAX_PARTS - 1))
    return max(PART_BYTES, -(-needed // _MIB) * _MIB)


class Part(io.RawIOBase):
    """The bytes of a part, as a file: of one in small chunks less is copied on the way to the socket than of `bytes`."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self._position = 0

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def tell(self) -> int:
        """See `io.IOBase`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self.memory)}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        data = self.memory[self._position : self._position + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class NextPart:
    """Bytes that are collected until there are as many as a part has, and handed over without a copy."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._memory: memoryview | None = None
        self._filled = 0

    def filled(self, view: memoryview) -> Iterator[memoryview]:
        """Add bytes; each part that they complete."""
        while len(view):
            if self._memory is None:
                self._memory = pages(self._size)
            end = min(self._size, self._filled + len(view))
            taken = end - self._filled
            self._memory[self._filled : end] = view[:taken]
            self._filled, view = end, view[taken:]
            if self._filled == self._size:
                yield self.rest()

    def rest(self) -> memoryview:
        """What was collected, which is not here any more."""
        part = memoryview(b"") if self._memory is None else self._memory[: self._filled]
        self._memory, self._filled = None, 0
        return part


class Request:
    """A request while it is made, once or several times; another thread may give it up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Future[Any] | None = None
        self._given_up = False

    def make(
        self, call: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop, seconds: float | None
    ) -> Any:
        """What a coroutine returns in the thread of a loop.

        Raises:
            TimeoutError: it took longer than that.
            BundleError: the request was given up.
        """
        with self._lock:
            if self._given_up:
                call.close()
                raise BundleError("given up")
            self._running = asyncio.run_coroutine_threadsafe(call, loop)
        try:
            return self._running.result(seconds)
        except TimeoutError:
            self._running.cancel()
            raise
        except CancelledError:
            raise BundleError("given up") from None

    def give_up(self) -> None:
        """Let it end now, and not be made again."""
        with self._lock:
            self._given_up = True
            if self._running is not None:
                self._running.cancel()


def call_s3(
    fs: Any,
    name: str,
    method: str,
    body: memoryview | None = None,
    *,
    request: Request | None = None,
    **arguments: object,
) -> Any:
    """The response of S3 to a request about one file; made again if it fails for a reason that may pass.

    The time-outs of the library begin when a request has been sent. A server that stops to receive in the middle of one
    is given up when the bytes could have been sent at `_SLOWEST`.
    """
    request = request or Request()
    bucket, key, _ = fs.split_path(name)
    seconds = None if body is None else _SECONDS + len(body) / _SLOWEST

    def send() -> Any:
        more = {} if body is None else {"Body": Part(body)}
        call = _call(fs, method, Bucket=bucket, Key=key, **arguments, **more)
        return request.make(call, fs.loop, seconds)

    return patiently(send)


async def _call(fs: Any, method: str, **arguments: object) -> Any:
    """One request, without the further attempts of s3fs: these would send a body from where the last one left it."""
    await fs.set_session()
    client = await fs.get_s3(arguments["Bucket"])
    call = getattr(client, method)
    return await call(**fs._get_s3_method_kwargs(call, **arguments))


def begin_s3(fs: Any, name: str) -> str:
    """The id of a new upload. Another one may have begun if an answer was lost; `PublishedFiles` looks for it."""
    return str(call_s3(fs, name, "create_multipart_upload")["UploadId"])


def uploads_to_s3(fs: Any, directory: str) -> Iterator[Mapping[str, Any]]:
    """What S3 says of each upload of a file in a directory that was begun and not completed."""
    bucket, prefix, _ = fs.split_path(directory)
    where = {"Bucket": bucket, "Prefix": f"{prefix.rstrip('/')}/" if prefix else "", "Delimiter": "/"}
    markers: dict[str, Any] = {}
    while True:
        page = patiently(functools.partial(fs.call_s3, "list_multipart_uploads", **where, **markers))
        yield from (
            each for each in page.get("Uploads", ()) if "/" not in each["Key"][len(where["Prefix"]) :]
        )
        if not page.get("IsTruncated"):
            return
        markers = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def complete_s3(
    fs: Any,
    name: str,
    upload_id: str,
    parts: Sequence[SentPart],
    *,
    replace: bool,
    must_be_this: Callable[[], None],
) -> None:
    """Let the parts of an upload become a file.

    `must_be_this` raises ConflictError unless the file that has the name has the bytes of these parts. It is called if the
    name is taken, which it also is after a request that was carried out and whose answer was lost.
    """
    condition: dict[str, Any] = {} if replace else {"IfNoneMatch": "*"}
    listed = [{"PartNumber": part.number, "ETag": part.tag} for part in parts]
    try:
        call_s3(
            fs,
            name,
            "complete_multipart_upload",
            UploadId=upload_id,
            MultipartUpload={"Parts": listed},
            **condition,
        )
    except Exception as error:
        if not is_taken(error):
            raise
        must_be_this()
        abort_s3(fs, name, upload_id)


def abort_s3(fs: Any, name: str, upload_id: str) -> None:
    """Delete the parts of an upload, unless it is gone; what fails leaves them for `manage URL clean`."""
    with contextlib.suppress(Exception):  # whatever a library raises
        call_s3(fs, name, "abort_multipart_upload", UploadId=upload_id)


def is_taken(error: BaseException) -> bool:
    """Whether S3 says that a name is taken, or that an upload is gone, as it is when it was completed."""
    return code_of(error) in ("PreconditionFailed", "ConditionalRequestConflict", _GONE)


class S3Parts:
    """Parts of an upload to S3 that follow each other, some of them on their way at a time (`PartsWriter`)."""

    def __init__(
        self, path: str, fs: Any, name: str, upload_id: str, first: int, next_part: NextPart
    ) -> None:
        """Send the parts from number `first` on of the upload `upload_id` of the file `name`, whose URL is `path`.

        `next_part` has what was written already.
        """
        self._path, self._fs, self._name, self._id = path, fs, name, upload_id
        self._number = first
        self._next = next_part
        self._done: list[SentPart] = []
        self._coming: deque[tuple[int, Future[SentPart], Request]] = deque()  # with the size of each

    def write(self, data: Buffer) -> None:
        """See `PartsWriter`."""
        for part in self._next.filled(memoryview(data).cast("B")):
            self.send(part)

    def send(self, data: memoryview) -> None:
        """Send the next part."""
        while not budget.take_for_writing(len(data), len(self._coming)):
            self._take()
        request = Request()
        self._coming.append((len(data), submit(self._send_part, self._number, data, request), request))
        self._number += 1

    def _send_part(self, number: int, data: memoryview, request: Request) -> SentPart:
        which = {"UploadId": self._id, "PartNumber": number}
        sent = call_s3(self._fs, self._name, "upload_part", data, request=request, **which)
        return SentPart(number, sent["ETag"])

    def _take(self) -> None:
        size, future, _ = self._coming.popleft()
        try:
            self._done.append(future.result())
        except Exception as error:
            if code_of(error) == _GONE:
                raise ConflictError(
                    "its upload was deleted, by another writer of this file that was faster, or by 'manage URL clean'",
                    path=self._path,
                ) from error
            raise translated(error, self._path, doing="written") from error
        finally:
            budget.was_sent(size)

    def finish_parts(self) -> list[SentPart]:
        """See `PartsWriter`."""
        if rest := self._next.rest():
            self.send(rest)
        while self._coming:
            self._take()
        return self._done

    def stop(self) -> None:
        """Send no part more, give up those on their way, and wait for that: one that arrives after the end of its upload would stay."""
        for _, future, request in self._coming:
            future.cancel()
            request.give_up()
        while self._coming:
            size, future, _ = self._coming.popleft()
            if not future.cancelled():
                future.exception()
            budget.was_sent(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
