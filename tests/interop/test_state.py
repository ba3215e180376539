"""State files and retention, side by side with tf.train.CheckpointManager, v1 Savers and tf.train.latest_checkpoint."""

import contextlib
import inspect
import os
import pathlib
import shutil
import tempfile
from types import SimpleNamespace

import pytest
from google.protobuf import text_format
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import tensorbundle as tb
from support.bundles import snapshot
from support.directories import EPOCH, read_state, touch, write_checkpoints, write_state, write_v1
from support.tensorflow import tf, tf1
from tensorbundle.state import CheckpointState
from tensorbundle.tools.operations.directories.adding import add
from tensorbundle.tools.operations.directories.inventory import latest
from tensorbundle.tools.operations.directories.managing import manage
from tensorbundle.tools.operations.directories.removing import prune, remove
from tensorbundle.tools.operations.directories.repairing import repair

management = pytest.importorskip("tensorflow.python.checkpoint.checkpoint_management")

SECONDS = [1, 0.25, 1799.5, 1800, 3599, 3600, 3600.5, 5400, 7200, 36_000]
gaps = st.lists(st.sampled_from(SECONDS), min_size=1, max_size=8)
keeping = st.one_of(st.none(), st.sampled_from([0.25, 0.5, 1, 1.5, 3, 24]))
counts = st.integers(1, 5)


@pytest.fixture(scope="module")
def clock():
    """The time that managers and savers are told."""
    found = SimpleNamespace(now=EPOCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(management, "time", SimpleNamespace(time=lambda: found.now))
        patch.setattr(os, "fsync", os.fstat)
        yield found


@contextlib.contextmanager
def two_directories():
    with tempfile.TemporaryDirectory() as directory:
        for name in ("theirs", "ours"):
            pathlib.Path(directory, name).mkdir()
        yield pathlib.Path(directory, "theirs"), pathlib.Path(directory, "ours")


def manager(directory, max_to_keep=None, hours=None):
    return tf.train.CheckpointManager(
        tf.train.Checkpoint(), str(directory), max_to_keep, keep_checkpoint_every_n_hours=hours
    )


def pruned(directory, max_to_keep, hours):
    return manage(str(directory), lambda found: prune(found, max_to_keep, hours))


def same(theirs, ours):
    """Whether two directories have the same files, and the same state file to the byte."""
    assert sorted(snapshot(theirs)) == sorted(snapshot(ours))
    assert (theirs / "checkpoint").read_bytes() == (ours / "checkpoint").read_bytes()


# Retention


@pytest.mark.parametrize("hours", [None, 0.5, 1, 2.5])
@pytest.mark.parametrize("max_to_keep", [1, 2, 3, 5])
def test_a_manager_that_prunes_and_one_that_does_not_with_prune_after_each_save(clock, max_to_keep, hours):
    with two_directories() as (theirs, ours):
        clock.now = EPOCH
        keeper = manager(theirs, max_to_keep, hours)
        for number in range(1, 11):
            started = clock.now
            if number == 1:
                saver = manager(ours)  # its clock starts with the other's
            clock.now += SECONDS[number % len(SECONDS)] / 2 + 1000
            keeper.save(checkpoint_number=number)
            if number > 1:
                saver = manager(ours)
            saver.save(checkpoint_number=number)
            assert clock.now > started
            pruned(ours, max_to_keep, hours)
            same(theirs, ours)


@settings(max_examples=60)
@given(gaps, counts, keeping, st.data())
def test_generated_sequences(clock, gaps, max_to_keep, hours, data):
    """Also with numbers that are saved again, and a manager that starts anew now and then."""
    with two_directories() as (theirs, ours):
        clock.now = EPOCH
        keeper = manager(theirs, max_to_keep, hours)
        for gap in gaps:
            saver = manager(ours)
            if data.draw(st.booleans()):
                keeper = manager(theirs, max_to_keep, hours)
            clock.now += gap
            number = data.draw(st.integers(1, 6))
            keeper.save(checkpoint_number=number)
            saver.save(checkpoint_number=number)
            pruned(ours, max_to_keep, hours)
            same(theirs, ours)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 1.5, 3600.0, 3601.0, 7200.0, 1e5]), min_size=1, max_size=6),
    st.sampled_from([None, 0.5, 1.0, 3600.0, 7200.0]),
    counts,
    keeping,
)
@example([0.0, 3600.0, 0.0, 7200.0], None, 1, 1)
def test_any_state_file_is_swept_alike(clock, times, preserved, max_to_keep, hours):
    """A manager that starts on whatever timestamps, sweeps and records, without a save of its own."""
    times = [time + EPOCH for time in times]
    preserved = None if preserved is None else preserved + EPOCH
    times[-1] = max(
        [*times, (preserved or 0.0) + 1]
    )  # the latest is managed in every state that a manager wrote
    names = [f"ckpt-{number}" for number in range(len(times))]
    with two_directories() as (theirs, ours):
        for directory in (theirs, ours):
            for name in names:
                for ending in (".index", ".data-00000-of-00001"):
                    shutil.copy(SMALL / f"ckpt-1{ending}", directory / f"{name}{ending}")
            write_state(directory, names, times, preserved)
        clock.now = EPOCH + 1e9
        keeper = manager(theirs, max_to_keep, hours)
        keeper._sweep()
        keeper._record_state()
        change = pruned(ours, max_to_keep, hours)
        same(theirs, ours)
        assert sorted(change.files) == sorted(
            str(ours / f"{name}{ending}")
            for name in names
            if not (theirs / f"{name}.index").exists()
            for ending in (".index", ".data-00000-of-00001")
        )


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """A checkpoint to have copies of."""
    global SMALL  # noqa: PLW0603  for hypothesis, whose tests take fixtures of modules only
    SMALL = tmp_path_factory.mktemp("small")
    write_checkpoints(SMALL, ["ckpt-1"])


