"""make_wsgi_app by the letter of PEP 3333, and under a real server with a real client."""

from __future__ import annotations

import http.client
import io
import socketserver
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.validate import validator

import pytest

import prom_remote_api as pra
import wire
from hosts import WsgiHost, environ

UP = {"__name__": "up", "job": "api"}
QUERY = wire.query(0, 10_000, [("job", "=", "api")])
WRITE_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


class Memory(pra.Storage):
    def __init__(self) -> None:
        self.series: dict[Any, dict[int, float]] = {}

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for ts in request:
            self.series.setdefault(tuple(ts.labels.items()), {}).update(ts.samples)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        for labels, samples in list(self.series.items()):
            if query.matches(dict(labels)):
                yield dict(labels), list(samples.items())


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    app = validator(pra.make_wsgi_app(Memory()))
    with make_server("127.0.0.1", 0, app, _ThreadingServer, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def post(port: int, path: str, body: bytes, method: str = "POST") -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body, WRITE_HEADERS)
    response = connection.getresponse()
    answer = response.status, response.headers, response.read()
    connection.close()
    return answer


def test_under_a_real_server(port: int) -> None:
    body = wire.compress(wire.write_request([(UP, [(1, 1.0), (2, 2.0)])]))
    status, headers, content = post(port, "/api/v1/write", body)
    assert (status, content) == (204, b"")

    status, headers, content = post(port, "/api/v1/read", wire.compress(wire.read_request([QUERY])))
    assert status == 200
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "snappy"
    assert int(headers["Content-Length"]) == len(content)
    assert wire.read_response(wire.uncompress(content)) == [[(UP, [(1, 1.0), (2, 2.0)])]]


def frames(body: bytes) -> Iterator[bytes]:
    """The messages of a streamed answer, without a look at their checksums."""
    at = 0
    while at < len(body):
        size, at = wire.read_varint(body, at)
        at += 4
        yield body[at : at + size]
        at += size
    assert at == len(body)


def test_streamed(port: int) -> None:
    for name in ("up", "down"):
        samples = [(t, float(t % 7)) for t in range(20_000)]
        labels = {"__name__": name, "job": "api"}
        body = wire.compress(wire.write_request([(labels, samples)]))
        assert post(port, "/api/v1/write", body)[0] == 204
    request = wire.read_request([wire.query(0, 30_000, [("job", "=", "api")])]) + wire.number(2, 1)
    status, headers, content = post(port, "/api/v1/read", wire.compress(request))
    assert status == 200
    assert headers["Content-Type"] == (
        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    )
    assert headers["Content-Encoding"] is None
    assert headers["Content-Length"] is None
    names = [b"down" in frame for frame in frames(content)]
    assert len(names) >= 2
    assert names == sorted(names, reverse=True)


@pytest.mark.parametrize(
    "path, method, body, status",
    [
        ("/api/v1/write", "GET", b"", 405),
        ("/elsewhere", "POST", b"", 404),
        ("/api/v1/write", "POST", b"not snappy at all", 400),
        ("/api/v1/write", "POST", wire.compress(b"\xff\xff"), 400),
        ("/api/v1/read", "POST", wire.compress(b"\xff\xff"), 400),
    ],
)
def test_refusals(port: int, path: str, method: str, body: bytes, status: int) -> None:
    assert post(port, path, body, method)[0] == status


