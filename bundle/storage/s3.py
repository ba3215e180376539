"""Requests to S3 that write files: uploads in parts that follow each other, some of them on their way at a time."""

from __future__ import annotations

import contextlib
import functools
import io
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

from tensorbundle.errors import ConflictError
from tensorbundle.storage.faults import code_of, patiently, translated
from tensorbundle.storage.pool import Budget, submit
from tensorbundle.storage.protocols import SentPart
from tensorbundle.storage.spans import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
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
PARTS_IN_FLIGHT: Final = 8  # in the whole process; 64 MiB
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


class NextPart:
    """Bytes that are collected until there are as many as a part has, and handed over without a copy."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._collected = io.BytesIO()

    def filled(self, view: memoryview) -> Iterator[bytes]:
        """Add bytes; each part that they complete."""
        while len(view):
            room = self._size - self._collected.tell()
            self._collected.write(view[:room])
            view = view[room:]
            if self._collected.tell() == self._size:
                yield self.rest()

    def rest(self) -> bytes:
        """What was collected, which is not here any more."""
        data = self._collected.getvalue()
        self._collected = io.BytesIO()
        return data


def call_s3(fs: Any, name: str, method: str, **arguments: object) -> Any:
    """The response of S3 to a request about one file; made again if it fails for a reason that may pass.

    The time-outs of the library begin when a request has been sent. A server that stops to receive in the middle of one
    is given up when the bytes could have been sent at `_SLOWEST`.
    """
    from fsspec.asyn import sync

    bucket, key, _ = fs.split_path(name)
    body = arguments.get("Body")

    def send() -> Any:
        seconds = _SECONDS + len(body) / _SLOWEST if isinstance(body, bytes) else None
        return sync(fs.loop, fs._call_s3, method, timeout=seconds, Bucket=bucket, Key=key, **arguments)

    return patiently(send)


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
    condition = {} if replace else {"IfNoneMatch": "*"}
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


_budget: Final = Budget(PARTS_IN_FLIGHT)


class S3Parts:
    """Parts of an upload to S3 that follow each other, some of them on their way at a time (`PartsWriter`)."""

    def __init__(self, path: str, fs: Any, name: str, upload_id: str, first: int, part_bytes: int) -> None:
        """Send the parts from number `first` on of the upload `upload_id` of the file `name`, whose URL is `path`."""
        self._path, self._fs, self._name, self._id = path, fs, name, upload_id
        self._number = first
        self._next = NextPart(part_bytes)
        self._done: list[SentPart] = []
        self._coming: deque[Future[SentPart]] = deque()

    def write(self, data: Buffer) -> None:
        """See `PartsWriter`."""
        for part in self._next.filled(memoryview(data).cast("B")):
            self.send(part)

    def send(self, data: bytes) -> None:
        """Send the next part."""
        while not _budget.take(len(self._coming)):
            self._take()
        self._coming.append(submit(self._send_part, self._number, data))
        self._number += 1

    def _send_part(self, number: int, data: bytes) -> SentPart:
        sent = call_s3(self._fs, self._name, "upload_part", UploadId=self._id, PartNumber=number, Body=data)
        return SentPart(number, sent["ETag"])

    def _take(self) -> None:
        try:
            self._done.append(self._coming.popleft().result())
        except Exception as error:
            if code_of(error) == _GONE:
                raise ConflictError(
                    "its upload was deleted, by another writer of this file that was faster, or by 'manage URL clean'",
                    path=self._path,
                ) from error
            raise translated(error, self._path, doing="written") from error
        finally:
            _budget.give_back()

    def finish_parts(self) -> list[SentPart]:
        """See `PartsWriter`."""
        if rest := self._next.rest():
            self.send(rest)
        while self._coming:
            self._take()
        return self._done

    def stop(self) -> None:
        """Send no part more, and wait for those on their way: one that arrives after the end of its upload would stay."""
        for future in self._coming:
            future.cancel()
        while self._coming:
            future = self._coming.popleft()
            if not future.cancelled():
                future.exception()
            _budget.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
