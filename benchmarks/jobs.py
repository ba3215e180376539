"""The jobs that are measured: what each contender runs, what must come out, and how far from the others we may be."""

from __future__ import annotations

import filecmp
import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from running import program

import tensorbundle as tb
from tensorbundle.proto.paths import OBJECT_GRAPH_KEY, SAVE_COUNTER, attribute_key, escape_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Measurement, Runner

OURS = "tensorbundle"
CP = ["sh", "-c", 'cp "$@" && shift $(($# - 1)) && sync "$1"/*', "sh"]


@dataclass(frozen=True)
class Job:
    """One job, done by several contenders.

    Attributes:
        name: on the command line and in results.
        title: for people.
        contenders: the command of each; those that begin with "tensorbundle" are ours.
        check: told the contender and its run, after each; must raise if the result is not what it should be.
        reach: for a contender, the most that our time may be of its time; of ours, the first is meant.
        within: for a contender, the seconds that we may take longer.
        reads: files that are read.
        volume: bytes that the job is about.
    """

    name: str
    title: str
    contenders: dict[str, list[object]]
    check: Callable[[str, Measurement], None]
    reach: dict[str, float] = field(default_factory=dict)
    within: dict[str, float] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()
    volume: int = 0


class Sources:
    """Checkpoints of random values, made when first asked for."""

    def __init__(self, runner: Runner, size: int, tensors: int) -> None:
        self.runner, self.size, self.tensors = runner, size, tensors

    def prefix(self, kind: str) -> Path:
        """One of: `name-based` and `object-based`, of 200 tensors; `many`, of tiny ones; `few`, of ten; a shape of `SHAPES`."""
        prefix = self.runner.scratch / kind / "model.ckpt"
        if prefix.parent.exists():
            return prefix
        prefix.parent.mkdir()
        if kind == "shards":
            self.runner.run(ours("reshard", self.prefix("name-based"), prefix, "--shards", 64))
        else:
            count = {"many": self.tensors, "few": 10}.get(kind, 200)
            like = "many" if kind in {"many", "few"} else kind
            self.runner.run(
                [*program("make_checkpoint"), like, prefix, "--size", self.size, "--tensors", count]
            )
        return prefix

    def files(self, kind: str) -> tuple[Path, ...]:
        """The files of such a checkpoint."""
        return tuple(sorted(self.prefix(kind).parent.iterdir()))

    def safetensors(self) -> Path:
        """The tensors of `name-based` as a safetensors file."""
        path = self.runner.scratch / "model.safetensors"
        if not path.exists():
            self.runner.run(ours("convert", self.prefix("name-based"), path))
        return path


def ours(*words: object) -> list[object]:
    """A `tensorbundle` command, as a user calls it."""
    return [sys.executable, "-m", "tensorbundle", *words]


def bytes_of(paths: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in paths)


def _help(sources: Sources) -> Job:
    def check(contender: str, run: Measurement) -> None:
        assert (contender != OURS) or "usage: tensorbundle" in run.output

    commands = {OURS: ours("--help"), "interpreter": [sys.executable, "-c", "pass"]}
    return Job("help", "`--help`", commands, check, within={"interpreter": 0.06})


def _ls(sources: Sources) -> Job:
    prefix = sources.prefix("name-based")

    def check(contender: str, run: Measurement) -> None:
        with tb.open(prefix) as ckpt:
            names = set(ckpt)
        listed = {line.split()[0] for line in run.output.splitlines()}
        assert len(names) == 200
        assert contender == "interpreter" or names <= listed

    commands = {
        OURS: ours("ls", prefix),
        "tensorflow": [*program("with_tensorflow"), "ls", prefix],
        "interpreter": [sys.executable, "-c", "pass"],
    }
    index = prefix.with_suffix(".ckpt.index")
    return Job(
        "ls", "`ls` of 200 tensors", commands, check, {"tensorflow": 1 / 30}, {"interpreter": 0.06}, (index,)
    )


def _list(sources: Sources) -> Job:
    prefix, few = sources.prefix("many"), sources.prefix("few")

    def check(contender: str, run: Measurement) -> None:
        assert run.output.splitlines()[-1] == str(sources.tensors)

    commands = {
        name: [*program(f"with_{name}"), "entries", few, prefix] for name in ("tensorbundle", "tensorflow")
    }
    title = f"open, names, types and shapes of {sources.tensors:,} tensors, in process"
    index = prefix.with_suffix(".ckpt.index")
    return Job("list", title, commands, check, {"tensorflow": 1 / 3}, reads=(index,))


