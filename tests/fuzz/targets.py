"""What is fuzzed: each target makes an input of a fuzzer's bytes and gives it to the package, which must return or raise a BundleError.

Files are well-formed one level up from where they are wrong: tables have right checksums around wrong entries, archives have
members, messages have fields. `run.py` runs them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import cramjam
import numpy as np
from fuzz.choices import Choices

import tensorbundle as tb
from support.bundles import plain, read_everything, table_bytes
from support.v1_files import whole_bytes
from tensorbundle import coding
from tensorbundle.block import BlockBuilder, iterate, seek
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader, TensorEntry
from tensorbundle.payloads import decode_strings, encode_strings
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY
from tensorbundle.state import CheckpointState
from tensorbundle.table import BlockHandle, Footer
from tensorbundle.tools import verify
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.directories.inventory import survey
from tensorbundle.tools.operations.editing.rules import parse_map
from tensorbundle.tools.operations.explaining.explanation import explain
from tensorbundle.tools.operations.steps.recipe import read_recipe
from tensorbundle.tools.rewriting.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SEEDS", "TARGETS"]

_SPACE = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
_FOLDER = Path(_SPACE.name)
_PREFIX = _FOLDER / "m"
_PIECE = tb.TensorSlice(((0, 1), (0, -1)))
_ENTRIES = {
    b"a": plain("float32", [2, 2], bytes(16)),
    b"b": plain("int8", [3], bytes(3), offset=16),
    b"p": TensorEntry(DType.float32, (2, 2), 0, slices=(_PIECE, tb.TensorSlice(((1, 1), (0, -1))))),
    _PIECE.key(b"p"): plain("float32", [1, 2], bytes(8)),
}
_GRAPH = tb.ObjectGraph.from_names(["a", "b/c"]).encode()
_V1 = whole_bytes({"a": np.arange(4, dtype=np.float32), "b": np.array([b"x", b""], object)})


def _field(choices: Choices, number: int) -> bytes:
    kind = choices.one((0, 2, 2, 5, 1))
    head = coding.encode_varint(number << 3 | kind)
    if kind == 0:
        return head + coding.encode_varint(choices.number() & 2**64 - 1)
    if kind == 2:
        inner = choices.take(choices.byte() % 12) if choices.byte() % 2 else _message(choices)
        return head + coding.encode_varint(len(inner)) + inner
    return head + choices.take(8 if kind == 1 else 4).ljust(8 if kind == 1 else 4, b"\0")


def _message(choices: Choices) -> bytes:
    """A protobuf message of small field numbers, as all of TensorFlow's are."""
    fields = bytearray()
    while choices and len(fields) < 500 and choices.byte() % 4:
        fields += _field(choices, 1 + choices.byte() % 8)
    return bytes(fields)


def _read_checkpoint(path: Path) -> None:
    """Everything that reading commands do."""
    with contextlib.suppress(tb.BundleError):
        read_everything(path)
    with contextlib.suppress(tb.BundleError):
        verify(path)
    with contextlib.suppress(tb.BundleError), tb.open(path) as checkpoint:
        Draft.of(checkpoint).plan()


def table(data: bytes) -> None:
    """Blocks with right checksums around wrong contents, also compressed ones."""
    choices = Choices(data)
    out = bytearray()
    index = BlockBuilder(1)
    key = b""
    for number in range(1 + choices.byte() % 3):
        block = BlockBuilder(1 + choices.byte() % 4)
        for letter in b"abcd"[: choices.byte() % 5]:
            block.add(bytes([ord("a") + number, letter]), choices.take(choices.byte() % 20))
        content = choices.mutate(block.finish())
        compression = choices.one((0, 0, 1, 2))
        if compression == 1:
            content = choices.mutate(bytes(cramjam.snappy.compress_raw(content)))
        stored = content + bytes([compression])
        key = bytes([ord("a") + number, 0xFF])
        index.add(key, choices.mutate(BlockHandle(len(out), len(content)).encode()))
        out += stored + struct.pack("<I", coding.mask(coding.crc32c(stored)))
        with contextlib.suppress(tb.BundleError):
            iterate(content)
        with contextlib.suppress(tb.BundleError):
            seek(content, b"ab")
    handles = []
    for content in (BlockBuilder(1).finish(), index.finish()):
        handles.append(BlockHandle(len(out), len(content)))
        out += content + b"\0" + struct.pack("<I", coding.mask(coding.crc32c(content + b"\0")))
    footer = Footer(*handles).encode()
    (_FOLDER / "m.index").write_bytes(bytes(out) + (footer if choices.byte() % 8 else choices.mutate(footer)))
    (_FOLDER / "m.data-00000-of-00001").write_bytes(bytes(64))
    _read_checkpoint(_PREFIX)


