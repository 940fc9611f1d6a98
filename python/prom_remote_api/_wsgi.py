# SPDX-License-Identifier: Apache-2.0
"""A storage as a WSGI application (PEP 3333)."""

from __future__ import annotations

import http
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from . import pra
from ._adapter import Adapter, OnError
from ._handler import HandlerOptions, make_handler
from ._storage import StorageLike

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

_PIECE_BYTES = 64 * 1024
_UNKNOWN_LENGTH = 0xFFFFFFFFFFFFFFFF


class _Body:
    """The answer's pieces; gives the exchange back when the host is done with it."""

    def __init__(self, exchange: pra.Exchange, give_back: Callable[[pra.Exchange], None]) -> None:
        self._exchange: pra.Exchange | None = exchange
        self._give_back = give_back

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self._exchange.body() if self._exchange else None
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange:
            self._give_back(exchange)


class _App:
    def __init__(self, handler: pra.Handler, adapter: Adapter) -> None:
        self._handler = handler
        self._adapter = adapter
        self._idle: deque[pra.Exchange] = deque(maxlen=16)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            exchange = self._idle.pop()
        except IndexError:
            exchange = pra.Exchange(self._handler)
        # An exception from here on drops the exchange, with whatever state it is in.
        self._receive(exchange, environ)
        if exchange.step() != pra.STEP_RESPOND:
            self._ask_storage(exchange)
        status = exchange.status()
        start_response(f"{status} {_reason(status)}", _response_headers(exchange))
        return _Body(exchange, self._idle.append)

    def _receive(self, exchange: pra.Exchange, environ: WSGIEnvironment) -> None:
        """Reads the request, as far as it is wanted."""
        done = exchange.begin(
            environ["REQUEST_METHOD"],
            _target(environ),
            _request_headers(environ),
            environ.get("REMOTE_ADDR", ""),
            environ.get("REMOTE_USER") or "",
            pra.ENDPOINT_AUTO,
        )
        for piece in _pieces(environ):
            if done == pra.DONE:
                return
            done = exchange.feed(piece)
        if done != pra.DONE:
            exchange.end_body()

    def _ask_storage(self, exchange: pra.Exchange) -> None:
        scope, ctx, request, sinks = exchange.open()
        try:
            outcome = self._adapter.answer(ctx, request, sinks)
        finally:
            scope.close()
        exchange.finish(*outcome)


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


def _response_headers(exchange: pra.Exchange) -> list[tuple[str, str]]:
    headers = [
        (exchange.header_name(i), exchange.header_value(i)) for i in range(exchange.header_count())
    ]
    length = exchange.body_length()
    if length != _UNKNOWN_LENGTH and exchange.status() != http.HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(length)))
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
    adapter = Adapter(storage, on_error)
    return _App(make_handler(adapter, **options), adapter)
