"""The names of `tf.train` without TensorFlow; `tests/interop/test_compat.py` asks TensorFlow the same questions."""

import copy
import errno
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support import golden
from support.bundles import plain, snapshot, write_bundle
from support.contents import content
from tensorbundle import compat, index
from tensorbundle.entries import BundleHeader

V221 = golden.GOLDEN / "tf-2.21"
CASES = golden.load()


@pytest.fixture
def run(tmp_path):
    """A directory with the checkpoints m-1 and m-2, and a state file that says m-2."""
    for number in (1, 2):
        with tb.create(tmp_path / f"m-{number}") as writer:
            writer.add("a", np.full((2, 3), number, "<f4"))
            writer.add("scalar", np.int64(number))
            writer.add("text", b"x")
            writer.add("words", [b"x", b"yz"])
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "m-2"\nall_model_checkpoint_paths: "m-1"\nall_model_checkpoint_paths: "m-2"\n'
    )
    return tmp_path


def test_public_names():
    assert sorted(compat.__all__, key=str.lower) == sorted(
        [
            name
            for name in vars(compat)
            if getattr(vars(compat)[name], "__module__", "").startswith(compat.__name__) and name[0] != "_"
        ],
        key=str.lower,
    )
    assert tb.compat is compat


def test_listing_needs_no_numpy_and_no_protobuf(run):
    code = f"""
import sys
import tensorbundle
assert not [name for name in sys.modules if "compat" in name and "tensorbundle" in name]
found = tensorbundle.compat.list_variables({str(run / "m-1")!r})
assert found == [("a", [2, 3]), ("scalar", []), ("text", []), ("words", [2])], found
types = tensorbundle.compat.load_checkpoint({str(run / "m-1")!r}).get_variable_to_dtype_map()
assert types["a"].is_floating and types["a"].name == "float32"
assert not {{"numpy", "google", "ml_dtypes"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    reader = compat.load_checkpoint(str(case.path))
    assert compat.list_variables(case.path) == sorted(
        (key, each["shape"]) for key, each in case.records.items()
    )
    assert reader.get_variable_to_shape_map() == {key: each["shape"] for key, each in case.records.items()}
    types = reader.get_variable_to_dtype_map()
    assert types == {key: each["dtype"] for key, each in case.records.items()}
    for key, record in case.records.items():
        assert reader.has_tensor(key)
        if "error" in record:
            continue
        try:
            value = reader.get_tensor(key)
        except tb.UnsupportedError as error:
            assert "install" in error.reason  # noqa: PT017  a newer ml_dtypes
            continue
        if record["shape"]:
            assert isinstance(value, np.ndarray)
            assert (value.shape, value.dtype) == (tuple(record["shape"]), types[key].numpy)
            assert value.flags.writeable
        else:
            assert isinstance(value, bytes if record["dtype"] == "string" else types[key].as_numpy_dtype)
        assert golden.holds(record, [value] if isinstance(value, bytes) else content(value)), key


def test_load_checkpoint(run):
    for path in (run, str(run), os.fsencode(run), run / "m-2", f"{run}/m-2", run / "m-2.index"):
        assert compat.load_checkpoint(path).get_tensor("scalar") == 2
    assert compat.NewCheckpointReader(run / "m-1").get_tensor(b"scalar") == 1
    with pytest.raises(
        tb.CorruptionError, match="a directory, not a checkpoint; 'load_checkpoint' reads its latest"
    ):
        compat.NewCheckpointReader(run)
    with pytest.raises(tb.MissingFileError, match="no checkpoint of this name"):
        compat.load_checkpoint(run / "m-3")


def test_reader(run):
    reader = compat.load_checkpoint(run)
    assert reader.get_variable_to_shape_map() == {"a": [2, 3], "scalar": [], "text": [], "words": [2]}
    assert (
        reader.debug_string()
        == b"a (DT_FLOAT) [2,3]\nscalar (DT_INT64) []\ntext (DT_STRING) []\nwords (DT_STRING) [2]\n"
    )
    assert type(reader.get_tensor("scalar")) is np.int64
    assert reader.get_tensor("text") == b"x"
    assert reader.get_tensor("words").tolist() == [b"x", b"yz"]
    array = reader.get_tensor("a")
    array[:] = 7
    assert (reader.get_tensor("a") == 2).all()
    assert (
        reader.has_tensor("a"),
        reader.has_tensor(b"a"),
        reader.has_tensor("b"),
        reader.has_tensor(""),
    ) == (*(True, True, False, False),)
    for key in (None, 1, run):
        with pytest.raises(TypeError, match="a key is str or bytes, not"):
            reader.get_tensor(key)


def test_slices_count_as_one_tensor():
    reader = compat.load_checkpoint(V221 / "raw-slices/model.ckpt")
    assert b"grid (DT_FLOAT) [8,4], 3 slices\n" in reader.debug_string()
    assert b"whole (DT_FLOAT) [2,2]\n" in reader.debug_string()
    assert (
        b"float16/.ATTRIBUTES/VARIABLE_VALUE (DT_HALF) [3,5]\n"
        in compat.load_checkpoint(V221 / "all-dtypes").debug_string()
    )
    assert list(reader.get_variable_to_shape_map()) == ["cube", "grid", "line", "plain", "whole"]


def test_keys_that_are_not_utf8(tmp_path):
    prefix = write_bundle(tmp_path / "m", {b"\xff": plain("int8", [], b"\5")}, [b"\5"])
    [(key, shape)] = compat.list_variables(prefix)
    assert (key, shape) == ("\udcff", [])
    reader = compat.load_checkpoint(prefix)
    assert reader.get_tensor(key) == reader.get_tensor(b"\xff") == compat.load_variable(prefix, key) == 5
    assert reader.debug_string() == b"\xff (DT_INT8) []\n"


def test_variables_are_sorted_as_text(tmp_path):
    """As TensorFlow sorts them; the order of the bytes in the file is another."""
    entry = plain("int8", [], b"")
    keys = [
        key
        for key, _ in compat.list_variables(
            write_bundle(tmp_path / "m", {b"\xff": entry, "😀".encode(): entry})
        )
    ]
    assert keys == ["\udcff", "😀"]


def test_load_variable(run):
    assert compat.load_variable(run, "scalar") == compat.load_variable(run, "scalar:0") == 2
    with pytest.raises(KeyError, match="no such tensor; near: 'scalar'"):
        compat.load_variable(run, "scaler")
    with pytest.raises(tb.TensorNotFoundError) as caught:
        compat.load_variable(run, "scalar:0:0")
    assert caught.value.key == "scalar:0"


def test_a_reader_does_not_look_for_near_names(run, monkeypatch):
    """Trying key after key is what scripts do."""
    reader = compat.load_checkpoint(run)
    monkeypatch.setattr(index, "near_names", lambda *_: pytest.fail("takes a second where there are many"))
    with pytest.raises(tb.TensorNotFoundError) as caught:
        reader.get_tensor(b"scaler")
    assert (caught.value.key, caught.value.path) == ("scaler", str(run / "m-2"))


def test_latest_checkpoint(run, monkeypatch, caplog):
    assert compat.latest_checkpoint(run) == compat.latest_checkpoint(os.fsencode(run)) == f"{run}/m-2"
    assert compat.latest_checkpoint(f"{run}/") == f"{run}/m-2"
    monkeypatch.chdir(run)
    assert compat.latest_checkpoint("") == "m-2"
    assert compat.latest_checkpoint(".") == "./m-2"
    (run / "other").write_text('model_checkpoint_path: "m-1"')
    assert compat.latest_checkpoint(run, "other") == f"{run}/m-1"
    for directory in (run / "m-1", run / "nope", "no\0such"):
        assert compat.latest_checkpoint(directory) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'model_checkpoint_path: "gone"',
            "names 'gone' as the latest checkpoint, which is not there; found 'm-1', 'm-2'",
        ),
        ('model_checkpoint_path: "/gone/m-1"', "m-1'"),
        ("nonsense", "not a state file"),
        ('model_checkpoint_path: "m-1" more: 1', "not a state file"),
        (None, "a directory without a 'checkpoint' state file; found 'm-1', 'm-2'"),
    ],
)
def test_directories_without_a_checkpoint(run, caplog, text, reason):
    """TensorFlow's None and ValueError, and more to say."""
    (run / "checkpoint").unlink()
    if text is not None:
        (run / "checkpoint").write_text(text)
    assert compat.latest_checkpoint(run) is None
    assert [record.name for record in caplog.records] == ["tensorbundle.compat"] * (text is not None)
    for function in (
        compat.load_checkpoint,
        compat.list_variables,
        lambda path: compat.load_variable(path, "a"),
    ):
        with pytest.raises(ValueError, match=re.escape(reason)) as caught:
            function(run)
        assert isinstance(caught.value, compat.NoCheckpointError)
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.path == str(run)