@pytest.mark.parametrize("relative", [False, True])
def test_a_manager_goes_on_where_prune_left_off(clock, tmp_path, monkeypatch, relative):
    monkeypatch.chdir(tmp_path)
    directory = "run" if relative else str(tmp_path / "run")
    clock.now = EPOCH
    step = tf.Variable(0)
    first = tf.train.CheckpointManager(tf.train.Checkpoint(step=step), directory, None)
    for number in range(1, 7):
        clock.now += 3600
        step.assign(number)
        first.save()
    pruned(directory, 2, 3)
    found = read_state(tmp_path / "run")
    assert found.all_paths == ("ckpt-5", "ckpt-6")
    assert found.last_preserved == EPOCH + 3 * 3600
    assert (tmp_path / "run" / "ckpt-3.index").exists()
    second_step = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(step=second_step)
    second = tf.train.CheckpointManager(checkpoint, directory, 2, keep_checkpoint_every_n_hours=3)
    assert second.latest_checkpoint == os.path.join(directory, "ckpt-6")
    assert second.checkpoints == [os.path.join(directory, each) for each in ("ckpt-5", "ckpt-6")]
    checkpoint.restore(second.latest_checkpoint).assert_consumed()
    assert second_step.numpy() == 6
    clock.now += 3600
    second.save()
    assert read_state(tmp_path / "run").all_paths == ("ckpt-6", "ckpt-7")
    assert {each.name for each in (tmp_path / "run").glob("*.index")} == {
        f"ckpt-{number}.index" for number in (3, 6, 7)
    }
    assert tf.train.load_checkpoint(f"{directory}/ckpt-3").get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE") == 3


def test_a_manager_goes_on_after_repair_add_and_remove(clock, tmp_path):
    clock.now = EPOCH
    first = manager(tmp_path / "run")
    for _ in range(4):
        clock.now += 60
        first.save()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    (tmp_path / "moved" / "checkpoint").unlink()
    for number in range(1, 5):
        touch(tmp_path / "moved", f"ckpt-{number}", EPOCH + 60 * number)
    manage(str(tmp_path / "moved"), repair)
    manage(str(tmp_path / "moved"), lambda found: remove(found, ["ckpt-2"]))
    write_checkpoints(tmp_path / "moved", ["ckpt-5"])
    manage(str(tmp_path / "moved"), lambda found: add(found, ["ckpt-5"]))
    second = manager(tmp_path / "moved", 2)
    assert second.checkpoints == [str(tmp_path / "moved" / f"ckpt-{number}") for number in (1, 3, 4, 5)]
    clock.now += 60
    second.save(checkpoint_number=6)
    assert {each.name for each in (tmp_path / "moved").glob("*.index")} == {"ckpt-5.index", "ckpt-6.index"}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_checkpoints_of_v1_savers(tmp_path, version, sharded):
    """They are listed, repaired and pruned; what is left restores."""
    (tmp_path / "run").mkdir()
    with tf1.Graph().as_default(), tf1.Session() as session:
        variable = tf1.get_variable("v", initializer=tf1.constant(0))
        saver = tf1.train.Saver(write_version=version, sharded=sharded, max_to_keep=10)
        for number in range(1, 5):
            session.run(variable.assign(number))
            saver.save(session, str(tmp_path / "run" / "m"), global_step=number)
            paths = [
                f"m-{n}" + ("-?????-of-00001" * (sharded and version == 1)) for n in range(1, number + 1)
            ]
            prefixes = [str(tmp_path / "run" / each) for each in paths]
            expected = CheckpointState.of_prefixes(
                str(tmp_path / "run"), prefixes[-1], prefixes, relative=False
            )
            assert (tmp_path / "run" / "checkpoint").read_bytes() == expected.encode()
        shutil.move(tmp_path / "run", tmp_path / "moved")
        moved = tmp_path / "moved"
        assert tf.train.latest_checkpoint(str(moved)) is None
        assert latest(str(moved)).found.prefix == str(moved / paths[-1])
        assert not pruned(moved, 2, None).files  # such a state file has no timestamps
        for number in range(1, 5):
            touch(moved, f"m-{number}", EPOCH + number)
        manage(str(moved), repair)
        assert tf.train.latest_checkpoint(str(moved)) == str(moved / paths[-1])
        pruned(moved, 2, None)
        assert read_state(moved).all_paths == tuple(paths[2:])
        assert not [name for name in snapshot(moved) if name.startswith(("m-1", "m-2"))]
        assert (moved / "m-3.meta").exists()
        saver.restore(session, str(moved / paths[2]))
        assert session.run(variable) == 3
        manage(str(moved), lambda found: remove(found, [paths[3]]))
        assert tf.train.latest_checkpoint(str(moved)) == str(moved / paths[2])
        assert not [name for name in snapshot(moved) if name.startswith("m-4")]


