"""Checkpoints that hypothesis makes up, written by TensorFlow's save ops and by us, to be held against each other."""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import write_bundle
from support.contents import any_bits, content
from support.tensorflow import QUANTISED, joined_by_tensorflow, save_raw, tensor, tf
from tensorbundle.boxes import whole_box
from tensorbundle.coding import crc32c, encode_varint, mask
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.keys import decode_key
from tensorbundle.slices import WHOLE
from tensorbundle.v1.index import whole_slice, write_v1
from tensorbundle.v1.saved_slices import SavedTensor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.contents import Tensor
    from tensorbundle.boxes import Box

MAX_JOINED_RANK = 8  # kTensorSliceMaxRank: of more dimensions, TensorFlow dies putting slices together


class Saved(NamedTuple):
    """A tensor that is to be saved.

    Attributes:
        dtype: its type.
        values: of a quantised type as plain integers; of variants, which are lists of numbers, the numbers of each.
        slices: the pieces that are saved of it; empty for the whole.
    """

    dtype: DType
    values: np.ndarray
    slices: tuple[tb.TensorSlice, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape[:1] if self.dtype is DType.variant else self.values.shape

    @property
    def partitioned(self) -> bool:
        """Whether the index lists slices: one that is all of the tensor is none."""
        return bool(self.slices) and self.slices[0].shape(self.shape) != self.shape

    @property
    def complete(self) -> bool:
        """Whether every element is saved."""
        sizes = [math.prod(part.shape(self.shape)) for part in self.slices]
        return not self.slices or sum(sizes) == math.prod(self.shape)

    @property
    def joined(self) -> bool:
        """Whether TensorFlow reads the whole tensor."""
        return not self.partitioned or (self.complete and joined_by_tensorflow(self.dtype))

    def described(self, box: Box | None = None) -> Tensor:
        """Type, shape and content of a box of it."""
        values = self.values if box is None else self.values[box]
        return self.dtype.value, values.shape, content(values)


@dataclass(frozen=True)
class Contents:
    """A checkpoint that is to be written.

    Attributes:
        tensors: by name.
        shards: for each data shard, in order, what lies in it: a name, and the number of the slice.
    """

    tensors: dict[bytes, Saved]
    shards: list[list[tuple[bytes, int]]]

    def __repr__(self) -> str:
        shown = {
            name if len(name) < 80 else f"{name[:8]!r}, {len(name)} bytes": each
            for name, each in self.tensors.items()
        }
        return f"Contents({shown}, {[[number for _, number in shard] for shard in self.shards]})"

    def pieces(self, shard: int) -> Iterator[tuple[bytes, Saved, tb.TensorSlice | None, np.ndarray]]:
        """What lies in one data shard: name, tensor, slice, and the slice's values."""
        for name, number in self.shards[shard]:
            saved = self.tensors[name]
            part = saved.slices[number] if saved.slices else None
            yield name, saved, part, saved.values if part is None else saved.values[part.box(saved.shape)]

    def together(self) -> Contents:
        """The same in one data shard."""
        return replace(self, shards=[[piece for shard in self.shards for piece in shard]])

    def plain(self) -> Contents:
        """The same without slices that are all of a tensor."""
        tensors = self.tensors.items()
        whole = {name: each if each.partitioned else each._replace(slices=()) for name, each in tensors}
        return replace(self, tensors=whole)

    def saves(self, shard: int) -> Iterator[tuple[bytes, str, object]]:
        """The same as a save op takes it: name, shape and slice, tensor."""
        for name, saved, part, values in self.pieces(shard):
            shape = " ".join(map(str, saved.shape))
            yield name, "" if part is None else f"{shape} {part}", _tensor(saved.dtype, values)


def _tensor(dtype: DType, values: np.ndarray) -> object:
    if dtype is not DType.variant:
        return tensor(values, dtype)
    lists = [
        tf.raw_ops.TensorListFromTensor(tensor=each, element_shape=tf.constant([], tf.int32))
        for each in values
    ]
    return tf.stack(lists)


# Names: TensorFlow takes any bytes but none at all.
_words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
_scopes = st.lists(st.sampled_from(["a", "b", "w:0", ".", "_", "part_0", "Adam"]), min_size=1, max_size=4)
_units = st.sampled_from([b"\0", b"\x01", b"\x02", b"\x7f", b"\x80", b"\xff", b"a", b"\n", b":0"])
_awkward = st.lists(_units, min_size=1, max_size=6).map(b"".join)
_ends = st.text(st.characters(codec="utf-8"), max_size=2)
_long = st.builds(lambda size, end: b"k" * size + end.encode(), st.integers(100, 9000), _ends)
_sizes = st.sampled_from(
    [262_100, 524_260, 524_288, 600_000]
)  # around what begins another block of the index
_unit = st.sampled_from([b"k", b"k", b"k", b"\xff"])
_longer = st.builds(lambda unit, size, end: unit * size + end, _unit, _sizes, st.binary(max_size=2))
texts = st.one_of(_words.map(str.encode), _scopes.map("/".join).map(str.encode), _long)
names = st.one_of(
    texts, texts, texts, _awkward, st.binary(min_size=1, max_size=12), st.one_of(_long, _longer)
)
shapes = st.one_of(
    st.lists(st.integers(0, 4), max_size=4),
    st.lists(st.integers(1, 6), max_size=3),
    st.lists(st.integers(1, 2), min_size=5, max_size=10),
    st.just([3000]),
).map(tuple)
low_shapes = shapes.filter(lambda shape: len(shape) <= MAX_JOINED_RANK)


@st.composite
def values_of(draw, dtype, shape):
    """An array of any values of a type."""
    if dtype is not DType.string:
        return any_bits(dtype, shape, draw(st.integers(0, 2**32 - 1)))
    count = math.prod(shape)
    several = draw(st.lists(st.binary(max_size=9), min_size=1, max_size=8))
    if draw(st.integers(0, 19)) == 0:
        several.append(b"x" * draw(st.sampled_from([127, 128, 16_384, 100_000])))
    array = np.empty(count, object)
    array[:] = [several[number % len(several)] for number in range(count)]
    return array.reshape(shape)


@st.composite
def slices_of(draw, shape):
    """Slices of a tensor, in any order, cut again and again; now and then one is missing. Empty if there are none."""
    boxes = [whole_box(shape)]
    for _ in range(draw(st.integers(0, 4))):
        number, axis = draw(st.integers(0, len(boxes) - 1)), draw(st.integers(0, len(shape) - 1))
        low, high = boxes[number][axis].start, boxes[number][axis].stop
        if high - low > 1:
            box, at = boxes.pop(number), draw(st.integers(low + 1, high - 1))
            boxes += [(*box[:axis], slice(*ends), *box[axis + 1 :]) for ends in ((low, at), (at, high))]
    if len(boxes) > 1 and draw(st.integers(0, 9)) == 0:
        boxes.pop()
    return tuple(
        tb.TensorSlice(tuple(_extent(draw, each, size) for each, size in zip(box, shape, strict=True)))
        for box in draw(st.permutations(boxes))
    )


def _extent(draw, part, size):
    """The part of a dimension; all of it may be said in two ways, unless it is nothing."""
    if (part.start, part.stop) == (0, size) and (size == 0 or draw(st.booleans())):
        return 0, WHOLE
    return part.start, part.stop - part.start


@st.composite
def saved(draw, dtypes, shapes=shapes):
    """A tensor of one of these types, of some of them in slices."""
    dtype = draw(st.sampled_from(dtypes))
    if dtype is DType.variant:
        return Saved(dtype, any_bits(DType.float32, (draw(st.integers(1, 2)), 2), 1))
    shape = draw(shapes)
    values = draw(values_of(dtype, shape))
    cut = 0 < len(shape) <= MAX_JOINED_RANK and draw(st.booleans())
    return Saved(dtype, values, draw(slices_of(shape)) if cut else ())


@st.composite
def contents(draw, dtypes, max_shards=3, names=names, shapes=shapes):
    """A checkpoint of tensors of these types, in one or several data shards."""
    tensors = draw(st.dictionaries(names, saved(dtypes, shapes), min_size=1, max_size=6))
    order = [(name, each) for name, one in tensors.items() for each in range(max(1, len(one.slices)))]
    order = draw(st.permutations(order))
    cuts = draw(st.sets(st.integers(1, len(order)), max_size=max_shards - 1)) - {len(order)}
    places = [0, *sorted(cuts), len(order)]
    return Contents(tensors, [order[low:high] for low, high in itertools.pairwise(places)])


def write_theirs(prefix: Path, contents: Contents) -> str:
    """Let TensorFlow write it: each data shard by itself, several of them then merged as a sharded save does it."""
    count = len(contents.shards)
    if count == 1:
        save_raw(prefix, *contents.saves(0))
        return str(prefix)
    parts = [
        tf.raw_ops.ShardedFilename(basename=f"{prefix}_temp/part", shard=number, num_shards=count)
        for number in range(count)
    ]
    for number, part in enumerate(parts):
        save_raw(part.numpy().decode(), *contents.saves(number))
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=tf.stack(parts), destination_prefix=str(prefix))
    return str(prefix)


