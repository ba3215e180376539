"""How fast does a user see what is in a checkpoint?"""

import zlib

import pytest

import tensorbundle as tb

TENSORFLOW = pytest.param("tensorflow", marks=pytest.mark.interop)


def index_of(prefix):
    return [f"{prefix}.index"]


@pytest.mark.parametrize("contender", ["tensorbundle", TENSORFLOW])
def test_ls(contender, compare, checkpoint, tensorbundle, program):
    """Whole processes: what a user waits for who asks for the names in a checkpoint of 200 tensors."""
    prefix = checkpoint("name-based")
    commands = {
        "tensorbundle": [*tensorbundle, "ls", prefix],
        "tensorflow": [*program("with_tensorflow"), "ls", prefix],
    }
    measured = compare("ls of 200 tensors", contender, commands[contender], reads=index_of(prefix))
    with tb.open(prefix) as ckpt:
        names = list(ckpt)
    listed = {line.split()[0] for line in measured.output.splitlines()}
    assert len(names) == 200
    assert listed >= set(names)


@pytest.mark.parametrize("contender", ["tensorbundle", TENSORFLOW])
def test_open_and_list(contender, compare, checkpoint, program, pytestconfig):
    """In process, libraries imported: opening a large index and taking out every name, type and shape."""
    tensors = pytestconfig.getoption("--tensors", 2_000)
    prefix = checkpoint("many")
    command = [*program(f"with_{contender}"), "entries", checkpoint("few"), prefix]
    measured = compare(f"open, list {tensors:,}", contender, command, reads=index_of(prefix))
    assert measured.output.splitlines()[-1] == str(tensors)


@pytest.mark.parametrize("contender", ["tensorbundle", TENSORFLOW])
def test_one_of_many(contender, compare, checkpoint, program, pytestconfig):
    """In process, libraries imported: opening a large checkpoint and reading one tensor."""
    tensors = pytestconfig.getoption("--tensors", 2_000)
    prefix = checkpoint("many")
    with tb.open(prefix) as ckpt:
        key = list(ckpt)[tensors * 2 // 3]
        expected = zlib.crc32(ckpt[key].tobytes())
    command = [*program(f"with_{contender}"), "one", checkpoint("few"), prefix, key]
    measured = compare(f"one tensor of {tensors:,}", contender, command, reads=index_of(prefix))
    assert measured.output.splitlines()[-1] == str(expected)
