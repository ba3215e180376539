"""What checkpoints a directory has."""

import os
import re

import numpy as np
import pytest

import tensorbundle as tb
from support.bundles import plain, write_bundle
from support.directories import EPOCH, managed, touch, write_checkpoints, write_state, write_v1
from tensorbundle.entries import BundleHeader
from tensorbundle.tools.operations.directories.inspection import inspect
from tensorbundle.tools.operations.directories.inventory import latest, number_of, survey


def names(paths):
    return [os.path.basename(path) for path in paths]


class TestInspect:
    def test_a_bundle(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1"])
        found = inspect(f"{tmp_path}/m-1")
        assert (found.file_format, found.problem, found.modified) == ("v2", None, EPOCH)
        assert names(found.files) == ["m-1.index", "m-1.data-00000-of-00001"]
        assert found.nbytes == sum(map(os.path.getsize, found.files))

    @pytest.mark.parametrize(
        ("count", "problem"),
        [
            (1, None),
            (3, "1 of 3 data shards is not there"),
            (4, "2 of 4 data shards are not there"),
            (2000, "1998 of 2000 data shards are not there"),
        ],
    )
    def test_shards_are_those_that_the_index_counts(self, tmp_path, count, problem):
        write_bundle(tmp_path / "m", {}, header=BundleHeader(count))
        for shard in range(min(count, 2)):
            (tmp_path / f"m.data-{shard:05d}-of-{count:05d}").touch()
        (tmp_path / "m.data-00000-of-00007").touch()
        (tmp_path / "m.data-00000-of-00001.tempstate7").touch()
        found = inspect(f"{tmp_path}/m")
        assert (found.file_format, found.problem) == ("v2", problem)
        assert all(f"-of-{count:05d}" in name for name in names(found.files)[1:])
        assert len(found.files) == 1 + min(count, 2)

    def test_an_index_that_can_not_be_read(self, tmp_path):
        (tmp_path / "m.index").touch()
        found = inspect(f"{tmp_path}/m")
        assert (found.file_format, found.files) == (None, ())
        assert re.match(rf"{tmp_path}/m.index: 0 bytes, too short for a table", found.problem)
        (tmp_path / "m.data-00000-of-00002").touch()
        assert names(inspect(f"{tmp_path}/m").files) == ["m.index", "m.data-00000-of-00002"]
        (tmp_path / "m.data-00000-of-00003").touch()
        assert inspect(f"{tmp_path}/m").files == ()  # which of them, no index says

    def test_no_index(self, tmp_path):
        assert inspect(f"{tmp_path}/m").problem is None
        (tmp_path / "m.data-00001-of-00002").touch()
        found = inspect(f"{tmp_path}/m")
        assert found.problem == "its index is missing, although 1 of its data shards is"
        assert (found.file_format, names(found.files)) == (None, ["m.data-00001-of-00002"])

    def test_v1(self, tmp_path):
        write_v1(tmp_path / "old")
        found = inspect(f"{tmp_path}/old")
        assert (found.file_format, names(found.files), found.problem) == ("v1", ["old"], None)

    def test_v1_in_several_files(self, tmp_path):
        for shard in range(2):
            write_v1(tmp_path / f"old-{shard:05d}-of-00002")
        prefix = f"{tmp_path}/old-?????-of-00002"
        found = inspect(prefix)
        assert names(found.files) == ["old-00000-of-00002", "old-00001-of-00002"]
        (tmp_path / "old-00000-of-00002").unlink()
        found = inspect(prefix)
        assert (found.file_format, found.problem) == ("v1", "some of its files are missing")
        write_v1(tmp_path / "old-00000-of-00003")
        assert "give the name of one of them" in inspect(f"{tmp_path}/old").problem
        assert inspect(prefix).file_format == "v1"

    def test_any_other_file(self, tmp_path):
        (tmp_path / "note").write_text("a note, of more than the 48 bytes that the footer of a table has")
        write_checkpoints(tmp_path, ["m"])
        (tmp_path / "m.index").rename(tmp_path / "index")  # V2, under no name that TensorFlow gives
        for name in ("note", "index"):
            found = inspect(f"{tmp_path}/{name}")
            assert (found.file_format, found.files) == (None, ())
            assert found.problem == "not a checkpoint: a file of another kind"


class TestSurvey:
    def test_listed_ones_first_then_the_others_by_number(self, tmp_path):
        write_checkpoints(tmp_path, ["ckpt-10", "ckpt-9", "ckpt-2", "ckpt-1", "best"])
        write_v1(tmp_path / "old-3")
        write_state(tmp_path, ["ckpt-1", "gone", "./ckpt-2"], [EPOCH, EPOCH + 1, EPOCH + 2], EPOCH)
        found = survey(str(tmp_path))
        assert [each.name for each in found.listed] == ["ckpt-1", "gone", "./ckpt-2"]
        assert [each.name for each in found.unlisted] == ["best", "ckpt-9", "ckpt-10", "old-3"]
        assert [each.timestamp for each in found.listed] == [EPOCH, EPOCH + 1, EPOCH + 2]
        assert [each.managed for each in found.listed] == [False, True, True]
        assert [each.latest for each in found.listed] == [False, False, True]
        assert [each.file_format for each in found.checkpoints] == ["v2", None, *["v2"] * 4, "v1"]

    @pytest.mark.parametrize("timestamp", [float("nan"), float("inf"), -1.0, 0.0])
    def test_times_that_are_none(self, tmp_path, timestamp):
        write_checkpoints(tmp_path, ["m"])
        write_state(tmp_path, ["m"], [timestamp])
        [found] = survey(str(tmp_path)).checkpoints
        assert not found.managed
        assert found.to_json()["timestamp"] in (None, timestamp)

    def test_what_else_there_may_be(self, tmp_path):
        """Indexes of other programs, files that are being written, directories, links that lead nowhere."""
        (tmp_path / "search.index").write_text("not ours")
        (tmp_path / "m.index.tempstate1").touch()
        (tmp_path / "m_temp").mkdir()
        (tmp_path / "d.index").mkdir()
        (tmp_path / "lost").symlink_to("nowhere")
        (tmp_path / "events.out.tfevents.1").write_bytes(bytes(100))
        assert survey(str(tmp_path)).checkpoints == ()

    def test_data_shards_without_an_index(self, tmp_path):
        (tmp_path / "m.data-00000-of-00001").touch()
        [found] = survey(str(tmp_path)).checkpoints
        assert (found.name, found.file_format) == ("m", None)

    def test_a_checkpoint_without_a_name(self, tmp_path):
        write_bundle(tmp_path / "m", {b"a": plain("int8", [], b"1")}, [b"1"])
        for path in tmp_path.iterdir():
            path.rename(tmp_path / path.name[1:])
        [found] = survey(str(tmp_path)).checkpoints
        assert (found.prefix, found.file_format) == (f"{tmp_path}/", "v2")
        assert found.name == f"{tmp_path}/"

    def test_state_files_that_can_not_be_read(self, tmp_path):
        write_checkpoints(tmp_path, ["m"])
        assert survey(str(tmp_path)).trouble is None
        (tmp_path / "checkpoint").write_text("{")
        found = survey(str(tmp_path))
        assert found.state is None
        assert found.trouble.reason.startswith("not a state file: 1:1")
        assert [each.name for each in found.checkpoints] == ["m"]
        with pytest.raises(tb.MissingFileError, match="no such directory"):
            survey(str(tmp_path / "nope"))

    def test_graphs_belong_to_the_one_checkpoint_of_their_name(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1", "m-2"])
        write_v1(tmp_path / "old-00000-of-00001")
        for name in ("m-1", "m", "old", "other"):
            (tmp_path / f"{name}.meta").write_bytes(b"12")
        metas = {
            each.name: [name for name in names(each.files) if name.endswith(".meta")]
            for each in survey(str(tmp_path)).checkpoints
        }
        assert metas == {"m-1": ["m-1.meta"], "m-2": [], "old-?????-of-00001": ["old.meta"]}
        write_checkpoints(tmp_path, ["old"])  # now it may be of either
        assert not any("old.meta" in names(each.files) for each in survey(str(tmp_path)).checkpoints)


class TestLatest:
    def test_of_a_manager(self, tmp_path):
        managed(tmp_path, 2)
        found = latest(str(tmp_path))
        assert found.found.prefix == f"{tmp_path}/ckpt-2"
        assert (found.source, found.tensorflow, found.notes) == ("state", True, ())

    def test_a_moved_directory(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1"])
        write_state(tmp_path, ["/gone/m-1"])
        found = latest(str(tmp_path))
        assert (found.found.prefix, found.found.path) == (f"{tmp_path}/m-1", "/gone/m-1")
        assert (found.source, found.tensorflow) == ("state", False)
        [note] = found.notes
        assert note.startswith(
            "the state file names '/gone/m-1', where TensorFlow finds nothing; 'tensorbundle manage"
        )

    def test_damaged_ones(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1"])
        write_state(tmp_path, ["m-1"])
        (tmp_path / "m-1.data-00000-of-00001").unlink()
        assert latest(str(tmp_path)).notes == ("1 of 1 data shards is not there",)
        (tmp_path / "m-1.index").write_bytes(b"")
        [note] = latest(str(tmp_path)).notes
        assert note.startswith(f"{tmp_path}/m-1.index: 0 bytes, too short")

    def test_what_tensorflow_takes_for_one(self, tmp_path):
        (tmp_path / "m-1").mkdir()
        write_state(tmp_path, ["m-1"])
        [note] = latest(str(tmp_path)).notes
        assert note == "no checkpoint is there, although TensorFlow takes it for one"

    @pytest.mark.parametrize(
        ("path", "listed", "reason"),
        [
            (
                "m-9",
                [],
                "'m-9' as the latest checkpoint, which is not there; found 'm-1', 'm-2', 'm-3' and 1 more",
            ),
            (
                "m-9",
                ["m-2", "m-7", "m-4"],
                "; the last one that it names and that is there is 'm-4'; found 'm-1'",
            ),
            ("a\nb", [], r"'a\\nb' as the latest"),
        ],
    )
    def test_absent(self, tmp_path, path, listed, reason):
        write_checkpoints(tmp_path, ["m-1", "m-2", "m-3", "m-4"])
        write_state(tmp_path, [*listed, path])
        with pytest.raises(tb.MissingFileError, match=reason) as caught:
            latest(str(tmp_path))
        assert caught.value.path == str(tmp_path)
        assert caught.value.reason.endswith("; --newest takes the one whose index was written last")

    def test_no_state_file(self, tmp_path):
        with pytest.raises(tb.MissingFileError, match=r"state file; no checkpoint is there$"):
            latest(str(tmp_path))
        with pytest.raises(tb.MissingFileError, match="no such directory"):
            latest(str(tmp_path / "nope"))
        write_checkpoints(tmp_path, ["m-1"])
        with pytest.raises(tb.MissingFileError, match="state file; found 'm-1'; --newest takes"):
            latest(str(tmp_path))

    def test_a_state_file_that_can_not_be_read(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1"])
        (tmp_path / "checkpoint").write_text("{")
        with pytest.raises(tb.CorruptionError, match=r"not a state file: 1:1 .*; found 'm-1'; ") as caught:
            latest(str(tmp_path))
        assert caught.value.path == f"{tmp_path}/checkpoint"

    @pytest.mark.parametrize("state", [None, "{", 'model_checkpoint_path: "gone"'])
    def test_the_newest_index(self, tmp_path, state):
        write_checkpoints(tmp_path, ["m-3", "m-2", "m-10", "m-9"], seconds=0)
        if state is not None:
            (tmp_path / "checkpoint").write_text(state)
        found = latest(str(tmp_path), newest=True)
        assert (found.found.name, found.source, found.tensorflow) == ("m-10", "newest", False)
        [note] = found.notes
        assert note.endswith(
            "; using the checkpoint whose index was written last, which may not be the latest"
        )
        touch(tmp_path, "m-2", EPOCH + 1)
        assert latest(str(tmp_path), newest=True).found.name == "m-2"
        (tmp_path / "m-2.data-00000-of-00001").unlink()  # that one is of no use
        assert latest(str(tmp_path), newest=True).found.name == "m-10"

    def test_the_state_file_goes_before_the_newest(self, tmp_path):
        write_checkpoints(tmp_path, ["m-1", "m-2"])
        write_state(tmp_path, ["m-1"])
        assert latest(str(tmp_path), newest=True).found.name == "m-1"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("model.ckpt-100", (("model.ckpt-", ""), (3, "100"))),
        ("cp-0050.ckpt", (("cp-", ".ckpt"), (2, "50"))),
        ("100", (("", ""), (3, "100"))),
        ("m-0", (("m-", ""), (0, ""))),
        ("best", (("best", ""), (0, ""))),
        ("m-7-?????-of-00002", (("m-", ""), (1, "7"))),
        ("m-7-00001-of-00002", (("m-", ""), (1, "7"))),
        ("m²", (("m²", ""), (0, ""))),
    ],
)
def test_numbers(name, parts):
    assert number_of(f"run-1/{name}") == parts


def test_numbers_in_long_names_take_no_time():
    for name in ("a1" * 500_000 + "a", "1" * 1_000_000, "a" * 1_000_000, "1" * 500_000 + "a" * 500_000):
        assert number_of(name)[1][0] in (0, 1, 500_000, 1_000_000)


def test_order_of_many(tmp_path):
    """Numbers compare as numbers, however long they are."""
    numbers = [f"m-{number}" for number in (2, 10, 9, 10**30, 3)]
    ordered = sorted(numbers, key=number_of)
    assert ordered == [f"m-{number}" for number in sorted((2, 10, 9, 10**30, 3))]
    assert np.all([number_of(each)[0] == ("m-", "") for each in ordered])


def test_the_directory_is_listed_once_whatever_its_state_file_names(tmp_path, monkeypatch):
    """Counts listings: one for all names, not one for each."""
    names = "".join(f'all_model_checkpoint_paths: "a{number}"\n' for number in range(50))
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "a"\n{names}')
    listings = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listings.append(path) or real(path))
    assert len(survey(str(tmp_path)).checkpoints) == 51
    assert len(listings) <= 4


def test_a_path_that_can_not_be_one(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "//z/z\\000/"\n')
    with pytest.raises(tb.MissingFileError, match=r"names .* as the latest checkpoint, which is not there"):
        latest(str(tmp_path))
    assert [each.is_whole for each in survey(str(tmp_path)).checkpoints] == [False]
