"""Content hashes: of each tensor, and of a whole checkpoint, whatever its layout and file format.

docs/hash.md specifies them, so that other programs can compute the same:

    tensor     = sha256(type " " dimensions joined by "," newline, elements)
    checkpoint = sha256(for each tensor, by name: u64 length of its name | its name | its hash)
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.coding import FIXED64, read_varint
from tensorbundle.dtypes import DType
from tensorbundle.errors import BundleError, CorruptionError, UnsupportedError
from tensorbundle.keys import encode_key
from tensorbundle.payloads import payload_checksum
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, attribute_key
from tensorbundle.tools.operations.inspecting.passes import flat_values, over_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.rewriting.ordered import Jobs
    from tensorbundle.tools.rewriting.ranges import OpenFiles

__all__ = ["CheckpointHash", "Deviation", "TensorHash", "compare_hashes", "hash", "parse_manifest"]

_VALUE_ENDING: Final = attribute_key("")
_LINE: Final = re.compile(r"([0-9a-f]{64})  (\S+?)\[([0-9,]*)\]  (.+)")
_WHOLE_LINE: Final = re.compile(r"([0-9a-f]{64})  checkpoint")


@dataclass(frozen=True, slots=True)
class TensorHash:
    """The hash of one tensor.

    Attributes:
        key: its key.
        dtype: TensorFlow's name of its type.
        shape: elements along each dimension.
        sha256: 64 hexadecimal digits.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {"key": self.key, "dtype": self.dtype, "shape": list(self.shape), "sha256": self.sha256}

    def __str__(self) -> str:
        """A line of a manifest; a key that is not printable, or begins with a quote, is written as in JSON."""
        key = self.key
        if not key.isprintable() or key != key.strip() or key.startswith('"'):
            key = json.dumps(key)
        return f"{self.sha256}  {self.dtype}[{','.join(map(str, self.shape))}]  {key}"


@dataclass(frozen=True, slots=True)
class CheckpointHash:
    """The hashes of a checkpoint.

    Attributes:
        checkpoint: of all `tensors` together, except the object graph; 64 hexadecimal digits.
        tensors: of each tensor, in key order.
    """

    checkpoint: str
    tensors: tuple[TensorHash, ...]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A tensor that differs from a manifest.

    Attributes:
        key: its key in the checkpoint, or in the manifest if the checkpoint has none.
        change: how the checkpoint differs from the manifest.
        expected: the hash in the manifest, or None.
        found: the hash in the checkpoint, or None.
    """

    key: str
    change: Literal["added", "removed", "dtype", "shape", "value"]
    expected: str | None
    found: str | None

    def to_json(self) -> dict[str, object]:
        """The fields as plain data."""
        return {"key": self.key, "change": self.change, "expected": self.expected, "found": self.found}


def hash(  # noqa: A001  the name of the command
    path: Path,
    patterns: Sequence[str] = (),
    *,
    jobs: Jobs = 1,
    verify: bool = True,
    progress: Callable[[int], None] | None = None,
) -> CheckpointHash:
    """The hash of each tensor that matches one of the patterns (all without patterns), and of all of them together.

    Equal for equal tensors under equal names, however they are stored: shards, order, partitions, byte order and file
    format do not matter, nor whether a name is that of an object (`dense/kernel`) or the key of its value
    (`dense/kernel/.ATTRIBUTES/VARIABLE_VALUE`).

    Args:
        path: anything that `tensorbundle.open` takes.
        patterns: as on the command line.
        jobs: the number of tensors that are read at the same time, or an executor for that.
        verify: whether checksums are checked.
        progress: told how many bytes are done.

    Raises:
        TensorNotFoundError: a pattern matches nothing.
        MissingFileError: there is no checkpoint, or a data shard is missing.
        CorruptionError: a tensor is damaged.
        UnsupportedError: tensors that share bytes, more often than is read (`MAX_REPEATS`).
    """
    with open_checkpoint(path, verify=verify) as checkpoint:
        of = partial(_of_tensor, checkpoint, verify)
        tensors = tuple(over_tensors(checkpoint, patterns, of, jobs=jobs, progress=progress))
    return CheckpointHash(_combined(tensors), tensors)


def _of_tensor(
    checkpoint: Checkpoint, verify: bool, key: str, entry: TensorEntry, files: OpenFiles
) -> TensorHash:
    digest = hashlib.sha256(f"{entry.dtype} {','.join(map(str, entry.shape))}\n".encode())
    for chunk in _elements(checkpoint, key, entry, files, verify=verify):
        digest.update(chunk)
    return TensorHash(key, entry.dtype.value, entry.shape, digest.hexdigest())


def _elements(
    checkpoint: Checkpoint, key: str, entry: TensorEntry, files: OpenFiles, *, verify: bool
) -> Iterator[bytes | memoryview]:
    """The bytes of a tensor's elements as hashed: numbers unchanged, strings and variants each after its length."""
    if entry.dtype is DType.resource:
        return
    if entry.dtype is DType.variant:
        yield from _variants(checkpoint, key, entry, verify=verify)
        return
    for chunk in flat_values(checkpoint.index, key, entry, verify=verify, files=files):
        if entry.dtype is DType.string:
            for value in chunk.tolist():
                yield FIXED64.pack(len(value))
                yield value
        else:
            yield chunk.view("u1").data