def test_a_saved_model_is_no_directory_of_checkpoints():
    """To TensorFlow; ours says what to open."""
    with pytest.raises(compat.NoCheckpointError, match=r"no state file .*; '.*/variables/variables' exists"):
        compat.load_checkpoint(V221 / "saved-model")


def test_get_checkpoint_state(run):
    state = compat.get_checkpoint_state(run)
    assert state.model_checkpoint_path == f"{run}/m-2"
    assert list(state.all_model_checkpoint_paths) == [f"{run}/m-1", f"{run}/m-2"]
    assert list(state.all_model_checkpoint_timestamps) == []
    assert state.last_preserved_timestamp == 0
    assert compat.get_checkpoint_state(run, "absent") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "names no latest checkpoint"),
        (b'all_model_checkpoint_paths: "m-1"', "names no latest checkpoint"),
        (b'model_checkpoint_path: "\xff"', "not a state file: invalid start byte"),
    ],
)
def test_states_that_are_errors(run, text, reason):
    (run / "checkpoint").write_bytes(text)
    for function in (compat.get_checkpoint_state, compat.latest_checkpoint, compat.load_checkpoint):
        with pytest.raises(ValueError, match=reason) as caught:
            function(run)
        assert isinstance(caught.value, tb.CorruptionError)
        assert caught.value.path == f"{run}/checkpoint"


