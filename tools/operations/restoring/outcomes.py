"""What a restore does, as data: to each object, to the assertions, and what it raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from tensorbundle.boxes import whole_box
from tensorbundle.dtypes import DType
from tensorbundle.markup import html_table
from tensorbundle.specs import shape_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

# Why an object is missing or unused, if not simply because the other side lacks it: the one there has no values; several
# objects of A have its key; it is one of several objects in B, or in A, that are one on the other side; the one there
# has no tensors.
Reason = Literal["", "no values", "one key", "one in A", "one in B", "no tensors"]
Status = Literal["restored", "missing", "unused", "shape", "dtype", "dangling"]
Method = Literal["restore", "read"]
METHODS: Final = get_args(Method)
Assertion = Literal[True] | str  # it passes, or why it does not
# How TensorFlow restores: by the object graph, by the full names of a program's variables, or as a v1 Saver; or Keras 3 loads.
Way = Literal["objects", "names", "saver", "keras"]

_SHOWN: Final = 5
# Types whose slices RestoreV2 puts together (core/kernels/save_restore_tensor.cc, TF_CALL_SAVE_RESTORE_TYPES).
_JOINED: Final = frozenset(
    {
        *("float32", "float64", "bfloat16", "complex64", "complex128", "bool", "qint8", "quint8", "qint32"),
        *("int4", "int8", "int16", "int32", "int64", "uint4", "uint8"),
    }
)


class Failure(NamedTuple):
    """An exception that restoring raises: the name of its class, and what it says."""

    error: str
    message: str

    def of(self, key: str) -> Failure:
        """The same, with the tensor that it is about."""
        return Failure(self.error, f"{self.message} ({key})")

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What would become of one object, of the program or of the checkpoint.

    Attributes:
        path: its object path, or its name in a name-based checkpoint. Of what is unused, that in the checkpoint; else
            that in the program.
        status: restored; missing in the checkpoint; unused, that is missing in the program; of another shape or dtype;
            or dangling, if the checkpoint names a key that it does not have.
        detail: more on this, for a person.
        key: the stored tensor concerned, or None.
        wanted: what the program expects of it, or None if it is unused.
        name: the name that it is restored by, where that is not the path.
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
    """What a restore would do.

    Attributes:
        way: how TensorFlow restores.
        method: what is called.
        findings: every object with values, those of the program first.
        assert_consumed: whether this assertion of the restore's status passes, or why not. A v1 Saver has no status:
            these are then true if it restores.
        assert_existing_objects_matched: the same for this assertion.
        assert_nontrivial_match: the same for this assertion.
        failure: the exception that restoring raises, or None. Nothing is asserted then, and only part is restored.
        changed: the paths of all objects whose value changes, also if it raises, and the tensors that they get; None for
            what a registered saver restores.
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
        """Whether anything is not as it should be."""
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
        """Let all three assertions have one outcome."""
        self.assert_consumed = self.assert_existing_objects_matched = self.assert_nontrivial_match = value


def unreadable(entry: TensorEntry, wanted: ProgramTensor) -> tuple[Status, str, Failure] | None:
    """Why RestoreV2 can't read a stored tensor: the status, the reason for a person, and what it raises."""
    dtype, shape = wanted.spec
    if dtype not in (None, entry.dtype):
        message = f"expected dtype {dtype} does not equal original dtype {entry.dtype}"
        return "dtype", differ_text(entry.dtype, dtype), Failure("InvalidArgumentError", message)
    if wanted.slices and shape not in (None, entry.shape):
        message = f"Shape in shape_and_slice spec does not match the shape in the save file: {entry.shape}"
        return "shape", differ_text(entry.shape, shape), Failure("InvalidArgumentError", message)
    if entry.dtype not in _JOINED and not _extents(wanted, entry) <= _extents(entry, entry):
        detail = f"TensorFlow can't join slices of {entry.dtype}"
        return "dtype", detail, Failure("InvalidArgumentError", f"Dtype {entry.dtype} not supported")
    return None


def _extents(sliced: ProgramTensor | TensorEntry, entry: TensorEntry) -> set[tuple[tuple[int, int], ...]]:
    """What of a tensor each slice is, of one without slices the whole: starts and ends."""
    boxes = [each.box(entry.shape) for each in sliced.slices] or [whole_box(entry.shape)]
    return {tuple((each.start, each.stop) for each in box) for box in boxes}


def differ_text(found: DType | Iterable[int], wanted: DType | Iterable[int] | None) -> str:
    """Two types, or two shapes, that differ, for a person."""
    texts = [each if isinstance(each, DType) else shape_text(tuple(each or ())) for each in (found, wanted)]
    return f"{texts[0]} in A, {texts[1]} in B"


def counted(found: Sequence[object], what: str) -> str:
    """How many there are: `1 object`, `2 objects`."""
    return f"{len(found)} {what}{'s' if len(found) > 1 else ''}"


def some(found: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    return ", ".join(map(repr, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
