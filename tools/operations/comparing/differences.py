"""How two checkpoints differ, from their indexes; with `values`, also how far their values are apart."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError
from tensorbundle.tools.operations.comparing.checksums import has_checksums
from tensorbundle.tools.operations.comparing.pairs import find_pairs
from tensorbundle.tools.operations.comparing.sides import Side
from tensorbundle.tools.operations.comparing.values import ValueDifference, compare_values
from tensorbundle.tools.operations.inspecting.passes import flat_values_of, in_batches
from tensorbundle.tools.patterns import Pattern
from tensorbundle.tools.rewriting.ordered import in_order
from tensorbundle.tools.rewriting.plan import LeftOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorbundle.checkpoint import Path
    from tensorbundle.tools.operations.comparing.pairs import Pair
    from tensorbundle.tools.rewriting.expressions import Expression
    from tensorbundle.tools.rewriting.ordered import Jobs
    from tensorbundle.tools.rewriting.ranges import OpenFiles

__all__ = ["Change", "Comparison", "Difference", "TensorSummary", "diff"]

Change = Literal["added", "removed", "renamed", "dtype", "shape", "value", "same"]


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """One tensor as an index describes it.

    Attributes:
        dtype: its type.
        shape: elements along each dimension.
        nbytes: bytes of its values.
        crc32c: the checksum of its content, or None if the index has none.
    """

    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    crc32c: int | None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {
            "dtype": self.dtype,
            "shape": list(self.shape),
            "nbytes": self.nbytes,
            "crc32c": None if self.crc32c is None else f"{self.crc32c:08x}",
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """One tensor in two checkpoints, and how it differs.

    Attributes:
        key: its key in A, or in B if A lacks it.
        change: "added" if only B has it, "removed" if only A has it, "renamed" if B has a tensor of another name with
            equal content, "dtype" or "shape" if that differs, "value" if only values differ, or "same".
        a: the tensor in A, or None.
        b: the tensor in B, or None.
        to: its key in B, if that differs.
        values: how far the values are apart, if that was requested and can be computed.
    """

    key: str
    change: Change
    a: TensorSummary | None
    b: TensorSummary | None
    to: str | None = None
    values: ValueDifference | None = None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data; `to` and those of `values` if there are any."""
        out: dict[str, object] = {
            "key": self.key,
            "change": self.change,
            "a": self.a and self.a.to_json(),
            "b": self.b and self.b.to_json(),
        }
        if self.to is not None:
            out["to"] = self.to
        if self.values is not None:
            out |= {
                "max_abs": self.values.max_abs,
                "max_rel": self.values.max_rel,
                "different": self.values.different,
            }
        return out


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two checkpoints differ.

    Attributes:
        differences: every tensor of both, in key order, equal ones included, except those in `left_out`.
        only_graph: the prefix of the one that has an object graph, if the other has none.
        doubtful: keys that both have, for variables of other names: nothing tells whether they are the same.
        left_out: tensors for which the other checkpoint, by its kind, has no place, with reasons; no differences.
    """

    differences: tuple[Difference, ...]
    only_graph: str | None = None
    doubtful: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors there are of each change."""
        found = Counter(each.change for each in self.differences)
        return {change: found[change] for change in get_args(Change)}

    @property
    def equal(self) -> bool:
        """Whether all tensors are equal and have the same names."""
        return all(each.change == "same" for each in self.differences)


