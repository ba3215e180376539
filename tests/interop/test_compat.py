"""`tensorbundle.compat` and `tf.train` on the same inputs: the same values, the same kinds of errors.

Every test asks both the same question. Where the answers differ on purpose, a table says what ours is and why; an entry
that is no longer true fails.
"""

import faulthandler
import os
import pathlib
import pickle
import shutil
import struct
import time
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest

import tensorbundle as tb
from support import golden
from support.bundles import plain, raw, snapshot, table_bytes, write_bundle
from support.contents import content
from support.tensorflow import VERSION, tf, tf1
from tensorbundle import compat
from tensorbundle.coding import crc32c, encode_varint, mask
from tensorbundle.entries import BundleHeader, TensorEntry

THEIRS = tf1.train  # has all that tf.train has, and the names that only TF1 exports
V221 = golden.GOLDEN / "tf-2.21"

# What stands here for each error of TensorFlow.
KINDS = {
    "AttributeError": AttributeError,
    "DataLossError": tb.CorruptionError,
    "IndexError": tb.CorruptionError,
    "InternalError": (tb.UnsupportedError, tb.CorruptionError),
    "NotFoundError": (tb.TensorNotFoundError, tb.MissingFileError),
    "OpError": (tb.CorruptionError, tb.MissingFileError),
    "RuntimeError": tb.ConflictError,
    "TypeError": TypeError,
    "UnicodeDecodeError": ValueError,
    "UnicodeEncodeError": ValueError,
    "ValueError": ValueError,
}


class Refusal(NamedTuple):
    """TensorFlow raised this."""

    kind: str
    message: str


def comparable(value):
    """Of arrays and scalars all that a script can see of them; of messages their bytes."""
    if isinstance(value, np.ndarray):
        return type(value), value.dtype, value.shape, content(value), value.flags.writeable
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    return value.SerializeToString() if hasattr(value, "SerializeToString") else value


def theirs(question, *given):
    try:
        return comparable(question(THEIRS, *given))
    except Exception as error:
        return Refusal(type(error).__name__, str(error))


def ours(question, *given):
    try:
        return comparable(question(compat, *given))
    except Exception as error:
        return error


def agree(their_answer, our_answer):
    if isinstance(their_answer, Refusal):
        return isinstance(our_answer, KINDS[their_answer.kind])
    return not isinstance(our_answer, Exception) and our_answer == their_answer


def compare(question, *given):
    """Ask both, and expect agreement; returns our answer."""
    answers = theirs(question, *given), ours(question, *given)
    assert agree(*answers), answers
    return answers[1]


# --- what checkpoints hold ------------------------------------------------------------------------------------------

BEYOND_TENSORFLOW = {
    "Sliced checkpoints are not supported": "its reader does not put slices of V1 files together",
    "Data type not supported": "its reader knows some types of V1 files",
    "Dtype string not supported.": "it does not put slices of strings together",
    "Dtype half not supported.": "nor slices of float16",
}
CASES = [case for case in golden.load() if case.version <= VERSION]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_golden(case):
    path = str(case.path)
    readers = {train: train.load_checkpoint(path) for train in (THEIRS, compat)}
    compare(lambda train: train.list_variables(path))
    compare(lambda train: readers[train].get_variable_to_shape_map())
    types = readers[compat].get_variable_to_dtype_map()
    assert types == readers[THEIRS].get_variable_to_dtype_map()
    assert list(types) == sorted(types)
    for key in [*types, "nope", *[f"{key}:0" for key in types]]:
        for name in (key, key.encode()):
            compare(lambda train, name=name: readers[train].has_tensor(name))
        get = lambda train, key=key: readers[train].get_tensor(key)  # noqa: E731
        their_answer, our_answer = theirs(get), ours(get)
        if isinstance(their_answer, Refusal) and their_answer.message in BEYOND_TENSORFLOW:
            assert our_answer[1:3] == (types[key].numpy, tuple(case.records[key]["shape"])), key
            assert "error" in case.records[key] or golden.holds(case.records[key], our_answer[3]), key
        else:
            assert agree(their_answer, our_answer), (key, their_answer, our_answer)


def test_what_is_beyond_tensorflow():
    """Each reason above is there because TensorFlow gives it."""
    given = set()
    for case in CASES:
        reader = THEIRS.load_checkpoint(str(case.path))
        answers = [theirs(lambda _, key=key, r=reader: r.get_tensor(key)) for key in case.records]
        given |= {answer.message for answer in answers if isinstance(answer, Refusal)}
    assert set(BEYOND_TENSORFLOW) <= given


@pytest.mark.parametrize("case", CASES, ids=str)
def test_debug_string(case):
    """The same lines, but that of a partitioned tensor of a bundle TensorFlow shows only the binary keys of its slices."""
    found, expected = (
        set(train.load_checkpoint(str(case.path)).debug_string().splitlines()) for train in (compat, THEIRS)
    )
    if not case.is_v1:
        expected = {line for line in expected if not line.startswith(b"\0")}
        found = {line for line in found if not line.endswith(b" slices")}
    assert found == expected


@pytest.mark.parametrize("name", ["a", "a:0", "a:0:0", "a:1", "a:", ":0", "", "nope", "b:0", b"a", None, 3])
def test_load_variable(name, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.arange(3, dtype="<f4"))
        writer.add("b:0", 7)
    question = lambda train: train.load_variable(str(tmp_path / "m"), name)  # noqa: E731
    if name in ("", ":0"):
        assert theirs(question).kind == "OpError"  # takes the header for an entry
        assert isinstance(ours(question), tb.TensorNotFoundError)
    else:
        compare(question)
    assert isinstance(ours(lambda train: train.load_variable(str(tmp_path / "m"), "b")), KeyError)
    assert compat.load_checkpoint(tmp_path / "m").get_tensor("b:0") == 7


