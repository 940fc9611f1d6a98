# SPDX-License-Identifier: Apache-2.0
"""Where the coroutines of a storage run, and how threads wait for them."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import threading
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextvars import ContextVar
from types import GeneratorType
from typing import Any

_ROOM = 32
"""Items that an asynchronous generator may be ahead of the thread that takes them, twice."""

_LOOK_SECONDS = 1.0
"""How often a thread that waits makes sure that the loop it waits for still runs."""

_STOP_SECONDS = 10.0
"""How long coroutines have to end when the interpreter exits."""


class Work:
    """A coroutine that runs on a loop as one task, while a thread waits for its end."""

    def __init__(self, bridge: Bridge, awaitable: Awaitable[Any], ended: Callable[[], None]) -> None:
        self._bridge = bridge
        self._awaitable = awaitable
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self.ending = False
        """Whether it is on its way to the end: its clean-up is not to be cancelled."""
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False

    def start(self) -> None:
        try:
            self._bridge.loop.call_soon_threadsafe(self._start)
        except RuntimeError:  # the loop is closed
            _drop(self._awaitable)
            raise

    def cancel(self) -> None:
        """From any thread; the end comes later."""
        try:
            self._bridge.loop.call_soon_threadsafe(self.cancel_here)
        except RuntimeError:
            pass

    def cancel_here(self) -> None:
        """On the loop."""
        if self._task and not self.ending:
            self.ending = True
            self._task.cancel()

    def _start(self) -> None:
        self._task = self._bridge.loop.create_task(self._run())
        self._task.add_done_callback(self._finish)
        self._bridge.began(self)

    async def _run(self) -> None:
        """Ends well whatever happens: what a storage raises is not the loop's."""
        self._begun = True
        try:
            self.value = await self._awaitable
        except BaseException as error:
            self.error = error

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not self._begun:
            _drop(self._awaitable)
            self.error = asyncio.CancelledError()
        self._bridge.ended(self)
        self.done = True
        self._ended()



def _drop(awaitable: Awaitable[Any]) -> None:
    """A coroutine that will not be awaited."""
    close = getattr(awaitable, "close", None)
    if close:
        close()


class Pipe(Iterator[Any]):
    """An asynchronous iterable for a thread: one task iterates it, a bounded number of items ahead.

    close() ends the task and closes the generator, on its loop, before it returns.
    """

    def __init__(self, bridge: Bridge, source: AsyncIterable[Any]) -> None:
        self._bridge = bridge
        self._source = source
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._taken: deque[Any] = deque()
        self._space: asyncio.Future[None] | None = None
        self._work: Work | None = None
        self._closed = False

    def __next__(self) -> Any:
        if not self._taken:
            self._take()
        return self._taken.popleft()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            space, self._space = self._space, None
        self._taken.clear()
        work = self._work
        if work and not work.done:
            if space:
                self._bridge.loop.call_soon_threadsafe(_open, space)
            else:
                work.cancel()
            if not self._bridge.is_here():
                self._bridge.wait(self._changed, lambda: work.done)

    def _take(self) -> None:
        if self._closed:
            raise StopIteration
        self._bridge.check_elsewhere()
        if not self._work:
            self._work = Work(self._bridge, self._pump(), self._notify)
            self._work.start()
        work = self._work
        with self._changed:
            self._bridge.wait(self._changed, lambda: bool(self._items) or work.done)
            self._taken, self._items = self._items, self._taken
            space, self._space = self._space, None
        if space:
            self._bridge.loop.call_soon_threadsafe(_open, space)
        if not self._taken:
            self._closed = True
            if work.error:
                raise work.error
            raise StopIteration

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _pump(self) -> None:
        iterator = aiter(self._source)
        try:
            async for item in iterator:
                space = self._put(item)
                if space and not self._closed:
                    await space
                if self._closed:
                    break
        finally:
            if self._work:
                self._work.ending = True
            aclose = getattr(iterator, "aclose", None)
            if aclose:
                await aclose()

    def _put(self, item: Any) -> asyncio.Future[None] | None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()
            if len(self._items) >= _ROOM:
                self._space = self._bridge.loop.create_future()
            return self._space


