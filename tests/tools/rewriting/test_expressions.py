"""Expressions give what NumPy gives, whatever box of them is asked for and however they are cut into chunks."""

import math
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.contents import any_bits
from support.rewriting import described, strings, write
from tensorbundle import gathering
from tensorbundle.boxes import whole_box
from tensorbundle.dtypes import DType
from tensorbundle.entries import BundleHeader
from tensorbundle.keys import encode_key
from tensorbundle.tools.rewriting import expressions, rearranging
from tensorbundle.tools.rewriting.expressions import Cast, Constant, Mean, Scaled, Stored, stream_values
from tensorbundle.tools.rewriting.reading import Reading
from tensorbundle.tools.rewriting.rearranging import Region, Reshape, Take, Transpose


def stored(ckpt, key):
    return Stored.of(ckpt.index, encode_key(key), ckpt.index.entry(key))


def streamed(expression, **options):
    """All values of an expression, and the reading that gave them."""
    with Reading(**options) as opened:
        chunks = list(stream_values(expression, opened))
    flat = np.concatenate(chunks) if chunks else np.empty(0, expression.dtype.numpy)
    return flat.reshape(expression.shape), opened


@pytest.fixture
def open_with(tmp_path):
    """Writes tensors, and opens what came of it."""
    opened = []

    def open_them(tensors, **options):
        opened.append(tb.open(write(tmp_path / f"{len(opened)}", tensors, **options)))
        return opened[-1]

    yield open_them
    for each in opened:
        each.close()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(expressions, "CHUNK_ELEMENTS", 5)
    monkeypatch.setattr(expressions, "SCATTERED_BYTES", 30)
    monkeypatch.setattr(gathering, "_GATHER_BYTES", 12)
    monkeypatch.setattr(gathering, "GAP_BYTES", 10)


def test_a_stream_is_in_bounded_chunks(open_with):
    ckpt = open_with({"e": np.arange(3 * expressions.CHUNK_ELEMENTS, dtype=np.int16).reshape(3, -1)})
    with Reading() as opened:
        sizes = [chunk.size for chunk in stream_values(stored(ckpt, "e"), opened)]
    assert sizes == [expressions.CHUNK_ELEMENTS] * 3


@pytest.mark.parametrize("cuts", [{}, {"e": (4, 1)}], ids=["whole", "columns"])
def test_values_from_all_over_a_tensor_are_read_in_few_passes(open_with, monkeypatch, cuts):
    """Columns that become rows, and columns in another order, are read many at a time."""
    monkeypatch.setattr(expressions, "CHUNK_ELEMENTS", 500)
    monkeypatch.setattr(expressions, "SCATTERED_BYTES", 100_000)
    array = np.arange(50_000, dtype=np.int32).reshape(250, 200)
    source = stored(open_with({"e": array}, cuts=cuts), "e")
    shuffled = np.random.default_rng(0).permutation(200)
    for expression, expected in (
        (Transpose(source, (1, 0)), array.T),
        (Take(source, 1, shuffled), array[:, shuffled]),
        (Take(source, 0, shuffled), array[shuffled]),
        (source, array),
    ):
        found, opened = streamed(expression, verify=False)
        np.testing.assert_array_equal(found, expected)
        assert opened.bytes_read <= 2 * array.nbytes


# Random expressions beside the arrays that they should be.


def leaf(draw, shape, number, tensors, cuts):
    dtype = DType[draw(st.sampled_from(["float32", "int16", "bfloat16", "uint8", "complex64", "bool"]))]
    if draw(st.integers(0, 4)) == 0:
        array = any_bits(dtype, shape, number)
        return lambda _: Constant(array, "given", dtype), array
    key = f"t{number}"
    tensors[key] = any_bits(dtype, shape, number)
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if axes and 0 not in shape and draw(st.booleans()):
        axis = draw(st.sampled_from(axes))
        cuts[key] = (draw(st.integers(2, shape[axis])), axis)
    return lambda ckpt: stored(ckpt, key), tensors[key]


