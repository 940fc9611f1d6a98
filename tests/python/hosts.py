"""Two ways to put a storage behind HTTP, with one face for the tests."""

from __future__ import annotations

import http.client
import io
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

import prom_remote_api as pra
import wire


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


class ServerHost(Host):
    """The server of the C library, on a port of the kernel's choice."""

    def __init__(self, storage: pra.StorageLike, **options: Any) -> None:
        self.server = pra.Server(storage, "127.0.0.1:0", **options)
        self.server.start()

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        try:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def close(self) -> None:
        self.server.stop()


HOSTS = {"wsgi": WsgiHost, "server": ServerHost}
