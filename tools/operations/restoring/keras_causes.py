"""Why a file does not load into a model of Keras 3, and what to do."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.errors import BundleError, listed
from tensorbundle.tools.formats.outputs import HDF5_ENDINGS, WEIGHTS_ENDING
from tensorbundle.tools.keras.naming import base_of
from tensorbundle.tools.operations.converting.keras_weights import (
    KerasModel,
    from_keras_weights,
    to_keras_weights,
    to_legacy_weights,
)
from tensorbundle.tools.operations.editing.selection import slim
from tensorbundle.tools.operations.restoring.advice import Advice, FoundCause, Place
from tensorbundle.tools.operations.restoring.keras_loading import OPTIMIZERS, object_of
from tensorbundle.tools.operations.restoring.outcomes import counted
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source
    from tensorbundle.tools.operations.restoring.outcomes import Forecast
    from tensorbundle.tools.operations.restoring.trials import Trials

__all__ = ["conversion_cause", "exchanged_layers", "find_keras_causes"]

_SHOWN: Final = 3
Shape = tuple[int, ...]


def find_keras_causes(trials: Trials) -> Iterator[FoundCause]:
    """Why a file does not load into a model."""
    source, target = trials.now.source.path, trials.target.path
    if not trials.now.source.is_keras_weights:
        yield conversion_cause(trials)
        return
    if trials.target.layers is not None:
        yield FoundCause.of("legacy-order", trials.open("missing", "shape", "unused"))
        return
    missing, shapes, unused = trials.open("missing"), trials.open("shape"), trials.open("unused")
    state = [each for each in missing if object_of(each.path) in OPTIMIZERS]
    missing = [each for each in missing if each not in state]
    empty, names = _without_variables(source), {object_of(each.path) for each in missing}
    if unbuilt := names & empty:
        here = [each for each in missing if object_of(each.path) in unbuilt]
        yield FoundCause.of("layers-without-variables", here)
        missing = [each for each in missing if each not in here]
    if missing:
        counts = _other_counts(trials.now.forecast)
        findings, compare = (
            (*missing, *unused),
            Advice("to see what could be which", ("suggest", Place.SOURCE, target)),
        )
        if counts:
            yield FoundCause.of(
                "other-layers", findings, [compare], counts=listed(counts, separator="; ", most=_SHOWN)
            )
        else:
            yield FoundCause.of("missing-variables", findings, [compare])
    if shapes:
        tensors = f"{counted(shapes, 'tensor')} {'have' if len(shapes) > 1 else 'has'}"
        yield FoundCause.of("other-layer-shape", shapes, tensors=tensors)
    if state:
        command = ("slim", Place.SOURCE, f"DST{WEIGHTS_ENDING}")
        yield FoundCause.of("optimizer-size", state, trials.advice("or remove the state", command, slim))
    if unused and not missing:
        yield FoundCause.of("unused-variables", unused)


def exchanged_layers(forecast: Forecast, source: Source, target: RestoreTarget) -> Iterator[FoundCause]:
    """That layers of equal shapes have their names in another order in a legacy file that the other Keras wrote."""
    if source.layers is None or target.layers is None or {source.writer, target.writer} != {2, 3}:
        return
    own, wanted = (_inner_layers(each.layers or [], each.entries) for each in (source, target))
    alike: dict[tuple[Shape, ...], list[str]] = defaultdict(list)
    places = zip(own, _ranks(own), wanted, _ranks(wanted), strict=False)
    for (name, shapes), rank, (other, _), other_rank in places:
        if rank != other_rank:
            alike[shapes].append(f"{name!r} to {other!r}")
    found = [each for layers in alike.values() if len(layers) > 1 for each in layers]
    if found:
        yield FoundCause.of("legacy-writers", (), layers=listed(found, most=_SHOWN))


def _inner_layers(
    layers: Iterable[Sequence[str]], entries: Mapping[str, TensorEntry]
) -> list[tuple[str, tuple[Shape, ...]]]:
    """The layers with weights in a legacy file, by the names of these, with the shapes, in order."""
    found: dict[str, list[Shape]] = {}
    for key in itertools.chain.from_iterable(layers):
        found.setdefault(key.rpartition("/")[0], []).append(entries[key].shape)
    return [(scope.rpartition("/")[2], tuple(shapes)) for scope, shapes in found.items()]


def _ranks(layers: Iterable[tuple[str, object]]) -> list[tuple[str, int]]:
    """What names say of the order of layers: `dense_7` and `dense_3` are the second and the first one called `dense`."""
    bases = [(base_of(name), int(name.removeprefix(base_of(name)).strip("_") or 0)) for name, _ in layers]
    numbers = {
        base: sorted({number for other, number in bases if other == base})
        for base in {each for each, _ in bases}
    }
    return [(base, numbers[base].index(number)) for base, number in bases]


def conversion_cause(trials: Trials) -> FoundCause:
    """The cause that only one of the two is a Keras weights file, with the command that converts, if it helps."""
    target, refused = trials.target.path, []
    command: Arguments
    legacy = trials.target.layers is not None
    kind = "keras-3"
    if legacy:
        command = ("convert", Place.SOURCE, f"DST{HDF5_ENDINGS[0]}")
    elif trials.target.graph is None:
        command = ("convert", Place.SOURCE, f"DST{WEIGHTS_ENDING}", "--template", target)
    else:
        kind = "keras-weights"
        command = ("convert", Place.SOURCE, Place.MADE, "--to", "tf2", "--template", target)

    def edit(draft: Draft) -> None:
        try:
            with open_checkpoint(target) as other:
                template = Draft.of(other)
                if template.graph is not None:
                    from_keras_weights(draft, template, KerasModel())
                elif legacy and draft.graph is not None:
                    to_legacy_weights(draft, KerasModel())
                elif draft.graph is None:
                    raise BundleError(
                        "a name-based checkpoint has no layers; give its names those of datasets (--map)"
                    )
                else:
                    to_keras_weights(draft, KerasModel(), template)
        except BundleError as error:
            refused.append(error.reason)
            raise

    findings = trials.now.forecast.findings
    cause = trials.remedy(FoundCause.of(kind, findings), command, edit)
    return FoundCause.of(kind, findings, why=refused[0]) if refused else cause


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
