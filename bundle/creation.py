"""Creating a checkpoint from arrays, strings and streams of chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from tensorbundle.arrays import np
from tensorbundle.dtypes import DType
from tensorbundle.entries import TensorEntry
from tensorbundle.errors import ArgumentError, BundleError, ConflictError, UnsupportedError
from tensorbundle.keys import encode_key
from tensorbundle.payloads import encode_strings
from tensorbundle.storage import store_of
from tensorbundle.writer import BundleWriter, append_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike

    from tensorbundle.checkpoint import Path
    from tensorbundle.dtypes import Array
    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.slices import TensorSlice
    from tensorbundle.storage.protocols import Store, WritableFile

_BYTE_FORMATS: Final = ("B", "b", "c")
__all__ = ["CheckpointWriter", "as_array", "create", "store_strings"]


def create(
    prefix: Path,
    *,
    overwrite: bool = False,
    shards: int = 1,
    store: Store | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> CheckpointWriter:
    """A writer for a new checkpoint, to be used in a `with` block; the checkpoint appears if the block ends without an error.

    Args:
        prefix: the checkpoint's path prefix; the directory must exist.
        overwrite: whether an existing checkpoint may be replaced; it stays unchanged until the block ends.
        shards: how many data shards `start_shard` begins, the first included. It must be given for URLs, as the names of
            data shards contain it.
        store: the store to write to, if the prefix does not determine it.
        storage_options: options for the library that opens a URL.

    Raises:
        ConflictError: the checkpoint exists, and `overwrite` is not set.
        MissingFileError: the directory does not exist.
    """
    path = str(prefix)
    return CheckpointWriter(
        path, overwrite=overwrite, shards=shards, store=store or store_of(path, storage_options)
    )


class CheckpointWriter:
    """Writes a checkpoint: tensors are stored in the order they are added, as TensorFlow writes them."""

    def __init__(
        self, prefix: str, *, overwrite: bool = False, shards: int = 1, store: Store | None = None
    ) -> None:
        """See `create`."""
        self._bundle = BundleWriter(prefix, overwrite=overwrite, store=store, shards=shards)
        try:
            self._number, self._shard = self._bundle.add_shard()
        except BaseException:
            self._bundle.abort()
            raise
        self._partitioned: dict[str, TensorEntry] = {}

    @property
    def prefix(self) -> str:
        """The prefix of the new checkpoint."""
        return self._bundle.prefix

    def add(self, key: str, values: ArrayLike) -> TensorEntry:
        """Add a tensor: an array, a number, or strings (bytes or text, which becomes UTF-8).

        Raises:
            ConflictError: the key exists already.
            UnsupportedError: TensorFlow has no such data type.
        """
        self._bundle.check_key(encode_key(key))
        entry = self._store(as_array(values))
        self._bundle.put(encode_key(key), entry)
        return entry

    def add_chunks(
        self,
        key: str,
        dtype: str | type | np.dtype[Any],
        shape: Iterable[int],
        chunks: Iterable[bytes | bytearray | memoryview | Array],
    ) -> TensorEntry:
        """Add a numeric tensor from an iterable of buffers with its bytes, little-endian, in C order; none is kept in memory.

        The type is a name such as `"bfloat16"`, a `DType`, or a type of NumPy. Bytes and arrays of uint8 are stored unchanged.
        Other arrays must have the declared type and little-endian elements.

        Raises:
            ConflictError: the key exists already.
            ArgumentError: an array of another type or byte order, buffers with more or fewer bytes than the shape needs,
                or a type that is not numeric.
            BundleError: no such type.
        """
        kind = _dtype(dtype)
        if not kind.itemsize:
            raise ArgumentError(f"tensors of type {kind} can't be added as chunks", path=self.prefix, key=key)
        self._bundle.check_key(encode_key(key))
        chunks = (self._declared(chunk, key, kind) for chunk in chunks)
        offset, nbytes, crc = append_bytes(self._shard, map(_as_bytes, chunks))
        entry = TensorEntry(kind, tuple(shape), nbytes, self._number, offset, crc)
        if nbytes != entry.expected_nbytes or min(entry.shape, default=0) < 0:
            raise ArgumentError(
                f"chunks of {nbytes} bytes, {kind} {list(entry.shape)} takes {entry.expected_nbytes}",
                path=self.prefix,
                key=key,
            )
        self._bundle.put(encode_key(key), entry)
        return entry

    def add_slice(self, key: str, shape: Iterable[int], part: TensorSlice, values: ArrayLike) -> None:
        """Add one slice of a partitioned tensor of the given shape; the slices are listed in the order added.

        A slice that covers the whole tensor becomes an ordinary tensor (tensor_bundle.cc, `BundleWriter::AddSlice`).

        Raises:
            ConflictError: the key exists already, or the slices differ in type or in the tensor's shape.
            ArgumentError: the values do not have the shape of the slice.
            CorruptionError: the slice is not within the shape.
        """
        full = tuple(shape)
        array = as_array(values)
        dtype = DType.of(array.dtype)
        if part.shape(full) != array.shape:
            raise ArgumentError(
                f"slice {part} of {list(full)} is not {list(array.shape)}", path=self.prefix, key=key
            )
        if part.shape(full) == full:
            self.add(key, array)
            return
        known = self._partitioned.get(key, TensorEntry(dtype, full, 0, self._number))
        if known.spec != (dtype, full):
            raise ConflictError(
                f"slice of {dtype} {list(full)}, before it {known.dtype} {list(known.shape)}",
                path=self.prefix,
                key=key,
            )
        slice_key = part.key(encode_key(key))
        self._bundle.check_key(slice_key)
        self._bundle.put(slice_key, self._store(array))
        self._partitioned[key] = known._replace(slices=(*known.slices, part))

    def add_object_graph(self, graph: ObjectGraph) -> TensorEntry:
        """Add the object graph, which TensorFlow stores last.

        Raises:
            ConflictError: the checkpoint has one already.
        """
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

        return self.add(OBJECT_GRAPH_KEY, graph.encode())

    def _declared(
        self, chunk: bytes | bytearray | memoryview | Array, key: str, kind: DType
    ) -> bytes | bytearray | memoryview | Array:
        """The chunk, which must be bytes or have elements of the declared type, little-endian."""
        if isinstance(chunk, (bytes, bytearray)) or (
            isinstance(chunk, memoryview) and chunk.format in _BYTE_FORMATS
        ):
            return chunk
        array = np.asarray(chunk)
        if array.dtype not in (np.uint8, kind.numpy.newbyteorder("<")):  # NumPy's bytes are uint8
            raise ArgumentError(
                f"a chunk of {array.dtype.str if array.dtype.byteorder == '>' else array.dtype}, the tensor is {kind}, "
                "little-endian",
                path=self.prefix,
                key=key,
            )
        return array

    def start_shard(self) -> None:
        """Begin a new data shard; tensors added from now on are stored in it."""
        self._number, self._shard = self._bundle.add_shard()

    def _store(self, array: Array) -> TensorEntry:
        dtype = DType.of(array.dtype)
        if dtype is DType.string:
            return store_strings(self._shard, self._number, array.shape, _strings(array))
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        offset, nbytes, crc = append_bytes(self._shard, [_as_bytes(little)])
        return TensorEntry(dtype, array.shape, nbytes, self._number, offset, crc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
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


def _dtype(given: str | type | np.dtype[Any]) -> DType:
    """The type that a name or a NumPy type means.

    Raises:
        ArgumentError: neither a name nor a type.
        BundleError: no type has this name.
        UnsupportedError: TensorFlow has no such type.
    """
    if isinstance(given, (type, np.dtype)):
        return DType.of(np.dtype(given))
    if not isinstance(given, str):
        raise ArgumentError(f"no data type {given!r}")
    return DType.named(given)


def as_array(values: ArrayLike) -> Array:
    """The values as an array; strings as objects, because NumPy's own string types drop trailing NUL bytes.

    Raises:
        UnsupportedError: a masked array, whose mask would be lost.
        ArgumentError: not an array, for example rows of different lengths.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise UnsupportedError("a masked array has no counterpart; fill it first")
    if isinstance(values, (str, bytes)):
        scalar = np.empty((), object)
        scalar[()] = values
        return scalar
    if isinstance(values, np.ndarray):
        return values
    try:
        array = np.asarray(values)
    except UnicodeDecodeError:  # bytes and text side by side
        return np.array(values, object)
    except (ValueError, TypeError, OverflowError) as error:
        raise ArgumentError(f"not an array: {error}") from None
    return np.array(values, object) if array.dtype.kind in "SU" else array


def store_strings(
    shard: WritableFile, number: int, shape: tuple[int, ...], values: list[bytes]
) -> TensorEntry:
    """Append a string tensor to a data shard; returns its entry."""
    head, nbytes, crc = encode_strings(values)
    offset = shard.size
    for part in (head, *values):
        shard.write(part)
    return TensorEntry(DType.string, shape, nbytes, number, offset, crc)


def _strings(array: Array) -> list[bytes]:
    out = []
    for value in array.reshape(-1).tolist():
        if not isinstance(value, (bytes, str)):
            raise ArgumentError(f"a string tensor of {type(value).__name__}, expected bytes or str")
        try:
            out.append(value.encode() if isinstance(value, str) else value)
        except UnicodeEncodeError as error:
            raise ArgumentError(f"text that is not Unicode: {error}") from None
    return out


def _as_bytes(chunk: bytes | bytearray | memoryview | Array) -> memoryview:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        view = memoryview(chunk)
        return view.cast("B") if view.contiguous else memoryview(view.tobytes())
    # Via uint8: types of ml_dtypes have no buffer format of their own.
    return np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
