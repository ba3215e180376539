"""Several operations in one pass, in the order written: a recipe, or keyword arguments of `rewrite`.

A recipe is a TOML file. Its tables are steps, applied in the order in which they appear; a step that is needed twice is
given in the array `steps`:

    slim = true
    rename = { "old/" = "new/" }
    cast = { "*" = "bfloat16" }

    [[steps]]
    convert = { to = "tf2" }

Steps are strict: an option that does not exist, or a value of another kind, is an error. The class of each step
documents its options.
"""

from __future__ import annotations

import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.errors import BundleError, MissingFileError, cannot_read, near_hint
from tensorbundle.limits import MAX_RECIPE_BYTES, MAX_STEPS
from tensorbundle.tools.operations.converting.other_formats import finish
from tensorbundle.tools.operations.steps.casting import Cast
from tensorbundle.tools.operations.steps.combining import Average, Merge
from tensorbundle.tools.operations.steps.contents import Resize, SetValues
from tensorbundle.tools.operations.steps.conversion import Convert
from tensorbundle.tools.operations.steps.layout import Compact, Partition, Reshard, Unpartition
from tensorbundle.tools.operations.steps.naming import Rename
from tensorbundle.tools.operations.steps.selecting import Drop, Extract, Slim
from tensorbundle.tools.operations.steps.shapes import Concat, Reshape, Split, Transpose
from tensorbundle.tools.operations.steps.step import Step, StepContext, apply_steps
from tensorbundle.tools.rewriting.options import TransferOptions
from tensorbundle.tools.rewriting.transfer import Summary, transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable

    from tensorbundle.checkpoint import Path as AnyPath

__all__ = ["STEPS", "read_recipe", "read_recipes", "rewrite", "rewrite_with", "shipped_recipes", "step_of"]

STEPS: Final[dict[str, type[Step]]] = {
    each.name: each
    for each in (
        *(Average, Cast, Compact, Concat, Convert, Drop, Extract, Merge, Partition, Rename),
        *(Reshape, Reshard, Resize, SetValues, Slim, Split, Transpose, Unpartition),
    )
}


def rewrite(
    source: AnyPath,
    destination: AnyPath,
    *,
    recipe: AnyPath | Sequence[AnyPath] | None = None,
    options: TransferOptions | None = None,
    **steps: Any,
) -> Summary:
    """Rewrite the checkpoint `source` to the prefix `destination` in one pass.

        rewrite("src", "dst", rename={"old/": "new/"}, drop=["*/Adam*"], cast={"*": "bfloat16"})

    Args:
        source: anything that `tensorbundle.open` takes.
        destination: the new checkpoint's prefix; its directory must exist.
        recipe: the path of a recipe, or the name of one that comes with the package; or several. They are applied first.
        options: how the output is written.
        steps: names in `STEPS`, with the values of a recipe, applied in the order given.

    Raises:
        BundleError: a step that does not exist or is not valid; or as the operations and `transfer`. Nothing was written.
    """
    listed = read_recipes(recipe or ())
    listed += [step_of(name, value) for name, value in steps.items()]
    return rewrite_with(listed, source, destination, options)


def rewrite_with(
    steps: Iterable[Step], source: AnyPath, destination: AnyPath, options: TransferOptions | None = None
) -> Summary:
    """`rewrite` with `Step` objects."""
    with StepContext(destination) as context:
        options = options or TransferOptions()
        draft = apply_steps(context.open(source), steps, context)
        finish(draft, context.destination, options)
        return transfer(draft.plan(last=True), context.destination, options)


def read_recipes(paths: AnyPath | Sequence[AnyPath]) -> list[Step]:
    """The steps in one recipe or several, in order.

    Raises:
        MissingFileError, BundleError: as `read_recipe`.
    """
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    return [step for path in listed for step in read_recipe(str(path))]


def read_recipe(path: str) -> list[Step]:
    """The steps in a recipe, in order.

    `path` may also be the name of a recipe that comes with the package, such as `hf:bert`.

    Raises:
        MissingFileError: no such file.
        BundleError: it can't be read, is not TOML, or a step that does not exist or is not valid.
    """
    shipped = shipped_recipes()
    try:
        with (shipped[path] if path in shipped else Path(path)).open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
        if len(data) > MAX_RECIPE_BYTES:
            raise BundleError(f"a recipe is limited to {MAX_RECIPE_BYTES >> 20} MiB", path=path)
        content = tomllib.loads(data.decode())
    except FileNotFoundError:
        hint = near_hint(path, shipped)
        raise MissingFileError(
            f"no such recipe{hint}; 'tensorbundle recipes' lists those that are included", path=path
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"not TOML: {error}", path=path) from None
    except RecursionError:
        raise BundleError("nested too deep", path=path) from None
    except OSError as error:
        raise cannot_read(error, path, "recipe") from None
    tables: list[tuple[str, Any]] = []
    for name, value in content.items():
        if name == "steps" and isinstance(value, list):
            for each in value:
                if not isinstance(each, dict):
                    raise BundleError(f"steps: {each!r} is not a table", path=path)
                tables += each.items()
        else:
            tables.append((name, value))
    if len(tables) > MAX_STEPS:  # each may compute of what the one before it computes
        raise BundleError(f"{len(tables)} steps, a recipe is limited to {MAX_STEPS}", path=path)
    try:
        return [step_of(name, value) for name, value in tables]
    except BundleError as error:
        raise error.locate(path=path) from None


def shipped_recipes() -> dict[str, Traversable]:
    """The recipes that come with the package, by name; the first line of each describes it."""
    folder = files("tensorbundle.tools.operations.steps") / "shipped"
    names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml"))
    return {name.removesuffix(".toml").replace("-", ":", 1): folder / name for name in names}


def step_of(name: str, value: object) -> Step:
    """The step of a name, created from a table.

    Raises:
        BundleError: there is no such step, or the table is not valid.
    """
    if name not in STEPS:
        hint = near_hint(name, STEPS)
        raise BundleError(f"no step {name!r}{hint}; there are {', '.join(sorted(STEPS))}")
    try:
        return STEPS[name].from_table(value)
    except BundleError as error:
        if error.path is None:  # otherwise it is about a file that the step names
            error.reason = f"step {name}: {error.reason}"
        raise
