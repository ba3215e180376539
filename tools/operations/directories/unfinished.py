"""Saves that died before TensorFlow merged their parts, or that are being written right now.

A save writes its parts into `PREFIX_temp/`, `PREFIX_temp_UUID/` (TensorFlow python/checkpoint/functional_saver.py,
python/training/saver.py) and, on S3, beside `PREFIX`, and then merges them to `PREFIX`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.filenames import part_prefixes, parts_folder_prefix, parts_prefix
from tensorbundle.members import is_file, prefixes_in
from tensorbundle.storage.paths import join
from tensorbundle.tools.operations.directories.places import children, children_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Unfinished", "unfinished"]

_BESIDE: Final = re.compile(r"(?P<prefix>.+)\.part-\?{5}-of-\d{5}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A save whose parts were not merged.

    Attributes:
        path: opens all its parts with `tensorbundle.open`: their directory, or their prefix with question marks.
        destination: the prefix of the checkpoint that the save was to write.
        parts: how many of its parts have an index.
        count: how many parts there should be; 0 if none has an index.
    """

    path: str
    destination: str
    parts: int
    count: int

    @property
    def is_whole(self) -> bool:
        """Whether all parts exist, so that they can be merged."""
        return 0 < self.parts == self.count

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return asdict(self) | {"unfinished": True}

    def __str__(self) -> str:
        what = f"{self.path!r} is a save of {self.destination!r} that was not merged, or is being written right now"
        if self.is_whole:
            return f"{what}: all {self.count} parts are there, and 'tensorbundle merge' makes a checkpoint of them"
        return f"{what}: {self.parts} of {self.count or 'its'} parts are there"


def unfinished(directory: str) -> tuple[Unfinished, ...]:
    """The saves in a directory whose parts were not merged, in the order of their names.

    Raises:
        OSError: the directory can't be read.
    """
    return tuple(sorted(_unfinished(directory), key=lambda each: each.path))


def _unfinished(directory: str) -> Iterator[Unfinished]:
    beside = {parts_prefix(join(directory, name)) for name in prefixes_in(directory)}
    for whole in beside - {None}:
        found = None if whole is None else _BESIDE.fullmatch(whole)
        if whole is not None and found:
            yield Unfinished(whole, found["prefix"], *_counted(whole))
    for entry in children(directory):
        prefix = parts_folder_prefix(entry.name)
        if prefix is None or not entry.is_own_directory:
            continue
        if not any(each.name.startswith("part-") for each in children_of(entry)):
            continue
        wholes = {parts_prefix(join(entry.path, name)) for name in prefixes_in(entry.path)} - {None}
        counts = _counted(wholes.pop() or "") if len(wholes) == 1 else (0, 0)
        yield Unfinished(entry.path, join(directory, prefix), *counts)


def _counted(whole: str) -> tuple[int, int]:
    """How many parts have an index, and how many there should be."""
    prefixes = part_prefixes(whole)
    return sum(is_file(f"{each}.index") for each in prefixes), len(prefixes)
