"""Why a checkpoint does not match a program, and what to do: a few causes for hundreds of mismatches."""

from __future__ import annotations

import glob
import itertools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final
from typing import Literal as OneOf

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError
from tensorbundle.proto.paths import SAVE_COUNTER, key_path
from tensorbundle.specs import shape_text
from tensorbundle.tools.keras.lost import left_out_by_keras_3, lost_text
from tensorbundle.tools.operations.converting.conversion import fit
from tensorbundle.tools.operations.converting.fitting import Fitting
from tensorbundle.tools.operations.converting.structures import read_structure
from tensorbundle.tools.operations.editing.casting import cast
from tensorbundle.tools.operations.editing.renaming import rename
from tensorbundle.tools.operations.editing.selection import slim
from tensorbundle.tools.operations.editing.values import set_values
from tensorbundle.tools.operations.restoring.advice import Advice, Cause, Place, fill_in
from tensorbundle.tools.operations.restoring.keras_causes import conversion_cause, find_keras_causes
from tensorbundle.tools.operations.restoring.outcomes import counted
from tensorbundle.tools.operations.restoring.trials import (
    MoveSearch,
    name_of,
    path_in_source,
    state_in,
    stored_spec,
)
from tensorbundle.tools.optimizers.finding import Optimizers
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.tools.operations.restoring.advice import Arguments
    from tensorbundle.tools.operations.restoring.forecasting import RestoreTarget, Source
    from tensorbundle.tools.operations.restoring.moves import Move
    from tensorbundle.tools.operations.restoring.outcomes import Finding, Forecast, Reason, Status

__all__ = ["find_causes"]

_IN_ONE_COMMAND: Final = 12  # rules or patterns
_SHOWN: Final = 3  # scopes in one sentence
_GROUPS: Final = 8
_MATCHED_OFTEN: Final = 5000  # tensors; more are matched once, as leniently as possible
_SLOT_MARK: Final = "/.OPTIMIZER_SLOT/"


def find_causes(forecast: Forecast, source: Source, target: RestoreTarget) -> list[Cause]:
    """The causes of the mismatches of a forecast; each mismatch has one cause.

    Commands are filled in. If there are several, each reads the checkpoint that the one before it writes.
    """
    lost = _lost(source)
    if all(each.status == "restored" for each in forecast.findings):
        return lost
    if forecast.way == "keras":
        causes = find_keras_causes(forecast, source.path, target.path, weights=source.is_keras_weights)
        return fill_in(list(causes), source.path)
    if source.is_keras_weights and target.graph is not None and target.expected is None:
        return fill_in([conversion_cause(source.path, target.path, forecast.findings)], source.path)
    return fill_in([*lost, *_Search(forecast, source, target).run()], source.path)


def _lost(source: Source) -> list[Cause]:
    """Layers that Keras 3 left out of a checkpoint, which no assertion notices."""
    if source.graph is None:
        return []
    shapes = {key: entry.shape for key, entry in source.entries.items()}
    lost = left_out_by_keras_3(source.graph, Optimizers.of(source.graph, shapes))
    if not lost:
        return []
    advice = Advice(
        "save with model.save_weights, which stores all layers; restoring this checkpoint does not set them"
    )
    names = tuple(f"{each.key.partition('/.ATTRIBUTES/')[0]}: {each.full_name}" for each in lost)
    return [Cause(lost_text(lost), (), (advice,), examples=names)]


