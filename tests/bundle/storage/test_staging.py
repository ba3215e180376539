"""Files that appear together or not at all: staging, sharing, committing."""

import errno
import fcntl
import os

import pytest

import tensorbundle as tb
from support.bundles import snapshot
from tensorbundle.storage import local
from tensorbundle.storage.local import LocalStore
from tensorbundle.storage.protocols import SharingError
from tensorbundle.storage.staging import readable_like


def staging_in(directory, *, overwrite):
    return LocalStore().stage(os.path.join(directory, "output"), overwrite=overwrite)


def stage(staged, directory, files):
    for name, content in files.items():
        with open(staged.create(str(directory / name)), "wb") as file:
            file.write(content)


def failing(error_number):
    def fail(*_, **__):
        raise OSError(error_number, os.strerror(error_number))

    return fail


def test_nothing_is_visible_before_the_commit(tmp_path):
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"1", "b": b"2"})
    assert sorted(name.partition(".tempstate")[0] for name in snapshot(tmp_path)) == ["a", "b"]
    assert all(".tempstate" in name for name in snapshot(tmp_path))  # which TensorFlow passes over
    staged.commit()
    assert snapshot(tmp_path) == {"a": b"1", "b": b"2"}


def test_a_file_is_held_until_the_end(tmp_path):
    """So that others see, also between two files, that a process is at work."""
    source = tmp_path / "source"
    source.write_bytes(b"shared")
    with staging_in(tmp_path, overwrite=False) as staged:
        for stage_one in (staged.create, lambda final: staged.share(str(source), final)[0]):
            temporary = stage_one(str(tmp_path / f"{stage_one}"))
            assert LocalStore().is_held(temporary)
    assert not LocalStore().is_held(str(source))
    assert not LocalStore().is_held(str(tmp_path / "none"))


def test_one_of_the_files_is_held_at_any_time(tmp_path, monkeypatch):
    """`manage clean` may look between two files."""
    held = LocalStore.held
    seen = []
    names: list[str] = []

    def look(disk, path):
        seen.append([disk.is_held(name) for name in names])
        names.append(path)
        return held(disk, path)

    monkeypatch.setattr(LocalStore, "held", look)
    with staging_in(tmp_path, overwrite=False) as staged:
        stage(staged, tmp_path, {"a": b"", "b": b"", "c": b""})
    assert seen == [[], [True], [False, True]]


def test_without_locks_nothing_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    staged = staging_in(tmp_path, overwrite=False)
    assert not LocalStore().is_held(staged.create(str(tmp_path / "a")))
    staged.discard()
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("none", path)])
def test_only_regular_files_are_replaced(tmp_path, make):
    make(tmp_path / "a")
    staged = staging_in(tmp_path, overwrite=True)
    with pytest.raises(tb.ConflictError, match="not a regular file"):
        staged.create(str(tmp_path / "a"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_another_removes_meanwhile_is_no_conflict(tmp_path, monkeypatch):
    """Another writer may replace the checkpoint between two looks at one name."""
    stat_of = os.lstat

    def remove_after(path, **options):
        status = stat_of(path, **options)
        os.unlink(path)
        return status

    (tmp_path / "a").touch()
    monkeypatch.setattr(os, "lstat", remove_after)
    staging_in(tmp_path, overwrite=True).create(str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_files_get_the_permissions_of_any_new_file(tmp_path):
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b""})
    staged.commit()
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755])
def test_what_replaces_a_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(mode)
    staged = staging_in(tmp_path, overwrite=True)
    with readable_like([str(tmp_path / "a")]):
        stage(staged, tmp_path, {"a": b"1"})
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [mode, mode]
    staged.commit()
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode
    assert snapshot(tmp_path) == {"a": b"1"}


def test_a_new_file_is_readable_by_no_more_than_all_sources(tmp_path):
    (tmp_path / "b").touch()
    usual = (tmp_path / "b").stat().st_mode & 0o777
    for number, (modes, allowed) in enumerate(
        [([0o644], 0o666), ([0o600], 0o600), ([0o440, 0o644], 0o660), ([0o640, 0o604], 0o600), ([], 0o666)]
    ):
        sources = [tmp_path / f"source-{number}-{at}" for at in range(len(modes))]
        for path, mode in zip(sources, modes, strict=True):
            path.touch()
            path.chmod(mode)
        staged = staging_in(tmp_path, overwrite=False)
        with readable_like(map(str, sources)):
            stage(staged, tmp_path, {f"a{number}": b""})
        staged.commit()
        assert (tmp_path / f"a{number}").stat().st_mode & 0o777 == usual & allowed


def test_discard(tmp_path):
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"1"})
    staged.discard()
    staged.discard()
    assert snapshot(tmp_path) == {}


