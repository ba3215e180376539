"""Writes the tables of docs/performance.md from results/*.json, between the comments that mark them, and its plot."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from plots import figure

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
GROWTH = "growth"  # the results of `growth.py`
PLOT = HERE.parent / "docs" / "images" / "growth.svg"


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text()))
    PLOT.write_text(plot_of(json.loads((HERE / "results" / f"{GROWTH}.json").read_text())))


def with_tables(page: str) -> str:
    """The page with a table of each set of results in its place."""
    for path in sorted((HERE / "results").glob("*.json")):
        make = growth_of if path.stem == GROWTH else lines_of
        table = "\n".join(make(json.loads(path.read_text())))
        begin, end = f"<!-- {path.stem} -->", f"<!-- end of {path.stem} -->"
        page = re.sub(
            f"{begin}.*?{end}", lambda _, text=f"{begin}\n{table}\n{end}": text, page, flags=re.DOTALL
        )
    return page


def lines_of(results: dict[str, Any]) -> Iterator[str]:
    """A table of results, with what they were measured on above it."""
    dates = sorted({job["date"] for job in results["jobs"].values()})
    yield about(results, dates)
    yield ""
    yield "| job | tensorbundle | beside it | ours / theirs | to reach | reached | peak memory | written |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for job in results["jobs"].values():
        yield from rows_of(job)


def about(results: dict[str, Any], dates: list[str]) -> str:
    """What was measured on, with what, and when."""
    machine, versions = results["machine"], results["versions"]
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']} "
        f"{machine['kernel']}; {', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def growth_of(results: dict[str, Any]) -> Iterator[str]:
    """A table of what the largest of each job took, and what one tensor or gigabyte more takes."""
    yield about(results, [results["date"]])
    yield ""
    yield "| job | largest | processor time | peak memory | each more takes |"
    yield "| --- | --- | --- | --- | --- |"
    for unit in ("tensors", "bytes"):
        for name, points in results[unit].items():
            (few, less, small), (many, more, large) = points[0], points[-1]
            size = f"{many:,} tensors" if unit == "tensors" else human_bytes(many)
            each = max(0.0, (more - less) / (many - few))  # below zero, it is lost in the noise
            memory = max(0.0, (large - small) / (many - few))
            step = f"{each * 1e6:.1f} µs, {memory:.0f} B a tensor"
            if unit == "bytes":
                step = f"{each * 1e9:.2f} s, {memory * 1e3:.1f} MB a gigabyte"
            yield f"| {name} | {size} | {more:.2f} s | {large / 1e6:.0f} MB | {step} |"


def plot_of(results: dict[str, Any]) -> str:
    """Time and memory over the number of tensors, and over bytes."""
    rows = []
    for unit in ("tensors", "bytes"):
        seconds = {name: [(x, y) for x, y, _ in points] for name, points in results[unit].items()}
        memory = {name: [(x, y / 1e6) for x, _, y in points] for name, points in results[unit].items()}
        rows.append([(unit, "processor time, s", seconds), (unit, "peak memory, MB", memory)])
    return figure(rows)


def rows_of(job: dict[str, Any]) -> Iterator[str]:
    contenders = job["contenders"]
    title = job["title"] + (f", {job['volume'] / 1e9:.1f} GB" if job["volume"] else "")
    ours = [name for name in contenders if name.startswith("tensorbundle")]
    others = [name for name in contenders if name not in ours]
    for mine in ours:
        what = title + mine.removeprefix("tensorbundle")
        for other in others or [None]:
            ratio, reach, reached = compared(job, mine, other, first=mine == ours[0])
            found = contenders[mine]
            beside = f"{other} {seconds_of(contenders[other])}" if other else ""
            peak = f"{found['peak_mb']:.0f} MB"
            if other:
                peak += f", {contenders[other]['peak_mb']:.0f} MB"
            written = human_bytes(found["bytes_written"]) if found["bytes_written"] >= 10_000 else ""
            yield (
                f"| {what} | {seconds_of(found)} | {beside} | {ratio} | {reach} | {reached} | {peak} | {written} |"
            )


def compared(job: dict[str, Any], mine: str, other: str | None, *, first: bool) -> tuple[str, str, str]:
    """The median of ratios, what is to be reached, and whether it is."""
    if other is None:
        return "", "", ""
    pairs = list(zip(job["contenders"][mine]["seconds"], job["contenders"][other]["seconds"], strict=True))
    ratio = median(a / b for a, b in pairs)
    shown = f"{ratio:.2f}" if ratio >= 0.1 else f"1 / {1 / ratio:.0f}"
    if first and other in job["within"]:
        late = median(a - b for a, b in pairs)
        limit = job["within"][other]
        return f"+{late * 1000:.0f} ms", f"+{limit * 1000:.0f} ms", "yes" if late <= limit else "**no**"
    if first and other in job["reach"]:
        limit = job["reach"][other]
        told = f"{limit:.2f}" if limit >= 0.5 else f"1 / {1 / limit:.0f}"
        return shown, told, "yes" if ratio <= limit else "**no**"
    return shown, "", ""


def seconds_of(found: dict[str, Any]) -> str:
    seconds = median(found["seconds"])
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def human_bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


if __name__ == "__main__":
    main()
