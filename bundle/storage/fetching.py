"""One request for a range of a file behind a URL, and what the response says of the file besides.

S3 and HTTP say with every range which version of the file it is of, and how long that is; their libraries drop it, so
requests are made here. Other libraries are asked for the bytes alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tensorbundle.errors import UnsupportedError
from tensorbundle.storage.faults import ShortBodyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fetched", "fetch", "is_http", "is_s3", "version_of"]

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_VERSIONS: Final = ("ETag", "etag", "generation", "md5Hash", "mtime", "last_modified", "Last-Modified")
_VERSIONS_OF_MEMORY: Final = ("created", "modified")


class Fetched(NamedTuple):
    """What a request returned.

    Attributes:
        data: the bytes.
        size: of the whole file, if the response says it.
        version: of the file, if the response says it.
    """

    data: bytes
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


def fetch(fs: Any, name: str, start: int, end: int) -> Fetched:
    """The bytes from `start` up to `end` of the file that is called `name` there; fewer if the file ends before.

    Raises:
        UnsupportedError: the server has no ranges.
        Exception: whatever the library raises.
    """
    ask = _from_s3 if is_s3(fs) else _from_http if is_http(fs) else None
    if ask is None:
        return Fetched(fs.cat_file(name, start=start, end=end))
    from fsspec.asyn import sync

    fetched: Fetched = sync(fs.loop, ask, fs, name, start, end)
    return fetched


async def _from_s3(fs: Any, name: str, start: int, end: int) -> Fetched:
    bucket, key, version = fs.split_path(name)
    more = {"VersionId": version} if version else {}
    response = await fs._call_s3(
        "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **more, **fs.req_kw
    )
    try:
        data = await response["Body"].read()
    finally:
        response["Body"].close()
    return _checked(data, start, end, response.get("ContentRange"), response.get("ETag"))


async def _from_http(fs: Any, name: str, start: int, end: int) -> Fetched:
    session = await fs.set_session()
    headers = {**fs.kwargs.get("headers", {}), "Range": f"bytes={start}-{end - 1}"}
    headers["Accept-Encoding"] = "identity"  # the bytes that are stored
    async with session.get(fs.encode_url(name), **{**fs.kwargs, "headers": headers}) as response:
        response.raise_for_status()
        if response.status != 206:  # and reading on would read the whole file
            raise UnsupportedError(
                "the server ignores byte ranges and sends whole files; download the files, or use another server"
            )
        data = await response.read()
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        return _checked(data, start, end, response.headers.get("Content-Range"), version)


def _checked(data: bytes, start: int, end: int, header: str | None, version: str | None) -> Fetched:
    """A response, if its range is the one that was asked for, and its bytes are all there."""
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None:
        return Fetched(data, None, version)
    first, last, size = map(int, found.groups())
    if first != start or last >= end:
        raise UnsupportedError(
            f"the server sent bytes {first} to {last}, asked for were {start} to {end - 1}"
        )
    if len(data) != last - first + 1:
        raise ShortBodyError(f"{len(data)} bytes of {last - first + 1}: the response was cut short")
    return Fetched(data, size, version)
