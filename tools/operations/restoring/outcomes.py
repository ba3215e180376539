"""The outcome of a restore, as data: for each object, for the assertions, and the exception that it raises."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from tensorbundle.boxes import find_overlap, intersect, whole_box
from tensorbundle.dtypes import DType
from tensorbundle.errors import UnsupportedError, listed
from tensorbundle.specs import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tensorbundle.boxes import Box
    from tensorbundle.entries import TensorEntry
    from tensorbundle.specs import Spec
    from tensorbundle.tools.operations.restoring.programs import ProgramTensor

__all__ = [
    "METHODS",
    "Assertion",
    "Failure",
    "Finding",
    "Forecast",
    "Method",
    "Reason",
    "Status",
    "Way",
    "counted",
    "differ_text",
    "some",
    "unreadable",
]

# Why an object is missing or unused although the other side has a counterpart: that has no values; several objects of A
# have its key; several objects in B, of which it is one, are one object in A, or the reverse; or the counterpart has no
# tensors.
Reason = Literal["", "no values", "one key", "one in A", "one in B", "no tensors"]
Status = Literal["restored", "missing", "unused", "shape", "dtype", "dangling"]
Method = Literal["restore", "read"]
METHODS: Final = get_args(Method)
Assertion = Literal[True] | str  # True if it passes, else why it does not
# By the object graph, by the full names of a program's variables, or with a v1 Saver; or Keras 3 loads a file.
Way = Literal["objects", "names", "saver", "keras"]

_SHOWN: Final = 5
# Pairs of slices that are compared: for each slice, and besides.
_COMPARED: Final = 64
_LEAST_COMPARED: Final = 1 << 14
# Types whose slices RestoreV2 can join (core/kernels/save_restore_tensor.cc, TF_CALL_SAVE_RESTORE_TYPES).
_JOINED: Final = frozenset(
    {
        *("float32", "float64", "bfloat16", "complex64", "complex128", "bool", "qint8", "quint8", "qint32"),
        *("int4", "int8", "int16", "int32", "int64", "uint4", "uint8"),
    }
)


class Failure(NamedTuple):
    """An exception that restoring raises: the name of its class, and its message."""

    error: str
    message: str

    def of(self, key: str) -> Failure:
        """The same with the key of the tensor that it is about."""
        return Failure(self.error, f"{self.message} ({key})")

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome for one object of the program or of the checkpoint.

    Attributes:
        path: its object path, or its name in a name-based checkpoint: in the checkpoint if it is unused, else in the
            program.
        status: restored; missing in the checkpoint; unused, as it is missing in the program; of another shape or dtype;
            or dangling, if the checkpoint names a key that it does not have, or lacks slices of the tensor.
        detail: an explanation for a person.
        key: the stored tensor concerned, or None.
        wanted: the type and the shape that the program expects, or None if it is unused.
        name: the name that it is restored by, if that is not the path.
        reason: why it is missing or unused.
    """

    path: str
    status: Status
    detail: str
    key: str | None = None
    wanted: Spec | None = None
    name: str | None = None
    reason: Reason = ""

    def to_json(self) -> dict[str, str]:
        """The fields as plain data."""
        return {"path": self.path, "status": self.status, "detail": self.detail}


