"""The base class of steps, what they need besides the draft, and checks of their arguments.

A step is a frozen value. It is created from a table (TOML, or keyword arguments in Python) by `from_table`, or from the
arguments of the command of its name by `from_arguments`, which mostly turns them into such a table. So the same code
checks both, changes the draft, and adds the notes to it.
"""

from __future__ import annotations

import abc
import contextlib
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsIndex

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, near_hint
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorbundle.checkpoint import Path

__all__ = [
    "Step",
    "StepContext",
    "Switch",
    "apply_steps",
    "flag",
    "integer",
    "integers",
    "number",
    "options",
    "path",
    "table",
    "table_of_pairs",
    "text",
    "texts",
]


class StepContext:
    """What steps need besides the draft: other checkpoints, and the name of the output. Use as a context manager.

    Attributes:
        destination: the prefix of the output.
    """

    def __init__(self, destination: Path) -> None:
        self.destination = str(destination)
        self._opened = contextlib.ExitStack()

    def open(self, path: Path) -> Draft:
        """A draft of another checkpoint, which stays open until the context ends.

        Raises:
            BundleError: it can't be opened.
        """
        return Draft.of(self._opened.enter_context(open_checkpoint(path)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


class Step(abc.ABC):
    """One operation on a draft, with all its arguments.

    Attributes:
        name: of the step in a recipe, and of the command.
        only_first: whether it needs unchanged checkpoints, so that no other step may come before it.
    """

    __slots__ = ()
    name: ClassVar[str]
    only_first: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def from_table(cls, value: object) -> Self:
        """The step that a recipe, or a keyword argument of `rewrite`, describes by `value`.

        Raises:
            BundleError: a value of another kind, an option that does not exist, or a word that is not allowed.
        """

    @classmethod
    @abc.abstractmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """The step that the arguments of its command describe, by the names that the command declares.

        Raises:
            BundleError: as `from_table`; an argument without its '='; or the same name twice.
        """

    @abc.abstractmethod
    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Change a draft, and add notes for a person to it; returns the draft for the next step.

        Raises:
            BundleError: the draft can't be changed in this way; it can't be used afterwards.
        """


@dataclass(frozen=True, slots=True)
class Switch(Step):
    """A step without arguments, which a recipe sets to true; false does nothing."""

    wanted: bool = True

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From true or false."""
        return cls(flag(value))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From no arguments."""
        del given
        return cls.from_table(True)


def apply_steps(draft: Draft, steps: Iterable[Step], context: StepContext) -> Draft:
    """The draft after the steps.

    Raises:
        BundleError: a step that must be the first one is not; or as the operations.
    """
    for number, step in enumerate(steps):
        if step.only_first and number:
            raise BundleError(
                f"step {step.name}: it takes checkpoints as they are, so it must be the first step"
            )
        draft = step.apply(draft, context)
    return draft


# Checks of values. Each returns its value with a known type, or raises a BundleError that says what is wrong with it.


def table(value: object, what: str = "a table") -> Mapping[str, Any]:
    """A table, whose keys are text."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise BundleError(f"{value!r} is not {what}")
    return value


def options(value: object, *allowed: str, required: Iterable[str] = ()) -> Mapping[str, Any]:
    """A table in which only allowed keys may appear, and required ones must appear."""
    given = table(value, f"a table with {' and '.join(required) or 'options'}")
    for key in given:
        if key not in allowed:
            raise BundleError(f"no option {key!r}{near_hint(key, allowed)}; there are {', '.join(allowed)}")
    for key in required:
        if key not in given:
            raise BundleError(f"{dict(given)!r} lacks {key!r}")
    return given


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BundleError(f"{value!r} is neither true nor false")
    return value


def integer(value: object) -> int:
    """An integer; also NumPy's."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise BundleError(f"{value!r} is not a whole number")
    try:
        return operator.index(value)
    except TypeError:  # an array of several elements
        raise BundleError(f"{value!r} is not a whole number") from None


def integers(value: object) -> list[int]:
    """A list of integers."""
    if not isinstance(value, (list, tuple)):
        raise BundleError(f"{value!r} is not a list of whole numbers")
    return [integer(each) for each in value]


def number(value: object) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BundleError(f"{value!r} is not a number")
    return float(value)


def text(value: object) -> str:
    """Text."""
    if not isinstance(value, str):
        raise BundleError(f"{value!r} is not text")
    return value


def path(value: object) -> str:
    """A path, as text or as a `PathLike`."""
    return str(value) if isinstance(value, os.PathLike) else text(value)


def texts(value: object) -> list[str]:
    """A list of at least one text or path; a single one needs no list."""
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise BundleError("an empty list")
    return [path(each) for each in listed]


def table_of_pairs(arguments: Iterable[str], form: str, *, last: bool = False) -> dict[str, str]:
    """The table of arguments such as `KEY=VALUE`, split at the first '=', or at the last one.

    Raises:
        BundleError: no '=', or the same key twice.
    """
    out: dict[str, str] = {}
    for each in arguments:
        key, mark, value = each.rpartition("=") if last else each.partition("=")
        if not mark:
            raise BundleError(f"{each!r} is not {form}")
        if key in out:
            raise BundleError(f"{key!r} is given twice")
        out[key] = value
    return out
