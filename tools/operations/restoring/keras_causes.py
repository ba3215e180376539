"""Why a file does not load into a model of Keras 3, and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError
from tensorbundle.tools.keras.naming import base_of
from tensorbundle.tools.operations.converting.keras_weights import (
    WEIGHTS_ENDING,
    KerasModel,
    from_keras_weights,
    to_keras_weights,
)
from tensorbundle.tools.operations.editing.selection import slim
from tensorbundle.tools.operations.restoring.advice import Advice, Cause, Place
from tensorbundle.tools.operations.restoring.keras_loading import OPTIMIZERS, object_of
from tensorbundle.tools.operations.restoring.outcomes import counted
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.outcomes import Forecast
    from tensorbundle.tools.operations.restoring.trials import Trials

__all__ = ["conversion_cause", "find_keras_causes"]

_SHOWN: Final = 3


def find_keras_causes(trials: Trials) -> Iterator[Cause]:
    """Why a file does not load into a model."""
    source, target = trials.now.source.path, trials.target.path
    if not trials.now.source.is_keras_weights:
        yield conversion_cause(trials)
        return
    missing, shapes, unused = trials.open("missing"), trials.open("shape"), trials.open("unused")
    state = [each for each in missing if object_of(each.path) in OPTIMIZERS]
    missing = [each for each in missing if each not in state]
    empty, names = _without_variables(source), {object_of(each.path) for each in missing}
    if unbuilt := names & empty:
        here = [each for each in missing if object_of(each.path) in unbuilt]
        yield Cause(
            "A has these layers without variables: the model that wrote it had not built them",
            tuple(here),
            (Advice("build the model, or call it on data, before it saves its weights"),),
        )
        missing = [each for each in missing if each not in here]
    if missing:
        counts = _other_counts(trials.now.forecast)
        what = "A lacks variables of layers that the model has"
        if counts:
            what = f"the models have other numbers of layers: {'; '.join(counts[:_SHOWN])}"
        yield Cause(
            what,
            (*missing, *unused),
            (
                Advice(
                    "layers are found by the names of their classes and their order in each class, not by their own names"
                ),
                Advice("to see what could be which", ("suggest", Place.SOURCE, target)),
                Advice("to load what can be loaded: model.load_weights(path, skip_mismatch=True)"),
            ),
        )
    if shapes:
        yield Cause(
            f"{counted(shapes, 'tensor')} {'have' if len(shapes) > 1 else 'has'} another shape in B",
            tuple(shapes),
            (
                Advice(
                    "the model was made with other sizes than the one that A is from, or its layers have another order"
                ),
            ),
        )
    if state:
        yield Cause(
            "the optimizers have other numbers of variables; Keras leaves that of the model as it is, and warns",
            tuple(state),
            (
                Advice(
                    "compile the model with the same optimizer, and call optimizer.build(model.trainable_variables)"
                ),
                *trials.advice("or remove the state", ("slim", Place.SOURCE, f"DST{WEIGHTS_ENDING}"), slim),
            ),
        )
    if unused and not missing:
        yield Cause("A has what the model does not have, which Keras ignores", tuple(unused))


def conversion_cause(trials: Trials) -> Cause:
    """The cause that only one of the two is a Keras weights file, with the command that converts, if it helps."""
    target, refused = trials.target.path, []
    command: Arguments
    if trials.target.graph is None:
        what = "Keras 3 reads .weights.h5, .keras and legacy .h5 files only"
        command = ("convert", Place.SOURCE, f"DST{WEIGHTS_ENDING}", "--template", target)
    else:
        what = "A is a file of Keras weights, which TensorFlow does not restore"
        command = ("convert", Place.SOURCE, Place.MADE, "--to", "tf2", "--template", target)

    def edit(draft: Draft) -> None:
        try:
            with open_checkpoint(target) as other:
                template = Draft.of(other)
                if template.graph is not None:
                    from_keras_weights(draft, template, KerasModel())
                elif draft.graph is None:
                    raise BundleError(
                        "a name-based checkpoint has no layers; give its names those of datasets (--map)"
                    )
                else:
                    to_keras_weights(draft, KerasModel(), template)
        except BundleError as error:
            refused.append(error.reason)
            raise

    cause = trials.remedy(what, trials.now.forecast.findings, command, edit)
    return replace(cause, what=f"{what}; and it can't be converted: {refused[0]}") if refused else cause


def _without_variables(path: str) -> set[str]:
    """The objects of a file that have a name and no variables."""
    with open_checkpoint(path) as checkpoint:
        have = {object_of(key) for key in checkpoint}
        named = {object_of(f"{each}/0") for each in checkpoint.index.attributes if each.endswith("vars")}
    return named - have


def _other_counts(forecast: Forecast) -> list[str]:
    """The classes of which the two have different numbers of objects."""
    sides: tuple[set[str], set[str]] = (set(), set())
    for each in forecast.findings:
        if each.status != "missing":
            sides[0].add(object_of(each.key or each.path))
        if each.status != "unused":
            sides[1].add(object_of(each.path))
    counts = [Counter(_class(each) for each in _with_parents(side)) for side in sides]
    return [
        f"{' in '.join(filter(None, (name, parent and repr(parent))))}: {counts[0][parent, name]} in A, {number} in B"
        for (parent, name), number in sorted(counts[1].items())
        if counts[0][parent, name] != number and parent.endswith("layers")
    ]


def _with_parents(paths: Iterable[str]) -> set[str]:
    return {
        "/".join(parts[:end])
        for path in paths
        if (parts := path.split("/"))
        for end in range(1, len(parts) + 1)
    }


def _class(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent, base_of(name)
