"""The names of a checkpoint's files.

A bundle with prefix P consists of `P.index` and `P.data-SSSSS-of-NNNNN` (TensorFlow core/util/tensor_bundle/naming.cc).
The prefix itself is not a file. A checkpoint in the old V1 format is one file P, or several `P-SSSSS-of-NNNNN`, whose
prefix TensorFlow writes as `P-?????-of-NNNNN`. All other names are literal, never patterns.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = [
    "STATE_FILE",
    "V1Name",
    "bundle_prefix",
    "index_path",
    "is_member_name",
    "is_v1_shard_name",
    "parse_shard_name",
    "parse_v1_name",
    "part_prefixes",
    "parts_folder_prefix",
    "parts_prefix",
    "shard_path",
]

STATE_FILE: Final = "checkpoint"
# Patterns are compiled where they are used, here and elsewhere in what a listing imports: it uses few of them.
_SHARD: Final = r"(?s)(?P<prefix>.*)\.data-(?P<shard>\d{5,})-of-(?P<count>\d{5,})"
# Excludes data shards of bundles, whose names are similar.
_V1_SHARD: Final = r"(?s)(.*)(?<!\.data)-(\d{5,}|\?{5,})-of-(\d{5,}|\?{5,})"
# A part of a save: TensorFlow core/kernels/save_restore_v2_ops.cc, python/checkpoint/functional_saver.py.
_PART: Final = r"(?s)(?P<stem>(?:.*[./])?part)-(?P<number>\d{5}|\?{5})-of-(?P<count>\d{5})"
_PARTS_FOLDER: Final = r"(?s)(?P<prefix>.+)_temp(?:_[0-9a-f]+)?"
_MEMBER: Final = r"(?s)(?P<prefix>.*)\.(index|meta|data-\d{5,}-of-\d{5,})"


class V1Name(NamedTuple):
    """The name of one of several files of a V1 checkpoint, or the pattern that matches them all.

    Attributes:
        base: the part before the numbers.
        shard: the digits of the file's number, or question marks.
        total: the digits of the number of files, or question marks.
    """

    base: str
    shard: str
    total: str


def index_path(prefix: str) -> str:
    """The path of the index of the bundle `prefix`."""
    return f"{prefix}.index"


def shard_path(prefix: str, shard: int, count: int) -> str:
    """The path of data shard number `shard` of `count`."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


def parse_shard_name(name: str) -> tuple[str, int, int] | None:
    """The prefix, the shard number and the number of shards in the name of a data shard, or None."""
    match = re.fullmatch(_SHARD, name)
    return None if match is None else (match["prefix"], int(match["shard"]), int(match["count"]))


def bundle_prefix(name: str) -> str | None:
    """The prefix of the bundle that a file of this name belongs to, or None."""
    match = re.fullmatch(_MEMBER, name)
    return None if match is None else match["prefix"]


def is_member_name(name: str) -> bool:
    """Whether a file of this name is part of a bundle."""
    return bundle_prefix(name) is not None


def parse_v1_name(name: str) -> V1Name | None:
    """The parts of the name of one of several V1 files, or of the pattern for them; otherwise None."""
    match = re.fullmatch(_V1_SHARD, name)
    return None if match is None else V1Name(*match.groups())


def is_v1_shard_name(name: str) -> bool:
    """Whether the name is that of one of several files of a V1 checkpoint, or the pattern that matches them all."""
    return parse_v1_name(name) is not None


def parts_prefix(prefix: str) -> str | None:
    """The prefix with question marks that matches all parts of a save, from the name of one part; None for other names."""
    found = re.fullmatch(_PART, prefix)
    return None if found is None else f"{found['stem']}-?????-of-{found['count']}"


def parts_folder_prefix(name: str) -> str | None:
    """The prefix of the checkpoint whose parts are saved in a directory of this name, or None.

    It is `PREFIX_temp` or `PREFIX_temp_UUID` (TensorFlow python/checkpoint/functional_saver.py, python/training/saver.py).
    """
    found = re.fullmatch(_PARTS_FOLDER, name)
    return None if found is None else found["prefix"]


def part_prefixes(prefix: str) -> list[str]:
    """The prefixes of all parts that a prefix with question marks matches, existing or not; empty for other prefixes."""
    found = re.fullmatch(_PART, prefix)
    if found is None or "?" not in found["number"]:
        return []
    return [f"{found['stem']}-{number:05d}-of-{found['count']}" for number in range(int(found["count"]))]
