# SPDX-License-Identifier: Apache-2.0
"""Between the C callbacks and a storage: calls its methods and says what became of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias

from . import pra
from ._cursor import Cursor
from ._errors import SinkError
from ._loop import close, iterable, resolve
from ._outcome import CANCELLED, DONE, INTERRUPTED, Outcome
from ._pra import Context, Query, Sink, WriteRequest
from ._storage import Reject, Retry, StorageLike, methods_of, name_of

logger = logging.getLogger("prom_remote_api")

OnError: TypeAlias = Callable[[str, Exception], object]
"""Called with the name of the storage's method and what it raised, by the thread it happened in."""

_FLAGS = (
    ("histograms", pra.STORAGE_HISTOGRAMS),
    ("exemplars", pra.STORAGE_EXEMPLARS),
    ("ordered", pra.STORAGE_ORDERED),
)

interrupts: ContextVar[list[BaseException] | None] = ContextVar(
    "prom_remote_api_interrupts", default=None
)
"""Where a host collects what is no Exception (KeyboardInterrupt) to raise it behind the C code."""


def log_error(method: str, error: Exception) -> None:
    logger.error("%s of the storage failed", method, exc_info=error)


class Adapter:
    """A storage as the C code calls it. None of the methods raises an Exception: what the storage
    raises becomes an Outcome, and goes to on_error if it is neither Reject nor Retry.
    """

    def __init__(self, storage: StorageLike, on_error: OnError | None = None) -> None:
        self._methods = methods = methods_of(storage)
        self.name = name_of(storage)
        self.flags = sum(flag for name, flag in _FLAGS if getattr(storage, name, False))
        piecewise = "select" in methods or self.flags & pra.STORAGE_ORDERED
        self.entries = (*methods, "cursor") if piecewise else tuple(methods)
        self._write: Any = methods.get("write")
        self._process_query: Any = methods.get("process_query")
        self._read: Any = methods.get("read")
        self._on_error = on_error or log_error
        self.awaits_write = _is_async(self._write)

    def write(self, ctx: Context, request: WriteRequest) -> Outcome:
        try:
            resolve(self._write(ctx, request))
        except BaseException as error:
            return self.failed("write", error)
        return DONE

    async def awaited_write(self, ctx: Context, request: WriteRequest) -> Outcome:
        """The same for an `async def`, on the loop it is called on."""
        try:
            await self._write(ctx, request)
        except (Exception, asyncio.CancelledError) as error:  # the host cancels no write
            return self.failed("write", error)
        return DONE

    def process_query(self, ctx: Context, query: Query, sink: Sink) -> Outcome:
        try:
            _fill(sink, self._process_query(ctx, query))
        except BaseException as error:
            return self.failed("process_query", error)
        return DONE

    def read(self, ctx: Context, queries: Sequence[Query], sinks: Sequence[Sink]) -> Outcome:
        try:
            results = iterable(self._read(ctx, queries))
            try:
                for sink, result in zip(sinks, results, strict=True):
                    _fill(sink, result)
            finally:
                close(results)
        except BaseException as error:
            return self.failed("read", error)
        return DONE

    def cursor(self, ctx: Context, query: Query) -> Cursor:
        """For a query that is answered piece by piece."""
        return Cursor(self._methods, self.failed, ctx, query)

    def failed(self, method: str, error: BaseException) -> Outcome:
        if isinstance(error, Reject):
            return (pra.ERR_REJECT, error.status, _one_line(error), 0)
        if isinstance(error, Retry):
            return (pra.ERR_RETRY, error.status, _one_line(error), error.after)
        if isinstance(error, SinkError):
            return (error.code, 0, str(error), 0)
        if isinstance(error, asyncio.CancelledError):
            return CANCELLED
        if not isinstance(error, Exception):
            return _interrupted(error)
        try:
            self._on_error(method, error)
        except Exception:
            logger.exception("the on_error hook failed")
        return (pra.ERR_USER, 0, f"{method} of the storage raised {type(error).__name__}", 0)


def _is_async(method: Any) -> bool:
    """Whether a call gives a coroutine for certain."""
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(
        getattr(method, "__call__", None)
    )


def _fill(sink: Sink, result: Any) -> None:
    rows = iterable(result)
    try:
        sink.extend(rows)
    finally:
        close(rows)


def _interrupted(error: BaseException) -> Outcome:
    collected = interrupts.get()
    if collected is None:
        raise error
    collected.append(error)
    return INTERRUPTED


def _one_line(error: Exception) -> str:
    """The message, without what UTF-8 cannot hold."""
    return str(error).encode("utf-8", "backslashreplace").decode()
