"""Writes a plan as a `.npz` file: arrays stored in a zip archive, in one pass."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

from tensorbundle.keys import decode_key
from tensorbundle.tools.formats.listed_index import is_text
from tensorbundle.tools.formats.npy import encode_npy
from tensorbundle.tools.formats.single_file import SingleFileOutput
from tensorbundle.tools.rewriting.appending import append_entries
from tensorbundle.tools.rewriting.ranges import OpenFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.dtypes import DType
    from tensorbundle.storage.protocols import Buffer, WritableFile
    from tensorbundle.tools.rewriting.options import TransferOptions, Written
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry

__all__ = ["NpzOutput"]

_DATE: Final = (1980, 1, 1, 0, 0, 0)  # zip's earliest; fixed, so the same tensors give the same bytes
_MAX_NAME: Final = 0xFFFF - len(".npy")


@dataclass(frozen=True, slots=True)
class NpzOutput(SingleFileOutput):
    """A `.npz` file (`SingleFileOutput`), as `np.savez` makes it.

    A type that NumPy does not have is stored as raw bytes, and the member's comment names the type.
    """

    @property
    def file_format(self) -> str:
        """See `Output`."""
        return "npz"

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """See `Output`."""
        del shape
        if not dtype.is_numeric or dtype.is_quantized:
            return f"npz files have no values of type {dtype}"
        if len(key) > _MAX_NAME or b"\0" in key or not is_text(decode_key(key)):
            return "not a name that a member of an archive can have; rename the tensor first"
        return None

    def fill(self, file: WritableFile, plan: Plan, path: str, options: TransferOptions) -> Iterator[Written]:
        """See `SingleFileOutput`."""
        del path
        with zipfile.ZipFile(_Stream(file), "w", zipfile.ZIP_STORED) as archive, OpenFiles() as files:
            for each in plan.entries:
                yield _write_member(archive, each, options, files)


def _write_member(
    archive: zipfile.ZipFile, planned: PlannedEntry, options: TransferOptions, files: OpenFiles
) -> Written:
    entry = planned.origin.entry
    info = zipfile.ZipInfo(f"{decode_key(planned.key)}.npy", _DATE)
    header = encode_npy(entry.dtype, entry.shape)
    if b"'<V" in header:
        info.comment = entry.dtype.value.encode()
    with archive.open(info, "w", force_zip64=True) as member:
        sink = _Member(member)
        sink.write(header)
        _, written = append_entries(
            sink, [planned], verify=options.verify, progress=options.progress, files=files
        )
    return written


class _Member:
    """A member of an archive, as a file that bytes are appended to (`WritableFile`)."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member
        self.size = 0

    def write(self, data: Buffer) -> None:
        """See `WritableFile`."""
        self.size += self._member.write(data)

    def spread(self, size: int) -> None:
        """See `WritableFile`: written from start to end."""

    def close(self) -> None:
        """See `WritableFile`; does nothing, as the code that opened the member closes it."""

    def abandon(self) -> None:
        """See `WritableFile`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream(io.RawIOBase):
    """The file that a zip archive is written to: not seekable, so that sizes are stored after each member."""

    def __init__(self, file: WritableFile) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        return memoryview(data).nbytes
