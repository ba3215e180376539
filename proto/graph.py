"""The object graph of an object-based (TF2) checkpoint, as a value that can be read, built and edited.

A checkpoint contains one encoded TrackableObjectGraph, a list of nodes whose edges are positions in that list; node 0
is the root (TensorFlow core/protobuf/trackable_object_graph.proto). Nodes may be shared, and edges may form cycles.
TensorFlow numbers nodes breadth-first, slot variables last (python/checkpoint/save_util.py, graph_view.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from tensorbundle.errors import BundleError, ConflictError, TensorNotFoundError, near_names, quoted
from tensorbundle.limits import MAX_PATHS, MAX_SLOT_DEPTH
from tensorbundle.proto.moving import move_edges
from tensorbundle.proto.nodes import (
    Attribute,
    Node,
    RegisteredSaver,
    Slot,
    decode_nodes,
    encode_nodes,
    is_encoding_of,
)
from tensorbundle.proto.paths import (
    SAVE_COUNTER,
    VARIABLE_VALUE,
    attribute_key,
    join_path,
    key_path,
    split_path,
    unescape_name,
)
from tensorbundle.proto.reach import check_paths, paths_too_long, reach, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping


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
        """The graph of all objects reachable from `root` (by default a new, empty one), numbered."""
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
            CorruptionError: not such a message, no nodes, an edge to a node that does not exist, or paths of more than
                far more characters in total than `data` has bytes (as in a chain of 1,500 objects), because `walk` keeps
                them all in memory.
        """
        graph = cls.__new__(cls)
        graph.nodes = decode_nodes(data)
        check_paths(graph.nodes, len(data))
        graph.stored = data
        return graph

    def encode(self) -> bytes:
        """The bytes that TensorFlow would write for this graph.

        If nothing was edited, these are the bytes that the graph was decoded from, even if TensorFlow would write them
        differently: fields in another order, or unknown fields in an edge or an attribute.

        Raises:
            ConflictError: `parse` would refuse the bytes: an edge leads to an object that is not in `nodes`, for example
                after an edit without `renumber`, or a name is not UTF-8.
            CorruptionError: as for `parse`, for paths that are too long.
        """
        data = encode_nodes(self.nodes)
        check_paths(self.nodes, len(data))
        if self.stored is None or self.stored == data:
            return data
        return self.stored if is_encoding_of(data, len(self.nodes), self.stored) else data

    # Looking

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every object once, breadth-first from the root, with its shortest path; slot variables last."""
        return walk(self.root)

    def paths(self) -> dict[Node, str]:
        """The path of every reachable object."""
        return {node: path for path, node in self.walk()}

    def __getitem__(self, path: str) -> Node:
        """The object at `path`, with parts escaped as in checkpoint keys; may be any path that leads to the object.

        Raises:
            TensorNotFoundError: no object at this path; the reason lists similar paths.
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

    def _repr_html_(self) -> str:
        """The first objects with their paths, as a table in a notebook."""
        from tensorbundle.markup import html_table  # for notebooks only

        rows = (
            (
                path or "(root)",
                ", ".join(node.children),
                ", ".join(each.checkpoint_key for each in node.attributes),
            )
            for path, node in self.walk()
        )
        title = f"object graph of {len(self.nodes):,} objects"
        return html_table(title, ("path", "children", "keys"), rows, len(self.nodes))

    # Building and editing

    @classmethod
    def from_names(
        cls, names: Iterable[str], *, root: str = "vars", save_counter: bool = True
    ) -> ObjectGraph:
        """The graph of `tf.train.Checkpoint(vars={name: variable, ...})`, after `save` if `save_counter` is set.

        Args:
            names: the variables' names, used as local names and full names; their order is kept.
            root: the path of the dictionary below the root object, parts escaped; if empty, the variables are children
                of the root itself.
            save_counter: whether to add a save counter, which `restore` needs and `read` must not have.

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
        if save_counter:
            _refuse_counter(nested)
            nested[SAVE_COUNTER] = SAVE_COUNTER
        return cls.from_nested(nested)

    @classmethod
    def from_nested(cls, nested: Mapping[str, Nested]) -> ObjectGraph:
        """The graph of nested dictionaries: each key is a local name, each string a variable with this full name.

        The order of keys is kept. Lists are written as dictionaries with the keys "0", "1" and so on, like TensorFlow
        does (python/trackable/data_structures.py).

        Raises:
            CorruptionError: the paths of all objects have more than `MAX_PATHS` characters in total.
        """
        root = Node()
        queue = deque([(root, "", nested)])
        characters = 0
        while queue:
            node, parent, inner = queue.popleft()
            for name, value in inner.items():
                node.children[name] = child = Node()
                path = join_path(parent, name, of_root=node is root)
                characters += len(path)
                if characters > MAX_PATHS:
                    raise paths_too_long(MAX_PATHS)
                if isinstance(value, str):
                    child.attributes = [Attribute(VARIABLE_VALUE, value, attribute_key(path))]
                else:
                    queue.append((child, path, value))
        graph = cls(root)
        graph.mark_values()
        return graph

    def add_save_counter(self) -> None:
        """Add the counter that `Checkpoint.save` and `restore` keep in the root object.

        Raises:
            ConflictError: an object with the counter's name exists.
        """
        _refuse_counter(self.root.children)
        self.add_variable(SAVE_COUNTER)

    def add_variable(self, path: str) -> Attribute:
        """Add a variable at `path`, with parts escaped, and missing objects above it; returns its attribute.

        Its full name is the path with its parts unescaped.

        Raises:
            ConflictError: an object exists at `path`, or it is not a path.
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
            TensorNotFoundError: no object at this path.
            ConflictError: the parent has a child with the new name, or `path` is the root.
        """
        parent, slash, old = path.rpartition("/")
        if self[path] is not self.root and name == unescape_name(old):
            raise ConflictError("this is its name already", key=path)
        return self.move({path: join_path(parent, name, of_root=not slash)})

    def move(self, moves: Mapping[str, str]) -> dict[str, str]:
        """Move objects to other paths, given as old to new; missing parents are created, and emptied ones removed.

        All old paths refer to the graph before the move, so names may be exchanged. If an object exists at the new path,
        and both have nothing but children, their children are merged; the new path may be the root.

        Returns the paths that changed, old to new: of the objects and of everything reached through them. The keys of
        their tensors change accordingly; the caller must rename them in the index.

        Raises:
            TensorNotFoundError: no object at an old path.
            ConflictError: a new path is used or not escaped, or an old one is that of the root or of a slot variable. The
                graph is then unchanged.
        """
        before = self.paths()
        known = {path: node for node, path in reversed(before.items())}  # of two with one path, the first
        children = {node: dict(node.children) for node in self.nodes}
        try:
            move_edges(self.root, lambda path: known.get(path) or self[path], moves)
        except BundleError:
            for node, edges in children.items():
                node.children = edges
            raise
        self.renumber()
        changed = self._rekey(before)
        self.mark_values()
        return changed

    def drop(self, *paths: str) -> list[Attribute]:
        """Remove the objects at some paths, also under their other names, and all objects that only they lead to.

        Slot variables are removed with their variable or their optimizer. Returns the attributes of all removed objects.

        Raises:
            TensorNotFoundError: no object at a path.
            ConflictError: a path is that of the root; or as for `drop_keys`.
        """
        gone = {self[path] for path in paths}
        if self.root in gone:
            raise ConflictError("the root object can't be dropped")
        before = self.paths()
        known = list(self.nodes)
        self._remove(gone)
        reached = set(self.nodes)
        self._rekey(before)
        return [each for lost in known if lost not in reached for each in lost.attributes]

    def drop_keys(self, keys: Iterable[str], kept: Collection[str]) -> None:
        """Remove the attributes with these keys, and the objects that then have no content.

        Args:
            keys: the keys of the tensors to remove.
            kept: the keys of the other tensors. An attribute whose key is only a prefix of its tensors' keys, like that
                of a table, is removed when none of its tensors is left.

        Raises:
            ConflictError: slot variables that contain variables with slots, and so on, deeper than is followed.
        """
        before, keys = self.paths(), frozenset(keys)
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
        """Attach all of `other` as the object at `path`, whose parent must exist. `other` must not be used afterwards.

        Returns the paths of `other`'s objects, old to new.

        Raises:
            TensorNotFoundError: the parent does not exist.
            ConflictError: an object exists at `path`.
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
        """Move everything below a new root, as its child `name` (not escaped)."""
        before = self.paths()
        self.nodes = [Node(children={name: self.root})]
        self.renumber()
        self._rekey(before)
        self.mark_values()

    def absorb(self, other: ObjectGraph) -> None:
        """Add the children of another graph's root to this root. `other` must not be used afterwards.

        Raises:
            ConflictError: both roots have a child of the same name, or the other root has tensors or a saver of its own.
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
        """Number the nodes as TensorFlow does, and drop those that are not reachable from the root.

        The slot of an unreachable variable is dropped, too (python/checkpoint/util.py, `serialize_slot_variables`).
        """
        self.nodes = [node for node, _, _ in reach(self.root)]
        for number, node in enumerate(self.nodes):
            node.id = number
        owners = [node for node in self.nodes if node.slots]
        reached = set(self.nodes) if owners else set()
        for node in owners:
            node.slots = [slot for slot in node.slots if slot.variable in reached]

    def mark_values(self) -> None:
        """Set every node's `has_checkpoint_values`: whether it or a node below it has values (graph_view.py)."""
        for node in self.nodes:
            node.has_checkpoint_values = node.owns_something
        above: dict[Node, list[Node]] = {}  # of objects without values of their own
        queue = []
        for node in self.nodes:
            if not node.has_checkpoint_values:
                for child in node.children.values():
                    if child.has_checkpoint_values:
                        queue.append(node)
                        break
                    above.setdefault(child, []).append(node)
        while queue:
            node = queue.pop()
            if not node.has_checkpoint_values:
                node.has_checkpoint_values = True
                queue += above.get(node, [])

    def _remove(self, gone: set[Node]) -> None:
        """Remove all edges to some objects, and objects that are then unreachable; slots are removed with either end."""
        rounds = 0
        while gone:
            rounds += 1
            if rounds > MAX_SLOT_DEPTH:
                raise ConflictError(
                    f"slot variables contain variables with slots, and these others, more than {MAX_SLOT_DEPTH} deep"
                )
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
        """After an edit: change keys that are derived from their object's path; returns the paths that changed.

        A registered saver's object name does not change: TensorFlow passes it to the saver, which derives its tensors'
        keys from it.
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


def _refuse_counter(children: Container[str]) -> None:
    """Refuse a root object that has no place for the save counter."""
    if SAVE_COUNTER in children:
        raise ConflictError("an object of this name takes the save counter's place", key=SAVE_COUNTER)
