"""Checkpoints that hypothesis makes up: TensorFlow writes them and we read them, and the other way round.

An ordinary run has as many as `EXAMPLES` says, always the same; TENSORBUNDLE_HYPOTHESIS=deep looks for new ones, fifty
times as many.
"""

import contextlib
import math
import pathlib
import re
import tempfile
from unittest import mock

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

import tensorbundle as tb
from support.altered import Altered, alterations
from support.contents import any_bits, as_array, assert_same_files, content, our_reading
from support.differences import (
    DEADLY,
    DIED,
    DIFFERENCES,
    SAMPLE,
    V1_SAMPLE,
    known,
    our_listing,
    our_outcome,
    their_listing,
    their_outcome,
)
from support.differential import (
    Contents,
    Saved,
    contents,
    low_shapes,
    texts,
    write_big_endian,
    write_our_v1,
    write_ours,
    write_their_v1,
    write_theirs,
)
from support.object_graphs import GRAPH_KEY, tf1_names
from support.tensorflow import (
    NUMERIC,
    PLAIN,
    described,
    joined_by_tensorflow,
    other_values,
    restore_raw,
    save_raw,
    tensor_bundle_pb2,
    tf,
    types_pb2,
)
from support.tensorflow_process import TensorFlowProcess
from support.trackables import as_graph, as_objects, reached, things
from tensorbundle.dtypes import DType
from tensorbundle.keys import decode_key
from tensorbundle.tools import TransferOptions, convert, verify
from tensorbundle.tools.rewriting.draft import Draft
from tensorbundle.tools.rewriting.transfer import transfer
from tensorbundle.v1.saved_slices import WRITABLE

EXAMPLES = {
    "theirs": 150,
    "ours": 140,
    "v1": 80,
    "objects": 100,
    "regions": 80,
    "big endian": 50,
    "altered": 300,
    "altered v1": 100,
}
REFUSED = (tf.errors.OpError, UnicodeDecodeError)  # the latter where its message has a name that is no text
# One byte an element, and yet TensorFlow knows no other byte order of them.
NOT_SWAPPED = {each for each in PLAIN if each.startswith("float8")} | {
    *("int4", "uint4", "int2", "uint2", "float4_e2m1fn")
}


def examples(kind):
    """As many examples as `EXAMPLES` says, times what the profile has more than an ordinary run."""
    count = EXAMPLES[kind] * settings.default.max_examples // 100
    return settings(max_examples=count, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True, scope="module")
def _no_fsync():
    with mock.patch("os.fsync"):  # which takes most of the time
        yield


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as path:
        yield pathlib.Path(path)


def read(ckpt, name, region=None):
    """What we read: type, shape and content."""
    key = decode_key(name)
    array = ckpt.read(key, region)
    return ckpt.entry(key).dtype.value, array.shape, content(array)


def copied(source, destination):
    """Rewrite a checkpoint with nothing changed, and every byte of it."""
    with tb.open(source) as ckpt:
        transfer(Draft.of(ckpt).plan(), str(destination), TransferOptions(data="copy"))
    return destination


def spec(shape, part):
    return f"{' '.join(map(str, shape))} {part}"


def check_listing(prefix, saved):
    """TensorFlow and we list the same names, types and shapes."""
    reader = tf.train.load_checkpoint(str(prefix))
    listed = {decode_key(name): (each.dtype.value, each.shape) for name, each in saved.tensors.items()}
    with tb.open(prefix) as ckpt:
        assert {key: (entry.dtype.value, entry.shape) for key, entry in ckpt.entries()} == listed
        assert list(ckpt) == sorted(listed, key=lambda key: key.encode("utf-8", "surrogateescape"))
        assert all(map(reader.has_tensor, saved.tensors))
        if ckpt.index.file_format == "v2":
            stored = [(key, entry) for key, entry in ckpt.index.raw_entries() if not entry.slices]
            assert reader.debug_string() == b"".join(_line(*each) for each in stored)
    with contextlib.suppress(UnicodeDecodeError):  # its maps are of text, and names are bytes
        dtypes = {key: dtype.name for key, dtype in reader.get_variable_to_dtype_map().items()}
        shapes = {key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()}
        assert {key: (dtypes[key], shapes[key]) for key in dtypes} == listed


