"""Values as HTML, for notebooks. Names in checkpoints are hostile: every text is escaped, and the number of rows bounded."""

from __future__ import annotations

import html
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["html_table"]

MOST_ROWS: Final = 200


def html_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]], total: int) -> str:
    """A table with a title, of the first `MOST_ROWS` of `total` rows."""
    lines = [f"<p><b>{_text(title)}</b></p>", "<table>", _row("th", heads)]
    lines += [_row("td", row) for row in islice(rows, MOST_ROWS)]
    lines.append("</table>")
    if total > MOST_ROWS:
        lines.append(f"<p>and {total - MOST_ROWS:,} more</p>")
    return "\n".join(lines)


def _row(cell: str, values: Sequence[object]) -> str:
    cells = (f'<{cell} style="text-align: left">{_text(value)}</{cell}>' for value in values)
    return f"<tr>{''.join(cells)}</tr>"


def _text(value: object) -> str:
    """The text of a value without markup; control characters are written as escape sequences."""
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in str(value)
    )
    return html.escape(text)