def write_ours(prefix: Path, contents: Contents) -> str:
    """Write it with `tensorbundle.create`."""
    with tb.create(prefix) as writer:
        for number in range(len(contents.shards)):
            if number:
                writer.start_shard()
            for name, one, part, values in contents.pieces(number):
                key = decode_key(name)
                if part is not None:
                    writer.add_slice(key, one.shape, part, values)
                elif one.dtype in QUANTISED:
                    writer.add_chunks(key, one.dtype, one.shape, [values])
                else:
                    writer.add(key, values)
    return str(prefix)


def write_their_v1(path: Path, contents: Contents) -> str:
    """Let TensorFlow write a V1 file, or one for each data shard, which go by a common pattern."""
    count = len(contents.shards)
    for number in range(count):
        names, specs, values = zip(*contents.saves(number), strict=True)
        file = f"{path}-{number:05d}-of-{count:05d}" if count > 1 else str(path)
        tf.raw_ops.SaveSlices(filename=file, tensor_names=names, shapes_and_slices=specs, data=values)
    return f"{path}-?????-of-{count:05d}" if count > 1 else str(path)


def write_our_v1(path: Path, contents: Contents) -> str:
    """Write a V1 file of the same slices, listed in the same order."""
    listed: dict[bytes, SavedTensor] = {}
    values = {}
    for name, one, part, array in contents.pieces(0):
        piece = part or whole_slice(len(one.shape))
        known = listed.get(name, SavedTensor(name, one.shape, one.dtype, ()))
        listed[name] = known._replace(slices=(*known.slices, piece))
        values[name, piece] = array
    write_v1(str(path), list(listed.values()), lambda *piece: values[piece])
    return str(path)


