"""The only place that touches the files of a checkpoint.

A *name* is a path or a URL, as text. A *store* has the files with such names: `store_of` chooses it.

- `paths.py`: the algebra of names, for both paths and URLs; touches no file.
- `protocols.py`: the interfaces of a store, of a file, and of the files of one output.
- `settings.py`: options for the libraries behind URLs.
- `content.py`: recognizes files that are not checkpoints, by their first bytes.
- `staging.py`: the files of one output under temporary names, moved to their final names in the commit.
- `flushing.py`: puts a file on disk while it is still written.
- `local.py`: the local file system.
- `behind.py`: a file that is written by a thread of its own.
- `nearby.py`: a file that is read in small pieces near each other.
- `spans.py`: byte ranges, merged and cut for reading over a network.
- `faults.py`: what the libraries behind URLs raise: what may pass, and what it means.
- `fetching.py`: one request for a range, and what the response says of the file.
- `pool.py`: the threads that wait for servers.
- `readahead.py`: parts of a file that are on their way while earlier ones are used.
- `downloads.py`: a file behind a URL, open for reading.
- `s3.py`: requests to S3 that write files, in parts.
- `uploads.py`: files while they are written to a URL.
- `publishing.py`: the files of one output behind URLs, the index last.
- `remote.py`: files behind URLs, by fsspec; imported when a URL is met.

Another kind of store is a module here, and a line in `store_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorbundle.storage.local import LocalStore, LocalWriter
from tensorbundle.storage.paths import is_far

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.storage.protocols import Store, WritableFile

__all__ = ["begin_with_shared", "store_of"]


def store_of(name: str, options: Mapping[str, Any] | None = None) -> Store:
    """The store that has the file or the directory with this name.

    Args:
        name: a path, or a URL.
        options: of a URL, beside those of `settings.storage_options`.
    """
    if is_far(name):
        from tensorbundle.storage.remote import RemoteStore  # most runs meet no URL
        from tensorbundle.storage.settings import current_options

        return RemoteStore({**current_options(), **(options or {})})
    return LocalStore()


def begin_with_shared(file: WritableFile, start: bytes, source: str, offset: int, size: int) -> bool:
    """Write `start` and a range of the file `source` behind it into an empty file, without copying the range.

    Returns False, with nothing written, where that is not possible: see `LocalWriter.begin_with`.
    """
    return (
        isinstance(file, LocalWriter) and not is_far(source) and file.begin_with(start, source, offset, size)
    )
