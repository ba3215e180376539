"""Gives a checkpoint the structure of a program, by all that tells which tensor is which: `convert --template`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.tools.operations.converting.conversion import fit
from tensorbundle.tools.operations.converting.fitting import Fitting
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.restoring.advice import Place
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.trials import Edit, Trial, Trials

__all__ = ["Restructuring", "restructuring"]

_MATCHED_OFTEN: Final = 5000  # tensors and objects; more are matched once, as leniently as possible


class Restructuring(NamedTuple):
    """A command that gives the checkpoint the structure of the program."""

    command: Arguments
    edit: Edit
    trial: Trial


def restructuring(trials: Trials) -> Restructuring | None:
    """The strictest such command that works and makes it better."""
    path, by_structure = trials.target.path, trials.target.expected is not None
    given = ("--structure" if by_structure else "--template", path)
    many = trials.size > _MATCHED_OFTEN
    for missing, unused in [(True, True)] if many else itertools.product((False, True), repeat=2):
        fitting = Fitting(allow_missing=missing, allow_unused=unused)

        def edit(draft: Draft, fitting: Fitting = fitting) -> None:
            if by_structure:
                fit(draft, "tf2", None, read_structure(path), fitting=fitting)
                return
            with open_checkpoint(path) as template:
                model = Draft.of(template)
                fit(draft, "tf1" if model.graph is None else "tf2", model, None, fitting=fitting)

        to = "tf1" if trials.target.graph is None else "tf2"
        allowed = (*("--allow-missing",) * missing, *("--allow-unused",) * unused)
        trial = trials.attempt(edit)
        if trial is not None and trial.is_better_than(trials.now):
            command: Arguments = ("convert", Place.SOURCE, Place.MADE, "--to", to, *given, *allowed)
            return Restructuring(command, edit, trial)
    return None
