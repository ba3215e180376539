"""A summary of a checkpoint, in one screen: `info`."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tensorbundle.checkpoint import open_checkpoint
from tensorbundle.coding import LEN, VARINT, fields, read_varint
from tensorbundle.errors import BundleError, CorruptionError
from tensorbundle.index import BundleIndex
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, attribute_key
from tensorbundle.storage import store_of
from tensorbundle.storage.paths import absolute, basename, dirname, join
from tensorbundle.tools.keras.lost import left_out_by_keras_3, variables_text
from tensorbundle.tools.operations.explaining.catalogue import cause_line
from tensorbundle.tools.operations.inspecting.hints import Tensors, hints
from tensorbundle.tools.operations.inspecting.layout import Layout
from tensorbundle.tools.optimizers.classes import class_names
from tensorbundle.tools.optimizers.finding import Optimizers, names_in_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tensorbundle.checkpoint import Checkpoint, Path
    from tensorbundle.entries import TensorEntry
    from tensorbundle.index import Index
    from tensorbundle.tools.optimizers.optimizer import Optimizer

__all__ = ["Info", "dead_bytes", "info", "info_of"]

_META_BYTES: Final = 4 << 20  # of a graph's file, to find the version in
_KINDS: Final = {"v1": "V1"}  # of file formats; others are called as they are
# Fields of tensorflow/core/protobuf/meta_graph.proto and saved_model.proto.
_META_INFO, _TENSORFLOW_VERSION, _META_GRAPHS = 1, 5, 2


@dataclass(frozen=True, slots=True)
class Info:
    """A summary of a checkpoint.

    Attributes:
        prefix: its path prefix.
        kind: "TF1" if it is name-based, "TF2" if object-based, "SavedModel" in a SavedModel, "V1" in the old file
            format, else the name of the file format.
        tensors: how many, partitioned ones counted once.
        parameters: their elements; strings and variants, such as the object graph, do not count.
        parameters_without_optimizer: the same without the state of optimizers, step and save counters.
        optimizer: the name of the optimizer's class ("Adam"), "unknown" if it can't be determined, or None without one.
        step: the number of steps that it was trained for, or None if that is not stored or can't be read.
        dtypes: how many tensors there are of each type, the most frequent first.
        bytes: of all tensors.
        shards: how many data shards, or V1 files, there are.
        dead_bytes: bytes in data shards that no tensor refers to; None if a data shard is missing or there are none.
        written_by: the version of TensorFlow that wrote it, or the kind of its root object; None if both are unknown.
        notes: facts that could not be determined, with reasons; and tensors that the writer left out.
    """

    prefix: str
    kind: str
    tensors: int
    parameters: int
    parameters_without_optimizer: int
    optimizer: str | None
    step: int | None
    dtypes: dict[str, int]
    bytes: int
    shards: int
    dead_bytes: int | None
    written_by: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The fields as plain data, without `written_by` and `notes`."""
        names = [each for each in self.__slots__ if each not in ("written_by", "notes")]
        return {each: getattr(self, each) for each in names}


def info(path: Path) -> Info:
    """The summary of a checkpoint. Reads the index, the object graph and the step; no other tensor.

    Raises:
        MissingFileError: there is no checkpoint.
        CorruptionError: its index is damaged.
    """
    with open_checkpoint(path) as checkpoint:
        return info_of(checkpoint, dict(checkpoint.entries()))


def info_of(checkpoint: Checkpoint, entries: Mapping[str, TensorEntry]) -> Info:
    """The summary of an open checkpoint, whose entries are known; otherwise like `info`."""
    optimizers = Optimizers()
    names: dict[str, str] = {}  # by key
    notes = []
    root = optimizer = None
    try:
        graph = checkpoint.object_graph
        names = {key: key for key in entries} if graph is None else names_in_graph(graph)
        optimizers = Optimizers.of(graph, {key: entry.shape for key, entry in entries.items()})
        if graph is not None:
            root = hints(checkpoint, graph, Tensors(entries), [graph.root]).get(graph.root)
            lost = left_out_by_keras_3(graph, optimizers)
            if lost:
                notes.append(cause_line("left-out-layers", variables=variables_text(lost)))
    except (BundleError, OSError) as error:
        optimizer = "unknown"
        notes.append(f"objects and optimizers are unknown: {error}")
    state = optimizers.state
    steps = _steps(names, optimizers.found)
    counters = {attribute_key(SAVE_COUNTER), *steps}
    numbers = {key: entry for key, entry in entries.items() if entry.dtype.itemsize}
    dead = None
    try:
        dead = dead_bytes(checkpoint.index)
    except (BundleError, OSError) as error:
        notes.append(f"dead bytes are not known: {error}")
    dtypes = Counter(str(entry.dtype) for entry in entries.values())
    return Info(
        prefix=checkpoint.prefix,
        kind=_kind(checkpoint, entries),
        tensors=len(entries),
        parameters=sum(entry.elements for entry in numbers.values()),
        parameters_without_optimizer=sum(
            entry.elements for key, entry in numbers.items() if key not in state and key not in counters
        ),
        optimizer=", ".join(class_names(optimizers.found, names)) or ("unknown" if state else optimizer),
        step=next((step for key in steps if (step := _scalar(checkpoint, key, entries)) is not None), None),
        dtypes=dict(dtypes.most_common()),
        bytes=sum(entry.nbytes for entry in entries.values()),
        shards=checkpoint.num_shards,
        dead_bytes=dead,
        written_by=_written_by(checkpoint.prefix) or root,
        notes=tuple(notes),
    )


