"""`tensorbundle show`."""

import base64
import json
import os
import re

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, snapshot, write_bundle
from support.cli import V215, V221
from tensorbundle.tools.cli.commands import show
from tensorbundle.tools.operations.inspecting import showing
from tensorbundle.tools.rewriting import expressions

NOT_CHECKED = "tensorbundle show: the checksum was not checked: it covers the whole tensor, and only a region was read\n"
NUMBERS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def ckpt(tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", NUMBERS)
        writer.add("a[0]", np.int32(5))
        writer.add("words", np.array([b"x", b"\x1b[31m", "ü".encode(), b"\xff"], object))
        writer.add("long word", b"x" * 300)
        writer.add("special", np.array([np.nan, np.inf, -np.inf, -0.0]))
        writer.add("complex", np.array([1 + 2j, complex(np.nan, -np.inf)]))
        writer.add("many", np.arange(2000, dtype=np.int16))
        for row in range(2):
            part = tb.TensorSlice.parse_spec(f"{row},1:-:-")
            writer.add_slice("parts", [2, 3, 4], part, NUMBERS[row : row + 1])
    return tmp_path / "m"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a[0]"], "a[0]  int32 []\n5\n"),  # a key may end in brackets
        (["words"], "words  string [4]\n['x', '\\x1b[31m', 'ü', b'\\xff']\n"),
        (["long word"], f"long word  string []\n'{'x' * 200}'... (300 bytes)\n"),
        (["special"], "special  float64 [4]\n[ nan,  inf, -inf,  -0.]\n"),
        (["complex"], "complex  complex128 [2]\n[ 1. +2.j, nan-infj]\n"),
        (["many"], "many  int16 [2000]\n[   0,    1,    2, ..., 1997, 1998, 1999]\n"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_text(run, ckpt, arguments, text):
    output = run("show", ckpt, *arguments)
    assert (output.out, output.err) == (text, "")


def test_full_shows_every_value(run, ckpt):
    output = run("show", ckpt, "many", "--full")
    assert json.loads(output.out.partition("\n")[2]) == list(range(2000))


def test_a_whole_tensor(run, in_golden):
    assert run("show", "raw-slices/model.ckpt", "plain").out == "plain  float32 [3]\n[-1.  , -0.75, -0.5 ]\n"


def test_an_object_path_will_do(run, in_golden):
    assert run("show", "guide-tf2", "variables/1").out == (
        "variables/1/.ATTRIBUTES/VARIABLE_VALUE  float32 []\n6.\n"
    )
    assert run("show", "all-dtypes", "dtypes/int8[0]").out == "dtypes/int8[0]  int8 [3]\n[-5, -4, -3]\n"


def test_a_variable_name_will_do(run, in_golden):
    """TensorFlow shows it with the number of its output."""
    assert run("show", "guide-tf1", "scoped/c:0").out == run("show", "guide-tf1", "scoped/c").out


def test_what_was_checked(run, ckpt, in_golden):
    """The checksum covers a whole tensor; of a V1 file every block that is read is checked."""
    [unchecked] = run("show", ckpt, "a", "--no-verify", "--json").records
    assert unchecked["verified"] is False
    output = run("show", "v1-format", "flags[0:1]", "--json")
    [record] = output.records
    assert (record["verified"], output.err) == (True, "")


REGIONS = ["1", "-1,2", "0:1,:,::2", "1,...", "...,3", "::-1,2:0:-1", "1:1", ":,5:9", "", "1,2,3", "0:99999"]


@pytest.mark.parametrize("key", ["a", "parts"])
@pytest.mark.parametrize("region", REGIONS)
def test_regions_mean_what_they_mean_in_numpy(run, ckpt, key, region):
    expected = NUMBERS[eval(f"np.s_[{region or '...'}]")]
    output = run("show", ckpt, f"{key}[{region}]", "--json")
    assert output.records == [
        {
            "key": key,
            "dtype": "float32",
            "shape": list(expected.shape),
            "verified": False,
            "values": expected.tolist(),
        }
    ]
    assert output.err == NOT_CHECKED


def test_a_region_in_text_is_named(run, ckpt):
    output = run("show", ckpt, "a[1,0:2,::3]")
    assert output.out == "a[1,0:2,::3]  float32 [2,2]\n[[12., 15.],\n [16., 19.]]\n"
    assert run("show", ckpt, "a[1]", "--no-verify").err == ""


@pytest.mark.parametrize("key", ["a", "parts"])
@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("5", r"{path}: key '{key}': the region is not valid for shape \[2,3,4\]: .*out of (bounds|range).*"),
        ("0,0,0,0", r"{path}: key '{key}': the region is not valid for shape \[2,3,4\]: .*"),
        ("...,...", r"{path}: key '{key}': the region is not valid for shape \[2,3,4\]: .*"),
        ("::0", r"{path}: key '{key}': region \[::0\]: the step of '::0' is 0"),
        ("-:", r"{path}: key '{key}': region \[-:\]: '-:' is neither a number nor a slice such as 0:3"),
        ("x", r".*region \[x\]: 'x' is neither a number nor a slice such as 0:3"),
        ("1.5", r".*region \[1.5\]: '1.5' is neither a number nor a slice such as 0:3"),
        ("9" * 30, r"{path}: key '{key}': the region is not valid for shape \[2,3,4\]: .*"),
    ],
    ids=lambda each: each[:8],
)
def test_regions_that_do_not_fit(run, ckpt, key, region, message):
    found = run.error("show", ckpt, f"{key}[{region}]")
    assert re.fullmatch(message.format(path=re.escape(str(ckpt)), key=key), found)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("words", ["x", "\x1b[31m", "ü", "\udcff"]),
        ("special", ["NaN", "Infinity", "-Infinity", -0.0]),
        ("complex", [[1.0, 2.0], ["NaN", "-Infinity"]]),
        ("a[0]", 5),
        ("a", NUMBERS.tolist()),
    ],
)
def test_json(run, ckpt, key, values):
    output = run("show", ckpt, key, "--json")
    [record] = output.records
    assert list(record) == ["key", "dtype", "shape", "verified", "values"]
    assert record["verified"] is True
    assert record["values"] == values
    assert output.out.isascii()


