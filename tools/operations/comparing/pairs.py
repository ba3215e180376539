"""Which tensor of one checkpoint is compared with which of another.

The steps, in this order, each for the tensors that are not paired yet:

1. by equal keys; but where both have objects, and their names say that an equal key is that of another variable (a
   position in a list, as `_all_variables/3`), as the matching of `average` finds them;
2. if only one of them has objects: by the full name of a variable if it is unique, or by the path of its object, if the
   two do not contradict each other; if the other is a file of Keras weights, as `convert --template` pairs them;
3. by equal content: tensors of one type, shape and checksum. If there are several, those whose names have the same end
   are paired; small or zero tensors, as biases and slots often are, are paired only if their names have the same end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.coding import crc32c_of_zeros
from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, key_path
from tensorbundle.tools.operations.comparing.omissions import omissions
from tensorbundle.tools.operations.inspecting.passes import flat_values_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tensorbundle.entries import TensorEntry
    from tensorbundle.specs import Spec
    from tensorbundle.tools.operations.comparing.sides import Side
    from tensorbundle.tools.operations.converting.keras_pairs import Converted

__all__ = ["Pair", "find_pairs"]

_TELLING_BYTES: Final = 32  # fewer are equal by chance: counters, small biases
_ALIKE_PARTS: Final = 4  # of names, compared from their ends
_READ_BYTES: Final = 32 << 20  # of both, to confirm pairs that only a checksum supports


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tensors that are compared with each other.

    Attributes:
        a: a key of the first checkpoint, or None if it lacks the tensor.
        b: a key of the second, or None.
        moved: whether they are paired only because of equal content.
        elsewhere: whether they are one variable under another key, although one of the keys exists on both sides.
        doubtful: whether they have equal keys and other names, and nothing tells whether they are the same variable.
        left_out: why the other checkpoint, by its kind, has no place for the tensor; empty if it is a difference.
    """

    a: str | None
    b: str | None
    moved: bool = False
    elsewhere: bool = False
    doubtful: bool = False
    left_out: str = ""


def find_pairs(a: Side, b: Side) -> list[Pair]:
    """Every tensor of both checkpoints once, in the order of keys.

    An object graph that only one of them has is left out: it is not a tensor that the other lacks. Values that a
    conversion computes become tensors of the side that is converted.

    Raises:
        CorruptionError, MissingFileError: values are needed, as an index has no checksums, and can't be read.
    """
    left, right = dict.fromkeys(a.entries), dict.fromkeys(b.entries)
    converted: Converted | None = None
    elsewhere, doubts = _elsewhere(a, b)
    pairs = [replace(each, elsewhere=True) for each in _taken(elsewhere.items(), left, right, moved=False)]
    same = [(key, key) for key in left if key in right]
    pairs += [replace(each, doubtful=each.b in doubts) for each in _taken(same, left, right, moved=False)]
    if a.graph != b.graph:
        left.pop(OBJECT_GRAPH_KEY, None)
        right.pop(OBJECT_GRAPH_KEY, None)
        named = _by_names(a, left, right) if a.graph else _reversed(_by_names(b, right, left))
        pairs += _taken(named, left, right, moved=False)
        converted = _conversion(a, b)
        if converted is not None:
            _compute(converted, a, left, b, right)
            known = ((one, other) for one, (other, _) in converted.pairs.items())
            found = [(one, other) for one, other in known if one in left and other in right]
            pairs += _taken(found, left, right, moved=False)
    pairs += _taken(_by_content(a, left, b, right), left, right, moved=True)
    reasons, others = (omissions(*sides, converted) for sides in ((a, left, b), (b, right, a)))
    pairs += [Pair(key, None, left_out=reasons.get(key, "")) for key in left]
    pairs += [Pair(None, key, left_out=others.get(key, "")) for key in right]
    return sorted(pairs, key=lambda each: each.a or each.b or "")


def _elsewhere(a: Side, b: Side) -> tuple[dict[str, str], set[str]]:
    """Keys of variables whose equals mean other ones, each with the key in B, and keys of which names tell nothing."""
    if not (a.graph and b.graph) or None is not a.stored(OBJECT_GRAPH_KEY) == b.stored(OBJECT_GRAPH_KEY):
        return {}, set()
    from tensorbundle.tools.matching.correspondence import corresponding  # most comparisons need none of it
    from tensorbundle.tools.rewriting.draft import Draft

    try:
        ours, theirs = a.full_names(), b.full_names()
        if all(theirs.get(key, name) == name for key, name in ours.items()):
            return {}, set()
        meant, doubts = corresponding(Draft.of(a.checkpoint), Draft.of(b.checkpoint))
    except (BundleError, OSError):  # data with an object graph is missing or damaged
        return {}, set()
    moved = {
        own: key
        for key, own in meant.items()
        if key != own and (key in a.entries or own in b.entries) and key in b.entries and own in a.entries
    }
    return moved, {key for key in doubts if key in a.entries}


