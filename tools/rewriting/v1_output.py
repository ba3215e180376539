"""Writes a plan in the old V1 format, whose one file has values in an encoding of its own (`bundle/v1`).

No bytes of a source are carried: every value is read, checked and encoded, some at a time. Many of those that are encoded as
varints are read twice, as a record begins with its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.arrays import np
from tensorbundle.errors import UnsupportedError
from tensorbundle.payloads import decode_strings
from tensorbundle.slices import readable_key
from tensorbundle.tools.rewriting.expressions import stream_values
from tensorbundle.tools.rewriting.options import Written, files_beside
from tensorbundle.tools.rewriting.plan import Converted, Literal
from tensorbundle.tools.rewriting.ranges import OpenFiles
from tensorbundle.tools.rewriting.reading import Reading
from tensorbundle.v1.index import refuse_existing_v1, whole_slice, why_not_writable, write_v1
from tensorbundle.v1.saved_slices import SavedTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorbundle.dtypes import Array, DType
    from tensorbundle.entries import StoredRange
    from tensorbundle.slices import TensorSlice
    from tensorbundle.storage.protocols import Store
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry

__all__ = ["V1Output"]

_HELD_BYTES: Final = 16 << 20  # of a slice whose values stay in memory until they are written


@dataclass(frozen=True, slots=True)
class V1Output:
    """A V1 checkpoint in one file (`Output`)."""

    @property
    def file_format(self) -> str:
        """See `Output`."""
        return "v1"

    def carries(self, dtype: DType, stored: StoredRange) -> bool:
        """See `Output`: it has an encoding of its own."""
        del dtype, stored
        return False

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """See `Output`."""
        del shape
        return why_not_writable(key, dtype)

    def refuse_existing(self, path: str, *, overwrite: bool, store: Store | None = None) -> None:
        """See `Output`."""
        refuse_existing_v1(path, overwrite=overwrite, store=store)

    def shared(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> list[str]:
        """See `Output`: none."""
        del plan, path, options, sizes
        return []

    def write(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> Written:
        """See `Output`."""
        del sizes
        if plan.shards > 1:
            raise UnsupportedError(
                f"{plan.shards} shards: V1 is written as one file; leave out reshard", path=path
            )
        slices = {
            part.key(key): SavedTensor(key, entry.shape, entry.dtype, entry.slices)
            for key, entry in plan.partitioned.items()
            for part in entry.slices
        }
        records: dict[bytes, PlannedEntry] = {}
        tensors: dict[bytes, SavedTensor] = {}
        for each in plan.entries:
            entry = each.origin.entry
            whole = whole_slice(len(entry.shape))
            tensor = slices.get(each.key) or SavedTensor(each.key, entry.shape, entry.dtype, (whole,))
            tensors[tensor.name] = tensor
            records[each.key if each.key in slices else whole.key(each.key)] = each
        written = Written()
        with OpenFiles() as files:

            def values(name: bytes, part: TensorSlice) -> Iterable[Array]:
                planned = records[part.key(name)]
                found = _Values(planned, options, written, files)
                return list(found) if planned.origin.entry.nbytes <= _HELD_BYTES else found

            written.bytes_written = write_v1(
                path,
                list(tensors.values()),
                values,
                overwrite=options.overwrite,
                beside=files_beside(path, options),
                store=options.store,
            )
        return written


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of one slice, in flat arrays; read anew each time that they are gone through."""

    planned: PlannedEntry
    options: TransferOptions
    written: Written
    files: OpenFiles

    def __iter__(self) -> Iterator[Array]:
        origin = self.planned.origin
        if isinstance(origin, Literal):
            yield _decode(origin)
            return
        if not isinstance(origin, Converted):
            raise TypeError(f"{type(origin).__name__} in a plan for V1")
        with Reading(verify=self.options.verify, progress=self.options.progress, files=self.files) as reading:
            if not origin.expression.scattered:
                for source in origin.expression.inputs():
                    for key, entry in source.stored_entries:
                        reading.prefetch(source.index, key, entry)
            yield from stream_values(origin.expression, reading)
        self.written.bytes_read += reading.bytes_read
        if reading.overflowed:
            self.written.overflowed[readable_key(self.planned.key)] = reading.overflowed
        if reading.lost:
            self.written.lost[readable_key(self.planned.key)] = reading.lost


def _decode(literal: Literal) -> Array:
    values = np.empty(literal.entry.elements, object)
    values[:] = decode_strings(memoryview(literal.payload), literal.entry.elements)
    return values.reshape(literal.entry.shape)
