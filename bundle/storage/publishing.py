"""The files of one output behind URLs (`Staging`): data first, under names that nothing else has; the index last.

Nothing can be renamed there, so files are written under their final names. Without the index, which one request makes
appear, they are no checkpoint. A writer that fails deletes those that it has put there itself, as another one may be at work
under the same names; of one that is killed they stay, and `manage URL clean` lists and deletes them.

An upload whose beginning was not heard of, as the answer was lost or a machine of a cluster died, has the name of one of
these files. When the files are there, nothing can become of it any more, so it is deleted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, Self

from tensorbundle.errors import BundleError, ConflictError, MissingFileError, UnsupportedError
from tensorbundle.storage.paths import dirname
from tensorbundle.storage.pool import submit
from tensorbundle.storage.protocols import SharingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import TracebackType

    from tensorbundle.storage.protocols import SharedHow, Upload
    from tensorbundle.storage.uploads import RemoteWriter

__all__ = ["PublishedFiles", "Uploads"]


class Uploads(Protocol):
    """What a store does for files that are published."""

    def held_writer(self, path: str, size: int | None, *, replace: bool) -> RemoteWriter:
        """A file that appears when it is finished."""

    def exists(self, path: str) -> bool:
        """Whether a name is taken."""

    def remove(self, path: str) -> None:
        """Delete a file."""

    def uploads(self, directory: str) -> Sequence[Upload]:
        """The uploads of files in a directory that were not completed."""

    def abort(self, upload: Upload) -> None:
        """Delete the parts of an upload."""


class PublishedFiles:
    """The files of one output in an object store (`Staging`)."""

    def __init__(self, store: Uploads, output: str, *, overwrite: bool, resume: bool) -> None:
        """Write files beside `output`.

        Args:
            store: where.
            output: what messages call it.
            overwrite: whether the files that are held may replace others.
            resume: whether files of an attempt that died may be used again, and stay if this one fails.
        """
        self.visible = False
        self._store = store
        self._output = output
        self._overwrite, self._resume = overwrite, resume
        self._created: list[str] = []  # that whoever writes them lets appear
        self._appeared: list[str] = []  # those of them that did
        self._held: list[tuple[str, RemoteWriter]] = []

    def create(self, final: str, *, replace: bool = False) -> str:
        """See `Staging`."""
        if not replace and not self._resume and self._store.exists(final):
            raise ConflictError(
                "exists, without its index: left by a writer that died, or being written right now; "
                "'tensorbundle manage DIR clean' deletes it, --resume continues that run",
                path=final,
            )
        self._created.append(final)
        return final

    def writer(self, final: str, *, replace: bool = False, size: int | None = None) -> RemoteWriter:
        """See `Staging`."""
        writer = self._store.held_writer(final, size, replace=replace or self._overwrite)
        self._held.append((final, writer))
        return writer

    def appeared(self, name: str) -> None:
        """See `Staging`."""
        self._appeared.append(name)

    def share(self, source: str, final: str) -> tuple[str, SharedHow]:
        """See `Staging`."""
        del final
        raise SharingError("object stores have no links", path=source)

    def rename(self, name: str, final: str) -> None:
        """See `Staging`."""
        del final
        raise UnsupportedError("files here can't be renamed", path=name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """See `Staging`: there are no locks; `RemoteWriter` finds that a name was taken meanwhile."""
        yield

    def commit(self, switch: str | None = None) -> None:
        """See `Staging`."""
        switch = self._held[-1][0] if switch is None and self._held else switch
        own = [writer.upload_id for _, writer in self._held]
        left = submit(self._left, {*self._created, *(final for final, _ in self._held)}, own)
        appeared: list[str] = []
        try:
            while self._held:
                final, writer = self._held[0]
                writer.finish()
                self._held.pop(0)
                appeared.append(final)
                self.visible = self.visible or final == switch
        except BaseException:
            if not self.visible:
                self._remove(appeared)
            raise
        self._created.clear()
        self._appeared.clear()
        self._abort(left.result())

    def discard(self, *, keep: bool = False) -> None:
        """See `Staging`."""
        for _, writer in self._held:
            writer.abandon()
        self._held.clear()
        if self._created and not (self.visible or keep or self._resume) and self._remove(self._appeared):
            self._abort(self._left(self._created))
        self._created.clear()
        self._appeared.clear()

    def _left(self, paths: Collection[str], own: Collection[str | None] = ()) -> list[Upload]:
        """The uploads of files with these names, but for those with the ids `own`; none if the store does not say that."""
        try:
            found = self._store.uploads(dirname(self._output))
        except BundleError:
            return []
        return [each for each in found if each.path in paths and each.id not in own]

    def _abort(self, uploads: Sequence[Upload]) -> None:
        for each in uploads:
            with contextlib.suppress(BundleError):
                self._store.abort(each)

    def _remove(self, paths: Sequence[str]) -> bool:
        """Delete files; False if the server does not let that happen, which is not tried for all of them then."""
        for path in paths:
            try:
                self._store.remove(path)
            except MissingFileError:
                continue
            except BundleError:
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard(keep=isinstance(error, ConflictError))
        if isinstance(error, OSError) and not isinstance(error, BundleError):
            raise BundleError(f"can't be written: {error.strerror or error}", path=self._output) from error
