"""The commands that make a checkpoint, and `manage`, as functions of their names: each takes paths, and returns a summary.

They are the steps of `steps/` on one source; `rewrite` applies several in one pass. All take `options`, which say how the
output is made, and all raise:

- `BundleError`: an argument of a wrong kind, or a word that is not allowed; the output can't be written to.
- `TensorNotFoundError`: a name or a pattern matches nothing.
- `ConflictError`: the output exists, or two tensors would get one name.
- `CorruptionError`, `MissingFileError`: the source is damaged or incomplete.

Nothing is written then, and no source is changed in any case. Sources are anything that `tensorbundle.open` takes; the
destination is a prefix, whose directory must exist.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from tensorbundle.errors import BundleError, check_word
from tensorbundle.tools.operations.directories import adding, managing, removing, repairing
from tensorbundle.tools.operations.directories.cleaning import clean
from tensorbundle.tools.operations.directories.inventory import survey
from tensorbundle.tools.operations.steps.recipe import rewrite_with, shipped_recipes, step_of
from tensorbundle.tools.operations.steps.step import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import EllipsisType

    from tensorbundle.checkpoint import Path
    from tensorbundle.tools.operations.converting.conversion import NamesFrom, Target
    from tensorbundle.tools.operations.directories.changes import Change
    from tensorbundle.tools.operations.directories.inventory import Survey
    from tensorbundle.tools.operations.editing.combining import Prefer
    from tensorbundle.tools.rewriting.options import TransferOptions
    from tensorbundle.tools.rewriting.transfer import Summary

__all__ = [
    "ACTIONS",
    "Action",
    "average",
    "cast",
    "compact",
    "concat",
    "convert",
    "drop",
    "extract",
    "manage",
    "merge",
    "partition",
    "recipes",
    "rename",
    "reshape",
    "reshard",
    "resize",
    "set",
    "slim",
    "split",
    "transpose",
    "unpartition",
]

Action = Literal["list", "add", "remove", "prune", "repair", "clean"]
ACTIONS: Final = get_args(Action)


def _make(
    name: str, value: object, source: Path, destination: Path, options: TransferOptions | None
) -> Summary:
    return rewrite_with([step_of(name, value)], source, destination, options)


def _several(sources: object) -> Sequence[Path]:
    if not isinstance(sources, (list, tuple)) or not sources:
        raise BundleError(f"{sources!r} is not a list of checkpoints")
    return sources


def average(
    sources: Sequence[Path],
    destination: Path,
    *,
    accumulator: str = "float64",
    options: TransferOptions | None = None,
) -> Summary:
    """Make the mean of checkpoints with the same tensors.

    Args:
        sources: the checkpoints; what can't be averaged is taken from the last one.
        destination: the new checkpoint's prefix.
        accumulator: the type that sums are computed in, "float32" or "float64".
        options: how the output is made.
    """
    first, *others = _several(sources)
    return _make("average", {"with": others, "accumulator": accumulator}, first, destination, options)


def cast(
    source: Path,
    destination: Path,
    rules: Mapping[str, str],
    *,
    allow_lossy: bool = False,
    options: TransferOptions | None = None,
) -> Summary:
    """Cast tensors that match patterns: `cast("src", "dst", {"*": "bfloat16"})`; if several patterns match, the last one applies.

    To integers and booleans that lack values of a tensor's type only with `allow_lossy`.
    """
    return _make("cast", {**table(rules), "allow_lossy": allow_lossy}, source, destination, options)


def compact(source: Path, destination: Path, *, options: TransferOptions | None = None) -> Summary:
    """Rewrite data shards without unreferenced bytes."""
    return _make("compact", True, source, destination, options)


def concat(
    source: Path,
    destination: Path,
    parts: Sequence[str],
    new: str,
    *,
    axis: int = 0,
    options: TransferOptions | None = None,
) -> Summary:
    """Make one tensor of several: `concat("src", "dst", ["z", "r", "h"], "kernel", axis=1)`; slots follow."""
    return _make("concat", {new: {"of": parts, "axis": axis}}, source, destination, options)


def convert(
    source: Path,
    destination: Path,
    *,
    to: Target | None = None,
    root: str | None = None,
    names: NamesFrom = "auto",
    save_counter: bool = True,
    template: Path | None = None,
    structure: Path | None = None,
    map: Path | Mapping[str, str] | None = None,  # noqa: A002  as on the command line
    allow_missing: bool = False,
    allow_unused: bool = False,
    allow_reshape: bool = False,
    config: Path | None = None,
    trainable: Sequence[str] = (),
    non_trainable: Sequence[str] = (),
    keras: Literal[2, 3] | None = None,
    learning_rate: float | None = None,
    beta_1: float | None = None,
    beta_2: float | None = None,
    options: TransferOptions | None = None,
) -> Summary:
    """Convert a checkpoint between name-based and object-based, or between file formats.

    Without `to`, the ending of the destination's name says the format: `.safetensors`, `.npz`, `.weights.h5` of Keras 3, or
    `.h5`, its legacy weights format.

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix, exactly; its directory must exist.
        to: "tf2" for a checkpoint that `tf.train.Checkpoint(vars={name: variable})` restores, "tf1" for one that
            `tf.compat.v1.train.Saver` does; "v1" and "v2" keep names and objects and change the file format, "v1"
            being the single file used before TensorFlow 0.12. None if the destination's name says it.
        root: the path of the object with the dictionary of variables, "vars" by default; in a conversion to TF1, names are
            read from it. With Keras weights, the path of the model's object.
        names: to TF1, where names come from: "keys" of the dictionary, "full-names" of the variables, or "auto": keys for
            variables directly in the dictionary, full names for the rest.
        save_counter: to TF2, whether a save counter is added: `restore` needs it, `read` must not have it. With a
            template, none is added if the template has none.
        template: a checkpoint whose structure the output takes: that of a program, saved before it was trained. The source
            may be of either kind, the template is of the kind that `to` says. To `.weights.h5`, a weights file of the target
            model. From Keras weights, a checkpoint of the target program.
        structure: a structure file (`converting/structures.py`) with the objects that the output has.
        map: with a template, rules from names of the source to full names or object paths of the template; pairs, or a
            file as `rename --map` takes it.
        allow_missing: with a template or a structure, whether the source may lack some of its variables.
        allow_unused: with a template or a structure, whether the source may have other variables, too.
        allow_reshape: with a template, whether values may get the shape of the template's variable if it has as many
            elements, which keep their order. Slots too.
        config: to `.weights.h5`, the model's config, which has the classes of its layers: JSON or a `.keras` file.
        trainable: to Keras weights, patterns of variables of custom layers that are trained, if nothing else tells.
        non_trainable: patterns of those that are not trained.
        keras: with Keras weights, the version of Keras that reads or wrote them, 2 (also tf_keras) or 3, where the order of
            layers differs. With 3, layers are in the order stored if their order is not known otherwise.
        learning_rate: with a template, used instead of the stored one, like `beta_1` and `beta_2`; see `Fitting`.
        beta_1: 0.9 if none is stored.
        beta_2: 0.999 if none is stored.
        options: how the output is made.

    Raises:
        UnsupportedError: the source is of the wanted kind already, or a name can't be an object's.
        ConflictError: the output exists; variables have no distinct TF1 names; or the source does not match the template or
            the structure. The reason lists what is in the way.
        BundleError: as all functions here.
    """
    how = {
        "to": to,
        "root": root,
        "names": names,
        "save_counter": save_counter,
        "template": template,
        "structure": structure,
        "map": map,
        "allow_missing": allow_missing,
        "allow_unused": allow_unused,
        "allow_reshape": allow_reshape,
        "learning_rate": learning_rate,
        "beta_1": beta_1,
        "beta_2": beta_2,
        "config": config,
        "trainable": list(trainable) or None,
        "non_trainable": list(non_trainable) or None,
        "keras": keras,
    }
    return _make("convert", how, source, destination, options)


def drop(
    source: Path, destination: Path, patterns: str | Sequence[str], *, options: TransferOptions | None = None
) -> Summary:
    """Remove tensors that match a pattern."""
    return _make("drop", patterns, source, destination, options)


def extract(
    source: Path, destination: Path, patterns: str | Sequence[str], *, options: TransferOptions | None = None
) -> Summary:
    """Keep only tensors that match a pattern, and the save counter."""
    return _make("extract", patterns, source, destination, options)


def manage(
    directory: Path,
    action: Action = "list",
    prefixes: Sequence[str] = (),
    *,
    in_order: bool = False,
    max_to_keep: int | None = None,
    keep_every_n_hours: float | None = None,
    dry_run: bool = False,
) -> Survey | Change:
    """List a directory's checkpoints, or change which of them it keeps.

    Args:
        directory: with a state file, or to get one.
        action: "list" for what there is; "add" and "remove" for `prefixes`; "prune" for all but the newest; "repair" to
            make the state file name what is there; "clean" to delete the temporary files that killed saves left.
        prefixes: the checkpoints to add or remove.
        in_order: with "add", where its number or its time belongs, instead of as the latest.
        max_to_keep: with "prune", how many stay.
        keep_every_n_hours: with "prune", of those that would be deleted, keep one every so many hours.
        dry_run: plan only.

    Returns:
        a `Survey` for "list", otherwise the `Change`.

    Raises:
        BundleError: another action, or arguments that an action needs; a file that can't be written or deleted.
        MissingFileError: no such directory or checkpoint.
    """
    check_word("action", action, ACTIONS)
    if action == "list":
        return survey(str(directory))
    if action == "prune" and max_to_keep is None:
        raise BundleError("prune needs max_to_keep (--max-to-keep)")
    plans: dict[str, Callable[[Survey], Change]] = {
        "add": partial(adding.add, names=prefixes, in_order=in_order),
        "remove": partial(removing.remove, names=prefixes),
        "prune": partial(removing.prune, max_to_keep=max_to_keep or 0, keep_every_n_hours=keep_every_n_hours),
        "repair": repairing.repair,
        "clean": clean,
    }
    return managing.manage(str(directory), plans[action], dry_run=dry_run)


def merge(
    sources: Sequence[Path] | Mapping[str, Path],
    destination: Path,
    *,
    prefer: Prefer | None = None,
    options: TransferOptions | None = None,
) -> Summary:
    """Make the union of checkpoints.

    Args:
        sources: the checkpoints; or by name, each then put under its name.
        destination: the new checkpoint's prefix.
        prefer: "first" or "last": which one decides where several have a tensor, an error otherwise.
        options: how the output is made.
    """
    under, others = "", sources
    if isinstance(sources, dict):
        (under, first), *pairs = sources.items()
        others = dict(pairs)
    else:
        first, *others = _several(sources)
    return _make("merge", {"with": others, "prefer": prefer, "under": under}, first, destination, options)


def partition(
    source: Path, destination: Path, parts: Mapping[str, Any], *, options: TransferOptions | None = None
) -> Summary:
    """Store tensors in slices: `partition("src", "dst", {"a": 4, "b": {"slices": 2, "axis": 1}})`."""
    return _make("partition", parts, source, destination, options)


def recipes() -> dict[str, str]:
    """The recipes that come with the package, as TOML text by the names that `rewrite` takes."""
    return {name: recipe.read_text(encoding="utf-8") for name, recipe in shipped_recipes().items()}


def rename(
    source: Path,
    destination: Path,
    rules: Mapping[str, str] | None = None,
    *,
    map: Path | None = None,  # noqa: A002  as on the command line
    regex: Mapping[str, str] | None = None,
    options: TransferOptions | None = None,
) -> Summary:
    """Rename tensors, or objects of an object-based checkpoint: `rename("src", "dst", {"old/": "new/"})`.

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix.
        rules: old names to new ones: whole names, scopes that end in '/', or globs.
        map: a file of rules, or with an assignment map of TensorFlow; applied after `rules`.
        regex: regular expressions to replacements as `re.sub` takes them; applied after `map`.
        options: how the output is made.
    """
    given = {} if rules is None else dict(table(rules))
    given |= {} if map is None else {"map": [map]}
    given |= {} if regex is None else {"regex": regex}
    return _make("rename", given, source, destination, options)


def reshape(
    source: Path,
    destination: Path,
    shapes: Mapping[str, Sequence[int | EllipsisType]],
    *,
    options: TransferOptions | None = None,
) -> Summary:
    """Give matching tensors other shapes for the same elements: `reshape("src", "dst", {"w": [768, 12, -1]})`.

    In a shape, one length may be -1, and `...` means the tensor's own lengths except those of 1. Their slots change too. The bytes stay as they are, and are shared.
    """
    return _make("reshape", shapes, source, destination, options)


def reshard(
    source: Path,
    destination: Path,
    *,
    shards: int | None = None,
    max_shard_size: int | str | None = None,
    cut: bool = False,
    options: TransferOptions | None = None,
) -> Summary:
    """Spread tensors over data shards anew.

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix.
        shards: how many data shards, of about the same size; or
        max_shard_size: none larger than that, in bytes, or as in "2GB".
        cut: whether tensors that are larger than that are partitioned.
        options: how the output is made.
    """
    how = {"shards": shards, "max_shard_size": max_shard_size, "cut": cut}
    return _make("reshard", how, source, destination, options)


def resize(
    source: Path,
    destination: Path,
    key: str,
    *,
    old_vocab: Path,
    new_vocab: Path,
    axis: int = 0,
    oov: int = 0,
    old_vocab_size: int = -1,
    new_vocab_size: int = -1,
    options: TransferOptions | None = None,
) -> Summary:
    """Remap the rows of an embedding, and of its optimizer slots, to a new vocabulary.

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix.
        key: the variable's key, or its object path.
        old_vocab: the file with the tokens of its rows, one a line.
        new_vocab: the file with the tokens of the rows it gets.
        axis: 0 for embeddings, 1 for output layers.
        oov: rows for out-of-vocabulary buckets, after those of the tokens.
        old_vocab_size: only so many of the old tokens count; -1 for all.
        new_vocab_size: only so many of the new tokens get a row; -1 for all.
        options: how the output is made.
    """
    how = {
        "old_vocab": old_vocab,
        "new_vocab": new_vocab,
        "axis": axis,
        "oov": oov,
        "old_vocab_size": old_vocab_size,
        "new_vocab_size": new_vocab_size,
    }
    return _make("resize", {key: how}, source, destination, options)


def split(
    source: Path,
    destination: Path,
    key: str,
    into: Mapping[str, int],
    *,
    axis: int = 0,
    options: TransferOptions | None = None,
) -> Summary:
    """Make several tensors of one: `split("src", "dst", "gates", {"r": 64, "z": -1}, axis=1)`; slots follow."""
    return _make("split", {key: {"into": into, "axis": axis}}, source, destination, options)


def set(  # noqa: A001  the command's name
    source: Path, destination: Path, values: Mapping[str, Any], *, options: TransferOptions | None = None
) -> Summary:
    """Replace values: `set("src", "dst", {"global_step": 0, "bias": array, "kernel": "kernel.npy"})`.

    A tensor that does not exist is added, if its type is given: `{"global_step": {"value": 0, "dtype": "int64"}}`.
    """
    return _make("set", values, source, destination, options)


def slim(source: Path, destination: Path, *, options: TransferOptions | None = None) -> Summary:
    """Remove the optimizer's state; the summary's notes list it."""
    return _make("slim", True, source, destination, options)


def transpose(
    source: Path,
    destination: Path,
    axes: Mapping[str, Sequence[int]],
    *,
    options: TransferOptions | None = None,
) -> Summary:
    """Put the axes of matching tensors, and of their slots, in another order: `transpose("src", "dst", {"w": [1, 0]})`."""
    return _make("transpose", axes, source, destination, options)


def unpartition(
    source: Path,
    destination: Path,
    patterns: str | Sequence[str] = (),
    *,
    options: TransferOptions | None = None,
) -> Summary:
    """Store partitioned tensors whole; all, or those that match a pattern."""
    return _make("unpartition", patterns or True, source, destination, options)
