"""How tests are run: which hypothesis profile, how many processes, and how many cases of each test.

TENSORBUNDLE_DEEP makes every test complete (see `support/depth.py`). TENSORBUNDLE_HYPOTHESIS names another profile.
"""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from support.depth import DEEP, sample

MOST_PROCESSES = 8  # each needs a second to start
MOST_CASES = 1  # of each test function, where all of them are run

gc.set_threshold(
    50_000
)  # thousands of tests are kept in memory: to look through them again and again takes long

settings.register_profile(
    "quick",  # the same few examples every time
    deadline=None,
    derandomize=True,
    max_examples=10,
    phases=[
        Phase.explicit,
        Phase.generate,
        Phase.shrink,
    ],  # explaining a failure takes longer than finding it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",  # others every time
    deadline=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "many",  # what `.ci/run` tries: the same every time, so that it does not fail by chance
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("TENSORBUNDLE_HYPOTHESIS", "many" if DEEP else "quick"))


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks():
    """Files are not flushed: that shows after a power failure only, and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


def pytest_xdist_auto_num_workers(config):
    """One process for each core, and none but pytest's own for a single file or test, or where it prints."""
    files = {argument.partition("::")[0] for argument in config.args}
    alone = len(files) == 1 and files.pop().endswith(".py")
    if alone or config.option.capture == "no":
        return 0
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    return min(len(os.sched_getaffinity(0)), MOST_PROCESSES)


def runs_everything(config):
    """Whether all of `tests` is run, rather than what somebody named."""
    return [os.path.basename(each) for each in config.args] == ["tests"]


EVERYTHING = pytest.StashKey[bool]()


def pytest_configure(config):
    """Each process begins with another file, so that one process finds compiled what another has compiled already."""
    config.stash[EVERYTHING] = runs_everything(config)
    if hasattr(config, "workerinput") and config.stash[EVERYTHING]:
        files = sorted(str(path) for path in Path(config.args[0]).rglob("test_*.py"))
        number = int(config.workerinput["workerid"].removeprefix("gw"))
        first = len(files) * number // config.workerinput["workercount"]
        config.args[:] = files[first:] + files[:first]


def pytest_collection_modifyitems(config, items):
    """The same order in each process; if all of `tests` is run and not everything asked for, only one case of each test
    function, and none of those that are marked as slow.
    """
    if not DEEP and config.stash[EVERYTHING]:
        functions = {}
        for item in items:
            if item.get_closest_marker("slow"):
                continue
            functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
        kept = {case for cases in functions.values() for case in sample(cases, MOST_CASES)}
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
    items.sort(key=lambda item: item.location[:2])  # after that, because finding where a test is takes long
