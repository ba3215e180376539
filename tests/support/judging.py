"""Judges what becomes of a generated pair of programs: `convert --template`, `suggest`, and convert with suggest's map."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tensorbundle as tb
from support.program_layouts import LAYOUTS, OPTIMIZERS, RATE, Saved, Token, save
from support.programs import change, design
from tensorbundle.proto.paths import key_path
from tensorbundle.tools import convert, suggest

if TYPE_CHECKING:
    from pathlib import Path

    from support.programs import Layer, Program

__all__ = ["Pair", "Verdict", "convert_pair", "judge", "make_pair"]

_SCALES = (1.0, -RATE, -1 / RATE)  # of what TF1's Momentum keeps, and Keras's SGD


@dataclass
class Pair:
    """Two checkpoints and the truth.

    Attributes:
        label: seed and kind.
        right: the key in the source of what belongs at a key of the fresh one; None of what the source has not.
        told: whether the files tell it all.
    """

    label: str
    source: Saved
    fresh: Saved
    to: str
    right: dict[str, str | None]
    told: bool


@dataclass
class Verdict:
    """What went wrong with one pair."""

    faults: list[str] = field(default_factory=list)
    refused: str = ""


def make_pair(seed: int, folder: Path) -> Pair:
    """The pair of a seed, its two checkpoints written to a folder."""
    rng = random.Random(seed)
    trained = design(rng)
    fresh, changes = change(trained, rng)
    layouts = rng.choice(LAYOUTS), rng.choice(LAYOUTS)
    optimizers = [rng.choice(list(OPTIMIZERS))] * 2
    if rng.random() < 0.15:
        optimizers[1] = rng.choice(list(OPTIMIZERS))
    _settle(trained, fresh, layouts)
    source = save(trained, layouts[0], optimizers[0], folder / "source", 1_000)
    built = layouts[1] != "legacy" or rng.random() < 0.7
    target = save(fresh, layouts[1], optimizers[1], folder / "fresh", 2_000_000, built=built)
    keys = {token: key for key, token in source.tokens.items()}
    right = {key: keys.get(token) for key, token in target.tokens.items()}
    label = f"{seed}: {'+'.join(changes) or 'same'}, {' -> '.join(layouts)}, {trained.form}, {optimizers}"
    to = "tf1" if layouts[1] in ("tf1", "slim") else "tf2"
    return Pair(label, source, target, to, right, _is_told(trained, fresh, source, target, layouts))


# The truth, where files can't tell


def _settle(trained: Program, fresh: Program, layouts: tuple[str, str]) -> None:
    """Let layers that nothing can tell apart be who they seem to be.

    Layers without names are known by their attributes, or else by their order: where as many of one class are on both
    sides, exchanging two of them, or removing one and adding another, changes nothing that anyone could see.
    """
    by_attribute = trained.form == "attributes" and not {"tf1", "slim"} & {*layouts}
    for part, other in zip(trained.parts, fresh.parts, strict=True):
        _settle_layers(part.layers, other.layers, by_attribute)


def _settle_layers(layers: list[Layer], others: list[Layer], by_attribute: bool) -> None:
    if by_attribute and [each.attribute for each in layers] == [each.attribute for each in others]:
        return
    unnamed, others_unnamed = ([each for each in side if each.name is None] for side in (layers, others))
    for kind in {each.class_name for each in unnamed}:
        ours = [each for each in unnamed if each.class_name == kind]
        theirs = [each for each in others_unnamed if each.class_name == kind]
        same = [each.spec() for each in ours] == [each.spec() for each in theirs]
        if same and not by_attribute:
            for one, other in zip(ours, theirs, strict=True):
                _identify(one, other)
    names = {each.name for each in layers} & {each.name for each in others} - {None}
    if [each.spec() for each in layers] == [each.spec() for each in others]:
        at = {each.name: number for number, each in enumerate(layers)}
        if all(at[each.name] == number for number, each in enumerate(others) if each.name in names):
            for one, other in zip(layers, others, strict=True):
                if one.name not in names and other.name not in names and not by_attribute:
                    _identify(one, other)


def _identify(one: Layer, other: Layer) -> None:
    for ours, theirs in zip(one.walk(), other.walk(), strict=True):
        theirs.identity = ours.identity


def _is_told(
    trained: Program, fresh: Program, source: Saved, target: Saved, layouts: tuple[str, str]
) -> bool:
    """Whether the files tell which variable is which: each by a name that its layer was given, or by its attribute; or
    all by their order, if no layer was added, removed or moved.
    """
    ours = {each.identity: each for each in trained.walk()}
    objects = not {"tf1", "slim"} & {*layouts}
    in_order = [each.identity for each in trained.walk()] == [each.identity for each in fresh.walk()]
    specs = [each.spec() for part in trained.parts for each in part.layers]
    in_order = in_order and specs == [each.spec() for part in fresh.parts for each in part.layers]
    in_order = in_order and trained.created == fresh.created
    renamed = [
        each for each in fresh.walk() if each.identity in ours and each.name != ours[each.identity].name
    ]
    # Several models and blocks are numbered in one way by Keras, and in another by TF1; and not all names are unique.
    plain = len(trained.parts) == 1 and not any(each.layers for each in trained.walk())
    plain = plain and all(len({*each.names.values()}) == len(each.names) for each in (source, target))
    if in_order and (objects or (plain and not renamed)):
        return True
    unique = Counter(name for name in source.names.values())
    others = Counter(name for name in target.names.values())
    for layer in fresh.walk():
        if layer.identity not in ours or layer.kind == "block":
            continue
        known = ours[layer.identity]
        by_name = layer.name is not None and layer.name == known.name
        if by_name and all(
            unique[source.names[Token(known.identity, name)]]
            == others[target.names[Token(layer.identity, name)]]
            == 1
            for name, _, _ in layer.variables
        ):
            continue
        by_attribute = objects and trained.form == "attributes" and layer.attribute == known.attribute
        if by_attribute and layer.name in (None, known.name):
            continue
        return False
    return True


# The judge


def judge(pair: Pair, folder: Path) -> Verdict:
    """Try everything with a pair."""
    verdict = Verdict()
    lacking = any(key is None for key in pair.right.values())
    unused = set(pair.source.tokens) - set(pair.right.values())
    flags = {"allow_missing": lacking, "allow_unused": bool(unused)}
    convert_pair(pair, folder / "strict", verdict, "convert", **flags)
    left = convert_pair(
        pair, folder / "all", verdict, "convert, allowed all", allow_missing=True, allow_unused=True
    )
    if pair.told:
        verdict.refused = ", ".join(left)
    rules = _suggest(pair, verdict)
    if rules and pair.source.prefix:
        (folder / "map").write_text("".join(f"{each}\n" for each in rules), encoding="utf-8")
        if pair.to == "tf2" and not pair.source.paths:
            convert_pair(pair, folder / "mapped", verdict, "mapped", map=folder / "map", **flags)
    return verdict


def convert_pair(pair: Pair, output: Path, verdict: Verdict, what: str, **options: object) -> list[str]:
    """Convert a pair, and note what is wrong; the variables that do not get the value that they should."""
    try:
        summary = convert(
            pair.source.prefix, output, to=pair.to, template=pair.fresh.prefix, learning_rate=RATE, **options
        )
    except tb.BundleError as error:
        return [str(error)]
    listed = {each.key for each in summary.left_out}
    origins = {pair.source.values[key] * scale: key for key in pair.source.values for scale in _SCALES}
    kept = []
    with tb.open(output) as out:
        for key, right in pair.right.items():
            value = float(out[key].flat[0]) if key in out else None
            if value != pair.fresh.values[key]:
                if right is None or origins.get(value) != right:
                    verdict.faults.append(f"{what}: {key} has {origins.get(value, value)}, not {right}")
            elif right is not None:
                is_slot = bool(pair.fresh.tokens[key].role)
                if not is_slot:
                    kept.append(key)
                if not options.get("allow_missing") and not (is_slot and right in listed):
                    verdict.faults.append(f"{what}: {key} silently keeps its value, not that of {right}")
    return kept


def _suggest(pair: Pair, verdict: Verdict) -> list[str]:
    """The active rules; what is said to be certain or likely must be true."""
    try:
        found = suggest(pair.source.prefix, pair.fresh.prefix)
    except tb.BundleError as error:
        verdict.faults.append(f"suggest: {error}")
        return []
    ours, theirs = _by_any_name(pair.source), _by_any_name(pair.fresh)
    for each in found.matches:
        one, other = ours.get(each.old), theirs.get(each.new)
        if each.confidence != "possible" and one is not None and other is not None and one != other:
            verdict.faults.append(
                f"suggest: {each.old}={each.new} ({each.evidence}), but it is {_place(pair, one)}"
            )
    return [each.text for each in found.rules]


def _by_any_name(saved: Saved) -> dict[str, Token]:
    return {key_path(key) or key: token for key, token in saved.tokens.items()}


def _place(pair: Pair, token: Token) -> str:
    return next((key for key, other in pair.fresh.tokens.items() if other == token), "not there")