# The bytes of state files

# Older protobufs, and TensorFlow with them, escape all that is not ASCII.
WRITES_UTF8 = inspect.signature(text_format.MessageToString).parameters["as_utf8"].default
components = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(components, min_size=1, max_size=3).map("/".join)
times = st.floats(allow_nan=False, allow_infinity=False)


@given(
    directory=st.sampled_from(["run", "run/", "./run", "a/../run", "{}/run", "{}"]),
    prefixes=st.lists(
        st.tuples(st.sampled_from(["", "run/", "./", "../", "{}/run/", "{}/", "/other/"]), paths).map(
            "".join
        ),
        min_size=1,
        max_size=4,
    ),
    last=st.booleans(),
    timestamps=st.one_of(st.just([]), st.lists(times, min_size=5, max_size=5)),
    preserved=st.one_of(st.none(), times),
    relative=st.booleans(),
)
def test_the_same_bytes(directory, prefixes, last, timestamps, preserved, relative):
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root):
        os.makedirs("run")
        os.makedirs("a")
        directory = directory.replace("{}", root)
        prefixes = [each.replace("{}", root) for each in prefixes]
        # TensorFlow makes absolute prefixes relative to a relative directory twice, and loses the checkpoint.
        assume(not relative or os.path.isabs(directory) or not any(map(os.path.isabs, prefixes)))
        latest_prefix = prefixes[-1] if last else prefixes[0]
        timestamps = timestamps[: len(prefixes) + (latest_prefix != prefixes[-1])]
        tf.__internal__.train.update_checkpoint_state(
            directory,
            latest_prefix,
            all_model_checkpoint_paths=list(prefixes),
            save_relative_paths=relative,
            all_model_checkpoint_timestamps=timestamps or None,
            last_preserved_timestamp=preserved,
        )
        theirs = pathlib.Path(directory, "checkpoint").read_bytes()
        ours = CheckpointState.of_prefixes(
            directory,
            latest_prefix,
            prefixes,
            timestamps=timestamps,
            last_preserved=preserved,
            relative=relative,
        )
        assert ours.encode() == theirs or not WRITES_UTF8
        assert replaced_zero(CheckpointState.read(directory)) == replaced_zero(ours)
        ours.write()
        assert pathlib.Path(directory, "checkpoint").read_bytes() == ours.encode()
        assert replaced_zero(CheckpointState.read(directory)) == replaced_zero(ours)


def replaced_zero(state):
    """A state file does not tell a last preserved timestamp of zero from none."""
    return (state.latest_path, state.all_paths, state.timestamps, state.last_preserved or None)


STATE_TEXT = (
    'model_checkpoint_path: "m-2"\nall_model_checkpoint_paths: "m-1"\nall_model_checkpoint_paths: "m-2"\n'
    "all_model_checkpoint_timestamps: 1.5\nlast_preserved_timestamp: 2.5\n"
)
tokens = st.lists(
    st.sampled_from([
        *STATE_TEXT.split(), "model_checkpoint_path", "unknown", "[a.b]", ":", "{", "}", "<", ">", "[", "]", ",", ";",
        '"', "'", '"m"', "'m\\'", "'\\143'", "'\\x6d'", '"\\xff"', '"\\ud800"', "1", "1f", "0x1", "-1e999", "nan",
        "#", "\n", "\r", "\0", "é", "\ufeff",
    ]),
    max_size=12,
).map(" ".join)  # fmt: skip
mutations = st.builds(
    lambda at, text: STATE_TEXT[:at] + text + STATE_TEXT[at:], st.integers(0, len(STATE_TEXT)), tokens
)


