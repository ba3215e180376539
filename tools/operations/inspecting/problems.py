"""The problems that `verify` finds, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tensorbundle.errors import BundleError

__all__ = ["Problem", "Report", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a checkpoint or a state file.

    Attributes:
        severity: "error" if something can't be read, "warning" if it can be read but is not as expected.
        kind: one of index, version, entry, shape, missing-shard, unreadable-shard, size, truncated, overlap, checksum,
            slices, orphan-slice, graph, dangling-key, shared-key, unreachable-node, unnamed-key, left-out-layers,
            fingerprint, state-file.
        key: the tensor concerned, or None.
        path: the file.
        offset: bytes from its start, or None.
        message: what is wrong.
        cause: the most likely cause, or None.
        prefix: the checkpoint's path prefix, or the path that was given.
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
        return {
            "prefix": self.prefix,
            "severity": self.severity,
            "kind": self.kind,
            "key": self.key,
            "path": self.path,
            "offset": self.offset,
            "message": self.message,
            "cause": self.cause,
        }


@dataclass(slots=True)
class Report:
    """The outcome of `verify`.

    Attributes:
        tensors: stored tensors and slices whose checksum was computed, or, of a V1 file, whose values were decoded.
        bytes: bytes of data shards, or V1 files, read for that.
        problems: all problems that were found, in the order of keys and files.
        prefix: the path prefix of the checkpoint that was checked.
        dead_bytes: bytes in data shards that no entry refers to; they are not a problem.
        aliases: tensors that share their bytes with another one; they are not a problem.
    """

    tensors: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    prefix: str = field(default="", compare=False)
    dead_bytes: int = field(default=0, compare=False)
    aliases: int = field(default=0, compare=False)

    def add(
        self, kind: str, error: BundleError, *, cause: str | None = None, severity: Severity = "error"
    ) -> None:
        """Add a problem that an error describes."""
        message = error.reason.removesuffix("; 'tensorbundle verify' looks for the cause")
        where = error.path or self.prefix
        self.problems.append(
            Problem(severity, kind, error.key, where, error.offset, message, cause, self.prefix)
        )
