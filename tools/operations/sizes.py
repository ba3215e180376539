"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

from tensorbundle.errors import BundleError

__all__ = ["parse_size"]

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS: Final = "kmgt"


def parse_size(text: str) -> int:
    """The bytes in a size such as `2GB` (powers of 1000), `512MiB` (powers of 1024) or `4096`.

    Raises:
        BundleError: not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise BundleError(f"{text!r} is not a size such as 2GB or 512MiB")
    power = _POWERS.index(found[2].lower()) + 1 if found[2] else 0
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)
