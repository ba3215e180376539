"""Predicts what `model.load_weights` of Keras 3 does with a file, from a weights file that the model itself wrote.

Keras walks the model, and gives each object the datasets in its group (keras/src/saving/saving_lib.py, `_load_state`;
layers/layer.py, `_check_load_own_variables`). Loading fails for an object whose group has another number of
datasets, or one of another shape; types are cast. All other content of the file is ignored. An optimizer with another
number of variables is left as it is, with a warning (optimizers/base_optimizer.py, `load_own_variables`).
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tensorbundle.tools.operations.restoring.outcomes import Failure, Finding, Forecast, differ_text
from tensorbundle.tools.optimizers.ordering import INNER, WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.operations.restoring.outcomes import Method, Status

__all__ = ["OPTIMIZERS", "load_legacy_weights", "load_weights", "no_keras_weights", "object_of"]

OPTIMIZERS: Final = frozenset(
    each.removesuffix("/vars") for each in (WHOLE, INNER)
)  # the paths of their objects

_DATASET: Final = re.compile(r"(?:(?P<group>.+)/)?vars/(?P<number>\d{1,9})", re.DOTALL)
_OLD_LAYERS: Final = (
    "_layer_checkpoint_dependencies"  # Keras 2.13 wrote this for `layers`; Keras 3 reads it as that
)
# Attributes that Keras's layers have with and without an underscore.
_EITHER: Final = re.compile(r"^_((?:query|key|value|output)_dense)$")

Groups = dict[str, dict[int, str]]  # keys, by the path of the object and by number


def load_weights(
    source: Mapping[str, TensorEntry],
    target: Mapping[str, TensorEntry],
    names: Mapping[str, str],
    method: Method,
) -> Forecast:
    """What loading does to a model.

    Args:
        source: the datasets of the file.
        target: the datasets of a file that the model wrote.
        names: of the model's layers, by the paths of their groups `vars`.
        method: is returned as it is.
    """
    result = Forecast("keras", method)
    have, want = _groups(source), _groups(target)
    failed: list[str] = []
    for path, variables in want.items():
        found = have.pop(path, {})
        if len(found) != len(variables):
            label = names.get(f"{path}/vars" if path else "vars") or path or "the model"
            said = f"Layer '{label}' expected {len(variables)} variables, but received {len(found)} variables during loading"
            if path in OPTIMIZERS:
                said = f"skipped with a warning: the optimizer has {len(variables)} variables, that in A {len(found)}"
            else:
                failed.append(said)
            result.findings += [
                Finding(key, "missing", said, None, target[key].spec) for key in variables.values()
            ]
            continue
        faults = []
        for (_, key), (_, own) in zip(sorted(variables.items()), sorted(found.items()), strict=True):
            wanted, entry = target[key].spec, source[own]
            if wanted.shape != entry.shape:
                detail = differ_text(entry.shape, wanted.shape)
                faults.append(f"{key}: shape {detail}")
                result.findings.append(Finding(key, "shape", detail, own, wanted))
            else:
                cast = "" if wanted.dtype is entry.dtype else f", cast to {wanted.dtype}"
                result.findings.append(Finding(key, "restored", f"{entry.spec}{cast}", own, wanted))
                result.changed[key] = own
        failed += faults[:1]
    for path, variables in have.items():
        result.findings += [
            Finding(key, "unused", f"{source[key].spec}, the model has no {path or 'variables'!r}", key)
            for key in variables.values()
        ]
    if failed:
        result.failure = Failure(
            "ValueError",
            f"A total of {len(failed)} objects could not be loaded. Example error message: {failed[0]}",
        )
        result.assert_all(f"load_weights raises {result.failure}")
    return result


def load_legacy_weights(
    source: Mapping[str, TensorEntry],
    have: Sequence[Sequence[str]],
    target: Mapping[str, TensorEntry],
    want: Sequence[Sequence[str]],
    method: Method,
) -> Forecast:
    """What loading a legacy file does to a model, by the order of its layers (`load_weights_from_hdf5_group`).

    Args:
        source: the datasets of the file.
        have: the keys of each of its layers that has weights.
        target: the datasets of such a file that the model wrote.
        want: the keys of each of its layers that has weights.
        method: is returned as it is.
    """
    result = Forecast("keras", method)
    failed = ""
    if len(have) != len(want):
        failed = (
            "Layer count mismatch when loading weights from file. "
            f"Model expected {len(want)} layers, found {len(have)} saved layers."
        )
    for number, (found, wanted) in enumerate(itertools.zip_longest(have, want, fillvalue=())):
        if len(found) != len(wanted):
            failed = failed or (
                f"Weight count mismatch for layer #{number}. Layer expects {len(wanted)} weight(s). "
                f"Received {len(found)} saved weight(s)"
            )
        for own, key in zip(found, wanted, strict=False):
            entry, spec = source[own], target[key].spec
            status: Status = "restored" if entry.shape == spec.shape else "shape"
            detail = str(entry.spec) if status == "restored" else differ_text(entry.shape, spec.shape)
            if status == "shape":
                failed = failed or (
                    f"Shape mismatch in layer #{number} for weight {key}. Weight expects shape {spec.shape}. "
                    f"Received saved weight with shape {entry.shape}"
                )
            else:
                result.changed[key] = own
            result.findings.append(Finding(key, status, detail, own, spec))
        result.findings += [
            Finding(key, "missing", f"layer #{number} of A has {len(found)} weights", None, target[key].spec)
            for key in wanted[len(found) :]
        ]
        result.findings += [
            Finding(key, "unused", f"layer #{number} of the model has {len(wanted)} weights", key)
            for key in found[len(wanted) :]
        ]
    if failed:
        result.failure = Failure("ValueError", failed)
        result.assert_all(f"load_weights raises {result.failure}")
    return result


def no_keras_weights(target: Mapping[str, TensorEntry], path: str, method: Method) -> Forecast:
    """What loading a file of another format does to a model: nothing.

    Args:
        target: the datasets of a file that the model wrote.
        path: of the file that is loaded.
        method: is returned as it is.
    """
    result = Forecast("keras", method)
    result.findings = [Finding(key, "missing", "not in A", None, each.spec) for key, each in target.items()]
    result.failure = Failure("ValueError", f"File format not supported: filepath={path}")
    result.assert_all(f"load_weights raises {result.failure}")
    return result


def object_of(key: str) -> str:
    """The path of the object that a dataset belongs to, as Keras reads it."""
    match = _DATASET.fullmatch(key)
    parts = (match["group"] or "").split("/") if match is not None else []
    return "/".join("layers" if each == _OLD_LAYERS else _EITHER.sub(r"\1", each) for each in parts)


def _groups(keys: Iterable[str]) -> Groups:
    found: Groups = defaultdict(dict)
    for key in keys:
        found[object_of(key)][int(key.rpartition("/")[2])] = key
    return dict(found)
