"""The page of limits has those of the table in the code, with their values."""

import re
from pathlib import Path

from tensorbundle import limits

PAGE = Path(__file__).resolve().parent.parent / "docs/limits.md"


def test_the_page_has_every_limit():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: int(value.replace(",", "")) for name, value in rows} == {
        name: getattr(limits, name) for name in limits.__all__
    }
