"""Whole checkpoints: open one to read it, create one to write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import BundleError, ConflictError, CorruptionError
from tensorbundle.index import BundleIndex, decode_key, encode_key
from tensorbundle.names import resolve_prefix
from tensorbundle.payloads import encode_strings
from tensorbundle.writer import BundleWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import numpy as np
    from numpy.typing import ArrayLike

    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.shards import ShardReader
    from tensorbundle.slices import TensorSlice
    from tensorbundle.writer import ShardFile

    Array = np.ndarray[Any, np.dtype[Any]]
    Path = str | os.PathLike[str]

__all__ = ["Checkpoint", "CheckpointWriter", "create", "open_checkpoint"]

# NumPy takes longer to import than listing a checkpoint takes, so what needs it is imported where it is used:
# `ShardReader` when values are read, the object graph's protobuf code when the graph is.


def open_checkpoint(path: Path, *, verify: bool = True) -> Checkpoint:
    """The checkpoint that `path` means, open for reading. Reads the index's ends, and no data shard.

    Args:
        path: a prefix, any file of a checkpoint, a directory with a `checkpoint` state file (its latest), or a
            SavedModel directory.
        verify: whether a tensor's checksum is checked when it is first read.

    Raises:
        MissingFileError: nothing there; the reason says what there is.
        CorruptionError: not a checkpoint's index, or a damaged one.
        UnsupportedError: an old V1 file.
    """
    return Checkpoint(resolve_prefix(str(path)), verify=verify)


class Checkpoint(Mapping[str, "Array"]):
    """A checkpoint, as a mapping from keys to arrays. Arrays stay valid after `close`.

    Iterating yields the keys of tensors in key order, `_CHECKPOINTABLE_OBJECT_GRAPH` among them; the pieces of
    partitioned tensors are part of these and do not show.

    Attributes:
        prefix: its path prefix.
        index: its index, the layer below.
    """

    def __init__(self, prefix: str, *, verify: bool = True) -> None:
        """Open the bundle `prefix`; see `open_checkpoint` for other kinds of paths."""
        self.prefix = prefix
        self.index = BundleIndex(prefix)
        self._verify = verify
        self._reader: ShardReader | None = None
        self._keys: list[str] | None = None
        self._graph: ObjectGraph | None = None

    @property
    def num_shards(self) -> int:
        """How many data shards it has."""
        return self.index.header.num_shards

    def __getitem__(self, key: str) -> Array:
        return self.read(key)

    def __iter__(self) -> Iterator[str]:
        if self._keys is None:
            self._keys = [key for key, _ in self.entries()]
        return iter(self._keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.index.get(encode_key(key)) is not None

    def entry(self, key: str) -> TensorEntry:
        """What the index says of a tensor.

        Raises:
            TensorNotFoundError: no such key; the reason names near ones.
            CorruptionError: the index is damaged there.
        """
        return self.index.entry(key)

    def entries(self) -> Iterator[tuple[str, TensorEntry]]:
        """Every tensor's key and entry in key order, in one pass over the index; reads no data shard.

        Raises:
            CorruptionError: the index is damaged; what comes before the damage was yielded.
        """
        for key, entry in self.index.entries():
            yield decode_key(key), entry

    def read(self, key: str, region: object = None) -> Array:
        """The tensor `key`, or the part of it that `region` selects (a basic NumPy index, `np.s_[1000:1010]`).

        A whole numeric tensor is a read-only view of the memory map; so is a region of one. Strings come as an object
        array of bytes. A partitioned tensor is put together, and a region of one from the slices it touches. A region
        of numbers can't be checked against the tensor's checksum, which covers all of it.

        Raises:
            TensorNotFoundError: no such key.
            MissingFileError: its data shard is not there.
            CorruptionError: its bytes are damaged.
            UnsupportedError: its values can't be arrays (variant, resource).
            IndexError: `region` does not fit the shape.
        """
        return self.shards.read(key, region)

    @property
    def shards(self) -> ShardReader:
        """The layer below that reads data shards."""
        if self._reader is None:
            from tensorbundle.shards import ShardReader

            self._reader = ShardReader(self.index, verify=self._verify)
        return self._reader

    @property
    def object_graph(self) -> ObjectGraph | None:
        """The object graph, decoded afresh for the first caller and shared by later ones; None if name-based.

        Raises:
            CorruptionError: it is damaged.
        """
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

        if self._graph is None and OBJECT_GRAPH_KEY in self:
            from tensorbundle.proto.graph import ObjectGraph

            value = self.read(OBJECT_GRAPH_KEY)
            try:
                if value.dtype != object or value.size != 1:
                    raise CorruptionError(f"{value.size} values of {value.dtype}, expected one string")
                self._graph = ObjectGraph.parse(value.reshape(-1)[0])
            except CorruptionError as error:
                raise error.locate(path=self.prefix, key=OBJECT_GRAPH_KEY) from None
        return self._graph

    def close(self) -> None:
        """Let go of the files; arrays that were read stay valid."""
        self.index.close()
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Checkpoint {self.prefix!r}, {self.num_shards} data shards>"


def create(prefix: Path, *, overwrite: bool = False) -> CheckpointWriter:
    """A new checkpoint, to be used in a `with` block; nothing is visible until the block ends well.

    Args:
        prefix: its path prefix; the directory must exist.
        overwrite: whether a checkpoint of that name may be replaced; it stays as it is until the block ends.

    Raises:
        ConflictError: it exists, and `overwrite` is not set.
        MissingFileError: no such directory.
    """
    return CheckpointWriter(str(prefix), overwrite=overwrite)


class CheckpointWriter:
    """Writes a checkpoint: tensors lie in the data shard in the order they are added, as TensorFlow writes them."""

    def __init__(self, prefix: str, *, overwrite: bool = False) -> None:
        """See `create`."""
        self._bundle = BundleWriter(prefix, overwrite=overwrite)
        self._number, self._shard = self._bundle.add_shard()
        self._partitioned: dict[str, TensorEntry] = {}

    @property
    def prefix(self) -> str:
        """Where the checkpoint goes."""
        return self._bundle.prefix

    def add(self, key: str, values: ArrayLike) -> TensorEntry:
        """Add a tensor: an array, a number, or strings (bytes or text, which becomes UTF-8).

        Raises:
            ConflictError: the key is taken.
            UnsupportedError: TensorFlow has no such data type.
        """
        entry = self._store(values)
        self._bundle.put(encode_key(key), entry)
        return entry

    def add_chunks(
        self,
        key: str,
        dtype: DType | str,
        shape: Iterable[int],
        chunks: Iterable[bytes | bytearray | memoryview | Array],
    ) -> TensorEntry:
        """Add a numeric tensor from buffers that make up its bytes, little-endian, in C order; none is kept.

        Raises:
            ConflictError: the key is taken.
            ValueError: the buffers are not as many bytes as the shape needs, or the type is not numeric.
        """
        kind = DType[dtype]
        if not kind.itemsize:
            raise ValueError(f"tensors of type {kind} can't be added as chunks")
        offset, nbytes, crc = self._shard.append(map(_as_bytes, chunks))
        entry = TensorEntry(kind, tuple(shape), nbytes, self._number, offset, crc)
        if nbytes != entry.expected_nbytes:
            raise ValueError(
                f"{key!r}: chunks of {nbytes} bytes, {kind} {list(entry.shape)} takes {entry.expected_nbytes}"
            )
        self._bundle.put(encode_key(key), entry)
        return entry

    def add_slice(self, key: str, shape: Iterable[int], part: TensorSlice, values: ArrayLike) -> None:
        """Add one piece of a partitioned tensor of the given shape; its slices are listed in the order added.

        A piece that is all of the tensor becomes an ordinary tensor (tensor_bundle.cc, `BundleWriter::AddSlice`).

        Raises:
            ConflictError: the key is taken, or the pieces do not agree in type or shape.
            ValueError: the piece's shape is not the slice's.
        """
        full = tuple(shape)
        if part.shape(full) == full:
            self.add(key, values)
            return
        entry = self._store(values)
        if part.shape(full) != entry.shape:
            raise ValueError(f"{key!r}: slice {part} of {list(full)} is not {list(entry.shape)}")
        known = self._partitioned.get(key)
        if known is not None and (known.dtype, known.shape) != (entry.dtype, full):
            raise ConflictError(
                f"slice of {entry.dtype} {list(full)}, before it {known.dtype} {list(known.shape)}",
                path=self.prefix,
                key=key,
            )
        slices = (*known.slices, part) if known is not None else (part,)
        self._partitioned[key] = TensorEntry(entry.dtype, full, 0, slices=slices)
        self._bundle.put(part.key(encode_key(key)), entry)

    def add_object_graph(self, graph: ObjectGraph) -> TensorEntry:
        """Add the object graph, which TensorFlow puts last.

        Raises:
            ConflictError: there is one.
        """
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

        return self.add(OBJECT_GRAPH_KEY, graph.encode())

    def start_shard(self) -> None:
        """Let what follows go into a new data shard."""
        self._number, self._shard = self._bundle.add_shard()

    def _store(self, values: ArrayLike) -> TensorEntry:
        import numpy as np

        array = np.asarray(values)
        dtype = DType.of(array.dtype)
        if dtype is DType.string:
            return store_strings(self._shard, self._number, array.shape, _strings(array))
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        offset, nbytes, crc = self._shard.append([_as_bytes(little)])
        return TensorEntry(dtype, array.shape, nbytes, self._number, offset, crc)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._bundle.abort()
            return
        try:
            for key, entry in self._partitioned.items():
                self._bundle.put(encode_key(key), entry)
        except BundleError:
            self._bundle.abort()
            raise
        self._bundle.commit()


def store_strings(shard: ShardFile, number: int, shape: tuple[int, ...], values: list[bytes]) -> TensorEntry:
    """Append a string tensor to a data shard; the entry that describes it."""
    head, nbytes, crc = encode_strings(values)
    offset = shard.size
    for part in (head, *values):
        shard.write(part)
    return TensorEntry(DType.string, shape, nbytes, number, offset, crc)


def _strings(array: Array) -> list[bytes]:
    out = []
    for value in array.reshape(-1).tolist():
        if not isinstance(value, (bytes, str)):
            raise TypeError(f"a string tensor of {type(value).__name__}, expected bytes or str")
        out.append(value.encode() if isinstance(value, str) else value)
    return out


def _as_bytes(chunk: bytes | bytearray | memoryview | Array) -> memoryview:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        view = memoryview(chunk)
        return view.cast("B") if view.contiguous else memoryview(view.tobytes())
    import numpy as np

    # Via uint8: types of ml_dtypes have no buffer format of their own.
    return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
