"""Files behind URLs, by fsspec: `s3://`, `gs://`, `az://`, `https://`, `memory://`, and chains such as `simplecache::s3://`.

This module is imported when a URL is met, and fsspec, with the library of the URL's scheme, when a file is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.errors import MissingFileError, UnsupportedError, near_hint
from tensorbundle.storage.downloads import NEAR_BYTES, RemoteFile, Seen
from tensorbundle.storage.faults import NO_BUCKET, MissingBucketError, patiently, status_of, translated
from tensorbundle.storage.fetching import fetch_end, is_http, is_s3, version_of
from tensorbundle.storage.paths import basename, dirname, join
from tensorbundle.storage.pool import submit
from tensorbundle.storage.protocols import Upload
from tensorbundle.storage.publishing import PublishedFiles
from tensorbundle.storage.s3 import (
    NextPart,
    S3Parts,
    begin_s3,
    call_s3,
    complete_s3,
    part_bytes,
    uploads_to_s3,
)
from tensorbundle.storage.settings import current_options
from tensorbundle.storage.uploads import RemoteWriter, must_have, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tensorbundle.storage.protocols import Assembly, PartsWriter, SentPart, Store

__all__ = ["RemoteStore"]

_PACKAGES: Final = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
_REFUSALS: Final = (400, 403)
_SILENT_SECONDS: Final = 30
_PACKAGES_OF_HTTP: Final = {"http": "aiohttp", "https": "aiohttp"}

# What these libraries log is in the errors that they raise; where no handler is, Python prints it, with tracebacks.
for _library in ("fsspec", "s3fs", "gcsfs", "adlfs", "aiobotocore", "botocore", "azure", "google"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """What is behind URLs (`Store`).

    Attributes:
        options: for the libraries of fsspec, as `settings.storage_options` takes them.
        seen: what is known of files, if this store remembers that.
    """

    options: Mapping[str, Any] = field(default_factory=current_options, hash=False)
    seen: dict[str, Seen | None] | None = field(default=None, compare=False, repr=False)

    @property
    def can_share(self) -> bool:
        """See `Store`."""
        return False

    @property
    def can_rename(self) -> bool:
        """See `Store`: object stores copy, which takes as long as writing."""
        return False

    def remembering(self) -> Store:
        """See `Store`."""
        return self if self.seen is not None else RemoteStore(self.options, {})

    def open(self, path: str) -> RemoteFile:
        """See `Store`; that the file exists is found out when it is first read."""
        fs, name = self.locate(path)
        seen = (self.seen or {}).get(path)
        if self.seen is not None and seen is not None and seen.end:
            self.seen[path] = replace(seen, end=b"")  # whoever opens it next reads it anew
        return RemoteFile(path, fs, name, functools.partial(self._look, path), seen)

    def locate(self, path: str) -> tuple[Any, str]:
        """The file system of fsspec that has a URL, and what the file is called there.

        Raises:
            UnsupportedError: fsspec or the scheme's library is not installed, nobody knows the scheme, or an option is
                not one of the library's.
        """
        scheme = _schemes(path)[-1]
        try:
            from fsspec import available_protocols
            from fsspec.core import url_to_fs
        except ImportError:
            raise UnsupportedError(
                f"URLs need fsspec: pip install 'tensorbundle[remote]'{_and_library(scheme)}", path=path
            ) from None
        try:
            options = self._options_for(_schemes(path), available_protocols())
            fs, name = url_to_fs(path, **_timed(scheme, options))
        except ImportError as error:
            package = _PACKAGES.get(scheme) or _PACKAGES_OF_HTTP.get(scheme)
            advice = f"pip install {package}" if package else str(error)
            raise UnsupportedError(f"{scheme}:// needs another package: {advice}", path=path) from None
        except (ValueError, TypeError) as error:
            if "Protocol not known" in str(error):
                near = near_hint(scheme, available_protocols())
                raise UnsupportedError(f"no URLs begin with {scheme}://{near}", path=path) from None
            raise UnsupportedError(f"can't be opened with these options: {error}", path=path) from None
        return fs, name

    def _options_for(self, schemes: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
        """The options of each scheme of a URL; those without one are the last one's, which has the files."""
        by_scheme = {
            name: dict(value)
            for name, value in self.options.items()
            if name in known and isinstance(value, dict)
        }
        flat = {name: value for name, value in self.options.items() if name not in by_scheme}
        out = {each: by_scheme.get(each, {}) for each in schemes}
        out[schemes[-1]] = {**flat, **out[schemes[-1]]}
        return {each: options for each, options in out.items() if options}

    def _look(self, path: str) -> Seen:
        """What a file or directory is, asked of the server.

        Raises:
            MissingFileError, UnreadableFileError: there is none, or that can't be found out.
        """
        fs, name = self.locate(path)

        def ask() -> Mapping[str, Any]:
            fs.invalidate_cache()
            found: Mapping[str, Any] = fs.info(name)
            return found

        try:
            info = patiently(ask)
        except Exception as error:
            found = translated(_with_reason(error, fs, name), path)
            if isinstance(found, MissingFileError) and _is_bucket(path, name):
                raise MissingBucketError(NO_BUCKET, path=path) from error
            raise found from error
        return Seen(info.get("type") != "directory", info.get("size"), version_of(info), _modified(info))

    def _look_at_end(self, path: str) -> Seen | None:
        """What a file is, and its last bytes; None if the library or the server can't tell that at once.

        Raises:
            MissingFileError, UnreadableFileError: as `_look`.
        """
        fs, name = self.locate(path)
        if not (is_s3(fs) or is_http(fs)):
            return None  # and no server has answered yet
        try:
            end = patiently(lambda: fetch_end(fs, name, NEAR_BYTES))
        except Exception as error:
            raise translated(error, path) from error
        return None if end is None else Seen(True, end.size, end.version, end=end.data)

    def _known(self, path: str, *, reading_end: bool = False) -> Seen | None:
        """What a file or directory is, asked once if this store remembers; None if there is none."""
        if self.seen is not None and path in self.seen:
            return self.seen[path]
        try:
            at_end = self._look_at_end(path) if reading_end and self.seen is not None else None
            found: Seen | None = at_end or self._look(path)
        except MissingBucketError:
            raise
        except MissingFileError:
            found = None
        if self.seen is not None:
            self.seen[path] = found
        return found

    def expect(self, paths: Iterable[str]) -> None:
        """See `Store`."""
        if self.seen is None:
            return
        for future in [submit(self._known, path) for path in paths if path not in self.seen]:
            future.result()

    def _must_be_known(self, path: str) -> Seen:
        found = self._known(path)
        if found is None or not found.is_file:
            raise MissingFileError("no such file", path=path)
        return found

    def writer(
        self, name: str, size: int | None = None, appeared: Callable[[str], None] | None = None
    ) -> RemoteWriter:
        """See `Store`: the file appears when it is closed, and replaces no other."""
        fs, inner = self.locate(name)
        reopen = functools.partial(self.open, name)
        return upload(name, fs, inner, reopen, replace=False, held=False, size=size, appeared=appeared)

    def held_writer(self, path: str, size: int | None, *, replace: bool) -> RemoteWriter:
        """See `Uploads`."""
        fs, inner = self.locate(path)
        reopen = functools.partial(self.open, path)
        return upload(path, fs, inner, reopen, replace=replace, held=True, size=size)

    def stage(self, output: str, *, overwrite: bool = False, resume: bool = False) -> PublishedFiles:
        """See `Store`; that there is such a place shows when the first file is written."""
        fs, _ = self.locate(output)
        if is_http(fs):
            raise UnsupportedError("nothing can be written over HTTP; give another destination", path=output)
        return PublishedFiles(self, output, overwrite=overwrite, resume=resume)

    def exists(self, path: str) -> bool:
        """See `Store`."""
        return self._known(path) is not None

    def is_file(self, path: str, *, reading_end: bool = False) -> bool:
        """See `Store`."""
        if _is_bucket(path, self.locate(path)[1]):
            return False
        found = self._known(path, reading_end=reading_end)
        return found is not None and found.is_file

    def is_directory(self, path: str) -> bool:
        """See `Store`; over HTTP, a page with links."""
        if is_http(self.locate(path)[0]):
            return bool(self.list(path))
        found = self._known(path.rstrip("/") if dirname(path) else path)
        return found is not None and not found.is_file

    def same_file(self, path: str, other: str) -> bool:
        """See `Store`."""
        return path == other and self.is_file(path)

    def size(self, path: str) -> int:
        """See `Store`."""
        size = self._must_be_known(path).size
        if size is None:
            raise UnsupportedError("the server does not say how long the file is", path=path)
        return size

    def modified(self, path: str) -> int:
        """See `Store`."""
        return self._must_be_known(path).modified

    def list(self, directory: str) -> list[str]:
        """See `Store`."""
        fs, name = self.locate(directory)

        def ask() -> list[str]:
            fs.invalidate_cache()
            return [str(each) for each in fs.ls(name, detail=False)]

        with contextlib.suppress(MissingFileError, NotADirectoryError):
            try:
                found = patiently(ask)
            except Exception as error:
                raise translated(error, directory, doing="listed") from error
            return [
                basename(f"/{each.rstrip('/')}") for each in found if each.rstrip("/") != name.rstrip("/")
            ]
        return []

    def remove(self, path: str) -> None:
        """See `Store`."""
        fs, name = self.locate(path)
        try:
            patiently(lambda: fs.rm_file(name))
        except Exception as error:
            raise translated(error, path, doing="deleted") from error

    def can_assemble(self, name: str) -> bool:
        """See `Store`: S3 can."""
        return is_s3(self.locate(name)[0])

    def assemble(self, name: str, size: int) -> Assembly:
        """See `Store`."""
        fs, inner = self.locate(name)
        try:
            begun = begin_s3(fs, inner)
        except Exception as error:
            raise translated(error, name, doing="written") from error
        return _S3Assembly(self, Upload(name, begun, ""), part_bytes(size))

    def uploads(self, directory: str) -> Sequence[Upload]:
        """See `Store`: those of S3."""
        fs, name = self.locate(directory)
        if not is_s3(fs):
            return ()
        try:
            return [
                Upload(join(directory, basename(f"/{each['Key']}")), each["UploadId"], str(each["Initiated"]))
                for each in uploads_to_s3(fs, name)
            ]
        except Exception as error:
            raise translated(error, directory, doing="listed") from error

    def abort(self, upload: Upload) -> None:
        """See `Store`."""
        fs, name = self.locate(upload.path)
        try:
            call_s3(fs, name, "abort_multipart_upload", UploadId=upload.id)
        except FileNotFoundError:
            return
        except Exception as error:
            raise translated(error, upload.path, doing="deleted") from error


