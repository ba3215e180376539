"""The object graph of an object-based (TF2) checkpoint, as a value that can be read, built and edited.

A checkpoint holds one encoded TrackableObjectGraph, a list of nodes whose edges are positions in that list; node 0
is the root (TensorFlow core/protobuf/trackable_object_graph.proto). Nodes may be shared and edges may form cycles.
TensorFlow numbers nodes breadth-first, slot variables last (python/checkpoint/save_util.py, graph_view.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError, near_names, quoted
from tensorbundle.proto.moving import move_edges
from tensorbundle.proto.nodes import Attribute, Node, RegisteredSaver, Slot, decode_nodes, encode_nodes
from tensorbundle.proto.paths import (
    SAVE_COUNTER,
    VARIABLE_VALUE,
    attribute_key,
    join_path,
    key_path,
    split_path,
    unescape_name,
)
from tensorbundle.proto.reach import check_paths, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


__all__ = ["Attribute", "Nested", "Node", "ObjectGraph", "RegisteredSaver", "Slot"]
# Nested dictionaries: local names, and the full names of variables.
Nested: TypeAlias = "str | Mapping[str, Nested]"


class ObjectGraph:
    """The objects of a checkpoint.

    Attributes:
        nodes: every node, in the order of their numbers; the first is the root.
        stored: the bytes that it was decoded from; None of a graph that was built.
    """

    def __init__(self, root: Node | None = None) -> None:
        """The graph of everything that can be reached from `root` (a fresh one by default), numbered."""
        self.stored: bytes | None = None
        self.nodes = [root or Node()]
        self.renumber()

    @property
    def root(self) -> Node:
        """The root object."""
        return self.nodes[0]

    @classmethod
    def parse(cls, data: bytes) -> ObjectGraph:
        """Decode the value of the object graph's key.

        Raises:
            CorruptionError: not such a message, no nodes, an edge to a node that is not there, or paths of more than
                67 million characters in all, as a chain of 8,200 objects has: `walk` holds them all.
        """
        graph = cls.__new__(cls)
        graph.nodes = decode_nodes(data)
        check_paths(graph.root)
        graph.stored = data
        return graph

    def encode(self) -> bytes:
        """The bytes that TensorFlow would have written for this graph.

        As long as nothing was edited, these are the bytes that it was decoded from, also where TensorFlow would not
        have written them so: fields in another order, or unknown ones in an edge or an attribute.

        Raises:
            ConflictError: `parse` would refuse them: an edge to an object that is not one of `nodes`, as after an edit
                without `renumber`, or a name that is not UTF-8.
            CorruptionError: as `parse`, for paths that are too long.
        """
        data = encode_nodes(self.nodes)
        check_paths(self.root)
        if self.stored is None or self.stored == data or encode_nodes(decode_nodes(self.stored)) != data:
            return data
        return self.stored

    # Looking

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every object once, breadth-first from the root, with its shortest path; slot variables last."""
        return walk(self.root)

    def paths(self) -> dict[Node, str]:
        """The path of every object that can be reached."""
        return {node: path for path, node in self.walk()}

    def __getitem__(self, path: str) -> Node:
        """The object at `path`, its parts escaped as in checkpoint keys; any path to it will do.

        Raises:
            TensorNotFoundError: no object there; the reason names near ones.
        """
        node = self.get(path)
        if node is None:
            near = near_names(path, (each for each, _ in self.walk()))
            hint = f"; near: {', '.join(map(repr, near))}" if near else ""
            raise TensorNotFoundError(f"no such object{hint}", key=path)
        return node

    def get(self, path: str) -> Node | None:
        """The object at `path`, or None."""
        node: Node | None = self.root
        try:
            for name in split_path(path):
                node = node.children.get(name) if node is not None else None
        except ValueError:
            node = None
        if node is None and ".OPTIMIZER_SLOT" in path:
            return next((each for found, each in self.walk() if found == path), None)
        return node

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def __len__(self) -> int:
        return len(self.nodes)

    def attributes(self) -> Iterator[tuple[str, Node, Attribute]]:
        """Every tensor that an object owns: path, node and attribute, in the order of `walk`."""
        for path, node in self.walk():
            for each in node.attributes:
                yield path, node, each

    # Building and editing

    @classmethod
    def from_names(
        cls, names: Iterable[str], *, root: str = "vars", save_counter: bool = True
    ) -> ObjectGraph:
        """The graph of `tf.train.Checkpoint(vars={name: variable, ...})`, after `save` if `save_counter` is set.

        Args:
            names: the variables' names, which become local names and full names; their order is kept.
            root: the path of the dictionary below the root object, parts escaped; empty puts the variables at the
                root itself.
            save_counter: whether there is one, as `restore` needs it and `read` must not have it.

        Raises:
            ConflictError: two equal names, or a name that the root object uses.
        """
        nested: dict[str, Nested] = {}
        for name in names:
            if name in nested:
                raise ConflictError("two variables with one name", key=name)
            nested[name] = name
        for part in reversed(split_path(root)):
            nested = {part: nested}
        graph = cls.from_nested(nested)
        if save_counter:
            graph.add_save_counter()
        return graph

    @classmethod
    def from_nested(cls, nested: Mapping[str, Nested]) -> ObjectGraph:
        """The graph of nested dictionaries: each key is a local name, each text a variable of this full name.

        The order of keys is kept. Lists are given as dictionaries with the keys "0", "1" and so on, which is what
        TensorFlow makes of them (python/trackable/data_structures.py).
        """
        root = Node()
        queue = deque([(root, nested)])
        while queue:
            node, inner = queue.popleft()
            for name, value in inner.items():
                node.children[name] = child = Node()
                if isinstance(value, str):
                    child.attributes.append(Attribute(VARIABLE_VALUE, value, ""))
                else:
                    queue.append((child, value))
        graph = cls(root)
        for path, _, each in graph.attributes():
            each.checkpoint_key = attribute_key(path, each.name)
        graph.mark_values()
        return graph

    def add_save_counter(self) -> None:
        """Give the root the counter that `Checkpoint.save` and `restore` keep there.

        Raises:
            ConflictError: there is an object of its name.
        """
        if SAVE_COUNTER in self.root.children:
            raise ConflictError("an object of this name takes the save counter's place", key=SAVE_COUNTER)
        self.add_variable(SAVE_COUNTER)

    def add_variable(self, path: str) -> Attribute:
        """Add a variable at `path`, its parts escaped, and the objects above it that do not exist; its attribute.

        Its full name is the path with its parts as they are.

        Raises:
            ConflictError: there is an object, or this is not a path.
        """
        try:
            parts = split_path(path)
        except ValueError as error:
            raise ConflictError(f"not a path for an object: {error}", key=path) from None
        if self.get(path) is not None:
            raise ConflictError("there is an object of this name", key=path)
        node = self.root
        for name in parts:
            node = node.children.setdefault(name, Node())
        attribute = Attribute(VARIABLE_VALUE, "/".join(parts), attribute_key(path))
        node.attributes.append(attribute)
        self.renumber()
        self.mark_values()
        return attribute

    def rename(self, path: str, name: str) -> dict[str, str]:
        """Give the object at `path` another local name (not escaped) below the same parent; otherwise as `move`.

        Raises:
            TensorNotFoundError: no object there.
            ConflictError: the parent has a child of that name, or `path` is the root.
        """
        parent, _, old = path.rpartition("/")
        if self[path] is not self.root and name == unescape_name(old):
            raise ConflictError("this is its name already", key=path)
        return self.move({path: join_path(parent, name)})

    def move(self, moves: Mapping[str, str]) -> dict[str, str]:
        """Let objects have other paths, old to new; parents that are missing are made, and emptied ones go.

        All old paths mean the graph as it is before, so names may be exchanged. Where there is an object at the new
        path and both only hold others, the one's children join the other's; the root may be such a place.

        Returns the paths that changed, old to new: of the objects and of all that is reached through them. The keys of
        their tensors change with them; renaming those in the index is up to the caller.

        Raises:
            TensorNotFoundError: no object at an old path.
            ConflictError: a new path is taken or not escaped, or the old one is the root's or a slot variable's. The graph
                is then as it was.
        """
        before = self.paths()
        children = {node: dict(node.children) for node in self.nodes}
        try:
            move_edges(self.root, self.__getitem__, moves)
        except BundleError:
            for node, edges in children.items():
                node.children = edges
            raise
        self.renumber()
        changed = self._rekey(before)
        self.mark_values()
        return changed

    def drop(self, path: str) -> list[Attribute]:
        """Remove the object at `path`, by whatever name it is known, with all that only it leads to.

        Slot variables go with their variable or their optimizer. Returns the attributes of all removed objects.

        Raises:
            TensorNotFoundError: no object there.
            ConflictError: `path` is the root.
        """
        node = self[path]
        if node is self.root:
            raise ConflictError("the root object can't be dropped")
        before = self.paths()
        known = list(self.nodes)
        self._remove({node})
        reached = set(self.nodes)
        self._rekey(before)
        return [each for lost in known if lost not in reached for each in lost.attributes]

    def drop_keys(self, keys: Collection[str], kept: Collection[str]) -> None:
        """Remove the attributes with these keys, and the objects that have nothing else.

        Args:
            keys: of tensors that are removed.
            kept: of those that stay. An attribute whose key is only the beginning of its tensors' keys, as a table's
                is, goes when none of these is left.
        """
        before = self.paths()
        held = {path for path in map(key_path, kept) if path is not None}
        emptied = set()
        for path, node in self.walk():
            left = [
                each
                for each in node.attributes
                if each.checkpoint_key not in keys
                and (each.checkpoint_key in kept or each.name == VARIABLE_VALUE or path in held)
            ]
            if len(left) < len(node.attributes):
                node.attributes = left
                if not (node.children or node.owns_something):
                    emptied.add(node)
        self._remove(emptied)
        self._rekey(before)

    def graft(self, path: str, other: ObjectGraph) -> dict[str, str]:
        """Attach all of `other` as the object at `path`, whose parent must exist. `other` is used up.

        Returns the paths of `other`'s objects, old to new.

        Raises:
            TensorNotFoundError: no such parent.
            ConflictError: there is an object at `path`.
        """
        parent = self[path.rpartition("/")[0]]
        *_, name = split_path(path) or [""]
        if name in parent.children or not path:
            raise ConflictError("there is an object already", key=path)
        before = self.paths() | other.paths()
        parent.children[name] = other.root
        self.renumber()
        changed = self._rekey(before)
        self.mark_values()
        return changed

    def nest(self, name: str) -> None:
        """Put everything under a fresh root, as its child `name` (not escaped)."""
        before = self.paths()
        self.nodes = [Node(children={name: self.root})]
        self.renumber()
        self._rekey(before)
        self.mark_values()

    def absorb(self, other: ObjectGraph) -> None:
        """Let the children of another graph's root be children of this one's. `other` is used up.

        Raises:
            ConflictError: a name that both roots have, or tensors or a saver that the other root itself has.
        """
        if other.root.attributes or other.root.registered_saver:
            raise ConflictError("its root object has values of its own; put it under a name to keep them")
        clashes = [name for name in other.root.children if name in self.root.children]
        if clashes:
            raise ConflictError(f"both root objects have {quoted(clashes)}")
        old = other.root
        for node in other.nodes:
            node.children = {
                name: self.root if child is old else child for name, child in node.children.items()
            }
        self.root.children |= old.children
        self.root.slots += old.slots
        self.renumber()
        self.mark_values()

    def renumber(self) -> None:
        """Number the nodes as TensorFlow does, and forget those that can't be reached from the root.

        So goes the slot of a variable that can't be (python/checkpoint/util.py, `serialize_slot_variables`).
        """
        self.nodes = [node for _, node in self.walk()]
        reached = set(self.nodes)
        for number, node in enumerate(self.nodes):
            node.id = number
            if node.slots:
                node.slots = [slot for slot in node.slots if slot.variable in reached]

    def mark_values(self) -> None:
        """Set every node's `has_checkpoint_values` to what it should be (graph_view.py: values at or below it)."""
        above: dict[Node, list[Node]] = {}
        for node in self.nodes:
            for child in node.children.values():
                above.setdefault(child, []).append(node)
            node.has_checkpoint_values = False
        queue = [node for node in self.nodes if node.attributes or node.slots or node.registered_saver]
        while queue:
            node = queue.pop()
            if not node.has_checkpoint_values:
                node.has_checkpoint_values = True
                queue += above.get(node, [])

    def _remove(self, gone: set[Node]) -> None:
        """Cut all edges to some objects, and what cannot be reached any more; slots go with either of their ends."""
        while gone:
            for each in self.nodes:
                each.children = {name: child for name, child in each.children.items() if child not in gone}
                each.slots = [
                    slot for slot in each.slots if slot.variable not in gone and slot.slot not in gone
                ]
            reached = {each for _, each in self.walk()}
            gone = {slot.slot for each in reached for slot in each.slots if slot.variable not in reached}
        self.renumber()
        self.mark_values()

    def _rekey(self, before: dict[Node, str]) -> dict[str, str]:
        """After an edit: move keys that follow their object's path along with it; the paths that changed.

        Not a registered saver's object name: TensorFlow hands it to the saver, whose tensors have keys made of it.
        """
        changed = {}
        for path, node in self.walk():
            old = before.get(node)
            if old is None or old == path:
                continue
            changed[old] = path
            for each in node.attributes:
                if key_path(each.checkpoint_key) == old:
                    each.checkpoint_key = path + each.checkpoint_key[len(old) :]
        return changed