def test_files_appear_in_the_order_staged(tmp_path, monkeypatch):
    placed = []
    link = os.link
    monkeypatch.setattr(os, "link", lambda old, new: (link(old, new), placed.append(os.path.basename(new))))
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"z": b"", "a": b"", "index": b""})
    staged.rename(staged._staged[1].temporary, str(tmp_path / "b"))
    staged.commit()
    assert placed == ["z", "b", "index"]


def test_everything_is_flushed_before_anything_is_moved_and_the_directory_around_the_last_move(
    tmp_path, monkeypatch
):
    calls = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))), fsync(fd)),
    )
    monkeypatch.setattr(os, "link", lambda old, new: (calls.append("link"), link(old, new)))
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"", "b": b""})
    staged.commit()
    assert [call.partition(".tempstate")[0] for call in calls] == [
        "a",
        "b",
        "link",
        tmp_path.name,
        "link",
        tmp_path.name,
    ]


@pytest.mark.parametrize("links", [True, False])
def test_a_name_that_is_taken(tmp_path, monkeypatch, links):
    """Also when the file appeared after staging began; what was placed before it is taken back."""
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"new", "b": b"new"})
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises((tb.ConflictError, OSError)):
        staged.commit()
    assert snapshot(tmp_path) == {"b": b"old"}


def test_a_name_that_another_program_takes_at_the_last_moment(tmp_path, monkeypatch):
    """Its file stays."""
    link = os.link

    def link_too_late(old, new):
        if new.endswith("b"):
            (tmp_path / "b").write_bytes(b"another's")
        link(old, new)

    monkeypatch.setattr(os, "link", link_too_late)
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"new", "b": b"new"})
    with pytest.raises(tb.ConflictError):
        staged.commit()
    assert snapshot(tmp_path) == {"b": b"another's"}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("call", ["fsync", "replace", "link"])
def test_a_temporary_file_that_somebody_deletes_was_not_moved(tmp_path, monkeypatch, overwrite, call):
    for name in "ab" if overwrite else "":
        (tmp_path / name).write_bytes(b"old")
    staged = staging_in(tmp_path, overwrite=overwrite)
    stage(staged, tmp_path, {"a": b"new", "b": b"new"})
    real = getattr(os, call)

    def deleted_before(*arguments):
        for path in tmp_path.glob("b.tempstate*"):
            path.unlink()
        return real(*arguments)

    monkeypatch.setattr(os, call, deleted_before)
    if call == ("link" if overwrite else "replace"):
        staged.commit()  # which does not call it
        return
    with pytest.raises(FileNotFoundError):
        staged.commit()
    assert not staged.visible
    assert snapshot(tmp_path).get("b") == (b"old" if overwrite else None)


def test_conflict_message(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"new"})
    with pytest.raises(
        tb.ConflictError, match=r"exists; use --overwrite \(overwrite=True\) to replace it"
    ) as caught:
        staged.commit()
    assert caught.value.path == str(tmp_path / "a")


def test_overwrite_and_replace(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"old")
    staged = staging_in(tmp_path, overwrite=True)
    stage(staged, tmp_path, {"a": b"new"})
    staged.commit()
    staged = staging_in(tmp_path, overwrite=False)
    with open(staged.create(str(tmp_path / "b"), replace=True), "wb") as file:
        file.write(b"new")
    staged.commit()
    assert snapshot(tmp_path) == {"a": b"new", "b": b"new", "c": b"old"}


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"1"})
    staged.commit()
    assert snapshot(tmp_path) == {"a": b"1"}


@pytest.mark.parametrize("error_number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_can_not_flush_directories(tmp_path, monkeypatch, error_number):
    fsync = os.fsync
    fail = failing(error_number)
    monkeypatch.setattr(os, "fsync", lambda fd: fail() if os.path.isdir(f"/proc/self/fd/{fd}") else fsync(fd))
    staged = staging_in(tmp_path, overwrite=False)
    stage(staged, tmp_path, {"a": b"1"})
    staged.commit()
    assert snapshot(tmp_path) == {"a": b"1"}


# Sharing


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "out").mkdir()
    path = tmp_path / "source" / "shard"
    path.write_bytes(b"data")
    return path


def test_share_by_hard_link(source, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EOPNOTSUPP))
    staged = staging_in(tmp_path / "out", overwrite=False)
    temporary, how = staged.share(str(source), str(tmp_path / "out" / "shard"))
    assert how == "hard link"
    assert os.path.samefile(temporary, source)
    staged.commit()
    assert os.path.samefile(tmp_path / "out" / "shard", source)
    assert snapshot(tmp_path / "out") == {"shard": b"data"}
    assert snapshot(tmp_path / "source") == {"shard": b"data"}


