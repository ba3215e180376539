"""Every contender does every job once, on little data; the results are checked, the times are not.

`pytest benchmarks --benchmark-enable` also times our part of each job with pytest-benchmark, which can keep its results
(`--benchmark-autosave`) and compare them; what the others took in the same run is in their `extra_info`.
"""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the scripts beside this file import each other

import growth
import report
from compare import linked
from jobs import JOBS, Sources
from measure import about_this_machine, can_run, measure
from running import Runner, parse_size

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def sources():
    with Runner.started() as runner:
        yield Sources(runner, 8_000_000, 2_000)


@pytest.mark.interop
@pytest.mark.parametrize("name", JOBS)
def test_each_contender_does_the_job(name, sources, benchmark):
    found = measure(name, sources.runner, sources, rounds=1, pause=0)
    contenders = JOBS[name](sources).contenders
    assert found["contenders"].keys() == {each for each in contenders if can_run(each)}
    if os.environ.get("TENSORBUNDLE_REQUIRE_TENSORFLOW"):
        assert found["contenders"].keys() == contenders.keys()
    assert found["reach"].keys() | found["within"].keys() <= contenders.keys()
    job, benchmark.group = JOBS[name](sources), name
    benchmark.extra_info.update(found)
    ours = next(iter(contenders))
    runner = sources.runner
    run = benchmark.pedantic(
        runner.run, (contenders[ours],), setup=lambda: runner.prepare(job.reads, job.volume, 0), rounds=3
    )
    job.check(ours, run)


def test_results_become_rows(sources):
    found = measure("help", sources.runner, sources, rounds=2, pause=0)
    found["contenders"]["tensorbundle"]["seconds"] = [0.30, 0.32]
    found["contenders"]["interpreter"]["seconds"] = [0.28, 0.21]
    *_, row = report.lines_of({**about_this_machine(), "jobs": {"help": found}})
    assert row.startswith("| `--help` | 0.31 s | interpreter 0.24 s | +65 ms | +60 ms | **no** |")


def test_the_page_has_the_tables_of_the_results():
    page = report.PAGE.read_text()
    assert report.with_tables(page) == page
    results = json.loads((ROOT / "benchmarks/results/growth.json").read_text())
    assert report.plot_of(results) == report.PLOT.read_text()


def test_growth_is_measured():
    with Runner.started() as runner:
        found = growth.measure(runner, [100, 200], [100_000, 200_000])
    for unit, sizes in (("tensors", [100, 200]), ("bytes", [100_000, 200_000])):
        assert all([size for size, _, _ in points] == sizes for points in found[unit].values())


def test_a_package_of_links_is_complete(tmp_path):
    package = linked(ROOT, tmp_path / "package") / "tensorbundle"
    assert (package / "tools" / "cli" / "main.py").exists() or (package / "tools" / "cli").is_dir()
    assert (package / "proto").is_dir()
    assert (package / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("text", "size"), [("16MB", 16_000_000), ("4GiB", 4 << 30), ("1.5k", 1500), ("7", 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text + "x")
