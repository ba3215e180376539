"""Name-based (TF1) to object-based (TF2) checkpoints and back, on the files.

A TF1 checkpoint's keys are the names of variables. A TF2 checkpoint's keys are object paths, and an object graph says
which object owns which key (TensorFlow python/checkpoint/checkpoint.py). The tensors' bytes are the same in both.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final
from typing import Literal as OneOf

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    TensorNotFoundError,
    UnsupportedError,
)
from tensorbundle.proto.graph import ObjectGraph
from tensorbundle.proto.paths import (
    SAVE_COUNTER,
    VARIABLE_VALUE,
    escape_name,
    key_path,
    name_fault,
    split_path,
)
from tensorbundle.tools.matching.sides import USUAL_ROOTS
from tensorbundle.tools.operations.converting.fitting import Fitting
from tensorbundle.tools.operations.converting.structure_fitting import fit_structure
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.converting.template import fit_template
from tensorbundle.tools.operations.editing.renaming import parse_rule, read_map
from tensorbundle.tools.rewriting.draft import Draft, DraftTensor
from tensorbundle.tools.rewriting.plan import LeftOut, Literal
from tensorbundle.tools.rewriting.transfer import Summary, TransferOptions, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.proto.graph import Attribute, Node, RegisteredSaver
    from tensorbundle.tools.operations.converting.structures import Structure
    from tensorbundle.tools.operations.editing.renaming import Rule
    from tensorbundle.tools.rewriting.plan import Plan

__all__ = [
    "NamesFrom",
    "Target",
    "convert",
    "fit",
    "plan_conversion",
    "rules_of",
    "to_tf1",
    "to_tf2",
    "to_v1",
]

Target = OneOf["tf1", "tf2", "v1", "v2"]
NamesFrom = OneOf["auto", "keys", "full-names"]
_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"
_SHOWN: Final = 20
_NUMBERED: Final = re.compile(r".*-(\d{1,18})", re.DOTALL)


def convert(
    source: Path,
    destination: Path,
    *,
    to: Target,
    root: str | None = None,
    names: NamesFrom = "auto",
    save_counter: bool = True,
    template: Path | None = None,
    structure: Path | None = None,
    map: Path | Mapping[str, str] | None = None,  # noqa: A002  as on the command line
    allow_missing: bool = False,
    allow_unused: bool = False,
    learning_rate: float | None = None,
    beta_1: float | None = None,
    beta_2: float | None = None,
    options: TransferOptions | None = None,
) -> Summary:
    """Convert the checkpoint `source` and write it to the prefix `destination`.

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix, exactly; its directory must exist.
        to: "tf2" for a checkpoint that `tf.train.Checkpoint(vars={name: variable})` restores, "tf1" for one that
            `tf.compat.v1.train.Saver` does; "v1" and "v2" keep names and objects and change the file format, "v1"
            being the single file of before TensorFlow 0.12.
        root: the path of the dictionary of variables, "vars" by default. Towards TF1, where the names are.
        names: towards TF1, where names come from: the dictionary's keys, the variables' full names, or "auto": keys
            for what lies directly in the dictionary, full names for the rest.
        save_counter: towards TF2, whether there is a save counter: `restore` needs it, `read` must not have it. With a
            template there is none either if the template has none.
        template: a checkpoint whose structure the output takes: that of a program, saved before it was trained. The source
            may be of either kind, the template is of the kind that `to` says.
        structure: a structure file (`tools/structures.py`) with the objects that the output has.
        map: with a template, rules from names of the source to full names or object paths of the template; pairs, or a
            file as `rename --map` takes it.
        allow_missing: with a template or a structure, whether the source may lack what belongs there.
        allow_unused: likewise, whether it may have what does not belong there.
        learning_rate: with a template, instead of a stored one, as is beta_1 and beta_2; see `Fitting`.
        beta_1: 0.9 if none is stored.
        beta_2: 0.999 if none is stored.
        options: how the output is made.

    Raises:
        BundleError: `root` is no path, or arguments that do not go together.
        UnsupportedError: the source is of the wanted kind already, or a name can't be an object's.
        ConflictError: the output exists; variables have no distinct TF1 names; or the source does not fit the template or
            the structure. The reason lists what is in the way.
        CorruptionError, MissingFileError: the source is damaged or incomplete. Nothing was written.
    """
    with contextlib.ExitStack() as stack:
        checkpoint = stack.enter_context(open_checkpoint(source))
        plan = plan_conversion(
            checkpoint,
            str(destination),
            to=to,
            root=root,
            names=names,
            save_counter=save_counter,
            template=None if template is None else stack.enter_context(open_checkpoint(template)),
            structure=None if structure is None else read_structure(str(structure)),
            rules=rules_of(map),
            fitting=Fitting(allow_missing, allow_unused, learning_rate, beta_1, beta_2),
        )
        return transfer(plan, str(destination), options or TransferOptions())


def rules_of(given: Path | Mapping[str, str] | None) -> list[Rule]:
    """The rules in a file, or of pairs.

    Raises:
        OSError: the file can't be read.
        BundleError: no rules.
    """
    if given is None:
        return []
    if isinstance(given, (str, os.PathLike)):
        return read_map(str(given))
    return [parse_rule(old, new) for old, new in given.items()]


def plan_conversion(
    checkpoint: Checkpoint,
    destination: str,
    *,
    to: Target,
    root: str | None = None,
    names: NamesFrom = "auto",
    save_counter: bool = True,
    template: Checkpoint | None = None,
    structure: Structure | None = None,
    rules: Sequence[Rule] = (),
    fitting: Fitting | None = None,
) -> Plan:
    """The plan of `convert`."""
    draft = Draft.of(checkpoint)
    if template is not None or structure is not None or rules or fitting not in (None, Fitting()):
        if root is not None or names != "auto":
            raise BundleError(
                "names come from the template or the structure; no --root (root) or --names (names)"
            )
        fit(
            draft,
            to,
            None if template is None else Draft.of(template),
            structure,
            rules,
            counter=saves_in_name(destination) if save_counter else None,
            fitting=fitting,
        )
    elif to == "v1":
        to_v1(draft)
    elif to == "v2":
        if checkpoint.index.file_format == "v2":
            raise UnsupportedError("a V2 checkpoint already; --to v1 is the other way", path=draft.prefix)
    elif to == "tf1":
        to_tf1(draft, root=root, names=names)
    else:
        counter = saves_in_name(destination) if save_counter else None
        to_tf2(draft, root="vars" if root is None else root, counter=counter)
    return draft.plan()


def saves_in_name(prefix: str) -> int:
    """What the save counter of a checkpoint with this prefix says: the number at its end, as `save` puts it, or 1."""
    found = _NUMBERED.fullmatch(os.path.basename(prefix))
    return int(found[1]) if found else 1


def to_tf2(draft: Draft, *, root: str = "vars", counter: int | None = 1) -> None:
    """Give a name-based draft an object graph.

    Objects are numbered, and tensors lie in the data file, as `tf.train.Checkpoint(vars=...)` with the variables in
    sorted order would have it. The full names are the TF1 names, so that restoring by name works as well.

    Args:
        draft: name-based.
        root: the path of the dictionary of variables.
        counter: the save counter's value, or None for no save counter.

    Raises:
        BundleError: `root` is no path.
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
    except ConflictError as error:
        raise error.locate(path=draft.prefix) from None
    tensors = {}
    for path, _, each in graph.attributes():
        if path == SAVE_COUNTER and counter is not None:
            tensors[each.checkpoint_key] = DraftTensor(Literal.int64(counter))
        else:
            tensors[each.checkpoint_key] = draft.tensors[each.full_name]
    draft.tensors, draft.graph = tensors, graph
    draft.keeps_order = False


