"""Asynchronous storages behind hosts that have no event loop: the loop of the package."""

from __future__ import annotations

import asyncio
import errno
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Host, ServerHost, WsgiHost
from prom_remote_api import _loop
from test_server import run

UP = {"__name__": "up"}
QUERY = wire.query(0, 10, [])
HOSTS = pytest.mark.parametrize("kind", [ServerHost, WsgiHost])


class Places:
    def __init__(self) -> None:
        self.loops: set[Any] = set()
        self.threads: set[int] = set()

    def note(self) -> None:
        self.loops.add(asyncio.get_running_loop())
        self.threads.add(threading.get_ident())

    async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.note()
        await asyncio.sleep(0)
        self.note()

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        self.note()
        yield UP, [(1, 1.0)]
        await asyncio.sleep(0)
        self.note()


@HOSTS
def test_one_loop(kind: Callable[[Any], Host]) -> None:
    storage = Places()
    with kind(storage) as host:
        for _ in range(20):
            assert host.write_series((UP, [(1, 1.0)])).status == 204
            assert host.read(QUERY).results == [[(UP, [(1, 1.0)])]]
    assert len(storage.loops) == len(storage.threads) == 1
    assert threading.get_ident() not in storage.threads


@pytest.mark.filterwarnings("error")
def test_the_loop_does_not_wait_for_itself() -> None:
    """And what will not be awaited is closed."""
    storage = Places()
    asked: list[str] = []
    query: Any = None

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        coroutine = storage.write(ctx, request)
        pipe = _loop.iterable(storage.process_query(ctx, query))
        with pytest.raises(RuntimeError, match="cannot wait for its own event loop"):
            _loop.resolve(coroutine)
        with pytest.raises(RuntimeError, match="cannot wait for its own event loop"):
            next(pipe)
        asked.append(inspect.getcoroutinestate(coroutine))

    assert WsgiHost(write).write_series((UP, [(1, 1.0)])).status == 204
    assert asked == [inspect.CORO_CLOSED]


def test_requests_meet_on_the_loop() -> None:
    """Each waits in a thread of its own; none stops the others."""
    arrived: list[Any] = []
    statuses: list[int] = []

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        arrived.append(None)
        while len(arrived) < 8:
            await asyncio.sleep(0.001)

    with ServerHost(write, workers=8) as host:
        call = lambda: statuses.append(host.write_series((UP, [(1, 1.0)])).status)  # noqa: E731
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [204] * 8


@HOSTS
def test_a_system_exit_does_not_end_the_loop(kind: Callable[[Any], Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    exits = [True]

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        if exits.pop():
            raise SystemExit(3)

    with kind(write) as host:
        if kind is WsgiHost:
            with pytest.raises(SystemExit):
                host.write_series((UP, [(1, 1.0)]))
        else:
            assert host.write_series((UP, [(1, 1.0)])).status == 500
        exits.append(False)
        assert host.write_series((UP, [(1, 1.0)])).status == 204


@HOSTS
def test_endless_generator_is_closed(kind: Callable[..., Host]) -> None:
    """It says more than the limit allows, and is closed on its loop before the request is over."""
    closed: list[Any] = []

    async def process_query(ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        number = 0
        try:
            while True:
                yield {"n": str(number)}, [(1, 1.0)]
                number += 1
        finally:
            await asyncio.sleep(0)
            closed.append((query.end_ms, ctx.path, number))

    with kind(pra.FunctionStorage(process_query=process_query), limits={"max_read_samples": 10}) as host:
        assert host.read(QUERY).status == 400
        ((end_ms, path, number),) = closed
        assert (end_ms, path) == (10, "/api/v1/read")
        assert 10 <= number < 80


@HOSTS
def test_generator_that_does_not_want_to_end(kind: Callable[..., Host]) -> None:
    """It goes on after CancelledError, and is not asked for more."""
    given: list[int] = []

    async def process_query(ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        for number in range(1_000_000):
            try:
                if number == 20:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass
            given.append(number)
            yield {"n": str(number)}, [(1, 1.0)]

    with kind(pra.FunctionStorage(process_query=process_query), limits={"max_read_samples": 10}) as host:
        assert host.read(QUERY).status == 400
    assert given[-1] <= 20


def test_loop_that_cannot_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request that wanted it is told; the next one is served."""
    errors: list[Exception] = []

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass

    def fails() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(_loop, "_own", None)
    with WsgiHost(write, on_error=lambda _, error: errors.append(error)) as host:
        with monkeypatch.context() as patch:
            patch.setattr("asyncio.events.new_event_loop", fails)
            patch.setattr("asyncio.runners.events.new_event_loop", fails)
            assert host.write_series((UP, [(1, 1.0)])).status == 500
        assert [type(error) for error in errors] == [OSError]
        assert host.write_series((UP, [(1, 1.0)])).status == 204
        assert _loop._own
        _loop._own.stop()


PROGRAM = """
    import asyncio, http.client
    seen = []
    async def write(ctx, request):
        seen.append(asyncio.get_running_loop())
    def post(port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        types = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        connection.request("POST", "/write", b"\\0", types)
        status = connection.getresponse().status
        connection.close()
        return status
    server = pra.Server(write, "127.0.0.1:0")
    server.start()
    assert post(server.port) == 204
"""


def test_interpreter_ends_with_the_loop() -> None:
    """Whether all is idle or not; tasks are cancelled, not forgotten."""
    result = run(PROGRAM + """
    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            print("cancelled", flush=True)
    seen[0].call_soon_threadsafe(lambda: seen.append(seen[0].create_task(waits())))
    while len(seen) < 2:
        threading.Event().wait(0.01)
    """)
    assert (result.returncode, result.stdout) == (0, "ended\ncancelled\n"), result.stderr
    assert result.stderr == ""


def test_forked_child_has_a_loop_of_its_own() -> None:
    result = run(PROGRAM + """
    server.stop()
    pid = os.fork()
    with pra.Server(write, "127.0.0.1:0") as other:
        assert post(other.port) == 204
    assert (seen[0] is seen[1]) == (pid != 0)
    if pid == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr
