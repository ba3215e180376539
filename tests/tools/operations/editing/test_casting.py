"""Which tensors a cast changes, and into what."""

import warnings

import numpy as np
import pytest

import tensorbundle as tb
from support.contents import any_bits
from support.rewriting import described, keras_like, rewritten, write, write_objects
from tensorbundle.tools import TransferOptions, cast, rewrite

FLOATING = [each for each in tb.DType if each.value.startswith(("float", "bfloat"))]
TENSORS = {
    "a/w": np.float32([1.5, 2]),
    "a/n": np.int32([1, 2]),
    "b/w": np.float64([1 / 3, 1e300]),
    "c": np.complex64([1 + 2j]),
    "f": np.bool_([True]),
    "s": np.array([b"x"], object),
}


def dtypes(arrays):
    return {key: tb.DType.of(array.dtype).value for key, array in arrays.items()}


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        ({"*": "bfloat16"}, {"a/w": "bfloat16", "b/w": "bfloat16"}),
        ({"*": "int32", "allow_lossy": True}, {"a/w": "int32", "b/w": "int32"}),
        ({"a/*": "float16"}, {"a/w": "float16"}),
        ({"a/*": "float16", "*w": "float64"}, {"a/w": "float64"}),  # the last decides
        ({"*w": "float64", "a/*": "float16"}, {"a/w": "float16"}),
        ({"re:^b": "float32"}, {"b/w": "float32"}),
        ({"a/n": "int64"}, {"a/n": "int64"}),
        ({"a/n": "float32"}, {"a/n": "float32"}),
        ({"f": "uint8"}, {"f": "uint8"}),
        ({"c": "complex128"}, {"c": "complex128"}),
        ({"a/w": "float8_e4m3fn", "b/w": "float8_e5m2"}, {"a/w": "float8_e4m3fn", "b/w": "float8_e5m2"}),
    ],
    ids=str,
)
def test_which(tmp_path, rules, changed):
    found = rewritten(write(tmp_path / "m", TENSORS), tmp_path / "out", cast=rules)
    assert dtypes(found) == dtypes(TENSORS) | changed
    for key in found.keys() - changed.keys():
        assert described(found[key]) == described(TENSORS[key])
    for key in changed:
        with np.errstate(over="ignore", invalid="ignore"):
            if key == "b/w" and changed[key].startswith("int"):
                assert found[key].tolist() == [0, 2**31 - 1]
            else:
                assert described(found[key]) == described(TENSORS[key].astype(found[key].dtype))


@pytest.mark.parametrize("target", FLOATING, ids=str)
@pytest.mark.parametrize("source", FLOATING, ids=str)
def test_every_floating_type(tmp_path, source, target):
    array = any_bits(source, (16, 8))
    found = rewritten(write(tmp_path / "m", {"e": array}), tmp_path / "out", cast={"*": target.value})
    with np.errstate(all="ignore"):
        expected = array.astype(target.numpy)
        assert np.array_equal(found["e"].astype(np.float64), expected.astype(np.float64), equal_nan=True)
    assert found["e"].dtype == expected.dtype


def test_overflow_is_counted_by_key(tmp_path):
    tensors = {"a": np.float32([1e6, 1]), "b": np.float32([[1e6, -1e6], [np.inf, 3]]), "c": np.float32([3])}
    source = write(tmp_path / "m", tensors, cuts={"b": (2, 0)})
    summary = rewrite(source, tmp_path / "out", cast={"*": "float16"})
    assert summary.overflowed == {"a": 1, "b[0,1:0,2]": 2}
    assert summary.changes == {"renamed": 0, "cast": 3, "dropped": 0}


@pytest.mark.parametrize(
    ("value", "target"),
    [(np.int64([2**40]), "int32"), (np.int64([10**6]), "float16"), (np.int32([-1]), "uint8")],
)
def test_integers_that_do_not_fit_are_told(tmp_path, value, target):
    source = write(tmp_path / "m", {"n": value})
    summary = rewrite(source, tmp_path / "out", cast={"n": target, "allow_lossy": True})
    assert summary.overflowed == {"n": 1}


@pytest.mark.parametrize("target", ["float16", "bfloat16", "float8_e5m2"])
def test_negative_overflow_is_counted_like_positive(tmp_path, target):
    source = write(tmp_path / "m", {"n": np.float64([-1e300, 1, -2])})
    summary = rewrite(source, tmp_path / "out", cast={"n": target})
    assert summary.overflowed == {"n": 1}


def test_the_imaginary_part_is_not_lost_in_silence(tmp_path):
    source = write(tmp_path / "m", {"c": np.complex64([1 + 2j])})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            summary = rewrite(source, tmp_path / "out", cast={"c": "float32"})
        except tb.BundleError:
            return
    assert summary.overflowed


def test_partitioned_and_shared(tmp_path):
    """Only what is cast is written."""
    tensors = {"big": np.arange(5000.0), "w": np.arange(12, dtype=np.float32).reshape(4, 3)}
    source = write(tmp_path / "m", tensors, cuts={"w": (3, 1)})
    summary = rewrite(source, tmp_path / "out", cast={"w": "bfloat16"})
    assert summary.bytes_shared == 40048
    assert summary.bytes_written < 500
    with tb.open(tmp_path / "out") as ckpt:
        assert ckpt["w"].tolist() == tensors["w"].tolist()
        assert [str(part) for part in ckpt.entry("w").slices] == ["0,4:0,1", "0,4:1,1", "0,4:2,1"]


