"""What `check` advises for a checkpoint and a program, and what becomes of the checkpoint if it is followed."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import tensorbundle as tb
from support.judging import make_pair
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.restoring.causes import find_causes
from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source, predict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.outcomes import Forecast

__all__ = ["Followed", "edited_pair", "follow_all", "mismatches"]


class Followed(NamedTuple):
    """A command that was followed.

    Attributes:
        command: its arguments.
        claimed: what it leaves, as `check` says.
        before: the forecast for what it reads.
        after: the forecast for what it wrote.
    """

    command: Arguments
    claimed: dict[str, int]
    before: Forecast
    after: Forecast


def mismatches(forecast: Forecast) -> dict[str, int]:
    """The numbers of mismatches by status."""
    return dict(Counter(each.status for each in forecast.findings if each.status != "restored"))


def follow_all(source: str, against: str, method: str = "restore") -> Iterator[Followed]:
    """Run every command that claims to change something, in the current directory: each one after those that it follows."""
    target = RestoreTarget.read(against)
    given = Source.read(source)
    forecasts = {source: predict(given, target, method)}
    for cause in find_causes(forecasts[source], given, target):
        commands = [*((each.command, each.leaves) for each in cause.advice), (cause.command, cause.leaves)]
        for command, leaves in commands:
            if leaves is None or "FILE" in command:
                continue
            assert main([*command, "--overwrite", "--quiet"]) == 0, command
            after = predict(Source.read(command[2]), target, method)
            yield Followed(command, leaves, forecasts[command[1]], after)
            forecasts[command[2]] = after


def edited_pair(seed: int, folder: Path) -> tuple[str, str]:
    """The generated pair of a seed, with models and optimizers moved into others, tensors removed or of another type."""
    pair = make_pair(seed, folder)
    rng = random.Random(seed)
    sides = [pair.source.prefix, pair.fresh.prefix]
    for number in range(rng.choice([1, 1, 2, 3])):
        side = rng.choice([0, 0, 1])
        for step, edit in enumerate(_edits(sides[side], rng)):
            made = str(folder / f"edited-{number}-{step}")
            if main([edit[0], sides[side], made, *edit[1:], "--quiet"]) != 0:
                break
            sides[side] = made
    return sides[0], sides[1]


def _edits(prefix: str, rng: random.Random) -> list[list[str]]:
    with tb.open(prefix) as checkpoint:
        graph, keys = checkpoint.object_graph, list(checkpoint)
    if graph is None:
        scope = rng.choice(keys).partition("/")[0]
        ways = [["rename", "/=outer/"], ["rename", f"{scope}/=renamed/"], ["drop", rng.choice(keys)]]
        return [rng.choice([*ways, ["cast", "*=float16"], ["slim"]])]
    names = [name for name in graph.root.children if name != "save_counter"]
    optimizer = next((name for name in names if name.endswith(("optimizer", "_opt"))), None)
    model = next((name for name in names if name != optimizer), "")
    other = rng.choice(["ema", "net", "functional"])
    away = ["rename", f"{model}={other}"]
    inside = [["rename", f"{optimizer}={model}/optimizer"], away] if optimizer and model else [away]
    casts = rng.choice(["*=float16", f"{model}/*=float16"])
    dropped = f"{model}/*{rng.choice(['kernel', 'bias'])}*"
    ways = [away, ["rename", "/=outer/"], ["rename", f"{model}={model}/{other}"], ["drop", dropped], ["slim"]]
    return rng.choice([inside, inside, [["cast", casts]], *([each] for each in ways)])