def to_tf1(draft: Draft, *, root: str | None = None, names: NamesFrom = "auto") -> None:
    """Give the variables of an object-based draft names, in sorted order as a `Saver` writes them.

    What is not a variable has no TF1 name and is left out; the draft lists it.

    Args:
        draft: object-based.
        root: the path of the dictionary of variables; by default "vars" or "var_list", if there is one.
        names: where the names come from; see `convert`.

    Raises:
        UnsupportedError: `draft` is name-based.
        ConflictError: variables without a distinct name; the reason lists them.
        TensorNotFoundError: `root` was given and is not there.
    """
    graph = draft.graph
    if graph is None:
        raise UnsupportedError("name-based (TF1) already; --to tf2 is the other way", path=draft.prefix)
    if root is None:
        root = next((each for each in USUAL_ROOTS if each in graph.root.children), "")
    elif root:
        try:
            graph[root]  # a wrong root is a mistake, not a dictionary without variables
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
    savers = [node.registered_saver for node in graph.nodes if node.registered_saver is not None]
    draft.left_out += [
        LeftOut(key, _why_left_out(graph, savers, key)) for key in sorted(draft.tensors) if key not in used
    ]
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
        BundleError: not exactly one of the two, rules without a template, or the other kind of checkpoint than `to` says.
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
        fit_template(draft, template, rules, counter=counter, fitting=fitting)
    elif rules:
        raise BundleError("rules (--map) go with a template (--template); a structure names variables itself")
    elif structure is not None:
        fit_structure(draft, structure, counter=counter, fitting=fitting)


def to_v1(draft: Draft) -> None:
    """Let a draft become a V1 file.

    Raises:
        UnsupportedError: a tensor of a type that TensorFlow does not write to V1 files; the reason counts the others.
    """
    from tensorbundle.v1.saved_slices import WRITABLE  # needs NumPy

    values = [(key, tensor.expression) for key, tensor in draft.tensors.items()]
    types = [(key, each.dtype) for key, each in values if not isinstance(each, Literal)]
    bad = [(key, dtype) for key, dtype in types if dtype not in WRITABLE]
    if bad:
        key, dtype = bad[0]
        more = f" (and {len(bad) - 1} more such tensors)" if len(bad) > 1 else ""
        raise UnsupportedError(
            f"the V1 format has no values of type {dtype}{more}; cast or drop it first",
            path=draft.prefix,
            key=key,
        )
    draft.file_format = "v1"


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
    """Every variable of the graph but the save counter."""
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
    more = f" and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
    hint = "" if names == "keys" else "; --names keys takes object paths instead"
    raise ConflictError(
        f"variables without a distinct TF1 name: {'; '.join(clashes[:_SHOWN])}{more}{hint}", path=prefix
    )


def _why_left_out(graph: ObjectGraph, savers: list[RegisteredSaver], key: str) -> str:
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