def test_of_its_own_type_is_no_cast(tmp_path):
    summary = rewrite(write(tmp_path / "m", TENSORS), tmp_path / "out", cast={"a/w": "float32"})
    assert (summary.changes["cast"], summary.bytes_read < 200) == (0, True)


def test_objects(tmp_path):
    source = write_objects(tmp_path / "m", keras_like())
    found = rewritten(source, tmp_path / "out", cast={"*": "float16", "optimizer/iter": "float64"})
    assert dtypes(found).pop("save_counter/.ATTRIBUTES/VARIABLE_VALUE") == "int64"
    assert dtypes(found).pop("optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE") == "float64"
    assert sorted(dtypes(found).values()) == ["float16"] * 8 + ["float64", "int64"]


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        ({"x*": "float16"}, tb.TensorNotFoundError, r"^\S*m: no tensor matches the pattern 'x\*'$"),
        ({"b/v": "float16"}, tb.TensorNotFoundError, r"no tensor matches the pattern 'b/v'; near: 'b/w'"),
        (
            {"*n": "float16"},
            tb.ConflictError,
            r"'\*n' matches no floating-point tensor; others are cast only by",
        ),
        ({"s*": "float16"}, tb.ConflictError, r"'s\*' matches no floating-point tensor"),
        ({"s": "float16"}, tb.UnsupportedError, r"key 's': values of type string can't be cast$"),
        ({"*": "string"}, tb.UnsupportedError, r"nothing can be cast to string$"),
        ({"*": "float61"}, tb.BundleError, r"no data type 'float61'; near: .*float16"),
        ({"*": "half"}, tb.BundleError, r"no data type 'half'"),
    ],
    ids=str,
)
def test_what_can_not_be(tmp_path, rules, error, message):
    source = write(tmp_path / "m", TENSORS)
    with pytest.raises(error, match=message):
        rewrite(source, tmp_path / "out", cast=rules)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("out")] == []


def test_twice(tmp_path):
    """A cast of a cast rounds twice."""
    value = np.float64([1 + 2**-11 + 2**-40])
    source = write(tmp_path / "m", {"e": value})
    (tmp_path / "r.toml").write_text('cast = { "*" = "float32" }\n[[steps]]\ncast = { "*" = "float16" }\n')
    rewrite(source, tmp_path / "out", recipe=tmp_path / "r.toml", options=TransferOptions(data="copy"))
    with tb.open(tmp_path / "out") as ckpt:
        assert ckpt["e"] == value.astype(np.float32).astype(np.float16) != value.astype(np.float16)


class TestLossy:
    """To integers and booleans that lack values of the tensor's type, only on purpose, and with the loss counted."""

    @pytest.mark.parametrize(
        ("values", "target", "lost", "overflowed"),
        [
            (np.float32([0.4, -0.4, 2, np.nan, 1e30]), "int8", 4, 2),
            (np.float32([-1e30, -200, -128, -129]), "int8", 3, 3),
            (np.float64([0.5, 1, 0, -1]), "bool", 2, 0),
            (np.int64([2**40, -(2**40), 5]), "int32", 2, 2),
            (np.int32([-1, -2, 3]), "uint8", 2, 2),
            (np.int32([0, 1, 2, -1]), "bool", 2, 0),
        ],
        ids=str,
    )
    def test_what_is_lost(self, tmp_path, values, target, lost, overflowed):
        source = write(tmp_path / "m", {"a": values, "same": np.int64(1)})
        with pytest.raises(tb.ConflictError) as caught:
            rewrite(source, tmp_path / "out", cast={"a": target})
        assert caught.value.reason == (
            f"more than rounding would be lost, such as fractions: 'a' ({values.dtype} to {target}); --allow-lossy "
            "(allow_lossy) casts nevertheless"
        )
        summary = cast(source, tmp_path / "out", {"a": target}, allow_lossy=True)
        assert (summary.lost, summary.overflowed) == ({"a": lost}, {"a": overflowed} if overflowed else {})

    @pytest.mark.parametrize(
        ("values", "target"),
        [
            (np.int8([-128, 127]), "int16"),
            (np.uint8([255]), "int16"),
            (np.bool_([True, False]), "uint8"),
            (np.int64([2**40]), "float32"),
            (np.float64([1 / 3]), "float16"),
        ],
        ids=str,
    )
    def test_rounding_is_no_loss(self, tmp_path, values, target):
        summary = cast(write(tmp_path / "m", {"a": values}), tmp_path / "out", {"a": target})
        assert (summary.lost, summary.overflowed) == ({}, {})

    def test_a_recipe_and_the_command_line(self, tmp_path, run):
        source = write(tmp_path / "m", {"a": np.float32([0.5, 1])})
        assert "more than rounding would be lost" in run.error("cast", source, tmp_path / "out", "*=int8")
        printed = run("cast", source, tmp_path / "out", "*=int8", "--allow-lossy").out
        assert "values that the new type does not have: a (1)" in printed
        found = rewritten(source, tmp_path / "two", cast={"*": "int8", "allow_lossy": True})
        assert found["a"].tolist() == [0, 1]
