"""`convert` as a step."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from tensorbundle.errors import BundleError, check_word
from tensorbundle.tools.formats.outputs import HDF5_ENDINGS, WEIGHTS_ENDING, output_of
from tensorbundle.tools.operations.converting.conversion import (
    NAMES_FROM,
    TARGETS,
    fit,
    saves_in_name,
    to_tf1,
    to_tf2,
    to_v1,
    to_v2,
)
from tensorbundle.tools.operations.converting.fitting import MISSING, Fitting
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.rules import parse_rule, read_map
from tensorbundle.tools.operations.steps.step import Step, flag, number, options, path, table, text, texts

# What a kind of conversion needs is imported when one is made: names of variables for Keras, the matching of tensors.

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.tools.keras.order import KerasVersion
    from tensorbundle.tools.operations.converting.conversion import NamesFrom, Target
    from tensorbundle.tools.operations.converting.keras_weights import KerasModel
    from tensorbundle.tools.operations.editing.rules import Rule
    from tensorbundle.tools.operations.steps.step import StepContext
    from tensorbundle.tools.rewriting.draft import Draft

__all__ = ["Convert"]

_STRICT: Final = Fitting()
_FITTING: Final = {each.name: each.type for each in fields(Fitting)}
_KERAS: Final = ("config", "trainable", "non_trainable", "keras")
_OPTIONS: Final = (
    *("to", "root", "names", "save_counter", "template", "structure", "map"),
    *_FITTING,
    *_KERAS,
)


@dataclass(frozen=True, slots=True)
class Convert(Step):
    """Convert to name-based, object-based or other file formats: `convert = { to = "tf2", template = "FRESH" }`.

    Attributes:
        to: the kind of the output; None for the format that the ending of its name selects.
        root: the path of the dictionary of variables, or of a Keras model; None for the usual one.
        names: to TF1, where names come from.
        save_counter: to TF2, whether there is a save counter.
        template: a checkpoint whose structure the output gets; to Keras's weights, a weights file.
        structure: a structure file with the objects that the output has.
        rules: with a template, from names of the source to names or paths of the template.
        fitting: how strict the conversion into a template or structure is.
        config: of a Keras model, the file of its config.
        trainable: patterns of variables of a Keras model that are trained, if that is not known.
        non_trainable: patterns of variables of a Keras model that are not trained.
        keras: the Keras that reads or wrote a weights file, 2 or 3, where that decides.
    """

    name: ClassVar[str] = "convert"
    to: Target | None = None
    root: str | None = None
    names: NamesFrom = "auto"
    save_counter: bool = True
    template: str | None = None
    structure: str | None = None
    rules: tuple[Rule, ...] = ()
    fitting: Fitting = _STRICT
    config: str | None = None
    trainable: tuple[str, ...] = ()
    non_trainable: tuple[str, ...] = ()
    keras: KerasVersion | None = None

    @classmethod
    def from_table(cls, value: object) -> Self:
        """From a table of the options of the command, or `to` alone."""
        given = options(
            {"to": value} if isinstance(value, str) else value,
            *_OPTIONS,
        )
        word = given.get("to")
        to = None if word is None else cast("Target", check_word("to", word, TARGETS))
        names = cast("NamesFrom", check_word("names", given.get("names", "auto"), NAMES_FROM))
        chosen: dict[str, Any] = {
            name: flag(given[name]) if kind == "bool" else number(given[name])
            for name, kind in _FITTING.items()
            if given.get(name) is not None
        }
        root, template, structure = (given.get(name) for name in ("root", "template", "structure"))
        return cls(
            to,
            None if root is None else text(root),
            names,
            flag(given.get("save_counter", True)),
            None if template is None else path(template),
            None if structure is None else path(structure),
            _rules(given.get("map")),
            Fitting(**chosen),
            None if given.get("config") is None else path(given["config"]),
            tuple(texts(given["trainable"])) if given.get("trainable") else (),
            tuple(texts(given["non_trainable"])) if given.get("non_trainable") else (),
            _keras(given.get("keras")),
        )

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """From the options of the command."""
        return cls.from_table({name: given[name] for name in _OPTIONS})

    def apply(self, draft: Draft, context: StepContext) -> Draft:
        """Convert, and note which tensors of the output the source lacks."""
        counter = saves_in_name(context.destination) if self.save_counter else None
        from_keras = self.template is not None and self._is_keras_weights(draft)
        if self.fitting.allow_reshape and (self.template is None or self.to is None or from_keras):
            raise BundleError(
                "values are reshaped (--allow-reshape, allow_reshape) for the template of a program only"
            )
        if self.to is None:
            self._to_other_format(draft, context)
        elif self.template is not None and self.to == "tf2" and from_keras:
            from tensorbundle.tools.operations.converting.keras_weights import from_keras_weights

            from_keras_weights(draft, context.open(self.template), self._model())
        elif self.config is not None or self.trainable or self.non_trainable or self.keras is not None:
            raise BundleError(
                "a config, a version of Keras and patterns of trained variables are for Keras's weights only"
            )
        elif self.template is not None or self.structure is not None or self.rules or self.fitting != _STRICT:
            self._fit(draft, context, counter)
        elif self.to == "tf1":
            to_tf1(draft, root=self.root, names=self.names)
        elif self.to == "tf2":
            to_tf2(draft, root="vars" if self.root is None else self.root, counter=counter)
        elif self.to == "v1":
            to_v1(draft)
        else:
            to_v2(draft)
        return draft

    @staticmethod
    def _is_keras_weights(draft: Draft) -> bool:
        from tensorbundle.tools.operations.converting.keras_weights import is_keras_weights

        return is_keras_weights(draft)

    def _model(self) -> KerasModel:
        from tensorbundle.tools.operations.converting.keras_weights import KerasModel

        return KerasModel(
            self.root, self.config, self.trainable, self.non_trainable, self.fitting.beta_1, self.keras
        )

    def _to_other_format(self, draft: Draft, context: StepContext) -> None:
        """Start the conversion to the format of the output's name, which `finish` in `other_formats.py` completes."""
        destination = context.destination
        if output_of(destination) is None:
            raise BundleError(
                f"say what the output is: --to (to) {', '.join(TARGETS)}, or a name that ends in .safetensors, .npz, "
                ".weights.h5 or .h5"
            )
        if self.structure is not None or (
            self.template is not None and not destination.endswith(WEIGHTS_ENDING)
        ):
            raise BundleError(
                f"a template (template) or a structure (structure) does not apply to {destination!r}"
            )
        if self.rules:
            rename(draft, self.rules)
        if destination.endswith(WEIGHTS_ENDING):
            from tensorbundle.tools.operations.converting.keras_weights import to_keras_weights

            template = None if self.template is None else context.open(self.template)
            to_keras_weights(draft, self._model(), template)
        elif destination.endswith(HDF5_ENDINGS):
            from tensorbundle.tools.operations.converting.keras_weights import to_legacy_weights

            to_legacy_weights(draft, self._model())
        elif self.names == "full-names" and draft.graph is not None:
            to_tf1(draft, root=self.root, names=self.names)

    def _fit(self, draft: Draft, context: StepContext, counter: int | None) -> None:
        if self.root is not None or self.names != "auto":
            raise BundleError(
                "names come from the template or the structure; no --root (root) or --names (names)"
            )
        if self.to is None:
            raise TypeError("a conversion to another format has no structure")
        from tensorbundle.tools.matching.placing import RESHAPED
        from tensorbundle.tools.operations.converting.structures import read_structure

        fit(
            draft,
            self.to,
            None if self.template is None else context.open(self.template),
            None if self.structure is None else read_structure(self.structure),
            self.rules,
            counter=counter,
            fitting=self.fitting,
        )
        for what in (MISSING, RESHAPED):
            draft.note(what, [key for key, each in draft.tensors.items() if each.matched.endswith(what)])


def _keras(given: object) -> KerasVersion | None:
    """A version of Keras."""
    if given is None:
        return None
    if str(given) not in ("2", "3"):
        raise BundleError(f"there is no Keras {given!r} (keras); it is 2, also for tf_keras, or 3")
    return 2 if str(given) == "2" else 3


def _rules(given: object) -> tuple[Rule, ...]:
    """The rules in a file, or of pairs."""
    if given is None:
        return ()
    if isinstance(given, (str, os.PathLike)):
        return tuple(read_map(str(given)))
    return tuple(parse_rule(old, text(new)) for old, new in table(given).items())
