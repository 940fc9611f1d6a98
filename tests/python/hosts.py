"""Ways to put a storage behind HTTP, with one face for the tests."""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import io
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import uvicorn

import prom_remote_api as pra
import wire


def repeats(number: int) -> int:
    """How often to do what shows its faults by repetition: less often where it is slow, since a
    sanitizer tells of the first time. The tests of the wheels have the full number."""
    return number // 5 if hasattr(ctypes.CDLL(None), "__asan_init") else number


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def results(self) -> list[list[tuple[dict[str, str], list[wire.Sample]]]]:
        assert self.status == 200, self
        return wire.read_response(wire.uncompress(self.body))


class Host:
    """Base: post() is the subclass's."""

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def write(self, message: bytes, path: str = "/api/v1/write", **headers: str) -> Answer:
        return self.post(path, _headers("application/x-protobuf", headers), wire.compress(message))

    def write_series(self, *series: Any, **headers: str) -> Answer:
        return self.write(wire.write_request(series), **headers)

    def write_v2(self, *series: Any, **headers: str) -> Answer:
        types = {"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
        version = {"X_Prometheus_Remote_Write_Version": "2.0.0"}
        return self.write(wire.write_request_v2(series), **types, **version, **headers)

    def read_streamed(self, *queries: bytes) -> Answer:
        body = wire.compress(wire.read_request(queries, streamed=True))
        return self.post("/api/v1/read", _headers("application/x-protobuf", {}), body)

    def read(self, *queries: bytes, path: str = "/api/v1/read", **headers: str) -> Answer:
        body = wire.compress(wire.read_request(queries))
        return self.post(path, _headers("application/x-protobuf", headers), body)

    def close(self) -> None:
        pass

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _headers(content_type: str, more: Mapping[str, str]) -> dict[str, str]:
    headers = {
        "Content-Type": content_type,
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    return headers | {name.replace("_", "-"): value for name, value in more.items()}


def environ(path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    path, _, query = path.partition("?")
    result: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in headers.items():
        key = name.upper().replace("-", "_")
        result["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return result


class WsgiHost(Host):
    """Calls the application, no sockets."""

    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        self.app: Any = pra.make_wsgi_app(storage, **options)

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        seen: list[Any] = []
        pieces = self.app(environ(path, headers, body), lambda *args: seen.append(args))
        try:
            content = b"".join(pieces)
        finally:
            pieces.close()
        ((status, response_headers),) = seen
        return Answer(int(status.split()[0]), dict(response_headers), content)


class SocketHost(Host):
    port = 0

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            answer = dict(response.getheaders())
            names = {name.title(): value for name, value in answer.items()}  # ASGI's are in lower case
            return Answer(response.status, names, response.read())
        finally:
            connection.close()


class ServerHost(SocketHost):
    """The server of the C library, on a port of the kernel's choice."""

    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        self.server = pra.Server(storage, "127.0.0.1:0", **options)
        self.port = self.server.port
        self.server.start()

    def close(self) -> None:
        self.server.stop()


class Uvicorn:
    """A real ASGI server in a thread of its own."""

    def __init__(self, app: Any, **options: Any) -> None:
        listener = listening_socket()
        self.port = listener.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, **options))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def listening_socket() -> socket.socket:
    """On a port of the kernel's choice; whoever connects before the server is up waits."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


class AsgiHost(SocketHost):
    """An application under uvicorn; all share one server, and say by a header which one is meant."""

    _server: Uvicorn | None = None
    _apps: dict[bytes, Any] = {}

    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        self.app = pra.make_asgi_app(storage, **options)
        if AsgiHost._server is None:
            AsgiHost._server = Uvicorn(AsgiHost._dispatch)
        self.port = AsgiHost._server.port
        self.name = uuid.uuid4().hex
        AsgiHost._apps[self.name.encode()] = self.app

    @classmethod
    def stop_server(cls) -> None:
        """For tests that its thread would not survive."""
        server, AsgiHost._server = AsgiHost._server, None
        if server:
            server.stop()

    @staticmethod
    async def _dispatch(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        headers = dict(scope["headers"])
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-test-app"]
        await AsgiHost._apps[headers[b"x-test-app"]](scope, receive, send)

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return super().post(path, {**headers, "X-Test-App": self.name}, body)

    def close(self) -> None:
        AsgiHost._apps.pop(self.name.encode(), None)


def awaited(storage: Any) -> Any:
    """The same storage with `async def` methods and asynchronous generators."""
    methods: dict[str, Any] = {}

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        await asyncio.sleep(0)
        storage.write(ctx, request)

    async def process_query(ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        result = storage.process_query(ctx, query)
        for series in [result] if hasattr(result, "__arrow_c_stream__") else result:
            yield series

    async def read(ctx: pra.Context, queries: Sequence[pra.Query]) -> Any:
        return storage.read(ctx, queries)

    async def select(ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        for found in storage.select(ctx, query):
            yield found

    async def fetch(ctx: pra.Context, query: pra.Query, key: Any) -> Any:
        await asyncio.sleep(0)
        return storage.fetch(ctx, query, key)

    for method in (write, process_query, read, select, fetch):
        name = method.__name__
        mine = getattr(storage, name, None)
        if mine and getattr(mine, "__func__", None) is not getattr(pra.Storage, name):
            methods[name] = method
    methods |= {name: getattr(storage, name, False) for name in ("histograms", "exemplars", "ordered")}
    return pra.FunctionStorage(**methods)


class AwaitedWsgiHost(WsgiHost):
    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        super().__init__(awaited(storage), **options)


class AwaitedServerHost(ServerHost):
    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        super().__init__(awaited(storage), **options)


class AwaitedAsgiHost(AsgiHost):
    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        super().__init__(awaited(storage), **options)


HOSTS: dict[str, type[Any]] = {
    "asgi": AsgiHost,
    "asgi awaited": AwaitedAsgiHost,
    "server": ServerHost,
    "server awaited": AwaitedServerHost,
    "wsgi": WsgiHost,
    "wsgi awaited": AwaitedWsgiHost,
}


class Does(pra.Storage):
    """Keeps what act makes of each request."""

    histograms = exemplars = True

    def __init__(self, act: Callable[[pra.WriteRequest], object]) -> None:
        self.act = act
        self.result: Any = None

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.result = self.act(request)