@dataclass(frozen=True, slots=True)
class _S3Assembly:
    """A multipart upload to which several processes send parts (`Assembly`)."""

    store: RemoteStore
    upload: Upload
    part_bytes: int

    def writer(self, first: int) -> PartsWriter:
        """See `Assembly`."""
        fs, name = self.store.locate(self.upload.path)
        return S3Parts(self.upload.path, fs, name, self.upload.id, first, NextPart(self.part_bytes))

    def complete(self, parts: Sequence[SentPart], size: int, crc: int) -> None:
        """See `Assembly`."""
        path = self.upload.path
        fs, name = self.store.locate(path)
        reopen = functools.partial(self.store.open, path)
        try:
            complete_s3(
                fs,
                name,
                self.upload.id,
                parts,
                replace=False,
                must_be_this=functools.partial(must_have, reopen, size, crc),
            )
        except Exception as error:
            raise translated(error, path, doing="written") from error

    def abort(self) -> None:
        """See `Assembly`."""
        self.store.abort(self.upload)


def _with_reason(error: Exception, fs: Any, name: str) -> Exception:
    """The error of a refused request, with the code that says why, which responses to HEAD requests lack."""
    if is_s3(fs) and status_of(error) in _REFUSALS:
        try:
            fetch_end(fs, name, 1)
        except Exception as other:  # whatever the library raises
            return other if status_of(other) in _REFUSALS else error
    return error