def _line(key, entry):
    """How TensorFlow's reader lists a stored tensor or slice."""
    dtype = types_pb2.DataType.Name(entry.dtype.number)
    return key + f" ({dtype}) [{','.join(map(str, entry.shape))}]\n".encode()


def check_values(prefix, saved, refused=(), joined=lambda each: each.joined):
    """TensorFlow and we read what was saved: each tensor whole, and each slice of it.

    TensorFlow reads none of the types `refused`, and only those whole for which `joined` says so.
    """
    reader = tf.train.load_checkpoint(str(prefix))
    with tb.open(prefix) as ckpt:
        for name, each in saved.tensors.items():
            if each.dtype is DType.variant:
                with pytest.raises(tb.UnsupportedError, match="variant can't be NumPy arrays"):
                    read(ckpt, name)
                continue
            if each.complete:
                assert read(ckpt, name) == each.described()
            else:
                with pytest.raises(tb.CorruptionError, match=r"its slices hold \d+ of the \d+ elements"):
                    read(ckpt, name)
            if each.dtype not in refused and joined(each):
                assert restore_raw(prefix, name, each.dtype) == each.described()
                if ckpt.index.file_format == "v2":  # of V1 it reads few types, and nothing in slices
                    assert content(array_of(reader.get_tensor(name))) == each.described()[2]
            else:
                with pytest.raises(REFUSED):
                    restore_raw(prefix, name, each.dtype)
            for part in each.slices:
                box = part.box(each.shape)
                assert read(ckpt, name, box) == each.described(box)
                if each.dtype not in refused:
                    found = restore_raw(prefix, name, each.dtype, spec(each.shape, part))
                    assert found == each.described(box)


def array_of(value):
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def check_soundness(prefix, saved):
    """`verify` finds nothing but slices that were never saved."""
    found = [(each.kind, each.key) for each in verify(prefix).problems]
    missing = [name for name, each in saved.tensors.items() if not each.complete]
    assert found == [("slices", decode_key(name)) for name in sorted(missing)]


def complete(saved):
    """Whether all tensors have all of their slices; others are read, and never written again."""
    return all(each.complete for each in saved.tensors.values())


def test_nothing_is_missing():
    assert sum(EXAMPLES.values()) >= 1000


@examples("theirs")
@given(contents([*NUMERIC, DType.string, DType.variant]))
def test_theirs(saved):
    """What TensorFlow writes, we list and read; rewritten with nothing changed, it is the same files."""
    with folder() as here:
        theirs = write_theirs(here / "theirs", saved)
        check_listing(theirs, saved)
        check_values(theirs, saved)
        check_soundness(theirs, saved)
        if complete(saved):
            assert_same_files(copied(theirs, here / "copied"), theirs)
            return
        with pytest.raises(tb.CorruptionError, match="slices are missing"):
            copied(theirs, here / "copied")


@examples("ours")
@given(contents([*PLAIN, DType.string]))
def test_ours(saved):
    """What we write is the files that TensorFlow writes, and TensorFlow lists and reads it."""
    with folder() as here:
        ours = write_ours(here / "ours", saved)
        assert_same_files(ours, write_theirs(here / "theirs", saved))
        check_listing(ours, saved)
        check_values(ours, saved)


def save_ours(prefix, *saves):
    """What `save_raw` does, by us."""
    with tb.create(prefix) as writer:
        for name, text, values in saves:
            *sizes, part = text.split() or [""]
            if part:
                writer.add_slice(name, map(int, sizes), tb.TensorSlice.parse_spec(part), values)
            else:
                writer.add(name, values)


PAIR = np.float32([1, 2])


