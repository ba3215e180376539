"""Put the variables of a checkpoint into the objects of a structure file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tensorbundle.errors import ConflictError, near_names
from tensorbundle.tools.matching.sides import Side
from tensorbundle.tools.operations.converting.fitting import (
    COUNTER,
    OLD_COUNTER,
    Fitting,
    rebuild,
    refuse_conflicts,
    refuse_leftovers,
    save_counter,
)
from tensorbundle.tools.rewriting.plan import LeftOut

if TYPE_CHECKING:
    from tensorbundle.tools.operations.converting.structures import Structure
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor

__all__ = ["fit_structure"]

_NAME = "by name"


def fit_structure(
    draft: Draft, structure: Structure, *, counter: int | None = 1, fitting: Fitting | None = None
) -> None:
    """Put a draft's variables into the objects of a structure file; `structure` can't be used again.

    Args:
        draft: name-based or object-based.
        structure: names each variable by its TF1 name, its object path, its full name or its key.
        counter: the save counter's value, or None for no save counter.
        fitting: whether variables may be missing, whose objects are then left out, and tensors unused.

    Raises:
        ConflictError: variables that are missing or of another type or shape, unused tensors, a name that
            means several variables, or an object in the save counter's place; the reason lists them.
    """
    fitting = fitting or Fitting()
    source, graph = Side.of(draft), structure.graph
    tensors: dict[str, DraftTensor] = {}
    used: set[str] = set()
    missing: list[tuple[str, str]] = []
    conflicts = []
    for path, _, each in graph.attributes():
        key = source.find(each.full_name)
        if key is None or key not in draft.tensors:
            missing.append((each.full_name, path))
            continue
        used.add(key)
        wanted, found = structure.expected[each.checkpoint_key], draft.tensors[key].spec
        if not wanted.allows(found):
            conflicts.append(f"{path!r} is {wanted}, {source.label(key)} {found}")
        each.full_name = source.names.get(key) or each.full_name
        tensors[each.checkpoint_key] = replace(draft.tensors[key], matched=_NAME)
    refuse_conflicts(conflicts, draft.prefix)
    unused = sorted(key for key in draft.tensors if key not in used and key != COUNTER)
    hint = ""
    if missing and not fitting.allow_missing:
        near = near_names(missing[0][0], [*source.names.values(), *source.by_path])
        hint = f"; near {missing[0][0]!r}: {', '.join(map(repr, near))}" if near else ""
    labels = [f"{name!r}, needed for {path!r}" for name, path in missing]
    refuse_leftovers(labels, list(map(source.label, unused)), fitting, draft.prefix, structure.path, hint)
    graph.drop_keys([key for key in structure.expected if key not in tensors], tensors)
    if counter is not None:
        try:
            graph.add_save_counter()
        except ConflictError as error:
            raise error.locate(path=structure.path) from None
        tensors[COUNTER] = save_counter(counter)
    draft.left_out += [LeftOut(key, "no place in the structure") for key in unused]
    draft.left_out += [
        LeftOut(name, f"missing here; the structure has it as {path!r}") for name, path in missing
    ]
    if COUNTER in draft.tensors and COUNTER not in used:
        draft.left_out.append(LeftOut(COUNTER, OLD_COUNTER))
    rebuild(draft, tensors, graph)