def build(draw, shape, depth, tensors, cuts):
    """A function from checkpoint to expression of this shape, and its array."""
    kind = draw(st.sampled_from(["leaf", "cast", "region", "transpose", "reshape", "take"]))
    below = (depth - 1, tensors, cuts)
    if not depth or kind == "leaf":
        return leaf(draw, shape, len(tensors) + 100 * depth, tensors, cuts)
    if kind == "cast":
        inner, array = build(draw, shape, *below)
        if array.dtype.kind == "c":
            return inner, array
        target = DType[draw(st.sampled_from(["float32", "float64", "bool"]))]
        with np.errstate(all="ignore"):
            return lambda ckpt: Cast(inner(ckpt), target), array.astype(target.numpy)
    if kind == "transpose":
        axes = tuple(draw(st.permutations(range(len(shape)))))
        inner, array = build(draw, tuple(shape[axes.index(each)] for each in range(len(shape))), *below)
        return lambda ckpt: Transpose(inner(ckpt), axes), array.transpose(axes)
    if kind == "reshape":
        other = draw(st.sampled_from([shape[::-1], (math.prod(shape),), (1, *shape), (*shape, 1)]))
        inner, array = build(draw, other, *below)
        return lambda ckpt: Reshape(inner(ckpt), shape), array.reshape(shape)
    if not shape:
        return leaf(draw, shape, len(tensors) + 100 * depth, tensors, cuts)
    axis = draw(st.integers(0, len(shape) - 1))
    before, after = shape[:axis], shape[axis + 1 :]
    if kind == "region":
        margins = [(draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in shape]
        inner, array = build(
            draw, tuple(size + sum(more) for size, more in zip(shape, margins, strict=True)), *below
        )
        box = tuple(slice(low, low + size) for size, (low, _) in zip(shape, margins, strict=True))
        return lambda ckpt: Region(inner(ckpt), box), array[box]
    length = draw(st.integers(1, 4))
    rows = np.array(draw(st.lists(st.integers(-1, length - 1), min_size=shape[axis], max_size=shape[axis])))
    inner, array = build(draw, (*before, length, *after), *below)
    taken = np.take(array, rows, axis) if len(rows) else np.empty(shape, array.dtype)
    taken[(*[slice(None)] * axis, rows == -1 if len(rows) else slice(0, 0))] = 0
    return lambda ckpt: Take(inner(ckpt), axis, rows.astype(np.int64)), taken


@st.composite
def nested(draw):
    tensors, cuts = {"first": np.uint8(7)}, {}
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    made, array = build(draw, shape, draw(st.integers(0, 4)), tensors, cuts)
    box = []
    for size in array.shape:
        start = draw(st.integers(0, size))
        box.append(slice(start, draw(st.integers(start, size))))
    return tensors, cuts, made, array, tuple(box)


@pytest.fixture(scope="module", params=[(1, 1), (5, 12), (64, 4 << 20)], ids=str)
def limits(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expressions, "CHUNK_ELEMENTS", request.param[0])
        patch.setattr(expressions, "SCATTERED_BYTES", 6 * request.param[0])
        patch.setattr(rearranging, "SCATTERED_BYTES", 6 * request.param[0])
        patch.setattr(gathering, "_GATHER_BYTES", request.param[1])
        patch.setattr(gathering, "GAP_BYTES", request.param[1] // 2)
        patch.setattr(rearranging, "GAP_BYTES", request.param[1] // 2)
        yield


@pytest.mark.usefixtures("limits")
@given(nested())
def test_nested(case):
    tensors, cuts, made, array, box = case
    with (
        tempfile.TemporaryDirectory() as folder,
        tb.open(write(Path(folder, "m"), tensors, cuts=cuts)) as ckpt,
    ):
        expression = made(ckpt)
        found, _ = streamed(expression)
        assert (expression.dtype, expression.shape) == (DType.of(array.dtype), array.shape)
        assert described(found) == described(array)
        with Reading() as opened:
            part = expression.read(box, opened)
        assert described(part) == described(array[box])
        assert str(expression)


TAKEN = [
    (-1, 0),
    (0, -1),
    (-1, -1, 0, 1),
    (2, -1, 0, -1),
    (2, 3, -1, 0, 1),
    (),
    (3, 2, 1, 0),
    (-1,),
    (1, 1, 2),
]


@pytest.mark.usefixtures("small_chunks")
class TestTake:
    """-1 beside any other row, in any place."""

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("rows", TAKEN, ids=str)
    def test_rows(self, open_with, rows, axis):
        array = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
        padded = np.concatenate(
            [array, np.zeros((4, 1), np.float32) if axis else np.zeros((1, 4), np.float32)], axis
        )
        taken = Take(stored(open_with({"e": array}), "e"), axis, np.array(rows, np.int64))
        assert streamed(taken)[0].tolist() == np.take(padded, np.array(rows, int), axis).tolist()

    def test_strings(self, open_with):
        ckpt = open_with({"s": strings(b"a", b"b", b"c")})
        taken = Take(stored(ckpt, "s"), 0, np.array([2, -1, 1]))
        assert streamed(taken)[0].tolist() == [b"c", b"", b"b"]


class TestMean:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e5m2"])
    def test_in_a_wide_type(self, open_with, dtype):
        arrays = [np.array([1, 2.5, -3, 0.125]).astype(DType[dtype].numpy) * number for number in (1, 2, 4)]
        ckpt = open_with({str(number): array for number, array in enumerate(arrays)})
        mean = Mean(tuple(stored(ckpt, str(number)) for number in range(3)))
        expected = sum(each.astype(np.float64) for each in arrays) / 3
        assert described(streamed(mean)[0]) == described(expected.astype(DType[dtype].numpy))

    def test_no_overflow_on_the_way(self, open_with):
        big = np.full(3, 60000, np.float16)
        ckpt = open_with({"a": big, "b": big})
        for accumulator in (DType.float32, DType.float64):
            mean = Mean((stored(ckpt, "a"), stored(ckpt, "b")), accumulator)
            assert streamed(mean)[0].tolist() == [60000] * 3

    def test_the_accumulator_counts(self, open_with):
        ckpt = open_with({"a": np.float32([1]), "b": np.float32([2**-24])})
        parts = (stored(ckpt, "a"), stored(ckpt, "b"), stored(ckpt, "b"), stored(ckpt, "b"))
        assert streamed(Mean(parts, DType.float64))[0] == np.float32((1 + 3 * 2.0**-24) / 4)
        assert streamed(Mean(parts, DType.float32))[0] == np.float32(0.25)

    def test_complex_and_scalar(self, open_with):
        ckpt = open_with({"a": np.complex64(1 + 2j), "b": np.complex64(3 - 4j)})
        assert streamed(Mean((stored(ckpt, "a"), stored(ckpt, "b"))))[0] == 2 - 1j

    @pytest.mark.parametrize(
        ("values", "expected"), [([np.inf, -np.inf], "nan"), ([np.nan, 1], "nan"), ([np.inf, 1], "inf")]
    )
    def test_what_is_not_finite_makes_no_warning(self, open_with, values, expected):
        ckpt = open_with({"a": np.float32(values[0]), "b": np.float32(values[1])})
        assert str(streamed(Mean((stored(ckpt, "a"), stored(ckpt, "b"))))[0]) == expected


class TestScaled:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
    @pytest.mark.parametrize("factor", [-0.05, 3.0, 1 / 3])
    def test_rounded_once(self, open_with, small_chunks, dtype, factor):
        array = (np.arange(-6, 6).reshape(3, 4) / 7).astype(DType[dtype].numpy)
        ckpt = open_with({"a": array}, cuts={"a": (2, 1)})
        wide = array.astype(np.complex128 if dtype == "complex64" else np.float64)
        scaled = Scaled(stored(ckpt, "a"), factor)
        assert described(streamed(scaled)[0]) == described((wide * factor).astype(array.dtype))
        with Reading() as opened:
            part = scaled.read((slice(1, 3), slice(2, 4)), opened)
        assert part.tolist() == (wide * factor).astype(array.dtype)[1:3, 2:4].tolist()

    def test_what_is_too_large_makes_no_warning(self, open_with):
        ckpt = open_with({"a": np.float16([60000, -60000, np.nan])})
        assert str(streamed(Scaled(stored(ckpt, "a"), 2.0))[0].tolist()) == "[inf, -inf, nan]"


class TestCast:
    @pytest.mark.parametrize(
        ("values", "target", "expected", "overflowed"),
        [
            ([1e6, -1e6, 65504, np.inf, np.nan], "float16", [np.inf, -np.inf, 65504, np.inf, np.nan], 2),
            ([-1e6, 1], "float16", [-np.inf, 1], 1),
            ([3.4e38, 1], "bfloat16", [np.inf, 1], 1),
            ([-3.4e38, 1], "bfloat16", [-np.inf, 1], 1),
            ([-300, 1], "uint8", [0, 1], 1),
            ([1e6, 1, np.nan], "float8_e4m3fn", [np.nan, 1, np.nan], 1),
            ([300, -1, 2.75, np.nan, np.inf], "uint8", [255, 0, 2, 0, 255], 4),
            ([1e10, -1e10, -2.75], "int32", [2**31 - 1, -(2**31), -2], 2),
            ([1e19, -1e19, 2.0**62], "int64", [2**63 - 1, -(2**63), 2**62], 2),
            ([0, 0.5, np.nan, -0.0], "bool", [False, True, True, False], 0),
            ([1, 0.1], "float64", [1, float(np.float32(0.1))], 0),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_floats(self, open_with, values, target, expected, overflowed):
        ckpt = open_with({"e": np.float32(values)})
        found, opened = streamed(Cast(stored(ckpt, "e"), DType[target]))
        assert str(found.tolist()) == str(np.array(expected).astype(found.dtype).tolist())
        assert opened.overflowed == overflowed

    @pytest.mark.parametrize(
        ("values", "target", "overflowed"),
        [
            (np.int64([2**40, 1]), "int32", 1),
            (np.int64([-1, 256, 255]), "uint8", 2),
            (np.int64([100_000, 1]), "float16", 1),
            (np.float32([100, -100, 3]), "int4", 2),
        ],
        ids=["int32", "uint8", "float16", "int4"],
    )
    def test_whatever_does_not_fit_is_counted(self, open_with, values, target, overflowed):
        ckpt = open_with({"e": values})
        assert streamed(Cast(stored(ckpt, "e"), DType[target]))[1].overflowed == overflowed

    def test_fractions_that_fit_are_not(self, open_with):
        found, opened = streamed(Cast(stored(open_with({"e": np.float32([-0.5, 255.5])}), "e"), DType.uint8))
        assert (found.tolist(), opened.overflowed) == ([0, 255], 0)


WAYS = [
    "in order",
    "columns",
    "first rows",
    "some rows",
    "one column",
    "backwards",
    "one row",
    "twice",
    "mean",
]


class TestReading:
    SHAPE = (7, 6)

    def expressions(self, ckpt):
        """Ways to read one tensor: in order, in another order, in part, twice."""
        each = stored(ckpt, "e")
        box = (slice(1, 3), slice(0, 6))
        return {
            "in order": each,
            "columns": Transpose(each, (1, 0)),
            "first rows": Region(each, (slice(0, 3), slice(0, 6))),
            "some rows": Region(each, box),
            "one column": Region(each, (slice(0, 7), slice(5, 6))),
            "backwards": Take(each, 0, np.arange(7)[::-1]),
            "one row": Take(each, 0, np.array([3])),
            "twice": Take(each, 0, np.arange(14) % 7),
            "mean": Mean((each, each)),
            "nothing of it": Region(each, (slice(0, 0), slice(0, 6))),
        }

    @pytest.mark.parametrize("cuts", [{}, {"e": (3, 0)}, {"e": (2, 1)}], ids=["whole", "rows", "columns"])
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.usefixtures("small_chunks")
    def test_every_checksum_is_checked(self, tmp_path, way, cuts):
        """Also where only other bytes of the tensor are needed, but in those slices only that are."""
        array = np.arange(42, dtype=np.float32).reshape(self.SHAPE)
        prefix = write(tmp_path / "m", {"before": np.float32(1), "e": array}, cuts=cuts)
        data = tmp_path / "m.data-00000-of-00001"
        good = data.read_bytes()
        with tb.open(prefix) as ckpt:
            expression = self.expressions(ckpt)[way]
            expected = streamed(expression)[0]
            errors = []
            for at in range(4, len(good), 12):
                data.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
                try:
                    value, _ = streamed(expression)
                    assert value.tolist() == expected.tolist()
                except tb.CorruptionError as error:
                    errors.append(error)
                streamed(expression, verify=False)
            assert all(each.reason.startswith("crc32c of ") for each in errors)
            assert {each.path for each in errors} == {str(data)}
            assert len(errors) == 14 or cuts

    @pytest.mark.parametrize("verify", [True, False])
    def test_a_file_that_ends_too_early(self, tmp_path, verify):
        prefix = write(tmp_path / "m", {"e": np.arange(42.0).reshape(self.SHAPE)})
        with tb.open(prefix) as ckpt:
            (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(100))
            with pytest.raises(tb.CorruptionError, match="bytes wanted, the file ends at 100") as caught:
                streamed(stored(ckpt, "e"), verify=verify)
            assert caught.value.key == "e"

    def test_a_file_that_is_gone(self, tmp_path):
        with tb.open(write(tmp_path / "m", {"e": np.arange(42.0), "s": strings(b"a")})) as ckpt:
            (tmp_path / "m.data-00000-of-00001").unlink()
            for key in ("e", "s"):
                with pytest.raises(tb.MissingFileError):
                    streamed(stored(ckpt, key))

    @pytest.mark.parametrize("cuts", [{}, {"s": (2, 0)}], ids=["whole", "cut"])
    def test_strings_are_held_as_a_whole(self, open_with, cuts):
        ckpt = open_with({"s": strings(b"", b"a" * 300, b"\0b\0", b"c").reshape(2, 2)}, cuts=cuts)
        found, opened = streamed(Transpose(stored(ckpt, "s"), (1, 0)))
        assert found.tolist() == [[b"", b"\0b\0"], [b"a" * 300, b"c"]]
        assert opened.bytes_read == sum(
            each.nbytes for _, each in ckpt.index.raw_entries() if not each.slices
        )
        assert streamed(Region(stored(ckpt, "s"), (slice(1, 2), slice(0, 2))))[0].tolist() == [
            [b"\0b\0", b"c"]
        ]

    def test_a_damaged_string(self, tmp_path):
        prefix = write(tmp_path / "m", {"s": strings(b"abc", b"def")})
        data = tmp_path / "m.data-00000-of-00001"
        data.write_bytes(data.read_bytes()[:-1] + b"x")
        with tb.open(prefix) as ckpt, pytest.raises(tb.CorruptionError):
            streamed(stored(ckpt, "s"))

    def test_scalars_and_nothing(self, open_with):
        ckpt = open_with(
            {"scalar": np.float32(3), "empty": np.empty((0, 5), np.int8), "s": np.array(b"x", object)}
        )
        assert streamed(stored(ckpt, "scalar"))[0].tolist() == 3
        assert streamed(stored(ckpt, "empty"))[0].shape == (0, 5)
        assert streamed(stored(ckpt, "s"))[0].tolist() == b"x"

    def test_progress_and_bytes_read(self, open_with):
        ckpt = open_with({"e": np.arange(42.0).reshape(self.SHAPE)})
        told = []
        opened = streamed(stored(ckpt, "e"), progress=told.append)[1]
        assert opened.bytes_read == sum(told) == 42 * 8

    def test_many_pieces_need_few_descriptors(self, tmp_path):
        """A variable in more slices than a process may have files open."""
        array = np.arange(400, dtype=np.int16).reshape(1, 400)
        prefix = write(tmp_path / "m", {"e": array}, cuts={"e": (400, 1)})
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with tb.open(prefix) as ckpt:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
            try:
                assert streamed(stored(ckpt, "e"))[0].tolist() == array.tolist()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_pieces_that_leave_something_out(self, tmp_path):
        """What no slice holds must not be made up."""
        with tb.create(tmp_path / "m") as writer:
            writer.add_slice("e", (4, 2), tb.TensorSlice(((0, 2), (0, 2))), np.ones((2, 2), np.float32))
        with tb.open(tmp_path / "m") as ckpt, pytest.raises(tb.CorruptionError, match="slices"):
            streamed(stored(ckpt, "e"))


def test_big_endian_tensors(tmp_path):
    """Values are what they are on a machine of that byte order, in whatever order they are read."""
    data = bytes([1, 2, 3, 4]) + np.arange(6, dtype=">i2").tobytes() + np.array([1 + 2j], ">c8").tobytes()
    entries = {
        b"bytes": plain("uint8", [4], data[:4]),
        b"numbers": plain("int16", [2, 3], data[4:16], offset=4),
        b"complex": plain("complex64", [], data[16:], offset=16),
    }
    header = BundleHeader(1, big_endian=True)
    with tb.open(write_bundle(tmp_path / "m", entries, [data], header)) as ckpt:
        assert streamed(stored(ckpt, "bytes"))[0].tolist() == [1, 2, 3, 4]
        assert streamed(stored(ckpt, "numbers"))[0].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert streamed(Transpose(stored(ckpt, "numbers"), (1, 0)))[0].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert streamed(stored(ckpt, "complex"))[0].tolist() == 1 + 2j


def test_descriptions(open_with):
    each = stored(open_with({"e": np.zeros((2, 3), np.float32)}), "e")
    box = whole_box((2, 3))
    assert {
        str(Cast(each, DType.bfloat16)): 1,
        str(Region(each, box)): 2,
        str(Transpose(each, (1, 0))): 4,
        str(Reshape(each, (6,))): 5,
        str(Mean((each, each))): 6,
        str(Take(each, 0, np.array([1, -1]))): 7,
        str(Constant(np.zeros(2), "0.5", DType.float32)): 8,
        str(Scaled(each, -0.05)): 9,
    } == {
        "cast e to bfloat16": 1,
        "e[0:2, 0:3]": 2,
        "transpose e by [1, 0]": 4,
        "reshape e to [6]": 5,
        "mean of 2 x e": 6,
        "2 rows along 0 of e, 1 of them kept": 7,
        "0.5": 8,
        "-0.05 * e": 9,
    }
