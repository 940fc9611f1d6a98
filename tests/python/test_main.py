"""python -m prom_remote_api."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wire
from prom_remote_api.__main__ import _options, _parser
from prom_remote_api._handler import HandlerOptions
from prom_remote_api._server import ServerOptions

MODULE = """
import asyncio

class Memory:
    def __init__(self):
        self.rows = []

    async def write(self, ctx, request):
        self.rows += [ts.labels for ts in request]

    def close(self):
        print("closed with", len(self.rows), flush=True)

class Later(Memory):
    async def close(self):
        await asyncio.sleep(0)
        super().close()

class Wants(Memory):
    def __init__(self, path):
        pass

made = Memory()

class inner:
    made = Memory()

def write(ctx, request):
    print("written", len(request), flush=True)

def close():
    print("module closed", flush=True)

nothing = None
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "my_storage.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import that_is_missing\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    yield tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "prom_remote_api", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "what, output",
    [
        ("my_storage:Memory", "closed with 1\n"),
        ("my_storage:Later", "closed with 1\n"),
        ("my_storage:made", "closed with 1\n"),
        ("my_storage:inner.made", "closed with 1\n"),
        ("my_storage:write", "written 1\n"),
        ("my_storage", "written 1\nmodule closed\n"),
    ],
)
def test_serve(folder: Path, what: str, output: str) -> None:
    process = start(folder, "serve", what, "--listen", "127.0.0.1:0", "--limit", "max_body_bytes=1000", "--accept=1")
    assert process.stderr
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found, line + process.stderr.read()
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]))
    types = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    connection.request("POST", "/write", wire.compress(wire.write_request([({"__name__": "up"}, [(1, 1.0)])])), types)
    assert connection.getresponse().status == 204
    connection.close()
    connection.request("POST", "/write", bytes(2000), types)
    assert connection.getresponse().status == 413
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[0] == output
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["absent"], "there is no module absent"),
        (["absent.part:x"], "there is no module absent"),
        (["package.absent:x"], "there is no module package.absent"),
        ([""], "'' is no name of a module"),
        ([".relative"], "'.relative' is no name of a module"),
        (["my_storage:Missing"], "my_storage has no Missing"),
        (["my_storage:made.Missing"], "my_storage has no made.Missing"),
        (["my_storage:Wants"], "Wants wants arguments: name an object of it instead"),
        (["my_storage:nothing"], "NoneType has no write, process_query, read, or select and fetch"),
        (["package"], "package has no write, process_query, read, or select and fetch"),
        (["my_storage", "--limit", "max_typos=1"], "no such limit: max_typos (there are: max_body_bytes, "),
        (["my_storage", "--limit", "max_body_bytes=-1"], ""),
        (["my_storage", "--listen", "nonsense"], "nonsense"),
        (["my_storage", "--web-config-file", "absent.yml"], "absent.yml"),
    ],
)
def test_what_cannot_be_served(folder: Path, arguments: list[str], message: str) -> None:
    process = start(folder, "serve", *arguments)
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert errors.startswith("prom_remote_api: ")
    assert message in errors
    assert "Traceback" not in errors


def test_mistake_in_the_module(folder: Path) -> None:
    """Its traceback says where."""
    process = start(folder, "serve", "broken")
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "broken.py" in errors and "that_is_missing" in errors


def test_mistake_while_it_serves(folder: Path) -> None:
    """So does that of what is no mistake of the caller's."""
    patch = "def start(server): raise ValueError('a bug')\nprom_remote_api.Server.start = start\n"
    (folder / "patched.py").write_text(f"import prom_remote_api\n{patch}def write(ctx, request): pass\n")
    process = start(folder, "serve", "patched", "--listen", "127.0.0.1:0")
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "Traceback" in errors and "ValueError: a bug" in errors


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no -P")
def test_safe_path(folder: Path) -> None:
    """The current folder is not looked in if the interpreter was told not to."""
    command = [sys.executable, "-P", "-m", "prom_remote_api", "serve", "my_storage:nothing"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "prom_remote_api: there is no module my_storage\n")


@pytest.mark.parametrize("arguments", [[], ["bench"], ["serve"], ["serve", "m", "--typo"], ["serve", "m", "--limit", "x"]])
def test_wrong_arguments(folder: Path, arguments: list[str]) -> None:
    process = start(folder, *arguments)
    errors = process.communicate()[1]
    assert process.returncode == 2
    assert "usage: python -m prom_remote_api" in errors


def test_help_names_every_option(folder: Path) -> None:
    process = start(folder, "serve", "--help")
    text = process.communicate()[0]
    assert "MODULE[:OBJECT]" in text
    assert max(len(line) for line in text.splitlines()) <= int(os.environ.get("COLUMNS", 80))
    given = vars(_parser().parse_args(["serve", "m"]))
    offered = set(given) - {"verb", "storage", "listen"}
    assert offered == (HandlerOptions.__annotations__.keys() | ServerOptions.__annotations__.keys()) - {"on_error"}
    assert _options(given) == {"listen": "127.0.0.1:9201"}


def test_options() -> None:
    arguments = "serve m --accept 2 --strict --external-label a=b --external-label c=d=e --grace 0.5 --ignored-matcher x"
    assert _options(vars(_parser().parse_args(arguments.split()))) == {
        "listen": "127.0.0.1:9201",
        "accepted_messages": [2],
        "strict": True,
        "external_labels": {"a": "b", "c": "d=e"},
        "grace": 0.5,
        "ignored_matchers": ["x"],
    }
