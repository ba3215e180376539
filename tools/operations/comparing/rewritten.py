"""What recipes and a map would make of a checkpoint, to be compared with another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.checkpoint import Checkpoint
from tensorbundle.tools.formats.outputs import WEIGHTS_ENDING
from tensorbundle.tools.operations.converting.other_formats import finish
from tensorbundle.tools.operations.steps.recipe import read_recipes, step_of
from tensorbundle.tools.operations.steps.step import StepContext, apply_steps
from tensorbundle.tools.rewriting.draft_index import DraftIndex
from tensorbundle.tools.rewriting.options import TransferOptions

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

    from tensorbundle.checkpoint import Path
    from tensorbundle.tools.rewriting.plan import LeftOut

__all__ = ["rewritten"]


def rewritten(
    path: Path,
    recipe: Path | Sequence[Path],
    rules: Path | None,
    destination: str,
    stack: contextlib.ExitStack,
    *,
    verify: bool,
) -> tuple[Checkpoint, list[LeftOut]]:
    """The checkpoint that `rewrite` would write to `destination`, and what it would leave out; nothing is written.

    Args:
        path: of the source.
        recipe: one recipe or several, applied in order.
        rules: the path of a map of names, applied after the recipes, or None.
        destination: the path of a checkpoint of the kind that is to be made.
        stack: closes what was opened.
        verify: whether checksums are checked.

    Raises:
        BundleError: as `rewrite`.
    """
    steps = read_recipes(recipe)
    if rules is not None:
        steps.append(step_of("rename", {"map": [str(rules)]}))
    if destination.endswith((".keras", ".weights.json")):  # which are only read
        destination += WEIGHTS_ENDING
    context = stack.enter_context(StepContext(destination))
    draft = apply_steps(context.open(path), steps, context)
    finish(draft, destination, TransferOptions(allow_unused=True))
    return Checkpoint(draft.prefix, verify=verify, index=DraftIndex(draft)), draft.left_out
