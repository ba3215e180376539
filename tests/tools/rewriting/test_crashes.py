"""Crashes, errors and interrupts at any point of a rewriting leave the old checkpoint or the new one, and the sources."""

import errno
import itertools

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import content
from support.depth import sample
from support.memory_disk import MemoryDisk, crashes
from tensorbundle.tools import TransferOptions
from tensorbundle.tools.formats.npz_output import NpzOutput
from tensorbundle.tools.formats.safetensors_output import SafetensorsOutput
from tensorbundle.tools.operations.converting.conversion import to_tf2
from tensorbundle.tools.rewriting import appending
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.transfer import transfer
from tensorbundle.tools.rewriting.v1_output import V1Output

DIRECTORIES = ["src", "out"]
# What is overwritten, and from where: nothing, a conversion of the same source, another checkpoint, the source itself.
OLDS = ["nothing", "same", "other", "in place"]
CASES = list(itertools.product(["share", "copy"], OLDS))


class Interrupt(BaseException):
    """As a signal handler raises it."""


FAULTS = {
    "error": (OSError(errno.EIO, "injected"), False),
    "interrupt before": (Interrupt(), False),
    "interrupt after": (Interrupt(), True),
}


FAULTY = sample([(*case, fault) for case in CASES for fault in FAULTS], 12)


def write(disk, prefix, seed=1, shards=2):
    """A name-based checkpoint: numbers, strings, slices and an empty tensor in every data shard."""
    generator = np.random.default_rng(seed)
    with tb.create(prefix, store=disk) as writer:
        for number in range(shards):
            if number:
                writer.start_shard()
            writer.add(f"{number}/a", generator.random(6, np.float32))
            writer.add(f"{number}/empty", np.zeros((0, 3)))
            writer.add(f"{number}/words", np.array([generator.bytes(5), b"", b"x"], object))
            for row in range(2):
                part = tb.TensorSlice.parse_spec(f"{row},1:-")
                writer.add_slice(f"{number}/parts", [2, 2], part, generator.random((1, 2)))


def convert(disk, source, target, data, edit=to_tf2):
    with tb.open(source, store=disk) as ckpt:
        draft = Draft.of(ckpt)
        edit(draft)
        transfer(
            draft.plan(), target, TransferOptions(data=data, overwrite=True, state=True, store=disk, jobs=2)
        )


def prepared(old):
    """The files of a source and of what is about to be overwritten, and the prefixes of source and target."""
    disk = MemoryDisk(directories=DIRECTORIES)
    write(disk, "src/m")
    if old == "same":
        convert(disk, "src/m", "out/m", "copy")
    elif old == "other":
        write(disk, "out/m", seed=7, shards=3)  # as many data shards as the new one will have
    return disk.files, "src/m", "src/m" if old == "in place" else "out/m"


def found(disk, prefix):
    """What a reader finds; None if there is no checkpoint."""
    if not disk.is_file(f"{prefix}.index"):
        return None
    with tb.open(prefix, store=disk) as ckpt:
        return {key: content(ckpt[key]) for key in ckpt}


def state_files(*states):
    return {data for files in states for path, data in files.items() if path.endswith("/checkpoint")} | {None}


@pytest.mark.parametrize(("data", "old"), CASES, ids=map("-".join, CASES))
def test_a_crash_at_any_point(data, old):
    files, source, target = prepared(old)
    disk = MemoryDisk(files, directories=DIRECTORIES)
    was = found(disk, target)
    convert(disk, source, target, data)
    new = found(disk, target)
    states = state_files(files, disk.files)
    seen = set()
    for when, left in crashes(files, disk.requests, DIRECTORIES):
        outcome = found(left, target)
        assert outcome in (was, new), when
        seen.add(outcome == new)
        kept = left.files
        if old != "in place":
            assert {path: kept.get(path) for path in files if path.startswith("src/")} == {
                path: data for path, data in files.items() if path.startswith("src/")
            }, when
        assert kept.get(f"{target.partition('/')[0]}/checkpoint") in states, when
    assert seen == {was == new, True}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "old", "fault"), FAULTY, ids=map("-".join, FAULTY))