@pytest.mark.parametrize(
    ("saves", "error"),
    [
        ([("x", "", PAIR), ("x", "", PAIR)], tb.ConflictError),
        ([("x", "2 0,1", PAIR[:1]), ("x", "2 0,1", PAIR[:1])], tb.ConflictError),
        ([("x", "3 2,2", PAIR)], tb.CorruptionError),
        ([("x", "4 4 0,2", PAIR)], tb.CorruptionError),
        ([("x", "4 0,3", PAIR)], ValueError),
        ([("x", "4 0,0", PAIR[:0])], ValueError),
    ],
    ids=["name twice", "slice twice", "outside", "other rank", "other shape", "no elements"],
)
def test_neither_writes(saves, error, tmp_path):
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.InternalError)):
        save_raw(tmp_path / "theirs", *saves)
    with pytest.raises(error):
        save_ours(tmp_path / "ours", *saves)
    assert list(tmp_path.glob("*.index")) == []


@pytest.mark.parametrize("dtype", sorted(set(NUMERIC) - WRITABLE))
def test_neither_writes_v1(dtype, tmp_path):
    saved = Contents({b"x": Saved(dtype, any_bits(dtype, (2,)))}, [[(b"x", 0)]])
    with pytest.raises((tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)):
        write_their_v1(tmp_path / "theirs", saved)
    with pytest.raises(tb.UnsupportedError, match=f"the V1 format has no values of type {dtype}"):
        write_our_v1(tmp_path / "ours", saved)


few = contents(sorted(WRITABLE), names=texts, shapes=low_shapes).filter(
    lambda saved: sum(map(len, saved.shards)) <= 16
)


@examples("v1")
@given(few)
def test_v1(saved):
    """V1 files: both write the same bytes and read each other's; so do conversions from and to V2."""
    with folder() as here:
        theirs = write_their_v1(here / "theirs", saved)
        check_listing(theirs, saved)
        check_values(theirs, saved, joined=lambda each: each.complete)
        check_soundness(theirs, saved)
        one = saved.together()
        assert_same_bytes(write_our_v1(here / "ours", one), write_their_v1(here / "one", one))
        if not complete(saved):
            with pytest.raises(tb.CorruptionError, match="slices are missing"):
                convert(theirs, here / "v2", to="v2")
            return
        convert(theirs, here / "v2", to="v2")
        check_listing(here / "v2", saved)
        check_values(here / "v2", saved)
        convert(here / "v2", here / "v1", to="v1")
        assert_same_bytes(here / "v1", write_their_v1(here / "plain", one.plain()))


@pytest.mark.parametrize("count", [16, 17, 50])
def test_v1_of_many_slices(count, tmp_path):
    """Of more than 16 slices TensorFlow changes the order, as its sort is not stable; we list them in its order."""
    parts = tuple(tb.TensorSlice(((start, 1),)) for start in range(count))
    pieces = [(b"x", number) for number in range(count)]
    theirs = write_their_v1(tmp_path / "theirs", Contents({b"x": whole(count, parts)}, [pieces]))
    with tb.open(theirs) as ckpt:
        listed = ckpt.entry("x").slices
    assert (listed == parts) == (count <= 16)
    ours = write_our_v1(tmp_path / "ours", Contents({b"x": whole(count, listed)}, [pieces]))
    assert_same_bytes(ours, theirs)
    convert(theirs, tmp_path / "v2", to="v2")
    convert(tmp_path / "v2", tmp_path / "v1", to="v1")
    assert_same_bytes(tmp_path / "v1", theirs)


def whole(count, parts):
    return Saved(DType.int32, np.arange(count, dtype="<i4"), parts)


def assert_same_bytes(one, other):
    assert pathlib.Path(one).read_bytes() == pathlib.Path(other).read_bytes()


@examples("objects")
@given(things())
def test_objects(drawn):
    """Nested, shared and cyclic objects: one graph and the same files by both, restored by TensorFlow from ours."""
    objects = as_objects(drawn)
    with folder() as here:
        theirs = objects[0].save(str(here / "theirs"))
        with tb.open(theirs) as ckpt:
            encoded = ckpt[GRAPH_KEY].item()
            graph = ckpt.object_graph
            assert graph.encode() == encoded
            graph.renumber()
            graph.mark_values()
            assert graph.encode() == encoded
            mine = as_graph(drawn, objects)
            assert mine.encode() == encoded
            # TensorFlow puts what is not a tensor in the program last.
            owned = sorted(mine.attributes(), key=lambda each: each[2].name == "py_state")
            with tb.create(here / "ours") as writer:
                for _, _, each in owned:
                    writer.add(each.checkpoint_key, ckpt[each.checkpoint_key])
                writer.add_object_graph(mine)
        assert_same_files(here / "ours", theirs)
        check_restored(here / "ours", drawn, objects)
        check_conversions(theirs, here)