def test_states_that_are_no_files(run, caplog):
    """None, and no waiting for what comes out of a pipe."""
    (run / "checkpoint").unlink()
    os.mkfifo(run / "checkpoint")
    assert compat.get_checkpoint_state(run) is None
    (run / "checkpoint").unlink()
    (run / "checkpoint").mkdir()
    assert compat.get_checkpoint_state(run) is None
    assert caplog.records == []
    with (run / "huge").open("wb") as file:
        file.truncate(2**40)
    assert compat.get_checkpoint_state(run, "huge") is None
    assert caplog.records[0].getMessage() == f"{run}/huge: not a state file, ignored: {2**40} bytes"
    assert caplog.records[0].levelno == logging.WARNING


def test_a_directory_that_is_not_utf8(run):
    directory = os.fsencode(run) + b"/\xff"
    os.mkdir(directory)
    (run / "checkpoint").rename(os.fsdecode(directory) + "/checkpoint")
    for function in (compat.get_checkpoint_state, compat.latest_checkpoint, compat.list_variables):
        with pytest.raises(
            ValueError, match="a path that is not UTF-8; give a checkpoint's prefix"
        ) as caught:
            function(directory)
        assert isinstance(caught.value, tb.BundleError)
    write_bundle(os.fsdecode(directory) + "/m", {})
    assert compat.list_variables(directory + b"/m") == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # protobuf leaves wrong escapes to Python
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
        st.binary(max_size=20).map(lambda raw: b'model_checkpoint_path: "' + raw + b'"'),
        st.lists(
            st.sampled_from(
                [
                    *(
                        b"model_checkpoint_path",
                        b"all_model_checkpoint_paths",
                        b"last_preserved_timestamp",
                        b"more",
                    ),
                    *(
                        b":",
                        b'"m-1"',
                        b"'",
                        b'"',
                        b"{",
                        b"}",
                        b"<",
                        b"[",
                        b"]",
                        b"#",
                        b"\\",
                        b"1e999",
                        b"-",
                        b",",
                        b"\n",
                    ),
                ]
            ),
            max_size=12,
        ).map(b" ".join),
    )
)
def test_any_state(tmp_path_factory, content):
    directory = tmp_path_factory.getbasetemp() / "any-state"
    directory.mkdir(exist_ok=True)
    (directory / "checkpoint").write_bytes(content)
    try:
        state = compat.get_checkpoint_state(directory)
    except tb.CorruptionError:
        return
    assert state is None or state.model_checkpoint_path.startswith("/")
    assert compat.latest_checkpoint(directory) is None


