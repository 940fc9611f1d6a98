"""What a storage may do to its host: call it again, raise anything anywhere, fork, leave threads behind."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import prom_remote_api as pra
import wire
from hosts import HOSTS, WsgiHost
from test_server import run

UP = {"__name__": "up"}
QUERY = wire.query(0, 10, [])

# ---- itself


class Nested(pra.Storage):
    """Sends what it gets to itself."""

    def __init__(self) -> None:
        self.host = WsgiHost(self)
        self.depths: list[int] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        (depth,) = request.timestamps
        view, array_of_it = request.values, np.asarray(request.values)
        if depth < 20:  # more than there are idle exchanges
            assert self.host.write_series((UP, [(depth + 1, depth + 1.5)])).status == 204
            assert self.host.read(QUERY).results == [[(UP, [(1, 1.0)])]]
        assert view[0] == array_of_it[0] == depth + 0.5 and request[0].labels == UP
        self.depths.append(depth)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        inner = wire.query(0, 10, [("x", "=", "y")])
        assert query.matchers or self.host.read_streamed(inner).status == 200
        yield UP, [(1, 1.0)]


def test_a_storage_that_calls_itself() -> None:
    storage = Nested()
    assert storage.host.write_series((UP, [(0, 0.5)])).status == 204
    assert storage.depths == list(range(20, -1, -1))


# ---- exceptions


class Strange(BaseException):
    pass


def fail_with_cause() -> None:
    try:
        int(UP["missing"])
    except KeyError as error:
        raise ValueError("outer") from error


class Fails(pra.Storage):
    def __init__(self) -> None:
        self.seen: list[Exception] = []
        self.ended: list[str] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for _ in request:
            fail_with_cause()

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        try:
            yield UP, self.samples()
        finally:
            self.ended.append("series")
            raise RuntimeError("in the end")

    def samples(self) -> Iterator[wire.Sample]:
        try:
            yield 1, 1.0
            fail_with_cause()
        finally:
            self.ended.append("samples")


def test_type_cause_and_traceback(open_host: Any) -> None:
    storage = Fails()
    host = open_host(storage, on_error=lambda method, error: storage.seen.append(error))
    assert host.write_series((UP, [(1, 1.0)])).status == 500
    (error,) = storage.seen
    assert type(error) is ValueError and isinstance(error.__cause__, KeyError)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-2:] == ["write", "fail_with_cause"]


@pytest.mark.parametrize("kind", ["asgi", "server", "wsgi"])
def test_a_generator_that_fails_in_its_end(kind: str) -> None:
    """The one in the end is what is told, and has the one before as its context."""
    storage = Fails()
    with HOSTS[kind](storage, on_error=lambda method, error: storage.seen.append(error)) as host:
        assert host.read(QUERY).status == 500
    assert storage.ended == ["samples", "series"]
    (error,) = storage.seen
    names: set[str] = set()
    chain: BaseException | None = error
    while chain:
        names.add(type(chain).__name__)
        chain = chain.__cause__ or chain.__context__
    assert str(error) == "in the end" and {"RuntimeError", "ValueError", "KeyError"} <= names


class Interrupts:
    """Raises what is no Exception wherever C asks it for something."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __getattr__(self, name: str) -> Any:
        if name == self.where:
            raise Strange(name)
        raise AttributeError(name)

    def __iter__(self) -> Iterator[Any]:
        return iter([1])


@pytest.mark.parametrize("where", ["dtype", "__arrow_c_array__", "__arrow_c_stream__"])
def test_interrupts_are_not_passed_over(where: str) -> None:
    class Interrupted(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
            return [(UP, Interrupts(where), [1.0])]

    with pytest.raises(Strange, match=where):
        WsgiHost(Interrupted()).read(QUERY)


# ---- other processes, other interpreters


def test_fork_of_an_application() -> None:
    """Before it was used, after it, and in the middle of a request; parent and child both go on."""
    result = run("""
        import io
        body = b"\\0"
        forks = []
        class Forks(pra.Storage):
            async def process_query(self, ctx, query):
                yield {"a": "b"}, [(1, 1.0)]
            def write(self, ctx, request):
                if not forks:
                    forks.append(os.fork())
                assert request.series_count == 0 and request.copy().labels == []
        app = pra.make_wsgi_app(Forks())
        def send(path="/write"):
            seen = []
            environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_TYPE": "application/x-protobuf",
                       "CONTENT_LENGTH": str(len(body)), "HTTP_CONTENT_ENCODING": "snappy", "wsgi.input": io.BytesIO(body)}
            pieces = app(environ, lambda *args: seen.append(args[0]))
            list(pieces)
            pieces.close()
            return seen[0][:3]
        def both(child):
            assert send() == "204" and send("/read") == "200", send("/read")
            if child == 0:
                sys.stdout.flush()
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        forks.append(0)
        both(os.fork())
        both(os.fork())
        forks.clear()
        send()
        both(forks[0])
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


# ---- threads


def test_threads_that_use_everything_while_calls_end() -> None:
    """Views, slices, arrays, tables and copies of requests that others are done with."""
    newest: list[Any] = [None]
    stop = threading.Event()
    wrong: list[BaseException] = []
    counts = {"used": 0, "over": 0}

    class Shares(pra.Storage):
        histograms = exemplars = True

        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            newest[0] = (request, request.values, ctx, request[0], request.samples)

    def use() -> None:
        while not stop.is_set():
            if newest[0] is None:
                continue
            request, view, ctx, ts, table = newest[0]
            try:
                counts["used"] += 1
                kept = [request.timestamps[:], np.asarray(request.values), pa.table(request.samples), request.copy()]
                held = (view.tolist(), ts.labels, ts.samples, ts.timestamps, ctx.headers, request.labels, pa.table(table))
                first = kept[0][0]
                assert kept[1][0] == first / 2 == kept[2]["value"][0].as_py() == kept[3].values[0] and held
                assert pra.WriteRequest.decode(kept[3].encode()).timestamps[0] == first
            except (pra.ExpiredError, ValueError):
                counts["over"] += 1
            except BaseException as error:
                wrong.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    host = WsgiHost(Shares())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    try:
        number = 0
        while number < 300 or not (counts["over"] and counts["used"] > counts["over"]):
            number += 1
            assert host.write_series(*[(UP, [(number * 2, number + 0.0)])] * (number % 20 + 1)).status == 204
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not wrong, wrong[0]