@pytest.mark.parametrize("key", ["", b"", "nope", b"nope", "\udcff", 1, None, pathlib.Path("a")])
def test_keys(key, tmp_path):
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", 1)
    for question in (
        lambda train: train.load_checkpoint(str(tmp_path / "m")).has_tensor(key),
        lambda train: train.load_checkpoint(str(tmp_path / "m")).get_tensor(key),
    ):
        if key in ("", b""):
            assert theirs(question) is True or theirs(question).kind == "OpError"  # the header
            assert ours(question) is False or isinstance(ours(question), tb.TensorNotFoundError)
        elif key == "\udcff":
            assert theirs(question).kind == "UnicodeEncodeError"  # text for a key that is not UTF-8
            assert ours(question) is False or isinstance(ours(question), tb.TensorNotFoundError)
        else:
            compare(question)


def test_slices_have_keys_of_their_own():
    path = str(V221 / "raw-slices/model.ckpt")
    with tb.open(path) as ckpt:
        keys = [key for key, _ in ckpt.index.raw_entries() if key.startswith(b"\0")]
    assert keys
    for key in keys:
        assert compare(lambda train, key=key: train.load_checkpoint(path).has_tensor(key))
        compare(lambda train, key=key: train.load_checkpoint(path).get_tensor(key))


def test_arrays_are_copies(tmp_path):
    """Changing one changes neither the file nor what the reader gives next."""
    with tb.create(tmp_path / "m") as writer:
        writer.add("a", np.arange(3))
        writer.add("s", [b"x", b"y"])
    before = snapshot(tmp_path)
    for train in (THEIRS, compat):
        reader = train.load_checkpoint(str(tmp_path / "m"))
        for key, value in (("a", 5), ("s", b"z")):
            array = reader.get_tensor(key)
            array[:] = value
            assert reader.get_tensor(key)[0] != value
    assert snapshot(tmp_path) == before


# --- data types -----------------------------------------------------------------------------------------------------

TYPE_ATTRIBUTES = [
    *(
        "as_datatype_enum",
        "as_numpy_dtype",
        "base_dtype",
        "is_bool",
        "is_complex",
        "is_floating",
        "is_integer",
    ),
    *("is_quantized", "is_unsigned", "name", "real_dtype", "size"),
]
NOT_OFFERED = {  # about graphs and computing, not about what is stored
    *("cast", "experimental_as_proto", "experimental_from_proto", "experimental_type_proto", "flatten"),
    *("from_tensors", "is_numeric", "is_numpy_compatible", "is_subtype_of", "limits", "max", "min"),
    *("most_specific_common_supertype", "placeholder_value", "to_tensors"),
}
TYPES = [dtype for dtype in tb.DType if hasattr(tf.dtypes, dtype) or VERSION >= (2, 21)]


@pytest.mark.parametrize("dtype", TYPES)
def test_types(dtype):
    expected, found = tf.as_dtype(dtype.value), compat.DType(dtype)
    for name in TYPE_ATTRIBUTES:
        if name == "as_numpy_dtype" and dtype in ("variant", "resource"):
            with pytest.raises(KeyError):
                _ = expected.as_numpy_dtype
            with pytest.raises(tb.UnsupportedError, match="can't be NumPy arrays"):
                _ = found.as_numpy_dtype
        else:
            assert getattr(found, name) == getattr(expected, name), name
    assert found == expected
    assert expected == found
    assert (found != expected) is False
    assert found.is_compatible_with(expected)
    assert tf.as_dtype(found) is expected
    others = [each for each in TYPES if each is not dtype]
    assert not [
        each for each in others if found == tf.as_dtype(each.value) or tf.as_dtype(each.value) == found
    ]


NUMPY_TYPES = [
    *(
        np.float32,
        np.dtype("float32"),
        np.dtype(">f4"),
        np.int64,
        np.bool_,
        np.complex64,
        np.uint8,
        np.float16,
    ),
    *(
        np.object_,
        object,
        np.dtype("S3"),
        np.dtype("U3"),
        np.bytes_,
        str,
        int,
        None,
        3.5,
        "nonsense",
        "float32",
    ),
    *(tb.DType.bfloat16.numpy, tb.DType.int4.numpy.type, tf.float32, tb.DType.float32),
]


@pytest.mark.parametrize("other", NUMPY_TYPES, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "string", "int64", "bfloat16", "int4", "qint8", "variant"])
def test_types_equal_those_of_numpy(dtype, other):
    assert (compat.DType(dtype) == other) is (tf.as_dtype(dtype) == other)


def test_what_types_do_not_offer():
    public = {name for name in dir(tf.float32) if not name.startswith("_")}
    assert public - {"is_compatible_with", *TYPE_ATTRIBUTES} == NOT_OFFERED


# --- directories and prefixes ---------------------------------------------------------------------------------------

ABOUT_A_PATH = {
    "load_checkpoint": lambda train, path: train.load_checkpoint(path).get_variable_to_shape_map(),
    "NewCheckpointReader": lambda train, path: train.NewCheckpointReader(path).get_variable_to_shape_map(),
    "list_variables": lambda train, path: train.list_variables(path),
    "load_variable": lambda train, path: train.load_variable(path, "a"),
    "latest_checkpoint": lambda train, path: train.latest_checkpoint(path),
    "get_checkpoint_state": lambda train, path: train.get_checkpoint_state(path),
    "checkpoint_exists": lambda train, path: train.checkpoint_exists(path),
    "get_checkpoint_mtimes": lambda train, path: train.get_checkpoint_mtimes([path, path]),
}


def checkpoint(prefix, value=1.5):
    data = struct.pack("<f", value)
    write_bundle(prefix, {b"a": plain("float32", [], data)}, [data])


