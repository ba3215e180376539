"""Explains error messages: their meaning, their causes and advice; with a checkpoint, also what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.coding import crc32c, crc32c_of_zeros
from tensorbundle.limits import MAX_TEXT_CHARACTERS
from tensorbundle.tools.operations.explaining.catalogue import CAUSES
from tensorbundle.tools.operations.explaining.messages import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.operations.explaining.messages import Message

__all__ = ["Explanation", "LikelyCause", "explain"]

_MOST_WORD: Final = 1000  # characters of one word: patterns take quadratic time if no blank ends a match
_SHARD_SIZE: Final = re.compile(r"\((\d+) bytes\): Checksum does not match")
_MOST_ZEROS: Final = 1 << 16  # every number up to here is tried; then powers of two


@dataclass(frozen=True, slots=True)
class LikelyCause:
    """A cause that a message may have.

    Attributes:
        kind: its name in the catalogue.
        line: a description in one line.
        advice: what to do, a line each.
        certain: whether the text, or the checkpoint, proves it.
    """

    kind: str
    line: str
    advice: tuple[str, ...]
    certain: bool = False

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {"kind": self.kind, "cause": self.line, "advice": list(self.advice), "certain": self.certain}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of one message.

    Attributes:
        kind: its name in the catalogue.
        found: the part of the text that contains it.
        source: the file and the function that it is from.
        meaning: its meaning.
        details: facts about this case in the text.
        causes: the most likely first.
        advice: what to do in any case.
    """

    kind: str
    found: str
    source: str
    meaning: str
    details: tuple[str, ...]
    causes: tuple[LikelyCause, ...]
    advice: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {
            "kind": self.kind,
            "found": self.found,
            "source": self.source,
            "meaning": self.meaning,
            "details": list(self.details),
            "causes": [each.to_json() for each in self.causes],
            "advice": list(self.advice),
        }


def explain(text: str, entries: Iterable[tuple[str, TensorEntry]] = ()) -> list[Explanation]:
    """The explanation of each message in a text, in the order of the text; empty if none is known.

    Args:
        text: an error of TensorFlow or Keras, or a log with some.
        entries: the tensors of the checkpoint that it is about, to find the one that a checksum belongs to.
    """
    flat = " ".join(word[:_MOST_WORD] for word in text[:MAX_TEXT_CHARACTERS].split())
    hits = [
        (found.start(), message, found) for message in MESSAGES if (found := message.pattern.search(flat))
    ]
    hits.sort(key=lambda each: each[0])
    return [_explanation(message, found, flat, list(entries)) for _, message, found in hits]


def _explanation(
    message: Message, found: re.Match[str], text: str, entries: list[tuple[str, TensorEntry]]
) -> Explanation:
    causes = [_general(kind) for kind in message.causes]
    details: list[str] = []
    if message.kind == "tensor-checksum":
        proven, details = _checksums(found, text, entries)
        causes = [*proven, *(each for each in causes if each.kind not in {known.kind for known in proven})]
    elif message.kind == "dtype":
        details.append(f"stored as {found['stored']}, wanted as {found['wanted']}")
    told = {advice for each in causes for advice in each.advice}
    advice = tuple(each for each in message.advice if each not in told)
    return Explanation(
        message.kind, found[0], message.source, message.meaning, tuple(details), tuple(causes), advice
    )


def _general(kind: str) -> LikelyCause:
    cause = CAUSES[kind]
    return LikelyCause(kind, cause.general, cause.all_advice)


def _checksums(
    found: re.Match[str], text: str, entries: list[tuple[str, TensorEntry]]
) -> tuple[list[LikelyCause], list[str]]:
    """Facts from the two checksums of a message: the calculated one is that of the bytes that were read."""
    hexadecimal = found["stored_hex"] is not None
    stored = int(found["stored_hex"], 16) if hexadecimal else int(found["stored"])
    computed = int(found["computed_hex"], 16) if hexadecimal else int(found["computed"])
    details = [f"stored {stored:08x}, of the bytes that were read {computed:08x}"]
    causes = []
    sizes = [int(size) for size in _SHARD_SIZE.findall(text)]
    for key, entry in entries:
        if entry.crc32c == stored and not entry.slices:
            details.append(f"the stored one is that of {key!r}")
            sizes.append(entry.nbytes)
        if entry.crc32c == computed and not entry.slices:
            causes.append(
                LikelyCause(
                    "other-tensor",
                    CAUSES["other-tensor"].line.format(other=key),
                    CAUSES["other-tensor"].advice,
                    certain=True,
                )
            )
    zeros = _zeros_with(computed, sizes)
    if zeros is not None:
        details.append(f"the bytes that were read are {zeros:,} zeros")
        cause = CAUSES["zero-filled"]
        causes.insert(0, LikelyCause("zero-filled", cause.line, cause.advice, certain=True))
    return causes, details


def _zeros_with(checksum: int, sizes: Iterable[int]) -> int | None:
    """How many zero bytes have this checksum: one of these numbers, a small one, or 2**n times 1, 3 or 5."""
    usual = (factor << power for power in range(2, 34) for factor in (1, 3, 5))
    for size in (*sizes, *usual):
        if size and crc32c_of_zeros(size) == checksum:
            return size
    crc = 0
    for size in range(1, _MOST_ZEROS + 1):
        crc = crc32c(b"\0", crc)
        if crc == checksum:
            return size
    return None