def check_restored(prefix, drawn, objects):
    """Other objects of the same kind get the values of these from a checkpoint, and nothing is left over."""
    others = as_objects(drawn, fresh=True)
    others[0].restore(str(prefix)).assert_consumed()
    for number in reached(drawn):
        if drawn[number].kind == "variable":
            assert described(others[number]) == described(objects[number])
        elif drawn[number].kind == "state":
            assert others[number].value == objects[number].value


def check_conversions(prefix, here):
    """Its variables under the names that their paths make, and from there below `vars`, where TensorFlow finds them."""
    source = our_reading(prefix)
    pairs = tf1_names(source, "keys")
    expected = {name: source[key] for name, key in pairs}
    if len(expected) < len(pairs) or "" in expected:
        with pytest.raises(tb.ConflictError):
            convert(prefix, here / "tf1", to="tf1", names="keys")
        return
    convert(prefix, here / "tf1", to="tf1", names="keys")
    assert our_reading(here / "tf1") == expected
    convert(here / "tf1", here / "tf2", to="tf2")
    variables = {name: other_values(value) for name, value in expected.items()}
    tf.train.Checkpoint(vars=variables).restore(str(here / "tf2")).assert_consumed()
    assert {name: described(variable) for name, variable in variables.items()} == expected


WRITERS = {"bundle": write_theirs, "V1": write_their_v1, "big-endian": write_big_endian}


@st.composite
def boxes(draw, shape):
    """A part of a tensor that a save op can name: along each dimension at least one element."""
    starts = [draw(st.integers(0, size - 1)) for size in shape]
    return tb.TensorSlice(
        tuple((start, draw(st.integers(1, size - start))) for start, size in zip(starts, shape, strict=True))
    )


@examples("regions")
@given(
    contents(sorted(WRITABLE), names=texts, shapes=low_shapes), st.sampled_from(sorted(WRITERS)), st.data()
)
def test_regions(saved, kind, data):
    """A region is what NumPy takes of the tensor that TensorFlow reads, and a box what TensorFlow reads of it."""
    with folder() as here:
        prefix = WRITERS[kind](here / "m", saved)
        with tb.open(prefix) as ckpt:
            for name, each in saved.tensors.items():
                if not each.complete:
                    continue
                values = each.values
                if each.joined or kind == "V1":
                    values = as_array(restore_raw(prefix, name, each.dtype))
                region = data.draw(basic_indices(each.shape, allow_ellipsis=True))
                expected = values[region]
                if not isinstance(expected, np.ndarray):
                    expected = np.array(expected, values.dtype)
                assert read(ckpt, name, region) == (each.dtype.value, expected.shape, content(expected))
                if values.size and each.shape and (joined_by_tensorflow(each.dtype) or kind == "V1"):
                    part = data.draw(boxes(each.shape))
                    found = restore_raw(prefix, name, each.dtype, spec(each.shape, part))
                    assert read(ckpt, name, part.box(each.shape)) == found


@examples("big endian")
@given(contents([*NUMERIC, DType.string]))
def test_big_endian(saved):
    """Bundles of the other byte order: both read the same values, and rewritten they are what TensorFlow writes here."""
    with folder() as here:
        big = write_big_endian(here / "big", saved)
        check_listing(big, saved)
        check_values(big, saved, refused=NOT_SWAPPED)
        check_soundness(big, saved)
        if complete(saved):
            assert_same_files(copied(big, here / "little"), write_theirs(here / "theirs", saved))
            return
        with pytest.raises(tb.CorruptionError, match="slices are missing"):
            copied(big, here / "little")


@pytest.fixture(scope="module")
def process():
    with TensorFlowProcess() as found:
        yield found