def _one(sources: Sources) -> Job:
    prefix, few = sources.prefix("many"), sources.prefix("few")
    with tb.open(prefix) as ckpt:
        key = list(ckpt)[sources.tensors * 2 // 3]
        expected = zlib.crc32(ckpt[key].tobytes())

    def check(contender: str, run: Measurement) -> None:
        assert run.output.splitlines()[-1] == str(expected)

    commands = {
        name: [*program(f"with_{name}"), "one", few, prefix, key] for name in ("tensorbundle", "tensorflow")
    }
    title = f"one tensor of {sources.tensors:,}, open included, in process"
    return Job("one", title, commands, check, {"tensorflow": 1 / 100}, reads=sources.files("many"))


def _rename_many(sources: Sources) -> Job:
    prefix, target = sources.prefix("many"), sources.runner.out / "model.ckpt"

    def check(contender: str, run: Measurement) -> None:
        with tb.open(target) as ckpt:
            assert sum(key.startswith("scope/") for key in ckpt) == sources.tensors

    commands = {OURS: ours("rename", prefix, target, "/=scope/")}
    title = f"rename {sources.tensors:,} tensors"
    return Job("rename", title, commands, check, reads=sources.files("many"))


def _convert(target: str) -> Callable[[Sources], Job]:
    def job(sources: Sources) -> Job:
        kind = "name-based" if target == "tf2" else "object-based"
        source, files, out = sources.prefix(kind), sources.files(kind), sources.runner.out
        convert = ours("convert", "--to", target, source, out / "model.ckpt-1")

        def check(contender: str, run: Measurement) -> None:
            if contender == "cp, sync":
                assert all(filecmp.cmp(path, out / path.name, shallow=False) for path in files)
                return
            is_the_conversion_of(source, out / "model.ckpt-1", target)
            assert run.bytes_written < 1_000_000 or contender != "tensorbundle, shared"

        commands = {
            "tensorbundle, shared": convert,
            "tensorbundle, copied": [*convert, "--data", "copy"],
            # `Checkpoint.save` adds its own number to the prefix.
            "tensorflow": [
                *program("with_tensorflow"),
                f"to-{target}",
                source,
                out / ("model.ckpt" if target == "tf2" else "model.ckpt-1"),
            ],
            "cp, sync": [*CP, *files, out],
        }
        title = "TF1 to TF2" if target == "tf2" else "TF2 to TF1"
        reach = {"tensorflow": 1 / 50}
        return Job(f"to-{target}", title, commands, check, reach, reads=files, volume=bytes_of(files))

    return job


def _copy(sources: Sources) -> Job:
    source, files, out = sources.prefix("name-based"), sources.files("name-based"), sources.runner.out

    def check(contender: str, run: Measurement) -> None:
        assert all(filecmp.cmp(path, out / path.name, shallow=False) for path in files)

    commands = {OURS: ours("compact", source, out / "model.ckpt"), "cp, sync": [*CP, *files, out]}
    title = "copy, all checksums checked, flushed"
    return Job("copy", title, commands, check, {"cp, sync": 0.7}, reads=files, volume=bytes_of(files))


def _copy_shape(kind: str) -> Callable[[Sources], Job]:
    def job(sources: Sources) -> Job:
        source, files, out = sources.prefix(kind), sources.files(kind), sources.runner.out

        def check(contender: str, run: Measurement) -> None:
            with tb.open(source) as before, tb.open(out / "model.ckpt") as after:
                sizes = [[(key, entry.crc32c) for key, entry in each.entries()] for each in (before, after)]
                assert sizes[0] == sizes[1]

        commands = {OURS: ours("compact", source, out / "model.ckpt"), "cp, sync": [*CP, *files, out]}
        title = f"copy of {SHAPES[kind]}"
        reach = {"cp, sync": 0.7}
        return Job(f"copy-{kind}", title, commands, check, reach, reads=files, volume=bytes_of(files))

    return job


def _to_safetensors(sources: Sources) -> Job:
    source, files, out = sources.prefix("name-based"), sources.files("name-based"), sources.runner.out

    def check(contender: str, run: Measurement) -> None:
        if contender == OURS:
            with tb.open(source) as before, tb.open(out / "model.safetensors") as after:
                assert list(after) == list(before)

    commands = {
        OURS: ours("convert", source, out / "model.safetensors"),
        "cp, sync": [*CP, *files, out],
    }
    title = "to safetensors, all checksums checked, flushed"
    return Job(
        "to-safetensors", title, commands, check, {"cp, sync": 0.7}, reads=files, volume=bytes_of(files)
    )


def _from_safetensors(sources: Sources) -> Job:
    source, out = sources.safetensors(), sources.runner.out

    def check(contender: str, run: Measurement) -> None:
        if contender == OURS:
            with tb.open(source) as before, tb.open(out / "model.ckpt") as after:
                assert list(after) == list(before)

    commands = {
        OURS: ours("compact", source, out / "model.ckpt"),
        "cp, sync": [*CP, source, out],
    }
    title = "from safetensors, checksums computed, flushed"
    volume = source.stat().st_size
    return Job("from-safetensors", title, commands, check, {"cp, sync": 0.7}, reads=(source,), volume=volume)


def _cast(sources: Sources) -> Job:
    source, files, out = sources.prefix("name-based"), sources.files("name-based"), sources.runner.out
    data = next(path for path in files if ".data-" in path.name)
    volume = data.stat().st_size

    def check(contender: str, run: Measurement) -> None:
        if contender == "read, write, fsync":
            assert (out / "bytes").stat().st_size == volume // 2
            return
        with tb.open(source) as before, tb.open(out / "model.ckpt") as after:
            assert list(after) == list(before)
            for key in list(before)[1::50]:
                assert after.entry(key).dtype == "bfloat16"
                np.testing.assert_array_equal(after[key], before[key].astype(after[key].dtype))

    commands = {
        OURS: ours("cast", source, out / "model.ckpt", "*=bfloat16"),
        "tensorflow": [*program("with_tensorflow"), "cast", source, out / "model.ckpt", "bfloat16"],
        "read, write, fsync": [*program("bare"), "halve", data, out / "bytes"],
    }
    reach = {"tensorflow": 1 / 3, "read, write, fsync": 1.2}
    return Job("cast", "cast to bfloat16, flushed", commands, check, reach, reads=files, volume=volume)


def _verify(sources: Sources) -> Job:
    prefix, files = sources.prefix("name-based"), sources.files("name-based")

    def check(contender: str, run: Measurement) -> None:
        if contender == OURS:
            assert run.output.startswith("200 tensors, ")
            assert run.output.endswith("checked: no problems\n")
        else:
            assert len(run.output.splitlines()) == len(files)

    commands = {OURS: ours("verify", prefix), "bare loop": [*program("bare"), "checksum", *files]}
    return Job(
        "verify", "verify", commands, check, {"bare loop": 1 / 0.9}, reads=files, volume=bytes_of(files)
    )


def _write(sources: Sources) -> Job:
    out, size = sources.runner.out, sources.size
    target, model = out / "model.ckpt", [size, 200]

    def check(contender: str, run: Measurement) -> None:
        written = sum(path.stat().st_size for path in out.iterdir() if path.name.startswith("model.ckpt"))
        assert 0.8 * size < written < 1.2 * size or size < 2_000_000
        if contender in {OURS, "tensorflow"}:
            with tb.open(target) as ckpt:
                assert len(ckpt) == 200
                assert 0.8 < ckpt["encoder/layer_000/norm_000/scale"].std() < 1.2

    commands = {
        OURS: [*program("with_tensorbundle"), "save", out / "small", target, *model],
        "tensorflow": [*program("with_tensorflow"), "save", out / "small", target, *model],
        "safetensors": [*program("with_safetensors"), out / "small", target, *model],
        "safetensors, fsync": [*program("with_safetensors"), out / "small", target, *model, "fsync"],
        "write, fsync": [*program("bare"), "write", out / "small", target, *model, "fsync"],
    }
    reach = {"tensorflow": 1.0, "safetensors, fsync": 1.0, "write, fsync": 1.1}
    return Job("write", "write from NumPy, flushed, in process", commands, check, reach, volume=size)


def is_the_conversion_of(source: Path, prefix: Path, target: str) -> None:
    """Fail unless `prefix` has the keys that it should have, and the values of a few of them."""
    with tb.open(source) as before, tb.open(prefix) as after:
        if target == "tf2":
            keys = {name: attribute_key(f"vars/{escape_name(name)}") for name in before}
            extra = {attribute_key(SAVE_COUNTER), OBJECT_GRAPH_KEY}
        else:
            graph = before.object_graph
            keys = {
                each.checkpoint_key: each.full_name
                for path, _, each in graph.attributes()
                if path != SAVE_COUNTER
            }
            extra = set()
        assert set(after) == {*keys.values(), *extra}
        by_size = sorted(keys, key=lambda key: before.entry(key).nbytes)
        for key in (by_size[0], by_size[len(by_size) // 2], by_size[-2]):
            np.testing.assert_array_equal(after[keys[key]], before[key])


SHAPES = {
    "adam": "a BERT with Adam's slots",
    "embedding": "one embedding table",
    "single": "one tensor",
    "shards": "64 data shards",
}
JOBS: dict[str, Callable[[Sources], Job]] = {
    "help": _help,
    "ls": _ls,
    "list": _list,
    "one": _one,
    "rename": _rename_many,
    "to-tf2": _convert("tf2"),
    "to-tf1": _convert("tf1"),
    "copy": _copy,
    **{f"copy-{kind}": _copy_shape(kind) for kind in SHAPES},
    "to-safetensors": _to_safetensors,
    "from-safetensors": _from_safetensors,
    "cast": _cast,
    "verify": _verify,
    "write": _write,
}
