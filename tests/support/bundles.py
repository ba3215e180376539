"""Bundles and tables made by hand, right or wrong, and what a directory holds afterwards."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

import tensorbundle as tb
from tensorbundle.coding import crc32c, encode_varint, mask
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.filenames import index_path, shard_path
from tensorbundle.table import TableWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


def raw(text: str) -> bytes:
    """Bytes from hex digits, with ASCII between double quotes as it is: `raw('0801 1205 "alpha"')`."""
    parts = text.split('"')
    return b"".join(part.encode() if i % 2 else bytes.fromhex(part) for i, part in enumerate(parts))


def table_bytes(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    out = bytearray()
    table = TableWriter(out.extend)
    for key, value in items:
        table.add(key, value)
    table.finish()
    return bytes(out)


def plain(dtype: str, shape: Sequence[int], data: bytes, *, offset: int = 0, shard: int = 0) -> TensorEntry:
    """The entry of a tensor with the bytes `data`."""
    return TensorEntry(DType[dtype], tuple(shape), len(data), shard, offset, crc32c(data))


def variant_payload(messages: Iterable[bytes], order: str = "<") -> tuple[bytes, int]:
    """The bytes of a variant tensor of these encoded messages, and its checksum."""
    out, crc = b"", 0
    for message in messages:
        crc = crc32c(message, crc32c(struct.pack(order + "Q", len(message)), crc))
        stored = struct.pack(order + "I", mask(crc))
        out += encode_varint(len(message)) + message + stored
        crc = crc32c(stored, crc)
    return out, crc


def write_bundle(
    prefix: Path,
    entries: Mapping[bytes, TensorEntry | bytes],
    shards: Sequence[bytes] = (),
    header: BundleHeader | bytes | None = None,
) -> str:
    """Write a bundle of exactly these entries (encoded ones as they are) and data files."""
    header = BundleHeader(max(1, len(shards))) if header is None else header
    values = {b"": header, **entries}
    raw = {key: value if isinstance(value, bytes) else value.encode() for key, value in values.items()}
    path = str(prefix)
    for number, data in enumerate(shards):
        with open(shard_path(path, number, len(shards)), "wb") as file:
            file.write(data)
    with open(index_path(path), "wb") as file:
        file.write(table_bytes(sorted(raw.items())))
    return path


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file of a directory, by name."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def read_everything(
    prefix: Path | str, **options: bool
) -> dict[str, tuple[str, tuple[int, ...], bytes | list]]:
    """Every tensor of a checkpoint as type, shape and bytes (of strings: the list), its object graph decoded too."""
    out = {}
    with tb.open(prefix, **options) as ckpt:
        for key, array in ckpt.items():
            content = array.tolist() if array.dtype == np.dtype(object) else array.tobytes()
            out[key] = (array.dtype.name, array.shape, content)
        assert ckpt.object_graph is None or len(ckpt.object_graph) > 0
    return out
