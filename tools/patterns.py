"""PATTERN, an argument that selects several tensors.

A pattern is a shell glob whose `*` also matches '/', or `re:` and a regular expression that is searched for. It is
matched against every name of a tensor: the key and, in an object-based checkpoint, the object path and the full name.
A pattern that is exactly a name of a tensor (as defined in `proto/naming.py`) matches that tensor, even if it contains
special characters.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
from typing import TYPE_CHECKING, Final, TypeVar

from tensorbundle.errors import BundleError, TensorNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.proto.naming import Naming

__all__ = ["Pattern", "select"]

Item = TypeVar("Item")
_WILDCARD: Final = re.compile("[*?]")


class Pattern:
    """One pattern.

    Attributes:
        text: the pattern as given.
        named: the keys of the tensors whose exact name it is; empty if it is not a name.
        used: whether it has matched a tensor yet.
    """

    def __init__(self, text: str, naming: Naming) -> None:
        """Compile a pattern for the tensors of one checkpoint.

        Raises:
            BundleError: not a regular expression.
            ConflictError: it is the path of one object and the full name of another variable.
        """
        self.text = text
        self.used = False
        self._naming = naming
        self._match = self._compiled if text.startswith("re:") else None
        # What is in every name that a glob matches, as far as that is easily told: most patterns are not even compiled.
        self._pieces = () if self._match else tuple(_WILDCARD.split(text.partition("[")[0]))
        self.named = frozenset(naming.meant(text))

    @functools.cached_property
    def _compiled(self) -> Callable[[str], object]:
        try:
            if self.text.startswith("re:"):
                return re.compile(self.text[3:], re.DOTALL).search
            return re.compile(fnmatch.translate(self.text)).match
        except (re.error, OverflowError, RecursionError) as error:
            raise BundleError(f"pattern {self.text!r} is not a regular expression: {error}") from None

    def matches(self, key: str) -> bool:
        """Whether it matches a name of the tensor with this key.

        Raises:
            BundleError: not a regular expression, as a glob with very odd brackets is not.
        """
        if self.named:
            matches = key in self.named
        elif self._match:
            matches = any(map(self._match, self._naming.labels(key)))
        else:
            matches = any(
                all(map(label.__contains__, self._pieces)) and self._compiled(label)
                for label in self._naming.labels(key)
            )
        self.used = self.used or matches
        return matches

    def must_be_used(self) -> None:
        """Refuse a pattern that has not matched any tensor.

        Raises:
            TensorNotFoundError: it has not; the reason lists similar names.
        """
        if not self.used:
            near = self._naming.near(self.text)
            if not self.text.startswith("re:") and not re.search(r"[*?[]", self.text) and self.text in near:
                near += f"; {f'*{self.text}*'!r} matches names that contain it"
            raise TensorNotFoundError(
                f"no tensor matches the pattern {self.text!r}{near}", path=self._naming.prefix
            )


def select(
    items: Iterable[tuple[str, Item]], patterns: Sequence[str], naming: Naming
) -> Iterator[tuple[str, Item]]:
    """The items whose key matches one of the patterns; all items if there are no patterns.

    Raises:
        TensorNotFoundError: after the last item, if a pattern matched nothing; the reason lists similar names.
        ConflictError: as for `Pattern`.
        BundleError: not a regular expression.
    """
    if not patterns:
        yield from items
        return
    items = iter(items)
    # Before names are looked up: a listing reads an index in fewer requests.
    first = list(itertools.islice(items, 1))
    compiled = [Pattern(text, naming) for text in patterns]
    for key, item in itertools.chain(first, items):
        matching = [
            each for each in compiled if each.matches(key)
        ]  # all of them, so that each records its use
        if matching:
            yield key, item
    for each in compiled:
        each.must_be_used()