def test_an_error_or_an_interrupt_at_any_point(data, old, fault):
    files, source, target = prepared(old)
    clean = MemoryDisk(files, directories=DIRECTORIES)
    was = found(clean, target)
    convert(clean, source, target, data)
    new = found(clean, target)
    for number in range(len(clean.asked)):
        disk = MemoryDisk(files, directories=DIRECTORIES)
        disk.interrupted = (number, *FAULTS[fault])
        error = None
        try:
            convert(disk, source, target, data)
        except (tb.BundleError, Interrupt) as caught:
            error = caught
        outcome = found(disk, target)
        assert outcome in (was, new), number
        assert outcome == new or error is not None, number
        # What could not be removed stays; an interrupt may come while temporary files are removed.
        if fault == "error" and disk.asked[number] != "remove":
            assert not any(".tempstate" in path for path in disk.files), number
        if error is not None and "nothing was changed" in str(error):
            assert disk.files == files, number


@pytest.fixture
def in_pieces(monkeypatch):
    """Two threads copy, whatever the size, a few bytes at a time."""
    monkeypatch.setattr(appending, "PIECE_BYTES", 50)


@pytest.mark.slow
def test_a_crash_while_two_threads_write(in_pieces):
    test_a_crash_at_any_point("copy", "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "interrupt after"])
def test_an_error_or_an_interrupt_while_two_threads_write(in_pieces, fault):
    test_an_error_or_an_interrupt_at_any_point("copy", "nothing", fault)


OUTPUTS = {
    "v1": ("out/m", V1Output()),
    "npz": ("out/m.npz", NpzOutput()),
    "safetensors": ("out/m.safetensors", SafetensorsOutput()),
}


def export(disk, target, output):
    """Write the whole tensors of numbers of a source in another format."""
    with tb.open("src/m", store=disk) as ckpt:
        draft = Draft.of(ckpt)
        draft.drop([key for key in draft.tensors if key.endswith(("words", "parts"))])
        draft.write_to(output)
        transfer(draft.plan(), target, TransferOptions(overwrite=True, store=disk))


@pytest.mark.parametrize("kind", list(OUTPUTS))
def test_other_outputs(kind):
    """One that is written whole, or none: after a crash, and after an error at any point."""
    files, _, _ = prepared("nothing")
    disk = MemoryDisk(files, directories=DIRECTORIES)
    export(disk, *OUTPUTS[kind])
    main = next(
        reversed([args[1] for what, args in disk.requests if what == "replace"])
    )  # the last to appear
    for when, left in crashes(files, disk.requests, DIRECTORIES):
        assert left.files.get(main) in (None, disk.files[main]), when
        if main in left.files:
            assert {path: left.files.get(path) for path in disk.files} == disk.files, when
    for number in sample(range(len(disk.asked)), 12):
        failing = MemoryDisk(files, directories=DIRECTORIES)
        failing.interrupted = (number, OSError(errno.EIO, "injected"), False)
        failed = False
        try:
            export(failing, *OUTPUTS[kind])
        except tb.BundleError:
            failed = True
        assert failed or failing.files.get(main) == disk.files[main], number
        assert {path: failing.files.get(path) for path in files} == files, number
        assert disk.asked[number] == "remove" or not any(".tempstate" in path for path in failing.files), (
            number
        )


def test_where_files_can_not_be_shared():
    files, source, target = prepared("nothing")
    disk = MemoryDisk(files, directories=DIRECTORIES, can_share=False)
    convert(disk, source, target, "share")
    shared = MemoryDisk(files, directories=DIRECTORIES)
    convert(shared, source, target, "share")
    assert found(disk, target) == found(shared, target)
    assert not any(operation == "share" for operation, _ in disk.requests)
    assert any(operation == "share" for operation, _ in shared.requests)


def test_where_files_can_not_be_renamed():
    """Names are chosen before anything is written: they never change, and none is one that the old checkpoint has."""
    files, source, target = prepared("other")
    disk = MemoryDisk(files, directories=DIRECTORIES, can_rename=False)
    convert(disk, source, target, "copy")
    placed = [arguments[1] for operation, arguments in disk.requests if operation == "replace"]
    created = [
        arguments[0].partition(".tempstate")[0]
        for operation, arguments in disk.requests
        if operation == "create"
    ]
    assert sorted(placed) == sorted(created)
    assert not {path for path in placed if ".data-" in path} & files.keys()
    with pytest.raises(tb.UnsupportedError, match="more than the 1 data shards that were planned"):
        write(MemoryDisk(directories=["src"], can_rename=False), "src/m")