def diff(
    a: Path,
    b: Path,
    patterns: Sequence[str] = (),
    *,
    recipe: Path | Sequence[Path] | None = None,
    map: Path | None = None,  # noqa: A002  the name of the option
    values: bool = False,
    rtol: float = 0.0,
    atol: float = 0.0,
    jobs: Jobs = 1,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """How checkpoint B differs from A, for tensors that match one of the patterns in either (all without patterns).

    Types, shapes and checksums are compared. If both indexes have these, no data is read, whatever the size. Values are
    read only if one index has no checksum (V1 files, other formats, slices that are not runs of rows, big-endian
    bundles); and a few megabytes to confirm that tensors that have only content in common are the same.

    With a recipe or a map, what they would make of A is compared with B. It is not written: values that a rewriting
    computes, as transposed ones, are computed piece by piece.

    Args:
        a: anything that `tensorbundle.open` takes.
        b: the other checkpoint.
        patterns: as on the command line.
        recipe: the path of a recipe, or the name of one that comes with the package; or several, applied in order.
        map: the path of a file with rules of `rename`, applied after the recipes.
        values: whether to read the tensors that differ in values or type, and say how far they are apart.
        rtol: with `values`, elements a and b are equal if |a - b| <= atol + rtol * |b|.
        atol: as `rtol`: the part that does not depend on b.
        jobs: the number of tensors that are read at the same time, or an executor for that.
        verify: whether checksums of what is read are checked.
        progress: told how many bytes of A are done.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        MissingFileError: there is no checkpoint, or data that must be read is missing.
        CorruptionError: an index, or data that must be read, is damaged.
        BundleError: a recipe or a map can't be read, or can't be applied to A.
    """
    if not (rtol >= 0 and atol >= 0):
        raise BundleError(f"tolerances can't be negative: rtol {rtol}, atol {atol}")
    with contextlib.ExitStack() as stack:
        left_out: list[LeftOut] = []
        if recipe or map:
            from tensorbundle.tools.operations.comparing.rewritten import (
                rewritten,
            )  # most comparisons need none

            second = stack.enter_context(open_checkpoint(b, verify=verify))
            first, left_out = rewritten(a, recipe or (), map, second.prefix, stack, verify=verify)
        else:
            first, second = (stack.enter_context(open_checkpoint(path, verify=verify)) for path in (a, b))
        one, other = (Side.of(each, verify=verify) for each in (first, second))
        pairs = find_pairs(one, other)
        left_out += [LeftOut(each.a or each.b or "", each.left_out) for each in pairs if each.left_out]
        pairs = [each for each in pairs if not each.left_out]
        if patterns:
            ours, theirs = _chosen(one, other, patterns)
            pairs = [each for each in pairs if each.a in ours or each.b in theirs]

        reads = not all(has_checksums(each.checkpoint.index) for each in (one, other))
        threads = jobs if reads and isinstance(jobs, int) else 1
        compared = (found for _, found in in_order(partial(_difference, one, other), pairs, jobs=threads))
        tasks = (_task(found, one, other, rtol, atol) if values else (found, None) for found in compared)
        differences = []
        items = (
            ((found, task), [] if task is None else [values for values, _ in task.sides])
            for found, task in tasks
        )
        for _, found in in_batches(_with_values, items, jobs=jobs if values else 1):
            differences.append(found)
            if progress is not None and found.a is not None:
                progress(found.a.nbytes)
    only = next(
        (each.checkpoint.prefix for each in (one, other) if one.graph != other.graph and each.graph), None
    )
    doubtful = tuple(each.a for each in pairs if each.doubtful and each.a is not None)
    return Comparison(tuple(differences), only, doubtful, tuple(left_out))


def _chosen(a: Side, b: Side, patterns: Sequence[str]) -> tuple[set[str], set[str]]:
    """The keys of each side that match one of the patterns.

    Raises:
        TensorNotFoundError: a pattern matches nothing on either side.
    """
    compiled = [[Pattern(text, side.checkpoint.naming) for text in patterns] for side in (a, b)]
    found = []
    for side, own in zip((a, b), compiled, strict=True):
        matching = [{key for key in side.entries if pattern.matches(key)} for pattern in own]
        found.append(set().union(*matching))
    for one, other in zip(*compiled, strict=True):
        if not other.used:
            one.must_be_used()
    return found[0], found[1]


def _difference(a: Side, b: Side, pair: Pair) -> Difference:
    if pair.a is None or pair.b is None:
        key = pair.a or pair.b or ""
        change: Change = "added" if pair.a is None else "removed"
        return Difference(key, change, _summary(a, pair.a), _summary(b, pair.b))
    first, second = a.entries[pair.a], b.entries[pair.b]
    if first.dtype is not second.dtype:
        change = "dtype"
    elif first.shape != second.shape:
        change = "shape"
    elif pair.moved:
        change = "renamed"
    elif a.checksum(pair.a) != b.checksum(pair.b):
        change = "value"
    else:
        change = "renamed" if pair.elsewhere else "same"
    to = None if pair.a == pair.b else pair.b
    return Difference(pair.a, change, _summary(a, pair.a), _summary(b, pair.b), to)


def _summary(side: Side, key: str | None) -> TensorSummary | None:
    if key is None:
        return None
    entry = side.entries[key]
    return TensorSummary(entry.dtype, entry.shape, entry.nbytes, side.stored(key))


@dataclass(frozen=True, slots=True)
class _Values:
    """Two tensors whose values are compared; it can be sent to other processes."""

    sides: tuple[tuple[Expression, bool], ...]
    rtol: float
    atol: float

    def compare(self, files: OpenFiles) -> ValueDifference:
        first, second = (flat_values_of(values, verify=verify, files=files) for values, verify in self.sides)
        return compare_values(first, second, rtol=self.rtol, atol=self.atol)


def _task(found: Difference, a: Side, b: Side, rtol: float, atol: float) -> tuple[Difference, _Values | None]:
    """A difference, and the tensors to read to compute how far the values are apart, if that can be computed."""
    if found.change not in ("value", "dtype"):
        return found, None
    other = found.key if found.to is None else found.to
    first, second = a.entries[found.key], b.entries[other]
    text = (first.dtype is DType.string) + (second.dtype is DType.string)
    comparable = first.dtype.has_values and second.dtype.has_values
    if first.shape != second.shape or text == 1 or not comparable:
        return found, None
    sides = ((a.values(found.key), a.verify), (b.values(other), b.verify))
    return found, _Values(sides, rtol, atol)


def _with_values(task: tuple[Difference, _Values | None], files: OpenFiles) -> Difference:
    """The difference with how far the values are apart; it becomes "same" if that is within the tolerances."""
    found, values = task
    if values is None:
        return found
    apart = values.compare(files)
    change: Change = "same" if found.change == "value" and not apart.different else found.change
    return Difference(found.key, change, found.a, found.b, found.to, apart)
