"""The golden checkpoints, and what TensorFlow says is in them (`tests/golden/make_golden.py` has the format)."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.depth import DEEP

if TYPE_CHECKING:
    from support.contents import Content

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLE = GOLDEN / "sample" / "model.ckpt-300"


@dataclass(frozen=True)
class Golden:
    """One checkpoint.

    Attributes:
        version: (major, minor) of the TensorFlow that wrote it.
        prefix: relative to that version's folder.
        records: key to what TensorFlow read.
    """

    version: tuple[int, int]
    prefix: str
    records: dict[str, dict] = field(repr=False, hash=False)

    def __str__(self) -> str:
        return f"{self.folder}:{self.prefix}"

    @property
    def folder(self) -> str:
        return "tf-{}.{}".format(*self.version)

    @property
    def path(self) -> Path:
        return GOLDEN / self.folder / self.prefix

    @property
    def is_v1(self) -> bool:
        return not self.path.with_name(f"{self.path.name}.index").exists()

    @property
    def object_based(self) -> bool:
        return "_CHECKPOINTABLE_OBJECT_GRAPH" in self.records


def load() -> list[Golden]:
    """Every golden checkpoint if TENSORBUNDLE_DEEP is set, else each by one of the versions that wrote it, in turn."""
    found = load_all()
    versions: dict[str, list[tuple[int, int]]] = {}
    for case in found:
        versions.setdefault(case.prefix, []).append(case.version)
    chosen = {(prefix, each[turn % len(each)]) for turn, (prefix, each) in enumerate(versions.items())}
    return [case for case in found if DEEP or (case.prefix, case.version) in chosen]


def load_all() -> list[Golden]:
    """Every golden checkpoint."""
    found = []
    for path in sorted(GOLDEN.glob("tf-*/expected.json")):
        version = tuple(map(int, path.parent.name.removeprefix("tf-").split(".")))
        expected = json.loads(path.read_text(encoding="ascii"))
        del expected["versions"]
        found += [Golden(version, prefix, records) for prefix, records in expected.items()]
    return found


def holds(record: dict, found: Content) -> bool:
    """Whether `found` is what the record says TensorFlow read."""
    if "sha256" in record:
        joined = found if isinstance(found, bytes) else b"".join(found)
        return hashlib.sha256(joined).hexdigest() == record["sha256"]
    values = record["values"]
    if isinstance(values, list):
        return found == [base64.b64decode(each) for each in values]
    return found == base64.b64decode(values)