def bundle(data: bytes) -> None:
    """A right table of wrong headers and entries."""
    choices = Choices(data)
    entries = {key: entry.encode() for key, entry in _ENTRIES.items()}
    for key in [*entries, b"new"]:
        kind = choices.byte() % 4
        if kind == 1:
            entries[key] = choices.mutate(entries.get(key, entries[b"a"]))
        elif kind == 2:
            entries[choices.take(3) or key] = _message(choices)
    header = BundleHeader(1).encode()
    entries[b""] = choices.mutate(header) if choices.byte() % 4 == 0 else header
    (_FOLDER / "m.index").write_bytes(table_bytes(sorted(entries.items())))
    (_FOLDER / "m.data-00000-of-00001").write_bytes(choices.rest()[:200].ljust(64, b"\0"))
    _read_checkpoint(_PREFIX)


def strings(data: bytes) -> None:
    """Lengths of strings with right checksums."""
    choices = Choices(data)
    lengths = [choices.number() & 2**64 - 1 for _ in range(choices.byte() % 6)]
    head = b"".join(map(coding.encode_varint, lengths))
    packed = b"".join(struct.pack("<I" if each < 2**32 else "<Q", each) for each in lengths)
    payload = head + struct.pack("<I", coding.mask(coding.crc32c(packed))) + choices.rest()
    for elements in {len(lengths), choices.number()}:
        with contextlib.suppress(tb.BundleError):
            decode_strings(memoryview(payload), elements)


def v1(data: bytes) -> None:
    """A V1 file with right checksums around wrong records."""
    choices = Choices(data)
    records = [(b"", _message(choices)), (b"\0a\0\1\0", _message(choices))]
    content = table_bytes(records) if choices.byte() % 2 else choices.mutate(_V1)
    (_FOLDER / "old").write_bytes(content)
    _read_checkpoint(_FOLDER / "old")


def graph(data: bytes) -> None:
    """Object graphs: messages of no particular shape, and damaged ones, in a sound checkpoint."""
    choices = Choices(data)
    encoded = choices.mutate(_GRAPH)
    if choices.byte() % 2:
        nodes = []
        for _ in range(choices.byte() % 6):
            message = _message(choices)
            nodes.append(b"\x0a" + coding.encode_varint(len(message)) + message)
        encoded = b"".join(nodes)
    head, size, crc = encode_strings([encoded])
    entry = TensorEntry(DType.string, (), size, crc32c=crc)
    entries = {b"": BundleHeader(1).encode(), OBJECT_GRAPH_KEY.encode(): entry.encode()}
    (_FOLDER / "m.index").write_bytes(table_bytes(sorted(entries.items())))
    (_FOLDER / "m.data-00000-of-00001").write_bytes(head + encoded)
    _read_checkpoint(_PREFIX)
    with contextlib.suppress(tb.BundleError):
        parsed = tb.ObjectGraph.parse(encoded)
        assert tb.ObjectGraph.parse(parsed.encode()).encode() == parsed.encode()
        list(parsed.walk())


def state(data: bytes) -> None:
    """State files."""
    choices = Choices(data)
    text = choices.mutate(b'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n')
    folder = _FOLDER / "run"
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint").write_bytes(text + choices.rest())
    with contextlib.suppress(tb.BundleError):
        encoded = CheckpointState.read(str(folder)).encode()
        (folder / "checkpoint").write_bytes(encoded)
        assert CheckpointState.read(str(folder)).encode() == encoded
    with contextlib.suppress(tb.BundleError):
        survey(str(folder))


def recipe(data: bytes) -> None:
    """Recipes."""
    choices = Choices(data)
    text = choices.mutate(b'rename = {"a/" = "b/"}\n[[steps]]\ncast = {"*" = "bfloat16"}\n')
    (_FOLDER / "r.toml").write_bytes(text + choices.rest())
    with contextlib.suppress(tb.BundleError):
        read_recipe(str(_FOLDER / "r.toml"))


def name_map(data: bytes) -> None:
    """Maps of names."""
    choices = Choices(data)
    text = choices.mutate(b'a/=b/\n"c" = d\n# e\n{"x": "y"}\n') + choices.rest()
    with contextlib.suppress(tb.BundleError):
        parse_map(text.decode("utf-8", "replace"), "map")


def text(data: bytes) -> None:
    """Texts that `explain` is given."""
    explain(data.decode("utf-8", "replace"))


def safetensors(data: bytes) -> None:
    """Safetensors files with a header of the right length."""
    choices = Choices(data)
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"x": "y"}}
    encoded = choices.mutate(json.dumps(header).encode())
    length = len(encoded) if choices.byte() % 8 else choices.number() & 2**64 - 1
    content = struct.pack("<Q", length) + encoded + choices.rest()[:100].ljust(8, b"\0")
    (_FOLDER / "m.safetensors").write_bytes(content)
    _read_checkpoint(_FOLDER / "m.safetensors")


