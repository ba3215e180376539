"""Options for the libraries behind URLs, such as `endpoint_url` or `anon`: of the whole process while a block runs.

They are for what opens and creates many files by name. `tensorbundle.open` and `create` take options of their own.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from tensorbundle.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["current_options", "options_of_pairs", "storage_options"]

# Not a context variable: the threads that read on behalf of a caller must see them too.
_current: Final[list[Mapping[str, Any]]] = [{}]


def current_options() -> Mapping[str, Any]:
    """The options that apply now."""
    return _current[-1]


@contextlib.contextmanager
def storage_options(options: Mapping[str, Any]) -> Iterator[None]:
    """While the block runs, URLs are opened with these options, in all threads.

    Args:
        options: by name; or by scheme, `{"s3": {"anon": True}}`, for URLs of that scheme alone.
    """
    _current.append({**_current[-1], **options})
    try:
        yield
    finally:
        _current.pop()


def options_of_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """The options that `KEY=VALUE` and `SCHEME.KEY=VALUE` describe; values are JSON, or else text.

    Raises:
        ArgumentError: no `=`.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        key, mark, text = pair.partition("=")
        if not mark or not key:
            raise ArgumentError(f"{pair!r} is not KEY=VALUE or SCHEME.KEY=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = _number_or_text(key, value, text)
        scheme, dot, name = key.partition(".")
        if dot:
            out.setdefault(scheme, {})[name] = value
        else:
            out[key] = value
    return out


def _number_or_text(key: str, value: float, text: str) -> float | str:
    """A number, unless the option is a credential, which may look like one."""
    return text if key.rpartition(".")[2] in ("key", "secret", "token", "username", "password") else value