@pytest.mark.parametrize("folder", [V215, V221], ids=lambda each: each.name)
def test_every_golden_value_is_what_tensorflow_reads(run, folder):
    """Every type, where the values are few and TensorFlow can read them."""
    seen = set()
    for prefix, tensors in json.loads((folder / "expected.json").read_text()).items():
        if prefix not in (
            "all-dtypes/ckpt-1",
            "rare-dtypes/model.ckpt",
            "partitioned-sharded/model.ckpt-100",
        ):
            continue
        with tb.open(folder / prefix) as ckpt:
            dtypes = {key: entry.dtype for key, entry in ckpt.entries()}
        for key, expected in tensors.items():
            if dtypes[key] == "string" or "values" not in expected:
                continue
            [record] = run("show", folder / prefix, key, "--json").records
            stored = np.frombuffer(base64.b64decode(expected["values"]), dtypes[key].numpy)
            shown = np.array(record["values"], "O").reshape(-1)
            if stored.dtype.kind == "c":
                shown = np.array([complex(*pair) for pair in np.array(record["values"]).reshape(-1, 2)])
            assert shown.astype(stored.dtype).tobytes() == stored.tobytes(), key
            assert record["shape"] == expected["shape"]
            seen.add(record["dtype"])
    assert len(seen) >= 24


STATS = "  min   {}\n  max   {}\n  mean  {}\n  std   {}\n  nan   {}\n  inf   {}\n  zeros {}\n"


@pytest.mark.parametrize(
    ("key", "head", "numbers"),
    [
        ("a", "a  float32 [2,3,4]\n", (0, 23, 11.5, 6.9221866, 0, 0, 1)),
        ("parts[1,:,0]", "parts[1,:,0]  float32 [3]\n", (12, 20, 16, 3.2659863, 0, 0, 0)),
        ("special", "special  float64 [4]\n", ("-0", "-0", "0", "0", 1, 2, 1)),
        ("words", "words  string [4]\n", (1, 5, 2.25, 1.6393596, 0, 0, 0)),
        ("special[0:2]", "special[0:2]  float64 [2]\n", (*"----", 1, 1, 0)),
    ],
)
def test_stats(run, ckpt, key, head, numbers):
    assert run("show", ckpt, key, "--stats").out == head + STATS.format(*numbers)


def test_stats_json(run, ckpt):
    output = run("show", ckpt, "special", "--stats", "--json")
    assert output.records == [
        {"key": "special", "dtype": "float64", "shape": [4], "verified": True}
        | {"min": -0.0, "max": -0.0, "mean": 0.0, "std": 0.0, "nan": 1, "inf": 2, "zeros": 1}
    ]
    [nothing] = run("show", ckpt, "special[0:1]", "--stats", "--json").records
    assert nothing["min"] is nothing["max"] is nothing["mean"] is nothing["std"] is None