def npz(data: bytes) -> None:
    """Archives with right checksums of wrong members, and damaged archives."""
    choices = Choices(data)
    member = io.BytesIO()
    np.lib.format.write_array(member, np.arange(6, dtype=np.int16).reshape(2, 3))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", choices.one((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr("a.npy", choices.mutate(member.getvalue()))
        archive.writestr("b/c.npy", member.getvalue())
    whole = buffer.getvalue()
    (_FOLDER / "m.npz").write_bytes(choices.mutate(whole) if choices.byte() % 2 else whole)
    _read_checkpoint(_FOLDER / "m.npz")


def hdf5(data: bytes) -> None:
    """Damaged HDF5 files; without h5py, that it is asked for."""
    if not hdf5_seed:
        with contextlib.suppress(ImportError):
            import h5py

            buffer = io.BytesIO()
            with h5py.File(buffer, "w") as file:
                file["layers/dense/vars/0"] = np.arange(6, dtype=np.float32)
                file.create_dataset("b", data=np.arange(100), compression="gzip", chunks=(10,))
            hdf5_seed.append(buffer.getvalue())
    (_FOLDER / "m.weights.h5").write_bytes(Choices(data).mutate(hdf5_seed[0] if hdf5_seed else b""))
    _read_checkpoint(_FOLDER / "m.weights.h5")


hdf5_seed: list[bytes] = []
_WORDS = [
    *(
        "ls",
        "info",
        "tree",
        "show",
        "stats",
        "graph",
        "verify",
        "hash",
        "diff",
        "check",
        "suggest",
        "explain",
    ),
    *(
        "rename",
        "cast",
        "drop",
        "extract",
        "slim",
        "set",
        "reshape",
        "transpose",
        "split",
        "concat",
        "convert",
    ),
    *("reshard", "compact", "partition", "unpartition", "merge", "average", "salvage", "latest", "manage"),
    *(
        "SRC",
        "SRC",
        "SRC",
        "OUT",
        "OUT",
        "DIR",
        "a",
        "b/c",
        "*",
        "re:.*",
        "re:(",
        "a[0:1]",
        "a=b",
        "a/=b/",
        "=",
        "*=int8",
    ),
    *(
        "a=2,2",
        "a=-1",
        "a=1,0",
        "a=2",
        "2",
        "x=1",
        "--json",
        "--long",
        "--dry-run",
        "--to",
        "tf1",
        "tf2",
        "v1",
        "v2",
    ),
    *(
        "--shards",
        "--root",
        "--map",
        "--template",
        "--against",
        "--axis",
        "1",
        "--regex",
        "(.*)=>x/\\1",
        "--overwrite",
    ),
    *(
        "--data",
        "copy",
        "--values",
        "--fail-on",
        "nan",
        "--max-to-keep",
        "prune",
        "repair",
        "clean",
        "--quick",
        "",
        "-",
    ),
]


def command_line(data: bytes) -> None:
    """Commands of known words, over a sound checkpoint: an exit status, never a traceback."""
    choices = Choices(data)
    prefix = _FOLDER / "sound/m"
    if not prefix.parent.exists():
        prefix.parent.mkdir()
        with tb.create(prefix) as writer:
            writer.add("a/.ATTRIBUTES/VARIABLE_VALUE", np.zeros((2, 2), np.float32))
            writer.add("b/c", np.array([1, 2], np.int64))
            writer.add_object_graph(tb.ObjectGraph.from_names(["a"], root="", save_counter=False))
        CheckpointState.of_prefixes(str(prefix.parent), str(prefix)).write()
    places = {"SRC": str(prefix), "OUT": str(_FOLDER / "out"), "DIR": str(prefix.parent)}
    words = [choices.one(_WORDS) for _ in range(2 + choices.byte() % 6)]
    argv = [_WORDS[choices.byte() % 32], *(places.get(word, word) for word in words)]
    errors = io.StringIO()
    before = {path.name: path.read_bytes() for path in prefix.parent.iterdir()}
    reading = "manage" not in argv
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status = main(argv)
        except SystemExit as error:
            status = error.code
    assert status in (0, 1, 2), (argv, status)
    assert "unexpected" not in errors.getvalue(), (argv, errors.getvalue())
    if reading and str(prefix) not in argv[-1:]:
        after = {path.name: path.read_bytes() for path in prefix.parent.iterdir()}
        assert {name: after.get(name) for name in before} == before, argv


_TARGETS: tuple[Callable[[bytes], None], ...] = (
    *(table, bundle, strings, v1, graph, state, recipe, name_map, text),
    *(safetensors, npz, hdf5, command_line),
)
TARGETS = {each.__name__: each for each in _TARGETS}
# What fuzzers begin with.
SEEDS = [bytes(64), bytes(range(256)), b"\1\2\3\4" * 40, os.urandom(0) + b"\xff" * 64]
