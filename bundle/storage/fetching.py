"""One request for a range of a file behind a URL, and what the response says of the file besides.

S3 and HTTP say with every range which version of the file it is of, and how long that is; their libraries drop it, so
requests are made here. Other libraries are asked for the bytes alone.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorbundle.errors import UnsupportedError
from tensorbundle.storage.faults import REFUSED, ShortBodyError, code_of, status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Fetched", "fetch", "fetch_end", "is_http", "is_s3", "version_of"]

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_NO_SUCH_RANGE: Final = (400, 405, 416, 501)
_VERSIONS: Final = ("ETag", "etag", "generation", "md5Hash", "mtime", "last_modified", "Last-Modified")
_VERSIONS_OF_MEMORY: Final = ("created", "modified")
_CHUNK_BYTES: Final = 1 << 18


class Fetched(NamedTuple):
    """What a request returned.

    Attributes:
        data: the bytes; none if they are in a buffer that was given.
        received: how many bytes.
        size: of the whole file, if the response says it.
        version: of the file, if the response says it.
    """

    data: bytes
    received: int
    size: int | None = None
    version: str | None = None


def is_s3(fs: Any) -> bool:
    """Whether a file system of fsspec is s3fs's; one that caches another is not, though it has all its attributes."""
    return hasattr(type(fs), "_call_s3")


def is_http(fs: Any) -> bool:
    """Whether a file system of fsspec is the one for HTTP."""
    return hasattr(type(fs), "encode_url") and hasattr(type(fs), "set_session")


def version_of(info: Mapping[str, Any]) -> str | None:
    """What changes when a file does, by what fsspec's `info` says; None if it says nothing."""
    for name in (*_VERSIONS, *_VERSIONS_OF_MEMORY):
        if info.get(name):
            return str(info[name])
    return None


def fetch(fs: Any, name: str, start: int, end: int, into: memoryview | None = None) -> Fetched:
    """The bytes from `start` up to `end` of the file that is called `name` there; fewer if the file ends before.

    They are written into the buffer `into`, which has the size of the range, if it is given. It may be released before all
    have come: that ends the request.

    Raises:
        UnsupportedError: the server has no ranges.
        Exception: whatever the library raises.
    """
    body = _Body(end - start, into)
    ask = _from_s3 if is_s3(fs) else _from_http if is_http(fs) else None
    if ask is None:
        body.add(fs.cat_file(name, start=start, end=end))
        return Fetched(body.data, body.count)
    from fsspec.asyn import sync

    response: _Response = sync(fs.loop, ask, fs, name, f"{start}-{end - 1}", body)
    if response.first is not None and (response.first != start or response.last >= end):
        raise UnsupportedError(
            f"the server sent bytes {response.first} to {response.last} instead of {start} to {end - 1}"
        )
    return response.fetched


def fetch_end(fs: Any, name: str, size: int) -> Fetched | None:
    """The last `size` bytes of a file, or all if it has fewer, and its size; None if the server must be asked that first.

    Raises:
        Exception: whatever the library raises, for example as there is no such file.
    """
    ask = _from_s3 if is_s3(fs) else _from_http if is_http(fs) else None
    if ask is None:
        return None
    from fsspec.asyn import sync

    try:
        response: _Response = sync(fs.loop, ask, fs, name, f"-{size}", _Body(size))
    except UnsupportedError:
        return None
    except Exception as error:
        # The file is empty, or the server does not count from the end.
        if status_of(error) in _NO_SUCH_RANGE and code_of(error) not in REFUSED:
            return None
        raise
    whole = response.fetched.size
    ends = whole is not None and response.last == whole - 1 and response.fetched.received == min(size, whole)
    return response.fetched if ends else None


class _Body:
    """The bytes of a response while they arrive.

    Attributes:
        count: how many so far.
    """

    def __init__(self, most: int, into: memoryview | None = None) -> None:
        """Take at most so many; into a buffer of this size, if that is given."""
        self._most, self._into = most, into
        self._collected = io.BytesIO()
        self.count = 0

    def add(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            UnsupportedError: they are more than were asked for.
            ValueError: the buffer was released.
        """
        start, self.count = self.count, self.count + len(chunk)
        if self.count > self._most:
            raise UnsupportedError(
                f"more than the {self._most} bytes that were asked for: the server ignores byte ranges; "
                "download the files"
            )
        if self._into is None:
            self._collected.write(chunk)
        else:
            self._into[start : self.count] = chunk

    async def add_all(self, read: Callable[[int], Awaitable[bytes]]) -> None:
        """Take what `read` returns, chunk by chunk, so that no more than these are in memory twice."""
        while chunk := await read(_CHUNK_BYTES):
            self.add(chunk)

    @property
    def data(self) -> bytes:
        """What was collected."""
        return self._collected.getvalue()


class _Response(NamedTuple):
    """What a request returned, and where its first and last byte are in the file, if the response says that."""

    fetched: Fetched
    first: int | None = None
    last: int = 0


async def _from_s3(fs: Any, name: str, span: str, body: _Body) -> _Response:
    bucket, key, version = fs.split_path(name)
    more = {"VersionId": version} if version else {}
    response = await fs._call_s3(
        "get_object", Bucket=bucket, Key=key, Range=f"bytes={span}", **more, **fs.req_kw
    )
    try:
        await body.add_all(response["Body"].read)
    finally:
        response["Body"].close()
    return _checked(body, response.get("ContentRange"), response.get("ETag"))


async def _from_http(fs: Any, name: str, span: str, body: _Body) -> _Response:
    session = await fs.set_session()
    headers = {**fs.kwargs.get("headers", {}), "Range": f"bytes={span}"}
    headers["Accept-Encoding"] = "identity"  # the bytes that are stored
    async with session.get(fs.encode_url(name), **{**fs.kwargs, "headers": headers}) as response:
        response.raise_for_status()
        if response.status != 206:  # and reading on would read the whole file
            raise UnsupportedError(
                "the server ignores byte ranges and sends whole files; download the files, or use another server"
            )
        await body.add_all(response.content.read)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        return _checked(body, response.headers.get("Content-Range"), version)


def _checked(body: _Body, header: str | None, version: str | None) -> _Response:
    """A response, if its bytes are all there."""
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None:
        return _Response(Fetched(body.data, body.count, None, version))
    first, last, size = map(int, found.groups())
    if body.count != last - first + 1:
        raise ShortBodyError(f"{body.count} bytes of {last - first + 1}: the response was cut short")
    return _Response(Fetched(body.data, body.count, size, version), first, last)
