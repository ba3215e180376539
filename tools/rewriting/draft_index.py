"""A draft as an index: it is read as the checkpoint would be that it describes, and nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensorbundle.arrays import np
from tensorbundle.boxes import whole_box
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader
from tensorbundle.index import Index
from tensorbundle.keys import encode_key
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.storage import store_of
from tensorbundle.tools.rewriting.expressions import Constant, Stored
from tensorbundle.tools.rewriting.plan import Converted
from tensorbundle.tools.rewriting.reading import Reading
from tensorbundle.tools.rewriting.rearranging import reshaped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tensorbundle.boxes import Box
    from tensorbundle.dtypes import Array
    from tensorbundle.entries import TensorEntry
    from tensorbundle.tools.rewriting.draft import Draft
    from tensorbundle.tools.rewriting.expressions import Expression

__all__ = ["DraftIndex", "expression_of"]


class DraftIndex(Index):
    """The tensors of a draft, whole, with the object graph as one of them.

    Values are computed from the sources, which must stay open.
    """

    file_noun = "file"

    def __init__(self, draft: Draft) -> None:
        """Take what the draft is now; it may be edited afterwards."""
        super().__init__()
        self.prefix = self.path = draft.prefix
        self.file_format = draft.output.file_format
        self.store = store_of(draft.prefix)
        self.header = BundleHeader(1)
        self.attributes = draft.attributes
        self._expressions: dict[bytes, Expression] = {
            encode_key(key): tensor.expression for key, tensor in draft.tensors.items()
        }
        if draft.graph is not None:
            encoded = np.array(draft.graph.encode(), object)
            self._expressions[encode_key(OBJECT_GRAPH_KEY)] = Constant(
                encoded, "the object graph", DType.string
            )

    def expression(self, key: bytes) -> Expression:
        """The values of a tensor."""
        return self._expressions[key]

    def get(self, key: bytes) -> TensorEntry | None:
        """The entry of `key`, or None."""
        return _entry(self._expressions[key]) if key in self._expressions else None

    def raw_entries(self) -> Iterator[tuple[bytes, TensorEntry]]:
        """Every key and entry, in key order; slices are joined."""
        for key in sorted(self._expressions):
            yield key, _entry(self._expressions[key])

    def shard_path(self, shard: int) -> str:
        """The draft's source, for messages."""
        del shard
        return self.path

    def stored(self, key: bytes, entry: TensorEntry) -> None:
        """None: where values are stored, and whether they are, their expression tells."""
        del key, entry

    def values(self, key: bytes, entry: TensorEntry, box: Box | None = None) -> Array:
        """See `Index`. Each call reads and checks for itself; `expression` is for large tensors."""
        with Reading() as reading:
            values = reshaped(self._expressions[key], entry.shape)
            return values.read(whole_box(entry.shape) if box is None else box, reading)

    def close(self) -> None:
        """Nothing is open."""


def expression_of(index: Index, key: str, entry: TensorEntry) -> Expression:
    """The values of a tensor, however its index has them.

    Raises:
        CorruptionError: a slice is missing, or its type or shape contradicts the tensor's entry.
    """
    if isinstance(index, DraftIndex):
        return index.expression(encode_key(key))
    return Stored.of(index, encode_key(key), entry)


def _entry(values: Expression) -> TensorEntry:
    if isinstance(values, Stored):
        return values.entry._replace(slices=())
    return Converted.of(values).entry