def written(here, sample, *, v1):
    """A checkpoint of TensorFlow's in a folder of its own."""
    (here / "sound").mkdir()
    return (write_their_v1 if v1 else write_theirs)(here / "sound" / "m", sample)


def check_alike(process, prefix, types, *, v1, changes=()):
    """TensorFlow and we accept and read the same of each of these keys, but for the known differences; types by key."""
    pairs = {
        key: (our_outcome(prefix, key), their_outcome(process, prefix, key, dtype))
        for key, dtype in types.items()
    }
    pairs[None] = our_listing(prefix), their_listing(process, prefix)
    for key, ((mine, my_value), (other, their_value)) in pairs.items():
        if my_value is not None and their_value is not None:
            assert my_value == their_value, (key, changes)
        elif my_value is not None or their_value is not None:
            allowed = re.search(DIED, other) or known(mine, other, listing=key is None, v1=v1)
            assert allowed, (key, mine, other, changes)


def types_in(changed, sound):
    """The data types to ask TensorFlow for: those that the entries say, or that they did before they were altered."""
    found = dict(sound)
    for key, value in changed.table.items:
        with contextlib.suppress(DecodeError):
            number = tensor_bundle_pb2.BundleEntryProto.FromString(value).dtype
            named = (each.value for each in DType if each.number == number)
            found[key] = next(named, found.get(key, "float32"))
    found.pop(b"", None)
    return found


def listed_types(prefix, sound):
    """The same by what we list, as far as we do."""
    listed = our_listing(prefix)[1] or {}
    return {name: listed.get(decode_key(name), [each.dtype.value])[0] for name, each in sound.tensors.items()}


@pytest.mark.parametrize("v1", [False, True], ids=["bundle", "V1"])
def test_what_is_not_altered(v1, process, tmp_path):
    """Taken apart and put together again, the sample is accepted by both, but for what the differences say."""
    sample = V1_SAMPLE if v1 else SAMPLE
    prefix = Altered.of(written(tmp_path, sample, v1=v1)).write(tmp_path / "again")
    check_listing(prefix, sample)
    check_alike(process, prefix, {name: each.dtype.value for name, each in sample.tensors.items()}, v1=v1)


@pytest.mark.parametrize("difference", [*DIFFERENCES, *DEADLY], ids=str)
def test_known_difference(difference, process, tmp_path):
    sample = V1_SAMPLE if difference.v1 else SAMPLE
    found = Altered.of(written(tmp_path, sample, v1=difference.v1))
    difference.alter(found)
    prefix = found.write(tmp_path / "altered")
    if difference.key is None:
        outcomes = our_listing(prefix), their_listing(process, prefix)
    else:
        dtype = listed_types(prefix, sample)[difference.key]
        outcomes = (
            our_outcome(prefix, difference.key),
            their_outcome(process, prefix, difference.key, dtype),
        )
    assert re.search(difference.ours, outcomes[0][0])
    assert re.search(difference.theirs, outcomes[1][0])


small = low_shapes.filter(lambda shape: math.prod(shape) < 100)
plain_names = st.sampled_from([b"a", b"ab", b"b", b"c", b"d/e"])


@examples("altered")
@given(contents([*PLAIN, DType.string], max_shards=2, names=plain_names, shapes=small), st.data())
def test_altered(process, saved, data):
    """Any part of any file altered: both refuse a tensor, or both read the same."""
    with folder() as here:
        sound = Altered.of(written(here, saved, v1=False))
        before = types_in(sound, {})
        changed = data.draw(alterations(sound))
        prefix = changed.write(here / "altered")
        check_alike(process, prefix, types_in(changed, before), v1=False, changes=changed.changes)


@examples("altered v1")
@given(contents(sorted(WRITABLE), max_shards=1, names=plain_names, shapes=small), st.data())
def test_altered_v1(process, saved, data):
    with folder() as here:
        changed = data.draw(alterations(Altered.of(written(here, saved, v1=True))))
        prefix = changed.write(here / "altered")
        check_alike(process, prefix, listed_types(prefix, saved), v1=True, changes=changed.changes)