class _Search:
    """The search for causes. Objects that renaming would match are taken out of the forecast first."""

    def __init__(self, forecast: Forecast, source: Source, target: RestoreTarget) -> None:
        self._forecast = forecast
        self._source = source
        self._target = target
        self._edits: list[Callable[[Draft], object]] = []  # the edits of the commands found so far
        self._explained: set[tuple[Status, str]] = set()
        # The paths of the optimizers' state on both sides.
        self._state: set[str] = set()
        self._own_state = state_in(target.path) if target.expected is None else set()

    def run(self) -> Iterator[Cause]:
        for look in (
            self._moved,
            self._name_based,
            self._optimizers,
            self._counter,
            self._not_one_to_one,
            self._dangling,
            self._dtypes,
            self._shapes,
            self._left,
        ):
            for each in look():
                self._explained |= {(finding.status, finding.path) for finding in each.findings}
                yield each

    def _open(self, *statuses: Status, reason: Reason | None = None) -> list[Finding]:
        """The findings that have no cause yet."""
        return [
            each
            for each in self._forecast.findings
            if each.status in statuses
            and (each.status, each.path) not in self._explained
            and reason in (None, each.reason)
        ]

    def _optimizers(self) -> Iterator[Cause]:
        unused = [each for each in self._open("unused") if each.path in self._state]
        missing = [each for each in self._open("missing") if each.path in self._own_state]
        slimming = self._tried(("slim", Place.SOURCE, Place.MADE), slim)
        failure = self._forecast.failure
        if failure is not None and "legacy TF-Keras optimizer" in failure.message:
            what = (
                "A's optimizer is of Keras up to 2.10 (legacy), and B's newer one refuses its slot variables"
            )
            advice = (
                Advice("or take B's from tf_keras.optimizers.legacy"),
                *_advised("or remove A's state", slimming),
            )
            yield Cause(what, (*unused, *missing), advice, self._fitting())
        elif unused and missing:
            fitting = self._fitting()
            remove = f"{'or ' if fitting else ''}remove A's state"
            yield Cause(
                "A has the optimizer's state in another place than B, or of another kind",
                (*unused, *missing),
                _advised(remove, slimming),
                fitting,
            )
        elif unused:
            only = "only " if len(unused) == len(self._open("unused", "missing")) else ""
            yield Cause(
                f"{only}the optimizer's state in A has no place in B",
                tuple(unused),
                (
                    Advice("if the program does not train: call expect_partial(), and not assert_consumed()"),
                    *_advised("or remove it", slimming),
                ),
            )
        elif missing:
            yield Cause(
                "A lacks state that B's optimizer has, which starts from its initial values",
                tuple(missing),
                (Advice("of the assertions, only assert_nontrivial_match can pass"),),
            )

    def _fitting(self) -> Arguments:
        """The strictest command that gives the checkpoint the structure of the program; empty if none works."""
        path, to = self._target.path, self._target_kind
        given = ("--structure" if self._target.expected is not None else "--template", path)
        many = len(self._source.entries) > _MATCHED_OFTEN
        for missing, unused in [(True, True)] if many else itertools.product((False, True), repeat=2):
            fitting = Fitting(allow_missing=missing, allow_unused=unused)

            def take_structure(draft: Draft, fitting: Fitting = fitting) -> None:
                if self._target.expected is not None:
                    fit(draft, to, None, read_structure(path), fitting=fitting)
                    return
                with open_checkpoint(path) as template:
                    fit(draft, to, Draft.of(template), None, fitting=fitting)

            allowed = (*("--allow-missing",) * missing, *("--allow-unused",) * unused)
            command = ("convert", Place.SOURCE, Place.MADE, "--to", to, *given, *allowed)
            if self._tried(command, take_structure, keep=True):
                return command
        return ()

    @property
    def _target_kind(self) -> OneOf["tf1", "tf2"]:
        return "tf1" if self._target.graph is None else "tf2"

    def _tried(self, command: Arguments, edit: Callable[[Draft], object], *, keep: bool = False) -> Arguments:
        """The command, if it works after the other commands; with `keep`, later commands are tried after it."""
        try:
            with open_checkpoint(self._source.path) as checkpoint:
                draft = Draft.of(checkpoint)
                for each in (*self._edits, edit):
                    each(draft)
        except BundleError:
            return ()
        if keep:
            self._edits.append(edit)
        return command

    # Other names

    def _moved(self) -> Iterator[Cause]:
        """Objects that have other names in the program, if renaming makes the checkpoint match better."""
        if self._forecast.way == "saver" and self._source.graph is not None:
            return  # full names are not renamed along with paths
        unused = {each.path for each in self._open("unused") if not _follows(each)}
        fits = any(
            each.status != "unused" and each.key is not None
            for each in self._forecast.findings
            if not _follows(each)
        )
        before = self._open("missing", "unused", "shape", "dtype")
        search = MoveSearch(self._forecast, self._source, self._target)
        search.run()
        self._source, self._forecast, self._state = search.source, search.forecast, search.state
        found = search.moves
        if not found:
            return
        explained = [each for each in before if any(_accounts_for(move, each) for move in found)]
        aside = tuple(f"{each}/" for move in found for each in move.aside)
        self._explained |= {
            ("unused", each.path) for each in self._forecast.findings if each.path.startswith(aside)
        }
        if not fits and len(found) == 1 and unused == found[0].pairs.keys():
            what = _everything_text(*found[0].rules[0])
        else:
            moves = [
                f"{_place(old)} of A is {_place(new)} in B"
                for move in found
                for old, new in move.rules
                if new not in move.aside
            ]
            what = "; ".join(moves[:_SHOWN]) + (
                f"; and {len(moves) - _SHOWN} more" if len(moves) > _SHOWN else ""
            )
        pairs = tuple(f"{old} -> {new}" for move in found for old, new in move.pairs.items())
        rules = [rule for move in found for rule in move.rules]
        self._edits.append(lambda draft: rename(draft, search.rules))
        arguments = [f"{old}={new}" for old, new in rules]
        yield Cause(what, tuple(explained), (), ("rename", Place.SOURCE, Place.MADE, *arguments), pairs)

    def _name_based(self) -> Iterator[Cause]:
        missing = self._open("missing") if self._forecast.way == "names" else []
        if missing and any("overlooks" not in each.detail for each in missing):
            yield Cause(
                "A is name-based (TF1): variables are looked up by their full names, and A lacks some of B's",
                (*missing, *self._open("unused")),
                (Advice("rules, --map FILE, help where names and shapes do not tell which is which"),),
                self._fitting(),
            )

    def _counter(self) -> Iterator[Cause]:
        for each in self._open("missing", "unused"):
            if each.path != SAVE_COUNTER or "overlooks" in each.detail:
                continue
            advice: tuple[Advice, ...]
            add = self._tried(
                ("set", Place.SOURCE, Place.MADE, f"{SAVE_COUNTER}=1:int64"),
                lambda draft: set_values(draft, SAVE_COUNTER, "1:int64"),
            )
            if each.status == "unused":
                what = "A has a save counter, which Checkpoint.save writes and read does not look for"
                advice = (Advice("call restore instead of read"),)
            elif self._forecast.method == "restore":
                what = "A has no save counter, as Checkpoint.write writes none; restore makes one and misses its value"
                advice = (Advice("call read instead of restore"), *_advised("or add a counter", add))
            else:
                what = "A has no save counter, and the program has one, as it called save or restore before"
                advice = (
                    Advice("compare with what the program writes before that"),
                    *_advised("or add a counter", add),
                )
            yield Cause(what, (each,), advice)

    # Objects without a one-to-one match

    def _not_one_to_one(self) -> Iterator[Cause]:
        kinds: tuple[tuple[Status, Reason, str, Advice], ...] = (
            (
                "missing",
                "one key",
                "objects of A share a key; TensorFlow restores the last one of them, and says nothing",
                Advice("look for damage", ("verify", Place.SOURCE)),
            ),
            (
                "missing",
                "no values",
                "A has an object of this name which has no values; TensorFlow says nothing",
                Advice("look at it", ("graph", Place.SOURCE)),
            ),
            (
                "missing",
                "one in A",
                "one object in A is several objects in B, of which the first gets the values ('Inconsistent references')",
                Advice("let the program share the object, too"),
            ),
            (
                "unused",
                "one in B",
                "several objects in A are one object in B, which gets the values of the first",
                Advice("nothing fails"),
            ),
            (
                "unused",
                "no tensors",
                "A has tensors of objects which have none in B",
                Advice("call expect_partial(), and not assert_consumed()"),
            ),
        )
        for status, reason, what, advice in kinds:
            found = self._open(status, reason=reason)
            if found:
                yield Cause(what, tuple(found), (advice,))

    def _dangling(self) -> Iterator[Cause]:
        found = self._open("dangling")
        if found:
            yield Cause(
                "A names tensors that it does not store: of variables that had no value yet, or removed since",
                tuple(found),
                (Advice("look for damage", ("verify", Place.SOURCE)),),
            )

    # Types and shapes

    def _dtypes(self) -> Iterator[Cause]:
        groups: dict[tuple[DType, DType], list[Finding]] = defaultdict(list)
        for each in self._open("dtype"):
            stored = stored_spec(self._source, each).dtype
            wanted = each.wanted.dtype if each.wanted is not None else None
            if stored is not None and wanted is not None and stored is not wanted:
                groups[stored, wanted].append(each)
        for (stored, wanted), found in groups.items():
            what = f"{counted(found, 'tensor')} {_is(found)} {stored} in A, and {wanted} in B"
            if not (stored.is_numeric and wanted.is_numeric):
                yield Cause(what, tuple(found), (Advice("no command casts these"),))
                continue
            patterns = self._patterns(found, stored, wanted)
            if len(patterns) > _IN_ONE_COMMAND:
                yield Cause(
                    what,
                    tuple(found),
                    (Advice("a recipe for 'tensorbundle rewrite' takes any number of casts"),),
                )
                continue
            casts = dict.fromkeys(patterns, wanted)
            command = self._tried(
                ("cast", Place.SOURCE, Place.MADE, *(f"{each}={wanted}" for each in patterns)),
                lambda draft, casts=casts: cast(draft, casts),  # type: ignore[misc]
                keep=True,
            )
            yield Cause(what, tuple(found), (), command)
        rest = self._open("dtype")
        if rest:
            yield Cause("B's objects can't take what A stores", tuple(rest))

    def _patterns(self, found: Sequence[Finding], stored: DType, wanted: DType) -> list[str]:
        """Patterns for `cast` that match the tensors of the findings and no other floating-point tensors."""
        paths = sorted({path_in_source(self._source, each) for each in found})
        if not stored.is_floating:
            return [glob.escape(each) for each in paths]  # these are cast by their whole name only
        inside = set(paths)
        other = sorted(path for path, dtype in self._floating() if path not in inside and dtype is not wanted)
        patterns: list[str] = []
        scopes = [""]
        while scopes and len(patterns) <= _IN_ONE_COMMAND:
            scope = scopes.pop()
            if not any(each.startswith(scope) for each in other):
                patterns.append(f"{glob.escape(scope)}*")
                continue
            for name in sorted(
                {each[len(scope) :].partition("/")[0] for each in paths if each.startswith(scope)}
            ):
                if scope + name in inside:
                    patterns.append(glob.escape(scope + name))
                else:
                    scopes.append(f"{scope}{name}/")
        return sorted(patterns)

    def _floating(self) -> Iterator[tuple[str, DType]]:
        """The path, or the name, of every floating-point tensor of the checkpoint, and its type."""
        for key, entry in self._source.entries.items():
            if entry.dtype.is_floating:
                yield (key if self._source.graph is None else key_path(key) or key), entry.dtype

    def _shapes(self) -> Iterator[Cause]:
        kinds: dict[str, list[Finding]] = defaultdict(list)
        for each in self._open("shape"):
            wanted = each.wanted.shape if each.wanted is not None else None
            kinds[_difference(stored_spec(self._source, each).shape, wanted)].append(each)
        for kind, found in kinds.items():
            name = path_in_source(self._source, found[0])
            count = counted(found, "tensor")
            advice: tuple[Advice, ...]
            if kind == "transposed":
                what = f"{count} {_is(found)} transposed in B"
                advice = self._reshaping("transpose", found, lambda shape: _axes_text(len(shape)))
            elif kind == "reshaped":
                what = f"{count} {_has(found)} as many values in B, in another shape"
                advice = self._reshaping("reshape", found, shape_text)
            elif kind == "rows":
                what = f"{count} {_has(found)} another number of rows in B"
                vocabularies = ("--old-vocab", "FILE", "--new-vocab", "FILE")
                resize = ("resize", Place.SOURCE, Place.MADE, name, *vocabularies)
                advice = (Advice("if these are tokens", resize),)
            else:
                what = f"{count} {_has(found)} another size in B"
                advice = (Advice("the program was made with other sizes than the one that A is from"),)
            yield Cause(what, tuple(found), advice)

    def _reshaping(
        self, command: str, found: Sequence[Finding], text: Callable[[tuple[int, ...]], str]
    ) -> tuple[Advice, ...]:
        """How to give variables the expected shapes, if a command can; their slots are changed with them."""
        rules = {
            glob.escape(path): text(each.wanted.shape)
            for each in found
            if (path := path_in_source(self._source, each)) not in self._state
            and _SLOT_MARK not in path
            and each.wanted is not None
            and each.wanted.shape is not None
        }
        if not rules:
            return ()
        if len(rules) > _IN_ONE_COMMAND:
            return (
                Advice(f"a recipe for 'tensorbundle rewrite' with the step {command!r} takes any number"),
            )
        arguments = [f"{pattern}={value}" for pattern, value in rules.items()]
        return (Advice("if the values are the same", (command, Place.SOURCE, Place.MADE, *arguments)),)

    # Objects that one side lacks

    def _left(self) -> Iterator[Cause]:
        missing, unused = self._open("missing"), self._open("unused")
        for scope, found in _by_scope(missing):
            what = f"A lacks {counted(found, 'object')} that B has{scope}"
            yield Cause(what, tuple(found), self._adding(found))
        for scope, found in _by_scope(unused):
            by_objects = self._forecast.way == "objects"
            advice = (Advice("if that is meant: call expect_partial()"),) if by_objects else ()
            yield Cause(f"B lacks {counted(found, 'object')} that A has{scope}", tuple(found), advice)
        if missing and unused and self._target.expected is None:
            proposal = Advice("find out which", ("suggest", Place.SOURCE, self._target.path))
            yield Cause("if some of these are the same, under other names", (), (proposal,))

    def _adding(self, found: Sequence[Finding]) -> tuple[Advice, ...]:
        """Advice to add missing counters, which may begin at 0."""
        counters = {
            name_of(each): str(each.wanted.dtype)
            for each in found
            if each.wanted is not None
            and each.wanted.shape == ()
            and each.wanted.dtype in (DType.int32, DType.int64)
        }

        def add(draft: Draft) -> None:
            for name, dtype in counters.items():
                set_values(draft, name, 0, dtype)

        if not counters or len(counters) > _IN_ONE_COMMAND:
            return ()
        arguments = (f"{name}=0:{dtype}" for name, dtype in counters.items())
        return _advised("to begin with 0", self._tried(("set", Place.SOURCE, Place.MADE, *arguments), add))


