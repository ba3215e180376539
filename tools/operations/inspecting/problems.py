"""What `verify` finds, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["Problem", "Report", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: "error" for what can't be read, "warning" for what can but will surprise.
        kind: one of index, version, entry, shape, missing-shard, unreadable-shard, size, truncated, overlap, checksum,
            slices, orphan-slice, graph, dangling-key, shared-key, unreachable-node, unnamed-key, left-out-layers,
            fingerprint, state-file.
        key: the tensor concerned, or None.
        path: the file.
        offset: bytes from its start, or None.
        message: what is wrong.
        cause: what most likely made it so, or None.
        prefix: the checkpoint's path prefix, or what was given for one.
    """

    severity: Severity
    kind: str
    key: str | None
    path: str
    offset: int | None
    message: str
    cause: str | None = None
    prefix: str = ""

    def to_json(self) -> dict[str, object]:
        """The fields as plain data, the prefix first."""
        return {"prefix": self.prefix} | {
            name: value for name, value in asdict(self).items() if name != "prefix"
        }


@dataclass(slots=True)
class Report:
    """The outcome.

    Attributes:
        tensors: stored tensors and slices whose checksum was computed, or, of a V1 file, whose values were decoded.
        bytes: bytes of data shards, or V1 files, read for that.
        problems: all that was found, in the order of keys and files.
        prefix: the path prefix of the checkpoint that was looked at.
        dead_bytes: bytes in data shards that no entry refers to; no problem.
        aliases: tensors that share their bytes with another one; no problem.
    """

    tensors: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    prefix: str = field(default="", compare=False)
    dead_bytes: int = field(default=0, compare=False)
    aliases: int = field(default=0, compare=False)
