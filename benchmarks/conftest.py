"""Measures jobs side by side: the same work done by us, by TensorFlow and by the least that could do it.

    pytest benchmarks --benchmark-enable --size 4GB --tensors 200000

prints a table at the end; `--benchmark-json FILE` keeps every run. Without `--benchmark-enable` each job is done once,
on little data, and its result is checked. `--size 4GB` needs 13 GB of disk in the temporary directory (TMPDIR), and
TensorFlow 14 GB of memory.

Each job runs in a process of its own, started by `programs/launcher.py`. Its time is the whole process, from start to
exit, unless the program tells the time of the part in question itself; its peak memory is always the whole process.
"""

from __future__ import annotations

import collections
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
OURS = "tensorbundle"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
READ_BYTES = 4 << 20


def parse_size(text: str) -> int:
    """Bytes: `4GB` is 4 * 10**9 of them, `4GiB` 4 * 2**30."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if found is None or found[2] not in UNITS:
        raise ValueError(f"not a size: {text!r}; 16MB and 4GiB are")
    return int(float(found[1]) * UNITS[found[2]])


def pytest_addoption(parser):
    group = parser.getgroup("tensorbundle benchmarks")
    group.addoption("--size", type=parse_size, default="16MB", help="bytes of a checkpoint (16MB)")
    group.addoption("--tensors", type=int, default=2_000, help="tensors of the one that is all index (2000)")
    group.addoption("--rounds", type=int, default=5, help="how often each job is timed (5)")
    group.addoption("--cold", action="store_true", help="drop the page cache before each round")


def pytest_xdist_auto_num_workers(config):
    """Jobs are timed one after another."""
    return 0 if config.getoption("benchmark_enable", default=False) else None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of a command took.

    Attributes:
        seconds: from start to exit, or what the program itself told.
        cpu_seconds: of the whole process, in the kernel too; on a busy machine, a steadier measure.
        peak_rss: the most memory the process had, in bytes, without arrays that it was given to write.
        bytes_written: what it handed to the operating system, to any file.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_rss: int
    bytes_written: int
    output: str


class JobClock:
    """A timer that stands still but for what jobs took, so that pytest-benchmark counts that and nothing else."""

    def __init__(self):
        self.__name__ = "job_clock"  # for reports
        self.now = 0.0

    def __call__(self):
        return self.now


_clock = JobClock()


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.benchmark(timer=_clock))


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """A directory that is gone afterwards: pytest would keep those of three runs."""
    path = tmp_path_factory.mktemp("benchmarks")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def measure(scratch):
    """`measure(command)` runs a command that must succeed, and returns a Measurement."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    launcher = subprocess.Popen(
        [sys.executable, "-S", PROGRAMS / "launcher.py", scratch],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )

    def run(command):
        words = [str(word) for word in command]
        print(json.dumps(words), file=launcher.stdin, flush=True)
        took = json.loads(launcher.stdout.readline())
        output = (scratch / "stdout").read_text(errors="surrogateescape")
        if took["status"] != 0:
            pytest.fail(f"status {took['status']}: {words}\n{output}{(scratch / 'stderr').read_text()}")
        told = {"seconds": took["seconds"], "given": 0, "written_before": 0}
        for line in output.splitlines():
            if line.startswith('{"seconds": '):
                told |= json.loads(line)
        _clock.now += told["seconds"]
        return Measurement(
            told["seconds"],
            took["cpu_seconds"],
            took["peak_rss"] - told["given"],
            took["bytes_written"] - told["written_before"],
            output,
        )

    with launcher:
        yield run
        launcher.stdin.close()


@pytest.fixture(scope="session")
def program():
    """`program(name)` is the beginning of a command that runs one of `programs/`."""
    return lambda name: [sys.executable, PROGRAMS / f"{name}.py"]


@pytest.fixture(scope="session")
def tensorbundle():
    """The beginning of a `tensorbundle` command, as a user calls it."""
    script = Path(sysconfig.get_path("scripts")) / "tensorbundle"
    return [script] if script.exists() else [sys.executable, "-m", "tensorbundle"]


@pytest.fixture(scope="session")
def size(pytestconfig):
    """About how many bytes of tensors a checkpoint has."""
    return pytestconfig.getoption("--size", 16 * 10**6)


@pytest.fixture(scope="session")
def checkpoint(scratch, measure, program, size, pytestconfig):
    """`checkpoint(kind)` is the prefix of a checkpoint of random values, made when first asked for.

    Kinds: `name-based` and `object-based`, 200 tensors of `--size` bytes; `many`, of `--tensors` tiny ones; `few`, of
    ten.
    """
    tensors = {"many": pytestconfig.getoption("--tensors", 2_000), "few": 10}
    made = {}

    def make(kind):
        if kind not in made:
            prefix = scratch / kind / "model.ckpt"
            prefix.parent.mkdir()
            like = "many" if kind in tensors else kind
            sizes = ["--size", size, "--tensors", tensors.get(kind, 200)]
            measure([*program("make_checkpoint"), like, prefix, *sizes])
            made[kind] = prefix
        return made[kind]

    return make


