"""Combine several checkpoints into one: their union, or their mean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, get_args

from tensorbundle.arrays import np
from tensorbundle.boxes import find_overlap
from tensorbundle.dtypes import DType
from tensorbundle.errors import ConflictError, quoted
from tensorbundle.filenames import part_prefixes, parts_prefix
from tensorbundle.index import BundleIndex
from tensorbundle.keys import decode_key
from tensorbundle.parts import PartsIndex
from tensorbundle.proto.graph import Attribute, Node
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, attribute_key, join_path
from tensorbundle.tools.matching.correspondence import keys_in
from tensorbundle.tools.rewriting.expressions import Mean, Stored, stream_values
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["PREFERENCES", "Prefer", "average", "merge"]

Prefer = Literal["first", "last"]
PREFERENCES: Final = get_args(Prefer)


def merge(drafts: Sequence[tuple[str, Draft]], prefer: Prefer | None = None) -> Draft:
    """The union of drafts, all name-based or all object-based. The given drafts can't be used again.

    Nothing is matched. Tensors with the same name, or children of the root with the same name, count as the same, and
    come from one draft as a whole.

    Slices of one tensor are joined. The parts of a save that was not merged (`..._temp_.../part-0000N-of-0000M`) become
    the checkpoint that TensorFlow would have merged them to, whatever their order.

    Args:
        drafts: each with a name under which its tensors or its objects are put; empty for none.
        prefer: the draft that a tensor or an object of the root comes from if several have it.

    Raises:
        ConflictError: clashes, unless `prefer` is set; drafts of both kinds; a root object that has tensors of its own,
            in a draft without a name that is not the first; or not all parts of a save.
    """
    one_save = _is_one_save(drafts)
    if one_save:
        drafts = sorted(drafts, key=lambda each: each[1].prefix)
    kinds = {draft.graph is None for _, draft in drafts}
    if len(kinds) != 1 and not one_save:
        raise ConflictError("name-based and object-based checkpoints can't be merged; convert one kind first")
    first = drafts[0][1]
    base = 0
    for _, draft in drafts:
        draft.shift(base)
        base += draft.shards
    if one_save:  # only one part of an object-based save has the object graph
        first = next((draft for _, draft in drafts if draft.graph is not None), first)
    counters = [draft.tensors.get(attribute_key(SAVE_COUNTER)) for _, draft in drafts]
    for name, draft in drafts:
        _put_under(name, draft)
    _join_slices([draft for _, draft in drafts])
    for _, draft in drafts:
        if draft is first:
            continue
        if first.graph is not None and draft.graph is not None:
            _join_roots(first, first.graph, draft, draft.graph, prefer)
        clashes = [key for key in draft.tensors if key in first.tensors]
        if clashes and prefer is None:
            _refuse(clashes, first, draft)
        if prefer == "first":
            draft.tensors = {key: each for key, each in draft.tensors.items() if key not in first.tensors}
        first.tensors |= draft.tensors
        first.left_out += draft.left_out
    first.shards = base
    counter = next((each for each in counters if each is not None), None)
    if first.graph is not None and counter is not None:
        _ensure_counter(first, first.graph, counter)
    return first


def _is_one_save(drafts: Sequence[tuple[str, Draft]]) -> bool:
    """Whether these are the parts of one save that TensorFlow did not merge, by their names.

    Raises:
        ConflictError: they are, but some parts are missing.
    """
    wholes = {None if name else parts_prefix(draft.prefix) for name, draft in drafts}
    whole = wholes.pop()
    if whole is None or wholes or drafts[0][1].prefix == whole:  # last: one draft has all parts
        return False
    given = {draft.prefix for _, draft in drafts}
    missing = [each for each in part_prefixes(whole) if each not in given]
    if missing:
        raise ConflictError(
            f"{len(missing)} of the {len(missing) + len(given)} parts of this save are not among the sources; without them "
            "the result would lack what they store",
            path=missing[0],
        )
    return True


def _join_slices(drafts: Sequence[Draft]) -> None:
    """Move all slices of a tensor to the first of the drafts that have some, in the order of the drafts.

    TensorFlow's MergeV2Checkpoints joins them in the same way; slices that overlap are not joined, and clash.
    """
    owners: dict[str, list[Draft]] = {}
    for draft in drafts:
        for key, tensor in draft.tensors.items():
            if tensor.slices:
                owners.setdefault(key, []).append(draft)
    unions: dict[tuple[int, ...], PartsIndex] = {}
    for key, having in owners.items():
        parts = [draft.tensors[key] for draft in having]
        stored = [each.expression for each in parts if isinstance(each.expression, Stored)]
        indexes = [each.index for each in stored if isinstance(each.index, BundleIndex)]
        if not 1 < len(parts) == len(indexes) or not _are_slices_of_one(parts, stored):
            continue
        union = unions.setdefault(tuple(map(id, indexes)), PartsIndex(drafts[0].prefix, indexes))
        name = stored[0].key
        entry = union.entry(decode_key(name))
        having[0].tensors[key] = replace(
            parts[0], expression=Stored.of(union, name, entry), slices=entry.slices
        )
        for draft in having[1:]:
            del draft.tensors[key]


def _are_slices_of_one(tensors: Sequence[DraftTensor], stored: Sequence[Stored]) -> bool:
    """Whether tensors, as they are stored, are different slices of one tensor."""
    first = stored[0]
    if any((each.key, each.entry.spec) != (first.key, first.entry.spec) for each in stored):
        return False
    if any(tensor.slices != each.entry.slices for tensor, each in zip(tensors, stored, strict=True)):
        return False
    return find_overlap([part.box(first.shape) for each in tensors for part in each.slices]) is None


def average(drafts: Sequence[Draft], accumulator: DType = DType.float64) -> tuple[Draft, list[str]]:
    """The mean of drafts with the same tensors, and the keys that are taken from the last one because they differ.

    Floating-point and complex tensors are averaged; others must agree, or are taken from the last draft.

    Raises:
        ConflictError: the drafts differ in tensors, types or shapes, or it is ambiguous which tensors correspond.
        CorruptionError, MissingFileError, UnreadableFileError: values must be compared, and can't be read.
    """
    last = drafts[-1]
    keys = [_must_agree(draft, last) for draft in drafts[:-1]]
    from_last = []
    for key, tensor in last.tensors.items():
        parts = [
            *(draft.tensors[there[key]].expression for draft, there in zip(drafts, keys, strict=False)),
            tensor.expression,
        ]
        if tensor.dtype.is_floating or tensor.dtype.is_complex:
            last.tensors[key] = replace(tensor, expression=Mean(tuple(parts), accumulator))
        elif _differ(parts):
            from_last.append(key)
    return last, from_last


def _put_under(name: str, draft: Draft) -> None:
    if not name:
        return
    if draft.graph is None:
        draft.tensors = {f"{name}/{key}": tensor for key, tensor in draft.tensors.items()}
        return
    if attribute_key(SAVE_COUNTER) in draft.tensors:
        draft.drop([attribute_key(SAVE_COUNTER)])  # only the root of the result has one
    with draft.editing_graph() as graph:
        graph.nest(name)


def _ensure_counter(draft: Draft, graph: ObjectGraph, counter: DraftTensor) -> None:
    """Add a save counter to the root if it has none, as restoring needs it."""
    key = attribute_key(SAVE_COUNTER)
    if SAVE_COUNTER not in graph.root.children:
        attribute = Attribute(VARIABLE_VALUE, SAVE_COUNTER, key)
        graph.root.children[SAVE_COUNTER] = Node(attributes=[attribute])
        graph.renumber()
        graph.mark_values()
        draft.tensors[key] = counter


def _join_roots(
    first: Draft, graph: ObjectGraph, draft: Draft, other: ObjectGraph, prefer: Prefer | None
) -> None:
    """Add the children of one root to those of another."""
    clashes = [name for name in other.root.children if name in graph.root.children]
    counter = attribute_key(SAVE_COUNTER)
    if SAVE_COUNTER in clashes and counter in draft.tensors:
        draft.drop([counter])  # the first draft's counter is kept
        clashes.remove(SAVE_COUNTER)
    if clashes and prefer is None:
        _refuse(clashes, first, draft)
    for name in clashes:
        loser, losing_graph = (draft, other) if prefer == "first" else (first, graph)
        with loser.editing_graph():
            losing_graph.drop(join_path("", name))
    try:
        graph.absorb(other)
    except ConflictError as error:
        raise error.locate(path=draft.prefix) from None


def _refuse(clashes: Sequence[str], first: Draft, draft: Draft) -> None:
    raise ConflictError(
        f"both this and {first.prefix} have {quoted(clashes)}; --prefer first or last decides, NAME=CKPT keeps both",
        path=draft.prefix,
    )


def _must_agree(draft: Draft, last: Draft) -> dict[str, str]:
    """By key of the last draft's tensors, the key in another draft, where type and shape must be the same."""
    missing = [key for key in last.tensors if key not in draft.tensors]
    extra = [key for key in draft.tensors if key not in last.tensors]
    for keys, without in ((missing, draft), (extra, last)):
        if keys:
            raise ConflictError(f"has no {quoted(keys)}", path=without.prefix)
    there = keys_in(draft, last)
    for key, tensor in last.tensors.items():
        mine = draft.tensors[there[key]]
        if mine.spec != tensor.spec:
            raise ConflictError(
                f"{mine.spec}, in {last.prefix} {tensor.spec}", path=draft.prefix, key=there[key]
            )
    return there


def _differ(parts: Sequence[Expression]) -> bool:
    """Whether tensors of one type and shape have different values; they are read if checksums do not decide."""
    fingerprints = [_fingerprint(each) for each in parts]
    layouts = {None if each is None else tuple(part for part, _ in each) for each in fingerprints}
    if None not in layouts and len(layouts) == 1:
        return len(set(fingerprints)) > 1
    with Reading() as reading:
        for first, *others in zip(*(stream_values(each, reading) for each in parts), strict=True):
            if not all(np.array_equal(first, each) for each in others):
                return True
    return False


def _fingerprint(tensor: Expression) -> tuple[tuple[object, int], ...] | None:
    """The slices of a tensor and their checksums, from the index alone; None if it has none."""
    if not isinstance(tensor, Stored):
        return None
    found: list[tuple[object, int]] = []
    whole = [] if tensor.stored_slices else [(None, tensor.key, tensor.entry)]
    for part, key, entry in (*whole, *tensor.stored_slices):
        stored = tensor.index.stored(key, entry)
        if stored is None or stored.crc32c is None:
            return None
        found.append((part, stored.crc32c))
    return tuple(found)
