"""Rows follow their tokens, by the rules of TensorFlow's warm start."""

import numpy as np
import pytest

import tensorbundle as tb
from support.rewriting import finished, keras_like, lists, rewritten, strings, write, write_objects
from tensorbundle.tools import rewrite
from tensorbundle.tools.operations.editing.vocabulary import read_vocabulary

EMBEDDING = np.arange(8, dtype=np.float32).reshape(4, 2)


@pytest.fixture
def vocabularies(tmp_path):
    """Writes an old and a new vocabulary, and gives the step's options."""

    def make(old, new, **options):
        for name, tokens in (("old", old), ("new", new)):
            (tmp_path / name).write_text("".join(f"{token}\n" for token in tokens))
        return {"old_vocab": str(tmp_path / "old"), "new_vocab": str(tmp_path / "new"), **options}

    return make


@pytest.mark.parametrize(
    ("new", "options", "rows"),
    [
        ("dxa", {"oov": 1}, [(6, 7), (0, 0), (0, 1), (0, 0)]),  # TensorFlow's own example
        ("abcd", {}, [(0, 1), (2, 3), (4, 5), (6, 7)]),
        ("xa", {}, [(0, 0), (0, 1)]),
        ("xabyc", {}, [(0, 0), (0, 1), (2, 3), (0, 0), (4, 5)]),
        ("dcba", {"oov": 2}, [(6, 7), (4, 5), (2, 3), (0, 1), (0, 0), (0, 0)]),
        ("aad", {"old_vocab_size": 3}, [(0, 1), (0, 1), (0, 0)]),
        ("xyz", {}, [(0, 0)] * 3),
        ("", {"oov": 1}, [(0, 0)]),
    ],
)
@pytest.mark.parametrize("cuts", [{}, {"e": (2, 0)}, {"e": (2, 1)}], ids=["whole", "rows", "columns"])
def test_rows(tmp_path, vocabularies, new, options, rows, cuts):
    source = write(tmp_path / "m", {"e": EMBEDDING}, cuts=cuts)
    found = rewritten(source, tmp_path / "out", resize={"e": vocabularies("abcd", new, **options)})
    assert found["e"].tolist() == [list(row) for row in rows]


def test_columns(tmp_path, vocabularies):
    source = write(tmp_path / "m", {"logits": EMBEDDING.T})
    found = rewritten(source, tmp_path / "out", resize={"logits": vocabularies("abcd", "xad", axis=1)})
    assert lists(found) == {"logits": [[0, 0, 6], [0, 1, 7]]}


@pytest.mark.parametrize("dtype", ["int32", "bfloat16", "string", "bool"])
def test_any_type(tmp_path, vocabularies, dtype):
    values = strings(b"p", b"q") if dtype == "string" else np.array([1, 1], tb.DType[dtype].numpy)
    found = rewritten(
        write(tmp_path / "m", {"e": values}), tmp_path / "out", resize={"e": vocabularies("ab", "bz")}
    )
    assert found["e"].dtype == values.dtype
    assert found["e"].tolist() == [values[1], b"" if dtype == "string" else 0]


def test_slots_come_along(tmp_path, vocabularies):
    tensors = {
        "e": EMBEDDING,
        "e/Adam": EMBEDDING * 10,
        "e/Adam_1": EMBEDDING * 100,
        "e/m": np.float32(7),
        "f": EMBEDDING,
    }
    found = rewritten(
        write(tmp_path / "m", tensors), tmp_path / "out", resize={"e": vocabularies("abcd", "dc")}
    )
    assert lists(found) == {
        "e": [[6, 7], [4, 5]],
        "e/Adam": [[60, 70], [40, 50]],
        "e/Adam_1": [[600, 700], [400, 500]],
        "e/m": 7,
        "f": EMBEDDING.tolist(),
    }


def test_slots_of_an_object(tmp_path, vocabularies):
    source = write_objects(tmp_path / "m", keras_like())
    found = rewritten(source, tmp_path / "out", resize={"model/layer-0/kernel": vocabularies("a", "xa")})
    grown = sorted(key.partition("/.ATTR")[0] for key, array in found.items() if array.shape == (2,))
    assert grown == [
        "model/layer-0/kernel",
        "model/layer-0/kernel/.OPTIMIZER_SLOT/optimizer/m",
        "model/layer-0/kernel/.OPTIMIZER_SLOT/optimizer/v",
    ]
    assert found["model/layer-0/kernel/.ATTRIBUTES/VARIABLE_VALUE"].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("shape", "old", "new", "options", "reason"),
    [
        ((4, 2), "abcde", "a", {}, r"5 old tokens, axis 0 has 4 elements$"),
        ((2, 2), "aaab", "b", {}, r"axis 0 has 2 elements$"),  # whose position is not in the tensor
        ((4, 2), "abcd", "a", {"axis": 2}, r"axis 2 of a tensor of rank 2$"),
        ((4, 2), "abcd", "a", {"axis": -3}, r"axis -3 of a tensor of rank 2$"),
        ((4, 2), "abcd", "a", {"oov": -1}, "-1"),
        ((), "a", "a", {}, r"axis 0 of a tensor of rank 0$"),
    ],
)
def test_what_does_not_fit(tmp_path, vocabularies, shape, old, new, options, reason):
    source = write(tmp_path / "m", {"e": np.zeros(shape, np.float32), "z": np.ones(9, np.float32)})
    with pytest.raises(tb.ConflictError, match=reason) as caught:
        rewrite(source, tmp_path / "out", resize={"e": vocabularies(old, new, **options)})
    assert (caught.value.path, caught.value.key) == (source, "e")


def test_nothing_left_of_a_partitioned_variable(tmp_path, vocabularies):
    source = write(tmp_path / "m", {"e": EMBEDDING}, cuts={"e": (2, 0)})
    assert rewritten(source, tmp_path / "out", resize={"e": vocabularies("ab", "")})["e"].shape == (0, 2)


def test_missing(tmp_path, vocabularies):
    source = write(tmp_path / "m", {"emb": EMBEDDING})
    with pytest.raises(tb.TensorNotFoundError, match=r"no such tensor; near: 'emb'$"):
        rewrite(source, tmp_path / "out", resize={"embe": vocabularies("ab", "b")})
    with pytest.raises(tb.MissingFileError, match=r"no such vocabulary file$"):
        read_vocabulary(str(tmp_path / "none"))


def test_vocabulary_files(tmp_path):
    path = tmp_path / "v"
    path.write_bytes(b"a\n\xff b\r\n\n\xc3\xa9")
    assert read_vocabulary(str(path)) == [b"a", b"\xff b", b"", b"\xc3\xa9"]


def test_the_graph_is_as_before(tmp_path, vocabularies):
    source = write_objects(tmp_path / "m", keras_like())
    rewrite(source, tmp_path / "out", resize={"model/last/w": vocabularies("a", "xa")})
    with tb.open(tmp_path / "out") as ckpt:
        assert ckpt.object_graph.encode() == finished(keras_like()).encode()
