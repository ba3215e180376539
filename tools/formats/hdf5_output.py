"""Writes a plan as an HDF5 file: each tensor is a contiguous dataset, whose path is the key. Needs h5py.

HDF5 makes a file without the values, which takes no space on most disks, and tells the offset of each dataset. Then
that file is copied to the output, with the values in their places: one pass, from the first byte to the last.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.arrays import np
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, ConflictError, listed
from tensorbundle.keys import decode_key
from tensorbundle.tools.formats.hdf5_index import hdf5
from tensorbundle.tools.formats.listed_index import MOST_SHOWN, is_text
from tensorbundle.tools.formats.single_file import SingleFileOutput
from tensorbundle.tools.rewriting.appending import append_entries
from tensorbundle.tools.rewriting.plan import Carried, Converted
from tensorbundle.tools.rewriting.ranges import OpenFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.storage.protocols import WritableFile
    from tensorbundle.tools.rewriting.options import TransferOptions, Written
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry

__all__ = ["Hdf5Output"]

_TYPES: Final = frozenset(
    {
        *(DType.float16, DType.bfloat16, DType.float32, DType.float64, DType.complex64, DType.complex128),
        *(DType.int8, DType.int16, DType.int32, DType.int64),
        *(DType.uint8, DType.uint16, DType.uint32, DType.uint64),
        DType.bool,
    }
)
_COPIED_BYTES: Final = 1 << 20
_MAX_TEXTS: Final = 2000  # in one attribute, which HDF5 limits to 64 KiB; each takes 16 bytes there


@dataclass(frozen=True, slots=True)
class Hdf5Output(SingleFileOutput):
    """An HDF5 file (`SingleFileOutput`), as Keras writes its weights.

    Tensors with the same origin share one dataset, by hard links.
    """

    @property
    def file_format(self) -> str:
        """See `Output`."""
        return "hdf5"

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """See `Output`."""
        if dtype not in _TYPES:
            return f"Keras's HDF5 files have no values of type {dtype}"
        if len(shape) > 32:
            return f"HDF5 has at most 32 dimensions, not {len(shape)}"
        name = decode_key(key)
        parts = name.split("/")
        if "\0" in name or "" in parts or "." in parts or not is_text(name):
            return "not a path that a dataset can have; rename the tensor first"
        return None

    def fill(self, file: WritableFile, plan: Plan, path: str, options: TransferOptions) -> Iterator[Written]:
        """See `SingleFileOutput`."""
        with contextlib.ExitStack() as stack:
            with tempfile.TemporaryDirectory() as scratch:
                empty = os.path.join(scratch, "empty.h5")
                places = _make_empty(empty, plan, path)
                size = os.path.getsize(empty)
                structure = stack.enter_context(open(empty, "rb"))
            # Its name is gone by now: a killed process leaves nothing of it.
            files = stack.enter_context(OpenFiles())
            for offset, entry in places:
                _copy(structure, file, offset)
                _, done = append_entries(
                    file,
                    [entry],
                    verify=options.verify,
                    progress=options.progress,
                    jobs=options.jobs,
                    files=files,
                )
                structure.seek(file.size)
                yield done
            _copy(structure, file, size)


def _make_empty(empty: str, plan: Plan, path: str) -> list[tuple[int, PlannedEntry]]:
    """Make the file without the values; returns the offset and the entry of each dataset, in the order of the file.

    Raises:
        ConflictError: the path of a tensor is also the path of a group with other tensors.
        BundleError: it can't be written, where the system has its temporary files.
    """
    h5py = hdf5(path)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)  # the same tensors give the same bytes
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    first: dict[object, str] = {}
    places = []
    keys = [decode_key(each.key) for each in plan.entries]
    datasets = set(keys)  # which can't be groups
    if inside := [f"{key!r} in {above!r}" for key in keys for above in _above(key) if above in datasets]:
        raise ConflictError(
            f"HDF5 has no dataset in a dataset: {listed(inside, most=MOST_SHOWN)}; rename or remove one of each",
            path=path,
        )
    with _writing(path, empty), h5py.File(empty, "w") as file:
        for group, attributes in plan.attributes.items():
            target = file.require_group(group) if group else file
            for name, value in attributes.items():
                if isinstance(value, list) and len(value) > _MAX_TEXTS:  # Keras reads these as one
                    for number, start in enumerate(range(0, len(value), _MAX_TEXTS)):
                        target.attrs[f"{name}{number}"] = value[start : start + _MAX_TEXTS]
                else:
                    target.attrs[name] = value
        for each in plan.entries:
            key, entry = decode_key(each.key), each.origin.entry
            identity = _identity(each)
            if identity is not None and identity in first:
                file[key] = file[first[identity]]
                continue
            raw = entry.dtype is DType.bfloat16
            kind = h5py.h5t.py_create(np.dtype("V2") if raw else entry.dtype.numpy, logical=True)
            space = h5py.h5s.create_simple(entry.shape) if entry.shape else h5py.h5s.create(h5py.h5s.SCALAR)
            dataset = h5py.Dataset(
                h5py.h5d.create(file.id, key.encode(), kind, space, dcpl=creation, lcpl=links)
            )
            if raw:
                dataset.attrs["dtype"] = "bfloat16"
            if entry.nbytes:
                places.append((int(dataset.id.get_offset()), each))
            if identity is not None:
                first[identity] = key
    return sorted(places, key=lambda place: place[0])


@contextlib.contextmanager
def _writing(path: str, empty: str) -> Iterator[None]:
    """Turns the exceptions of h5py that the file `empty` can't be written into our errors about `path`."""
    try:
        yield
    except BundleError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise BundleError(f"its structure can't be written to {empty!r}: {reason}", path=path) from error


def _above(key: str) -> Iterator[str]:
    """The paths of the groups that a dataset is in."""
    at = key.find("/")
    while at >= 0:
        yield key[:at]
        at = key.find("/", at + 1)


def _identity(planned: PlannedEntry) -> object:
    """Equal for two entries with the unchanged values of the same stored tensor; None for other entries."""
    origin = planned.origin
    if isinstance(origin, Carried) and origin.part_of is None:
        return id(origin.index), origin.key
    if isinstance(origin, Converted):
        return id(origin.expression)
    return None


def _copy(source: Any, file: WritableFile, end: int) -> None:
    """Copy from the current position of the source, until the output ends at `end`."""
    while file.size < end:
        file.write(source.read(min(_COPIED_BYTES, end - file.size)))