@pytest.mark.parametrize("name", ["g[1]", "*", "?", "a b", "ü", "back\\slash", "-x", "{a,b}"])
def test_paths_are_literal(tmp_path, name):
    write_bundle(tmp_path / "g1", {})
    assert not compat.checkpoint_exists(tmp_path / name)
    assert compat.get_checkpoint_mtimes([tmp_path / name]) == []
    write_bundle(tmp_path / name, {})
    compat.update_checkpoint_state(tmp_path, tmp_path / name)
    assert compat.checkpoint_exists(tmp_path / name)
    assert compat.latest_checkpoint(tmp_path) == str(tmp_path / name)
    assert compat.list_variables(tmp_path) == []
    assert len(compat.get_checkpoint_mtimes([tmp_path / name])) == 1
    compat.remove_checkpoint(tmp_path / name)
    assert sorted(snapshot(tmp_path)) == ["checkpoint", "g1.index"]


def test_checkpoint_exists(run):
    for name, there in {
        "m-1": True,
        "m-3": False,
        "m-": False,
        "checkpoint": True,
        "": True,
        "m-1.index": True,
    }.items():
        assert compat.checkpoint_exists(run / name) is there
    old = V221 / "v1-sharded"
    for name, there in {
        "model.ckpt-?????-of-00002": True,
        "model.ckpt-?????-of-00003": False,
        "model.ckpt-00001-of-00002": True,
        "model.ckpt": False,
        "model.????": False,
    }.items():
        assert compat.checkpoint_exists(old / name) is there


def test_get_checkpoint_mtimes(run):
    """In whole seconds."""
    for number in (1, 2):
        os.utime(run / f"m-{number}.index", ns=(0, 10**18 * number + 999_999_999))
    prefixes = [run / name for name in ("m-2", "m-9", "m-1")]
    assert compat.get_checkpoint_mtimes(prefixes) == [2e9, 1e9]
    (run / "old-00001-of-00002").touch()  # the other one is missing
    assert len(compat.get_checkpoint_mtimes([run / "old-?????-of-00002"])) == 1


def test_writing_a_state(run):
    paths, times = [f"{run}/m-1"], [1.5, 2.25]
    before = snapshot(run)
    compat.update_checkpoint_state(run, f"{run}/m-2", paths, None, times, 0.5)
    assert (paths, times) == ([f"{run}/m-1"], [1.5, 2.25])
    expected = (
        f'model_checkpoint_path: "{run}/m-2"\n'
        f'all_model_checkpoint_paths: "{run}/m-1"\nall_model_checkpoint_paths: "{run}/m-2"\n'
        "all_model_checkpoint_timestamps: 1.5\nall_model_checkpoint_timestamps: 2.25\nlast_preserved_timestamp: 0.5\n"
    )
    assert snapshot(run) == before | {"checkpoint": expected.encode()}
    found = compat.generate_checkpoint_state_proto(run, f"{run}/m-2", paths, times, 0.5)
    assert str(found) == expected
    assert found == compat.get_checkpoint_state(run)


