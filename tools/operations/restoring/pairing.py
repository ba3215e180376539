"""Which variable of a checkpoint is which of a program, as far as `tools/matching` is sure of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tensorbundle.proto.paths import VARIABLE_VALUE
from tensorbundle.tools.matching.deciding import match
from tensorbundle.tools.matching.items import Item
from tensorbundle.tools.optimizers.finding import Optimizers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.specs import Spec
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source

__all__ = ["settled_names"]


def settled_names(source: Source, target: RestoreTarget) -> dict[str, str]:
    """The program's names of a checkpoint's variables, where the match is settled."""
    specs = target.expected or {key: each.spec for key, each in target.entries.items()}
    by_name = source.graph is None
    ours = _items(source.graph, {key: each.spec for key, each in source.entries.items()}, by_name=by_name)
    return {
        each.old: each.new
        for each in match(ours, _items(target.graph, specs, by_name=by_name)).matches
        if each.settled
    }


def _items(graph: ObjectGraph | None, specs: Mapping[str, Spec], *, by_name: bool) -> list[Item]:
    """The variables of one side, without optimizers' own, by the name or path that they are restored by."""
    optimizers = Optimizers.of(
        graph, {key: each.shape for key, each in specs.items() if each.shape is not None}
    )
    own = optimizers.owned | optimizers.private
    if graph is None:
        return [Item(key, _kind(spec), full_name=key) for key, spec in specs.items() if key not in own]
    found = [
        Item(
            each.full_name if by_name else path,
            _kind(specs[each.checkpoint_key]),
            full_name=each.full_name,
            path="" if by_name else path,
        )
        for path, _, each in graph.attributes()
        if each.name == VARIABLE_VALUE and each.checkpoint_key in specs and each.checkpoint_key not in own
    ]
    count = Counter(each.name for each in found)
    return [each for each in found if count[each.name] == 1 and each.name]


def _kind(spec: Spec) -> Spec | None:
    """A type and a shape, or None if they are not known."""
    return None if spec.dtype is None or spec.shape is None else spec