def state(directory, text):
    (directory / "checkpoint").write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Directories and prefixes of many kinds."""
    root = tmp_path_factory.mktemp("tree")
    for number in (1, 2):
        checkpoint(root / f"m-{number}", number)
        (root / f"m-{number}.meta").write_bytes(b"graph")
        os.utime(root / f"m-{number}.index", ns=(0, 10**18 * number + 999_999_999))
    state(root, 'model_checkpoint_path: "m-2"\n')
    for name in ("g[1]", "*", "?", "a b", "ü", "-x", "new\nline", "back\\slash", "{a,b}", "~"):
        checkpoint(root / name)
    for name in ("empty", "nameless", "both", "saved/variables"):
        (root / name).mkdir(parents=True)
    checkpoint(f"{root}/nameless/")
    checkpoint(root / "both")
    checkpoint(root / "both/inside")
    state(root / "both", 'model_checkpoint_path: "inside"\n')
    checkpoint(root / "saved/variables/variables")
    (root / "saved/saved_model.pb").touch()
    (root / "text").write_text("no checkpoint " * 10)
    (root / "nothing").touch()
    shutil.copy(V221 / "v1-format/model.ckpt-7", root / "old")
    for number in (0, 1):
        name = f"-0000{number}-of-00002"
        shutil.copy(V221 / f"v1-sharded/model.ckpt{name}", root / f"sharded{name}")
    (root / "v1").mkdir()
    shutil.copy(V221 / "v1-format/model.ckpt-7", root / "v1/old")
    state(root / "v1", 'model_checkpoint_path: "old"\n')
    (root / "link").symlink_to("both")
    (root / "dangling.index").symlink_to("nowhere")
    return root


PATHS = [
    *(
        "m-1",
        "m-2",
        "m-9",
        "m-1/",
        "nope/m",
        "m",
        "",
        ".",
        "both",
        "both/",
        "link",
        "both/inside",
        "empty",
        "nope/",
    ),
    *(
        "nameless/",
        "nameless",
        "saved",
        "saved/",
        "saved/variables/variables",
        "v1",
        "old",
        "text",
        "nothing",
    ),
    *(
        "g[1]",
        "*",
        "?",
        "m-*",
        "m-?",
        "[m]-1",
        "a b",
        "ü",
        "-x",
        "new\nline",
        "back\\slash",
        "{a,b}",
        "~",
        "dangling",
    ),
    *("m-2.index", "m-1.meta", "m-1.data-00000-of-00001", "both/checkpoint", "old.index"),
    *(
        "sharded-?????-of-00002",
        "sharded-?????-of-00003",
        "sharded",
        "sharded-00000-of-00002",
        "sharded-*-of-*",
    ),
    *("x" * 300, "nul\0", "m-1/../m-2", "./m-2", "//m-2"),
]
READERS = {"load_checkpoint", "NewCheckpointReader", "list_variables", "load_variable"}
FINDERS = {"checkpoint_exists", "get_checkpoint_mtimes"}


class Difference(NamedTuple):
    """Functions that answer otherwise on purpose, whether ours find a checkpoint, and why."""

    functions: set[str]
    found: bool
    reason: str


DIFFERENCES = {
    "g[1]": Difference(READERS | FINDERS, True, "it is a pattern that does not match itself"),
    "back\\slash": Difference(READERS | FINDERS, True, "it is a pattern that does not match itself"),
    "[m]-1": Difference(FINDERS, False, "it is a pattern that m-1 matches; opening it fails all the same"),
    "m-*": Difference(FINDERS, False, "it is a pattern that m-1 and m-2 match"),
    "m-?": Difference(FINDERS, False, "it is a pattern that m-1 and m-2 match"),
    "sharded-*-of-*": Difference(
        READERS | FINDERS, False, "a pattern that no Saver writes may match anything"
    ),
    "sharded": Difference(
        READERS, True, "the name of a V1 checkpoint in several files, as a person knows it"
    ),
    "sharded-00000-of-00002": Difference(
        READERS - {"load_variable"}, True, "one of several files is not all"
    ),
    "m-2.index": Difference(READERS, True, "the index is read as a V1 file that holds nothing"),
    "m-1.meta": Difference(READERS, True, "any file of a checkpoint means it"),
    "m-1.data-00000-of-00001": Difference(READERS, True, "any file of a checkpoint means it"),
    "old.index": Difference(READERS, True, "a V1 checkpoint has no index, but this can't mean another"),
    "both/checkpoint": Difference(READERS, True, "a state file means the latest checkpoint"),
    "m-1/../m-2": Difference(READERS | FINDERS, False, "paths are cleaned as text; m-1 is no directory"),
}


@pytest.mark.parametrize("function", ABOUT_A_PATH)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_paths(path, function, tree):
    question = ABOUT_A_PATH[function]
    their_answer, our_answer = (ask(question, f"{tree}/{path}") for ask in (theirs, ours))
    if path in DIFFERENCES and function in DIFFERENCES[path].functions:
        assert not agree(their_answer, our_answer)
        if DIFFERENCES[path].found:
            assert our_answer
            assert not isinstance(our_answer, Exception)
        else:
            assert isinstance(our_answer, tb.MissingFileError) or not our_answer
    else:
        assert agree(their_answer, our_answer), (their_answer, our_answer)


@pytest.mark.parametrize("function", ABOUT_A_PATH)
@pytest.mark.parametrize("path", ["m-1", "", ".", "./", "both", "../tree/m-2", "nope", "./both/inside"])
def test_relative_paths(path, function, tree, monkeypatch):
    monkeypatch.chdir(tree)
    compare(ABOUT_A_PATH[function], path.replace("tree", tree.name))


@pytest.mark.parametrize("function", ABOUT_A_PATH)
@pytest.mark.parametrize("path", ["m-1", "m-9", "both", "empty"])
def test_kinds_of_paths(path, function, tree):
    """Each function of TensorFlow takes some kinds; ours take all, and return text."""
    question, text = ABOUT_A_PATH[function], f"{tree}/{path}"
    expected = ours(question, text)
    for given in (text, pathlib.Path(text), text.encode(), os.fsencode(text)):
        their_answer, our_answer = theirs(question, given), ours(question, given)
        assert isinstance(their_answer, Refusal) or agree(their_answer, our_answer)
        assert our_answer == expected or type(our_answer) is type(expected)


@pytest.mark.parametrize("function", ABOUT_A_PATH)
@pytest.mark.parametrize("path", [None, 1, 1.5, ["m"], object()], ids=lambda each: type(each).__name__)
def test_what_is_no_path(path, function):
    compare(ABOUT_A_PATH[function], path)


# --- state files ----------------------------------------------------------------------------------------------------

M = 'model_checkpoint_path: "m"\n'
STATES = {
    "none": None,
    "empty": "",
    "plain": M,
    "all fields": M
    + 'all_model_checkpoint_paths: "a"\nall_model_checkpoint_paths: "/b/m"\n'
    + "all_model_checkpoint_timestamps: 1.5\nlast_preserved_timestamp: 2.25\n",
    "list only": 'all_model_checkpoint_paths: "m"\n',
    "empty name": 'model_checkpoint_path: ""\n',
    "absent": 'model_checkpoint_path: "x"\n',
    "absent, another is listed": 'model_checkpoint_path: "x"\nall_model_checkpoint_paths: "m"\n',
    "absolute": 'model_checkpoint_path: "DIR/m"\n',
    "moved": 'model_checkpoint_path: "/elsewhere/m"\nall_model_checkpoint_paths: "/elsewhere/m"\n',
    "above": 'model_checkpoint_path: "../x"\n',
    "twice": 'model_checkpoint_path: "x"\n' + M,
    "single quotes": "model_checkpoint_path: 'm' # a comment\n",
    "escapes": 'model_checkpoint_path: "\\155"\n',
    "in parts": 'model_checkpoint_path: "" "m"\n',
    "one line": 'model_checkpoint_path: "m" all_model_checkpoint_paths: "m"',
    "carriage returns": M.replace("\n", "\r\n"),
    "carriage returns only": 'model_checkpoint_path: "m"\rall_model_checkpoint_paths: "m"\r',
    "byte order mark": "\ufeff" + M,
    "unknown field": M + "foo: 1\n",
    "unknown message": M + "foo < bar: 1 >\n",
    "extension": M + "[foo.bar]: 1\n",
    "by number": '1: "m"\n',
    "wrong case": 'Model_checkpoint_path: "m"\n',
    "cut short": M + "all_model_check",
    "unterminated": 'model_checkpoint_path: "m\n',
    "no number": M + 'last_preserved_timestamp: "x"\n',
    "not a number": M + "last_preserved_timestamp: nan\n",
    "infinite": M + "all_model_checkpoint_timestamps: [1, inf, 1e999]\n",
    "json": '{"model_checkpoint_path": "m"}',
    "garbage": "\0\1garbage",
    "not UTF-8": b'model_checkpoint_path: "\xff"\n',
    "not UTF-8, escaped": 'model_checkpoint_path: "\\377"\n',
    "NUL": 'model_checkpoint_path: "m\\000"\n',
    "home": 'model_checkpoint_path: "~/m"\n',
    "URL": 'model_checkpoint_path: "gs://bucket/m"\n',
    "ü": 'model_checkpoint_path: "ü"\n',
    "directory": 'model_checkpoint_path: "sub"\n',
    "itself": 'model_checkpoint_path: "checkpoint"\n',
    "index": 'model_checkpoint_path: "m.index"\n',
    "V1": 'model_checkpoint_path: "old"\n',
    "V1 shards": 'model_checkpoint_path: "sharded-?????-of-00002"\n',
    "V1 shards that are not there": 'model_checkpoint_path: "sharded-?????-of-00003"\n',
    "V1 shards by name": 'model_checkpoint_path: "sharded"\n',
    "pattern": 'model_checkpoint_path: "*"\n',
    "brackets": 'model_checkpoint_path: "g[1]"\n',
}
STATE_DIFFERENCES = {
    ("pattern", "latest_checkpoint"): ("opening it fails in TensorFlow too", lambda answer: answer is None),
    ("brackets", "latest_checkpoint"): ("it is there", lambda answer: answer.endswith("g[1]")),
    ("brackets", "load_checkpoint"): ("it is there", lambda answer: answer == {"a": []}),
    ("brackets", "list_variables"): ("it is there", lambda answer: answer == [("a", [])]),
    ("index", "load_checkpoint"): ("any file of a checkpoint means it", lambda answer: answer == {"a": []}),
    ("index", "list_variables"): ("any file of a checkpoint means it", lambda answer: answer == [("a", [])]),
    ("URL", "get_checkpoint_state"): (
        "a URL is no path in the directory",
        lambda answer: b"//bucket" in answer,
    ),
}
STATE_DIFFERENCES |= {
    ("URL", name): (
        "where no URL can be read, it says so",
        lambda answer: isinstance(answer, tb.UnsupportedError),
    )
    for name in ("latest_checkpoint", "load_checkpoint", "list_variables")
}
ABOUT_A_STATE = ["get_checkpoint_state", "latest_checkpoint", "load_checkpoint", "list_variables"]


def fill(directory, text):
    for name in ("m", "ü", "g[1]"):
        checkpoint(directory / name)
    (directory / "sub").mkdir()
    shutil.copy(V221 / "v1-format/model.ckpt-7", directory / "old")
    for name in ("sharded-00000-of-00002", "sharded-00001-of-00002"):
        shutil.copy(V221 / "v1-sharded" / name.replace("sharded", "model.ckpt"), directory / name)
    if text is not None:
        state(directory, text.replace("DIR", str(directory)) if isinstance(text, str) else text)


@pytest.mark.parametrize("function", ABOUT_A_STATE)
@pytest.mark.parametrize("name", STATES)
def test_states(name, function, tmp_path):
    fill(tmp_path, STATES[name])
    question = ABOUT_A_PATH[function]
    their_answer, our_answer = (ask(question, str(tmp_path)) for ask in (theirs, ours))
    if (name, function) in STATE_DIFFERENCES:
        _, expected = STATE_DIFFERENCES[name, function]
        assert not agree(their_answer, our_answer)
        assert expected(our_answer)
    else:
        assert agree(their_answer, our_answer), (their_answer, our_answer)


@pytest.mark.parametrize("file_name", ["other", "checkpoint", "", "sub/other", "absent", "/absent", None])
def test_another_name_for_the_state_file(file_name, tmp_path):
    fill(tmp_path, M.replace('"m"', '"old"'))
    for each in ("other", "sub/other"):
        (tmp_path / each).write_text(M)
    for function in ("get_checkpoint_state", "latest_checkpoint"):
        compare(lambda train, f=function: getattr(train, f)(str(tmp_path), file_name))
        compare(lambda train, f=function: getattr(train, f)(str(tmp_path), latest_filename=file_name))


def test_state_is_a_message(tmp_path):
    """With the fields of TensorFlow's, and their values."""
    fill(tmp_path, STATES["all fields"])
    expected, found = (train.get_checkpoint_state(str(tmp_path)) for train in (THEIRS, compat))
    for name in [each.name for each in expected.DESCRIPTOR.fields]:
        assert getattr(found, name) == getattr(expected, name)
    assert str(found) == str(expected)
    assert found == type(found).FromString(expected.SerializeToString())


