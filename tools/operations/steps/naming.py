"""`rename` as a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tensorbundle.errors import BundleError
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.rules import parse_rule, read_map, regex_rule
from tensorbundle.tools.operations.steps.step import Step, table, text, texts

if TYPE_CHECKING:
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Rename"]


@dataclass(frozen=True, slots=True)
class Rename(Step):
    """Rename tensors or objects: `rename = { "old/" = "new/", a = "b" }`.

    A value that is not text is an option, so a tensor may have the name of an option: `map = ["FILE", ...]`, and
    `regex = { PATTERN = REPLACEMENT }`.

    Attributes:
        rules: pairs in the order given, then those of files, then regular expressions.
    """

    name: ClassVar[str] = "rename"
    rules: tuple[Rule, ...]

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From pairs of names, `map` and `regex`."""
        pairs: list[Rule] = []
        files: list[Rule] = []
        searches: list[Rule] = []
        for old, new in table(value).items():
            if old == "regex" and isinstance(new, Mapping):
                searches += [regex_rule(each, text(replacement)) for each, replacement in table(new).items()]
            elif old == "map" and isinstance(new, (list, tuple)):
                files += [rule for path in texts(new) for rule in read_map(path)]
            else:
                pairs.append(parse_rule(old, text(new)))
        return cls((*pairs, *files, *searches))

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From OLD=NEW, split at the first '=', `--map` and `--regex`; names and expressions may be repeated."""
        rules = [parse_rule(*_cut(each, "=", "OLD=NEW")) for each in given["rules"]]
        if given["map"] is not None:
            rules += read_map(given["map"])
        rules += [regex_rule(*_cut(each, "=>", "PATTERN=>REPLACEMENT")) for each in given["regex"]]
        if not rules:
            raise BundleError("nothing to rename: give OLD=NEW, --map or --regex")
        return cls(tuple(rules))

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Rename."""
        del context
        rename(draft, self.rules)
        return draft


def _cut(argument: str, mark: str, form: str) -> tuple[str, str]:
    old, found, new = argument.partition(mark)
    if not found:
        raise BundleError(f"{argument!r} is not {form}")
    return old, new