def _is_bucket(path: str, name: str) -> bool:
    """Whether a URL, which is `name` in its file system, is that of a bucket, in which all files are."""
    return _schemes(path)[-1] in _PACKAGES and "/" not in name.rstrip("/")


def _schemes(path: str) -> list[str]:
    """The schemes of a URL, the outermost first: `simplecache::s3://b/x` has simplecache and s3."""
    return [each.partition("://")[0] for each in path.split("::") if each]


def _timed(scheme: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with time-outs for HTTP, where the library's own count from the beginning of a request to its end.

    `client_kwargs={"timeout": 5}` are the seconds without a byte after which a request is made again.

    Raises:
        ImportError: aiohttp is not installed.
    """
    if scheme not in _PACKAGES_OF_HTTP:
        return options
    from aiohttp import ClientTimeout

    own = options.get(scheme, {})
    client = own.get("client_kwargs", {})
    timeout = client.get("timeout", _SILENT_SECONDS)
    if isinstance(timeout, (int, float)):
        timeout = ClientTimeout(total=None, sock_connect=timeout, sock_read=timeout)
    return {**options, scheme: {**own, "client_kwargs": {**client, "timeout": timeout}}}


def _and_library(scheme: str) -> str:
    package = _PACKAGES.get(scheme) or _PACKAGES_OF_HTTP.get(scheme)
    return f" {package}" if package else ""


def _modified(info: Mapping[str, Any]) -> int:
    """When a file was changed, by the names that libraries give it."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value * 1e9)
    return 0
