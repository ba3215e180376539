"""Draws lines over logarithmic axes, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

Lines = dict[str, list[tuple[float, float]]]
WIDTH, HEIGHT = 330, 230  # of what is inside the axes of one plot
LEFT, TOP, APART = 60, 34, 130
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by everyone (Okabe and Ito)


def figure(rows: list[list[tuple[str, str, Lines]]]) -> str:
    """Plots in rows, each with the names of its axes and its lines."""
    width = LEFT + max(map(len, rows)) * (WIDTH + APART)
    height = TOP + len(rows) * (HEIGHT + 70)
    body = [
        line
        for number, row in enumerate(rows)
        for place, plot in enumerate(row)
        for line in _plot(LEFT + place * (WIDTH + APART), TOP + number * (HEIGHT + 70), *plot)
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>"]) + "\n"


def _plot(left: int, top: int, below: str, beside: str, lines: Lines) -> Iterator[str]:
    xs = [math.log10(x) for points in lines.values() for x, _ in points]
    ys = [math.log10(y) for points in lines.values() for _, y in points]
    first, last = math.floor(min(xs)), math.ceil(max(xs))
    low, high = math.floor(min(ys)), math.ceil(max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first) * WIDTH
        up = (math.log10(y) - low) / (high - low) * HEIGHT
        return round(left + across, 1), round(top + HEIGHT - up, 1)

    for power in range(first, last + 1):
        x, y = place(10**power, 10**low)
        yield f'<path d="M{x} {y}V{top}" stroke="#ddd"/><text x="{x}" y="{y + 15}" text-anchor="middle">{short(10**power)}</text>'
    for power in range(low, high + 1):
        x, y = place(10**first, 10.0**power)
        yield f'<path d="M{x} {y}H{left + WIDTH}" stroke="#ddd"/><text x="{x - 5}" y="{y + 4}" text-anchor="end">{short(10.0**power)}</text>'
    yield f'<text x="{left + WIDTH}" y="{top + HEIGHT + 32}" text-anchor="end">{escape(below)}</text>'
    yield f'<text x="{left}" y="{top - 10}">{escape(beside)}</text>'
    ends: list[float] = []
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        path = "L".join("{} {}".format(*place(x, y)) for x, y in points)
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        x, y = place(*points[-1])
        while any(abs(y - other) < 12 for other in ends):  # names do not cover each other
            y += 12
        ends.append(y)
        yield f'<text x="{x + 6}" y="{y + 4}" fill="{colour}">{escape(name)}</text>'


def short(number: float) -> str:
    """A power of ten as text: `10k`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.0f}{unit}"
    return f"{number:g}"
