# SPDX-License-Identifier: Apache-2.0
"""Fixtures: an nginx, upstreams, and their end whatever happens."""

import pathlib
import socket
import sys

import pytest

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path += [str(_TESTS / "e2e"), str(_TESTS / "python"), str(_TESTS / "support")]

from processes import Processes  # noqa: E402
from nginx import Nginx  # noqa: E402
from upstream import Upstream  # noqa: E402


@pytest.fixture
def processes():
    all_of_them = Processes()
    yield all_of_them
    all_of_them.kill_all()
    all_of_them.check_sanitizers()


@pytest.fixture
def serve(processes, tmp_path):
    """serve(http, ...) starts nginx; at the end it must stop well, with nothing severe in its log."""
    started = []

    def start(http, **options):
        started.append(Nginx(processes, tmp_path, http, **options))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture
def closed_port():
    """Where nobody listens: it is bound, so that nobody else is given it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


@pytest.fixture
def upstream():
    one = Upstream()
    yield one
    one.close()


@pytest.fixture
def upstreams():
    several = [Upstream(), Upstream(), Upstream()]
    yield several
    for one in several:
        one.close()
