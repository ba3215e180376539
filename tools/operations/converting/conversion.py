"""Converts the files of name-based (TF1) checkpoints to object-based (TF2) ones, and back.

A TF1 checkpoint's keys are the names of variables. A TF2 checkpoint's keys are object paths, and an object graph says
which object owns which key (TensorFlow python/checkpoint/checkpoint.py). The tensors' bytes are the same in both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args
from typing import Literal as OneOf

from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    TensorNotFoundError,
    UnsupportedError,
    listed,
)
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.proto.paths import (
    SAVE_COUNTER,
    VARIABLE_VALUE,
    attribute_key,
    escape_name,
    key_path,
    name_fault,
    split_path,
)
from tensorbundle.storage.paths import basename
from tensorbundle.tools.operations.converting.fitting import save_counter
from tensorbundle.tools.rewriting.bundle_output import BundleOutput
from tensorbundle.tools.rewriting.plan import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tensorbundle.proto.graph import Attribute, Node, RegisteredSaver
    from tensorbundle.tools.operations.converting.fitting import Fitting
    from tensorbundle.tools.operations.converting.structures import Structure
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = [
    "NAMES_FROM",
    "TARGETS",
    "NamesFrom",
    "Target",
    "fit",
    "saves_in_name",
    "to_tf1",
    "to_tf2",
    "to_v1",
    "to_v2",
    "why_nameless",
]

Target = OneOf["tf1", "tf2", "v1", "v2"]
NamesFrom = OneOf["auto", "keys", "full-names"]
TARGETS: Final = get_args(Target)
NAMES_FROM: Final = get_args(NamesFrom)
_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"
_SHOWN: Final = 20
_NUMBERED: Final = re.compile(r".*-(\d{1,18})", re.DOTALL)


def saves_in_name(prefix: str) -> int:
    """The value of the save counter of a checkpoint with this prefix: the number that `save` put at its end, or 1."""
    found = _NUMBERED.fullmatch(basename(prefix))
    return int(found[1]) if found else 1


def to_tf2(draft: Draft, *, root: str = "vars", counter: int | None = 1) -> None:
    """Give a name-based draft an object graph.

    Objects are numbered, and tensors are ordered in the data file, as `tf.train.Checkpoint(vars=...)` does with the
    variables in sorted order. The full names are the TF1 names, so that restoring by name works as well.

    Args:
        draft: name-based.
        root: the path of the dictionary of variables.
        counter: the save counter's value, or None for no save counter.

    Raises:
        BundleError: `root` is not a path.
        UnsupportedError: `draft` is object-based, or a name can't be an object's.
        ConflictError: a name that the root object uses.
    """
    if draft.graph is not None:
        raise UnsupportedError("object-based (TF2) already; --to tf1 is the other way", path=draft.prefix)
    names = sorted(draft.tensors)
    for name in names:
        _check_object_name(name, draft.prefix)
    _check_root(root)
    try:
        graph = ObjectGraph.from_names(names, root=root, save_counter=counter is not None)
    except (ConflictError, CorruptionError) as error:
        raise error.locate(path=draft.prefix) from None
    counter_key = None if counter is None else attribute_key(SAVE_COUNTER)
    tensors = {}
    for node in graph.nodes:
        for each in node.attributes:
            if counter is not None and each.checkpoint_key == counter_key:
                tensors[counter_key] = save_counter(counter)
            else:
                tensors[each.checkpoint_key] = draft.tensors[each.full_name]
    draft.tensors, draft.graph = tensors, graph
    draft.keeps_order = False


def to_tf1(draft: Draft, *, root: str | None = None, names: NamesFrom = "auto") -> None:
    """Give the variables of an object-based draft names, in sorted order as a `Saver` writes them.

    Tensors that are not variables have no TF1 name and are left out; the draft lists them.

    Args:
        draft: object-based.
        root: the path of the dictionary of variables; by default "vars" or "var_list", if there is one.
        names: where the names come from; see `convert`.

    Raises:
        UnsupportedError: `draft` is name-based.
        ConflictError: variables without a distinct name; the reason lists them.
        TensorNotFoundError: `root` was given and does not exist.
    """
    from tensorbundle.tools.optimizers.finding import USUAL_ROOTS  # and all that is known of optimizers

    graph = draft.graph
    if graph is None:
        raise UnsupportedError("name-based (TF1) already; --to tf2 is the other way", path=draft.prefix)
    if root is None:
        root = next((each for each in USUAL_ROOTS if each in graph.root.children), "")
    elif root:
        try:
            graph[root]  # raises: a wrong root is an error, not a dictionary without variables
        except TensorNotFoundError as error:
            raise error.locate(path=draft.prefix) from None
    used: set[str] = set()
    holders: dict[str, list[tuple[str, str]]] = {}
    for path, _, each in _variables(graph):
        key = each.checkpoint_key
        if key not in draft.tensors:
            draft.left_out.append(LeftOut(key, "named in the object graph, but not stored"))
            continue
        used.add(key)
        holders.setdefault(_tf1_name(path, each, root, names), []).append((path, key))
    _refuse_clashes(holders, names, draft.prefix)
    nameless = why_nameless(graph, (key for key in sorted(draft.tensors) if key not in used))
    draft.left_out += [LeftOut(key, reason) for key, reason in nameless.items()]
    draft.tensors = {name: draft.tensors[holders[name][0][1]] for name in sorted(holders)}
    draft.graph = None
    draft.keeps_order = False


def fit(
    draft: Draft,
    to: Target,
    template: Draft | None,
    structure: Structure | None,
    rules: Sequence[Rule] = (),
    *,
    counter: int | None = 1,
    fitting: Fitting | None = None,
) -> None:
    """Give a draft the structure of a template or of a structure file.

    Raises:
        BundleError: not exactly one of the two, rules without a template, or a structure of another kind than `to`.
        TensorNotFoundError, ConflictError: as `fit_template` and `fit_structure`.
    """
    if (template is None) == (structure is None):
        raise BundleError("a template (--template) or a structure (--structure) is needed, and not both")
    if to != ("tf1" if template is not None and template.graph is None else "tf2"):
        by_name = template is not None and template.graph is None
        raise BundleError(
            f"--to {to} (to={to!r}), but this is {'name' if by_name else 'object'}-based",
            path=template.prefix
            if template is not None
            else structure.path
            if structure is not None
            else None,
        )
    if template is not None:
        from tensorbundle.tools.operations.converting.template import fit_template  # and all of the matching

        fit_template(draft, template, rules, counter=counter, fitting=fitting)
    elif rules:
        raise BundleError("rules (--map) go with a template (--template); a structure names variables itself")
    elif structure is not None:
        from tensorbundle.tools.operations.converting.structure_fitting import fit_structure

        fit_structure(draft, structure, counter=counter, fitting=fitting)


def to_v1(draft: Draft) -> None:
    """Convert a draft to a V1 file.

    Raises:
        UnsupportedError: a tensor of a type that TensorFlow does not write to V1 files; the reason counts the others.
    """
    from tensorbundle.tools.rewriting.v1_output import V1Output  # for few outputs

    draft.write_to(V1Output())


def to_v2(draft: Draft) -> None:
    """Convert a draft to a V2 checkpoint.

    Raises:
        UnsupportedError: it is one already, or has a tensor that such a checkpoint can't store.
    """
    if draft.from_bundle and isinstance(draft.output, BundleOutput):
        raise UnsupportedError("a V2 checkpoint already; --to v1 is the other way", path=draft.prefix)
    draft.write_to(BundleOutput())


def _check_root(root: str) -> None:
    try:
        split_path(root)
    except ValueError as error:
        meant = "/".join(map(escape_name, root.split("/")))
        raise BundleError(
            f"root {root!r} is not an object path: {error}; in a path, '.' is written '..': {meant!r}"
        ) from None


def _check_object_name(name: str, prefix: str) -> None:
    fault = name_fault(name)
    if fault is not None:
        raise UnsupportedError(f"{fault}; rename the tensor first", path=prefix, key=name)


def _variables(graph: ObjectGraph) -> Iterator[tuple[str, Node, Attribute]]:
    """Every variable of the graph except the save counter."""
    for path, node, each in graph.attributes():
        if each.name == VARIABLE_VALUE and path != SAVE_COUNTER:
            yield path, node, each


def _tf1_name(path: str, each: Attribute, root: str, names: NamesFrom) -> str:
    below = path.removeprefix(f"{root}/") if root else path
    in_dictionary = bool(root) and below != path and "/" not in below
    if names == "full-names" or (names == "auto" and not in_dictionary):
        return each.full_name
    variable, mark, slot = below.partition(_SLOT_MARK)
    try:
        return "/".join([*split_path(variable), *(split_path(slot) if mark else [])])
    except ValueError as error:
        raise CorruptionError(
            f"an object path that can't be read: {error}", key=each.checkpoint_key
        ) from None


def _refuse_clashes(holders: dict[str, list[tuple[str, str]]], names: NamesFrom, prefix: str) -> None:
    clashes = [
        f"{name!r} ({', '.join(path for path, _ in found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''})"
        if name
        else f"no name ({', '.join(path for path, _ in found[:_SHOWN])})"
        for name, found in sorted(holders.items())
        if len(found) > 1 or not name
    ]
    if not clashes:
        return
    shown = listed(clashes, separator="; ", most=_SHOWN)
    hint = "" if names == "keys" else "; --names keys takes object paths instead"
    raise ConflictError(f"variables without a distinct TF1 name: {shown}{hint}", path=prefix)


def why_nameless(graph: ObjectGraph, keys: Iterable[str]) -> dict[str, str]:
    """Why tensors have no TF1 name, by their keys, which are not those of variables."""
    savers = [node.registered_saver for node in graph.nodes if node.registered_saver is not None]
    return {key: _why_nameless(graph, savers, key) for key in keys}


def _why_nameless(graph: ObjectGraph, savers: list[RegisteredSaver], key: str) -> str:
    path = key_path(key)
    if path == SAVE_COUNTER:
        return "the save counter of tf.train.Checkpoint"
    node = None if path is None else graph.get(path)
    if node is None:
        # A registered saver chooses its keys; TensorFlow's own put them below the object's name.
        below = next((each for each in savers if key.startswith(f"{each.object_name}/")), None)
        return f"saved by {below.name}" if below else "no object of the graph owns it"
    if node.registered_saver is not None:
        return f"saved by {node.registered_saver.name}"
    kinds = ", ".join(dict.fromkeys(each.name for each in node.attributes)) or "nothing"
    return f"not a variable: its object stores {kinds}"
