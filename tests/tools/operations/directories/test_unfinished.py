"""Saves whose parts were not merged."""

from support.directories import write_checkpoints, write_state
from support.parts import write_parts
from tensorbundle.tools.operations.directories.inventory import latest, survey
from tensorbundle.tools.operations.directories.unfinished import Unfinished, unfinished


def test_directories_of_parts(tmp_path):
    folder = write_parts(tmp_path)
    [found] = unfinished(str(tmp_path))
    assert found == Unfinished(str(folder), str(tmp_path / "model.ckpt-5"), 3, 3)
    assert "all 3 parts are there, and 'tensorbundle merge' makes a checkpoint of them" in str(found)
    (folder / "part-00001-of-00003.index").unlink()
    [found] = unfinished(str(tmp_path))
    assert (found.parts, found.count, found.is_whole) == (2, 3, False)
    assert str(found).endswith("2 of 3 parts are there")


def test_before_the_first_index(tmp_path):
    (tmp_path / "ckpt-7_temp").mkdir()
    (tmp_path / "ckpt-7_temp/part-00000-of-00001.data-00000-of-00001.tempstate123").touch()
    (tmp_path / "other_temp").mkdir()
    [found] = unfinished(str(tmp_path))
    assert (found.destination, found.parts, found.count) == (str(tmp_path / "ckpt-7"), 0, 0)


def test_beside_the_prefix_as_on_s3(tmp_path):
    write_checkpoints(
        tmp_path, ["ckpt-1.part-00000-of-00002", "ckpt-1.part-00001-of-00002", "part-00000-of-00001"]
    )
    [found] = unfinished(str(tmp_path))
    assert found == Unfinished(str(tmp_path / "ckpt-1.part-?????-of-00002"), str(tmp_path / "ckpt-1"), 2, 2)


def test_latest_and_manage_show_them(tmp_path, run):
    write_checkpoints(tmp_path, ["ckpt-1"])
    write_state(tmp_path, ["ckpt-1"])
    folder = write_parts(tmp_path)
    assert [str(each) for each in survey(str(tmp_path)).unfinished] == list(latest(str(tmp_path)).notes)
    assert str(folder) in run("manage", tmp_path).out
    assert run("manage", tmp_path, "--json").records[-1] == {
        "path": str(folder),
        "destination": str(tmp_path / "model.ckpt-5"),
        "parts": 3,
        "count": 3,
        "unfinished": True,
    }
    (tmp_path / "checkpoint").unlink()
    assert "model.ckpt-5_temp_3f2a' is a save of" in run.error("latest", tmp_path)