def _open(space: asyncio.Future[None]) -> None:
    if not space.done():
        space.set_result(None)


class Bridge:
    """A loop, as seen from the threads that wait for what runs there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._works: set[Work] = set()  # touched on the loop only
        self._cancelled = False

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Awaits it on the loop; returns or raises what came of it, in this thread."""
        try:
            self.check_elsewhere()
        except RuntimeError:
            _drop(awaitable)
            raise
        changed = threading.Condition()

        def ended() -> None:
            with changed:
                changed.notify_all()

        work = Work(self, awaitable, ended)
        work.start()
        try:
            self.wait(changed, lambda: work.done)
        except BaseException:  # Ctrl-C
            work.cancel()
            raise
        if work.error:
            try:
                raise work.error
            finally:
                del work  # no cycle of frame and traceback
        return work.value

    def cancel(self) -> None:
        """On the loop: ends what runs, and whatever is started later."""
        self._cancelled = True
        for work in list(self._works):
            work.cancel_here()

    def began(self, work: Work) -> None:
        self._works.add(work)
        if self._cancelled:
            work.cancel_here()

    def ended(self, work: Work) -> None:
        self._works.discard(work)

    def is_here(self) -> bool:
        """Whether this thread runs the loop, and so must not wait for it."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def check_elsewhere(self) -> None:
        """Before a thread waits for the loop."""
        if self.is_here():
            raise RuntimeError("a thread cannot wait for its own event loop")

    def wait(self, changed: threading.Condition, reached: Callable[[], bool]) -> None:
        with changed:
            while not changed.wait_for(reached, _LOOK_SECONDS):
                if not self.loop.is_running():
                    raise RuntimeError("the event loop of the storage has ended")


class OwnLoop(Bridge):
    """A loop in a thread of the package, for hosts that have none."""

    def __init__(self) -> None:
        started = threading.Event()
        self._end = asyncio.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="prom_remote_api", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._error:
            raise self._error

    def _run(self, started: threading.Event) -> None:
        live = self._live(started)
        try:
            asyncio.run(live)
        except OSError as error:  # too many open files, say: the next call tries again
            self._error = error
        finally:
            live.close()
            started.set()

    async def _live(self, started: threading.Event) -> None:
        super().__init__(asyncio.get_running_loop())
        started.set()
        await self._end.wait()

    def stop(self) -> None:
        """Cancels what runs, and ends the thread."""
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_STOP_SECONDS)


host_bridge: ContextVar[Bridge | None] = ContextVar("prom_remote_api_bridge", default=None)
"""The loop of the host, while it has a thread of its own call the storage."""

_own: OwnLoop | None = None
_own_lock = threading.Lock()
_abandoned: list[OwnLoop] = []


def bridge() -> Bridge:
    """Where a coroutine of the storage that is being called is to run."""
    return host_bridge.get() or _own_loop()


def _own_loop() -> OwnLoop:
    global _own
    with _own_lock:
        if _own is None:
            _own = OwnLoop()
        return _own


def resolve(value: Any) -> Any:
    """What a method returned, or what its coroutine returns in the end."""
    return bridge().run(value) if value is not None and inspect.isawaitable(value) else value


def iterable(result: Any) -> Any:
    """What a method gave, as something for a thread to iterate (or an Arrow stream, as it is). To
    be closed with close().
    """
    result = resolve(result)
    return Pipe(bridge(), result) if hasattr(result, "__aiter__") else result


def close(source: Any) -> None:
    """Ends a generator; others that were iterated end by themselves."""
    if isinstance(source, (GeneratorType, Pipe)):
        source.close()


def _stop_own() -> None:
    if _own:
        _own.stop()


def _forget_own() -> None:
    """In a forked child, which has the memory of the loop but not its thread. The loop is kept:
    to close it would take from the parent's what they share in the kernel.
    """
    global _own, _own_lock
    if _own:
        _abandoned.append(_own)
    _own, _own_lock = None, threading.Lock()


atexit.register(_stop_own)  # before the servers register, so that it runs after them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_own)
