"""A report as one HTML file that needs no network: markup, style, scripts and data.

Everything that comes from a checkpoint is in the data, a JSON text without `<`, `>` and `&`, so nothing of it can end
the element that contains it. The page's scripts insert it as text, never as markup. A content security policy forbids
every request, and every script but these two, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["html_page"]

_ASSETS: Final = "tensorbundle.tools.operations.reporting"
# In the order in which they need each other, as one script.
_SCRIPTS: Final = (
    *("basics.js", "tables.js", "treemap.js", "graph.js"),
    *("checkpoint.js", "comparison.js", "page.js"),
)
# Characters that could end or begin an element, and the two line separators that older JavaScript treated as line ends.
_ESCAPED: Final = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def html_page(data: Mapping[str, Any]) -> str:
    """The page that shows `data`, as `contents.py` makes it."""
    scripts = {"LIBRARY": _asset("echarts.min.js"), "SCRIPT": "\n".join(map(_asset, _SCRIPTS))}
    content = {
        "POLICY": " ".join(f"'sha256-{_hash(each)}'" for each in scripts.values()),
        "STYLE": _asset("page.css"),
        "DATA": json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(
            _ESCAPED
        ),
        **scripts,
    }
    parts = {f"<!--{name}-->": part for name, part in content.items()}
    out = []
    rest = _asset("page.html")
    for _ in parts:  # each marker once, and never in the replacement of another one
        marker = min(parts, key=lambda each: (rest.find(each) < 0, rest.find(each)))
        before, _, rest = rest.partition(marker)
        out += [before, parts[marker]]
    return "".join([*out, rest])


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files(_ASSETS).joinpath("assets", name).read_text(encoding="utf-8")
