"""Types: mypy --strict over the package and this suite; stubs say what is there."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import prom_remote_api as pra

ROOT = Path(__file__).resolve().parents[2]

USE = '''
from collections.abc import AsyncIterator, Iterator
import prom_remote_api as pra

class Fine(pra.Storage):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for ts in request:
            labels: dict[str, str] = ts.labels
            for timestamp_ms, value in ts.samples:
                print(labels, timestamp_ms + 1, value * 2.0, ctx.tenant)
            for histogram in ts.histograms:
                print(sum(bucket.count for bucket in histogram.buckets()), histogram.encode().hex())
            for exemplar in ts.exemplars:
                print(exemplar.labels["trace_id"], exemplar.timestamp + 1)
            ts.reject("too old", "sample", 2)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[pra.SeriesLike]:
        yield {"a": "b"}, [(1, 1.0)]
        yield pra.Series({"a": "b"}, [1], [1.0])
        mixed: list[pra.SampleLike] = [(1, 1.0), pra.Histogram(timestamp=2, count=1, sum=0.5)]
        yield {"a": "b"}, mixed
        yield {"a": "b"}, [1], [1.0], [pra.Histogram.decode(b"")]

class Awaited(pra.Storage):
    async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None: ...

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> AsyncIterator[pra.SeriesLike]:
        yield {"a": "b"}, [(1, 1.0)]

class Cursors(pra.Storage):
    async def process_query(self, ctx: pra.Context, query: pra.Query) -> list[pra.SeriesLike]:
        return [({"a": "b"}, [(1, 1.0)])]

    def select(self, ctx: pra.Context, query: pra.Query) -> list[tuple[dict[str, str], int]]:
        return [({"a": "b"}, 17)]

    async def fetch(self, ctx: pra.Context, query: pra.Query, key: int) -> tuple[list[int], list[float]]:
        return [1, 2], [1.0, 2.0]

class Duck:
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None: ...

async def write(ctx: pra.Context, request: pra.WriteRequest) -> None: ...

pra.serve(Fine())
pra.make_wsgi_app(Duck(), external_labels={"region": "eu"}, strict=True)
pra.make_asgi_app(Awaited(), threads=4)
pra.make_asgi_app(Cursors())
pra.make_asgi_app(write, on_error=print)
pra.Server(pra.FunctionStorage(write, Fine().process_query, ordered=True))
'''
MISUSE = '''
import prom_remote_api as pra

pra.serve(17)
'''

MISNAMED = '''
import prom_remote_api as pra

pra.serve(pra.Storage(), max_old_age=3)
'''


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[int, str]]:
    """All runs share a cache: what the package imports is checked once."""
    return partial(run_mypy, f"--cache-dir={tmp_path_factory.mktemp('mypy')}")


def run_mypy(*arguments: str | Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "python", env={"PATH": ""})
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("what", ["package", "suite"])
def test_types(mypy: Callable[..., tuple[int, str]], what: str) -> None:
    suite = [*sorted(Path(__file__).parent.glob("*.py")), *sorted((ROOT / "tests/wheel").glob("*.py"))]
    suite.append(ROOT / "bindings/wheel.py")
    code, output = mypy("-p", "prom_remote_api") if what == "package" else mypy(*suite)
    assert code == 0, output


@pytest.mark.parametrize("text, fine", [(USE, True), (MISUSE, False), (MISNAMED, False)])
def test_use(mypy: Callable[..., tuple[int, str]], tmp_path: Path, text: str, fine: bool) -> None:
    program = tmp_path / "program.py"
    program.write_text(text)
    code, output = mypy(program)
    assert (code == 0) == fine, output


def test_stubs_say_what_is_there(tmp_path: Path) -> None:
    """Every name of the package and of the C module, with its arguments; stubtest.txt says what not."""
    allowed = Path(__file__).with_name("stubtest.txt")
    command = [sys.executable, "-m", "mypy.stubtest", "prom_remote_api", "--concise", "--ignore-unused-allowlist"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONMALLOC"}  # it is slow
    if "PYTHONPATH" in environment:  # the build tree, which mypy does not look at; else it is installed
        environment["MYPYPATH"] = environment["PYTHONPATH"]
    result = subprocess.run(
        [*command, "--allowlist", str(allowed)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_everything_public_has_a_docstring() -> None:
    for name in pra.__all__:
        thing = getattr(pra, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name


def test_version() -> None:
    project = (ROOT / "CMakeLists.txt").read_text()
    assert f"VERSION {pra.__version__} " in project
