"""Values of tensors that share bytes are read a limited number of times."""

import numpy as np
import pytest

import tensorbundle as tb
from support.hostile import INPUTS, command_lines
from tensorbundle import payloads
from tensorbundle.dtypes import DType
from tensorbundle.entries import StoredRange, TensorEntry
from tensorbundle.errors import UnsupportedError
from tensorbundle.limits import MAX_ENCODED_REPEATS, MAX_EXPANDED_BYTES, MAX_REPEATS
from tensorbundle.tools.cli import main
from tensorbundle.tools.operations.inspecting.statistics import stats
from tensorbundle.tools.rewriting import repetition as module
from tensorbundle.tools.rewriting.repetition import EncodedRepetition, Repetition

MEGABYTE = 1 << 20


def add(repetition, start, nbytes, dtype=DType.int8, elements=0, path="shard"):
    repetition.add(TensorEntry(dtype, (elements,), nbytes), StoredRange(path, start, nbytes, None, False))


def test_tensors_apart_are_never_too_many():
    repetition = Repetition()
    for number in range(1000):
        add(repetition, number * MEGABYTE, MEGABYTE)
        add(repetition, (1000 - number) * MEGABYTE, MEGABYTE, path="another shard")


def test_the_bytes_that_are_read_in_any_case():
    repetition = Repetition()
    for _ in range(MAX_EXPANDED_BYTES // MEGABYTE):
        add(repetition, 8, MEGABYTE)
    with pytest.raises(UnsupportedError, match=r"have 135266304 bytes or more, stored in 1048576 bytes"):
        add(repetition, 8, MEGABYTE)


def test_the_times_that_bytes_are_read_in_any_case():
    repetition = Repetition()
    for _ in range(MAX_REPEATS):
        add(repetition, 0, MAX_EXPANDED_BYTES)
    with pytest.raises(UnsupportedError, match="share bytes"):
        add(repetition, 0, 1)


def test_strings_count_for_what_they_take_in_memory():
    repetition = Repetition()
    add(repetition, 0, 4 * MEGABYTE, DType.string, 4 * MEGABYTE)  # empty ones: as many as there are bytes
    for _ in range(MAX_REPEATS - 1):
        add(repetition, 0, 4 * MEGABYTE, DType.string, 4 * MEGABYTE)
    with pytest.raises(UnsupportedError, match="share bytes"):
        add(repetition, 0, 4 * MEGABYTE, DType.string, 4 * MEGABYTE)


@pytest.fixture
def aliased(tmp_path, monkeypatch):
    """Four hundred names for 61,440 bytes."""
    monkeypatch.setattr(module, "MAX_EXPANDED_BYTES", 4 * MEGABYTE)
    return INPUTS["aliases"].make(tmp_path, 400)


@pytest.mark.parametrize("label", ["stats", "hash", "show", "cast", "convert npz", "convert safetensors"])
def test_commands_that_read_each_tensor_refuse(run, aliased, tmp_path, label):
    argv = command_lines("checkpoint", aliased, "", tmp_path / "out")[label]
    said = run(*argv, status=2).err
    assert said.endswith("and at most 16 times as many are read; choose fewer tensors\n")


@pytest.mark.parametrize("label", ["rename", "compact", "verify", "report"])
def test_others_read_the_bytes_once(run, aliased, tmp_path, label):
    run(*command_lines("checkpoint", aliased, "", tmp_path / "out")[label])
    assert sum(file.stat().st_size for file in tmp_path.glob("out.data*")) <= 2 * 61440


def test_one_tensor_may_be_the_source_of_many(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_EXPANDED_BYTES", 1000)
    values = np.arange(MAX_REPEATS * 40, dtype="f4").reshape(2, -1)
    with tb.create(tmp_path / "ckpt") as writer:
        writer.add("a", values)
    run("partition", tmp_path / "ckpt", tmp_path / "columns", f"a={2 * MAX_REPEATS}:1")
    with tb.open(tmp_path / "columns") as made:
        np.testing.assert_array_equal(made["a"], values)


def test_results_before_the_limit_are_given(aliased):
    found = []
    with pytest.raises(UnsupportedError):
        found.extend(stats(aliased))
    assert len(found) == 4 * MEGABYTE // 61440
    assert [each.key for each in found[:2]] == ["a00000", "a00001"]


@pytest.mark.parametrize("dtype", [DType.string, DType.variant])
def test_what_is_decoded_to_be_checked_shares_few_bytes(dtype):
    repetition = EncodedRepetition()
    for number in range(MAX_ENCODED_REPEATS + 1):  # and a mebibyte besides
        repetition.add(dtype, number, StoredRange("shard", 0, MEGABYTE, None, False))
        repetition.add(dtype, number, StoredRange("shard", 0, MEGABYTE, None, False))
        repetition.add(DType.int8, number, StoredRange("shard", 0, MEGABYTE, None, False))
    repetition.add(dtype, 1, StoredRange("shard", MEGABYTE, MEGABYTE, None, False))
    for number in range(MAX_ENCODED_REPEATS - 1):
        repetition.add(dtype, number + 10, StoredRange("shard", 0, MEGABYTE, None, False))
    with pytest.raises(
        UnsupportedError, match=r"have 10485760 bytes or more, stored in 2097152, and at most 4 times"
    ):
        repetition.add(dtype, 20, StoredRange("shard", 0, MEGABYTE, None, False))


@pytest.mark.parametrize("command", ["verify", "compact", "salvage"])
def test_strings_that_share_bytes_are_not_all_decoded(command, tmp_path, monkeypatch, capsys):
    source = INPUTS["string_overlaps"].make(tmp_path, 200)
    monkeypatch.setattr(module, "_ANY_BYTES", 50_000)
    decoded = []
    update = payloads._StringChecksum.update
    monkeypatch.setattr(
        payloads._StringChecksum,
        "update",
        lambda self, chunk: decoded.append(len(chunk)) or update(self, chunk),
    )
    assert main(command_lines("checkpoint", source, source, tmp_path / "out")[command]) > 0
    assert sum(decoded) <= MAX_ENCODED_REPEATS * 20_200 + 50_000
    told = capsys.readouterr()
    assert "share bytes" in told.out + told.err or command == "salvage"


def test_names_of_the_same_damaged_strings_are_decoded_once(tmp_path, monkeypatch, capsys):
    source = INPUTS["many_string_tensors"].make(tmp_path, 100)
    shard = tmp_path / "m.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[5] ^= 8
    shard.write_bytes(data)
    decoded = []
    update = payloads._StringChecksum.update
    monkeypatch.setattr(
        payloads._StringChecksum, "update", lambda self, chunk: decoded.append(chunk) or update(self, chunk)
    )
    assert main(["salvage", str(source), str(tmp_path / "out")]) == 2
    assert len(decoded) == 1
    assert "nothing can be saved" in capsys.readouterr().err
