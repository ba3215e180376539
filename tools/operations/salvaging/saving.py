"""Writes a new checkpoint of all tensors of a damaged one that can be proven good: `salvage`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.boxes import must_tile
from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    UnsupportedError,
)
from tensorbundle.filenames import bundle_prefix, index_path
from tensorbundle.foreign import foreign_ending
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key
from tensorbundle.locating import resolve_prefix, what_is_there
from tensorbundle.members import is_file, prefixes_in, v1_files
from tensorbundle.slices import readable_key
from tensorbundle.storage.paths import basename, dirname, final_name, local_path
from tensorbundle.tools.operations.salvaging.finding import find_index, index_like, must_be_damage
from tensorbundle.tools.operations.salvaging.tables import MendedTable, table_of
from tensorbundle.tools.rewriting.draft import Draft, DraftTensor
from tensorbundle.tools.rewriting.expressions import Stored
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import transfer
from tensorbundle.v1.index import V1Index

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorbundle.checkpoint import Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.operations.salvaging.finding import FoundIndex
    from tensorbundle.tools.rewriting.transfer import Summary

__all__ = ["Fate", "Salvage", "salvage"]

_UNPROVEN_META: Final = "its type and shape are from a damaged block"


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome for a tensor or slice that is lost, or saved without proof.

    Attributes:
        key: its key.
        status: "unproven" if it is saved, but not everything about it is proven; "lost" if it is not saved.
        detail: why.
    """

    key: str
    status: Literal["unproven", "lost"]
    detail: str

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {"key": self.key, "status": self.status, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Salvage:
    """The result of `salvage`.

    Attributes:
        source: the prefix of the damaged checkpoint.
        saved: how many tensors are in the new checkpoint, partitioned ones counted once.
        fates: the tensors that are lost or unproven, in key order.
        notes: where entries were found, and what else was lost.
        summary: of the new checkpoint; None if it was not written.
    """

    source: str
    saved: int
    fates: tuple[Fate, ...]
    notes: tuple[str, ...]
    summary: Summary | None = None

    @property
    def lost(self) -> int:
        """How many tensors are known to be lost."""
        return sum(each.status == "lost" for each in self.fates)

    def to_json(self) -> dict[str, object]:
        """The summary with the numbers of tensors."""
        made = {} if self.summary is None else self.summary.to_json()
        unproven = len(self.fates) - self.lost
        return made | {"source": self.source, "saved": self.saved, "unproven": unproven, "lost": self.lost}


def salvage(
    source: Path,
    destination: Path | None,
    *,
    sibling: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Salvage:
    """Write every tensor of a damaged checkpoint that can be proven good to a new one; the source is only read.

    Args:
        source: its prefix or any of its files, damaged, under temporary names or without an index.
        destination: the prefix of the new checkpoint; None to find out only what can be saved.
        sibling: another checkpoint of the same model, whose index replaces a lost one.
        overwrite: whether the destination may be replaced.
        progress: told how many bytes are done.

    Raises:
        MissingFileError: no file of the source exists, or its index does not and `sibling` is not given.
        CorruptionError: no tensor can be saved, or the sibling has another layout.
        ConflictError: the destination exists, or is the source.
        UnsupportedError: a file of another format.
        BundleError: it can't be written.
    """
    prefix = _prefix_of(str(source))
    if destination is not None and _same(prefix, str(destination)):
        raise ConflictError("the source is never changed: give another destination", path=str(destination))
    if foreign_ending(prefix) is not None:
        raise UnsupportedError(
            "only TensorFlow's checkpoints can be salvaged, which have a checksum of each tensor; 'extract' writes what can be "
            "read of other files",
            path=prefix,
        )
    options = TransferOptions(data="copy", overwrite=overwrite, progress=progress)
    if sibling is None and not is_file(index_path(prefix)) and v1_files(prefix):
        return _salvage_v1(prefix, destination, options)
    found = _found(prefix, sibling, progress)
    fates = [Fate(readable_key(key), "unproven", why) for key, why in found.doubtful.items()]
    lost = _lose_unproven(found)
    fates = [each for each in fates if each.key not in lost]
    fates += [Fate(key, "lost", why) for key, why in lost.items()]
    saved = sum(1 for _ in found.entries())
    notes = (*found.notes, *(f"an entry of the index is lost: {each}" for each in found.unreadable))
    fates.sort(key=lambda each: each.key)
    if not saved:
        reason = fates[0].detail if fates else "no entry of a tensor is left in the index"
        raise CorruptionError(
            f"nothing can be saved: {reason}; 'tensorbundle verify' says what is wrong with its files",
            path=found.path,
        )
    summary = None
    if destination is not None:
        summary = transfer(_draft(found).plan(last=True), str(destination), options)
    return Salvage(prefix, saved, tuple(fates), notes, summary)


def _salvage_v1(prefix: str, destination: Path | None, options: TransferOptions) -> Salvage:
    """The tensors of a V1 checkpoint that can be read, as a V2 checkpoint: each is in a block with a checksum.

    Raises:
        CorruptionError: the record that lists all tensors of a file is damaged; or nothing can be read.
    """
    notes = ["a V1 checkpoint: what can be read is written as V2"]
    paths = v1_files(prefix)
    there = [path for path in paths if is_file(path)]
    notes += [
        f"{basename(path)} is missing, with all that is only in it" for path in paths if path not in there
    ]
    with V1Index(prefix, paths=there, read_table=lambda file: table_of(file, notes)) as index:
        draft = Draft(prefix, shards=1)
        fates = []
        for key in sorted(index.listed):
            if key.startswith(b"\0") and index.owner(key) is not None:
                continue  # a slice, which is read with its tensor
            try:
                entry = index.listed[key]
                stored = Stored.of(index, key, entry)
                if entry.slices:
                    must_tile([each.part.box(entry.shape) for each in stored.stored_slices], entry.shape)
                for raw, each in stored.stored_entries:
                    index.values(raw, each)
            except (CorruptionError, UnsupportedError) as error:
                fates.append(Fate(readable_key(key), "lost", error.reason))
                continue
            draft.tensors[decode_key(key)] = DraftTensor(stored, entry.slices)
            table = index.tables[entry.shard]
            if isinstance(table, MendedTable) and table.meta is not None:
                fates.append(Fate(readable_key(key), "unproven", _UNPROVEN_META))
        if not draft.tensors:
            reason = fates[0].detail if fates else "it lists no tensors"
            raise CorruptionError(f"nothing can be saved: {reason}", path=index.path)
        saved = len(draft.tensors)
        summary = None if destination is None else transfer(draft.plan(last=True), str(destination), options)
    return Salvage(prefix, saved, tuple(fates), tuple(notes), summary)


def _prefix_of(source: str) -> str:
    member = bundle_prefix(final_name(source) or source)
    if member is not None:
        return member
    try:
        return resolve_prefix(source)
    except BundleError:
        return source


def _same(prefix: str, destination: str) -> bool:
    ours, theirs = (local_path(index_path(each)) for each in (prefix, destination))
    return os.path.realpath(ours) == os.path.realpath(theirs)


def _found(prefix: str, sibling: Path | None, progress: Callable[[int], None] | None) -> FoundIndex:
    try:
        if sibling is None:
            return find_index(prefix)
    except MissingFileError as error:
        others = prefixes_in(dirname(prefix) or ".")
        raise MissingFileError(
            f"{error.reason}; --index CKPT takes that of another checkpoint of the same model; "
            f"{what_is_there(others)}",
            path=error.path,
        ) from None
    assert sibling is not None
    with open_checkpoint(sibling) as other:
        if not isinstance(other.index, BundleIndex):
            raise UnsupportedError(
                "its index does not say where tensors are in data shards", path=other.prefix
            )
        return index_like(prefix, other.index, progress)


def _lose_unproven(found: FoundIndex) -> dict[str, str]:
    """Remove the entries that the data does not prove; returns the reasons by key."""
    lost: dict[str, str] = {}
    for key, entry in list(found.entries_found.items()):
        if entry.slices:
            continue
        why = _why_lost(found, key, entry)
        if why is not None:
            del found.entries_found[key]
            lost[readable_key(key)] = why
    for key, entry in list(found.entries_found.items()):
        if not entry.slices:
            continue
        try:
            must_tile([each.part.box(entry.shape) for each in found.stored_slices(key, entry)], entry.shape)
        except (CorruptionError, UnsupportedError) as error:
            del found.entries_found[key]
            lost[decode_key(key)] = error.reason
    return lost


def _why_lost(found: FoundIndex, key: bytes, entry: TensorEntry) -> str | None:
    """Why a tensor's bytes do not prove its entry; None if they do."""
    if key in found.doubtful and not entry.nbytes:
        return f"{found.doubtful[key]}, and it has no bytes that could prove it"
    try:
        computed = found.checksum(key, entry)
    except BundleError as error:
        must_be_damage(error, found.path)
        return error.reason
    except OSError as error:
        return error.strerror or str(error)
    if computed != entry.crc32c:
        return f"its bytes have the checksum {computed:08x}, not {entry.crc32c:08x}"
    return None


def _draft(found: FoundIndex) -> Draft:
    """The tensors that were found, byte for byte; the object graph is one of them, even if it names lost tensors."""
    draft = Draft(found.prefix, shards=found.header.num_shards)
    for key, entry in found.entries():
        stored = Stored.of(found, key, entry)
        draft.tensors[decode_key(key)] = DraftTensor(stored, entry.slices)
    draft.must_copy = True
    return draft
