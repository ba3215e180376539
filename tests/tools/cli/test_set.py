"""`tensorbundle set`."""

import numpy as np
import pytest

import tensorbundle as tb
from support.commands import check_refusal, check_writing
from support.rewriting import write


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "m", {"a": np.float32([1, 2]), "n": np.int64(3), "x=y": np.float32(1)})


def test_file_and_literal(run, tmp_path, source):
    np.save(tmp_path / "new.npy", [5.0, 6.0])
    check_writing(run, tmp_path, "set", [source], f"a={tmp_path}/new.npy", "n=4")
    assert tb.open(tmp_path / "out")["a"].tolist() == [5, 6]
    assert tb.open(tmp_path / "out")["n"] == 4


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("a", "'a' is not KEY=FILE.npy"),
        ("b=1", "SOURCE: key 'b': no such tensor"),
        ("a=[1,2,3]", "SOURCE: key 'a': values of shape [3], the tensor has [2]"),
        ("a=none.npy", "none.npy: no such file"),
        ("a=one", "'one' is neither a .npy file nor a literal such as 0.5 or [1, 2]"),
    ],
)
def test_errors(run, tmp_path, source, argument, message):
    found = check_refusal(run, tmp_path, "set", source, tmp_path / "out", argument)
    assert found.startswith(message.replace("SOURCE", source))


def test_a_tensor_is_added_where_a_type_is_given(run, tmp_path, source):
    check_writing(run, tmp_path, "set", [source], "global_step=0:int64", "w=0:float32[2,3]")
    with tb.open(tmp_path / "out") as ckpt:
        assert (ckpt["global_step"].dtype, ckpt["global_step"]) == (np.int64, 0)
        assert ckpt["w"].shape == (2, 3)
    assert run("set", source, tmp_path / "o", "global_step=0:int64").err == "added: global_step\n"
