"""make_asgi_app by the letter of ASGI 3.0, without a server; and what only a real client sees."""

from __future__ import annotations

import array
import asyncio
import contextlib
import contextvars
import http.client
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import AsgiHost
from prom_remote_api._pra import decode_read_response

UP = {"__name__": "up", "job": "api"}
QUERY = wire.query(0, 1 << 40, [])
WRITE = wire.compress(wire.write_request([(UP, [(1, 1.0), (2, 2.0)])]))
READ = wire.compress(wire.read_request([QUERY]))
HEADERS = [(b"content-type", b"application/x-protobuf"), (b"content-encoding", b"snappy")]


class Memory(pra.Storage):
    def __init__(self) -> None:
        self.series: dict[Any, dict[int, float]] = {}
        self.seen: list[Any] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.seen.append((ctx.path, ctx.query_string, ctx.remote_addr, ctx.user))
        for ts in request:
            self.series.setdefault(tuple(ts.labels.items()), {}).update(ts.samples)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        for labels, samples in list(self.series.items()):
            yield dict(labels), list(samples.items())


class AsyncMemory(Memory):
    async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().write(ctx, request)

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:  # type: ignore[override]
        for series in super().process_query(ctx, query):
            await asyncio.sleep(0)
            yield series


@pytest.fixture(params=[Memory, AsyncMemory])
def storage(request: pytest.FixtureRequest) -> Any:
    return request.param()


class Client:
    """One connection: gives the application what it receives, and keeps what it sends."""

    def __init__(self, *pieces: bytes, leaves: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        self.asked = 0
        self.changed = asyncio.Condition()
        self.left = asyncio.Event()
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": leaves or i + 1 < len(pieces)}
            for i, piece in enumerate(pieces)
        ]
        if leaves:
            self.left.set()

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self._messages:
            return self._messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))
        async with self.changed:
            self.changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with self.changed:
            await self.changed.wait_for(reached)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        assert [message["more_body"] for message in self.sent[1:]] == [True] * (len(self.sent) - 2) + [False]
        return b"".join(message["body"] for message in self.sent[1:])


def scope(path: str = "/api/v1/write", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": HEADERS,
        "client": ("192.0.2.7", 1234),
        "server": ("127.0.0.1", 80),
        **more,
    }


async def call(app: Any, the_scope: dict[str, Any], *pieces: bytes, **more: Any) -> Client:
    client = Client(*pieces, **more)
    await app(the_scope, client.receive, client.send)
    return client


async def until(reached: Callable[[], bool]) -> None:
    while not reached():
        await asyncio.sleep(0.001)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def ends() -> None:
        await main()

    asyncio.run(ends())


# ---- requests and answers


def test_write_and_read(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage)
        written = await call(app, scope(), WRITE)
        assert (written.status, written.body) == (204, b"")
        assert b"content-length" not in written.headers
        read = await call(app, scope("/api/v1/read"), READ)
        assert read.status == 200
        assert read.headers[b"content-encoding"] == b"snappy"
        assert int(read.headers[b"content-length"]) == len(read.body)
        assert wire.read_response(wire.uncompress(read.body)) == [[(UP, [(1, 1.0), (2, 2.0)])]]

    run(main)


def test_body_in_pieces(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage)
        pieces = [WRITE[i : i + 7] for i in range(0, len(WRITE), 7)]
        assert (await call(app, scope(), *pieces)).status == 204
        assert (await call(app, scope(), *pieces, b"")).status == 204
        assert storage.series == {tuple(UP.items()): {1: 1.0, 2: 2.0}}

    run(main)


