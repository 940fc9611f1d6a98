# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from serving import Serve  # noqa: E402


@pytest.fixture
def serve(tmp_path):
    """Starts servers that are gone after the test."""
    started = []

    def start(*flags, **kwargs):
        server = Serve(*flags, cwd=tmp_path, **kwargs)
        started.append(server)
        server.wait_until_it_listens()
        return server

    yield start
    for server in started:
        if server.child.poll() is None:
            server.child.kill()
            server.child.wait()
