"""All optimizers of a checkpoint, by its object graph and by the names of its variables."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE
from tensorbundle.tools.optimizers.graphs import optimizers_in_graph
from tensorbundle.tools.optimizers.naming import optimizers_in_names
from tensorbundle.tools.optimizers.nodes import optimizer_nodes
from tensorbundle.tools.optimizers.optimizer import Optimizer
from tensorbundle.tools.optimizers.ordering import INNER, WHOLE, groups_in_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.optimizers.table import Shape
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["USUAL_ROOTS", "Optimizers", "names_in_graph"]

# Names of the dictionary of variables in the functions of TensorFlow's migration guide, and in code that follows it.
USUAL_ROOTS: Final = ("vars", "var_list")


def names_in_graph(graph: ObjectGraph) -> dict[str, str]:
    """The key and the name of every variable but the save counter: its full name, or its key in a usual dictionary."""
    root = next((each for each in USUAL_ROOTS if each in graph.root.children), None)
    listed = graph.root.children[root].children if root is not None else {}
    local = {node: name for name, node in listed.items()}
    return {
        each.checkpoint_key: local.get(node, each.full_name)
        for path, node, each in graph.attributes()
        if each.name == VARIABLE_VALUE and path != SAVE_COUNTER
    }


@dataclass(slots=True)
class Optimizers:
    """The optimizers of one checkpoint.

    Attributes:
        found: those in the object graph, by their numbers, then those found by names only.
        private: the keys of tensors that can be reached through optimizers only, slot variables among them.
    """

    found: list[Optimizer] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    _slots: dict[str, list[tuple[str, str]]] | None = field(default=None, init=False, repr=False)
    _doubtful: dict[str, set[int]] | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, graph: ObjectGraph | None, shapes: Mapping[str, Shape]) -> Optimizers:
        """The optimizers of a checkpoint.

        Args:
            graph: its object graph, or None if it is name-based.
            shapes: by key, of every tensor that it stores.
        """
        if graph is None:
            named = optimizers_in_names({key: key for key in shapes}, shapes)
            return cls(_something([*named, *_in_weights(shapes)]))
        nodes = optimizer_nodes(graph, {key for key, shape in shapes.items() if math.prod(shape) > 1})
        elsewhere = _reached_without(graph, {each.chain[0] for each in nodes})
        private = {
            each.checkpoint_key for node in graph.nodes if node not in elsewhere for each in node.attributes
        }
        found = optimizers_in_graph(graph, nodes, shapes, private)
        names = {key: name for key, name in names_in_graph(graph).items() if key not in private and name}
        count = Counter(names.values())
        unique = {name: key for key, name in names.items() if count[name] == 1}
        return cls(found + _something(optimizers_in_names(unique, shapes)), private)

    @classmethod
    def of_draft(cls, draft: Draft) -> Optimizers:
        """The optimizers of a draft."""
        return cls.of(draft.graph, {key: tensor.shape for key, tensor in draft.tensors.items()})

    @property
    def owned(self) -> set[str]:
        """The keys of all tensors that optimizers own."""
        return {key for each in self.found for key in each.owned}

    @property
    def state(self) -> set[str]:
        """The keys of all tensors that are useless without an optimizer; TF1's moving averages of weights are not."""
        averages = {key for each in self.found if each.generation == "average" for key in each.owned}
        return (self.owned | self.private) - averages

    @property
    def trained(self) -> set[str]:
        """The keys of the variables that optimizers are known to train."""
        listed = {key for each in self.found for key in each.listed}
        return listed | {variable for each in self.found for _, variable in each.slots}

    def slots_of(self, variable: str) -> Sequence[tuple[str, str]]:
        """The role and the key of every slot of a variable."""
        if self._slots is None:
            self._slots = defaultdict(list)
            for optimizer in self.found:
                for (role, key), slot in optimizer.slots.items():
                    self._slots[key].append((role, slot))
        return self._slots.get(variable, ())

    def doubtful_for(self, variable: str) -> dict[str, tuple[str, ...]]:
        """Slots that may belong to this variable or to others, as the files do not tell; each with all of these."""
        if self._doubtful is None:
            self._doubtful = defaultdict(set)
            lists = {id(each): each for optimizer in self.found for each in optimizer.doubtful.values()}
            for number, candidates in lists.items():  # many slots share them
                for each in candidates:
                    self._doubtful[each].add(number)
        numbers = self._doubtful.get(variable, set())
        return {
            slot: candidates
            for optimizer in (self.found if numbers else ())
            for slot, candidates in optimizer.doubtful.items()
            if id(candidates) in numbers
        }


def _in_weights(names: Iterable[str]) -> Iterator[Optimizer]:
    """The optimizer in a weights file of Keras 3; the file does not tell which slots it has."""
    groups = groups_in_weights(names)
    if groups:
        iterations, *rest = groups.get(INNER, groups[WHOLE])
        rest += groups[WHOLE] if INNER in groups else []
        yield Optimizer("keras3", "optimizer", orphans=rest, iterations=iterations)


def _something(optimizers: Iterable[Optimizer]) -> list[Optimizer]:
    """The optimizers that have any tensors."""
    return [each for each in optimizers if each.iterations is not None or any(each.owned)]


def _reached_without(graph: ObjectGraph, nodes: set[Node]) -> set[Node]:
    """The objects that can be reached without passing through `nodes`, which exclude the root; no slot variables."""
    seen = {graph.root}
    stack = [graph.root]
    while stack:
        for child in stack.pop().children.values():
            if child not in seen and child not in nodes:
                seen.add(child)
                stack.append(child)
    return seen