def test_stats_of_small_integers_are_integers(run):
    for key in ("int4", "uint4", "int2", "uint2"):
        output = run("show", V221 / "rare-dtypes/model.ckpt", key, "--stats", "--json")
        assert all(isinstance(output.records[0][name], int) for name in ("min", "max")), key


def test_values_that_overflow_their_squares(run, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.array([1e300, -1e300]))
    output = run("show", tmp_path / "m", "a", "--stats")
    assert output.err == ""
    assert "max   1e+300\n" in output.out


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nope", "{path}: key 'nope': no such tensor"),
        ("wrods", "{path}: key 'wrods': no such tensor; near: 'words'"),
        ("wrods[0]", "{path}: key 'wrods': no such tensor; near: 'words'"),
        ("word", "{path}: key 'word': no such tensor; near: 'words', 'long word'"),
    ],
)
def test_keys_that_are_not_there(run, ckpt, key, message):
    assert run.error("show", ckpt, key) == message.format(path=ckpt)


def test_a_damaged_tensor(run, ckpt, tmp_path):
    path = tmp_path / "m.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[7] ^= 0x10
    path.write_bytes(data)
    message = run.error("show", ckpt, "a")
    assert message.startswith(f"{path}: offset 0x0: key 'a': crc32c of 96 bytes: stored ")
    assert message.endswith("; 'tensorbundle verify' looks for the cause")
    assert run("show", ckpt, "a", "--no-verify").err == ""
    assert run("show", ckpt, "many").err == ""  # only what is read is checked


