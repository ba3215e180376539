"""Opening a checkpoint for reading. `creation.py` writes one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tensorbundle.errors import BundleError, CorruptionError, RegionError, TensorNotFoundError
from tensorbundle.filenames import index_path, part_prefixes
from tensorbundle.foreign import foreign_ending, open_foreign
from tensorbundle.index import BundleIndex
from tensorbundle.keys import encode_key
from tensorbundle.locating import resolve_prefix
from tensorbundle.members import is_checkpoint
from tensorbundle.specs import shape_text
from tensorbundle.storage import store_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tensorbundle.dtypes import Array
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.proto.graph import ObjectGraph
    from tensorbundle.proto.naming import Naming
    from tensorbundle.shards import ShardReader
    from tensorbundle.storage.protocols import Store

    Path = str | os.PathLike[str]

__all__ = ["Checkpoint", "open_checkpoint", "open_index"]

# Importing NumPy takes longer than listing a checkpoint, so modules that need it are imported where they are used:
# `ShardReader` when values are read.


def open_checkpoint(
    path: Path,
    *,
    verify: bool = True,
    store: Store | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Open the checkpoint at `path` for reading. This reads the ends of the index, and no data shard.

    Args:
        path: a prefix, any file of a checkpoint, a directory with a `checkpoint` state file (its latest), a
            SavedModel directory, the file or the prefix of an old V1 checkpoint, or a directory with the parts of a save
            that were not merged (`..._temp_.../part-0000N-of-0000M`), which are read as one.
        verify: whether a tensor's checksum is checked when it is first read.
        store: the store that has the files, if the path does not determine it.
        storage_options: options for the library that opens a URL, such as `{"anon": True}`.

    Raises:
        MissingFileError: no checkpoint there; the reason lists the checkpoints that exist nearby.
        CorruptionError: not the index of a checkpoint, or a damaged one.
        UnsupportedError: the checkpoint's version is not known to this reader.
    """
    store = (store or store_of(str(path), storage_options)).remembering()
    return Checkpoint(resolve_prefix(str(path), store), verify=verify, store=store)


def open_index(prefix: str, store: Store | None = None) -> Index:
    """The index of the checkpoint `prefix`: a bundle's if one exists, otherwise a V1 checkpoint's.

    Raises:
        MissingFileError, CorruptionError, UnsupportedError: as `open_checkpoint`.
    """
    store = (store or store_of(prefix)).remembering()
    if foreign_ending(prefix) is not None and store.is_file(prefix):
        return open_foreign(prefix, store)
    if store.is_file(index_path(prefix), reading_end=True) or not is_checkpoint(prefix, store):
        return BundleIndex(prefix, store=store)
    if part_prefixes(prefix):
        from tensorbundle.parts import PartsIndex  # few saves are left unmerged

        return PartsIndex.open(prefix, store)
    from tensorbundle.v1.index import V1Index  # needs NumPy

    return V1Index(prefix, store=store)


