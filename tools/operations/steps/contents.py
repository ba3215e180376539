"""`set` and `resize` as steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from tensorbundle.tools.operations.editing.values import set_values
from tensorbundle.tools.operations.editing.vocabulary import read_vocabulary, resize
from tensorbundle.tools.operations.steps.step import (
    Step,
    integer,
    integers,
    options,
    path,
    table,
    table_of_pairs,
    text,
)

if TYPE_CHECKING:
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["NewValues", "Resize", "SetValues", "Vocabularies"]


class NewValues(NamedTuple):
    """The values that a tensor gets, and the type and the shape that it must have; see `set_values`."""

    key: str
    values: Any
    dtype: str | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class SetValues(Step):
    """Replace values, or add tensors: `set = { bias = "bias.npy", global_step = { value = 0, dtype = "int64" } }`.

    Attributes:
        values: names of tensors, each with a file, a literal, a number or an array; with a type, the tensor may be new.
    """

    name: ClassVar[str] = "set"
    values: tuple[NewValues, ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From names and values, or tables of `value`, `dtype` and `shape`."""
        found = []
        for key, each in table(value).items():
            given = each if isinstance(each, Mapping) else {"value": each}
            given = options(given, "value", "dtype", "shape", required=["value"])
            dtype, shape = given.get("dtype"), given.get("shape")
            found.append(
                NewValues(
                    key,
                    given["value"],
                    None if dtype is None else text(dtype),
                    None if shape is None else tuple(integers(shape)),
                )
            )
        return cls(tuple(found))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From KEY=FILE.npy or KEY=LITERAL, which may end in a type and a shape."""
        return cls.from_table(table_of_pairs(given["values"], "KEY=FILE.npy"))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Replace and add tensors, and note which were added."""
        del context
        added = [each.key for each in self.values if set_values(draft, *each)]
        draft.note("added", added)
        return draft


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """How the rows of one variable change.

    Attributes:
        old: the file with the tokens of its rows.
        new: the file with the tokens of its new rows.
        axis: 0 for embeddings, 1 for output layers.
        oov: the number of rows for out-of-vocabulary buckets, after those of the tokens.
        old_size: how many of the old tokens are used; -1 for all.
        new_size: how many of the new tokens get a row; -1 for all.
    """

    old: str
    new: str
    axis: int = 0
    oov: int = 0
    old_size: int = -1
    new_size: int = -1


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Remap rows and slots to a new vocabulary: `resize = { KEY = { old_vocab = "F", new_vocab = "F", oov = 1 } }`.

    Attributes:
        variables: keys, or object paths, and how their rows change.
    """

    name: ClassVar[str] = "resize"
    variables: tuple[tuple[str, Vocabularies], ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From keys, and for each a table of the options of the command."""
        return cls(tuple((key, _vocabularies(each)) for key, each in table(value).items()))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From a key and the options."""
        names = ("old_vocab", "new_vocab", "axis", "oov", "old_vocab_size", "new_vocab_size")
        return cls.from_table(
            {given["key"]: {name: given[name] for name in names if given[name] is not None}}
        )

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Resize, and note which tensors changed, and how many rows were dropped."""
        del context
        for key, each in self.variables:
            resized = resize(
                draft,
                key,
                read_vocabulary(each.old),
                read_vocabulary(each.new),
                axis=each.axis,
                oov=each.oov,
                old_size=each.old_size,
                new_size=each.new_size,
            )
            draft.note(resized.note, resized.keys)
        return draft


def _vocabularies(value: object) -> Vocabularies:
    files, sizes = ("old_vocab", "new_vocab"), ("old_vocab_size", "new_vocab_size")
    given = options(value, *files, "axis", "oov", *sizes, required=files)
    old, new = (path(given[name]) for name in files)
    axis, oov = (integer(given.get(name, 0)) for name in ("axis", "oov"))
    return Vocabularies(old, new, axis, oov, *(integer(given.get(name, -1)) for name in sizes))