def test_writing_a_relative_state(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    compat.update_checkpoint_state(run.name, f"{run.name}/ü", latest_filename="other")
    state = (run / "other").read_text(encoding="utf-8")
    assert state == 'model_checkpoint_path: "ü"\nall_model_checkpoint_paths: "ü"\n'


def test_states_that_are_not_written(run):
    before = snapshot(run)
    for name in ("checkpoint", "other"):
        with pytest.raises(tb.ConflictError, match="both the state file and the checkpoint it names"):
            compat.update_checkpoint_state(run, run / name, latest_filename=name)
    for function in (compat.update_checkpoint_state, compat.generate_checkpoint_state_proto):
        with pytest.raises(ValueError, match="2 timestamps for 1 checkpoints"):
            function(run, "m", all_model_checkpoint_timestamps=[1, 2])
        with pytest.raises(ValueError, match=r"UTF-8|surrogates"):
            function(run, b"\xff")
    with pytest.raises(tb.MissingFileError, match="no such directory"):
        compat.update_checkpoint_state(run / "nope", "m")
    assert snapshot(run) == before


def test_a_full_disk(run, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = snapshot(run)
    monkeypatch.setattr(text_format, "MessageToString", full)
    with pytest.raises(tb.BundleError, match="No space left"):
        compat.update_checkpoint_state(run, run / "m-1")
    assert snapshot(run) == before


def test_remove_checkpoint(run):
    (run / "m-1.meta").touch()
    for name in (
        "m-1.data-00001-of-00002",
        "m-1.data-100000-of-100001",
        "m-1.data",
        "m-10.index",
        "xm-1.index",
    ):
        (run / name).touch()
    kept = {"checkpoint", "m-1.data", "m-10.index", "xm-1.index", "m-2.index", "m-2.data-00000-of-00001"}
    compat.remove_checkpoint(run / "m-1")
    assert set(snapshot(run)) == kept
    compat.remove_checkpoint(run / "m-1")  # no error
    compat.remove_checkpoint(run / "m-2", 1)  # no such V1 file
    assert set(snapshot(run)) == kept


def test_remove_v1_checkpoints(tmp_path):
    for name in (
        "old",
        "old.graph",
        "sharded-00000-of-00002",
        "sharded-00001-of-00002",
        "sharded.graph",
        "sharded",
    ):
        (tmp_path / name).touch()
    compat.remove_checkpoint(tmp_path / "old", checkpoint_format_version=1, meta_graph_suffix="graph")
    compat.remove_checkpoint(tmp_path / "sharded-?????-of-00002", 1, "graph")
    assert set(snapshot(tmp_path)) == {"sharded"}


def test_what_can_not_be_removed(tmp_path):
    (tmp_path / "m.index").mkdir()
    with pytest.raises(tb.BundleError, match="can't be deleted: ") as caught:
        compat.remove_checkpoint(tmp_path / "m")
    assert caught.value.path == str(tmp_path / "m.index")


class Clock:
    """Time that only sleeping moves; at given times it calls a function."""

    def __init__(self, monkeypatch, events):
        self.now = 0.0
        self._events = events
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds):
        before, self.now = self.now, self.now + seconds
        for at, event in self._events.items():
            if before < at <= self.now:
                event()


def test_checkpoints_iterator(run, monkeypatch):
    (run / "checkpoint").unlink()
    events = {
        at: lambda name=name: compat.update_checkpoint_state(run, run / name)
        for at, name in {2.5: "m-1", 4: "m-1", 10: "m-2", 30: "m-1"}.items()
    }
    clock = Clock(monkeypatch, events)
    found = [(path, clock.now) for path in compat.checkpoints_iterator(run, timeout=12)]
    assert found == [(f"{run}/m-1", 3), (f"{run}/m-2", 10)]
    assert clock.now == 22


def test_checkpoints_iterator_that_is_told(run, monkeypatch):
    clock, calls = Clock(monkeypatch, {}), []
    iterator = compat.checkpoints_iterator(
        run, min_interval_secs=5, timeout=3, timeout_fn=lambda: calls.append(clock.now) or len(calls) == 3
    )
    assert list(iterator) == [f"{run}/m-2"]
    assert calls == [5, 8, 11]


@pytest.mark.parametrize("dtype", tb.DType)
def test_types(dtype):
    found = compat.DType(dtype)
    assert found == dtype == found.name == found.base_dtype
    assert (found.as_datatype_enum, found.size) == (dtype.number, dtype.itemsize)
    assert type(found.name) is str
    assert hash(found) == hash(dtype) == hash(found.name)
    assert {found: 1}[dtype] == {dtype.value: 1}[found] == 1
    assert tb.DType(found) is dtype
    assert repr(found) == f"DType('{dtype}')"
    assert f"{found:>20}" == f"{dtype.value:>20}"
    assert json.loads(json.dumps(found)) == found
    for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert type(again) is compat.DType
        assert again == found
    kinds = [found.is_bool, found.is_complex, found.is_floating, found.is_integer, found.is_quantized]
    assert sum(kinds) == (dtype not in ("string", "variant", "resource"))
    others = [each for each in tb.DType if each is not dtype]
    assert not [each for each in others if found == each or found == compat.DType(each)]
    assert [each for each in others if found != each] == others


def test_numpy_types():
    def of(name):
        return compat.DType(name)

    assert of("float32").as_numpy_dtype is np.float32
    assert of("bool").as_numpy_dtype is np.bool_
    assert of("string").as_numpy_dtype is object
    assert of("qint8").as_numpy_dtype == np.dtype([("qint8", "i1")])
    assert of("qint8").numpy == np.dtype("i1")
    assert of("float32") == np.float32
    assert of("float32") == np.dtype("f4")
    assert np.dtype("f4") == of("float32")
    assert of("bfloat16") == tb.DType.bfloat16.numpy
    assert of("string") == np.dtype("O")
    assert of("string") == np.dtype("S3")
    assert of("string") in (object, np.object_)
    for other in (np.float64, np.int32, np.dtype("f8"), object, str, None, 1, "float64", b"float32"):
        assert of("float32") != other
    for name in ("variant", "resource"):
        assert of(name) != np.object_
        with pytest.raises(tb.UnsupportedError):
            _ = of(name).as_numpy_dtype
    assert (of("float32") != np.float32) is False
    assert of("complex128").real_dtype == "float64"
    assert of("complex64").real_dtype.is_floating
    assert of("int8").real_dtype == "int8"
    assert of("uint8").is_unsigned
    assert not of("int8").is_unsigned


def test_kinds_of_errors(tmp_path):
    """A script that expects a ValueError of TensorFlow's catches ours."""
    prefix = write_bundle(tmp_path / "m", {}, [b""], BundleHeader(1, min_consumer=2))
    with pytest.raises(ValueError, match="excludes readers of version 1") as caught:
        compat.load_checkpoint(prefix)
    assert isinstance(caught.value, tb.UnsupportedError)
    assert caught.value.path == f"{prefix}.index"
    reader = compat.load_checkpoint(V221 / "iterator")
    key = "iterator/.ATTRIBUTES/ITERATOR_STATE"
    assert reader.get_variable_to_dtype_map()[key] == "variant"
    with pytest.raises(ValueError, match="can't be NumPy arrays") as caught:
        reader.get_tensor(key)
    assert isinstance(caught.value, compat.UnsupportedValueError)
    assert caught.value.key == key


@pytest.mark.parametrize("error", [compat.NoCheckpointError, compat.UnsupportedValueError])
def test_errors_are_values(error):
    original = error("what is wrong", path="p", offset=1, key="k")
    for again in (pickle.loads(pickle.dumps(original)), copy.deepcopy(original)):
        assert type(again) is error
        assert str(again) == str(original) == "p: offset 0x1: key 'k': what is wrong"
