"""Several operations in one pass, in the order written: a recipe, or keyword arguments of `rewrite`.

A recipe is a TOML file. Its tables are steps, applied in the order in which they stand; a step that is needed twice
goes into the array `steps`:

    slim = true
    rename = { "old/" = "new/" }
    cast = { "*" = "bfloat16" }

    [[steps]]
    convert = { to = "tf2" }

Steps are strict: an option that there is not, or a value of another kind, is an error. `average = { with = ["CKPT"],
accumulator = "float32" }` can only be the first step, as sums are made of tensors that checkpoints have.
`transpose = { KEY = [1, 0] }` and `reshape = { KEY = [6, -1] }` are steps only.
"""

from __future__ import annotations

import contextlib
import operator
import os
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.tools.operations.converting.conversion import (
    fit,
    rules_of,
    saves_in_name,
    to_tf1,
    to_tf2,
    to_v1,
)
from tensorbundle.tools.operations.converting.fitting import Fitting
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.operations.editing.combining import average, merge
from tensorbundle.tools.operations.editing.layout import (
    compact,
    partition,
    reshape,
    reshard,
    transpose,
    unpartition,
)
from tensorbundle.tools.operations.editing.renaming import parse_rule, regex_rule, rename
from tensorbundle.tools.operations.editing.selection import drop, extract, slim
from tensorbundle.tools.operations.editing.values import set_values
from tensorbundle.tools.operations.editing.vocabulary import read_vocabulary, resize
from tensorbundle.tools.operations.sizes import parse_size
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.transfer import Summary, TransferOptions, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tensorbundle.checkpoint import Path

__all__ = ["STEPS", "Kitchen", "apply_steps", "read_recipe", "rewrite"]


class Kitchen:
    """What steps need besides the draft.

    Attributes:
        destination: the prefix of the output.
        from_last: what `average` could not average and took from the last checkpoint because it differs.
    """

    def __init__(self, destination: str, stack: contextlib.ExitStack) -> None:
        self.destination = destination
        self.from_last: list[str] = []
        self._stack = stack

    def open(self, path: Path) -> Draft:
        """Another checkpoint, which stays open until everything is done."""
        return Draft.of(self._stack.enter_context(open_checkpoint(path)))


def rewrite(
    source: Path,
    destination: Path,
    *,
    recipe: Path | None = None,
    options: TransferOptions | None = None,
    **steps: Any,
) -> Summary:
    """Rewrite the checkpoint `source` to the prefix `destination` in one pass.

        rewrite("src", "dst", rename={"old/": "new/"}, drop=["*/Adam*"], cast={"*": "bfloat16"})

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix; its directory must exist.
        recipe: the path of a recipe, applied first.
        options: how the output is made.
        steps: the names in `STEPS` with what a recipe would give them, applied in the order given.

    Raises:
        BundleError: a step that does not exist or does not fit; or as the operations and `transfer`. Nothing was written.
    """
    listed = [*(read_recipe(str(recipe)) if recipe is not None else []), *steps.items()]
    with contextlib.ExitStack() as stack:
        kitchen = Kitchen(str(destination), stack)
        draft = apply_steps(kitchen.open(source), listed, kitchen)
        return transfer(draft.plan(), str(destination), options or TransferOptions())


def read_recipe(path: str) -> list[tuple[str, Any]]:
    """The steps in a recipe, in order.

    Raises:
        MissingFileError: no such file.
        BundleError: not TOML.
    """
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise MissingFileError("no such recipe", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"not TOML: {error}", path=path) from None
    steps: list[tuple[str, Any]] = []
    for name, value in content.items():
        if name == "steps" and isinstance(value, list):
            for each in value:
                if not isinstance(each, dict):
                    raise BundleError(f"steps: {each!r} is not a table", path=path)
                steps += each.items()
        else:
            steps.append((name, value))
    for name, _ in steps:
        if name not in STEPS:
            raise BundleError(f"no step {name!r}; there are {', '.join(sorted(STEPS))}", path=path)
    return steps