def test_share_what_is_deleted_meanwhile(source, tmp_path, monkeypatch):
    """The error names the source, before and after it was opened."""
    link = os.link

    def link_too_late(old, new):
        os.unlink(old)
        link(old, new)

    monkeypatch.setattr(os, "link", link_too_late)
    for _ in range(2):
        with (
            pytest.raises(tb.MissingFileError, match="no such file") as caught,
            staging_in(tmp_path, overwrite=False) as staged,
        ):
            staged.share(str(source), str(tmp_path / "b"))
        assert caught.value.path == str(source)


def test_share_by_reflink(source, tmp_path, monkeypatch):
    """As far as it can be told without such a file system: the right request, on the right files."""
    requests = []
    monkeypatch.setattr(
        fcntl,
        "ioctl",
        lambda fd, request, origin: requests.append((request, os.readlink(f"/proc/self/fd/{origin}"))),
    )
    staged = staging_in(tmp_path / "out", overwrite=False)
    _, how = staged.share(str(source), str(tmp_path / "out" / "shard"))
    assert how == "reflink"
    assert requests == [(0x40049409, str(source))]
    staged.discard()
    assert snapshot(tmp_path / "out") == {}


def test_share_through_a_symbolic_link(source, tmp_path, monkeypatch):
    """The data itself is linked: the link may go."""
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EOPNOTSUPP))
    (tmp_path / "symbolic").symlink_to(source)
    staged = staging_in(tmp_path / "out", overwrite=False)
    staged.share(str(tmp_path / "symbolic"), str(tmp_path / "out" / "shard"))
    staged.commit()
    assert not (tmp_path / "out" / "shard").is_symlink()


@pytest.mark.parametrize("error_number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_sharing_that_can_not_be(source, tmp_path, monkeypatch, error_number):
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EXDEV))
    monkeypatch.setattr(os, "link", failing(error_number))
    staged = staging_in(tmp_path / "out", overwrite=False)
    with pytest.raises(SharingError, match="can't be linked there: ") as caught:
        staged.share(str(source), str(tmp_path / "out" / "shard"))
    assert caught.value.path == str(source)
    staged.discard()
    assert snapshot(tmp_path / "out") == {}


def test_a_source_is_never_changed_when_it_is_its_own_destination(source, monkeypatch):
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EOPNOTSUPP))
    staged = staging_in(source.parent, overwrite=True)
    staged.share(str(source), str(source))
    staged.commit()
    assert snapshot(source.parent) == {"shard": b"data"}


# Directories


def test_no_such_directory(tmp_path):
    (tmp_path / "file").touch()
    for directory in ("none", "file", "file/x"):
        with pytest.raises(tb.MissingFileError, match="no such directory; make it first") as caught:
            staging_in(tmp_path / directory, overwrite=False)
        assert caught.value.path == str(tmp_path / directory)


def test_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    staged = LocalStore().stage("output")
    with open(staged.create("a"), "wb") as file:
        file.write(b"1")
    staged.commit()
    assert snapshot(tmp_path) == {"a": b"1"}


def test_a_directory_that_can_not_be_written_to(tmp_path, monkeypatch):
    staged = staging_in(tmp_path, overwrite=False)
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    with pytest.raises(tb.BundleError, match="can't write into this directory: Permission denied") as caught:
        staged.create(str(tmp_path / "a"))
    assert caught.value.path == str(tmp_path)
    monkeypatch.undo()
    staged.discard()
    assert snapshot(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(tb.BundleError, match="can't write into this directory"):
        staging_in(tmp_path, overwrite=False).create(str(tmp_path / "a"))
    tmp_path.chmod(0o755)


def test_the_lock_leaves_no_file_and_is_let_go(tmp_path):
    staged = staging_in(tmp_path, overwrite=False)
    other = os.open(tmp_path, os.O_RDONLY)
    with staged.locked():
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert snapshot(tmp_path) == {}
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(local.fcntl, "flock", failing(errno.ENOLCK))
    with staging_in(tmp_path, overwrite=False).locked():
        pass


def test_the_permissions_of_sources_are_looked_up_once_for_all_files(tmp_path, monkeypatch):
    looked_up = []
    mode_of = local._mode_of
    monkeypatch.setattr(local, "_mode_of", lambda path: looked_up.append(path) or mode_of(path))
    sources = [str(tmp_path / f"source{number}") for number in range(20)]
    staged = staging_in(tmp_path, overwrite=False)
    with readable_like(sources):
        stage(staged, tmp_path, {f"{number}": b"" for number in range(20)})
    stage(staged, tmp_path, {"last": b""})
    staged.discard()
    assert len(looked_up) == 2 * 20 + 1