def test_state_of_a_directory_that_a_saver_wrote_and_somebody_moved(tmp_path):
    """Absolute paths: both say that there is none; ours says where it is."""
    with tf.Graph().as_default(), tf1.Session() as session:
        variable = tf1.get_variable("a", initializer=1.0)
        session.run(variable.initializer)
        prefix = tf1.train.Saver([variable]).save(session, str(tmp_path / "was/m"), global_step=3)
    for function in ABOUT_A_STATE:
        compare(ABOUT_A_PATH[function], str(tmp_path / "was"))
    assert compat.latest_checkpoint(tmp_path / "was") == prefix
    (tmp_path / "was").rename(tmp_path / "is")
    for function in ABOUT_A_STATE:
        compare(ABOUT_A_PATH[function], str(tmp_path / "is"))
    with pytest.raises(compat.NoCheckpointError, match="m-3"):
        compat.load_checkpoint(tmp_path / "is")


WRITTEN = {
    "latest only": {"latest": "DIR/m"},
    "listed": {"latest": "DIR/m-2", "every": ["DIR/m-1", "DIR/m-2"]},
    "not listed": {"latest": "DIR/m-3", "every": ["DIR/m-1", "DIR/m-2"]},
    "listed before": {"latest": "DIR/m-1", "every": ["DIR/m-1", "DIR/m-2"]},
    "empty list": {"latest": "DIR/m", "every": []},
    "relative": {"latest": "m-2", "every": ["m-1", "DIR/m", "m-2"]},
    "relative directory": {"save_dir": "run", "latest": "run/m-2", "every": ["run/m-1", "DIR/m", "run/m-2"]},
    "from above": {"save_dir": "run", "latest": "m-2", "every": ["../m-1", "m-2"]},
    "working directory": {"save_dir": ".", "latest": "./run/m-2", "every": ["run/m-2", "./run/m-2"]},
    "times": {
        "latest": "DIR/b",
        "every": ["DIR/a", "DIR/b"],
        "times": [1.25, 1795176283.2356062],
        "last": 7.5,
    },
    "time of the latest": {"latest": "DIR/b", "every": ["DIR/a"], "times": [1.0, 2.0]},
    "too few times": {"latest": "DIR/b", "every": ["DIR/a", "DIR/b"], "times": [1.0]},
    "too many times": {"latest": "DIR/b", "times": [1.0, 2.0]},
    "no times": {"latest": "DIR/b", "times": []},
    "zero": {"latest": "DIR/b", "last": 0.0},
    "quotes": {"latest": "DIR/a\"b'c\\d\n"},
    "another name": {"latest": "DIR/m", "file_name": "other"},
    "itself": {"latest": "DIR/checkpoint"},
    "itself under another name": {"latest": "DIR/other", "file_name": "other"},
    "no directory": {"save_dir": "DIR/absent", "latest": "DIR/absent/m"},
    "empty name": {"latest": ""},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_writing_a_state(name, tmp_path, monkeypatch):
    """The same bytes in the file, and the same message, with arguments left as they are."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    given = {"save_dir": "DIR", "every": None, "times": None, "last": None, "file_name": None} | WRITTEN[name]

    def there(path):
        return path.replace("DIR", str(run))

    def lists():
        every = None if given["every"] is None else [there(each) for each in given["every"]]
        return every, given["times"]

    def update(train, every, times):
        file_name, last = given["file_name"], given["last"]
        train.update_checkpoint_state(
            there(given["save_dir"]), there(given["latest"]), every, file_name, times, last
        )
        found = snapshot(run)
        for each in run.iterdir():
            each.unlink()
        return found

    def generate(train, every, times):
        directory, latest = there(given["save_dir"]), there(given["latest"])
        return train.generate_checkpoint_state_proto(directory, latest, every, times, given["last"])

    for question in (update, generate):
        their_answer, (every, times) = theirs(question, *lists()), lists()
        our_answer = ours(question, every, times)
        assert agree(their_answer, our_answer), (their_answer, our_answer)
        assert (every, times) == lists()
    assert not list(run.iterdir())


def test_writing_a_state_in_unicode(tmp_path):
    """Depending on the installed protobuf, TensorFlow writes escapes; both read both."""
    found = []
    for train in (THEIRS, compat):
        train.update_checkpoint_state(str(tmp_path), str(tmp_path / "ü"))
        found += [comparable(reader.get_checkpoint_state(str(tmp_path))) for reader in (THEIRS, compat)]
    assert len(set(found)) == 1


# --- removing, and waiting ------------------------------------------------------------------------------------------

REMOVED = {
    "bundle": ("m-1",),
    "bundle, by its number": ("m-1", 2),
    "graph of another name": ("m-1", 2, "graph"),
    "not there": ("m-9",),
    "bundle for V1": ("m-1", 1),
    "V1": ("old", 1),
    "V1, as legacy": ("old", 0),
    "V1 for a bundle": ("old", 2),
    "V1 shards": ("sharded-?????-of-00002", 1),
    "one V1 shard": ("sharded-00001-of-00002", 1),
    "V1 shards by name": ("sharded", 1),
    "pattern": ("m-*",),
    "pattern for V1": ("*", 1),
    "brackets": ("g[1]",),
    "wide numbers": ("wide",),
}
REMOVAL_DIFFERENCES = {
    "pattern": ("it would remove all checkpoints that it matches", set()),
    "pattern for V1": ("it would remove everything", set()),
    "brackets": ("it removes g1 instead", {"g[1].index", "g[1].data-00000-of-00001", "g[1].meta"}),
    "wide numbers": ("it forgets numbers of six digits", {"wide.index", "wide.data-100000-of-100001"}),
}


def removed(train, directory, name, *arguments):
    """The names of the files that are gone."""
    shutil.copytree(directory, f"{directory}-copy")
    try:
        train.remove_checkpoint(f"{directory}-copy/{name}", *arguments)
        return set(snapshot(directory)) - set(snapshot(pathlib.Path(f"{directory}-copy")))
    finally:
        shutil.rmtree(f"{directory}-copy")


@pytest.mark.parametrize("name", REMOVED)
def test_removing(name, tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    for each in ("m-1", "m-10", "m-2", "g[1]", "g1", "wide"):
        checkpoint(directory / each)
        (directory / f"{each}.meta").touch()
        (directory / f"{each}.graph").touch()
    (directory / "m-1.data-00001-of-00002").touch()
    (directory / "wide.data-00000-of-00001").rename(directory / "wide.data-100000-of-100001")
    (directory / "wide.meta").unlink()
    for each in ("old", "old.meta", "sharded-00000-of-00002", "sharded-00001-of-00002", "sharded.meta"):
        (directory / each).touch()
    expected, found = (removed(train, directory, *REMOVED[name]) for train in (THEIRS, compat))
    if name in REMOVAL_DIFFERENCES:
        assert expected != found
        assert found == REMOVAL_DIFFERENCES[name][1]
    else:
        assert found == expected


def test_what_can_not_be_removed(tmp_path):
    (tmp_path / "m.index").mkdir()
    question = lambda train: train.remove_checkpoint(str(tmp_path / "m"))  # noqa: E731
    assert theirs(question).kind == "FailedPreconditionError"
    assert type(ours(question)) is tb.BundleError


SCENARIOS = {
    "nothing ever": ({}, {"timeout": 5}),
    "no time": ({}, {"timeout": 0}),
    "three": ({2: "a", 7: "b", 20: "c"}, {"timeout": 30}),
    "too late": ({2: "a", 40: "b"}, {"timeout": 30}),
    "the same twice": ({2: "a", 5: "a", 8: "b"}, {"timeout": 10}),
    "interval": ({0: "a", 1: "b", 30: "c"}, {"timeout": 15, "min_interval_secs": 10}),
    "until told": ({2: "a", 7: "b"}, {"timeout": 3, "timeout_fn": 4}),
    "told at once": ({0: "a", 7: "b"}, {"timeout_fn": 1}),
    "fractions": ({2: "a"}, {"timeout": 2.5, "min_interval_secs": 0.25}),
    "there before": ({-1: "a"}, {"timeout": 2}),
}


@pytest.mark.parametrize(
    "name", [name for name, (_, each) in SCENARIOS.items() if "timeout_fn" not in each or VERSION >= (2, 21)]
)
def test_waiting_for_checkpoints(name, tmp_path, monkeypatch):
    """The same checkpoints at the same times of a clock that only sleeping moves, and the same calls of `timeout_fn`."""
    events, options = SCENARIOS[name]
    log = []
    clock = {"now": 0.0, "directory": None}

    def sleep(seconds):
        before = clock["now"]
        clock["now"] += seconds
        for at, what in events.items():
            if before < at <= clock["now"]:
                state(clock["directory"], M.replace('"m"', f'"{what}"'))

    def told():
        log.append(("timeout_fn", clock["now"]))
        return len([what for what, _ in log if what == "timeout_fn"]) >= options["timeout_fn"]

    monkeypatch.setattr(time, "time", lambda: clock["now"])
    monkeypatch.setattr(time, "sleep", sleep)
    given = options | ({"timeout_fn": told} if "timeout_fn" in options else {})
    seen = {}
    for number, train in enumerate((THEIRS, compat)):
        directory = tmp_path / str(number)
        directory.mkdir()
        for each in "abc":
            checkpoint(directory / each)
        clock.update(now=-2.0, directory=directory)
        sleep(2.0)
        for path in train.checkpoints_iterator(str(directory), **given):
            log.append((os.path.relpath(path, directory), clock["now"]))
            sleep(0.5)
        seen[train] = [*log, ("end", clock["now"])]
        log.clear()
    assert seen[compat] == seen[THEIRS]
    assert len(seen[compat]) > 1 or name in ("nothing ever", "no time")


# --- damage ---------------------------------------------------------------------------------------------------------

FLOATS = struct.pack("<2f", 1, 2)
HALVES = struct.pack("<2e", 1, 2)
LENGTHS = struct.pack("<2I", 2, 3)
A = plain("float32", [2], FLOATS)
B = plain("int32", [], b"\7\0\0\0", offset=8)


def string_payload(lengths, fixed):
    """Two strings with these encoded lengths: bytes and checksum."""
    checksum = struct.pack("<I", mask(crc32c(fixed)))
    return lengths + checksum + b"abcde", crc32c(b"abcde", crc32c(checksum, crc32c(fixed)))


STRINGS, STRINGS_CRC = string_payload(b"\2\3", LENGTHS)
S = TensorEntry(tb.DType.string, (2,), len(STRINGS), 0, 12, STRINGS_CRC)
DATA = FLOATS + b"\7\0\0\0" + STRINGS
LONG, LONG_CRC = string_payload(encode_varint(2**50) + b"\1", struct.pack("<QI", 2**50, 1))
FIRST, SECOND, BOTH, OUTSIDE, TOO_DEEP = map(tb.TensorSlice.parse_spec, ["0,1", "1,1", "0,2", "3,1", "0,1:-"])


@dataclass
class Damaged:
    """A bundle: entries besides those of a, b and s; its data shard; its header; what then happens to the files."""

    entries: dict = field(default_factory=dict)
    data: bytes = DATA
    header: object = None
    then: object = None


def sliced(dtype, *pieces, keep=None):
    """The entries of `a` in slices of one element each, those of the first `keep` only."""
    data = FLOATS if dtype == "float32" else HALVES
    width = len(data) // 2
    entries = {b"a": TensorEntry(tb.DType[dtype], (2,), len(data), slices=pieces)}
    for number, each in enumerate(pieces[:keep]):
        at = number * width
        entries[each.key(b"a")] = plain(dtype, [1], data[at : at + width], offset=at)
    return entries


def index(change):
    """Change the bytes of the index."""

    def then(prefix):
        path = pathlib.Path(f"{prefix}.index")
        path.write_bytes(change(path.read_bytes()))

    return then


def flip(at):
    return index(lambda old: old[:at] + bytes([old[at] ^ 1]) + old[at:][1:])


def remove_data(prefix):
    os.unlink(f"{prefix}.data-00000-of-00001")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
MANY = {b"k%04d" % number + b"x" * 500: A for number in range(2000)}
DAMAGE = {
    "none": Damaged(),
    "index short": Damaged(then=index(lambda old: old[:10])),
    "index empty": Damaged(then=index(lambda old: b"")),
    "index of text": Damaged(then=index(lambda old: b"text " * 20)),
    "index in Git-LFS": Damaged(then=index(lambda old: LFS)),
    "index without its start": Damaged(then=index(lambda old: old[7:])),
    "index without its end": Damaged(then=index(lambda old: old[:-7])),
    "index twice": Damaged(then=index(lambda old: old + old)),
    "magic number": Damaged(then=flip(-1)),
    "first block": Damaged(then=flip(1)),
    "index block": Damaged(then=flip(-60)),
    "later block": Damaged(MANY | {b"z": A}, then=flip(300_000)),
    "no header": Damaged(
        then=index(
            lambda old: table_bytes(sorted((k, v.encode()) for k, v in {b"a": A, b"b": B, b"s": S}.items()))
        )
    ),
    "header empty": Damaged(header=b""),
    "header of nonsense": Damaged(header=b"\x08"),
    "min_consumer": Damaged(header=BundleHeader(1, min_consumer=2)),
    "producer": Damaged(header=BundleHeader(1, producer=-1)),
    "newer producer": Damaged(header=BundleHeader(1, producer=99)),
    "bad_consumers": Damaged(header=BundleHeader(1, bad_consumers=(1,))),
    "big-endian": Damaged(header=BundleHeader(1, big_endian=True)),
    "more data shards": Damaged(header=BundleHeader(2)),
    "no data": Damaged(then=remove_data),
    "data empty": Damaged(data=b""),
    "data cut short": Damaged(data=DATA[:4]),
    "data longer": Damaged(data=DATA + b"more"),
    "data flipped": Damaged(data=b"\1" + DATA[1:]),
    "string length flipped": Damaged(data=DATA[:12] + b"\3" + DATA[13:]),
    "string flipped": Damaged(data=DATA[:-1] + b"?"),
    "string of 2**50 bytes": Damaged({b"s": S._replace(nbytes=len(LONG), crc32c=LONG_CRC)}, DATA[:12] + LONG),
    "strings in 1 byte": Damaged({b"s": S._replace(nbytes=1)}),
    "shard 5": Damaged({b"a": A._replace(shard=5)}),
    "shard -1": Damaged({b"a": A._replace(shard=-1)}),
    "offset -8": Damaged({b"a": A._replace(offset=-8)}),
    "offset of 1000": Damaged({b"a": A._replace(offset=1000)}),
    "offset of 2**63 - 1": Damaged({b"a": A._replace(offset=2**63 - 1)}),
    "20 bytes": Damaged({b"a": A._replace(nbytes=20)}),
    "-1 bytes": Damaged({b"a": A._replace(nbytes=-1)}),
    "2**50 elements": Damaged({b"a": A._replace(shape=(2**50,))}),
    "2**80 elements": Damaged({b"a": A._replace(shape=(2**40, 2**40))}),
    "0 of 2**62 elements": Damaged({b"a": TensorEntry(tb.DType.float32, (0, 2**62), 0)}),
    "70 dimensions": Damaged({b"a": TensorEntry(tb.DType.float32, (1,) * 70, 4, crc32c=crc32c(FLOATS[:4]))}),
    "255 dimensions": Damaged({b"a": A._replace(shape=(1,) * 255)}),
    "negative dimension": Damaged({b"a": raw("0801 120d 120b 08ffffffffffffffffff01 2808")}),
    "no checksum": Damaged({b"a": raw("0801 1204 1202 0802 2808")}),
    "unknown field": Damaged({b"a": A.encode() + raw("980601")}),
    "entry of nonsense": Damaged({b"a": b"\x08"}),
    "no type": Damaged({b"a": A.encode()[2:]}),
    "type 200": Damaged({b"a": raw("08c801") + A.encode()[2:]}),
    "reference type": Damaged({b"a": raw("0865") + A.encode()[2:]}),
    "resource": Damaged({b"a": TensorEntry(tb.DType.resource, (), 8)}),
    "slices": Damaged(sliced("float32", FIRST, SECOND)),
    "slices of float16": Damaged(sliced("float16", FIRST, SECOND), HALVES + DATA[4:]),
    "a slice that is not listed": Damaged(sliced("float32", FIRST)),
    "a slice without entry": Damaged(sliced("float32", FIRST, SECOND, keep=1)),
    "a slice listed twice": Damaged(sliced("float32", FIRST, FIRST)),
    "overlapping slices": Damaged({**sliced("float32", BOTH, SECOND), BOTH.key(b"a"): A}),
    "a slice outside": Damaged(sliced("float32", OUTSIDE)),
    "a slice of another rank": Damaged(sliced("float32", TOO_DEEP)),
    "a slice of nobody": Damaged({FIRST.key(b"x"): plain("float32", [1], FLOATS[:4])}),
    "key of other bytes": Damaged({b"\xff\xfe": A}),
}
ABOUT_A_CHECKPOINT = {
    "list": ABOUT_A_PATH["list_variables"],
    "types": lambda train, prefix: {
        key: dtype.name for key, dtype in train.load_checkpoint(prefix).get_variable_to_dtype_map().items()
    },
    "has a": lambda train, prefix: train.load_checkpoint(prefix).has_tensor("a"),
    "has k": lambda train, prefix: train.load_checkpoint(prefix).has_tensor("k0700" + "x" * 500),
    "get a": lambda train, prefix: train.load_variable(prefix, "a"),
    "get b": lambda train, prefix: train.load_variable(prefix, "b"),
    "get s": lambda train, prefix: train.load_variable(prefix, "s"),
    "get k": lambda train, prefix: train.load_variable(prefix, "k0700" + "x" * 500),
}


def in_a_process_of_its_own(question, *given):
    """TensorFlow's answer, from a copy of this process, which damage may abort; then the Refusal is of kind `abort`."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads do not survive, and readers have none
        child = os.fork()
    if child == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with open(sending, "wb") as pipe:
            pipe.write(pickle.dumps(theirs(question, *given)))
        os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return pickle.loads(answer) if status == 0 else Refusal("abort", f"wait status {status}")


LISTING = {"list", "types", "has a"}
EVERYTHING = set(ABOUT_A_CHECKPOINT)
# Damage that ends TensorFlow's process, at these questions.
ABORTING = {
    "entry of nonsense": EVERYTHING,
    "negative dimension": EVERYTHING,
    "255 dimensions": EVERYTHING,
    "2**80 elements": EVERYTHING,
    "a slice listed twice": EVERYTHING,
    "no type": {"get a"},
    "type 200": {"get a"},
    "reference type": {"get a"},
    "string of 2**50 bytes": {"get s"},
}
# Other differences: at which questions, what ours is (None for an answer), and what TensorFlow does.
NO_PLACE = (LISTING, tb.CorruptionError, "looks at an entry's place only when the tensor is read")
NO_TYPE = (LISTING, tb.UnsupportedError, "looks at an entry's type only when the tensor is read")
NOT_TEXT = ({"list", "types"}, None, "can't show keys that are not UTF-8")
DAMAGE_DIFFERENCES = {
    "later block": ({"list", "types", "has k", "get k"}, tb.CorruptionError, "passes over a damaged block"),
    "no header": (EVERYTHING, tb.CorruptionError, "takes the first entry for the header, and hides it"),
    "header empty": (
        EVERYTHING - {"get a", "get b", "get s"},
        tb.CorruptionError,
        "believes in 0 data shards",
    ),
    "shard -1": NO_PLACE,
    "offset -8": NO_PLACE,
    "-1 bytes": NO_PLACE,
    "no type": NO_TYPE,
    "type 200": NO_TYPE,
    "reference type": NO_TYPE,
    "resource": ({"get a"}, tb.UnsupportedError, "misses 192 bytes of a type that nothing can store"),
    "slices of float16": ({"get a"}, None, "does not put slices of float16 together"),
    "a slice of nobody": NOT_TEXT,
    "key of other bytes": NOT_TEXT,
}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Where the damaged checkpoints are."""
    root = tmp_path_factory.mktemp("damaged")
    for number, each in enumerate(DAMAGE.values()):
        prefix = root / str(number)
        write_bundle(prefix, {b"a": A, b"b": B, b"s": S} | each.entries, [each.data], each.header)
        if each.then is not None:
            each.then(prefix)
    return {name: str(root / str(number)) for number, name in enumerate(DAMAGE)}


@pytest.mark.parametrize("question", ABOUT_A_CHECKPOINT)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage(name, question, damaged):
    ask = ABOUT_A_CHECKPOINT[question]
    their_answer, our_answer = in_a_process_of_its_own(ask, damaged[name]), ours(ask, damaged[name])
    aborts = question in ABORTING.get(name, ())
    assert (getattr(their_answer, "kind", None) == "abort") is aborts, their_answer
    questions, kind, _ = DAMAGE_DIFFERENCES.get(name, ((), None, ""))
    if aborts:
        harmless = question != ("get s" if name.startswith("string") else "get a")
        assert isinstance(our_answer, tb.BundleError) or (harmless and not isinstance(our_answer, Exception))
    elif question in questions:
        assert not agree(their_answer, our_answer)
        assert isinstance(our_answer, kind or object)
        assert isinstance(our_answer, Exception) is (kind is not None)
    else:
        assert agree(their_answer, our_answer), (their_answer, our_answer)


def test_a_reader_survives_what_it_could_not_read(damaged):
    """TensorFlow aborts at the next tensor, after a slice that it could not read."""

    def one_after_the_other(train):
        reader = train.load_checkpoint(damaged["a slice without entry"])
        with pytest.raises(tf.errors.OpError if train is THEIRS else tb.CorruptionError):
            reader.get_tensor("a")
        return reader.get_tensor("b")

    assert in_a_process_of_its_own(one_after_the_other).kind == "abort"
    assert ours(one_after_the_other) == comparable(np.int32(7))


V1_DAMAGE = {
    "unharmed": lambda path: None,
    "a flipped byte": lambda path: path.write_bytes(path.read_bytes().replace(b"flags", b"flogs")),
    "text": lambda path: path.write_bytes(b"text " * 100),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "without its start": lambda path: path.write_bytes(path.read_bytes()[9:]),
    "a bundle's index": lambda path: shutil.copy(f"{golden.SAMPLE}.index", path),
    "the next minor version": lambda path: path.write_bytes(v1_file(raw("0a02 1200 0a06 1204 0801 1002"))),
    "a version to come": lambda path: path.write_bytes(v1_file(raw("0a04 1202 1002"))),
}


def v1_file(meta):
    return table_bytes([(b"", meta)])


@pytest.mark.parametrize("question", ["list", "types", "has a", "get a"])
@pytest.mark.parametrize("name", V1_DAMAGE)
def test_damaged_v1(name, question, tmp_path):
    shutil.copy(V221 / "v1-format/model.ckpt-7", tmp_path / "m")
    V1_DAMAGE[name](tmp_path / "m")
    ask = ABOUT_A_CHECKPOINT[question]
    their_answer, our_answer = (each(ask, str(tmp_path / "m")) for each in (in_a_process_of_its_own, ours))
    if name == "a bundle's index":  # in which TensorFlow finds a V1 file that holds nothing
        assert their_answer in ([], {}, False, Refusal("NotFoundError", "a not found in checkpoint file"))
        assert isinstance(our_answer, tb.CorruptionError)
    else:
        assert agree(their_answer, our_answer), (their_answer, our_answer)


def test_a_missing_file_of_v1(tmp_path):
    """TensorFlow reads the others in silence."""
    shutil.copy(V221 / "v1-sharded/model.ckpt-00001-of-00002", tmp_path / "m-00001-of-00002")
    ask, prefix = ABOUT_A_CHECKPOINT["list"], str(tmp_path / "m-?????-of-00002")
    assert len(theirs(ask, prefix)) < len(ours(ask, str(V221 / "v1-sharded/model.ckpt")))
    assert isinstance(ours(ask, prefix), tb.MissingFileError)
