# SPDX-License-Identifier: Apache-2.0
"""Between the C callbacks and a storage: calls its methods and says what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from . import pra
from ._errors import SinkError
from ._pra import Context, Query, Sink, WriteRequest
from ._storage import Reject, Retry, Storage, StorageLike

logger = logging.getLogger("prom_remote_api")

OnError: TypeAlias = Callable[[str, Exception], object]
"""Called with the name of the storage's method and what it raised."""

Outcome: TypeAlias = tuple[int, int, str, int]
"""Code, HTTP status (0 = the code's own), message for the sender, seconds to wait (0 = none)."""

_KEEPS = (("histograms", pra.STORAGE_HISTOGRAMS), ("exemplars", pra.STORAGE_EXEMPLARS))

_DONE: Outcome = (pra.OK, 0, "", 0)
_NO_WRITES: Outcome = (pra.ERR_NOT_SUPPORTED, 0, "this storage takes no writes", 0)
_NO_READS: Outcome = (pra.ERR_NOT_SUPPORTED, 0, "this storage takes no reads", 0)


def log_error(method: str, error: Exception) -> None:
    logger.error("%s of the storage failed", method, exc_info=error)


def _entry(storage: StorageLike, name: str) -> Callable[..., Any] | None:
    """A method of the storage, unless it is missing or left as the base class has it."""
    method = getattr(storage, name, None)
    if not callable(method) or getattr(method, "__func__", None) is getattr(Storage, name):
        return None
    entry: Callable[..., Any] = method
    return entry


class Adapter:
    def __init__(self, storage: StorageLike, on_error: OnError | None = None) -> None:
        entries = {name: _entry(storage, name) for name in ("write", "process_query", "read")}
        self.entries = tuple(name for name, method in entries.items() if method)
        self.flags = sum(flag for name, flag in _KEEPS if getattr(storage, name, False))
        if not self.entries:
            raise TypeError(f"{type(storage).__name__} has no write, process_query or read")
        self._write: Any = entries["write"]
        self._process_query: Any = entries["process_query"]
        self._read: Any = entries["read"]
        self._on_error = on_error or log_error

    def write(self, ctx: Context, request: WriteRequest) -> Outcome:
        try:
            self._write(ctx, request)
        except Exception as error:
            return self._failed("write", error)
        return _DONE

    def process_query(self, ctx: Context, query: Query, sink: Sink) -> Outcome:
        try:
            sink.extend(self._process_query(ctx, query))
        except Exception as error:
            return self._failed("process_query", error)
        return _DONE

    def read(self, ctx: Context, queries: Sequence[Query], sinks: Sequence[Sink]) -> Outcome:
        try:
            for sink, series in zip(sinks, self._read(ctx, queries), strict=True):
                sink.extend(series)
        except Exception as error:
            return self._failed("read", error)
        return _DONE

    def answer(
        self, ctx: Context, request: WriteRequest | tuple[Query, ...], sinks: tuple[Sink, ...]
    ) -> Outcome:
        """The whole of a stepped exchange, as the C library does it for a driven one."""
        if not isinstance(request, tuple):
            return self.write(ctx, request) if self._write else _NO_WRITES
        if self._read:
            return self.read(ctx, request, sinks)
        if not self._process_query:
            return _NO_READS
        for query, sink in zip(request, sinks):
            outcome = self.process_query(ctx, query, sink)
            if outcome[0] != pra.OK:
                return outcome
        return _DONE

    def _failed(self, method: str, error: Exception) -> Outcome:
        if isinstance(error, Reject):
            return (pra.ERR_REJECT, error.status, _one_line(error), 0)
        if isinstance(error, Retry):
            return (pra.ERR_RETRY, error.status, _one_line(error), error.after)
        if isinstance(error, SinkError):
            return (error.code, 0, str(error), 0)
        try:
            self._on_error(method, error)
        except Exception:
            logger.exception("the on_error hook failed")
        return (pra.ERR_USER, 0, f"{method} of the storage raised {type(error).__name__}", 0)


def _one_line(error: Exception) -> str:
    """The message, without what UTF-8 cannot hold."""
    return str(error).encode("utf-8", "backslashreplace").decode()
