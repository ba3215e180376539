"""Names and object paths as steps: each is a word, with a number if it ends in one."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

__all__ = [
    "GIVEN",
    "MAX_STEPS",
    "NUMBERED",
    "ORDERED",
    "Step",
    "is_counted",
    "number_weight",
    "read_name",
    "read_path",
]

# The weights of equal and of different labels: names that a program gave; its own numbers; numbers that a session
# counted, and positions.
GIVEN: Final = 3
NUMBERED: Final = 2
ORDERED: Final = 1
_DIGITS: Final = 18  # longer numbers are words
MAX_STEPS: Final = 60  # names with more steps have no labels
_NUMBERED_PART: Final = re.compile(rf"(.*?[^\d_-])[_-]?(\d{{1,{_DIGITS}}})", re.DOTALL)
_POSITION: Final = re.compile(rf"(?:layer_with_weights|layer)-(\d{{1,{_DIGITS}}})")
_LAYER: Final = "\0layer"  # a position; no word of a name has it
_POSITIONS: Final = frozenset({"_operations", "_layers", "layers"})
_SETS: Final = frozenset({"_all_variables", "_variables", "_trainable_variables", "_non_trainable_variables"})
# Classes of layers, with synonyms: TF-Slim's and Keras's names.
_CLASSES: Final = {
    **{each: each for each in (
        *("dense", "embedding", "batch_normalization", "layer_normalization", "group_normalization"),
        *("lstm", "gru", "simple_rnn", "bidirectional", "time_distributed", "multi_head_attention", "attention"),
        *("sequential", "model", "functional", "separable_conv2d", "depthwise_conv2d", "einsum_dense", "p_re_lu"),
        *("conv2d_transpose", "conv3d_transpose", "conv1d_transpose", "normalization", "unit_normalization"),
        *("variable", "locally_connected1d", "additive_attention", "spectral_normalization", "net", "block"),
    )},
    **dict.fromkeys(("conv", "conv1d", "conv2d", "conv3d", "convolution"), "conv"),
    **dict.fromkeys(("bn", "batchnorm", "batch_norm", "batchnormalization"), "batch_normalization"),
    **dict.fromkeys(("layernorm", "layer_norm", "layernormalization"), "layer_normalization"),
    "fully_connected": "dense",
}  # fmt: skip
_ROLES: Final = {
    **dict.fromkeys(("weights", "weight", "w", "_kernel"), "kernel"),
    **dict.fromkeys(("biases", "b"), "bias"),
    **dict.fromkeys(("_embeddings", "embedding"), "embeddings"),
}
_ENDS: Final = ("_bn", "_batchnorm", "_batch_norm", "_batch_normalization")


class Step(NamedTuple):
    """One part of a name.

    Attributes:
        word: the part without its number.
        number: the number, if there is one.
        weight: of the number as evidence, or GIVEN for a step without a number; 0 if the number has no meaning.
    """

    word: str
    number: int | None = None
    weight: int = GIVEN

    @property
    def is_given(self) -> bool:
        """Whether a program gave this word, rather than Keras."""
        return self.weight == GIVEN and self.word not in _CLASSES


@functools.lru_cache(maxsize=1 << 17)
def read_name(name: str) -> tuple[Step, ...]:
    """The steps of a full name."""
    parts = name.split("/")
    if len(parts) > MAX_STEPS:
        return ()
    found: list[Step] = []
    for part in parts[:-1]:
        for end in _ENDS:
            if part.lower().endswith(end) and len(part) > len(end):
                found += [_step(part[: -len(end)]), _step(end[1:])]
                break
        else:
            found.append(_step(part))
    last = parts[-1]
    return (*found, _last(last))


@functools.lru_cache(maxsize=1 << 17)
def read_path(path: str) -> tuple[Step, ...]:
    """The steps of an object path."""
    parts = path.split("/")
    if len(parts) > MAX_STEPS:
        return ()
    found: list[Step] = []
    before = ""
    for place, part in enumerate(parts):
        position = _POSITION.fullmatch(part)
        if part.isdecimal() and len(part) <= _DIGITS:
            weight = 0 if before in _SETS else ORDERED if before in _POSITIONS else NUMBERED
            if before in _POSITIONS:
                found[-1] = Step(_LAYER, int(part), weight)
            else:
                found.append(Step("", int(part), weight))
        elif position is not None:
            found.append(Step(_LAYER, int(position[1]), ORDERED))
        elif part == "_functional":
            continue
        elif place == len(parts) - 1:
            found.append(_last(part))
        else:
            found.append(_step(part))
        before = part
    return tuple(found)


def _step(part: str) -> Step:
    word = part.lower()
    numbered = _NUMBERED_PART.fullmatch(word)
    if numbered is not None:
        stem = numbered[1]
        word = _CLASSES.get(stem, stem)
        return Step(word, int(numbered[2]), number_weight(word))
    return Step(_CLASSES.get(word, word))


def is_counted(word: str) -> bool:
    """Whether the numbers of a family are counted by Keras, or are positions, rather than a program's own."""
    return word in _CLASSES.values() or word == _LAYER


def number_weight(word: str) -> int:
    """The weight of the numbers of a family as evidence."""
    return ORDERED if is_counted(word) else NUMBERED


def _last(part: str) -> Step:
    if part in _ROLES:
        return Step(_ROLES[part])
    numbered = _NUMBERED_PART.fullmatch(part)
    if numbered is not None:
        return Step(numbered[1], int(numbered[2]), NUMBERED)
    return Step(part)
