# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: the real prometheus against our receivers."""

import shutil

import pytest

import native
from processes import Processes
from receivers import RECEIVERS, lacking
from target import Target


def pytest_addoption(parser):
    parser.addoption("--receiver", choices=sorted(RECEIVERS), default="sqlite",
                     help="what the test writes to")


@pytest.fixture
def processes(request):
    if "native" in request.node.path.stem:
        if not native.PROMETHEUS.exists():
            lacking("no current Prometheus; ./dev test-peers builds it")
    elif not shutil.which("prometheus"):
        lacking("no program prometheus on the PATH")
    all_of_them = Processes()
    yield all_of_them
    all_of_them.kill_all()
    report = getattr(request.node, "report", None)
    if report is not None and report.failed:
        print(all_of_them.tails())
    all_of_them.check_sanitizers()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report = outcome.get_result()


@pytest.fixture
def receiver(request, processes, tmp_path):
    return RECEIVERS[request.config.getoption("--receiver")](processes, tmp_path)


@pytest.fixture
def targets():
    """Two targets; the test closes one of them early."""
    pair = [Target(), Target()]
    yield pair
    for target in pair:
        target.close()