def _variants(
    checkpoint: Checkpoint, key: str, entry: TensorEntry, *, verify: bool
) -> Iterator[bytes | memoryview]:
    if entry.slices:
        raise UnsupportedError("a partitioned variant", path=checkpoint.prefix, key=key)
    payload = checkpoint.shards.payload(encode_key(key), entry)
    try:
        if verify:
            checksum = payload_checksum(
                entry.dtype, entry.elements, entry.nbytes, big_endian=checkpoint.index.header.big_endian
            )
            checksum.update(payload)
            if checksum.finish() != entry.crc32c:
                raise CorruptionError("its checksum is wrong; 'tensorbundle verify' looks for the cause")
        pos = 0
        for _ in range(entry.elements):
            size, pos = read_varint(payload, pos)
            if size > len(payload) - pos:
                raise CorruptionError(f"a variant of {size} bytes, {len(payload) - pos} are left")
            yield FIXED64.pack(size)
            yield payload[pos : pos + size]
            pos += size + 4
    except CorruptionError as error:
        raise error.locate(path=checkpoint.prefix, key=key) from None


def _combined(tensors: Iterable[TensorHash]) -> str:
    digest = hashlib.sha256()
    named = ((encode_key(_name(each.key)), each.sha256) for each in tensors if each.key != OBJECT_GRAPH_KEY)
    for name, sha256 in sorted(named):
        digest.update(FIXED64.pack(len(name)) + name + bytes.fromhex(sha256))
    return digest.hexdigest()


def _name(key: str) -> str:
    return key.removesuffix(_VALUE_ENDING)


def parse_manifest(text: str, path: str) -> CheckpointHash:
    """The hashes in the output of `tensorbundle hash`, with or without `--json`; `checkpoint` is empty if it has none.

    Raises:
        BundleError: a line in neither form.
    """
    tensors = []
    whole = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            if line.startswith("{"):
                fields = json.loads(line)
                if "checkpoint" in fields:
                    whole = str(fields["checkpoint"])
                    continue
                shape = tuple(int(size) for size in fields["shape"])
                tensors.append(
                    TensorHash(str(fields["key"]), str(fields["dtype"]), shape, str(fields["sha256"]))
                )
                continue
        except (ValueError, KeyError, TypeError, RecursionError):
            found = None
        else:
            total = _WHOLE_LINE.fullmatch(line)
            if total:
                whole = total[1]
                continue
            found = _LINE.fullmatch(line)
        if found is None:
            raise BundleError(f"line {number} is not one that 'tensorbundle hash' prints", path=path)
        shape = tuple(map(int, found[3].split(","))) if found[3] else ()
        tensors.append(TensorHash(_unquoted(found[4]), found[2], shape, found[1]))
    if not tensors and not whole:
        raise BundleError("an empty manifest: 'tensorbundle hash CKPT' prints one", path=path)
    return CheckpointHash(whole, tuple(tensors))


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def compare_hashes(
    expected: CheckpointHash, found: CheckpointHash, *, partial: bool = False
) -> list[Deviation]:
    """How hashes of a checkpoint differ from those in a manifest, in key order; nothing if all are equal.

    The object graph is compared if both have one. With `partial`, tensors that only the manifest has are ignored.
    """
    before, after = _by_name(expected), _by_name(found)
    if OBJECT_GRAPH_KEY not in before or OBJECT_GRAPH_KEY not in after:
        before.pop(OBJECT_GRAPH_KEY, None)
        after.pop(OBJECT_GRAPH_KEY, None)
    out = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            out.append(Deviation(new.key, "added", None, new.sha256))
        elif new is None and old is not None and not partial:
            out.append(Deviation(old.key, "removed", old.sha256, None))
        elif old is not None and new is not None and old.sha256 != new.sha256:
            kind: Literal["dtype", "shape", "value"] = "value"
            if old.dtype != new.dtype:
                kind = "dtype"
            elif old.shape != new.shape:
                kind = "shape"
            out.append(Deviation(new.key, kind, old.sha256, new.sha256))
    return out


def _by_name(hashes: CheckpointHash) -> dict[str, TensorHash]:
    return {_name(each.key): each for each in hashes.tensors}
