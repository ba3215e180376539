"""Several operations in one pass, in the order written: a recipe, or keyword arguments of `rewrite`.

A recipe is a TOML file. Its tables are steps, applied in the order in which they stand; a step that is needed twice
goes into the array `steps`:

    slim = true
    rename = { "old/" = "new/" }
    cast = { "*" = "bfloat16" }

    [[steps]]
    convert = { to = "tf2" }
"""

from __future__ import annotations

import contextlib
import tomllib
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, MissingFileError
from tensorbundle.tools.conversion import saves_in_name, to_tf1, to_tf2
from tensorbundle.tools.draft import Draft
from tensorbundle.tools.operations.casting import cast
from tensorbundle.tools.operations.combining import merge
from tensorbundle.tools.operations.editing import set_values
from tensorbundle.tools.operations.layout import compact, partition, reshard, unpartition
from tensorbundle.tools.operations.renaming import parse_rule, regex_rule, rename
from tensorbundle.tools.operations.selection import drop, extract, slim
from tensorbundle.tools.operations.vocabulary import read_vocabulary, resize
from tensorbundle.tools.sizes import parse_size
from tensorbundle.tools.transfer import Summary, TransferOptions, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tensorbundle.checkpoint import Path

__all__ = ["STEPS", "Kitchen", "apply_steps", "read_recipe", "rewrite"]


class Kitchen:
    """What steps need besides the draft.

    Attributes:
        destination: the prefix of the output.
    """

    def __init__(self, destination: str, stack: contextlib.ExitStack) -> None:
        self.destination = destination
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
    for name, value in steps:
        if name not in STEPS:
            raise BundleError(f"no step {name!r}; there are {', '.join(sorted(STEPS))}")
        try:
            draft = STEPS[name](draft, value, kitchen) or draft
        except (TypeError, KeyError, AttributeError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"step {name}: {value!r} does not fit: {error}") from error
    return draft


def _rename(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    rules = []
    for old, new in value.items():
        if old == "regex":
            rules += [regex_rule(pattern, replacement) for pattern, replacement in new.items()]
        else:
            rules.append(parse_rule(old, new))
    rename(draft, rules)


def _drop(draft: Draft, value: str | list[str], _: Kitchen) -> None:
    drop(draft, _texts(value))


def _extract(draft: Draft, value: str | list[str], _: Kitchen) -> None:
    extract(draft, _texts(value))


def _slim(draft: Draft, value: bool, _: Kitchen) -> None:
    if value:
        slim(draft)


def _cast(draft: Draft, value: Mapping[str, str], _: Kitchen) -> None:
    cast(draft, value)


def _set(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, values in value.items():
        set_values(draft, key, values)


def _partition(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, count in value.items():
        if isinstance(count, int):
            partition(draft, key, count)
        else:
            partition(draft, key, int(count["slices"]), int(count.get("axis", 0)))


def _unpartition(draft: Draft, value: bool | str | list[str], _: Kitchen) -> None:
    if value:
        unpartition(draft, () if value is True else _texts(value))


def _reshard(draft: Draft, value: int | Mapping[str, Any], _: Kitchen) -> None:
    if isinstance(value, int):
        reshard(draft, shards=value)
        return
    size = value.get("max_shard_size")
    reshard(
        draft,
        shards=value.get("shards"),
        max_bytes=None if size is None else parse_size(str(size)),
        cut=bool(value.get("cut", False)),
    )


def _compact(draft: Draft, value: bool, _: Kitchen) -> None:
    if value:
        compact(draft)


def _merge(draft: Draft, value: Mapping[str, Any], kitchen: Kitchen) -> Draft:
    others = value["with"]
    named = others.items() if hasattr(others, "items") else (("", path) for path in _texts(others))
    drafts = [("", draft), *((name, kitchen.open(path)) for name, path in named)]
    return merge(drafts, value.get("prefer"))


def _resize(draft: Draft, value: Mapping[str, Any], _: Kitchen) -> None:
    for key, each in value.items():
        old, new = read_vocabulary(each["old_vocab"]), read_vocabulary(each["new_vocab"])
        axis, oov = int(each.get("axis", 0)), int(each.get("oov", 0))
        resize(draft, key, old, new, axis=axis, oov=oov, old_size=each.get("old_vocab_size"))


def _convert(draft: Draft, value: str | Mapping[str, Any], kitchen: Kitchen) -> None:
    given: Mapping[str, Any] = {"to": value} if isinstance(value, str) else value
    if given["to"] == "tf1":
        to_tf1(draft, root=given.get("root"), names=given.get("names", "auto"))
    elif given["to"] == "tf2":
        counter = saves_in_name(kitchen.destination) if given.get("save_counter", True) else None
        to_tf2(draft, root=given.get("root", "vars"), counter=counter)
    else:
        raise BundleError(f"step convert: to = {given['to']!r}, expected 'tf1' or 'tf2'")


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


STEPS: Final[dict[str, Callable[[Draft, Any, Kitchen], Draft | None]]] = {
    "cast": _cast,
    "compact": _compact,
    "convert": _convert,
    "drop": _drop,
    "extract": _extract,
    "merge": _merge,
    "partition": _partition,
    "rename": _rename,
    "reshard": _reshard,
    "resize": _resize,
    "set": _set,
    "slim": _slim,
    "unpartition": _unpartition,
}