def write_big_endian(prefix: Path, contents: Contents) -> str:
    """Write it as TensorFlow does on a machine with the other byte order."""
    entries: dict[bytes, TensorEntry] = {}
    shards = []
    for number in range(len(contents.shards)):
        data = bytearray()
        for name, one, part, values in contents.pieces(number):
            payload, crc = _big_endian(one.dtype, values)
            entry = TensorEntry(one.dtype, values.shape, len(payload), number, len(data), crc)
            data += payload
            if not one.partitioned:
                entries[name] = entry
                continue
            owner = entries.get(name, TensorEntry(one.dtype, one.shape, 0, number))
            entries[name] = owner._replace(slices=(*owner.slices, part))
            entries[part.key(name)] = entry
        shards.append(bytes(data))
    return write_bundle(prefix, entries, shards, BundleHeader(len(shards), big_endian=True))


def _big_endian(dtype: DType, values: np.ndarray) -> tuple[bytes, int]:
    """The bytes of a tensor, and their checksum."""
    if dtype is not DType.string:
        width = dtype.swap_width
        data = np.frombuffer(values.tobytes(), f"<u{width}").astype(f">u{width}").tobytes()
        return data, crc32c(data)
    strings = values.ravel().tolist()
    lengths = crc32c(b"".join(struct.pack(">I", len(each)) for each in strings))
    stored = struct.pack(">I", mask(lengths))
    data = b"".join(encode_varint(len(each)) for each in strings) + stored + b"".join(strings)
    return data, crc32c(b"".join(strings), crc32c(stored, lengths))