@pytest.mark.parametrize(
    "path, method, body, status",
    [
        ("/api/v1/write", "GET", b"", 405),
        ("/elsewhere", "POST", b"", 404),
        ("/api/v1/write", "POST", b"not snappy at all", 400),
        ("/api/v1/read", "POST", wire.compress(b"\xff\xff"), 400),
    ],
)
def test_refusals(storage: Any, path: str, method: str, body: bytes, status: int) -> None:
    async def main() -> None:
        client = await call(pra.make_asgi_app(storage), scope(path, method=method), body)
        assert client.status == status
        assert client.body
        assert int(client.headers[b"content-length"]) == len(client.body)

    run(main)


def test_head_has_no_body(storage: Any) -> None:
    async def main() -> None:
        client = await call(pra.make_asgi_app(storage), scope(method="HEAD"), b"")
        assert (client.status, client.body) == (405, b"")

    run(main)


def test_body_over_the_limit_is_not_read(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage, limits={"max_body_bytes": 1000})
        client = await call(app, scope(), *[bytes(600)] * 100)
        assert (client.status, client.asked) == (413, 2)
        announced = [*HEADERS, (b"content-length", b"60000")]
        client = await call(app, scope(headers=announced), *[bytes(600)] * 100)
        assert (client.status, client.asked) == (413, 0)

    run(main)


def test_client_that_leaves_while_it_sends(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage)
        for _ in range(3):
            assert (await call(app, scope(), WRITE[:10], leaves=True)).sent == []
        assert storage.series == {}
        assert (await call(app, scope(), WRITE)).status == 204

    run(main)


@pytest.mark.parametrize(
    "more, path",
    [
        ({}, "/api/v1/write"),
        ({"raw_path": b"/a%20b/write", "path": "/a b/write"}, "/a%20b/write"),
        ({"raw_path": b"/a%20b/write?x=1", "path": "/a b/write"}, "/a%20b/write"),
        ({"raw_path": None, "path": "/a b/write"}, "/a%20b/write"),
        ({"raw_path": None, "path": "/prom/write", "root_path": "/prom"}, "/prom/write"),
        ({"raw_path": None, "path": "/write", "root_path": "/prom"}, "/prom/write"),
    ],
)
def test_path(storage: Any, more: dict[str, Any], path: str) -> None:
    async def main() -> None:
        the_scope = scope(**{"query_string": b"a=b&c=%20d", **more})
        assert (await call(pra.make_asgi_app(storage), the_scope, WRITE)).status == 204
        assert storage.seen[0][:2] == (path, "a=b&c=%20d")

    run(main)


NOBODY = SimpleNamespace(is_authenticated=False, display_name="")
ALICE = SimpleNamespace(is_authenticated=True, display_name="alice")


@pytest.mark.parametrize(
    "more, address, user",
    [
        ({}, "192.0.2.7", ""),
        ({"client": None}, "", ""),
        ({"client": ["2001:db8::1", 5], "user": NOBODY}, "2001:db8::1", ""),
        ({"user": ALICE}, "192.0.2.7", "alice"),
        ({"user": "bob"}, "192.0.2.7", "bob"),
        ({"user": object()}, "192.0.2.7", ""),
    ],
)
def test_who_it_is(storage: Any, more: dict[str, Any], address: str, user: str) -> None:
    async def main() -> None:
        assert (await call(pra.make_asgi_app(storage), scope(**more), WRITE)).status == 204
        assert storage.seen[0][2:] == (address, user)

    run(main)