def _kind(checkpoint: Checkpoint, entries: Mapping[str, TensorEntry]) -> str:
    file_format = checkpoint.index.file_format
    if not checkpoint.index.is_bundle:
        return _KINDS.get(file_format, file_format)
    if _saved_model(checkpoint.prefix) is not None:
        return "SavedModel"
    return "TF2" if OBJECT_GRAPH_KEY in entries else "TF1"


def _saved_model(prefix: str) -> str | None:
    """The path of the `saved_model.pb` whose variables these are, or None."""
    directory = dirname(absolute(prefix))
    path = join(dirname(directory), "saved_model.pb")
    return path if basename(directory) == "variables" and store_of(path).is_file(path) else None


def dead_bytes(index: Index) -> int | None:
    """Bytes in the data shards that no entry refers to; None if there are no data shards.

    Raises:
        MissingFileError: a data shard is missing.
    """
    if not isinstance(index, BundleIndex):
        return None
    ranges = defaultdict(list)
    for key, entry in index.raw_entries():
        if not entry.slices:
            ranges[entry.shard].append((key, entry.offset, entry.nbytes))
    total = 0
    for shard in range(index.header.num_shards):
        with index.store.open(index.shard_path(shard)) as file:
            total += Layout.of(ranges[shard], file.size).dead_bytes
    return total


def _steps(names: Mapping[str, str], optimizers: list[Optimizer]) -> list[str]:
    """The keys of numbers of steps, the most reliable first."""
    found = [each.iterations for each in optimizers if each.iterations is not None]
    found += [key for key, name in names.items() if name == "global_step"]
    found += [key for key, name in names.items() if name.endswith("/global_step")]
    return list(dict.fromkeys(found))


def _scalar(checkpoint: Checkpoint, key: str, entries: Mapping[str, TensorEntry]) -> int | None:
    """The value of a scalar integer; None if it is not one or can't be read."""
    entry = entries.get(key)
    if entry is None or entry.shape or entry.slices:
        return None
    if not entry.dtype.is_integer or entry.dtype.is_quantized:
        return None
    try:
        return int(checkpoint.read(key, copy=True))
    except (BundleError, OSError):
        return None


def _written_by(prefix: str) -> str | None:
    """The version of TensorFlow in the graph beside a checkpoint: a `.meta` file or a SavedModel."""
    saved_model = _saved_model(prefix)
    for path, in_saved_model in ((f"{prefix}.meta", False), (saved_model, True)):
        if path is None:
            continue
        try:
            with store_of(path).open(path) as file:
                version = _version_in(memoryview(file.read(0, min(file.size, _META_BYTES))), in_saved_model)
        except (BundleError, OSError):
            continue
        if version:
            return f"TensorFlow {version}"
    return None


def _version_in(head: memoryview, in_saved_model: bool) -> str | None:
    """`meta_info_def.tensorflow_version` in the start of an encoded MetaGraphDef, or of the first one in a SavedModel.

    Raises:
        CorruptionError: not such a message.
    """
    start = _inside(head, 0, _META_GRAPHS)[0] if in_saved_model else 0
    for number, _, value in fields(head, *_inside(head, start, _META_INFO)):
        if number == _TENSORFLOW_VERSION and isinstance(value, memoryview):
            return bytes(value[:100]).decode("ascii", "replace")
    return None


def _inside(head: memoryview, pos: int, wanted: int) -> tuple[int, int]:
    """The start and end of the first field with the number `wanted`, in a message whose end may be missing."""
    while pos < len(head):
        tag, pos = read_varint(head, pos)
        number, wire_type = tag >> 3, tag & 7
        size, pos = read_varint(head, pos)
        if wire_type == LEN:
            if number == wanted:
                return pos, min(pos + size, len(head))
            pos += size
        elif wire_type != VARINT:
            break
    raise CorruptionError("no such field")