def apply_steps(draft: Draft, steps: Iterable[tuple[str, Any]], kitchen: Kitchen) -> Draft:
    """The draft after the steps.

    Raises:
        BundleError: a step that does not exist or does not fit; or as the operations.
    """
    for number, (name, value) in enumerate(steps):
        if name not in STEPS:
            raise BundleError(f"no step {name!r}; there are {', '.join(sorted(STEPS))}")
        if name == "average" and number:
            raise BundleError("step average: it takes checkpoints as they are; let it be the first step")
        try:
            draft = STEPS[name](draft, value, kitchen) or draft
        except (TypeError, LookupError, AttributeError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"step {name}: {value!r} does not fit: {error}") from error
    return draft


def _rename(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    rules = []
    for old, new in _table(value).items():
        if old == "regex" and not isinstance(new, str):
            rules += [regex_rule(pattern, _text(replacement)) for pattern, replacement in new.items()]
        else:
            rules.append(parse_rule(old, _text(new)))
    rename(draft, rules)


def _drop(draft: Draft, value: str | list[str], _: Kitchen) -> None:
    drop(draft, _texts(value))


def _extract(draft: Draft, value: str | list[str], _: Kitchen) -> None:
    extract(draft, _texts(value))


def _slim(draft: Draft, value: bool, _: Kitchen) -> None:
    if _flag(value):
        slim(draft)


def _cast(draft: Draft, value: Mapping[str, str], _: Kitchen) -> None:
    cast(draft, {pattern: _text(dtype) for pattern, dtype in _table(value).items()})


def _set(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, values in _table(value).items():
        set_values(draft, key, values)


def _partition(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, count in _table(value).items():
        if isinstance(count, Mapping):
            given = _options(count, "slices", "axis")
            partition(draft, key, _integer(given["slices"]), _integer(given.get("axis", 0)))
        else:
            partition(draft, key, _integer(count))


def _unpartition(draft: Draft, value: bool | str | list[str], _: Kitchen) -> None:
    if value is not False:
        unpartition(draft, () if value is True else _texts(value))


def _reshard(draft: Draft, value: int | Mapping[str, Any], _: Kitchen) -> None:
    if not isinstance(value, Mapping):
        reshard(draft, shards=_integer(value))
        return
    given = _options(value, "shards", "max_shard_size", "cut")
    shards, size = given.get("shards"), given.get("max_shard_size")
    reshard(
        draft,
        shards=None if shards is None else _integer(shards),
        max_bytes=None if size is None else parse_size(size) if isinstance(size, str) else _integer(size),
        cut=_flag(given.get("cut", False)),
    )


def _compact(draft: Draft, value: bool, _: Kitchen) -> None:
    if _flag(value):
        compact(draft)


def _transpose(draft: Draft, value: Mapping[str, Sequence[int]], _: Kitchen) -> None:
    for key, axes in _table(value).items():
        transpose(draft, key, [_integer(axis) for axis in axes])


def _reshape(draft: Draft, value: Mapping[str, Sequence[int]], _: Kitchen) -> None:
    for key, shape in _table(value).items():
        reshape(draft, key, [_integer(size) for size in shape])


def _merge(draft: Draft, value: Mapping[str, Any], kitchen: Kitchen) -> Draft:
    given = _options(value, "with", "prefer")
    others = given["with"]
    named = others.items() if isinstance(others, Mapping) else [("", path) for path in _texts(others)]
    prefer = given.get("prefer")
    if prefer not in (None, "first", "last"):
        raise ValueError(f"prefer = {prefer!r}, expected 'first' or 'last'")
    drafts = [("", draft), *((name, kitchen.open(path)) for name, path in named)]
    return merge(drafts, prefer)


def _average(draft: Draft, value: Mapping[str, Any], kitchen: Kitchen) -> Draft:
    given = _options(value, "with", "accumulator")
    accumulator = given.get("accumulator", "float64")
    if accumulator not in ("float32", "float64"):
        raise ValueError(f"accumulator = {accumulator!r}, expected 'float32' or 'float64'")
    drafts = [draft, *map(kitchen.open, _texts(given["with"]))]
    averaged, kitchen.from_last = average(drafts, DType[accumulator])
    return averaged


def _resize(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, each in _table(value).items():
        given = _options(each, "old_vocab", "new_vocab", "axis", "oov", "old_vocab_size", "new_vocab_size")
        old, new = read_vocabulary(_path(given["old_vocab"])), read_vocabulary(_path(given["new_vocab"]))
        axis, oov = _integer(given.get("axis", 0)), _integer(given.get("oov", 0))
        sizes = [_integer(given.get(name, -1)) for name in ("old_vocab_size", "new_vocab_size")]
        resize(draft, key, old, new, axis=axis, oov=oov, old_size=sizes[0], new_size=sizes[1])


def _convert(draft: Draft, value: str | Mapping[str, Any], kitchen: Kitchen) -> None:
    to = value if isinstance(value, str) else _table(value)["to"]
    table = {"to": to} if isinstance(value, str) else value
    if "template" in table or "structure" in table:
        _fit(draft, table, kitchen)
        return
    if to == "tf1":
        given = _options(table, "to", "root", "names")
        root, names = given.get("root"), given.get("names", "auto")
        if names not in ("auto", "keys", "full-names"):
            raise ValueError(f"names = {names!r}, expected 'auto', 'keys' or 'full-names'")
        to_tf1(draft, root=None if root is None else _text(root), names=names)
    elif to == "tf2":
        given = _options(table, "to", "root", "save_counter")
        counter = saves_in_name(kitchen.destination) if _flag(given.get("save_counter", True)) else None
        to_tf2(draft, root=_text(given.get("root", "vars")), counter=counter)
    elif to == "v1":
        _options(table, "to")
        to_v1(draft)
    else:
        raise BundleError(f"step convert: to = {to!r}, expected 'tf1', 'tf2' or 'v1'")


def _fit(draft: Draft, value: Mapping[str, Any], kitchen: Kitchen) -> None:
    """`convert` into a template or a structure."""
    numbers = ("learning_rate", "beta_1", "beta_2")
    flags = ("allow_missing", "allow_unused")
    given = _options(value, "to", "template", "structure", "map", "save_counter", *flags, *numbers)
    template, structure, rules = given.get("template"), given.get("structure"), given.get("map")
    missing, unused = (_flag(given.get(name, False)) for name in flags)
    rate, beta_1, beta_2 = (_number(given[name]) if name in given else None for name in numbers)
    fit(
        draft,
        given["to"],
        None if template is None else kitchen.open(_path(template)),
        None if structure is None else read_structure(_path(structure)),
        rules_of({old: _text(new) for old, new in rules.items()} if isinstance(rules, Mapping) else rules),
        counter=saves_in_name(kitchen.destination) if _flag(given.get("save_counter", True)) else None,
        fitting=Fitting(missing, unused, rate, beta_1, beta_2),
    )


# What a step is given, checked: the errors become those of the step, with its name.


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("expected a table")
    return value


def _options(value: object, *allowed: str) -> Mapping[str, Any]:
    given = _table(value)
    unknown = [key for key in given if key not in allowed]
    if unknown:
        raise ValueError(f"no option {unknown[0]!r}; there are {', '.join(allowed)}")
    return given


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{value!r} is not a whole number")
    return operator.index(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _path(value: object) -> str:
    return str(value) if isinstance(value, os.PathLike) else _text(value)


def _texts(value: object) -> list[str]:
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise ValueError("an empty list")
    return [_path(each) for each in listed]


STEPS: Final[dict[str, Callable[[Draft, Any, Kitchen], Draft | None]]] = {
    "average": _average,
    "cast": _cast,
    "compact": _compact,
    "convert": _convert,
    "drop": _drop,
    "extract": _extract,
    "merge": _merge,
    "partition": _partition,
    "rename": _rename,
    "reshape": _reshape,
    "reshard": _reshard,
    "resize": _resize,
    "set": _set,
    "slim": _slim,
    "transpose": _transpose,
    "unpartition": _unpartition,
}
