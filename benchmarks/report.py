"""Writes the tables of docs/performance.md from results/*.json, between the comments that mark them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text()))


def with_tables(page: str) -> str:
    """The page with a table of each set of results in its place."""
    for path in sorted((HERE / "results").glob("*.json")):
        table = "\n".join(lines_of(json.loads(path.read_text())))
        begin, end = f"<!-- {path.stem} -->", f"<!-- end of {path.stem} -->"
        page = re.sub(
            f"{begin}.*?{end}", lambda _, text=f"{begin}\n{table}\n{end}": text, page, flags=re.DOTALL
        )
    return page


def lines_of(results: dict[str, Any]) -> Iterator[str]:
    """A table of results, with what they were measured on above it."""
    machine, versions = results["machine"], results["versions"]
    dates = sorted({job["date"] for job in results["jobs"].values()})
    yield (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']} "
        f"{machine['kernel']}; {', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )
    yield ""
    yield "| job | tensorbundle | beside it | ours / theirs | to reach | reached | peak memory | written |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for job in results["jobs"].values():
        yield from rows_of(job)


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