@settings(max_examples=400)
@given(st.one_of(tokens, mutations).map(str.encode), st.binary(max_size=2))
def test_what_is_accepted(text, more):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "checkpoint").write_bytes(text + more)
        try:
            theirs = tf.train.get_checkpoint_state(directory)
        except ValueError:  # UnicodeDecodeError is one
            theirs = None
        if theirs is None:
            with pytest.raises(tb.CorruptionError):
                CheckpointState.read(directory)
            return
        ours = CheckpointState.read(directory)
        assert ours.latest == theirs.model_checkpoint_path
        assert list(map(ours.resolved, ours.all_paths)) == theirs.all_model_checkpoint_paths
        assert repr(list(ours.timestamps)) == repr(list(theirs.all_model_checkpoint_timestamps))
        assert repr(ours.last_preserved or 0.0) == repr(theirs.last_preserved_timestamp or 0.0)


# The latest checkpoint

LISTED = [
    *("ckpt-1", "ckpt-2", "nope", "./ckpt-1", "sub/ckpt-3", "sub/../ckpt-1", "../run/ckpt-1", "../other/ckpt-9"),
    *("{}/run/ckpt-1", "{}/other/ckpt-9", "{}/gone/ckpt-1", "../gone/ckpt-1", "gone/nope", "ckpt-1/", "sub", "."),
    *("old", "two-?????-of-00002", "two", "two-00001-of-00002", "ckpt-1.index", "note.txt", "checkpoint", "größe"),
    *("star*", "what?", "b[1]", "ba\\ck", "c\nd", "ckpt-\0", "{}", "/", "ckpt-1 "),
]  # fmt: skip
# What TensorFlow finds and we do not say, or the reverse.
MOVED = {"{}/gone/ckpt-1", "../gone/ckpt-1"}
PATTERNS = {"b[1]", "ba\\ck"}  # there, and TensorFlow does not find them
SEVERAL = {"two"}  # TensorFlow wants the pattern


@pytest.mark.parametrize("given_as", ["run", "run/", "./run", "{}/run"])
@pytest.mark.parametrize("listed", LISTED)
def test_the_latest(tmp_path, monkeypatch, listed, given_as):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    names = ["ckpt-1", "ckpt-2", "größe", "star*", "what?", "b[1]", "ba\\ck", "c\nd"]
    write_checkpoints(run, names)
    write_checkpoints(run / "sub", ["ckpt-3"])
    write_checkpoints(tmp_path / "other", ["ckpt-9"])
    for name in ("old", "two-00000-of-00002", "two-00001-of-00002"):
        write_v1(run / name)
    (run / "note.txt").write_text("a note")
    path = listed.replace("{}", str(tmp_path))
    text = CheckpointState(str(run), path).encode()
    (run / "checkpoint").write_bytes(text)
    directory = given_as.replace("{}", str(tmp_path))
    theirs = tf.train.latest_checkpoint(directory)
    odd = listed in MOVED | PATTERNS | SEVERAL
    if theirs is None and not odd:
        with pytest.raises(tb.MissingFileError) as caught:
            latest(directory)
        assert caught.value.path == directory
        return
    ours = latest(directory)
    assert ours.source == "state"
    if odd:
        assert theirs is None
        assert not ours.tensorflow
        assert ours.notes
    else:
        assert ours.found.prefix == theirs
        assert ours.tensorflow


@pytest.mark.parametrize(
    "text",
    [
        "",
        'model_checkpoint_path: ""',
        'all_model_checkpoint_paths: "ckpt-1"',
        "{",
        'unknown: 1 model_checkpoint_path: "ckpt-1"',
        None,
    ],
)
def test_no_latest(tmp_path, text):
    write_checkpoints(tmp_path, ["ckpt-1"])
    if text is not None:
        (tmp_path / "checkpoint").write_text(text)
    theirs = None
    with contextlib.suppress(ValueError):
        theirs = tf.train.latest_checkpoint(str(tmp_path))
    assert theirs is None
    with pytest.raises((tb.MissingFileError, tb.CorruptionError)):
        latest(str(tmp_path))


def test_times_of_files_are_theirs(tmp_path):
    write_checkpoints(tmp_path, ["m-1", "m-2"], seconds=1.75)
    write_v1(tmp_path / "old")
    change = manage(str(tmp_path), repair, dry_run=True)
    theirs = tf1.train.get_checkpoint_mtimes([str(tmp_path / path) for path in change.after.all_paths])
    assert list(map(int, change.after.timestamps)) == theirs  # of a local file they are whole seconds
