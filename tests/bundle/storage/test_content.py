"""What a file is instead of a checkpoint, and what to give instead."""

import io
import tarfile
import zipfile

import pytest

import tensorbundle as tb
from support.directories import write_checkpoints
from tensorbundle.storage.content import describe_content, describe_name, describe_text


def archive(member):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(member, b"x" * 50)
    return file.getvalue()


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo("x"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "meaning"),
    [
        (tar(), "a tar archive"),
        (b"\x1c\0\0\0TFL3" + bytes(90), "a TensorFlow Lite model"),
        (archive("archive/data.pkl"), "a PyTorch checkpoint"),
        (archive("model/version"), "a PyTorch checkpoint"),
        (archive("metadata.json"), "a Keras model"),
        (archive("kernel.npy"), "a NumPy archive"),
        (archive("README"), "a zip archive"),
        (b"PK\x03\x04", "a zip archive"),
        ((50).to_bytes(8, "little") + b'{"a":{"dtype":"F32"', "a safetensors file"),
        (b'\nnode {\n  name: "a"', "a graph as text"),
        (b"\x80\x04\x95\x10", "a Python pickle"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b"GGUF\3\0\0\0", "a GGUF file"),
    ],
)
def test_by_its_first_bytes(head, meaning):
    assert describe_content(head[:4096]).startswith(meaning)


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("run/sm/saved_model.pb", "the graph of a SavedModel: give its directory, 'run/sm'"),
        ("saved_model.pbtxt", "the graph of a SavedModel: give its directory, '.'"),
        ("sm/fingerprint.pb", "a part of a SavedModel: give its directory, 'sm'"),
        ("frozen.pb", "a graph (GraphDef)"),
        ("graph.pbtxt", "a graph as text"),
        ("m.ckpt-1.meta", "the graph of a checkpoint, without its values"),
        ("m.data-00000-of-00001.tempstate1234567", "a file of a save that died"),
        ("model.pt", "a PyTorch checkpoint"),
        ("model.onnx", "an ONNX model"),
        ("m.ckpt-1", None),
        ("checkpoint", None),
    ],
)
def test_by_its_name(path, meaning):
    found = describe_name(path)
    assert found == meaning or found.startswith(meaning)


@pytest.mark.parametrize(
    ("head", "is_text"),
    [
        (b'{"error": "not found"}', True),
        (b"a line\r\n\tand another\n", True),
        ("größer".encode(), True),
        ("größer".encode()[:-4], True),
        ("größer €".encode()[:-1], True),
        ("größer".encode("latin-1"), False),
        (b"", False),
        (b"text\0", False),
        (b"\x1b[0mtext", False),
        (b"text\x7f", False),
    ],
)
def test_text(head, is_text):
    assert (describe_text(head) is not None) is is_text


def test_opening_says_what_it_is(tmp_path):
    for name in ("saved_model.pb", "x.data-00000-of-00001.tempstate1"):
        (tmp_path / name).write_bytes(bytes(range(100)))
        with pytest.raises(tb.CorruptionError) as caught:
            tb.open(tmp_path / name)
        assert caught.value.reason == f"not a table: {describe_name(str(tmp_path / name))}"
    (tmp_path / "alone.meta").write_bytes(b"graph")
    with pytest.raises(
        tb.MissingFileError, match=r"alone.meta: the graph of a checkpoint, without its values"
    ):
        tb.open(tmp_path / "alone.meta")
    with pytest.raises(tb.MissingFileError, match="an empty path"):
        tb.open("")


def test_directories(tmp_path):
    (tmp_path / "sm").mkdir()
    write_checkpoints(tmp_path / "sm/variables", ["variables"])
    with tb.open(tmp_path / "sm/variables") as ckpt:
        assert ckpt.prefix == str(tmp_path / "sm/variables/variables")
    write_checkpoints(tmp_path / "run", ["a", "b"])
    (tmp_path / "run/checkpoint.txt").touch()
    with pytest.raises(tb.MissingFileError, match=r"'checkpoint\.txt' may be its state file"):
        tb.open(tmp_path / "run")


def test_a_data_shard_that_is_no_file(tmp_path):
    write_checkpoints(tmp_path, ["a"])
    (tmp_path / "a.data-00000-of-00001").unlink()
    (tmp_path / "a.data-00000-of-00001").mkdir()
    with (
        tb.open(tmp_path / "a") as ckpt,
        pytest.raises(tb.MissingFileError, match="not a regular file but a directory"),
    ):
        ckpt["step"]