class TestLarge:
    """Tensors that are not read at once: every tensor, here."""

    @pytest.fixture(autouse=True)
    def _large(self, monkeypatch):
        monkeypatch.setattr(expressions, "CHUNK_ELEMENTS", 300)

    @pytest.mark.parametrize("more", [[], ["--full"], ["--json"]], ids=str)
    def test_are_shown_as_others(self, run, tmp_path, monkeypatch, more):
        shapes = [(), (7, 150), (11, 11, 11)]
        with tb.create(tmp_path / "m") as writer:
            for number, shape in enumerate(shapes):
                values = np.arange(np.prod(shape)).reshape(shape)
                writer.add(f"a{number}", (values * 2.5).astype(np.float32))
                writer.add(f"b{number}", values.astype(np.int16))
            part = tb.TensorSlice.parse_spec
            writer.add_slice("c", [900, 2], part("0,899:-"), np.arange(1798).reshape(899, 2))
            writer.add_slice("c", [900, 2], part("899,1:-"), np.arange(2).reshape(1, 2))
        small = run("show", tmp_path / "m", "*", *more)
        monkeypatch.setattr(showing, "_HELD_BYTES", 0)
        assert run("show", tmp_path / "m", "*", *more) == small
        [stats] = run("show", tmp_path / "m", "a2", "--stats", "--json").records
        assert (stats["max"], stats["mean"]) == (3325, pytest.approx(1662.5))
        for number in range(len(shapes)):
            run("show", tmp_path / "m", f"a{number}", "-o", tmp_path / "a.npy", "--overwrite")
            with tb.open(tmp_path / "m") as ckpt:
                np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), ckpt[f"a{number}"])

    def test_damaged_under_the_hand(self, run, ckpt, tmp_path, monkeypatch):
        monkeypatch.setattr(showing, "_HELD_BYTES", 0)
        read, shard = os.preadv, tmp_path / "m.data-00000-of-00001"

        def cut(descriptor, buffers, offset):
            os.truncate(shard, 40)
            return read(descriptor, buffers, offset)

        before = shard.read_bytes()
        shard.write_bytes(b"\1" * 4 + before[4:])
        for more in ([], ["--full"], ["--json"], ["--stats"], ["-o", tmp_path / "a.npy"]):
            assert "key 'a': crc32c of 96 bytes" in run.error("show", ckpt, "re:^a$", *more)
        assert run("show", ckpt, "a", "--no-verify").err == ""
        shard.write_bytes(before)
        monkeypatch.setattr("os.preadv", cut)
        assert "shrank" in run.error("show", ckpt, "re:^a$")
        assert not (tmp_path / "a.npy").exists()

    def test_of_more_dimensions_than_numpy_has(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr(showing, "_HELD_BYTES", 0)
        write_bundle(tmp_path / "m", {b"a": plain("float32", [1] * 70, bytes(4))}, [bytes(4)])
        assert "NumPy can't have an array of shape" in run.error("show", tmp_path / "m", "a")


def test_a_missing_data_shard(run, ckpt, tmp_path):
    (tmp_path / "m.data-00000-of-00001").unlink()
    assert run.error("show", ckpt, "a") == (
        f"{ckpt}.data-00000-of-00001: key 'a': no such file: data shard 0 is missing"
    )


def test_a_data_shard_of_another_checkpoint(run, ckpt, tmp_path):
    with tb.create(tmp_path / "other") as writer:
        writer.add("b", np.float32(3))
    (tmp_path / "other.data-00000-of-00001").replace(f"{ckpt}.data-00000-of-00001")
    assert run.error("show", ckpt, "a") == (
        f"{ckpt}.data-00000-of-00001: offset 0x0: key 'a': 96 bytes wanted, the file ends at 4: "
        "it is cut short, or belongs to another checkpoint"
    )


def test_values_that_can_not_be_shown(run, in_golden):
    key = "iterator/.ATTRIBUTES/ITERATOR_STATE"
    assert run.error("show", "iterator", key) == (
        f"iterator/ckpt-1: key '{key}': values of type variant can't be NumPy arrays"
    )


def test_a_partitioned_tensor_with_a_hole(run, in_golden):
    assert run.error("show", "unreadable-slices/model.ckpt", "hole") == (
        "unreadable-slices/model.ckpt: key 'hole': its slices hold 6 of the 8 elements wanted"
    )


def test_nothing_is_changed(run, ckpt, tmp_path):
    before = snapshot(tmp_path)
    for key in ("a", "parts[0]", "words"):
        run("show", ckpt, key, "--stats")
    assert snapshot(tmp_path) == before


class TestSeveral:
    @pytest.fixture
    def source(self, tmp_path):
        with tb.create(tmp_path / "m") as writer:
            for key, value in {"a/w": [1.0, 2.0], "a/b": [3.0], "c[1]": [4.0], "s": b"x"}.items():
                writer.add(key, np.array(value, object if key == "s" else np.float32))
        return tmp_path / "m"

    def test_names_regions_and_patterns(self, run, source):
        output = run("show", source, "a/*", "a/w[1:]", "c[1]")
        assert output.out == (
            "a/b  float32 [1]\n[3.]\na/w  float32 [2]\n[1., 2.]\na/w[1:]  float32 [1]\n[2.]\nc[1]  float32 [1]\n[4.]\n"
        )
        assert output.err.count("\n") == 1
        records = run("show", source, "re:^a/", "--json").records
        assert [(each["key"], each["values"]) for each in records] == [("a/b", [3.0]), ("a/w", [1.0, 2.0])]

    def test_very_many(self, run, source, monkeypatch):
        monkeypatch.setattr(show, "_MOST_TENSORS", 2)
        output = run("show", source, "*")
        assert output.out == "a/b  float32 [1]\n[3.]\na/w  float32 [2]\n[1., 2.]\n"
        assert output.err.splitlines() == [
            "tensorbundle show: only the first 2 tensors are printed; --full and --json print all"
        ]
        assert run("show", source, "*", "--full").out.count("\n") == 8
        assert len(run("show", source, "*", "--json").records) == 4
        assert run("show", source, "a/*").err == ""

    def test_what_matches_nothing(self, run, source):
        assert run("show", source, "b*", status=2).err.startswith(
            f"tensorbundle show: {source}: no tensor matches the pattern 'b*'"
        )

    def test_into_a_file(self, run, source, tmp_path):
        path = tmp_path / "w.npy"
        assert run("show", source, "a/w", "-o", path).out == f"a/w  float32 [2] written to {path}\n"
        assert np.load(path).tolist() == [1, 2]
        assert (
            run.error("show", source, "a/b", "-o", path)
            == f"{path}: exists; use --overwrite (overwrite=True) to replace it"
        )
        [record] = run("show", source, "a/b[:]", "-o", path, "--overwrite", "--json", "-q").records
        assert (record["path"], np.load(path).tolist()) == (str(path), [3])
        assert "can't contain strings" in run.error("show", source, "s", "-o", tmp_path / "s.npy")
        os.chmod(f"{source}.data-00000-of-00001", 0o600)
        run("show", source, "a/w", "-o", tmp_path / "private.npy")
        assert (tmp_path / "private.npy").stat().st_mode & 0o777 == 0o600
        message = "-o writes one tensor, and several are given"
        assert run.error("show", source, "a/*", "-o", tmp_path / "two.npy") == message
        assert not (tmp_path / "two.npy").exists()
