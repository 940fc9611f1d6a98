# SPDX-License-Identifier: Apache-2.0
"""A storage behind the HTTP server of the C library."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import signal
import threading
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from . import pra
from ._adapter import Adapter, OnError, logger
from ._handler import HandlerOptions, make_handler
from ._storage import StorageLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

_LEVELS = {
    pra.LOG_DEBUG: logging.DEBUG,
    pra.LOG_INFO: logging.INFO,
    pra.LOG_WARN: logging.WARNING,
    pra.LOG_ERROR: logging.ERROR,
}


_LOOK_SECONDS = 1.0
"""How often the main thread looks for signals that the kernel gave to another thread."""


def _log(level: int, fields: str) -> None:
    logger.log(_LEVELS.get(level, logging.INFO), "%s", fields)


class _End:
    """An event that a signal handler may set: one of threading has a lock, which the handler would
    wait for without end if it came while the same thread has it.
    """

    def __init__(self) -> None:
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._tokens.put(None)

    def wait(self) -> None:
        """Handlers run in the main thread, but the kernel may give the signal to another one, and
        then nothing wakes this: so it looks up now and then.
        """
        while True:
            with contextlib.suppress(queue.Empty):
                self._tokens.get(timeout=_LOOK_SECONDS)
                break
        self.set()  # for others that wait


class ServerOptions(HandlerOptions, total=False):
    """What Server and serve take by name, beside what HandlerOptions says."""

    workers: int
    """Requests that are in the storage at one time, each in a thread of its own; 8."""
    max_connections: int
    """Connections at one time, 4096; for one more the longest idle one is closed."""
    on_error: OnError | None
    """Called with the method's name and every exception that is neither Reject nor Retry; by
    default these go to the logger "prom_remote_api"."""
    grace: float
    """Seconds that requests in flight have when the server stops; 10."""
    web_config_file: str | os.PathLike[str] | None
    """TLS and passwords, in the format of Prometheus' --web.config.file."""
    bearer_token_file: str | os.PathLike[str] | None
    """Tokens, a line each, of which every request must have one."""
    max_concurrent_reads: int
    """Reads at one time, 10; a further one waits up to 30 seconds, and then gets 503."""


class Server:
    """Serves a storage from threads of its own: start() … stop(), or `with Server(…) as server`.

    listen: "HOST:PORT"; with port 0 any free one, see the attribute port. The other arguments are
    explained in ServerOptions and HandlerOptions. Raises Error if the address is not to be had or a
    file cannot be used, TypeError for what is no storage, ValueError for an option.

    The storage is not closed: it belongs to who made it. After a fork one of the processes may
    start the server.
    """

    host: str
    """As listen has it."""
    port: int
    """Where it listens, also if listen said 0."""

    def __init__(
        self,
        storage: StorageLike,
        listen: str = "127.0.0.1:9201",
        *,
        workers: int = 8,
        max_connections: int = 4096,
        on_error: OnError | None = None,
        grace: float = 10.0,
        web_config_file: str | os.PathLike[str] | None = None,
        bearer_token_file: str | os.PathLike[str] | None = None,
        max_concurrent_reads: int = 10,
        **options: Unpack[HandlerOptions],
    ) -> None:
        self._grace_ms = int(grace * 1000)
        self._started = False
        self._stopped = _End()
        self._lock = threading.Lock()
        adapter = Adapter(storage, on_error)
        handler = make_handler(adapter, **options)
        self._server: pra.Server | None = pra.Server(
            handler,
            listen,
            workers,
            max_connections,
            adapter.name,
            _path(web_config_file),
            _path(bearer_token_file),
            max_concurrent_reads,
            _log,
        )
        self.host = listen.rpartition(":")[0]
        self.port = self._server.port()
        self._scheme = "https" if self._server.is_tls() else "http"
        _live.add(self)

    @property
    def url(self) -> str:
        """Scheme, host and port: "http://127.0.0.1:9201"."""
        return f"{self._scheme}://{self.host or 'localhost'}:{self.port}"

    def start(self) -> None:
        """Begins to answer, and returns."""
        if self._server is None:
            raise RuntimeError("the server was stopped")
        self._started = True
        self._server.start()

    def stop(self) -> None:
        """Finishes what is in flight (up to grace seconds) and closes. More than once is fine.

        A method of the storage that does not return is waited for. Not to be called by the storage
        itself: it would wait for its own request.
        """
        with self._lock:
            server, self._server = self._server, None
            if server is not None:
                server.stop(self._grace_ms)
        self._stopped.set()

    def _forget(self) -> None:
        """In a forked child, which has the memory of the server but none of its threads."""
        if self._started and self._server is not None:
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


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


@contextlib.contextmanager
def _signals_set(done: _End) -> Iterator[None]:
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
    storage: StorageLike, listen: str = "127.0.0.1:9201", **options: Unpack[ServerOptions]
) -> None:
    """Serves a storage until SIGTERM or Ctrl-C; arguments as for Server (see ServerOptions).

    Logs to stderr unless logging is set up already.
    """
    log_to_stderr()
    run(Server(storage, listen, **options))


def log_to_stderr() -> None:
    if not logger.hasHandlers():
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def run(server: Server) -> None:
    """From its start to SIGTERM or Ctrl-C."""
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
