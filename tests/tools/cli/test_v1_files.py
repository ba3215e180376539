"""Every command on V1 files: what it says and makes is what it says and makes of a bundle of the same tensors."""

import itertools
import json
import os
import signal
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import snapshot
from support.cli import SLOW, spawn
from support.commands import check_refusal, check_writing
from support.contents import our_reading
from support.depth import sample
from support.rewriting import assert_sound, keras_like, strings, write, write_objects
from support.v1_files import item, saved, v1_bytes
from tensorbundle.state import CheckpointState
from tensorbundle.tools import TransferOptions, convert, rewrite, verify
from tensorbundle.tools.cli.program import COMMANDS, main

TENSORS = {
    "emb": np.arange(40, dtype=np.float32).reshape(8, 5),
    "emb/Adam": np.arange(40, dtype=np.float32).reshape(8, 5) / 8,
    "empty": np.zeros((0, 3), np.int16),
    "flags": np.array([True, False]),
    "half": np.array([1, -2, np.inf, np.nan], np.float16),
    "n": np.int64(-7),
    "words": strings(b"a", b"", b"c" * 200),
}
CUTS = {"emb": (3, 0), "words": (2, 0)}
FIRST = ("emb", "n", "words")  # of two files, in the first one
KINDS = ["one file", "two files"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def write_v1(path, tensors, **options):
    """A V1 file, by way of a bundle."""
    folder = path.parent.with_name("bundles")
    folder.mkdir(exist_ok=True)
    convert(write(folder / path.name, tensors, **options), path, to="v1")
    return str(path)


@pytest.fixture
def sources(tmp_path):
    """The same tensors as a bundle, in one V1 file, and in two; each by its prefix."""
    folder = tmp_path / "sources"
    folder.mkdir()
    new = write(folder / "new", TENSORS, cuts=CUTS)
    convert(new, folder / "old", to="v1")
    for number in range(2):
        part = {key: each for key, each in TENSORS.items() if (key in FIRST) == (number == 0)}
        write_v1(folder / f"part-{number}", part, cuts=CUTS)
        os.rename(folder / f"part-{number}", folder / f"both-{number:05d}-of-00002")
    return {"new": new, "one file": str(folder / "old"), "two files": str(folder / "both-?????-of-00002")}


@pytest.fixture
def work(tmp_path):
    """A directory for what commands make, with what they need besides."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "old.txt").write_text("\n".join("abcdefgh") + "\n")
    (folder / "new.txt").write_text("\n".join("hxa") + "\n")
    np.save(folder / "n.npy", np.int64(5))
    (folder / "recipe.toml").write_text('slim = true\ncast = { "emb" = "bfloat16" }\nconvert = "tf2"\n')
    return folder


# Reading


@every_kind
def test_ls(run, sources, kind):
    text = run("ls", sources["new"]).out.replace("1 data shard", "1 V1 file")
    expected = text.replace("1 V1 file", "2 V1 files") if kind == "two files" else text
    assert run("ls", sources[kind]).out == expected
    old = run("ls", sources[kind], "--json").records
    for ours, theirs in zip(old, run("ls", sources["new"], "--json").records, strict=True):
        number = int(kind == "two files" and ours["key"] not in FIRST)
        assert ours == theirs | {"shard": theirs["shard"] and number, "offset": None, "crc32c": None} | (
            {"shard": number} if theirs["shard"] is not None else {}
        )


def test_ls_long(run, sources):
    lines = [line.split() for line in run("ls", "--long", sources["one file"], "emb", "n").out.splitlines()]
    assert lines == [
        ["key", "dtype", "shape", "size", "shard", "offset", "crc32c"],
        ["emb", "float32", "[8,5]", "160", "B", "-", "-", "3", "slices"],
        ["slice", "0,3:0,5", "float32", "[3,5]", "60", "B", "0", "-", "-"],
        ["slice", "3,3:0,5", "float32", "[3,5]", "60", "B", "0", "-", "-"],
        ["slice", "6,2:0,5", "float32", "[2,5]", "40", "B", "0", "-", "-"],
        ["n", "int64", "[]", "8", "B", "0", "-", "-"],
        ["2", "tensors,", "41", "elements,", "168", "B", "in", "1", "V1", "file"],
    ]


READING = [
    ["tree"],
    *(["show", key] for key in TENSORS),
    *(["show", key, "--stats"] for key in TENSORS),
    *(["show", region] for region in ("emb[1:5, ::2]", "emb[-1]", "words[2]", "half[1:]", "empty[:, 1]")),
]


@pytest.mark.parametrize(("kind", "argv"), sample(itertools.product(KINDS, READING), 14), ids=str)
def test_reading(run, sources, kind, argv):
    """A region, too, is checked: with the block that holds it."""
    name, *rest = argv
    assert run(name, sources[kind], *rest).out == run(name, sources["new"], *rest).out
    assert run(name, sources[kind], *rest).err == ""
    ours, theirs = (run(name, sources[each], *rest, "--json").records for each in (kind, "new"))
    assert ours == [each | {"verified": True} if "verified" in each else each for each in theirs]


def test_the_object_graph(run, tmp_path):
    new = write_objects(tmp_path / "new", keras_like())
    run("convert", new, tmp_path / "old", "--to", "v1")
    for options in ([], ["--format", "json"], ["--format", "dot"]):
        assert run("graph", tmp_path / "old", *options).out == run("graph", new, *options).out
    for name in ("new", "old"):
        run("convert", tmp_path / name, tmp_path / f"{name}-tf1", "--to", "tf1", "--names", "keys")
        run("rename", tmp_path / name, tmp_path / f"{name}-renamed", "model/=/")
    assert our_reading(tmp_path / "old-tf1") == our_reading(tmp_path / "new-tf1")
    assert our_reading(tmp_path / "old-renamed") == our_reading(tmp_path / "new-renamed")
    assert_sound(tmp_path / "old-renamed")


def test_no_object_graph(run, sources):
    assert run.error("graph", sources["one file"]) == run.error("graph", sources["new"]).replace(
        sources["new"], sources["one file"]
    )


@every_kind
def test_verify(run, sources, kind):
    output = run("verify", sources[kind])
    assert output.out.startswith("10 tensors, ")
    assert output.out.endswith(" checked: no problems\n")
    [summary] = run("verify", sources[kind], "--json").records
    with tb.open(sources[kind]) as ckpt:
        size = sum(handle.size for table in ckpt.index.tables for handle in table.handles)
    assert summary == {"prefix": sources[kind], "tensors": 10, "bytes": size, "problems": 0}


# Writing: arguments beside the source and the destination

WRITING = {
    "convert": [["--to", "tf2"], ["--to", "v2"], ["--to", "tf2", "--root", "a/b", "--no-save-counter"]],
    "rename": [["emb=table", "emb/Adam=table/Adam"], ["--regex", "(.*)=>scope/\\1"]],
    "cast": [["*=bfloat16"], ["emb=float64", "n=int8", "--allow-lossy"]],
    "drop": [["emb*"], ["words"]],
    "extract": [["emb*", "words"]],
    "slim": [[]],
    "set": [["n={}/n.npy", "flags=[false, true]"]],
    "reshard": [["--shards", "3"], ["--max-shard-size", "100B"]],
    "compact": [[]],
    "partition": [["emb/Adam=4", "half=2"], ["emb=2:1"]],
    "unpartition": [[], ["emb"]],
    "resize": [["emb", "--old-vocab", "{}/old.txt", "--new-vocab", "{}/new.txt", "--oov", "1"]],
    "rewrite": [["--recipe", "{}/recipe.toml"]],
    "merge": [[]],
    "average": [[]],
}
CALLS = [(name, arguments) for name, each in WRITING.items() for arguments in each]


def test_no_command_is_missing():
    reading = {"ls", "tree", "show", "graph", "verify"}
    assert set(COMMANDS) >= reading | WRITING.keys()


@pytest.mark.parametrize(
    ("kind", "name", "arguments"),
    sample([(kind, *call) for kind in KINDS for call in CALLS], 14),
    ids=str,
)
def test_writing(run, sources, work, kind, name, arguments):
    """In all the ways there are, and the output is that of a bundle, tensor by tensor."""
    arguments = [each.format(work) for each in arguments]
    summary = check_writing(run, work, name, [sources[kind]], *arguments)
    assert summary["bytes_shared"] == 0
    if arguments == ["--to", "v2"]:
        name, arguments = "compact", []
    run(name, sources["new"], work / "expected", *arguments)
    for out in ("out", "copied"):
        assert our_reading(work / out) == our_reading(work / "expected")
        with tb.open(work / out) as ours, tb.open(work / "expected") as theirs:
            assert ours.index.file_format == "v2"
            slices = [{key: entry.slices for key, entry in each.entries()} for each in (ours, theirs)]
            assert slices[0] == slices[1]


@pytest.mark.parametrize(
    "options", [["--no-verify"], ["--jobs", "2"], ["--data", "copy"], ["--state"]], ids=str
)
def test_options(run, sources, work, options):
    run("convert", sources["two files"], work / "m-3", "--to", "v2", *options)
    assert our_reading(work / "m-3") == our_reading(sources["new"])
    assert (work / "checkpoint").exists() == ("--state" in options)
    run("convert", sources["two files"], work / "old", "--to", "v1", *options)
    assert our_reading(work / "old") == our_reading(sources["new"])
    if "--state" in options:
        state = CheckpointState.read(str(work))
        assert (state.latest_path, state.all_paths) == ("old", ("m-3", "old"))
        assert our_reading(work) == our_reading(sources["new"])


def test_many_data_shards_side_by_side(run, work):
    """What one thread looks up is not what another one looked up last."""
    tensors = {f"{number:02d}": np.full(3000, number, np.int64) for number in range(60)}
    old = write_v1(work / "old", tensors)
    run("reshard", old, work / "out", "--shards", "20", "--jobs", "8")
    assert our_reading(work / "out") == our_reading(old)
    assert_sound(work / "out")


def test_merge_and_average_of_both_formats(run, sources, work):
    other = write(work / "other", {key: np.asarray(each) for key, each in TENSORS.items() if key != "words"})
    run("merge", sources["two files"], other, work / "merged", "--prefer", "first")
    assert our_reading(work / "merged") == our_reading(sources["new"])
    run("merge", f"a={sources['one file']}", f"b={other}", work / "named")
    assert our_reading(work / "named").keys() == {f"a/{key}" for key in TENSORS} | {
        f"b/{key}" for key in TENSORS if key != "words"
    }
    first = write_v1(work / "first", {"w": np.float32([1, 2])})
    second = write(work / "second", {"w": np.float32([3, 6])})
    run("average", first, second, work / "mean")
    assert tb.open(work / "mean")["w"].tolist() == [2, 4]


# Towards V1


@every_kind
def test_convert_to_v1(run, sources, work, kind):
    run("convert", sources[kind], work / "out", "--to", "v1")
    assert (work / "out").read_bytes() == Path(sources["one file"]).read_bytes()
    assert list(snapshot(work)).count("out") == 1
    assert not [name for name in snapshot(work) if name.startswith("out.")]


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_large_tensors_are_written_in_parts(work, run, monkeypatch, dtype):
    """The same bytes; what is encoded as varints is read twice."""
    values = np.arange(-5000, 300_000).astype(dtype)
    with tb.create(work / "m") as writer:
        writer.add("w", values)
    monkeypatch.setattr("tensorbundle.tools.rewriting.expressions.CHUNK_ELEMENTS", 1000)
    files = []
    for most in (1 << 30, 1000):
        monkeypatch.setattr("tensorbundle.tools.rewriting.v1_output._HELD_BYTES", most)
        [summary] = run("convert", work / "m", work / f"out{most}", "--to", "v1", "--json").records
        files.append((work / f"out{most}").read_bytes())
    assert files[0] == files[1]
    assert summary["bytes_read"] == values.nbytes * (1 if dtype == "float32" else 2)


@pytest.mark.parametrize("damaged", [False, True])
def test_large_tensors_are_verified_where_they_are(work, run, monkeypatch, damaged):
    monkeypatch.setattr("tensorbundle.v1.index._LARGE_BYTES", 1000)
    monkeypatch.setattr("tensorbundle.v1.index.V1Index.decode", lambda *_: pytest.fail("decoded"))
    write(work / "m", {"w": np.arange(200_000, dtype=np.float32)})
    run("convert", work / "m", work / "out", "--to", "v1")
    if damaged:
        data = bytearray((work / "out").read_bytes())
        data[500_000] ^= 1
        (work / "out").write_bytes(data)
    found = run("verify", work / "out", status=int(damaged)).out
    assert ("checksum" in found) if damaged else found.endswith("no problems\n")


def test_what_is_said(run, sources, work):
    *steps, planned = run("convert", sources["new"], work / "m", "--to", "v1", "--dry-run", "--json").records
    assert {each["action"] for each in steps} == {"convert"}
    assert planned["tensors"] == len(TENSORS)
    assert not (work / "m").exists()
    [summary] = run("convert", sources["new"], work / "m", "--to", "v1", "--json").records
    size = (work / "m").stat().st_size
    assert (summary["prefix"], summary["tensors"], summary["bytes_written"]) == (
        str(work / "m"),
        len(TENSORS),
        size,
    )
    assert (summary["bytes_shared"], summary["bytes_read"], summary["left_out"]) == (
        0,
        planned["bytes_read"],
        [],
    )
    text = run("convert", sources["new"], work / "m", "--to", "v1", "--overwrite").out
    assert text.startswith(f"{work / 'm'}: {len(TENSORS)} tensors, 0 B shared, ")


def test_a_recipe_that_ends_in_v1(work, sources):
    """Casts, renamings, partitions and new values are written as in any other format."""
    steps = {
        "rename": {"emb": "table", "emb/Adam": "table/Adam"},
        "cast": {"table": "float64"},
        "partition": {"table/Adam": {"slices": 2, "axis": 1}},
        "unpartition": ["words"],
        "set": {"n": 3},
        "drop": ["flags"],
    }
    for name in ("new", "one file", "two files"):
        rewrite(sources[name], work / "v2", **steps, options=TransferOptions(overwrite=True))
        rewrite(sources[name], work / "v1", **steps, convert="v1", options=TransferOptions(overwrite=True))
        assert our_reading(work / "v1") == our_reading(work / "v2")
        with tb.open(work / "v1") as ckpt:
            assert ckpt.index.file_format == "v1"
            assert {key: len(entry.slices) for key, entry in ckpt.entries() if entry.slices} == {
                "table": 3,
                "table/Adam": 2,
            }
        assert_sound(work / "v1")


def test_there_and_back(run, sources, work):
    """Bytes, of both formats."""
    run("convert", sources["new"], work / "old", "--to", "v1")
    run("convert", work / "old", work / "new", "--to", "v2")
    run("convert", work / "new", work / "again", "--to", "v1")
    assert (work / "old").read_bytes() == (work / "again").read_bytes()
    run("convert", work / "again", work / "last", "--to", "v2")
    for name in (".index", ".data-00000-of-00001"):
        assert (work / f"new{name}").read_bytes() == (work / f"last{name}").read_bytes()
    assert our_reading(work / "last") == our_reading(sources["new"])


@pytest.mark.parametrize("dtype", ["bfloat16", "uint32", "uint64", "float8_e5m2", "int4"])
def test_types_that_v1_does_not_have(run, work, dtype):
    values = np.ones(2).astype(tb.DType[dtype].numpy)
    source = write(work / "m", {"a": values, "b": np.float32(1), "c": values})
    for options in ([], ["--dry-run"]):
        message = check_refusal(run, work, "convert", source, work / "old", "--to", "v1", *options)
        assert message == (
            f"{source}: key 'a': the V1 format has no values of type {dtype} (and 1 more such tensors); "
            "cast or drop it first"
        )
    run("drop", source, work / "less", "a", "c")
    run("convert", work / "less", work / "old", "--to", "v1")
    assert our_reading(work / "old").keys() == {"b"}


def test_values_too_large_for_a_cast(work):
    source = write(work / "m", {"w": np.float32([1, 1e30, -1e30])}, cuts={"w": (3, 0)})
    summary = rewrite(source, work / "old", cast={"w": "float16"}, convert="v1")
    assert summary.overflowed == {"w[1,1]": 1, "w[2,1]": 1}
    assert tb.open(work / "old")["w"].tolist() == [1, np.inf, -np.inf]


def test_a_cast_after_the_conversion(work, sources):
    with pytest.raises(tb.UnsupportedError, match="the V1 format has no values of type bfloat16"):
        rewrite(sources["new"], work / "m", convert="v1", cast={"emb": "bfloat16"})
    assert "m" not in snapshot(work)


def test_several_files_are_not_written(work, sources):
    with pytest.raises(tb.UnsupportedError, match="2 shards: V1 is written as one file; leave out reshard"):
        rewrite(sources["new"], work / "m", reshard={"shards": 2}, convert="v1")
    assert "m" not in snapshot(work)


def test_a_bundle_already(run, sources, work):
    message = check_refusal(run, work, "convert", sources["new"], work / "m", "--to", "v2")
    assert message == f"{sources['new']}: a V2 checkpoint already; --to v1 is the other way"


def test_names_that_v1_can_not_have(run, work):
    source = write(work / "m", {"\udcff": np.float32(1)})
    message = check_refusal(run, work, "convert", source, work / "old", "--to", "v1")
    assert message.endswith(
        "names in the V1 format must be UTF-8, and this one is not; rename the tensor first"
    )


# Where there is something already


def test_v1_over_v1(run, sources, work):
    old = write_v1(work / "m", {"x": np.float32(1)})
    before = snapshot(work)["m"]
    for options in ([], ["--dry-run"]):
        message = check_refusal(run, work, "convert", sources["new"], old, "--to", "v1", *options)
        assert message == f"{old}: exists; use --overwrite (overwrite=True) to replace it"
    with tb.open(old) as ckpt:
        run("convert", sources["new"], old, "--to", "v1", "--overwrite")
        assert ckpt["x"] == 1  # who has it open goes on reading it
    assert our_reading(old) == our_reading(sources["new"])
    assert snapshot(work)["m"] != before


def test_in_place(run, sources):
    """The source is the destination."""
    before = our_reading(sources["one file"])
    data = Path(sources["one file"]).read_bytes()
    run("convert", sources["one file"], sources["one file"], "--to", "v1", "--overwrite")
    assert Path(sources["one file"]).read_bytes() == data
    run("rename", sources["one file"], sources["one file"], "emb=table", "--overwrite")
    with tb.open(sources["one file"]) as ckpt:
        assert ckpt.index.file_format == "v2"  # which is read from now on; the file stays
        assert {key: our for key, our in our_reading(ckpt.prefix).items() if key != "table"} == {
            key: each for key, each in before.items() if key != "emb"
        }
    assert Path(sources["one file"]).read_bytes() == data


def test_one_file_beside_several(run, sources, work):
    """They are two checkpoints then, as they are to TensorFlow."""
    prefix = sources["two files"].partition("-?")[0]
    run("convert", sources["two files"], prefix, "--to", "v1")
    assert our_reading(prefix) == our_reading(sources["two files"]) == our_reading(sources["new"])
    with tb.open(prefix) as one, tb.open(sources["two files"]) as two:
        assert (one.num_shards, two.num_shards) == (1, 2)


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=str)
def test_v1_where_a_bundle_is(run, sources, work, options):
    new = write(work / "m", {"x": np.float32(1)})
    for more in ([], ["--dry-run"]):
        message = check_refusal(run, work, "convert", sources["new"], new, "--to", "v1", *options, *more)
        assert message == (
            f"{new}.index: a V2 checkpoint of this name exists, and would be read instead; give another name"
        )
    message = check_refusal(run, work, "convert", new, new, "--to", "v1", *options)
    assert message.startswith(f"{new}.index: a V2 checkpoint of this name exists")


def test_a_bundle_where_a_v1_file_is(run, sources, work):
    """It is read instead; the file stays, and is read again when the bundle goes."""
    old = write_v1(work / "m", {"x": np.float32(1)})
    run("convert", sources["new"], old, "--to", "tf2")
    assert "x" not in our_reading(old)
    for path in work.glob("m.*"):
        path.unlink()
    assert our_reading(old).keys() == {"x"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)],
    ids=["SIGTERM", "SIGINT"],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_interrupted(work, number, status, overwrite):
    """No temporary file is left, and what was there is there."""
    source = write(work / "m", {"a": np.zeros(1 << 20, np.uint8), "b": np.zeros(1 << 20, np.uint8)})
    (work / "out").mkdir()
    old = [write_v1(work / "out/old", {"x": np.float32(1)})] if overwrite else []
    before = snapshot(work / "out")
    options = ["--overwrite"] if old else []
    process = spawn("convert", source, work / "out/old", "--to", "v1", *options, script=SLOW, stdin=PIPE)
    assert process.stdout.readline() == "copying\n"
    assert [name for name in snapshot(work / "out") if "tempstate" in name]
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == status
    assert snapshot(work / "out") == before


@pytest.mark.slow
def test_killed(work):
    """Then a temporary file is left, which is in nobody's way, and what was there is there."""
    source = write(work / "m", {"a": np.zeros(1 << 20, np.uint8), "b": np.zeros(1 << 20, np.uint8)})
    (work / "out").mkdir()
    old = write_v1(work / "out/old", {"x": np.float32(1)})
    before = snapshot(work / "out")
    process = spawn("convert", source, old, "--to", "v1", "--overwrite", script=SLOW, stdin=PIPE)
    assert process.stdout.readline() == "copying\n"
    process.kill()
    process.communicate(timeout=30)
    after = snapshot(work / "out")
    assert {name: data for name, data in after.items() if "tempstate" not in name} == before
    assert our_reading(old).keys() == {"x"}
    convert(source, old, to="v1", options=TransferOptions(overwrite=True))
    assert our_reading(old).keys() == {"a", "b"}


# What is wrong


def test_problems(run, work):
    """A record changed, one lost, one too many, and a damaged block; each is told."""
    tensors = [saved(name, "float32", (2,)) for name in "abcde"]
    large = np.zeros(1 << 18, np.float32)
    tensors.append(saved("large", "float32", large.shape))
    items = dict(item(name, np.zeros(2, np.float32)) for name in "abdez")
    key, _ = item("b", np.zeros(2, np.float32))
    items[key] = item("y", np.zeros(2, np.float32))[1]
    items[item("d", np.zeros(2, np.float32))[0]] = item("d", np.zeros(3, np.float32))[1]
    data = bytearray(v1_bytes(tensors, [*items.items(), item("large", large)]))
    (work / "m").write_bytes(data)
    with tb.open(work / "m") as ckpt:
        handle = ckpt.index.tables[0].handles[1]
    data[handle.offset + 1000] ^= 1
    (work / "m").write_bytes(data)
    told = []
    report = verify(work / "m", progress=told.append)
    assert [(each.severity, each.kind, each.key, each.message, each.offset) for each in report.problems] == [
        ("error", "entry", "b", "its record is of 'y[-]'", None),
        ("error", "entry", "d", "3 values stored, the slice has 2 elements", None),
        ("error", "checksum", None, report.problems[2].message, handle.offset),
        ("warning", "orphan-slice", "z[-]", "a record that the meta record does not list", None),
        ("error", "entry", "c", "the meta record lists it, its own record is in a damaged block", None),
        ("error", "entry", "large", "the meta record lists it, its own record is in a damaged block", None),
    ]
    assert report.problems[2].message.startswith("data block 1: crc32c stored ")
    assert "is flipped: memory or storage is faulty" in report.problems[2].cause
    assert report.tensors == 2
    assert {each.path for each in report.problems} == {str(work / "m")}
    assert sum(told) == report.bytes
    assert run("verify", work / "m", status=1).out.endswith("6 problems\n")
    records = run("verify", work / "m", "--json", status=1).records
    assert [each.get("kind") for each in records[:-1]] == [each.kind for each in report.problems]


def test_slices_that_do_not_fit(run, work):
    grid = np.zeros((4, 2), np.float32)
    for specs, message in (
        (["0,2:-", "1,3:-"], "slices 0 and 1 overlap"),
        (["0,2:-", "3,1:-"], "its slices hold 6 of the 8 elements wanted"),
        (["0,4:-", "0,4:-"], "slices 0 and 1 overlap"),
    ):
        items = dict(item("emb", grid[tb.TensorSlice.parse_spec(spec).box((4, 2))], spec) for spec in specs)
        (work / "m").write_bytes(v1_bytes([saved("emb", "float32", (4, 2), specs)], items.items()))
        [problem] = verify(work / "m").problems
        assert (problem.kind, problem.key, problem.message) == ("slices", "emb", message)
        assert run.error("show", work / "m", "emb") == f"{work / 'm'}: key 'emb': {message}"
        found = check_refusal(run, work, "cast", work / "m", work / "out", "emb=float64")
        assert found.startswith(f"{work / 'm'}: key 'emb': {message}")


@pytest.mark.parametrize("to", ["v1", "v2"])
def test_a_tensor_that_lacks_slices_is_not_written(run, work, to):
    grid = np.arange(8, dtype=np.float32).reshape(4, 2)
    specs = ["0,2:-", "3,1:-"]
    items = [item("emb", grid[tb.TensorSlice.parse_spec(spec).box((4, 2))], spec) for spec in specs]
    (work / "m").write_bytes(v1_bytes([saved("emb", "float32", (4, 2), specs)], items))
    found = check_refusal(run, work, "convert", work / "m", work / "out", "--to", to)
    assert "its slices hold 6 of the 8 elements wanted: slices are missing" in found


def test_a_damaged_meta_record(run, work):
    old = write_v1(work / "m", {"x": np.float32(1)})
    data = bytearray(Path(old).read_bytes())
    data[10] ^= 1
    (work / "m").write_bytes(data)
    [problem] = verify(old).problems
    assert (problem.kind, problem.path, problem.offset) == ("index", old, 0)
    for name, *rest in (["ls"], ["tree"], ["show", "x"], ["convert", work / "out", "--to", "v2"]):
        assert run.error(name, old, *rest).startswith(f"{old}: offset 0x0: data block 0: crc32c stored ")


def test_a_missing_file(run, sources):
    path = sources["two files"].replace("?????", "00001")
    os.unlink(path)
    [problem, summary] = run("verify", sources["two files"], "--json", status=1).records
    assert (problem["kind"], problem["path"], problem["severity"]) == ("missing-shard", path, "error")
    assert summary == {"prefix": sources["two files"], "tensors": 0, "bytes": 0, "problems": 1}
    assert (
        run.error("ls", sources["two files"])
        == f"{path}: no such file: one of the files of a V1 checkpoint is missing"
    )


def test_the_index_of_a_bundle_under_another_name(run, sources, work):
    os.link(f"{sources['new']}.index", work / "index")
    assert main(["ls", str(work / "index")]) == 2
    assert "the index of a V2 checkpoint under a name that does not end in '.index'" in run.error(
        "ls", work / "index"
    )


def test_listings_stay_json(run, sources):
    for line in run("ls", sources["two files"], "--json").out.splitlines():
        assert list(json.loads(line)) == [
            "key",
            "dtype",
            "shape",
            "nbytes",
            "shard",
            "offset",
            "crc32c",
            "slices",
        ]
