"""What checkpoints hold, in a form that compares, and checkpoints made again from what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import tensorbundle as tb
from tensorbundle.dtypes import DType
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.keys import decode_key, encode_key
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

if TYPE_CHECKING:
    from os import PathLike

    from tensorbundle.checkpoint import Checkpoint

    Content = bytes | list[bytes]
    Tensor = tuple[str, tuple[int, ...], Content]

LESS_THAN_A_BYTE = ("bool", "int4", "uint4", "float4_e2m1fn", "int2", "uint2")


def content(array: np.ndarray) -> Content:
    """The elements in C order: their bytes, or a list of byte strings."""
    return array.ravel().tolist() if array.dtype == np.dtype(object) else array.tobytes()


def our_reading(prefix: str | PathLike[str]) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, as we read it: data type, shape and content; of variants the bytes in the file."""
    with tb.open(prefix) as ckpt:
        return {
            key: (entry.dtype.value, entry.shape, _content_of(ckpt, key, entry))
            for key, entry in ckpt.entries()
        }


def _content_of(ckpt: Checkpoint, key: str, entry: tb.TensorEntry) -> Content:
    if entry.dtype is DType.variant:
        return bytes(ckpt.shards.payload(encode_key(key), entry))
    return content(ckpt[key])


def files(prefix: str | PathLike[str]) -> dict[str, bytes]:
    """The index and the data shards that it counts, by the end of their names."""
    path = str(prefix)
    with tb.open(prefix) as ckpt:
        count = ckpt.num_shards
    paths = [index_path(path), *(shard_path(path, number, count) for number in range(count))]
    out = {}
    for each in paths:
        with open(each, "rb") as file:
            out[each.removeprefix(path)] = file.read()
    return out


def assert_same_files(ours: str | PathLike[str], theirs: str | PathLike[str]) -> None:
    """Two checkpoints are the same, byte for byte; of long files, says only where they part."""
    mine, other = files(ours), files(theirs)
    assert list(mine) == list(other)
    for name, data in mine.items():
        if data != other[name]:
            size = min(len(data), len(other[name]))
            at = next((each for each in range(size) if data[each] != other[name][each]), size)
            around = slice(max(0, at - 40), at + 40)
            raise AssertionError(
                f"{name} differs at {at}: {data[around]!r}, expected {other[name][around]!r}"
            )


def as_array(tensor: Tensor) -> np.ndarray:
    """The other way round: an array of the content."""
    dtype, shape, found = tensor
    if isinstance(found, bytes):
        return np.frombuffer(found, DType[dtype].numpy).reshape(shape)
    array = np.empty(len(found), object)
    array[:] = found
    return array.reshape(shape)


def any_bits(dtype: DType, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """An array of any values that `dtype` can store, NaNs among them."""
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape, dtype=int)) * dtype.itemsize)
    narrow = dtype in LESS_THAN_A_BYTE
    array = np.frombuffer(raw, np.int8).astype(dtype.numpy) if narrow else np.frombuffer(raw, dtype.numpy)
    return array.reshape(shape)


def rebuild(source: str | PathLike[str], destination: str | PathLike[str]) -> None:
    """Write again, with `tensorbundle.create`, what `source` holds: values, slices and object graph as we read them."""
    with tb.open(source) as ckpt, tb.create(destination) as writer:
        stored = [item for item in ckpt.index.raw_entries() if not item[1].slices]
        stored.sort(key=lambda item: (item[1].shard, item[1].offset, item[1].nbytes))
        for number, (key, entry) in enumerate(stored):
            if number and entry.shard != stored[number - 1][1].shard:
                writer.start_shard()
            _add(writer, ckpt, key, entry)


def _add(writer: tb.CheckpointWriter, ckpt: Checkpoint, key: bytes, entry: tb.TensorEntry) -> None:
    name = decode_key(key)
    owner = ckpt.index.owner(key)
    if name == OBJECT_GRAPH_KEY:
        writer.add_object_graph(ckpt.object_graph)
    elif owner is not None:
        part = tb.TensorSlice.parse_key(key)[1]
        writer.add_slice(decode_key(owner), ckpt.entry(decode_key(owner)).shape, part, ckpt[name])
    elif entry.dtype in array_dtypes():
        writer.add(name, ckpt[name])
    else:
        writer.add_chunks(name, entry.dtype, entry.shape, [ckpt.shards.payload(key, entry)])


def array_dtypes() -> list[DType]:
    """The types that arrays of this installation have one to one: not quantised, and known to its ml_dtypes."""
    found = []
    for dtype in DType:
        try:
            if DType.of(dtype.numpy) is dtype:
                found.append(dtype)
        except tb.UnsupportedError:
            continue
    return found
