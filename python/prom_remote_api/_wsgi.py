# SPDX-License-Identifier: Apache-2.0
"""A storage as a WSGI application (PEP 3333)."""

from __future__ import annotations

import http
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote_from_bytes

from . import pra
from ._adapter import Adapter, OnError, interrupts
from ._handler import Exchanges, HandlerOptions, make_handler, response_headers, run
from ._storage import StorageLike

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

_PIECE_BYTES = 64 * 1024
_T = TypeVar("_T")


class _Body:
    """The answer's pieces; gives the exchange back when the host is done with it.

    A failure in the middle is raised to the host, which breaks the connection off.
    """

    def __init__(self, exchange: pra.Exchange, exchanges: Exchanges, is_head: bool) -> None:
        self._exchange: pra.Exchange | None = exchange
        self._exchanges = exchanges
        self._is_head = is_head
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = None if self._is_head else self._exchange
        piece = _driven(exchange.body) if exchange else None
        if piece is None:
            self._over = not self._is_head
            raise StopIteration
        return piece

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange:
            if not self._over:
                _driven(exchange.reset)
            self._exchanges.give(exchange)


def _driven(call: Callable[[], _T]) -> _T:
    """A call during which the library asks the storage. What the storage raises and is no
    Exception, as KeyboardInterrupt, goes on to the host.
    """
    collected: list[BaseException] = []
    token = interrupts.set(collected)
    try:
        result = call()
    finally:
        interrupts.reset(token)
        if collected:
            raise collected[0]
    return result


class _App:
    def __init__(self, handler: pra.Handler) -> None:
        self._exchanges = Exchanges(handler)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange = self._exchanges.take()
        # An exception from here on drops the exchange, with whatever state it is in.
        _receive(exchange, environ)
        if exchange.step() != pra.STEP_RESPOND:
            _driven(lambda: run(exchange))
        status = exchange.status()
        start_response(f"{status} {_reason(status)}", response_headers(exchange))
        return _Body(exchange, self._exchanges, environ["REQUEST_METHOD"] == "HEAD")


def _receive(exchange: pra.Exchange, environ: WSGIEnvironment) -> None:
    """Reads the request, as far as it is wanted."""
    done = exchange.begin(
        environ["REQUEST_METHOD"],
        _target(environ),
        _request_headers(environ),
        environ.get("REMOTE_ADDR", ""),
        environ.get("REMOTE_USER") or "",
        pra.ENDPOINT_AUTO,
    )
    pieces = _pieces(environ)
    while done != pra.DONE:  # or else nothing is read: the client may wait for the verdict
        piece = next(pieces, None)
        if piece is None:
            exchange.end_body()
            return
        done = exchange.feed(piece)


def _pieces(environ: Mapping[str, Any]) -> Iterator[bytes]:
    """The body, no further than CONTENT_LENGTH: a socket would block there."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH") or ""
    left = int(length) if length.isascii() and length.isdigit() else 0
    unbounded = not length and environ.get("wsgi.input_terminated", False)
    while unbounded or left > 0:
        piece: bytes = stream.read(_PIECE_BYTES if unbounded else min(left, _PIECE_BYTES))
        if not piece:
            return
        left -= len(piece)
        yield piece


def _target(environ: Mapping[str, Any]) -> str:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    target = quote_from_bytes(path.encode("latin-1"))
    query = environ.get("QUERY_STRING", "")
    return f"{target}?{query}" if query else target


def _request_headers(environ: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    headers = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        else:
            continue
        headers.append((name.replace("_", "-").encode("latin-1"), value.encode("latin-1")))
    return headers


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def make_wsgi_app(
    storage: StorageLike, *, on_error: OnError | None = None, **options: Unpack[HandlerOptions]
) -> WSGIApplication:
    """A WSGI application that answers paths ending in write, receive or read.

    on_error is as for Server, options are those of HandlerOptions. Any number of threads may call
    it.
    """
    return _App(make_handler(Adapter(storage, on_error), **options))