@pytest.fixture
def out(scratch):
    """A directory for what a job writes, empty before each round."""
    path = scratch / "out"
    path.mkdir(exist_ok=True)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def compare(benchmark, measure, program, out, pytestconfig):
    """Runs one contender's command for a job, in rounds, and puts it beside the others of that job.

    Args:
        job: what all contenders do; a row of the closing table begins with it.
        contender: who does it; ours begins with `tensorbundle`.
        command: how.
        reads: the files it reads, which are in the page cache when it begins (not so with `--cold`).
        volume: bytes that the job is about, for GB/s.
    """

    def setup(reads, volume):
        for path in out.iterdir():
            path.unlink()
        os.sync()
        if pytestconfig.getoption("--cold", default=False):
            drop_caches()
        else:
            for path in reads:
                read_through(path)
        if benchmark.enabled and volume:
            subprocess.run([*program("back_memory"), out / "scratch", str(volume)], check=True)

    def run(job, contender, command, *, reads=(), volume=0):
        skip_without(contender)
        benchmark.group = job
        measured = []
        benchmark.pedantic(
            lambda: measured.append(measure(command)),
            setup=lambda: setup(reads, volume),
            rounds=pytestconfig.getoption("--rounds", 5),
        )
        if benchmark.enabled:
            _results[job][contender] = Result(measured, benchmark.extra_info)
            note_extra_info(job, contender, volume)
        return measured[-1]

    return run


def skip_without(contender):
    """Skip if the package that a contender needs is not there; TENSORBUNDLE_REQUIRE_TENSORFLOW makes it an error."""
    if contender not in {"tensorflow", "safetensors"} or importlib.util.find_spec(contender):
        return
    if os.environ.get("TENSORBUNDLE_REQUIRE_TENSORFLOW"):
        pytest.fail(f"TENSORBUNDLE_REQUIRE_TENSORFLOW is set, and {contender} is not installed")
    pytest.skip(f"{contender} is not installed: nothing to compare with")


def drop_caches():
    try:
        DROP_CACHES.write_text("3")
    except OSError as error:
        pytest.skip(f"--cold: the page cache can't be dropped: {error}")


def read_through(path):
    buffer = bytearray(READ_BYTES)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


@dataclass(frozen=True, slots=True)
class Result:
    """One contender's runs of a job, and what of them goes into pytest-benchmark's reports."""

    runs: list[Measurement]
    extra_info: dict[str, object]

    @property
    def seconds(self):
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak_mb(self):
        return max(run.peak_rss for run in self.runs) / 1e6

    @property
    def bytes_written(self):
        return self.runs[-1].bytes_written


_results = collections.defaultdict(dict)  # job -> contender -> Result


def note_extra_info(job, contender, volume):
    result = _results[job][contender]
    result.extra_info.update(
        seconds=[round(run.seconds, 6) for run in result.runs],
        cpu_seconds=[round(run.cpu_seconds, 6) for run in result.runs],
        peak_mb=round(result.peak_mb, 1),
        bytes_written=result.bytes_written,
    )
    if volume:
        result.extra_info["gb_per_s"] = round(volume / result.seconds / 1e9, 3)
    for ours, theirs in pairs(_results[job]):
        ratio = _results[job][theirs].seconds / _results[job][ours].seconds
        _results[job][ours].extra_info[f"times_as_fast_as_{theirs}"] = round(ratio, 2)


def pairs(contenders):
    """Each of ours with each of theirs, in the order in which they ran."""
    ours = [name for name in contenders if name.startswith(OURS)]
    return [(mine, theirs) for mine in ours for theirs in contenders if theirs not in ours]


def pytest_terminal_summary(terminalreporter):
    if not _results:
        return
    rows = [["job", "ours s", "theirs s", "ratio", "our peak MB", "their peak MB", "our bytes written"]]
    for job, contenders in _results.items():
        for mine, other in pairs(contenders):
            ours, theirs = contenders[mine], contenders[other]
            rows.append(
                [
                    f"{job}{mine.removeprefix(OURS)} / {other}",
                    f"{ours.seconds:.4f}",
                    f"{theirs.seconds:.4f}",
                    f"{theirs.seconds / ours.seconds:.2f}",
                    f"{ours.peak_mb:.0f}",
                    f"{theirs.peak_mb:.0f}",
                    f"{ours.bytes_written:,}",
                ]
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    terminalreporter.section("tensorbundle / others: medians; ratio: how many times as fast")
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        terminalreporter.line("  ".join(cells))
