"""The only place that touches the files of a checkpoint.

A *name* is a path or a URL, as text. A *store* has the files with such names: `store_of` chooses it.

- `paths.py`: the algebra of names, for both paths and URLs; touches no file.
- `protocols.py`: the interfaces of a store, of a file, and of the files of one output.
- `content.py`: recognizes files that are not checkpoints, by their first bytes.
- `staging.py`: the files of one output under temporary names, moved to their final names in the commit.
- `local.py`: the local file system.
- `behind.py`: a file that is written by a thread of its own.

Another kind of store is a module here, and a line in `store_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.errors import UnsupportedError
from tensorbundle.storage.local import LocalStore
from tensorbundle.storage.paths import is_url

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import Store

__all__ = ["store_of"]


def store_of(name: str) -> Store:
    """The store that has the file or the directory with this name.

    Raises:
        UnsupportedError: a URL of a kind that no store is known for.
    """
    if is_url(name):
        raise UnsupportedError("URLs can't be read; copy the files to a local directory", path=name)
    return LocalStore()
