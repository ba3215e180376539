"""The variables of one checkpoint, for comparison with another one."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, quoted
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, join_path
from tensorbundle.tools.matching.items import Item
from tensorbundle.tools.matching.values import checksum_of, is_telling
from tensorbundle.tools.optimizers.finding import Optimizers, names_in_graph
from tensorbundle.tools.rewriting.expressions import Stored
from tensorbundle.tools.rewriting.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Collection

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.proto.naming import Naming
    from tensorbundle.specs import Spec
    from tensorbundle.tools.optimizers.optimizer import Optimizer
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor

__all__ = [
    "Number",
    "Side",
]

_UNNAMED: Final = re.compile(r"(?:[Vv]ariable(?:_\d+)?)?")  # full names of variables without one of their own

Number = int | float


@dataclass(slots=True)
class Side:
    """One of the two checkpoints.

    Attributes:
        draft: its tensors, by key.
        names: the key and the name of every variable but the save counter; in the order of the graph or the index.
        paths: the key and the object path of every variable, if there are objects; if possible, one that does not pass
            through an optimizer.
        optimizers: of the checkpoint.
        owned: the keys of the tensors that these own.
        private: the keys of variables that can be reached through optimizers only.
        by_name: the keys of the variables of each name.
        by_path: the key of the variable at each path.
        naming: other names that a person may use for its tensors.
    """

    draft: Draft
    names: dict[str, str]
    paths: dict[str, str] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    owned: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    by_path: dict[str, str] = field(default_factory=dict)
    naming: Naming = field(init=False)

    def __post_init__(self) -> None:
        self.naming = self.draft.naming()

    @classmethod
    def of(cls, draft: Draft) -> Side:
        """The side of a draft."""
        side = cls(draft, {})
        graph = draft.graph
        optimizers = Optimizers.of_draft(draft)
        if graph is None:
            side.names = {key: key for key in draft.tensors}
        else:
            side.names = names_in_graph(graph)
            side.paths = {
                each.checkpoint_key: path
                for path, _, each in graph.attributes()
                if each.checkpoint_key in side.names
            }
            elsewhere = _paths_elsewhere(graph, {each.node for each in optimizers.found})
            side.private = side.paths.keys() - elsewhere.keys()
            side.by_path = {path: key for key, path in side.paths.items()}
            side.paths |= elsewhere
            side.by_path |= {path: key for key, path in elsewhere.items()}
        for key, name in side.names.items():
            side.by_name.setdefault(name, []).append(key)
        side.optimizers, side.owned = optimizers.found, optimizers.owned
        return side

    def find(self, name: str) -> str | None:
        """The key of the variable or tensor that a name means (`proto/naming.py`); None if it means none.

        Raises:
            ConflictError: several variables have this name, or it is the path of one and the name of another.
        """
        keys = self.by_name.get(name, []) if name else []
        there = self.by_path.get(name)
        if len(keys) > 1 and there in keys:
            return there
        if len(keys) > 1:
            paths = quoted(self.paths.get(key, key) for key in keys)
            raise ConflictError(
                f"{len(keys)} variables are called {name!r}; an object path says which: {paths}",
                path=self.draft.prefix,
            )
        if keys and there not in (None, keys[0]):
            raise ConflictError(
                f"{name!r} is the path of one object and the name of another; a key says which: {there!r}, {keys[0]!r}",
                path=self.draft.prefix,
            )
        found = next(iter(keys), there)
        if found is None:
            found = name if name in self.names else self.naming.find(name)
        return found

    def item(self, key: str) -> Item:
        """A variable as an item for matching."""
        tensor = self.draft.tensors.get(key)
        stored = tensor.expression if tensor is not None else None
        name = self.names.get(key, "")
        spec = self.spec(key)
        return Item(
            key,
            ("random state", spec) if self.is_random_state(key) else spec,
            checksum_of([stored]) if isinstance(stored, Stored) else None,
            isinstance(stored, Stored) and is_telling(stored),
            1 if tensor is None else math.prod(tensor.shape),
            "" if self.paths and _UNNAMED.fullmatch(name) else name,
            self.paths.get(key, ""),
        )

    def is_random_state(self, key: str) -> bool:
        """Whether this is the state of a random number generator, which no other value can replace."""
        path = self.paths.get(key, "")
        return path.endswith("/_state_var") or self.names.get(key, "").endswith("seed_generator_state")

    def label(self, key: str) -> str:
        """A text that names a tensor: its object path or its name, or both."""
        path, name = self.paths.get(key, key), self.names.get(key, key)
        return repr(path) if name in ("", path, key) else f"{path!r} ({name})"

    def spec(self, key: str) -> Spec | None:
        """The type and shape of a tensor; None if it is not stored."""
        tensor = self.draft.tensors.get(key)
        return None if tensor is None else tensor.spec

    def value(self, key: str | None) -> Number | None:
        """A scalar; None if it is not stored."""
        return _scalar(self.draft.tensors[key]) if key in self.draft.tensors else None

    def count(self, key: str) -> int | None:
        """A scalar that is a count; None if it is not."""
        value = self.value(key)
        return value if isinstance(value, int) and value >= 0 else None


def _paths_elsewhere(graph: ObjectGraph, optimizers: Collection[Node | None]) -> dict[str, str]:
    """The paths of variables that do not lead through an optimizer, by key.

    Optimizers of Keras 3 list the variables that they train, and the path through the list is often the shorter one.
    """
    paths = {graph.root: ""}
    queue = deque([graph.root])
    found = {}
    while queue:
        node = queue.popleft()
        for each in node.attributes:
            if each.name == VARIABLE_VALUE and paths[node] != SAVE_COUNTER:
                found[each.checkpoint_key] = paths[node]
        for name, child in node.children.items() if node not in optimizers else ():
            if child not in paths:
                paths[child] = join_path(paths[node], name, of_root=node is graph.root)
                queue.append(child)
    return found


def _scalar(tensor: DraftTensor) -> Number | None:
    """The value of a scalar number; None for other tensors."""
    dtype = tensor.dtype
    if tensor.shape or not (dtype.is_integer or dtype.is_floating):
        return None
    with Reading() as reading:
        value = tensor.expression.read((), reading)
    return int(value) if dtype.is_integer else float(value)
