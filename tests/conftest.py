"""Keeps the tests away from what belongs to the user; in CI a test that is skipped for want of a program fails."""

import os
import shutil
import sys
import tempfile

import pytest

# Prefect reads its settings when it is imported, so this stands before any test module is.
PREFECT_HOME = tempfile.mkdtemp(prefix="prefect-home-")
os.environ.update(PREFECT_HOME=PREFECT_HOME, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1")
# The user's server and the application's live database, which the command line would find by itself.
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "LTMC_DATABASE", "DB_PATH"):
    os.environ.pop(name, None)

# Commands that are printed begin with `python` where the shell's is this one.
os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))

# Not part of the project: a clone without it has only the demo database to test on.
REAL_DATABASE_ABSENT = "the real database is not beside the checkout"
IN_CI = os.environ.get("CI") == "true"


def pytest_unconfigure():
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    if os.environ.get("FAULTS") != "full":
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)


def pytest_runtest_setup(item):
    for mark in item.iter_markers("system"):
        package = mark.args[0]
        if not shutil.which(mark.kwargs.get("program", package)):
            pytest.skip(f"needs the system package {package}")


def _failed_if_skipped(report):
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if REAL_DATABASE_ABSENT in reason:
            return report
        report.outcome, report.longrepr = "failed", f"skipped in CI, where every test must run: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _failed_if_skipped((yield))
