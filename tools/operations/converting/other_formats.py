"""Converts a draft to the format that the ending of its destination's name selects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tensorbundle.errors import ConflictError, UnsupportedError, listed
from tensorbundle.keys import encode_key
from tensorbundle.proto.paths import SAVE_COUNTER, VARIABLE_VALUE, attribute_key
from tensorbundle.tools.formats.outputs import HDF5_ENDINGS, WEIGHTS_ENDING, WITH_TEXTS, output_of
from tensorbundle.tools.rewriting.bundle_output import BundleOutput
from tensorbundle.tools.rewriting.plan import LeftOut
from tensorbundle.tools.rewriting.planning import Layout

if TYPE_CHECKING:
    from tensorbundle.tools.rewriting.draft import Draft
    from tensorbundle.tools.rewriting.options import TransferOptions

__all__ = ["finish"]

_SHOWN: Final = 20


def finish(draft: Draft, destination: str, options: TransferOptions) -> None:
    """Set the output format of a draft to the one that the ending of `destination` selects.

    Other formats have no object graphs: tensors are named by the paths of their objects, in Keras's files by layers.
    They have no slices either, so tensors are stored whole.

    Raises:
        UnsupportedError: the format can't store some tensors, all of which the reason names, and
            `options.allow_unused` is not set; or the format can only be read.
        ConflictError: the draft was converted to another format.
        BundleError: as `to_keras_weights`.
    """
    if options.max_shard_bytes is not None:
        draft.layout = Layout(max_bytes=options.max_shard_bytes)
        draft.must_copy = True
    output = output_of(destination)
    if options.metadata and not destination.endswith(WITH_TEXTS):
        raise ConflictError(
            "this format has no text beside the tensors; leave out --metadata (metadata)", path=destination
        )
    if output is None:
        return
    if not isinstance(draft.output, BundleOutput):
        raise ConflictError(
            f"the ending of this name says {output.file_format}, which is not {draft.output.file_format}",
            path=destination,
        )
    if options.state:
        raise ConflictError(
            "a state file names TensorFlow checkpoints; leave out --state (state)", path=destination
        )
    draft.output = output
    _rename(draft, destination)
    draft.tensors = {key: replace(each, slices=()) for key, each in draft.tensors.items()}
    if draft.layout == Layout():
        draft.layout = Layout(shards=1)
    if options.metadata:
        draft.attributes[""] = draft.attributes.get("", {}) | dict(options.metadata)
    _leave_out(draft, allow_unused=options.allow_unused)


def _rename(draft: Draft, destination: str) -> None:
    """Give tensors the names that the format uses."""
    # Imported here because most outputs do not need it.
    if destination.endswith(WEIGHTS_ENDING):
        from tensorbundle.tools.operations.converting.keras_weights import KerasModel, to_keras_weights

        to_keras_weights(draft, KerasModel())
    elif draft.graph is not None and destination.endswith(HDF5_ENDINGS):
        from tensorbundle.tools.operations.converting.keras_weights import KerasModel, to_legacy_weights

        to_legacy_weights(draft, KerasModel())
    elif draft.graph is not None:
        _name_by_paths(draft)


def _name_by_paths(draft: Draft) -> None:
    """Name variables by the paths of their objects, and remove the object graph."""
    graph = draft.graph
    if graph is None:
        return
    names = {
        each.checkpoint_key: path
        for path, _, each in graph.attributes()
        if each.name == VARIABLE_VALUE and each.checkpoint_key == attribute_key(path, VARIABLE_VALUE)
    }
    tensors = {}
    for key, tensor in draft.tensors.items():
        name = names.get(key, key)
        if name == SAVE_COUNTER:
            draft.left_out.append(LeftOut(key, "the save counter of tf.train.Checkpoint"))
            continue
        if name in tensors:
            raise ConflictError("two tensors would get this name", path=draft.prefix, key=name)
        tensors[name] = tensor
    draft.tensors, draft.graph = tensors, None


def _leave_out(draft: Draft, *, allow_unused: bool) -> None:
    """Leave out tensors that the format can't store, if that is allowed.

    Raises:
        UnsupportedError: it is not allowed.
    """
    reasons = {
        key: reason
        for key, each in draft.tensors.items()
        if (reason := draft.output.lacks(encode_key(key), each.dtype, each.shape)) is not None
    }
    if not reasons:
        return
    if not allow_unused:
        shown = listed((f"{key!r}: {reason}" for key, reason in reasons.items()), separator="; ", most=_SHOWN)
        raise UnsupportedError(
            f"these tensors can't be stored: {shown}; leave them out with --allow-unused (allow_unused)",
            path=draft.prefix,
        )
    draft.left_out += [LeftOut(key, reason) for key, reason in reasons.items()]
    draft.tensors = {key: each for key, each in draft.tensors.items() if key not in reasons}
