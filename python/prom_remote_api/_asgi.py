# SPDX-License-Identifier: Apache-2.0
"""A storage as an ASGI application (specification 3.0, HTTP and lifespan), for asyncio hosts."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote

from . import pra
from ._adapter import Adapter, OnError
from ._errors import Error
from ._handler import Exchanges, HandlerOptions, make_handler, response_headers, run
from ._loop import Bridge, host_bridge
from ._storage import StorageLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApplication: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
"""What servers and frameworks take."""

_Loop: TypeAlias = asyncio.AbstractEventLoop
_T = TypeVar("_T")

_INLINE_BYTES = 16 * 1024
"""A body up to this size is decoded on the event loop: within some 0.3 ms, of which the way into a
thread and back takes a tenth. The decoder lets other threads run, so larger ones decode beside it.
"""


class _App:
    def __init__(self, adapter: Adapter, handler: pra.Handler, threads: int) -> None:
        self._adapter = adapter
        self._exchanges = Exchanges(handler)
        self._pool = _Pool(threads)
        self._writes: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})  # becomes a 403
        else:
            raise ValueError(f"no such kind of ASGI connection: {kind}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = _running_loop()
        exchange = self._exchanges.take()
        # An exception from here on drops the exchange, with whatever state it is in.
        size = await _receive(exchange, scope, receive)
        if size is not None:
            if exchange.step() != pra.STEP_RESPOND:
                await self._decode(loop, exchange, size)
            if exchange.step() == pra.STEP_WRITE:
                await self._write(loop, exchange)
            if exchange.step() == pra.STEP_READ:
                await _Read(loop, exchange, self._pool).answer(receive, send)
            else:
                await _Answer(exchange, send).send(_in_memory, scope["method"] == "HEAD")
        self._exchanges.give(exchange)

    async def _decode(self, loop: _Loop, exchange: pra.Exchange, size: int) -> None:
        """Ends the body. A storage whose write is no `async def` writes in the same thread."""
        if not self._adapter.awaits_write:
            await _Calls(loop, self._pool).run(lambda: _decode_and_write(exchange))
        elif size > _INLINE_BYTES:
            await _Calls(loop, self._pool).run(exchange.end_body)
        else:
            exchange.end_body()

    async def _write(self, loop: _Loop, exchange: pra.Exchange) -> None:
        """A write goes on to its end, even if the host gives up on the request meanwhile."""
        task = loop.create_task(self._write_to_the_end(exchange))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        await asyncio.shield(task)

    async def _write_to_the_end(self, exchange: pra.Exchange) -> None:
        scope, ctx, request, _ = exchange.open()
        assert not isinstance(request, tuple)  # the queries of a read
        try:
            outcome = await self._adapter.awaited_write(ctx, request)
        finally:
            scope.close()
        exchange.finish(*outcome)


def _running_loop() -> _Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("an application of make_asgi_app needs a host that runs asyncio") from None


def _decode_and_write(exchange: pra.Exchange) -> None:
    exchange.end_body()
    if exchange.step() == pra.STEP_WRITE:
        run(exchange)


async def _lifespan(receive: Receive, send: Send) -> None:
    """There is nothing to begin and nothing to end: the storage belongs to who made it."""
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return


class _Pool:
    """Threads, started when they are needed, and anew in a forked child."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._process = 0

    def executor(self) -> ThreadPoolExecutor:
        if self._executor is None or self._process != os.getpid():
            self._executor = ThreadPoolExecutor(self._threads, "prom_remote_api")
            self._process = os.getpid()
        return self._executor


class _Calls:
    """What threads of the pool do for one request, one call after the other, with the context
    variables of the request; `async def` methods of the storage run on the request's loop.
    """

    def __init__(self, loop: _Loop, pool: _Pool) -> None:
        self._loop = loop
        self._executor = pool.executor()
        self._lock = threading.Lock()
        self._context = contextvars.copy_context()
        self.bridge = Bridge(loop)
        self._context.run(host_bridge.set, self.bridge)

    def run(self, call: Callable[[], _T]) -> Awaitable[_T]:
        return self._loop.run_in_executor(self._executor, self._run, call)

    def _run(self, call: Callable[[], _T]) -> _T:
        with self._lock:  # the call before it may go on after the task was cancelled
            return self._context.run(call)


