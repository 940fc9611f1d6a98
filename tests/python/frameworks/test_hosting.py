"""Every snippet of python/docs/hosting.md: the real frameworks and servers, each on a free port."""

from __future__ import annotations

import http.client
import shlex
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import prom_remote_api as pra
import wire

ROOT = Path(__file__).resolve().parents[3]
for folder in ("support", "e2e"):
    sys.path.append(str(ROOT / "tests" / folder))

from certificates import Authority  # noqa: E402
from processes import Process  # noqa: E402
from snippets import snippets  # noqa: E402

PAGE = "python/docs/hosting.md"
MODULES = {"waitress-serve": "waitress"}
UP = {"__name__": "up", "job": "api"}
QUERY = wire.query(0, 1 << 40, [("__name__", "=", "up")])

# The backends that stand in for the one of the page, which is tried as it is too.
SYNC = """
from prom_remote_api.storages import MemoryStorage

class Closing(MemoryStorage):
    def close(self):
        print("storage closed", flush=True)

storage = Closing()
"""
ASYNC = f"""{SYNC}
import asyncio

class Awaited(Closing):
    async def write(self, ctx, request):
        await asyncio.sleep(0)
        super().write(ctx, request)

    async def process_query(self, ctx, query):
        for labels, key in super().select(ctx, query):
            await asyncio.sleep(0)
            yield labels, super().fetch(ctx, query, key)

    async def select(self, ctx, query):
        await asyncio.sleep(0)
        return super().select(ctx, query)

    async def fetch(self, ctx, query, key):
        await asyncio.sleep(0)
        return super().fetch(ctx, query, key)

storage = Awaited()
"""
DJANGO = {
    "mysite/__init__.py": "",
    "mysite/settings.py": 'SECRET_KEY = "-"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "mysite.urls"\n',
    "mysite/urls.py": """
from django.http import JsonResponse
from django.urls import path

urlpatterns = [path("hello", lambda request: JsonResponse({"hello": "world"}))]
""",
}


def files() -> dict[str, str]:
    """The files of the page by name."""
    prefix = "file "
    return {s.how.removeprefix(prefix): s.text for s in snippets(PAGE) if s.how.startswith(prefix)}


def commands() -> Iterator[Any]:
    """(command, how it is tried) of every command of the page, for each kind of storage."""
    for snippet in snippets(PAGE):
        if not snippet.how.startswith("hosting "):
            continue
        kind, *how = snippet.how.split()[1:]
        (command,) = snippet.text.splitlines()
        for storage in ["sync"] if kind == "wsgi" or "tls" in how else ["sync", "async"]:
            yield pytest.param(command, how, storage, id=f"{command.partition(' --')[0]} {storage}")


class Client:
    def __init__(self, port: int, prefix: str, context: ssl.SSLContext | None) -> None:
        self._port, self._prefix, self._context = port, prefix, context

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        kind: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        more = {}
        if self._context:
            kind, more = http.client.HTTPSConnection, {"context": self._context}
        connection = kind("127.0.0.1", self._port, **more)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, path: str, message: bytes, kind: str = "") -> tuple[int, bytes]:
        headers = {"Content-Type": f"application/x-protobuf{kind}", "Content-Encoding": "snappy"}
        return self.request("POST", self._prefix + path, wire.compress(message), **headers)


def start(folder: Path, command: str) -> Process:
    """The command as printed, on a port of the kernel's choice, under this interpreter."""
    first, *rest = shlex.split(command.replace("9201", "0"))
    if first != "python":
        rest = ["-m", MODULES.get(first, first), *rest]
    # The objects of Python itself are not what is watched here: frameworks start in half the time.
    environment = {"PYTHONPATH": f"{folder}:{Path(pra.__file__).parents[1]}", "PYTHONMALLOC": "pymalloc"}
    environment["GUNICORN_CMD_ARGS"] = "--timeout=0"  # else it kills a worker that takes long to begin
    return Process("server", [sys.executable, *rest], folder, environment)


def write_files(folder: Path, backend: str) -> None:
    (folder / "mysite").mkdir()
    for name, text in {**DJANGO, **files(), "backend.py": backend}.items():
        (folder / name).write_text(text)


def check(client: Client) -> None:
    first = wire.write_request([(UP, [(1, 1.0), (2, 2.0)])])
    assert client.post("/api/v1/write", first) == (204, b"")
    second = wire.write_request_v2([{"labels": UP, "samples": [(3, 3.0, 0)]}])
    assert client.post("/api/v1/write", second, ";proto=io.prometheus.write.v2.Request") == (204, b"")
    status, body = client.post("/api/v1/read", wire.read_request([QUERY]))
    assert status == 200, body
    assert wire.read_response(wire.uncompress(body)) == [[(UP, [(1, 1.0), (2, 2.0), (3, 3.0)])]]
    status, body = client.post("/api/v1/read", wire.read_request([QUERY], streamed=True))
    assert status == 200, body
    assert [(labels, chunks) for _, labels, chunks in wire.frames(body)] == [(UP, [(1, 1, 3, 3)])]
    status, body = client.post("/api/v1/write", wire.write_request([({"job": "api"}, [(1, 1.0)])]))
    assert status == 400 and b"name" in body


@pytest.mark.slow
@pytest.mark.parametrize("command, how, storage", list(commands()))
def test_command(tmp_path: Path, command: str, how: list[str], storage: str) -> None:
    write_files(tmp_path, {"sync": SYNC, "async": ASYNC}[storage])
    context = None
    if "tls" in how:
        authority = Authority(tmp_path)
        authority.issue("server")
        context = ssl.create_default_context(cafile=authority.certificate)
        how = []
    prefix, route = how or ("", "")
    process = start(tmp_path, command)
    try:
        client = Client(process.port(), prefix, context)
        check(client)
        if route:
            status, body = client.request("GET", route)
            assert (status, body.replace(b" ", b"").strip()) == (200, b'{"hello":"world"}')
        process.stop()
        closes = any("lifespan" in text or "with storage" in text for text in used(command))
        assert ("storage closed" in process.text()) == (closes or "-m prom_remote_api" in command)
        process.check_sanitizers()
    except BaseException:
        print(process.tail())
        raise
    finally:
        if process.returncode() is None:
            process.stop()


def used(command: str) -> list[str]:
    """The text of the file that a command names."""
    return [text for name, text in files().items() if name in command or f" {name[:-3]}:" in command]


def test_the_backend_of_the_page(tmp_path: Path) -> None:
    write_files(tmp_path, files()["backend.py"])
    process = start(tmp_path, "python server.py")
    try:
        process_port = process.port()
        check(Client(process_port, "", None))
    finally:
        assert process.stop() == 0


def test_every_snippet_is_run() -> None:
    """All but what goes into prometheus.yml, whose paths are those that the tests use."""
    left = [s for s in snippets(PAGE) if not s.how.startswith(("file ", "hosting "))]
    assert [s.language for s in left] == ["yaml"]
    assert left[0].text.count(":9201/prom/api/v1/") == 2