def test_many_clients(port: int) -> None:
    """Exchanges are shared out; each client gets its own answer."""
    failures: list[str] = []

    def client(number: int) -> None:
        labels = {"__name__": "up", "client": str(number)}
        query = wire.query(0, 10_000, [("client", "=", str(number))])
        for i in range(15):
            body = wire.compress(wire.write_request([(labels, [(i, float(number))])]))
            status = post(port, "/write", body)[0]
            content = post(port, "/read", wire.compress(wire.read_request([query])))[2]
            result = wire.read_response(wire.uncompress(content))
            if status != 204 or result != [[(labels, [(j, float(number)) for j in range(i + 1)])]]:
                failures.append(f"{number}: {status} {result}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class Stream(io.BytesIO):
    """Fails the test when more is read than was sent: a socket would block."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None and 0 <= size <= len(self.getbuffer()) - self.tell()
        return super().read(size)


def call(app: Any, env: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    seen: list[Any] = []
    pieces = app(env, lambda *args: seen.append(args))
    content = b"".join(pieces)
    pieces.close()
    return seen[0][0], dict(seen[0][1]), content


def test_reads_no_further_than_content_length() -> None:
    body = wire.compress(wire.write_request([(UP, [(i, 1.0) for i in range(20_000)])]))
    assert len(body) > 200_000
    storage = Memory()
    env = environ("/write", WRITE_HEADERS, body) | {"wsgi.input": Stream(body)}
    assert call(pra.make_wsgi_app(storage), env)[0] == "204 No Content"
    assert len(storage.series[tuple(UP.items())]) == 20_000


def test_body_shorter_than_announced() -> None:
    body = wire.compress(wire.write_request([(UP, [(1, 1.0)])]))
    env = environ("/write", WRITE_HEADERS, body) | {"CONTENT_LENGTH": str(len(body) + 10)}
    storage = Memory()
    assert call(pra.make_wsgi_app(storage), env)[0].startswith("400 ")
    assert storage.series == {}


@pytest.mark.parametrize("length", [None, ""])
def test_no_content_length(length: str | None) -> None:
    """Without a length nothing may be read, unless the server says that the input ends."""
    body = wire.compress(wire.write_request([(UP, [(1, 1.0)])]))
    env = environ("/write", WRITE_HEADERS, body)
    del env["CONTENT_LENGTH"]
    env |= {} if length is None else {"CONTENT_LENGTH": length}
    storage = Memory()
    call(pra.make_wsgi_app(storage), env | {"wsgi.input": io.BytesIO(body)})
    assert storage.series == {}
    env |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
    assert call(pra.make_wsgi_app(storage), env)[0] == "204 No Content"
    assert list(storage.series) == [tuple(UP.items())]


def test_body_over_the_limit_is_not_read() -> None:
    app = pra.make_wsgi_app(Memory(), limits={"max_body_bytes": 1000})
    stream = io.BytesIO(bytes(1_000_000))
    env = environ("/write", WRITE_HEADERS, b"") | {"CONTENT_LENGTH": "1000000", "wsgi.input": stream}
    assert call(app, env)[0].startswith("413 ")
    assert stream.tell() == 0  # the client may wait for the verdict


def test_head_has_no_body() -> None:
    """Waitress would send it, and the client take it for the next answer."""
    env = environ("/api/v1/write", WRITE_HEADERS, b"") | {"REQUEST_METHOD": "HEAD"}
    host = WsgiHost(Memory())
    status, headers, content = call(host.app, env)
    assert status.startswith("405 ") and headers["Content-Length"] > "0"
    assert content == b""
    assert host.write_series((UP, [(1, 1.0)])).status == 204


def test_client_that_goes_away() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    host = WsgiHost(Memory())
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            call(host.app, environ("/write", WRITE_HEADERS, b"x") | {"wsgi.input": Broken()})
    assert host.write_series((UP, [(1, 1.0)])).status == 204


def test_answer_that_is_not_fetched() -> None:
    """close() without reading, and neither: the next requests get their own answers."""
    host = WsgiHost(Memory())
    host.write_series((UP, [(1, 1.0)]))
    body = wire.compress(wire.read_request([QUERY]))
    for close in (True, False) * 20:
        pieces: Any = host.app(environ("/read", WRITE_HEADERS, body), lambda *_: None)
        if close:
            pieces.close()
            pieces.close()
            assert list(pieces) == []
        assert host.read(QUERY).results == [[(UP, [(1, 1.0)])]]


def test_user_and_mount_point() -> None:
    seen = []

    class Looks(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            seen.append((ctx.user, ctx.path))

    env = environ("/api/v1/write", WRITE_HEADERS, wire.compress(b""))
    env |= {"SCRIPT_NAME": "/prom", "REMOTE_USER": "alice"}
    assert call(pra.make_wsgi_app(Looks()), env)[0] == "204 No Content"
    assert seen == [("alice", "/prom/api/v1/write")]
