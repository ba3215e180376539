"""Reads one safetensors file, or a set of them with an index; listing tensors takes two reads of each file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tensorbundle.entries import StoredRange
from tensorbundle.errors import BundleError, CorruptionError, MissingFileError, listed
from tensorbundle.keys import encode_key
from tensorbundle.limits import MAX_HEADER_BYTES
from tensorbundle.storage.paths import dirname, join
from tensorbundle.tools.formats.listed_index import MOST_SHOWN, ListedIndex
from tensorbundle.tools.formats.safetensors import (
    INDEX_ENDING,
    LENGTH,
    Header,
    header_size,
    parse_header,
    parse_weight_map,
)

if TYPE_CHECKING:
    from tensorbundle.storage.protocols import Store

__all__ = ["SafetensorsIndex"]

_MAX_FILES: Final = 100_000


class SafetensorsIndex(ListedIndex):
    """The tensors of a safetensors file, or of all files that an index names. They are stored as in a bundle."""

    file_format = "safetensors"

    def __init__(self, path: str, store: Store) -> None:
        """Read the headers of all files.

        Raises:
            MissingFileError: no such file, or a file that the index names is missing.
            CorruptionError: a header or the index is damaged, or they contradict each other.
            UnsupportedError: types that TensorFlow does not have.
        """
        if path.endswith(INDEX_ENDING):
            weights = _weight_map(path, store)
            names = sorted(set(weights.values()))
            super().__init__(path, store, [join(dirname(path), name) for name in names])
            headers = [_header(file, store) for file in self.files]
            numbers = {name: number for number, name in enumerate(names)}
            missing = [name for name, file in weights.items() if name not in headers[numbers[file]].tensors]
            if missing:
                raise CorruptionError(
                    f"tensors that the named files do not have: {listed(map(repr, missing), most=MOST_SHOWN)}",
                    path=path,
                )
            homes = {name: numbers[file] for name, file in weights.items()}
        else:
            super().__init__(path, store, [path])
            headers = [_header(path, store)]
            homes = dict.fromkeys(headers[0].tensors, 0)
        for name, number in homes.items():
            entry = headers[number].tensors[name]._replace(shard=number)
            stored = StoredRange(self.files[number], entry.offset, entry.nbytes)
            self.add(encode_key(name), entry, stored)
        self.attributes = {"": {name: text for each in headers for name, text in each.metadata.items()}}


def _header(path: str, store: Store) -> Header:
    with store.open(path) as file:
        try:
            start = file.read(0, min(max(LENGTH.size, file.near_bytes), file.size))
            size = header_size(start[: LENGTH.size], file.size)
            rest = file.read(len(start), size - len(start)) if size > len(start) else b""
            return parse_header((start + rest)[:size], file.size)
        except BundleError as error:
            raise error.locate(path=path) from None


def _weight_map(path: str, store: Store) -> dict[str, str]:
    with store.open(path) as file:
        if file.size > MAX_HEADER_BYTES:
            raise CorruptionError(
                f"an index of {file.size} bytes, at most {MAX_HEADER_BYTES} are allowed", path=path
            )
        try:
            weights = parse_weight_map(file.read(0, file.size))
        except BundleError as error:
            raise error.locate(path=path) from None
    names = set(weights.values())
    if len(names) > _MAX_FILES:
        raise CorruptionError(f"{len(names)} files, at most {_MAX_FILES} are allowed", path=path)
    for name in sorted(names):
        if not store.is_file(join(dirname(path), name)):
            raise MissingFileError(f"no such file, which {path} names", path=join(dirname(path), name))
    return weights
