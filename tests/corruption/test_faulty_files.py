"""Every malformed bundle that TensorFlow was tried with, ten of which end its process, is refused with its fault named."""

import pytest

import tensorbundle as tb
from support.bundles import read_everything, snapshot
from support.faulty_files import CASES
from tensorbundle.tools import salvage
from tensorbundle.tools.operations.inspecting.verification import verify_checkpoint


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


def test_reading(case, tmp_path):
    prefix = case.files.write(tmp_path)
    if case.error is None:
        assert read_everything(prefix)["a"][1] == (6,)
    else:
        with pytest.raises(tb.BundleError, match=case.error) as caught:
            read_everything(prefix)
        assert str(tmp_path) in str(caught.value)


def test_verify(case, tmp_path):
    prefix = case.files.write(tmp_path)
    problems = verify_checkpoint(str(prefix)).problems
    assert [each.kind for each in problems][:1] == ([] if case.kind is None else [case.kind])
    assert all(each.path.startswith(str(tmp_path)) and each.message for each in problems)


def test_salvage_keeps_only_what_verify_has_nothing_against(case, tmp_path):
    prefix = case.files.write(tmp_path / "damaged")
    before = snapshot(tmp_path / "damaged")
    try:
        salvage(prefix, tmp_path / "saved")
    except tb.BundleError:
        assert not list(tmp_path.glob("saved*"))  # nothing was left to save
    else:
        assert [
            each for each in verify_checkpoint(str(tmp_path / "saved")).problems if each.severity == "error"
        ] == []
    assert snapshot(tmp_path / "damaged") == before
