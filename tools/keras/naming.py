"""Names of groups in a Keras weights file (keras/src/saving/saving_lib.py, keras/src/utils/naming.py), and of weights."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

__all__ = ["NOT_TRAINED", "TRAINED", "Numbering", "base_of", "snake_case", "walk_order"]

_NOT_A_WORD = re.compile(r"\W+")
_WORD = re.compile("(.)([A-Z][a-z]+)")
_BOUNDARY = re.compile("([a-z])([A-Z])")
_NUMBERED = re.compile(r"(.+?)(?:_\d{1,9})?")

# Variables of Keras's own layers: those that are not trained, and those that are.
NOT_TRAINED: Final = frozenset(
    (
        *(
            "moving_mean",
            "moving_variance",
            "moving_stddev",
            "renorm_mean",
            "renorm_stddev",
            "mean",
            "variance",
        ),
        *("adapt_mean", "adapt_variance", "count", "vector_u", "u", "sn_u", "idf_weights"),
    )
)
TRAINED: Final = frozenset(
    (
        *(
            "kernel",
            "_kernel",
            "bias",
            "_bias",
            "gamma",
            "beta",
            "embeddings",
            "_embeddings",
            "recurrent_kernel",
        ),
        *("depthwise_kernel", "pointwise_kernel", "alpha", "scale", "concat_score_weight"),
    )
)


def snake_case(class_name: str) -> str:
    """The name of a class in the form that group names have (`to_snake_case`): `conv2d_transpose`, `p_re_lu`."""
    name = _NOT_A_WORD.sub("", class_name)
    name = _WORD.sub(r"\1_\2", name)
    return _BOUNDARY.sub(r"\1_\2", name).lower()


def base_of(group: str) -> str:
    """The name of a class in the name of a group: `conv2d` in `conv2d_1`."""
    found = _NUMBERED.fullmatch(group)
    return found[1] if found else group


def walk_order(attribute: str) -> str:
    """The sort key of attributes, in the order in which Keras walks them: by name, private ones last (`_name_key`)."""
    return f"~{attribute}" if attribute.startswith("_") else attribute


class Numbering:
    """Names the items of one list after their classes; from the second item of a class on, a number is added."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def name(self, snake: str) -> str:
        """The name of the next item, whose class has this name."""
        number = self._used[snake]
        self._used[snake] += 1
        return f"{snake}_{number}" if number else snake
