"""Reads without HTTP and without the package's adapter: an exchange, and what C calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import prom_remote_api as pra
import wire
from prom_remote_api import pra as c
from prom_remote_api._errors import SinkError

HEADERS = [(b"Content-Type", b"application/x-protobuf"), (b"Content-Encoding", b"snappy")]
ALL = wire.query(0, 10_000, [])
STREAMED = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

Outcome = tuple[int, int, str, int]
FINE: Outcome = (c.OK, 0, "", 0)
MORE: Outcome = (c.DONE, 0, "", 0)


class Adapter:
    """Answers every query by a function; keeps what it raised."""

    entries: tuple[str, ...] = ("process_query",)
    flags = 0

    def __init__(self, answer: Callable[..., Any] | None = None) -> None:
        self.answer = answer
        self.errors: list[Exception] = []

    def outcome(self, call: Callable[[], Any]) -> Outcome:
        try:
            return MORE if call() else FINE
        except SinkError as error:
            self.errors.append(error)
            return (error.code, 0, str(error), 0)
        except Exception as error:
            self.errors.append(error)
            return (c.ERR_USER, 0, repr(error), 0)

    def process_query(self, ctx: pra.Context, query: pra.Query, sink: Any) -> Outcome:
        assert self.answer
        return self.outcome(lambda: self.answer(query, sink) and None)  # type: ignore[misc]


def begin(adapter: Any, *queries: bytes, streamed: bool = False, limits: Any = None) -> c.Exchange:
    """An exchange that is ready to be run."""
    from prom_remote_api._handler import _limits

    x = c.Exchange(c.Handler(_limits(limits), None, False, None, adapter))
    again(x, *queries, streamed=streamed)
    return x


def again(x: c.Exchange, *queries: bytes, streamed: bool = False) -> None:
    x.begin("POST", "/read", HEADERS, "", "", 0)
    x.feed(wire.compress(wire.read_request(queries or [ALL], streamed)))
    assert x.end_body() == c.OK


def run(x: c.Exchange) -> None:
    """Whatever comes of it."""
    try:
        x.run()
    except pra.Error:
        assert x.status() == 500


def pieces(x: c.Exchange) -> Iterator[bytes]:
    while (piece := x.body()) is not None:
        yield piece


def ask(adapter: Any, *queries: bytes, streamed: bool = False, limits: Any = None) -> list[list[pra.Series]]:
    """The results, decoded."""
    x = begin(adapter, *queries, streamed=streamed, limits=limits)
    run(x)
    assert x.status() == 200, x.error_message()
    return pra.decode_read_response(
        b"".join(pieces(x)), content_type=STREAMED if streamed else "application/x-protobuf"
    )


def plain(results: list[list[pra.Series]]) -> list[list[tuple[dict[str, str], list[wire.Sample]]]]:
    """As the tests compare them."""
    return [
        [(dict(one.labels), list(zip(one.timestamps, one.values))) for one in result] for result in results
    ]


class Makes:
    """What NumPy can make an array of, and no more: as a Series of pandas before 3.0."""

    def __init__(self, made: Any) -> None:
        self.made, self.dtype = made, made.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.made.astype(dtype or self.dtype)

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("an object for each number")
