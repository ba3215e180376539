"""Converts models in TensorFlow checkpoints to Keras weights files, and these to checkpoints of a target program."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import (
    BundleError,
    ConflictError,
    CorruptionError,
    MissingFileError,
    TensorNotFoundError,
    quoted,
)
from tensorbundle.proto.paths import SAVE_COUNTER, key_path
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import dirname, join
from tensorbundle.tools.formats.zips import InflatedFile, members_of
from tensorbundle.tools.keras.classes import (
    Classes,
    parse_config,
    parse_keras_metadata,
    parse_saved_model,
)
from tensorbundle.tools.keras.dictionaries import absorb_dictionaries
from tensorbundle.tools.keras.layers import find_model, read_layers
from tensorbundle.tools.keras.lost import left_out_by_keras_3
from tensorbundle.tools.keras.sequences import as_listed, legacy_groups, legacy_layers, legacy_writer
from tensorbundle.tools.keras.template import groups_of, weights_by_template
from tensorbundle.tools.keras.weights import Ordering, weights_of
from tensorbundle.tools.operations.converting.fitting import refuse_conflicts
from tensorbundle.tools.operations.converting.keras_optimizer import (
    OPTIMIZER,
    state_for_weights,
    state_from_weights,
)
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.patterns import Pattern
from tensorbundle.tools.rewriting.plan import LeftOut

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tensorbundle.proto.graph import Node, ObjectGraph
    from tensorbundle.tools.keras.layers import Layer, Variable
    from tensorbundle.tools.keras.order import KerasVersion
    from tensorbundle.tools.keras.sequences import LegacyGroup
    from tensorbundle.tools.keras.template import Group
    from tensorbundle.tools.keras.weights import Weight
    from tensorbundle.tools.rewriting.draft import Draft, DraftTensor

__all__ = [
    "KerasModel",
    "are_keras_weights",
    "from_keras_weights",
    "is_keras_weights",
    "to_keras_weights",
    "to_legacy_weights",
]

_DATASET: Final = re.compile(r"(?:.+/)?vars/\d{1,9}", re.DOTALL)
_MAX_CONFIG_BYTES: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class KerasModel:
    """Facts about the model in a checkpoint that the caller gives.

    Attributes:
        root: the path of its object; None to find it.
        config: the file of its config, as JSON or in a `.keras` archive, or None.
        trainable: patterns of its variables that are trained.
        non_trainable: patterns of its variables that are not trained.
        beta_1: of its optimizer, where it is needed and not stored.
        version: the Keras that reads or wrote its weights file: 2, also for tf_keras, or 3; None if it is not given.
    """

    root: str | None = None
    config: str | None = None
    trainable: tuple[str, ...] = ()
    non_trainable: tuple[str, ...] = ()
    beta_1: float | None = None
    version: KerasVersion | None = None


def to_keras_weights(draft: Draft, model: KerasModel, template: Draft | None = None) -> None:
    """Convert a draft to a `.weights.h5` file, which `load_weights` of Keras 3 reads.

    Args:
        draft: of a checkpoint with an object graph; or with names of datasets of such a file.
        model: what is known of the model.
        template: a weights file that the target model wrote; the output has its groups.

    Raises:
        ConflictError: a necessary fact is not known, or several results are possible; the reason says what helps.
        TensorNotFoundError: the template has tensors that the checkpoint lacks, or a pattern matches nothing.
        BundleError: the config is of another model.
    """
    graph = draft.graph
    if graph is None:
        _check_names(draft)
        return
    if template is not None and model.config is not None:
        raise BundleError("give a config (config) or a template (template), not both", path=draft.prefix)
    lost = left_out_by_keras_3(graph, Optimizers.of_draft(draft)) if template is not None else []
    known = _classes(draft, graph, model)
    layer, ordering = _model_of(draft, graph, model, known.by_node, has_more=bool(lost))
    if template is not None:
        shapes = {key: tensor.shape for key, tensor in draft.tensors.items()}
        weights = weights_by_template(layer, _groups(template), shapes, ordering, lost, model.version)
    else:
        weights = weights_of(layer, known, ordering)
    tensors: dict[str, DraftTensor] = {}
    attributes: dict[str, dict[str, str | list[str]]] = {"vars": {}}
    for each in weights:
        tensors[each.path] = _placed(draft, each.variable.key, each.how)
        if each.layer:
            attributes[each.path.rpartition("/")[0]] = {"name": each.layer}
    if template is not None:  # moments of layers that Keras 3 did not save are lost
        kept = {
            key: each
            for key, each in template.tensors.items()
            if key not in tensors and not key.startswith(f"{OPTIMIZER}/")
        }
        draft.note("not in the checkpoint, kept from the template", list(kept))
        tensors |= kept
    state = state_for_weights(draft, layer, known.by_node, template, model.beta_1)
    used = {each.variable.key for each in weights} | state.used
    _become(draft, tensors | state.tensors, attributes, used, layer, state.why_not)


def to_legacy_weights(draft: Draft, model: KerasModel) -> None:
    """Convert a draft to a legacy `.h5` file of weights, in the order of the layers.

    Raises:
        ConflictError, UnsupportedError: as `legacy_groups`, and as `to_keras_weights`.
    """
    graph = draft.graph
    if graph is None:
        return
    layers = _classes(draft, graph, model).by_node
    layer, ordering = _model_of(draft, graph, model, layers)
    tensors: dict[str, DraftTensor] = {}
    groups = _legacy_groups(draft, layer, ordering, layers, model, model.version)
    attributes: dict[str, dict[str, str | list[str]]] = {
        "": {
            "layer_names": [each.name for each in groups],
            "backend": "tensorflow",
            # Loaders compare it with 1 only; it says in which order the layers are.
            "keras_version": "2.15.0" if model.version == 2 else "3.0.0",
        }
    }
    for group in groups:
        names = [f"{number:05d}_{each.name}" for number, each in enumerate(group.variables)]
        attributes[group.name] = {"weight_names": list(names)}
        for name, each in zip(names, group.variables, strict=True):
            tensors[f"{group.name}/{name}"] = _placed(draft, each.key, "by the order of layers")
    used = {each.key for group in groups for each in group.variables}
    _become(draft, tensors, attributes, used, layer, "optimizer state, for which this format has no place")


def are_keras_weights(keys: Iterable[str]) -> bool:
    """Whether these are the keys of tensors in a `.weights.h5` or `.keras` file."""
    keys = list(keys)
    return bool(keys) and all(map(_DATASET.fullmatch, keys))


def is_keras_weights(draft: Draft) -> bool:
    """Whether a draft is of a file with Keras weights, of either format."""
    return draft.graph is None and (
        legacy_layers(draft.attributes) is not None or are_keras_weights(draft.tensors)
    )


def from_keras_weights(draft: Draft, template: Draft, model: KerasModel) -> None:
    """Put the weights of a Keras file into the model in a checkpoint of the target program.

    Tensors that belong neither to the model nor to its optimizer are taken from the template.

    Args:
        draft: of a `.weights.h5`, `.keras` or legacy `.h5` file; it becomes the checkpoint.
        template: of the checkpoint.
        model: what is known of the model in the template.

    Raises:
        TensorNotFoundError: the file lacks tensors of the model, or the model lacks tensors of the file.
        ConflictError: they match in several ways; types differ; or the template has no object graph.
    """
    graph = template.graph
    if graph is None:
        raise ConflictError(
            "Keras weights need a template with an object graph; rename the tensors instead",
            path=template.prefix,
        )
    known = _classes(template, graph, model).by_node
    layer, ordering = _model_of(template, graph, model, known)
    legacy = legacy_layers(draft.attributes)
    pairs: list[tuple[str, Variable]] = []
    if legacy is None:
        shapes = {key: tensor.shape for key, tensor in template.tensors.items()}
        weights: list[Weight] = weights_by_template(
            layer, _groups(draft), shapes, ordering, version=model.version
        )
        pairs = [(each.path, each.variable) for each in weights]
    else:
        version = model.version or legacy_writer(draft.attributes)
        groups = _legacy_groups(template, layer, ordering, known, model, version)
        if [len(each.variables) for each in groups] != [len(names) for names in legacy]:
            raise TensorNotFoundError(
                f"the file has {[len(names) for names in legacy]} weights in its layers, the model "
                f"{[len(each.variables) for each in groups]}",
                key=layer.path,
            )
        for group, names in zip(groups, legacy, strict=True):
            pairs += zip(names, group.variables, strict=True)
    placed = {variable.key for _, variable in pairs}
    missing = [each.key for each in layer.variables() if each.key not in placed]
    if missing:
        raise TensorNotFoundError(f"the file has nothing for {quoted(missing)}", path=draft.prefix)
    tensors = dict(template.tensors)
    conflicts = [
        f"{path!r} is {draft.tensors[path].spec}, the template has {tensors[variable.key].spec}"
        for path, variable in pairs
        if draft.tensors[path].spec != tensors[variable.key].spec
    ]
    refuse_conflicts(conflicts, draft.prefix, "; cast or reshape them first")
    for path, variable in pairs:
        tensors[variable.key] = replace(draft.tensors[path], matched="matched with the template")
    state = state_from_weights(draft, template, layer, known, model.beta_1)
    tensors |= state.tensors
    used = {path for path, _ in pairs} | state.used
    for key in draft.tensors:
        if key not in used:
            no_place = "the model of the template does not have it"
            reason = state.why_not if key.startswith(f"{OPTIMIZER}/") and state.why_not else no_place
            draft.left_out.append(LeftOut(key, reason))
    others = [key for key in tensors if key not in placed and key not in state.tensors]
    if others:
        draft.note("taken from the template", others)
    draft.tensors, draft.graph, draft.attributes = tensors, graph, {}
    draft.keeps_order = False


def _model_of(
    draft: Draft, graph: ObjectGraph, model: KerasModel, layers: Collection[Node], *, has_more: bool = False
) -> tuple[Layer, Ordering]:
    """The layers of the model in a draft, and the known facts about the order of their variables.

    Args:
        draft: of the checkpoint.
        graph: its objects.
        model: what is known of the model.
        layers: the objects that a SavedModel says are layers; empty if there is none.
        has_more: whether variables of layers are known that are not among the objects of the model.
    """
    try:
        path, node = find_model(graph, model.root)
    except BundleError as error:
        raise error.locate(path=draft.prefix) from None
    layer = read_layers(path, node)
    if layers:
        absorb_dictionaries(layer, layers)
    if not layer.has_variables and not has_more:
        raise ConflictError(
            f"object {path!r} has no layers with variables; say which is the model (--root PATH)",
            path=draft.prefix,
        )
    patterns = [
        *((Pattern(text, draft.naming()), True) for text in model.trainable),
        *((Pattern(text, draft.naming()), False) for text in model.non_trainable),
    ]
    told: dict[str, bool] = {}
    for key in draft.tensors:
        for pattern, is_trained in patterns:
            if pattern.matches(key):
                told[key] = is_trained
    for pattern, _ in patterns:
        pattern.must_be_used()
    optimizers = Optimizers.of_draft(draft)
    made = [key for each in optimizers.found for key in as_listed(layer, each.listed)]
    return layer, Ordering(lambda variable: told.get(variable.key), optimizers.trained, made)


def _classes(draft: Draft, graph: ObjectGraph, model: KerasModel) -> Classes:
    """The known classes of layers, from the config, or from the SavedModel that the checkpoint is in."""
    if model.config is not None:
        return Classes(parse_config(_config_text(model.config), model.config), config_path=model.config)
    store = store_of(draft.prefix)
    directory = dirname(dirname(draft.prefix))
    for name, parse in (("keras_metadata.pb", parse_keras_metadata), ("saved_model.pb", parse_saved_model)):
        path = join(directory, name)
        if store.is_file(path):
            with store.open(path) as file:
                found = parse(file.read(0, file.size), graph.root, path)
            if found:
                return Classes(by_node=found)
    return Classes()


def _config_text(path: str) -> bytes:
    with store_of(path).open(path) as file:
        if file.read(0, min(2, file.size)) != b"PK":
            if file.size > _MAX_CONFIG_BYTES:
                raise CorruptionError(
                    f"a config of {file.size} bytes, at most {_MAX_CONFIG_BYTES} are allowed", path=path
                )
            return file.read(0, file.size)
        member = next((each for each in members_of(file) if each.name == "config.json"), None)
        if member is None or member.size > _MAX_CONFIG_BYTES:
            raise MissingFileError("no config.json in this archive, or one that is too large", path=path)
        return (
            InflatedFile(file, member).read(0, member.size)
            if member.deflated
            else file.read(member.start, member.size)
        )


def _groups(draft: Draft) -> Group:
    """The groups of a weights file."""
    shapes = {key: tensor.shape for key, tensor in draft.tensors.items()}
    names = {
        path: each["name"] for path, each in draft.attributes.items() if isinstance(each.get("name"), str)
    }
    return groups_of(shapes, {path: name for path, name in names.items() if isinstance(name, str)})


def _legacy_groups(
    draft: Draft,
    layer: Layer,
    ordering: Ordering,
    layers: Collection[Node],
    model: KerasModel,
    version: KerasVersion | None,
) -> list[LegacyGroup]:
    """The groups of a legacy file that this version of Keras reads or wrote, of the model in a draft."""
    shapes = {key: tensor.shape for key, tensor in draft.tensors.items()}
    return legacy_groups(layer, ordering, shapes, layers, version, as_stored=model.version == 3)


def _placed(draft: Draft, key: str, how: str) -> DraftTensor:
    """A tensor of the draft, as it is stored whole in a weights file."""
    if key not in draft.tensors:
        raise TensorNotFoundError(
            "the object graph names this key, the checkpoint does not have it", path=draft.prefix, key=key
        )
    return replace(draft.tensors[key], slices=(), matched=how)


def _become(
    draft: Draft,
    tensors: dict[str, DraftTensor],
    attributes: dict[str, dict[str, str | list[str]]],
    used: set[str],
    model: Layer,
    no_state: str,
) -> None:
    optimizers = Optimizers.of_draft(draft)
    state = optimizers.state
    lost = {key for each in optimizers.found for key in each.listed}
    for key in draft.tensors:
        if key in used:
            continue
        if key in lost:
            reason = (
                "trained, but of no layer: Keras 3 does not save layers in lists, tuples and dictionaries"
            )
        else:
            no_place = "a hyperparameter for which Keras 3 has no place"
            reason = (no_state or no_place) if key in state else _why_left_out(key, model)
        draft.left_out.append(LeftOut(key, reason))
    draft.tensors, draft.attributes, draft.graph = tensors, attributes, None
    draft.keeps_order = False


def _why_left_out(key: str, model: Layer) -> str:
    path = key_path(key)
    if path == SAVE_COUNTER:
        return "the save counter of tf.train.Checkpoint"
    where = f"object {model.path!r}" if model.path else "the model"
    return f"no layer of {where} has it as a weight"


def _check_names(draft: Draft) -> None:
    """Refuse names that datasets of a weights file can't have.

    Raises:
        ConflictError: there are such names.
    """
    wrong = [key for key in draft.tensors if not _DATASET.fullmatch(key)]
    if wrong:
        raise ConflictError(
            f"a weights file has names such as 'layers/dense/vars/0', not {quoted(wrong)}; map "
            "them (--map FILE)",
            path=draft.prefix,
        )
    draft.attributes.setdefault("vars", {})
