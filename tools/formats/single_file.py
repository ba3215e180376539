"""What outputs have in common that are one file, written from its first byte to its last."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tensorbundle.errors import UnsupportedError
from tensorbundle.storage import store_of
from tensorbundle.tools.rewriting.options import Written, files_beside
from tensorbundle.tools.rewriting.plan import Output
from tensorbundle.writer import commit_file, refuse_name, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tensorbundle.dtypes import DType
    from tensorbundle.entries import StoredRange
    from tensorbundle.storage.protocols import Store, WritableFile
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import Plan

__all__ = ["SingleFileOutput"]


@dataclass(frozen=True, slots=True)
class SingleFileOutput(Output):
    """One file of little-endian values (`Output`), which shares no bytes with a source.

    A format says what it lacks, and how a plan fills the file.
    """

    @abstractmethod
    def fill(self, file: WritableFile, plan: Plan, path: str, options: TransferOptions) -> Iterator[Written]:
        """Write everything into the empty file; what was read and converted, in any number of parts.

        Raises:
            BundleError: as `write`.
        """

    def carries(self, dtype: DType, stored: StoredRange) -> bool:
        """See `Output`."""
        return not (stored.big_endian and dtype.swap_width > 1)

    def refuse_existing(self, path: str, *, overwrite: bool, store: Store | None = None) -> None:
        """See `Output`."""
        store = store or store_of(path)
        refuse_name(path, store)
        refuse_taken(path, store, overwrite=overwrite)

    def shared(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> list[str]:
        """See `Output`: none, as the format's own bytes come between the values."""
        del plan, path, options, sizes
        return []

    def write(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> Written:
        """See `Output`."""
        del sizes
        if plan.shards > 1:
            raise UnsupportedError(
                f"{plan.shards} files: {self.file_format} is written as one file", path=path
            )
        store = options.store_for(path)
        refuse_existing = partial(self.refuse_existing, path, overwrite=options.overwrite, store=store)
        refuse_existing()
        written = Written()
        size = sum(each.origin.entry.nbytes for each in plan.entries)
        with store.stage(path, overwrite=options.overwrite) as staging:
            with staging.writer(path, size=size) as file:
                for part in self.fill(file, plan, path, options):
                    written.add(part)
                written.bytes_written = file.size
            commit_file(staging, path, files_beside(path, options), refuse_existing)
        return written
