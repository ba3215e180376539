"""`tensorbundle suggest`: propose a rename map from the names in one checkpoint to those in another, with evidence."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tensorbundle.tools.cli.console import counted, escape, shell
from tensorbundle.tools.cli.files import refuse_file, write_text
from tensorbundle.tools.operations.editing.rules import rule_line
from tensorbundle.tools.operations.suggesting.suggestion import suggest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from tensorbundle.tools.cli.console import Console
    from tensorbundle.tools.matching.items import Match
    from tensorbundle.tools.operations.suggesting.rules import Deciding
    from tensorbundle.tools.operations.suggesting.suggestion import Suggestion, Use

EXAMPLE = "tensorbundle suggest run/model.ckpt-1000 fresh-1 -o names.map"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", metavar="A")
    parser.add_argument("target", metavar="B")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the map to FILE instead of standard output"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace, console: Console) -> int:
    """Print the map, or write it and print a summary; with `--json`, print all pairs and unmatched names."""
    if args.output is not None:
        refuse_file(args.output, overwrite=args.overwrite)
    found = suggest(args.checkpoint, args.target)
    if args.output is not None:
        text = "".join(f"{line}\n" for line in _lines(found, args.output))
        write_text(args.output, text, of=(args.checkpoint, args.target), overwrite=args.overwrite)
        console.summary(_summary(args.output, found))
    else:
        console.file(_lines(found, "FILE"))
    for each in found.matches:
        console.record(
            {"old": each.old, "new": each.new, "evidence": each.evidence, "confidence": each.confidence}
        )
    for name, _ in found.left_old:
        console.record({"old": name, "new": None, "evidence": None, "confidence": None})
    for name, _ in found.left_new:
        console.record({"old": None, "new": name, "evidence": None, "confidence": None})
    console.record({"use": found.use, **found.counts})
    return 0


def _summary(path: str, found: Suggestion) -> str:
    counts = found.counts
    sure = f"{counts['certain']} certain, {counts['likely']} likely, {counts['possible']} possible"
    left = f"{counts['left_old']} and {counts['left_new']} left over"
    return (
        f"{escape(path)}: {counted(counts['rules'], 'rule')}; {sure}; {counts['unchanged']} unchanged; {left}"
    )


def _lines(found: Suggestion, file: str) -> Iterator[str]:
    """The map with evidence as comments, in the format of `rename --map`."""
    source, target, file = (escape(each) for each in (found.source, found.target, file))
    destination = "DST.weights.h5" if found.to_weights else "DST"
    needs_map = found.use not in ("to-weights", "from-weights")
    use = "To use this map" if needs_map else "To convert, without a map"
    yield f"# Names in {source}, and what they are called in {target}. {use}:"
    for command in _commands(found.use, source, target, file, destination):
        yield f"#   {shell(*command)}"
    if found.why_not:
        yield f"# By names only; convert --template says: {escape(found.why_not)}"
    counts = found.counts
    yield (
        f"# Pairs: {counts['certain']} certain, {counts['likely']} likely. Names that are the same: {counts['unchanged']}. "
        "Of several rules that match a name, the first applies."
    )
    possible = [each for each in found.matches if each.confidence == "possible"]
    if possible:
        yield from ("", "# Only possible: to use one, remove the '#' before it.")
    for each in possible:  # before the rules, so that they decide
        yield from (f"# {each.evidence}", f"#{rule_line(each.old, each.new)}")
    reasons = {each.old: each for each in found.matches if each.confidence != "possible"}
    for rule in found.rules:
        yield from ("", f"# {_reason(rule, reasons)}", rule.text)
    for prefix, left in ((source, found.left_old), (target, found.left_new)):
        yield from ("", f"# Left over in {prefix}: {len(left) or 'nothing'}")
        for name, what in left:
            yield f"#   {escape(name)}  {what}"


def _commands(use: Use, source: str, target: str, file: str, destination: str) -> list[tuple[str, ...]]:
    """How a map is used."""
    if use == "to-weights":
        return [("convert", source, destination, "--template", target)]
    if use == "from-weights":
        return [("convert", source, destination, "--to", "tf2", "--template", target)]
    if use == "template":
        return [("convert", source, destination, "--to", "tf2", "--template", target, "--map", file)]
    if use == "rename":
        return [("rename", source, destination, "--map", file)]
    first = ("convert", source, "TMP", "--to", "tf1", "--names", "keys")
    return [first, ("rename", "TMP", destination, "--map", file)]


def _reason(rule: Deciding, reasons: dict[str, Match]) -> str:
    """The confidence of a rule, its number of names, and its evidence, the most frequent first."""
    known: Sequence[Match] = [reasons[name] for name in rule.names if name in reasons]
    confidence = "likely" if any(each.confidence == "likely" for each in known) else "certain"
    evidence = sorted(Counter(each.evidence for each in known).items(), key=lambda item: (-item[1], item[0]))
    if len(rule.names) == 1:
        return f"{confidence}: {evidence[0][0]}"
    reason = "; ".join(f"{name} ({count})" for name, count in evidence)
    more = len(rule.names) - len(known)
    return f"{len(known)} names, {confidence}: {reason}" + (f"; also {more} left over" if more else "")
