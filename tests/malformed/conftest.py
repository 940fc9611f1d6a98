# SPDX-License-Identifier: Apache-2.0
"""The two hosts of the tables: a handler alone, and a running server."""

import http.client
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
sys.path.insert(0, str(HERE))

from serving import GUARD_S, Serve  # noqa: E402

BARE_HANDLER = pathlib.Path(os.environ.get(
    "PRA_BARE_HANDLER", HERE.parents[1] / "build" / "asan" / "tests" / "malformed" / "bare_handler"))


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes
    peak_bytes: int = 0  # of the heap, beyond the request itself; the bare handler's only
    cpu_us: int = 0


class BareHandler:
    """Every request goes through one exchange."""

    def __init__(self):
        self.child = subprocess.Popen([BARE_HANDLER], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)

    def post(self, path, content_type, body, headers=()):
        more = "".join(f"{name}: {value}\x1f" for name, value in headers)
        self.child.stdin.write(f"{path}\n{content_type}\n{more}\n{len(body)}\n".encode() + body)
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        assert line, "the handler died"
        status, body_length, head_length, peak, cpu = map(int, line.split())
        head = self.child.stdout.read(head_length).decode()
        content = self.child.stdout.read(body_length)
        return Answer(status, dict(each.split(": ", 1) for each in head.splitlines()), content,
                      peak, cpu)

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(GUARD_S) == 0


class Server:
    """Every request goes over one connection."""

    def __init__(self, storage, cwd):
        self.serve = Serve(f"--storage={storage}", cwd=cwd)
        self.serve.wait_until_it_listens()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.serve.port, timeout=GUARD_S)
        self.connection.connect()
        self.socket = self.connection.sock

    def post(self, path, content_type, body, headers=()):
        self.connection.request("POST", path, body,
                                {"Content-Type": content_type, **dict(headers)})
        answer = self.connection.getresponse()
        content = answer.read()
        assert self.connection.sock is self.socket, "the connection was closed"
        return Answer(answer.status, dict(answer.getheaders()), content)

    def close(self):
        self.connection.close()
        assert self.serve.stop() == 0


def started(kind, tmp_path):
    made = BareHandler() if kind == "handler" else Server(kind, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["handler", "memory", "sqlite:./malformed.db"])
def host(request, tmp_path):
    """Where requests go, one after the other."""
    yield from started(request.param, tmp_path)


@pytest.fixture(params=["handler", "memory"])
def host_of_floods(request, tmp_path):
    yield from started(request.param, tmp_path)


@pytest.fixture
def handler(tmp_path):
    yield from started("handler", tmp_path)