@dataclass(slots=True)
class Forecast:
    """The predicted outcome of a restore.

    Attributes:
        way: how TensorFlow restores.
        method: the method that is called.
        findings: every object with values, those of the program first.
        assert_consumed: whether this assertion of the restore's status passes, or why not. A v1 Saver has no status:
            these are then true if it restores.
        assert_existing_objects_matched: the same for this assertion.
        assert_nontrivial_match: the same for this assertion.
        failure: the exception that restoring raises, or None. Then only some objects are
            restored, and no assertion passes.
        changed: the paths of all objects whose value changes, also if it raises, and the tensors that they get; None
            for an object that a registered saver restores.
    """

    way: Way
    method: Method
    findings: list[Finding] = field(default_factory=list)
    assert_consumed: Assertion = True
    assert_existing_objects_matched: Assertion = True
    assert_nontrivial_match: Assertion = True
    failure: Failure | None = None
    changed: dict[str, str | None] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether there is any mismatch."""
        return any(each.status != "restored" for each in self.findings) or any(
            value is not True for value in self.assertions().values()
        )

    def assertions(self) -> dict[str, Assertion]:
        """The three assertions, by name."""
        return {
            "assert_consumed": self.assert_consumed,
            "assert_existing_objects_matched": self.assert_existing_objects_matched,
            "assert_nontrivial_match": self.assert_nontrivial_match,
        }

    def _repr_html_(self) -> str:
        """The assertions and the objects that would not be restored, as tables in a notebook."""
        from tensorbundle.markup import html_table  # for notebooks only

        passed = [(name, "passes" if value is True else value) for name, value in self.assertions().items()]
        odd = [(each.path, each.status, each.detail) for each in self.findings if each.status != "restored"]
        title = f"{len(self.findings) - len(odd):,} of {len(self.findings):,} objects restored"
        return "\n".join(
            (
                html_table(title, ("assertion", "outcome"), passed, len(passed)),
                html_table(f"{len(odd):,} not restored", ("path", "status", "detail"), odd, len(odd)),
            )
        )

    def assert_all(self, value: Assertion) -> None:
        """Set all three assertions to one outcome."""
        self.assert_consumed = self.assert_existing_objects_matched = self.assert_nontrivial_match = value


def unreadable(entry: TensorEntry, wanted: ProgramTensor) -> tuple[Status, str, Failure] | None:
    """Why RestoreV2 can't read a stored tensor: the status, the reason for a person, and the exception.

    Raises:
        UnsupportedError: thousands of slices leave something out, and others are wanted.
    """
    dtype, shape = wanted.spec
    if dtype not in (None, entry.dtype):
        message = f"expected dtype {dtype} does not equal original dtype {entry.dtype}"
        return "dtype", differ_text(entry.dtype, dtype), Failure("InvalidArgumentError", message)
    if wanted.slices and shape not in (None, entry.shape):
        message = f"Shape in shape_and_slice spec does not match the shape in the save file: {entry.shape}"
        return "shape", differ_text(entry.shape, shape), Failure("InvalidArgumentError", message)
    if not _has_slices_for(wanted, entry):
        message = "Does not have sufficient slices for partitioned tensor"
        return "dangling", "slices of it are not stored", Failure("InvalidArgumentError", message)
    if entry.dtype not in _JOINED and not _extents(wanted, entry) <= _extents(entry, entry):
        detail = f"TensorFlow can't join slices of {entry.dtype}"
        return "dtype", detail, Failure("InvalidArgumentError", f"Dtype {entry.dtype} not supported")
    return None


def _has_slices_for(wanted: ProgramTensor, entry: TensorEntry) -> bool:
    """Whether the stored slices of a tensor cover each part of it that is read (core/util/tensor_slice_set.cc).

    Raises:
        UnsupportedError: it would take very long to find out.
    """
    if not entry.slices:
        return True
    absent = _extents(wanted, entry) - _extents(entry, entry)
    stored = [each.box(entry.shape) for each in entry.slices]
    if not absent or (sum(map(_size, stored)) == entry.elements and find_overlap(stored) is None):
        return True
    if len(absent) * len(stored) > _COMPARED * (len(absent) + len(stored)) + _LEAST_COMPARED:
        raise UnsupportedError(
            f"{len(absent)} slices of shape {shape_text(entry.shape)} are not stored as such, and the {len(stored)} that are "
            "stored leave something out or overlap: too many to compare"
        )
    parts = [tuple(slice(*extent) for extent in extents) for extents in absent]
    return all(sum(_size(intersect(part, each)) for each in stored) == _size(part) for part in parts)


def _size(box: Box | None) -> int:
    """The number of elements in a box; 0 of None."""
    return 0 if box is None else math.prod(each.stop - each.start for each in box)


def _extents(sliced: ProgramTensor | TensorEntry, entry: TensorEntry) -> set[tuple[tuple[int, int], ...]]:
    """The starts and ends of each slice of a tensor; of the whole tensor if it has no slices."""
    boxes = [each.box(entry.shape) for each in sliced.slices] or [whole_box(entry.shape)]
    return {tuple((each.start, each.stop) for each in box) for box in boxes}


def differ_text(found: DType | Iterable[int], wanted: DType | Iterable[int] | None) -> str:
    """Two types, or two shapes, that differ, for a person."""
    texts = [each if isinstance(each, DType) else shape_text(tuple(each or ())) for each in (found, wanted)]
    return f"{texts[0]} in A, {texts[1]} in B"


def counted(found: Sequence[object], what: str) -> str:
    """The number of items, with a noun: `1 object`, `2 objects`."""
    return f"{len(found)} {what}{'s' if len(found) > 1 else ''}"


def some(found: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    return listed(map(repr, found), most=_SHOWN)
