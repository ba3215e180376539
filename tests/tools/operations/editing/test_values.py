"""Other values for a tensor: files, literals, arrays."""

import ml_dtypes
import numpy as np
import pytest

import tensorbundle as tb
from support.rewriting import by_path, described, keras_like, rewritten, strings, tree, write, write_objects
from tensorbundle.proto.paths import attribute_key
from tensorbundle.tools import rewrite

TENSORS = {
    "w": np.float32([[1, 2], [3, 4]]),
    "n": np.int32(5),
    "tiny": np.int8([1, 2]),
    "u": np.uint8([1, 2]),
    "half": np.zeros(2, ml_dtypes.bfloat16),
    "flag": np.bool_(False),
    "c": np.complex64([1j]),
    "s": strings(b"a", b"b"),
    "one": np.array(b"x", object),
}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("w", "[[1, 2.5], [3, 4]]", [[1, 2.5], [3, 4]]),
        ("w", "0", [[0, 0], [0, 0]]),  # one number fills it
        ("w", 0.1, np.full((2, 2), 0.1, np.float32).tolist()),
        ("w", "NaN", [[np.nan] * 2] * 2),
        ("w", np.arange(4, dtype=">f8").reshape(2, 2), [[0, 1], [2, 3]]),
        ("w", np.array([[1, 2], [3, 4]]).T, [[1, 3], [2, 4]]),
        ("n", "7", 7),
        ("n", "7.0", 7),
        ("n", True, 1),
        ("u", "[0, 255]", [0, 255]),
        ("half", "[0.1, 1]", [0.1, 1]),
        ("flag", "true", True),
        ("c", "2", [2]),
        ("c", 1 + 2j, [1 + 2j]),
        ("s", '["x", "\\u00e9"]', [b"x", b"\xc3\xa9"]),
        ("s", "y", [b"y", b"y"]),
        ("s", [b"\xff\0", b""], [b"\xff\0", b""]),
        ("one", "plain words", b"plain words"),
    ],
    ids=lambda each: str(each)[:20],
)
def test_values(tmp_path, key, value, expected):
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", set={key: value})
    np.testing.assert_array_equal(found[key], np.array(expected, found[key].dtype))
    for each, array in TENSORS.items():
        assert described(found[each])[:2] == described(array)[:2]
        assert each == key or described(found[each]) == described(array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("cuts", [{}, {"w": (2, 1)}], ids=["whole", "cut"])
def test_files(tmp_path, order, cuts):
    new = np.asarray([[5, 6], [7, 8]], ">f8", order=order)
    np.save(tmp_path / "new.npy", new)
    source = write(tmp_path / "m", TENSORS, cuts=cuts)
    assert (
        rewritten(source, tmp_path / "out", set={"w": str(tmp_path / "new.npy")})["w"].tolist()
        == new.tolist()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("tiny", "300"), ("tiny", "[-129, 0]"), ("n", "3000000000"), ("w", "1e300"), ("u", "-1"), ("n", "1e10")],
)
def test_numbers_out_of_range(tmp_path, key, value):
    """They must not become other numbers."""
    with pytest.raises(tb.BundleError):
        rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", set={key: value})


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        ("w", "[1, 2, 3]", tb.ConflictError, r"m: key 'w': values of shape \[3\], the tensor has \[2, 2\]$"),
        ("n", "[1]", tb.ConflictError, r"values of shape \[1\], the tensor has \[\]$"),
        ("n", "0.5", tb.ConflictError, r"m: key 'n': values of type float64, the tensor is int32$"),
        ("w", 1j, tb.ConflictError, r"values of type complex128, the tensor is float32$"),
        ("w", '"x"', tb.ConflictError, r"the tensor is float32$"),
        ("w", "null", tb.ConflictError, r"the tensor is float32$"),
        ("s", "[1, 2]", tb.ConflictError, r"values of type int64, the tensor is string$"),
        ("w", "x", tb.BundleError, r"^'x' is neither a .npy file nor a literal such as 0.5 or \[1, 2\]$"),
        ("w", "[[1], [1, 2]]", tb.BundleError, r"^'\[\[1\], \[1, 2\]\]' is not an array: "),
        ("w", "none.npy", tb.MissingFileError, r"^none.npy: no such file$"),
        ("v", "1", tb.TensorNotFoundError, r"key 'v': no such tensor"),
        ("w/", "1", tb.TensorNotFoundError, r"near: 'w'"),
    ],
)
def test_what_can_not_be(tmp_path, key, value, error, message):
    with pytest.raises(error, match=message):
        rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", set={key: value})


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\1\0"])
def test_files_that_are_none(tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(tb.BundleError, match=r"x.npy: not a .npy file of plain values"):
        rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", set={"w": str(path)})


def test_a_pickle_is_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(tb.BundleError, match=r"not a .npy file of plain values"):
        rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", set={"w": str(tmp_path / "x.npy")})


@pytest.mark.parametrize("name", ["model/last/w", "model/last/w/.ATTRIBUTES/VARIABLE_VALUE"])
def test_objects(tmp_path, name):
    source = write_objects(tmp_path / "m", keras_like())
    found = rewritten(source, tmp_path / "out", set={name: 77})
    assert found["model/last/w/.ATTRIBUTES/VARIABLE_VALUE"].tolist() == [77]


def test_the_save_counter_of_a_conversion(tmp_path):
    source = write(tmp_path / "m", {"a": 1.0})
    found = rewritten(source, tmp_path / "out", convert="tf2", set={"save_counter": "12"})
    assert found["save_counter/.ATTRIBUTES/VARIABLE_VALUE"] == 12


class TestAdding:
    def test_to_names(self, tmp_path):
        source = write(tmp_path / "m", TENSORS)
        values = {
            "global_step": "0:int64",
            "fill": "1.5:bfloat16[2,3]",
            "list": "[1, 2]:int8",
            "text": {"value": "a:b", "dtype": "string"},
            "array": {"value": np.float64([1, 2]), "dtype": "float32", "shape": [2]},
        }
        found = rewritten(source, tmp_path / "out", set=values)
        assert {key: described(found[key])[:2] for key in values} == {
            "global_step": ("int64", ()),
            "fill": ("bfloat16", (2, 3)),
            "list": ("int8", (2,)),
            "text": ("string", ()),
            "array": ("float32", (2,)),
        }
        assert found["fill"].tolist() == [[1.5] * 3] * 2
        assert found["text"].item() == b"a:b"

    def test_a_save_counter_to_what_write_wrote(self, tmp_path):
        """As `Checkpoint.write` writes none, and `restore` wants one."""
        source = write_objects(tmp_path / "m", tree({"net": {"w": None}}))
        rewritten(source, tmp_path / "out", set={"save_counter": "3:int64", "net/inner/step": "1:int64"})
        assert by_path(tmp_path / "out") == {"net/w": 0, "save_counter": 3, "net/inner/step": 1}
        with tb.open(tmp_path / "out") as ckpt:
            assert ckpt.object_graph["save_counter"].attributes[0].full_name == "save_counter"

    def test_the_value_of_a_variable_that_was_not_stored(self, tmp_path):
        source = write_objects(tmp_path / "m", tree({"w": None, "v": None}))
        with tb.open(source) as ckpt:
            tensors = {attribute_key("w"): ckpt[attribute_key("w")]}
            gone = write(tmp_path / "gone", tensors, graph=ckpt.object_graph)
        rewritten(gone, tmp_path / "out", set={"v": "7:float32"})
        assert by_path(tmp_path / "out") == {"w": 0, "v": 7}

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("x", "0", r"key 'x': no such tensor.*; to add one, give its type: 'x=0:int64'$"),
            ("x", "0:int65", r"no such tensor"),
            ("x", {"value": 0, "dtype": "int65"}, r"no data type 'int65'; near: 'int"),
            ("x", "0.5:int64", r"key 'x': values of type float64, the tensor is int64$"),
            ("x", "[1, 2]:int64[3]", r"key 'x': values of shape \[2\], the tensor has \[3\]$"),
            ("n", "5:int64", r"key 'n': values of int64 \[\], the tensor is int32 \[\]$"),
            ("n", "5:int32[2]", r"key 'n': values of int32 \[2\], the tensor is int32 \[\]$"),
            ("", "5:int32", r"'' is not a name for a tensor$"),
            ("_CHECKPOINTABLE_OBJECT_GRAPH", "a:string", r"is not a name for a tensor$"),
            ("x", {"dtype": "int64"}, r"step set: .* lacks 'value'$"),
            ("x", {"value": 1, "dtyp": "int64"}, r"step set: no option 'dtyp'; near: 'dtype'"),
        ],
    )
    def test_refused(self, tmp_path, key, value, message):
        with pytest.raises(tb.BundleError, match=message):
            rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", set={key: value})

    @pytest.mark.parametrize(
        ("path", "message"),
        [("net", "there is an object of this name$"), ("a.b", "not a path for an object: "), ("", "object")],
    )
    def test_refused_among_objects(self, tmp_path, path, message):
        source = write_objects(tmp_path / "m", tree({"net": {"w": None}}))
        with pytest.raises(tb.ConflictError, match=message):
            rewrite(source, tmp_path / "out", set={path: "0:int64"})
