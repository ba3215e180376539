"""`convert` as a step."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from tensorbundle.errors import BundleError, check_word
from tensorbundle.tools.operations.converting.conversion import (
    NAMES_FROM,
    TARGETS,
    fit,
    saves_in_name,
    to_tf1,
    to_tf2,
    to_v1,
    to_v2,
)
from tensorbundle.tools.operations.converting.fitting import MISSING, Fitting
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.editing.rules import parse_rule, read_map
from tensorbundle.tools.operations.steps.step import Step, flag, number, options, path, table, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.operations.converting.conversion import NamesFrom, Target
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Convert"]

_STRICT: Final = Fitting()
_FITTING: Final = {each.name: each.type for each in fields(Fitting)}


@dataclass(frozen=True, slots=True)
class Convert(Step):
    """Between name-based and object-based, and between file formats: `convert = { to = "tf2", template = "FRESH" }`.

    Attributes:
        to: what the output is.
        root: the path of the dictionary of variables; None for the usual one.
        names: towards TF1, where names come from.
        save_counter: towards TF2, whether there is a save counter.
        template: a checkpoint whose structure the output takes.
        structure: a structure file with the objects that the output has.
        rules: with a template, from names of the source to names or paths of the template.
        fitting: how strict that is.
    """

    name: ClassVar[str] = "convert"
    to: Target
    root: str | None = None
    names: NamesFrom = "auto"
    save_counter: bool = True
    template: str | None = None
    structure: str | None = None
    rules: tuple[Rule, ...] = ()
    fitting: Fitting = _STRICT

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From a table of the options of the command, or `to` alone."""
        given = options(
            {"to": value} if isinstance(value, str) else value,
            *("to", "root", "names", "save_counter", "template", "structure", "map", *_FITTING),
            required=["to"],
        )
        to = cast("Target", check_word("to", given["to"], TARGETS))
        names = cast("NamesFrom", check_word("names", given.get("names", "auto"), NAMES_FROM))
        chosen: dict[str, Any] = {
            name: flag(given[name]) if kind == "bool" else number(given[name])
            for name, kind in _FITTING.items()
            if given.get(name) is not None
        }
        root, template, structure = (given.get(name) for name in ("root", "template", "structure"))
        return cls(
            to,
            None if root is None else text(root),
            names,
            flag(given.get("save_counter", True)),
            None if template is None else path(template),
            None if structure is None else path(structure),
            _rules(given.get("map")),
            Fitting(**chosen),
        )

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the options of the command."""
        names = ("to", "root", "names", "save_counter", "template", "structure", "map", *_FITTING)
        return cls.from_table({name: given[name] for name in names})

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Convert, and note what the output has although the source lacks it."""
        counter = saves_in_name(context.destination) if self.save_counter else None
        if self.template is not None or self.structure is not None or self.rules or self.fitting != _STRICT:
            self._fit(draft, context, counter)
        elif self.to == "tf1":
            to_tf1(draft, root=self.root, names=self.names)
        elif self.to == "tf2":
            to_tf2(draft, root="vars" if self.root is None else self.root, counter=counter)
        elif self.to == "v1":
            to_v1(draft)
        else:
            to_v2(draft)
        return draft

    def _fit(self, draft: Draft, context: StepContext, counter: int | None) -> None:
        if self.root is not None or self.names != "auto":
            raise BundleError(
                "names come from the template or the structure; no --root (root) or --names (names)"
            )
        fit(
            draft,
            self.to,
            None if self.template is None else context.open(self.template),
            None if self.structure is None else read_structure(self.structure),
            self.rules,
            counter=counter,
            fitting=self.fitting,
        )
        draft.note(
            MISSING,
            [key for key, tensor in draft.tensors.items() if tensor.matched == MISSING],
        )


def _rules(given: object) -> tuple[Rule, ...]:
    """The rules in a file, or of pairs."""
    if given is None:
        return ()
    if isinstance(given, (str, os.PathLike)):
        return tuple(read_map(str(given)))
    return tuple(parse_rule(old, text(new)) for old, new in table(given).items())
