"""Every command that reads values, on files that shrink or are overwritten in place at any moment: none dies, and none tells
other values."""

import json
import subprocess

import numpy as np
import pytest

import tensorbundle as tb
from support.cli import PYTHON
from tensorbundle.tools import compact, convert

# Changes a file before one of the reads of it, and runs commands; a line of JSON for each run.
SCRIPT = """
import contextlib, io, json, os, shutil, sys
from tensorbundle.tools.cli import main

path, change, moments, commands = json.loads(sys.argv[1])
whole = open(path, "rb").read()
times = os.stat(path).st_mtime_ns
inode = os.stat(path).st_ino
reads, due = 0, None

def changing(real):
    def read(descriptor, *rest):
        global reads
        if os.fstat(descriptor).st_ino == inode:
            if reads == due:
                if change == "shrink":
                    os.truncate(path, len(whole) // 3)
                else:
                    with open(path, "r+b") as file:
                        file.write(bytes(255 - each for each in whole))
                    os.utime(path, ns=(times + 1000, times + 1000))
            reads += 1
        return real(descriptor, *rest)
    return read

os.pread, os.preadv = changing(os.pread), changing(os.preadv)
def restore():
    with open(path, "r+b") as file:
        file.truncate(len(whole))
        file.write(whole)
    os.utime(path, ns=(times, times))

for name, argv, made in commands:
    counts = [None]
    for number in range(moments + 1):
        restore()
        for each in made:
            shutil.rmtree(each, ignore_errors=True) if os.path.isdir(each) else None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)
        reads, due = 0, counts[number] if number < len(counts) else None
        if number and due is None:
            break
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(argv)
        if not number:
            counts += sorted({reads * each // moments for each in range(moments)} - {reads})
        results = [open(each, "rb").read().hex() if os.path.exists(each) else None for each in made]
        print(json.dumps([name, due, status, out.getvalue(), err.getvalue(), results]), flush=True)
restore()
"""
MOMENTS = 2  # of each command: its first read, and one in the middle

READING = {
    "show": ["show", "{ckpt}", "*"],
    "region": ["show", "{ckpt}", "{key}[1:3]"],
    "stats": ["stats", "{ckpt}"],
    "hash": ["hash", "{ckpt}"],
    "verify": ["verify", "{ckpt}"],
    "diff": ["diff", "{ckpt}", "{copy}", "--values"],
    "report": ["report", "{ckpt}", "-o", "{folder}/r.html"],
}
WRITING = {
    "convert": ["convert", "{ckpt}", "{folder}/o", "--to", "tf2", "--data", "copy"],
    "cast": ["cast", "{ckpt}", "{folder}/o", "*=bfloat16"],
    "average": ["average", "{ckpt}", "{copy}", "{folder}/o"],
    "salvage": ["salvage", "{ckpt}", "{folder}/o"],
    "npz": ["convert", "{ckpt}", "{folder}/o.npz", "--allow-unused"],
}
MADE = ["r.html", "o.index", "o.data-00000-of-00001", "o.npz"]
# Commands that read a format, and which reads are of bytes that no checksum covers.
FORMATS = {
    "v2": ("m", "m.data-00000-of-00001", [*READING, *WRITING]),
    "v1": ("m", "m", ["show", "stats", "hash", "verify", "diff", "convert"]),
    "safetensors": ("m.safetensors", "m.safetensors", ["show", "stats", "hash", "verify", "diff", "npz"]),
    "npz": ("m.npz", "m.npz", ["show", "region", "stats", "hash", "verify", "diff"]),
    "hdf5": ("m.weights.h5", "m.weights.h5", ["show", "stats", "hash", "verify", "diff"]),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A directory for each format, with a checkpoint and a copy of it."""
    root = tmp_path_factory.mktemp("sources")
    with tb.create(root / "m") as writer:
        for number in range(3):
            writer.add(
                f"layers/dense_{number}/vars/0", np.arange(6000, dtype=np.float32).reshape(60, 100) + number
            )
    for kind, (name, _, _) in FORMATS.items():
        for folder in (root / kind, root / kind / "copy"):
            folder.mkdir()
            if kind == "v2":
                compact(root / "m", folder / name)
            else:
                convert(root / "m", folder / name, **({"to": "v1"} if kind == "v1" else {}))
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "change"),
    [*((kind, "shrink") for kind in FORMATS), ("v2", "overwrite"), ("v1", "overwrite")],
)
def test_what_changes_while_it_is_read(sources, kind, change):
    name, file, names = FORMATS[kind]
    folder = sources / kind
    known = {**READING, **WRITING}
    if change == "overwrite":
        names = [each for each in names if each != "region"]  # which no checksum covers
    places = {
        "ckpt": str(folder / name),
        "copy": str(folder / "copy" / name),
        "folder": str(folder),
        "key": "layers/dense_1/vars/0",
    }
    made = [str(folder / each) for each in MADE]
    commands = [[each, [word.format(**places) for word in known[each]], made] for each in names]
    request = json.dumps([str(folder / file), change, MOMENTS, commands])
    done = subprocess.run(
        [*PYTHON, "-c", SCRIPT, request], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    clean, failed = {}, 0
    for command, due, status, out, err, results in map(json.loads, done.stdout.splitlines()):
        assert "Traceback" not in err, (command, due, err)
        if due is None:
            assert status == 0, (command, out, err)
            clean[command] = out, results
        elif status == 0 and command != "report":  # which says what is wrong
            assert (out, results) == clean[command], (command, due)
        else:
            failed += 1
            assert status in (0, 1, 2), (command, due)
            if command in WRITING and command != "salvage":
                assert results == [None] * len(MADE), (command, due)
    assert clean.keys() == set(names)
    assert failed >= len(names)
