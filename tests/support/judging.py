"""Judges what becomes of a generated pair of programs: `convert --template`, `suggest`, and convert with suggest's map."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tensorbundle as tb
from support.program_layouts import LAYOUTS, RATE, STEPS, Saved, Token, save
from support.programs import COPIES, change, design, train
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key, key_path
from tensorbundle.tools import convert, rename, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support.programs import Layer, Program
    from tensorbundle.tools.operations.suggesting.suggestion import Suggestion

__all__ = ["Pair", "Verdict", "convert_pair", "judge", "make_pair"]

_ROLES = {"momentum": ("momentum", "rms_momentum")}  # of slots of this name
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
    trainings = train(rng)
    _settle(trained, fresh, layouts)
    source = save(trained, layouts[0], trainings[0], folder / "source", 1_000)
    built = layouts[1] != "legacy" or rng.random() < 0.7
    target = save(fresh, layouts[1], trainings[1], folder / "fresh", 2_000_000, built=built)
    told = _is_told(trained, fresh, source, target, layouts)
    _settle_equal(source, target)
    keys = {token: key for key, token in source.tokens.items()}
    right = {key: keys.get(token) for key, token in target.tokens.items()}
    how = " -> ".join("-".join(filter(None, map(_word, vars(each).items()))) for each in trainings)
    label = f"{seed}: {'+'.join(changes) or 'same'}, {' -> '.join(layouts)}, {trained.form}, {how}"
    to = "tf1" if layouts[1] in ("tf1", "slim") else "tf2"
    return Pair(label, source, target, to, right, told)


def _word(field: tuple[str, object]) -> str:
    return field[0] if field[1] is True else str(field[1] or "")


# The truth, where files can't tell


def _settle(trained: Program, fresh: Program, layouts: tuple[str, str]) -> None:
    """Let layers that nothing can tell apart be who they seem to be.

    Layers without names are known by their attributes, or else by their order: where as many of one class are on both
    sides, exchanging two of them, or removing one and adding another, changes nothing that anyone could see, also if the
    last one is new.
    """
    by_attribute = trained.form == "attributes" and not {"tf1", "slim"} & {*layouts}
    # Keras 2 stores no names of models in sequential ones.
    hides = trained.form == "sequential" and bool({"keras2", "legacy"} & {*layouts})
    for part, other in zip(trained.parts, fresh.parts, strict=True):
        _settle_layers(part.layers, other.layers, by_attribute, hides)


def _settle_equal(source: Saved, target: Saved) -> None:
    """Let variables be the same where both programs have the same names, paths and shapes throughout."""
    ours, theirs = (
        {(name, side.paths.get(token), side.shapes[token]): token for token, name in side.names.items()}
        for side in (source, target)
    )
    if ours.keys() == theirs.keys() and len(ours) == len(source.names) == len(target.names):
        same = {token: ours[what] for what, token in theirs.items()}
        for key, token in target.tokens.items():
            known = same.get(token._replace(role=""), token)
            target.tokens[key] = known._replace(role=token.role)


def _settle_layers(layers: list[Layer], others: list[Layer], by_attribute: bool, hides: bool) -> None:
    def name_of(layer: Layer) -> str | None:
        return None if hides and layer.kind == "block" else layer.name

    if by_attribute and [each.attribute for each in layers] == [each.attribute for each in others]:
        return
    unnamed, others_unnamed = ([each for each in side if name_of(each) is None] for side in (layers, others))
    for kind in {each.class_name for each in unnamed}:
        ours = [each for each in unnamed if each.class_name == kind]
        theirs = [each for each in others_unnamed if each.class_name == kind]
        alike = [one.spec() == other.spec() for one, other in zip(ours, theirs, strict=False)]
        # The last one may be a new head.
        if len(ours) == len(theirs) and all(alike[:-1]) and not by_attribute:
            for one, other in zip(ours, theirs, strict=True):
                if one.spec() == other.spec():
                    _identify(one, other)
    names = {*map(name_of, layers)} & {*map(name_of, others)} - {None}
    if [each.spec() for each in layers] == [each.spec() for each in others]:
        at = {name_of(each): number for number, each in enumerate(layers)}
        if all(at[name_of(each)] == number for number, each in enumerate(others) if name_of(each) in names):
            for one, other in zip(layers, others, strict=True):
                if name_of(one) not in names and name_of(other) not in names and not by_attribute:
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
    # Keras 3 stores no names of layers that are attributes: one of another name may be another layer.
    if trained.form == "attributes" and "keras3" in layouts:
        attributes = [[each.attribute for each in side.walk()] for side in (trained, fresh)]
        in_order = in_order and attributes[0] == attributes[1]
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
    lacking = any(
        key is None and pair.fresh.tokens[place].role not in (*COPIES, "scalar")
        for place, key in pair.right.items()
    )
    unused = {key for key, token in pair.source.tokens.items() if token.role != "scalar"} - {
        *pair.right.values()
    }
    flags = {"allow_missing": lacking, "allow_unused": bool(unused)}
    convert_pair(pair, folder / "strict", verdict, "convert", **flags)
    left = convert_pair(
        pair, folder / "all", verdict, "convert, allowed all", allow_missing=True, allow_unused=True
    )
    if pair.told:
        verdict.refused = ", ".join(left)
    found = _suggest(pair, verdict)
    if found is not None and found.rules:
        rules = folder / "map"
        rules.write_text("".join(f"{each.text}\n" for each in found.rules), encoding="utf-8")
        if found.use != "rename-converted":
            convert_pair(pair, folder / "mapped", verdict, "mapped", map=rules, **flags)
        _rename_pair(pair, found, rules, folder, verdict)
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
    origins = _origins(pair)
    kept, allowed = [], options.get("allow_missing")
    with tb.open(output) as out:
        values = {key: float(out[key].flat[0]) for key in out if key != OBJECT_GRAPH_KEY}
    right = _rights(pair, values)
    for key, value in values.items():
        if key not in right:
            continue
        meant, token = right[key], pair.fresh.tokens.get(key)
        is_kept = token is not None and value == pair.fresh.values[key]
        if not is_kept:
            is_copy = token is not None and token.role in COPIES and meant in listed
            if is_copy and origins.get(value) == right[_of(pair, token)]:
                continue  # the source's copy may be that of another variable, and the weight is what is told
            if meant is None or origins.get(value) != meant:
                verdict.faults.append(f"{what}: {key} has {origins.get(value, value)}, not {meant}")
            elif token is None or token.role not in (*COPIES, "scalar", ""):
                _judge_steps(pair, key, values, verdict, what)
        elif meant is not None and token is not None:
            if not token.role:
                kept.append(key)
            elif (
                not allowed
                and token.role in COPIES
                and values[_of(pair, token)] != pair.fresh.values[_of(pair, token)]
            ):
                verdict.faults.append(f"{what}: {key} keeps its value, not that of its variable")
            if not allowed and not (token.role and meant in listed):
                verdict.faults.append(f"{what}: {key} silently keeps its value, not that of {meant}")
    return kept


def _origins(pair: Pair) -> dict[float, str]:
    """The key in the source by what its value may have become."""
    return {value * scale: key for key, value in pair.source.values.items() for scale in _SCALES}


def _of(pair: Pair, token: Token) -> str:
    """The key in the fresh checkpoint of the variable that a slot is of."""
    return next(key for key, each in pair.fresh.tokens.items() if each == token._replace(role=""))


def _rights(pair: Pair, keys: Iterable[str]) -> dict[str, str | None]:
    """The truth about these keys of an output: also about slots that legacy optimizers have got, and copies of weights."""
    right = dict(pair.right)
    for key, token in pair.fresh.tokens.items():
        if token.role in COPIES and right[key] is None:
            right[key] = right[_of(pair, token)]
    ours = {token: key for key, token in pair.source.tokens.items()}
    for key in keys:
        variable, mark, slot = key.partition("/.OPTIMIZER_SLOT/")
        if mark and key not in right:
            token = pair.fresh.tokens[attribute_key(variable)]
            name = slot.partition("/.")[0].rpartition("/")[2]
            right[key] = next(
                (
                    ours[each]
                    for role in _ROLES.get(name, (name,))
                    if (each := token._replace(role=role)) in ours
                ),
                None,
            )
    return right


def _judge_steps(pair: Pair, key: str, values: dict[str, float], verdict: Verdict, what: str) -> None:
    """Slots go on from where they were: so must the number of steps."""
    steps = pair.fresh.steps.get(key, "")
    if steps and values[steps] != STEPS:
        verdict.faults.append(f"{what}: {steps} is {values[steps]} beside {key}")
    powers = {"beta1_power": 0.9, "beta2_power": 0.999} if steps == "global_step" else {}
    for power, beta in powers.items():
        if power in values and abs(values[power] - beta ** (STEPS + 1)) > 1e-6:
            verdict.faults.append(f"{what}: {power} is {values[power]} beside {key}")


def _rename_pair(pair: Pair, found: Suggestion, rules: Path, folder: Path, verdict: Verdict) -> None:
    """Rename by suggest's map: whatever gets another name must get one that means the same."""
    source = pair.source.prefix
    try:
        if found.use == "rename-converted":
            convert(source, folder / "converted", to="tf1", names="keys")
            source = str(folder / "converted")
        elif found.use == "template":
            return
        rename(source, folder / "renamed", map=rules)
    except tb.BundleError as error:
        verdict.faults.append(f"rename: {error}")
        return
    keys = {value: key for key, value in pair.source.values.items()}
    with tb.open(source) as before, tb.open(folder / "renamed") as after, tb.open(pair.fresh.prefix) as fresh:
        for key in after:
            there = pair.fresh.tokens.get(key)
            if there is None or (key in before and before.entry(key).crc32c == after.entry(key).crc32c):
                continue
            if after.entry(key).shape != fresh.entry(key).shape:
                continue  # which no restore takes silently
            origin = keys.get(float(after[key].flat[0]), "")
            if pair.source.tokens.get(origin) != there:
                verdict.faults.append(f"renamed: {key} is {origin}")


def _suggest(pair: Pair, verdict: Verdict) -> Suggestion | None:
    """What is suggested; what is said to be certain or likely must be true."""
    try:
        found = suggest(pair.source.prefix, pair.fresh.prefix)
    except tb.BundleError as error:
        verdict.faults.append(f"suggest: {error}")
        return None
    ours, theirs = _by_any_name(pair.source), _by_any_name(pair.fresh)
    for each in found.matches:
        one, other = ours.get(each.old), theirs.get(each.new)
        if each.confidence != "possible" and one is not None and other is not None and one != other:
            verdict.faults.append(
                f"suggest: {each.old}={each.new} ({each.evidence}), but it is {_place(pair, one)}"
            )
    return found


def _by_any_name(saved: Saved) -> dict[str, Token]:
    return {key_path(key) or key: token for key, token in saved.tokens.items()}


def _place(pair: Pair, token: Token) -> str:
    return next((key for key, other in pair.fresh.tokens.items() if other == token), "not there")