def _accounts_for(move: Move, finding: Finding) -> bool:
    """Whether a finding is about one of a move's pairs, on either side, or about a slot variable of one."""
    name = name_of(finding).partition(_SLOT_MARK)[0]
    return name in move.pairs if finding.status == "unused" else name in move.targets


def _follows(finding: Finding) -> bool:
    """Whether an object moves with others (a slot variable), or never moves (the save counter)."""
    return finding.path == SAVE_COUNTER or _SLOT_MARK in finding.path


def _place(name: str) -> str:
    return "the root" if name == "/" else repr(name)


def _everything_text(old: str, new: str) -> str:
    if new == "/":
        return f"everything that A has in {old!r} is at the root in B"
    if old == "/":
        return f"everything that A has at the root is in {new!r} in B"
    return f"everything that A has in {old!r} is in {new!r} in B"


def _difference(stored: tuple[int, ...] | None, wanted: tuple[int, ...] | None) -> str:
    """How two shapes differ."""
    if stored is None or wanted is None:
        return "other"
    if len(stored) == 2 and stored == wanted[::-1]:
        return "transposed"
    if math.prod(stored) == math.prod(wanted):
        return "reshaped"
    return "rows" if len(stored) == 2 == len(wanted) and stored[1] == wanted[1] else "other"


