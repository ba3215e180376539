"""V1 checkpoints made by hand, right or wrong, out of the messages that TensorFlow declares.

The messages are those of TensorFlow core/util/saved_tensor_slice.proto and core/framework/tensor.proto, with the
fields that V1 files have. `UnpackedTensor` means the same as `TensorProto`, and each number is a field of its own.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import tensorbundle as tb
from support.bundles import table_bytes
from tensorbundle import coding
from tensorbundle.block import BlockBuilder
from tensorbundle.dtypes import DType
from tensorbundle.proto import checkpoint_pb2
from tensorbundle.table import BlockHandle, Footer
from tensorbundle.v1.index import whole_slice
from tensorbundle.v1.saved_slices import SavedTensor, encode_meta, encode_slice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    Piece = tuple[str, np.ndarray]

_VALUES = [
    *(("float_val", 5, "float"), ("double_val", 6, "double"), ("int_val", 7, "int32"), ("string_val", 8, "bytes")),
    *(("scomplex_val", 9, "float"), ("int64_val", 10, "int64"), ("bool_val", 11, "bool")),
    *(("dcomplex_val", 12, "double"), ("half_val", 13, "int32")),
    *(("uint32_val", 16, "uint32"), ("uint64_val", 17, "uint64")),
]  # fmt: skip
_REPEATED = {"tensor", "values", "slices", *(name for name, _, _ in _VALUES)}
_MESSAGES = {
    "TensorProto": _VALUES,
    "UnpackedTensor": _VALUES,
    "SavedSliceMeta": [
        *(("name", 1, "bytes"), ("shape", 2, ".TensorShapeProto"), ("type", 3, "int32")),
        ("slices", 4, ".TensorSliceProto"),
    ],
    "SavedTensorSliceMeta": [("tensor", 1, ".SavedSliceMeta"), ("versions", 2, ".VersionDef")],
    "SavedSlice": [("name", 1, "bytes"), ("slice", 2, ".TensorSliceProto"), ("data", 3, ".TensorProto")],
    "SavedTensorSlices": [("meta", 1, ".SavedTensorSliceMeta"), ("data", 2, ".SavedSlice")],
}


def _classes() -> dict[str, Any]:
    known = checkpoint_pb2.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(
        name="tests/v1_files.proto", package=known.package, syntax="proto3", dependency=[known.name]
    )
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = declared.field.add(name=name, number=number, label=3 if name in _REPEATED else 1)
            if kind.startswith("."):
                field.type, field.type_name = field.TYPE_MESSAGE, f".{known.package}{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
            if message == "UnpackedTensor" and kind != "bytes":
                field.options.packed = False
    pool = descriptor_pool.Default()
    found = pool.AddSerializedFile(file.SerializeToString()).message_types_by_name
    return {name: message_factory.GetMessageClass(found[name]) for name in _MESSAGES}


_CLASSES = _classes()
TensorProto, UnpackedTensor = _CLASSES["TensorProto"], _CLASSES["UnpackedTensor"]
SavedTensorSlices = _CLASSES["SavedTensorSlices"]

# The list of each type that has one.
FIELD_OF = {
    "float32": "float_val",
    "float64": "double_val",
    **dict.fromkeys(("int32", "int16", "int8", "uint8", "uint16"), "int_val"),
    **dict.fromkeys(("qint32", "qint16", "qint8", "quint8", "quint16"), "int_val"),
    "string": "string_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "int64": "int64_val",
    "bool": "bool_val",
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


def listed(array: np.ndarray) -> list[Any]:
    """The elements as the message's list has them: halves by their bits, complex numbers in two parts."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.name in ("float16", "bfloat16"):
        flat = flat.view(np.uint16)
    if flat.dtype.kind == "c":
        flat = flat.view(f"<f{flat.itemsize // 2}")
    return flat.tolist()


def slice_of(spec: str | None, rank: int) -> tb.TensorSlice:
    """The slice that "0,4:-" means; None is all of a tensor."""
    return whole_slice(rank) if spec is None else tb.TensorSlice.parse_spec(spec)


def item(
    name: str, array: np.ndarray, spec: str | None = None, *, dtype: str | None = None
) -> tuple[bytes, bytes]:
    """The key and the record of one slice, by default of a whole tensor."""
    part = slice_of(spec, array.ndim)
    kind = DType.of(array.dtype) if dtype is None else DType[dtype]
    return part.key(name.encode()), encode_slice(name.encode(), part, kind, array)


def saved(name: str, dtype: str, shape: Sequence[int], specs: Iterable[str | None] = (None,)) -> SavedTensor:
    """What the meta record says of a tensor with these slices."""
    slices = tuple(slice_of(spec, len(shape)) for spec in specs)
    return SavedTensor(name.encode(), tuple(shape), DType[dtype], slices)


def v1_bytes(tensors: Iterable[SavedTensor] | bytes, items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A file of exactly this meta record, also encoded already, and these records."""
    meta = tensors if isinstance(tensors, bytes) else encode_meta(tensors)
    return table_bytes(sorted([(b"", meta), *items]))


def whole_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of these tensors, none of them partitioned."""
    tensors = [saved(name, DType.of(array.dtype), array.shape) for name, array in sorted(arrays.items())]
    return v1_bytes(tensors, [item(name, array) for name, array in arrays.items()])


def write_v1_file(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    path.write_bytes(whole_bytes(arrays))
    return str(path)


def snappy_table(items: Iterable[tuple[bytes, bytes]], entries: int = 1) -> bytes:
    """A table whose data blocks, of so many entries, are compressed, as TensorFlow reads and does not write it."""
    out = bytearray()
    index = BlockBuilder(1)

    def put(block: bytes, compression: int) -> BlockHandle:
        stored = block + bytes([compression])
        handle = BlockHandle(len(out), len(block))
        out.extend(stored + struct.pack("<I", coding.mask(coding.crc32c(stored))))
        return handle

    ordered = sorted(items)
    for start in range(0, len(ordered), entries):
        block = BlockBuilder(16)
        for key, value in ordered[start : start + entries]:
            block.add(key, value)
        index.add(key, put(bytes(cramjam.snappy.compress_raw(block.finish())), 1).encode())
    metaindex, handle = put(BlockBuilder(1).finish(), 0), put(index.finish(), 0)
    return bytes(out) + Footer(metaindex, handle).encode()