def _taken(
    found: Iterable[tuple[str, str]], left: dict[str, None], right: dict[str, None], *, moved: bool
) -> Iterator[Pair]:
    """The found pairs; their keys are removed from `left` and `right`."""
    for one, other in list(found):
        del left[one], right[other]
        yield Pair(one, other, moved)


def _reversed(found: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((other, one) for one, other in found)


def _by_names(objects: Side, left: Mapping[str, None], right: Mapping[str, None]) -> list[tuple[str, str]]:
    """Keys of variables of objects, each with the only name of the other side that means it and nothing else."""
    meant = {
        key: [name for name in names if name in right]
        for key, names in objects.names().items()
        if key in left
    }
    claims = Counter(name for names in meant.values() for name in names)
    return [(key, names[0]) for key, names in meant.items() if len(names) == 1 and claims[names[0]] == 1]


def _conversion(a: Side, b: Side) -> Converted | None:
    """Which tensors are which, if one side is a file of Keras weights of the model on the other side."""
    # Most comparisons need none of it.
    from tensorbundle.tools.operations.converting.keras_pairs import convert

    try:
        found = convert(a.checkpoint, b.checkpoint)
    except (BundleError, OSError):  # of an object graph that can't be read
        return None
    return None if found is None or found.why_not else found


def _compute(converted: Converted, a: Side, left: dict[str, None], b: Side, right: dict[str, None]) -> None:
    """Let the side that is converted have the values that the conversion computes, or stores a second time."""
    side, rest, other = (b, right, left) if converted.backwards else (a, left, right)
    for key, values in converted.computed.items():
        if key in other and key not in side.entries:
            side.compute(key, values)
            rest[key] = None
            converted.pairs[key] = key, ""


def _by_content(
    a: Side, left: Mapping[str, None], b: Side, right: Mapping[str, None]
) -> Iterator[tuple[str, str]]:
    def kinds(side: Side, keys: Iterable[str]) -> dict[Spec, list[str]]:
        found = defaultdict(list)
        for key in keys:
            found[side.entries[key].spec].append(key)
        return found

    budget = _READ_BYTES
    others = kinds(b, right)
    for kind, keys in kinds(a, left).items():
        if kind not in others:
            continue
        ones, twos = _by_checksum(a, keys), _by_checksum(b, others[kind])
        for crc in ones.keys() & twos.keys():
            for one, other, sure in _matched(
                ones[crc], twos[crc], telling=_is_telling(a.entries[ones[crc][0]], crc)
            ):
                size = 0 if sure else 2 * a.entries[one].nbytes
                if size > budget or not size or _equal(a, one, b, other):
                    yield one, other
                budget -= size if size <= budget else 0


def _by_checksum(side: Side, keys: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        crc = side.checksum(key)
        if crc is not None:
            found[crc].append(key)
    return found


def _is_telling(entry: TensorEntry, crc: int) -> bool:
    return entry.nbytes >= _TELLING_BYTES and crc != crc32c_of_zeros(entry.nbytes)


def _matched(ones: list[str], others: list[str], *, telling: bool) -> Iterator[tuple[str, str, bool]]:
    """Pairs of tensors with equal content, and whether their names agree: the longest equal ends of names first."""
    for parts in range(_ALIKE_PARTS, 0, -1):
        first, second = (_by_end(each, parts) for each in (ones, others))
        found = {
            first[end][0]: second[end][0]
            for end in first
            if len(first[end]) == 1 and len(second.get(end, ())) == 1
        }
        yield from ((one, other, True) for one, other in found.items())
        taken = set(found.values())
        ones = [each for each in ones if each not in found]
        others = [each for each in others if each not in taken]
    if telling and len(ones) == len(others):
        yield from ((one, other, False) for one, other in zip(ones, others, strict=True))


def _by_end(keys: Iterable[str], parts: int) -> dict[tuple[str, ...], list[str]]:
    """Keys by the last parts of their names, of names that have as many parts."""
    found: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for key in keys:
        name = key_path(key) or key
        end = tuple(name.rsplit("/", parts)[-parts:])
        if len(end) == parts:
            found[end].append(key)
    return found


def _equal(a: Side, one: str, b: Side, other: str) -> bool:
    """Whether two tensors with one checksum have equal bytes; also true if they can't be read."""

    def content(side: Side, key: str) -> Callable[[], object]:
        chunks = flat_values_of(side.values(key), verify=False)
        return lambda: [each.tolist() if each.dtype == object else each.tobytes() for each in chunks]

    try:
        return content(a, one)() == content(b, other)()
    except (BundleError, OSError):
        return True