def test_lifespan(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage)
        for _ in range(2):  # some hosts start an application again
            phases = iter(["lifespan.startup", "lifespan.shutdown"])
            client = Client()

            async def receive() -> Any:
                return {"type": next(phases)}

            await app({"type": "lifespan"}, receive, client.send)
            assert [m["type"] for m in client.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
            assert (await call(app, scope(), WRITE)).status == 204

    run(main)


def test_no_websocket(storage: Any) -> None:
    async def main() -> None:
        app = pra.make_asgi_app(storage)
        client = await call(app, {"type": "websocket", "path": "/api/v1/read"})
        assert [message["type"] for message in client.sent] == ["websocket.close"]
        with pytest.raises(ValueError, match="telepathy"):
            await call(app, {"type": "telepathy"})

    run(main)


# ---- loop, threads, context variables

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("CALLER")


class Looks:
    """Says where its methods run."""

    def __init__(self) -> None:
        self.places: list[tuple[str, object, int]] = []

    def _note(self, method: str) -> None:
        try:
            loop: object = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self.places.append((f"{method} for {CALLER.get()}", loop, threading.get_ident()))


class LooksSync(Looks):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self._note("write")

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        self._note("process_query")
        yield UP, [(1, 1.0)]
        self._note("process_query")


class LooksAsync(Looks):
    async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        await asyncio.sleep(0)
        self._note("write")

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        self._note("process_query")
        yield UP, [(1, 1.0)]
        self._note("process_query")


class LooksUnsaid(Looks):
    """Nobody can tell beforehand that these are asynchronous."""

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> Any:
        return LooksAsync.write(self, ctx, request)  # type: ignore[arg-type]

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        return LooksAsync.process_query(self, ctx, query)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [LooksSync, LooksAsync, LooksUnsaid])
def test_where_methods_run(kind: type[Any]) -> None:
    storage = kind()

    async def main() -> None:
        app = pra.make_asgi_app(storage)
        CALLER.set("alice")
        assert (await call(app, scope(), WRITE)).status == 204
        CALLER.set("bob")
        assert (await call(app, scope("/read"), READ)).status == 200
        for _, loop, thread in storage.places:
            here = kind is not LooksSync
            assert loop is (asyncio.get_running_loop() if here else None)
            assert (thread == threading.get_ident()) == here

    run(main)
    assert [place for place, *_ in storage.places] == ["write for alice"] + ["process_query for bob"] * 2


def test_large_body(storage: Any) -> None:
    """Decoded in a thread."""
    samples = [(i, float(i)) for i in range(100_000)]
    body = wire.compress(wire.write_request([(UP, samples)]))
    assert len(body) > 300_000

    async def main() -> None:
        app = pra.make_asgi_app(storage)
        pieces = [body[i : i + 65536] for i in range(0, len(body), 65536)]
        assert (await call(app, scope(), *pieces)).status == 204
        assert storage.series == {tuple(UP.items()): dict(samples)}
        assert (await call(app, scope(), body[:-1])).status == 400

    run(main)


def test_many_at_a_time() -> None:
    """100 requests that are all in the storage at the same moment."""
    inside = 0
    entered: asyncio.Event

    class Meets:
        async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            nonlocal inside
            inside += 1
            if inside == 100:
                entered.set()
            await entered.wait()
            assert request[0].labels == {"__name__": ctx.path[1:-6]}

    async def main() -> None:
        nonlocal entered
        entered = asyncio.Event()
        app = pra.make_asgi_app(Meets())
        bodies = [wire.compress(wire.write_request([({"__name__": f"m{i}"}, [(i, 1.0)])])) for i in range(100)]
        calls = (call(app, scope(f"/m{i}/write"), body) for i, body in enumerate(bodies))
        assert [client.status for client in await asyncio.gather(*calls)] == [204] * 100

    run(main)


def test_a_hundred_clients(storage: Any) -> None:
    answers: list[Any] = []
    with AsgiHost(storage) as host:

        def client(number: int) -> None:
            labels = {"__name__": "up", "client": str(number)}
            wrote = host.write_series((labels, [(number, 1.0)])).status
            (result,) = host.read(QUERY).results
            answers.append((wrote, (labels, [(number, 1.0)]) in result))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [(204, True)] * 100


