# SPDX-License-Identifier: Apache-2.0
"""The two hosts of the tables: a handler alone, and a running server."""

import http.client

import pytest
from bare import Answer, BareHandler
from serving import GUARD_S, Serve


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