class _Answer:
    """The answer on its way to the client."""

    def __init__(self, exchange: pra.Exchange, send: Send) -> None:
        self._exchange = exchange
        self._send = send
        self.taken = False
        """Whether all pieces have come out of the exchange."""

    async def send(
        self, next_piece: Callable[[pra.Exchange], Awaitable[bytes | None]], is_head: bool = False
    ) -> None:
        """Each piece is waited for until the client takes it. What fails after the start goes up to
        the host, which breaks the connection off: the body must not look whole.
        """
        exchange = self._exchange
        left = 0 if is_head else exchange.body_length()
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response_headers(exchange)
        ]
        start = {"type": "http.response.start", "status": exchange.status(), "headers": headers}
        await self._send(start)
        while left and (piece := await next_piece(exchange)) is not None:
            left -= len(piece)
            self.taken = not left
            await self._send({"type": "http.response.body", "body": piece, "more_body": left > 0})
            if not left:
                return
        self.taken = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _in_memory(exchange: pra.Exchange) -> bytes | None:
    return exchange.body()


class _Read:
    """A read: threads of the pool ask the storage, the loop sends and listens for the client."""

    def __init__(self, loop: _Loop, exchange: pra.Exchange, pool: _Pool) -> None:
        self._loop = loop
        self._exchange = exchange
        self._calls = _Calls(loop, pool)
        self._gone = False

    async def answer(self, receive: Receive, send: Send) -> None:
        answer = _Answer(self._exchange, send)
        watch = self._loop.create_task(self._watch(receive, answer))
        try:
            await self._calls.run(lambda: run(self._exchange))
            if not self._gone:
                await answer.send(self._next_piece)
        except OSError:  # how servers say that the client is gone
            pass
        except Error:
            if not self._gone:
                raise
        finally:
            watch.cancel()
            if not answer.taken:
                await self._give_up()

    async def _next_piece(self, exchange: pra.Exchange) -> bytes | None:
        return await self._calls.run(exchange.body)

    async def _watch(self, receive: Receive, answer: _Answer) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answer.taken:
            self._gone = True
            self._cancel()

    def _cancel(self) -> None:
        self._exchange.cancel()
        self._calls.bridge.cancel()

    async def _give_up(self) -> None:
        """Generators are closed when this returns."""
        self._cancel()
        await asyncio.shield(self._calls.run(self._exchange.reset))


async def _receive(exchange: pra.Exchange, scope: Scope, receive: Receive) -> int | None:
    """Reads the request, as far as it is wanted. Returns the size of the body; None: the client is
    gone.
    """
    size = 0
    done = exchange.begin(
        scope["method"],
        _target(scope),
        [(name, value) for name, value in scope["headers"]],
        (scope.get("client") or ("",))[0],
        _user(scope.get("user")),
        pra.ENDPOINT_AUTO,
    )
    while done != pra.DONE:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        done = exchange.feed(piece)
        if not message.get("more_body", False):
            break
    return size


def _target(scope: Scope) -> str | bytes:
    """Path and query string as the client sent them, as far as the host knows."""
    path: bytes = scope.get("raw_path") or quote(_full_path(scope)).encode()
    query: bytes = scope.get("query_string", b"")
    return path.partition(b"?")[0] + (b"?" + query if query else b"")


def _full_path(scope: Scope) -> str:
    """Hosts do not agree whether path has root_path in it."""
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    return path if path.startswith(root) else root + path


def _user(user: Any) -> str:
    """The name of an authenticated user: a string, or an object as Starlette has it."""
    if isinstance(user, str):
        return user
    return str(user.display_name) if getattr(user, "is_authenticated", False) else ""


def make_asgi_app(
    storage: StorageLike,
    *,
    threads: int = 8,
    on_error: OnError | None = None,
    **options: Unpack[HandlerOptions],
) -> ASGIApplication:
    """An ASGI application that answers paths ending in write, receive or read, also when it is
    mounted below another path; for hosts that run asyncio (uvicorn, hypercorn, granian).

    Methods with `async def` run on the host's event loop, those with `def` in up to `threads`
    threads, which also drive reads. A streamed answer is produced as the client takes it; when the
    client goes away, its generators are closed. A write is never cancelled.

    on_error is as for Server, options are those of HandlerOptions. The user of the context is
    scope["user"]: a string, or an object with is_authenticated and display_name.
    """
    adapter = Adapter(storage, on_error)
    if threads < 1:
        raise ValueError("threads must be 1 or more")
    return _App(adapter, make_handler(adapter, **options), threads)
