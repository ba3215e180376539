"""Writes a plan as a safetensors file, or as a set of files with an index."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import BundleError
from tensorbundle.keys import decode_key
from tensorbundle.storage import begin_with_shared, store_of
from tensorbundle.storage.local import BLOCK_BYTES
from tensorbundle.storage.paths import basename, dirname, join
from tensorbundle.tools.formats.safetensors import (
    ENDING,
    INDEX_ENDING,
    encode_header,
    parse_weight_map,
    why_not_writable,
    written_order,
)
from tensorbundle.tools.rewriting.appending import append_entries, check_wholes
from tensorbundle.tools.rewriting.options import Written, files_beside
from tensorbundle.tools.rewriting.plan import Carried
from tensorbundle.tools.rewriting.ranges import OpenFiles, runs, stream_ranges
from tensorbundle.writer import commit_file, refuse_name, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tensorbundle.dtypes import DType
    from tensorbundle.entries import StoredRange
    from tensorbundle.storage.protocols import Staging, Store, WritableFile
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.plan import Plan, PlannedEntry
    from tensorbundle.tools.rewriting.ranges import TensorRange

__all__ = ["SafetensorsOutput"]

_MIN_SHARED_BYTES: Final = 1 << 20  # less is copied as fast
_ALIGNMENT: Final = 8  # of the first tensor in files of the safetensors package, enough for every type
_NUMBERED: Final = re.compile(r"(?P<stem>.*)-\d{5}-of-(?P<count>\d{5})\.safetensors", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SafetensorsOutput:
    """A safetensors file, or several with an index if the plan has several shards (`Output`).

    Each file has the same bytes as one that the safetensors package writes for the same tensors and metadata. Where the file
    system can share blocks, and bytes may be shared, the tensors in the longest range of a source are the first, in the order
    in which they are stored there, behind a header that is padded so that blocks begin at the same places. Every tensor is
    aligned for its type, as those of the package are.
    """

    @property
    def file_format(self) -> str:
        """See `Output`."""
        return "safetensors"

    def carries(self, dtype: DType, stored: StoredRange) -> bool:
        """See `Output`: values are little-endian."""
        return not (stored.big_endian and dtype.swap_width > 1)

    def lacks(self, key: bytes, dtype: DType, shape: tuple[int, ...]) -> str | None:
        """See `Output`."""
        del shape
        return why_not_writable(decode_key(key), dtype)

    def refuse_existing(self, path: str, *, overwrite: bool, store: Store | None = None) -> None:
        """See `Output`."""
        store = store or store_of(path)
        refuse_name(path, store)
        for each in (_single(path), _index(path)):
            refuse_taken(each, store, overwrite=overwrite)

    def shared(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> list[str]:
        """See `Output`: none, as a header comes before the tensors."""
        del plan, path, options, sizes
        return []

    def write(self, plan: Plan, path: str, options: TransferOptions, sizes: Mapping[str, int]) -> Written:
        """See `Output`."""
        del sizes
        store = options.store_for(path)
        refuse_existing = partial(self.refuse_existing, path, overwrite=options.overwrite, store=store)
        refuse_existing()
        groups: dict[int, list[PlannedEntry]] = {number: [] for number in range(max(1, plan.shards))}
        for each in plan.entries:
            groups.setdefault(each.shard, []).append(each)
        files = [_in_order(groups[number]) for number in sorted(groups)]
        metadata = {name: text for name, text in plan.attributes.get("", {}).items() if isinstance(text, str)}
        written = Written()
        with store.stage(path, overwrite=options.overwrite) as staging:
            if len(files) == 1 and not path.endswith(INDEX_ENDING):
                switch, old = path, _old_files(path, store)
                _write_file(files[0], metadata, path, staging, options, written)
            else:
                switch, old = _index(path), _old_files(path, store)
                names = _free_names(path, len(files), store)
                files += [[] for _ in range(len(names) - len(files))]
                for entries, name in zip(files, names, strict=True):
                    _write_file(entries, metadata, name, staging, options, written)
                old = [each for each in old if each not in names]
                content = _encode_index(files, names)
                with staging.writer(switch) as file:
                    file.write(content)
                written.bytes_written += len(content)
            commit_file(staging, switch, files_beside(path, options), refuse_existing)
            for replaced in old:
                if replaced != switch:
                    with contextlib.suppress(OSError):
                        store.remove(replaced)
        return written


def _write_file(
    entries: Sequence[PlannedEntry],
    metadata: Mapping[str, str],
    path: str,
    staging: Staging,
    options: TransferOptions,
    written: Written,
) -> None:
    header = _header(entries, metadata)
    size = len(header) + sum(each.origin.entry.nbytes for each in entries)
    with staging.writer(path, size=size) as file:
        shared = _share(file, entries, metadata, options, written) if options.data == "share" else None
        if shared is None:
            file.write(header)
        rest, shared_bytes = shared or (entries, 0)
        _, done = append_entries(
            file, rest, verify=options.verify, progress=options.progress, jobs=options.jobs
        )
        written.bytes_written += file.size - shared_bytes
    written.add(done)


def _share(
    file: WritableFile,
    entries: Sequence[PlannedEntry],
    metadata: Mapping[str, str],
    options: TransferOptions,
    written: Written,
) -> tuple[list[PlannedEntry], int] | None:
    """Begin a file with the longest aligned range of a source, sharing its blocks: other entries, and bytes shared; or None."""
    first = _longest_run(entries)
    if not first:
        return None
    taken = {*map(id, first)}
    rest = [each for each in entries if id(each) not in taken]
    run = [each.origin.range for each in first if isinstance(each.origin, Carried)]
    offset, size = run[0].stored.offset, _bytes_of(run)
    if size < _MIN_SHARED_BYTES:
        return None
    header = _header([*first, *rest], metadata, alignment=BLOCK_BYTES, phase=offset % BLOCK_BYTES)
    if not begin_with_shared(file, header, run[0].stored.path, offset, size):
        return None
    if options.verify:  # all of it, as the file will have no checksums
        with OpenFiles() as files:
            written.bytes_read += stream_ranges(run, files, progress=options.progress)
            written.bytes_read += check_wholes(first, files)
    elif options.progress is not None:
        options.progress(size)
    written.bytes_shared += size
    written.sharing = "reflink"
    return rest, size


def _longest_run(entries: Sequence[PlannedEntry]) -> list[PlannedEntry]:
    """The entries of the longest range of a source that are aligned in it, and behind which the others will be."""
    carried = {each.origin.range: each for each in entries if isinstance(each.origin, Carried)}
    ordered = sorted(
        (each for each in carried if each.stored.offset % _alignment(each.dtype) == 0),
        key=lambda each: (each.stored.path, each.stored.offset, each.stored.nbytes),
    )
    run = max(runs(ordered), key=_bytes_of, default=[])
    begin = next((at for at, each in enumerate(run) if each.stored.offset % _ALIGNMENT == 0), len(run))
    taken = {id(carried[each]) for each in run[begin:]}
    needed = max(
        (_alignment(each.origin.entry.dtype) for each in entries if id(each) not in taken), default=1
    )
    end = next((at for at in range(len(run), begin, -1) if run[at - 1].end % needed == 0), begin)
    return [carried[each] for each in run[begin:end]]


def _alignment(dtype: DType) -> int:
    return min(dtype.itemsize, _ALIGNMENT)


def _bytes_of(run: Sequence[TensorRange]) -> int:
    return run[-1].end - run[0].stored.offset


def _header(entries: Iterable[PlannedEntry], metadata: Mapping[str, str], **padding: int) -> bytes:
    described = [(decode_key(each.key), each.origin.entry.dtype, each.origin.entry.shape) for each in entries]
    return encode_header(described, metadata, **padding)


def _in_order(entries: Sequence[PlannedEntry]) -> list[PlannedEntry]:
    by_name = {decode_key(each.key): each for each in entries}
    return [
        by_name[name]
        for name in written_order({name: each.origin.entry.dtype for name, each in by_name.items()})
    ]


def _encode_index(files: Sequence[Sequence[PlannedEntry]], names: Sequence[str]) -> bytes:
    """The index of a set, as huggingface_hub writes it (`serialization/_torch.py`)."""
    total = sum(each.origin.entry.nbytes for entries in files for each in entries)
    homes = {
        decode_key(each.key): basename(name)
        for entries, name in zip(files, names, strict=True)
        for each in entries
    }
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(homes.items()))}
    return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()


def _single(path: str) -> str:
    """The path of the set, if it is one file."""
    return path.removesuffix(INDEX_ENDING) + ENDING if path.endswith(INDEX_ENDING) else path


def _index(path: str) -> str:
    """The path of the index of the set, if it is several files."""
    return path if path.endswith(INDEX_ENDING) else path.removesuffix(ENDING) + INDEX_ENDING


def _free_names(path: str, needed: int, store: Store) -> list[str]:
    """Unused names for at least so many files: the old index is valid until the new one is written."""
    stem = _single(path).removesuffix(ENDING)
    count = needed
    while True:
        names = [f"{stem}-{number:05d}-of-{count:05d}{ENDING}" for number in range(1, count + 1)]
        if not any(map(store.exists, names)):
            return names
        count += 1


def _old_files(path: str, store: Store) -> list[str]:
    """The files of the set that is being replaced: those that its index names, and the index."""
    found = [each for each in (_single(path), _index(path)) if store.is_file(each)]
    if _index(path) not in found:
        return found
    try:
        with store.open(_index(path)) as file:
            names = set(parse_weight_map(file.read(0, file.size)).values())
    except BundleError:
        return found  # a damaged index names no files
    for match in map(_NUMBERED.fullmatch, set(names)):
        if match:  # also files without tensors
            count = match["count"]
            names |= {
                f"{match['stem']}-{number:05d}-of-{count}{ENDING}" for number in range(1, int(count) + 1)
            }
    return found + [join(dirname(path), name) for name in sorted(names)]