class Checkpoint(Mapping[str, "Array"]):
    """A checkpoint, as a mapping from keys to arrays. Arrays stay valid after `close`.

    Iterating yields the keys of tensors in key order, including `_CHECKPOINTABLE_OBJECT_GRAPH`, but not the slice keys
    of partitioned tensors. `in` tests for keys; methods that read accept every name that `key_of` accepts.

    Attributes:
        prefix: the checkpoint's path prefix.
        index: the checkpoint's index, the layer below.
    """

    def __init__(
        self, prefix: str, *, verify: bool = True, store: Store | None = None, index: Index | None = None
    ) -> None:
        """Open the bundle `prefix`, or take an index; see `open_checkpoint` for other kinds of paths."""
        self.prefix = prefix
        self.index = open_index(prefix, store) if index is None else index
        self._verify = verify
        self._reader: ShardReader | None = None
        self._keys: list[str] | None = None
        self._graph: ObjectGraph | None = None
        self._naming: Naming | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Checkpoint, verify=self._verify, index=self.index), (self.prefix,)  # opened anew

    @property
    def num_shards(self) -> int:
        """The number of data shards, or of files in the V1 format."""
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
        if not isinstance(key, str):
            return False
        raw = encode_key(key)
        return self.index.get(raw) is not None and not (
            raw[:1] == b"\0" and self.index.owner(raw) is not None
        )

    def key_of(self, name: str) -> str:
        """The key of the tensor that a name means.

        A name is a key, an object's path (`model/dense/kernel`), a full name (`dense/kernel`), or TensorFlow's spelling of
        a path (`(root).model.dense.kernel`).

        Raises:
            TensorNotFoundError: no tensor has this name; the reason lists similar names.
            ConflictError: several tensors have this name; the reason lists their keys.
            CorruptionError: the part of the index that was read is damaged.
        """
        if self.index.get(encode_key(name)) is not None:
            return name
        key = self.naming.find(name)
        if key is None:
            near = ""
            with contextlib.suppress(BundleError):  # elsewhere, and no answer to this question
                near = self.naming.near(name)
            raise TensorNotFoundError(f"no such tensor{near}", path=self.prefix, key=name)
        return key

    @property
    def naming(self) -> Naming:
        """The names of the tensors; without full names if the object graph can't be read."""
        from tensorbundle.proto.naming import Naming

        if self._naming is None:
            self._naming = Naming(self, self._graph_if_sound, self.prefix)
        return self._naming

    def _graph_if_sound(self) -> ObjectGraph | None:
        with contextlib.suppress(BundleError, OSError):
            return self.object_graph
        return None

    def entry(self, key: str) -> TensorEntry:
        """The index entry of a tensor, by any of its names.

        Raises:
            TensorNotFoundError, ConflictError: as for `key_of`.
            CorruptionError: the part of the index that was read is damaged.
        """
        return self.index.entry(self.key_of(key))

    def entries(self) -> Iterator[tuple[str, TensorEntry]]:
        """Every tensor's key and entry in key order, in one pass over the index; reads no data shard.

        Raises:
            CorruptionError: the index is damaged; entries before the damage were yielded.
        """
        for keys, entries in self.index.groups():
            texts = [key.decode("utf-8", "surrogateescape") for key in keys]  # decode_key, inlined
            yield from zip(texts, entries, strict=True)

    def read(self, key: str, region: object = None, *, copy: bool = False) -> Array:
        """The tensor `key`, or the part of it that `region` selects (a basic NumPy index, `np.s_[1000:1010]`).

        `key` may be any of the tensor's names, as for `key_of`.

        A numeric tensor, or a region of one, is returned as a read-only view of the memory map. A view is the file: its
        values change if the file is overwritten in place, and touching what was cut off ends the process. With `copy`,
        numbers are returned as a writable array of their own, whose bytes are those that were checked. A string tensor is
        an object array of bytes. A partitioned tensor is joined from its slices, a region only from the slices that
        overlap it. Reading a region of numbers does not check the tensor's checksum, which covers the whole tensor.

        Raises:
            TensorNotFoundError, ConflictError: as for `key_of`.
            MissingFileError: the data shard does not exist.
            CorruptionError: the tensor's bytes are damaged.
            UnsupportedError: the values can't be an array (variant, resource).
            RegionError: the region is not valid for the tensor's shape.
        """
        name = self.key_of(key)
        try:
            return self.shards.read(name, region, copy=copy)
        except IndexError as error:
            shape = shape_text(self.index.entry(name).shape)
            raise RegionError(
                f"the region is not valid for shape {shape}: {error}", path=self.prefix, key=name
            ) from None

    @property
    def shards(self) -> ShardReader:
        """The layer below that reads data shards."""
        if self._reader is None:
            from tensorbundle.shards import ShardReader

            self._reader = ShardReader(self.index, verify=self._verify)
        return self._reader

    @property
    def object_graph(self) -> ObjectGraph | None:
        """The object graph, decoded at the first call and shared by later ones; None if the checkpoint is name-based.

        Raises:
            CorruptionError: the object graph is damaged.
        """
        if self._graph is None:
            self._graph = self.read_object_graph()
        return self._graph

    def read_object_graph(self) -> ObjectGraph | None:
        """The object graph, decoded anew, for a caller that edits it; otherwise like `object_graph`."""
        from tensorbundle.proto.paths import OBJECT_GRAPH_KEY

        if OBJECT_GRAPH_KEY not in self:
            return None
        from tensorbundle.proto.graph import ObjectGraph

        try:
            return ObjectGraph.parse(self.shards.read_string(OBJECT_GRAPH_KEY))
        except CorruptionError as error:
            raise error.locate(path=self.prefix, key=OBJECT_GRAPH_KEY) from None

    def close(self) -> None:
        """Close the files; arrays that were read stay valid."""
        self.index.close()
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """The first tensors, as a table in a notebook."""
        from tensorbundle.markup import html_table  # for notebooks only

        rows = (
            (key, entry.dtype, shape_text(entry.shape), f"{entry.nbytes:,}") for key, entry in self.entries()
        )
        return html_table(repr(self), ("key", "dtype", "shape", "bytes"), rows, len(self))

    def __repr__(self) -> str:
        shards = f"{self.num_shards} {self.index.file_noun}{'' if self.num_shards == 1 else 's'}"
        return f"<Checkpoint {self.prefix!r}, {shards}>"
