"""Real checkpoints from public repositories, which are not part of the project.

The environment variable TENSORBUNDLE_CORPUS names a directory with `third-party/MANIFEST.tsv`, one checkpoint a line.
A module that imports from here is skipped where there is none, and fails if TENSORBUNDLE_REQUIRE_CORPUS is set.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

THIRD_PARTY = Path(os.environ.get("TENSORBUNDLE_CORPUS", "no corpus"), "third-party")
_MANIFEST = THIRD_PARTY / "MANIFEST.tsv"

if not _MANIFEST.is_file():
    if os.environ.get("TENSORBUNDLE_REQUIRE_CORPUS"):
        pytest.fail(f"no such file as {_MANIFEST}", pytrace=False)
    pytest.skip("TENSORBUNDLE_CORPUS names no directory with checkpoints", allow_module_level=True)

with _MANIFEST.open(encoding="utf-8", newline="") as _file:
    ROWS = {row["path"]: row for row in csv.DictReader(_file, delimiter="\t", quoting=csv.QUOTE_NONE)}