def test_threads() -> None:
    """No more calls at a time than threads."""
    at_a_time = threading.Semaphore(3)
    excess: list[bool] = []

    class Counts(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            excess.append(not at_a_time.acquire(blocking=False))
            threading.Event().wait(0.01)
            at_a_time.release()

    async def main() -> None:
        app = pra.make_asgi_app(Counts(), threads=3)
        await asyncio.gather(*(call(app, scope(), WRITE) for _ in range(20)))

    run(main)
    assert excess == [False] * 20
    with pytest.raises(ValueError, match="threads"):
        pra.make_asgi_app(Counts(), threads=0)


def test_one_application_on_several_loops(storage: Any) -> None:
    app = pra.make_asgi_app(storage)
    for _ in range(3):

        async def main() -> None:
            assert (await call(app, scope(), WRITE)).status == 204
            assert (await call(app, scope("/read"), READ)).status == 200

        run(main)


# ---- who gives up


def test_cancelled_write_goes_on() -> None:
    """A host that gives up on the request: the storage is not interrupted."""
    stored: list[Any] = []

    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
            entered.set()
            await leave.wait()
            stored.append(request[0].samples)

        app = pra.make_asgi_app(write)
        task = asyncio.create_task(call(app, scope(), WRITE))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        client = asyncio.create_task(call(app, scope(), WRITE))  # by another exchange
        leave.set()
        assert (await client).status == 204
        await until(lambda: len(stored) == 2)

    run(main)
    assert stored == [[(1, 1.0), (2, 2.0)]] * 2


def test_write_that_cancels_itself() -> None:
    """What a storage waits for was cancelled: the request was not."""

    async def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        waits = asyncio.create_task(asyncio.sleep(3600))
        waits.cancel()
        await waits

    async def main() -> None:
        assert (await call(pra.make_asgi_app(write), scope(), WRITE)).status == 503

    run(main)


def test_cancelled_write_in_a_thread_goes_on() -> None:
    entered, leave = threading.Event(), threading.Event()
    stored: list[Any] = []

    def write(ctx: pra.Context, request: pra.WriteRequest) -> None:
        entered.set()
        leave.wait()
        stored.append(request[0].samples)

    async def main() -> None:
        task = asyncio.create_task(call(pra.make_asgi_app(write), scope(), WRITE))
        await until(entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        leave.set()
        await until(lambda: bool(stored))

    run(main)
    assert stored == [[(1, 1.0), (2, 2.0)]]


class Waits:
    """An asynchronous storage that does not answer."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.entered = asyncio.Event()
        self.ended: list[Any] = []

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> AsyncIterator[Any]:
        try:
            if self.place == "later":
                yield UP, [(1, 1.0)]
            self.entered.set()
            await asyncio.Event().wait()
            yield UP, [(1, 1.0)]
        finally:
            await asyncio.sleep(0)
            self.ended.append((query.end_ms, ctx.path, asyncio.get_running_loop()))


class WaitsForList(Waits):
    async def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:  # type: ignore[override]
        async for _ in super().process_query(ctx, query):
            pass


@pytest.mark.parametrize("how", ["disconnect", "cancel"])
@pytest.mark.parametrize("kind, place", [(Waits, "first"), (Waits, "later"), (WaitsForList, "")])
def test_reader_that_goes_away(kind: type[Waits], place: str, how: str) -> None:
    """The generator is closed, once, on its loop, with the query still there."""

    async def main() -> None:
        storage, client = kind(place), Client(READ)
        app = pra.make_asgi_app(storage)
        task = asyncio.create_task(_start(app, client))
        await storage.entered.wait()
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            client.left.set()
            await task
        assert client.sent == []
        assert storage.ended == [(1 << 40, "/read", asyncio.get_running_loop())]
        assert (await call(app, scope("/read"), b"no")).status == 400

    run(main)


async def _start(app: Any, client: Client) -> None:
    await app(scope("/read"), client.receive, client.send)


def test_no_event_loop_of_asyncio(storage: Any) -> None:
    """Another framework's loop: an error that says so, not a crash."""
    client = Client.__new__(Client)
    coroutine = pra.make_asgi_app(storage)(scope(), client.receive, client.send)
    with pytest.raises(RuntimeError, match="asyncio"):
        coroutine.send(None)


# ---- answers that are made while the client takes them

SERIES = 2_000
TIMES = array.array("q", range(200))
VALUES = array.array("d", [math.sin(i) for i in range(200)])  # much to say, however compressed
EXPECTED = [({"n": f"{i:05}"}, list(zip(TIMES, VALUES))) for i in range(SERIES)]
STREAMED = wire.compress(wire.read_request([QUERY], streamed=True))


class Rows:
    """Counts what was asked for, and how often it was closed."""

    def __init__(self, fails_at: int = -1, count: int = SERIES) -> None:
        self.count = count
        self.asked = self.closed = 0
        self.fails_at = fails_at

    def labels(self) -> Iterator[dict[str, str]]:
        for number in range(self.count):
            self.asked = number
            if number == self.fails_at:
                raise KeyError("secret detail")
            yield {"n": f"{number:05}"}


class Ordered(Rows):
    ordered = True

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        try:
            for labels in self.labels():
                yield labels, TIMES, VALUES
        finally:
            assert (query.end_ms, ctx.path) == (1 << 40, "/read")
            self.closed += 1


class OrderedAsync(Rows):
    ordered = True

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        try:
            for labels in self.labels():
                await asyncio.sleep(0)
                yield labels, TIMES, VALUES
        finally:
            await asyncio.sleep(0)
            assert (query.end_ms, ctx.path) == (1 << 40, "/read")
            assert (asyncio.get_running_loop(), asyncio.current_task()) == (loop, task)
            self.closed += 1


class Fetched(Rows):
    def select(self, ctx: pra.Context, query: pra.Query) -> Any:
        return (({"n": f"{number:05}"}, number) for number in reversed(range(self.count)))

    def fetch(self, ctx: pra.Context, query: pra.Query, key: Any) -> Any:
        self.asked = key
        if key == self.fails_at:
            raise KeyError("secret detail")
        try:
            yield from zip(TIMES, VALUES)
        finally:
            assert (query.end_ms, ctx.path) == (1 << 40, "/read")
            self.closed += 1


class FetchedAsync(Fetched):
    async def select(self, ctx: pra.Context, query: pra.Query) -> Any:
        for number in reversed(range(self.count)):
            yield {"n": f"{number:05}"}, number

    async def fetch(self, ctx: pra.Context, query: pra.Query, key: Any) -> Any:
        self.asked = key
        if key == self.fails_at:
            raise KeyError("secret detail")
        try:
            yield TIMES, VALUES
            await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            assert (query.end_ms, ctx.path) == (1 << 40, "/read")
            self.closed += 1


KINDS = pytest.mark.parametrize("kind", [Ordered, OrderedAsync, Fetched, FetchedAsync])


def series_of(body: bytes) -> list[Any]:
    (rows,) = decode_read_response(
        body, content_type="application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    )
    return [(row.labels, list(zip(row.timestamps, row.values))) for row in rows]


@KINDS
def test_streamed_answer(kind: type[Any]) -> None:
    async def main() -> None:
        storage = kind()
        app = pra.make_asgi_app(storage)
        client = await call(app, scope("/read"), STREAMED)
        assert client.status == 200
        assert b"content-length" not in client.headers
        assert len(client.sent) > 20
        assert series_of(client.body) == EXPECTED
        assert storage.closed == (SERIES if isinstance(storage, Fetched) else 1)
        assert (await call(app, scope("/read"), READ)).status == 200

    run(main)


class Stalls(Client):
    """Takes some messages, and then nothing."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self.goes_on = asyncio.Event()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if len(self.sent) >= 5:
            await self.goes_on.wait()


@KINDS
@pytest.mark.parametrize("how", ["goes on", "disconnect", "cancel"])
def test_reader_that_takes_nothing(kind: type[Any], how: str) -> None:
    """The storage rests. Then the reader takes the rest, or goes away."""

    async def main() -> None:
        storage, client = kind(), Stalls(STREAMED)
        task = asyncio.create_task(_start(pra.make_asgi_app(storage), client))
        await client.until(lambda: len(client.sent) == 5)
        await asyncio.sleep(0.1)  # it would get far
        assert storage.asked < SERIES / 4
        closed = storage.closed
        assert isinstance(storage, Fetched) or closed == 0
        if how == "disconnect":
            client.left.set()
            await asyncio.sleep(0.01)
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        client.goes_on.set()
        if how != "cancel":
            await task
        if how == "goes on":
            assert series_of(client.body) == EXPECTED
        else:
            assert client.sent[-1].get("more_body") is True
            assert storage.asked < SERIES / 2
            assert 0 <= storage.closed - closed <= 1 and storage.closed > 0

    run(main)


@KINDS
@pytest.mark.parametrize("error", [OSError, ConnectionResetError])
def test_send_that_fails(kind: type[Any], error: type[Exception]) -> None:
    """So some hosts say that the client is gone: nothing of it is an error."""

    class Breaks(Client):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.sent) == 5:
                raise error

    async def main() -> None:
        storage, client = kind(), Breaks(STREAMED)
        app = pra.make_asgi_app(storage)
        await _start(app, client)
        assert storage.closed > 0 and storage.asked < SERIES / 2
        assert (await call(app, scope("/read"), READ)).status == 200

    run(main)


@KINDS
def test_failure_in_the_middle(kind: type[Any]) -> None:
    """The host hears of it after the answer has begun; the hook gets the exception itself."""

    async def main() -> None:
        errors: list[Any] = []
        storage, client = kind(fails_at=1_500), Client(STREAMED)
        app = pra.make_asgi_app(storage, on_error=lambda *args: errors.append(args))
        with pytest.raises(pra.Error):
            await _start(app, client)
        assert client.status == 200
        assert client.sent[-1]["more_body"] is True
        ((_, error),) = errors
        assert isinstance(error, KeyError) and error.__traceback__
        storage.fails_at = 0
        first = await call(app, scope("/read"), STREAMED)
        assert first.status == 500
        storage.fails_at = -1
        assert series_of((await call(app, scope("/read"), STREAMED)).body) == EXPECTED

    run(main)


# ---- what a real client of a real server sees


@contextlib.contextmanager
def reading(host: Any) -> Iterator[socket.socket]:
    """A client that has sent a read, and received the first bytes of the answer."""
    head = f"POST /read HTTP/1.1\r\nHost: x\r\nX-Test-App: {host.name}\r\nContent-Length: {len(STREAMED)}\r\n"
    types = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\r\n"
    with socket.create_connection(("127.0.0.1", host.port)) as connection:
        connection.sendall((head + types).encode() + STREAMED)
        assert connection.recv(20).startswith(b"HTTP/1.1 200 OK")
        yield connection


def wait_until(reached: Callable[[], bool]) -> None:
    while not reached():
        threading.Event().wait(0.001)


@KINDS
def test_failure_breaks_the_connection_off(kind: type[Any]) -> None:
    """The end of a chunked body must not look like its end."""
    with AsgiHost(kind(fails_at=1_500), on_error=lambda *_: None) as host:
        with pytest.raises(http.client.IncompleteRead):
            host.post("/read", {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}, STREAMED)


@KINDS
@pytest.mark.parametrize("stalls", [False, True])
def test_client_that_closes_the_connection(kind: type[Any], stalls: bool) -> None:
    storage = kind(count=20_000)  # more than the buffers of sockets hold
    with AsgiHost(storage) as host, reading(host):
        if stalls:
            time.sleep(0.3)  # until they are full; it is no fault if not
    wait_until(lambda: storage.closed > 0)
    assert storage.asked < 19_999