def _advised(text: str, command: Arguments) -> tuple[Advice, ...]:
    """Advice with a command; none if there is no command."""
    return (Advice(text, command),) if command else ()


def _axes_text(rank: int) -> str:
    return ",".join(map(str, reversed(range(rank))))


def _is(found: Sequence[object]) -> str:
    return "are" if len(found) > 1 else "is"


def _has(found: Sequence[object]) -> str:
    return "have" if len(found) > 1 else "has"


def _by_scope(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Findings by the scope that contains them, as the end of a sentence; in one group if there are many scopes."""
    groups: dict[str, list[Finding]] = defaultdict(list)
    for each in findings:
        groups[each.path.partition("/")[0]].append(each)
    if len(groups) > _GROUPS:
        yield "", [each for found in groups.values() for each in found]
        return
    for found in groups.values():
        if len(found) == 1:
            yield f", {found[0].path!r}", found
        else:
            yield f" below {_common_scope([each.path for each in found])!r}", found


def _common_scope(paths: Sequence[str]) -> str:
    """The longest path that several paths begin with."""
    first, last = min(paths).split("/"), max(paths).split("/")
    shared = itertools.takewhile(lambda parts: parts[0] == parts[1], zip(first, last, strict=False))
    return "/".join(part for part, _ in shared)
