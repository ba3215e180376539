"""FarmHash's Fingerprint64, and the fingerprint of a SavedModel."""

import shutil

import pytest

from support.cli import V215
from tensorbundle.coding import encode_varint
from tensorbundle.tools import verify
from tensorbundle.tools.operations.inspecting.fingerprint import check_fingerprint, fingerprint64

EXPECTED = 17120328622016380367  # of this index; TensorFlow's own agree with it for those of others


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0x9AE16A3B2F90404F),
        # TensorFlow core/platform/fingerprint_test.cc
        (b"World", 18308117990299812472),
    ],
)
def test_published_values(data, expected):
    assert fingerprint64(data) == expected


def test_the_index_of_a_saved_model(tmp_path):
    shutil.copytree(V215 / "keras-saved-model", tmp_path / "model")
    prefix = tmp_path / "model/variables/variables"
    assert check_fingerprint(str(prefix)) is None
    (tmp_path / "model/fingerprint.pb").write_bytes(b"\x28" + encode_varint(EXPECTED))
    assert check_fingerprint(str(prefix)) is None
    assert verify(prefix).problems == []
    (tmp_path / "model/fingerprint.pb").write_bytes(b"\x28" + encode_varint(EXPECTED ^ 1))
    [found] = verify(prefix).problems
    assert (found.kind, found.severity) == ("fingerprint", "warning")
    assert str(EXPECTED) in found.message
    (tmp_path / "model/fingerprint.pb").write_bytes(b"\xff")
    assert check_fingerprint(str(prefix)) is None
