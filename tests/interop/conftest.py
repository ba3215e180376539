"""Marks the tests of this folder, and lets none be skipped where TensorFlow must be there."""

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REQUIRED = bool(os.environ.get("TENSORBUNDLE_REQUIRE_TENSORFLOW"))
OF_ONE_CHECKPOINT = ("its data is not there", "not only variables")  # in the corpus


def pytest_collection_modifyitems(items):
    here = f"{HERE}{os.sep}"
    for item in items:  # of all folders
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.interop)


def refuse_to_skip(report):
    """Make a failure of a report that says that a test or a module was skipped."""
    reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if REQUIRED and report.skipped and not reason.endswith(OF_ONE_CHECKPOINT):
        report.outcome = "failed"
        report.longrepr = f"TENSORBUNDLE_REQUIRE_TENSORFLOW is set, and this was not run: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return refuse_to_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return refuse_to_skip((yield))
