# SPDX-License-Identifier: Apache-2.0
"""A storage behind the HTTP server of the C library."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import weakref
from collections.abc import Iterator, Mapping
from types import TracebackType

from . import pra
from ._adapter import Adapter, OnError, logger
from ._storage import StorageLike

_LEVELS = {
    pra.LOG_DEBUG: logging.DEBUG,
    pra.LOG_INFO: logging.INFO,
    pra.LOG_WARN: logging.WARNING,
    pra.LOG_ERROR: logging.ERROR,
}


def _log(level: int, fields: str) -> None:
    logger.log(_LEVELS.get(level, logging.INFO), "%s", fields)


def make_limits(limits: Mapping[str, int] | None) -> pra.Limits | None:
    """The fields of pra_limits by name: {"max_body_bytes": 1 << 20}."""
    if not limits:
        return None
    result = pra.Limits()
    for name, value in limits.items():
        if name == "thisown" or not isinstance(getattr(pra.Limits, name, None), property):
            raise ValueError(f"no such limit: {name}")
        setattr(result, name, value)
    return result


class Server:
    """Serves a storage from threads of its own: start() … stop(), or `with Server(…) as server`.

    listen: "HOST:PORT"; with port 0 any free one, see the attribute port.
    workers: requests that are in the storage at one time.
    on_error: called with the method's name and every exception that is neither Reject nor Retry;
    by default these go to the logger "prom_remote_api".
    """

    def __init__(
        self,
        storage: StorageLike,
        listen: str = "127.0.0.1:9201",
        *,
        workers: int = 8,
        max_connections: int = 4096,
        tenant_header: str = "X-Scope-OrgID",
        limits: Mapping[str, int] | None = None,
        on_error: OnError | None = None,
        grace: float = 10.0,
    ) -> None:
        self._grace_ms = int(grace * 1000)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        handler = pra.Handler(
            make_limits(limits), tenant_header, False, Adapter(storage, on_error)
        )
        self._server: pra.Server | None = pra.Server(
            handler, listen, workers, max_connections, type(storage).__name__, _log
        )
        self.host = listen.rpartition(":")[0]
        self.port = self._server.port()
        _live.add(self)

    @property
    def url(self) -> str:
        return f"http://{self.host or 'localhost'}:{self.port}"

    def start(self) -> None:
        """Begins to answer, and returns."""
        if self._server is None:
            raise RuntimeError("the server was stopped")
        self._server.start()

    def stop(self) -> None:
        """Finishes what is in flight (up to grace seconds) and closes. More than once is fine.

        Not to be called by the storage itself: it would wait for its own request.
        """
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                server.stop(self._grace_ms)
        self._stopped.set()

    def _forget(self) -> None:
        """In a forked child, which has the memory of the server but none of its threads."""
        if self._server is not None:
            self._server.thisown = False
            self._server = None

    def wait(self) -> None:
        """Returns on SIGTERM or Ctrl-C (in the main thread), or when another thread stops it."""
        done = self._stopped
        with _signals_set(done):
            done.wait()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@contextlib.contextmanager
def _signals_set(done: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: done.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


def serve(
    storage: StorageLike,
    listen: str = "127.0.0.1:9201",
    *,
    workers: int = 8,
    max_connections: int = 4096,
    tenant_header: str = "X-Scope-OrgID",
    limits: Mapping[str, int] | None = None,
    on_error: OnError | None = None,
    grace: float = 10.0,
) -> None:
    """Serves a storage until SIGTERM or Ctrl-C; arguments as for Server.

    Logs to stderr unless logging is set up already.
    """
    if not logger.hasHandlers():
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    server = Server(
        storage,
        listen,
        workers=workers,
        max_connections=max_connections,
        tenant_header=tenant_header,
        limits=limits,
        on_error=on_error,
        grace=grace,
    )
    try:
        with _signals_set(server._stopped):  # before anyone knows that it runs
            server.start()
            logger.info("%s answers /api/v1/write and /api/v1/read", server.url)
            server._stopped.wait()
    finally:
        server.stop()


_live: weakref.WeakSet[Server] = weakref.WeakSet()


def _stop_all() -> None:
    """The C threads must not meet an interpreter that is going away."""
    for server in list(_live):
        server.stop()


def _forget_all() -> None:
    for server in list(_live):
        server._forget()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
