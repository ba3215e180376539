"""PATTERN: how a person names several tensors.

A pattern is a shell glob whose `*` also crosses '/', or `re:` and a regular expression that is searched for. It is
matched against the key and, in an object-based checkpoint, against the object path in it too.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, TypeVar

from tensorbundle.errors import BundleError, TensorNotFoundError, near_names
from tensorbundle.proto.paths import key_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Pattern", "select"]

Item = TypeVar("Item")


class Pattern:
    """One pattern.

    Attributes:
        text: as it was given.
        used: whether it has matched anything yet.
    """

    def __init__(self, text: str) -> None:
        """Compile a pattern.

        Raises:
            BundleError: not a regular expression.
        """
        self.text = text
        self.used = False
        try:
            if text.startswith("re:"):
                self._match = re.compile(text[3:], re.DOTALL).search
            else:
                self._match = re.compile(fnmatch.translate(text)).match
        except (re.error, OverflowError, RecursionError) as error:
            raise BundleError(f"pattern {text!r} is not a regular expression: {error}") from None

    def matches(self, key: str) -> bool:
        """Whether the key, or the object path in it, fits."""
        path = key_path(key)
        fits = bool(self._match(key)) or (path is not None and bool(self._match(path)))
        self.used = self.used or fits
        return fits


def select(
    items: Iterable[tuple[str, Item]], patterns: Sequence[str], path: str
) -> Iterator[tuple[str, Item]]:
    """The items whose key fits one of the patterns, all of them if there are none.

    Raises:
        TensorNotFoundError: after the last item, if a pattern fitted nothing; the reason names near keys.
        BundleError: not a pattern.
    """
    compiled = [Pattern(text) for text in patterns]
    if not compiled:
        yield from items
        return
    keys = []
    for key, item in items:
        keys.append(key)
        fitting = [each for each in compiled if each.matches(key)]  # all, so that each knows of its use
        if fitting:
            yield key, item
    for each in compiled:
        if not each.used:
            near = near_names(each.text.strip("*"), keys)
            hint = f"; near: {', '.join(map(repr, near))}" if near else ""
            raise TensorNotFoundError(f"no key fits the pattern {each.text!r}{hint}", path=path)
