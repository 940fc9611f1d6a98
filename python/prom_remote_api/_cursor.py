# SPDX-License-Identifier: Apache-2.0
"""An answer that is made while the reader takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ._loop import close, iterable
from ._outcome import DONE, MORE, Outcome
from ._pra import Context, Feed, Query, SeriesList, Sink
from ._storage import Methods

Failed: TypeAlias = Callable[[str, BaseException], Outcome]


class Cursor:
    """How far the answer to one query is: along process_query, or along select and fetch.

    The C code calls one method at a time, each from any thread, and close() once, at the end. As
    those of the adapter they raise no Exception.
    """

    def __init__(self, methods: Methods, failed: Failed, ctx: Context, query: Query) -> None:
        self._methods = methods
        self._failed = failed
        self._ctx = ctx
        self._query = query
        self._source: Any = None  # what process_query, or fetch of one series, gave
        self._rows: Any = None
        self._keys: list[Any] = []
        self._number = -1
        self._feed: Feed | None = None

    def next(self, sink: Sink) -> Outcome:
        """Adds series until the sink has enough."""
        try:
            if self._source is None:
                self._source = iterable(self._methods["process_query"](self._ctx, self._query))
                self._rows = _iterator(self._source)
            return MORE if sink.extend(self._rows) else DONE
        except BaseException as error:
            return self._failed("process_query", error)

    def select(self, found: SeriesList) -> Outcome:
        """Adds all series; their keys are kept."""
        try:
            pairs = iterable(self._methods["select"](self._ctx, self._query))
            try:
                found.extend(pairs, self._keys)
            finally:
                close(pairs)
        except BaseException as error:
            return self._failed("select", error)
        return DONE

    def fetch(self, number: int, from_ms: int, sink: Sink) -> Outcome:
        """Adds data of one series until the sink has enough; goes on where it stopped."""
        try:
            if self._feed is None or number != self._number:
                self._turn_to(number)
            assert self._feed
            if self._feed.push(sink):
                return MORE
            self._close_source()
        except BaseException as error:
            return self._failed("fetch", error)
        return DONE

    def close(self) -> None:
        try:
            self._close_source()
        except BaseException as error:
            self._failed("fetch" if self._keys else "process_query", error)

    def _turn_to(self, number: int) -> None:
        self._close_source()
        data = self._methods["fetch"](self._ctx, self._query, self._keys[number])
        self._source = iterable(data)
        self._feed = Feed(self._source)
        self._number = number

    def _close_source(self) -> None:
        source, self._source = self._source, None
        self._rows = self._feed = None
        close(source)


def _iterator(source: Any) -> Any:
    """To be taken up where it is; an Arrow stream is taken in one go."""
    return source if hasattr(source, "__arrow_c_stream__") else iter(source)
