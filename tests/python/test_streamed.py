"""Answers that are made piece by piece, behind every host: `ordered`, and select with fetch."""

from __future__ import annotations

import array
import http.client
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Host

SERIES = 200
TIMES = array.array("q", range(200))
VALUES = array.array("d", [math.sin(i) for i in range(200)])
EXPECTED = [({"n": f"{i:05}"}, list(zip(TIMES, VALUES))) for i in range(SERIES)]
QUERY = wire.query(0, 1 << 40, [])
NONE = wire.query(0, 1 << 40, [("n", "=", "none")])


class Rows:
    """fails_at: the number of the series that cannot be had."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.open = 0

    def check(self, number: int) -> None:
        if number == self.fails_at:
            raise KeyError("secret detail")


class Ordered(Rows):
    ordered = True

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        self.open += 1
        try:
            for number in range(SERIES if query.matches({}) else 0):
                self.check(number)
                yield {"n": f"{number:05}"}, TIMES, VALUES
        finally:
            self.open -= 1


class Pairs(Rows):
    def select(self, ctx: pra.Context, query: pra.Query) -> list[Any]:
        return [({"n": f"{i:05}"}, (i, "any key")) for i in reversed(range(SERIES)) if query.matches({})]

    def fetch(self, ctx: pra.Context, query: pra.Query, key: Any) -> Iterator[Any]:
        self.open += 1
        try:
            self.check(key[0])
            yield from zip(TIMES, VALUES)
        finally:
            self.open -= 1


class Columns(Pairs):
    def fetch(self, ctx: pra.Context, query: pra.Query, key: Any) -> Any:
        self.check(key[0])
        return TIMES, VALUES


KINDS = pytest.mark.parametrize("kind", [Ordered, Pairs, Columns])


def series_of(host: Host, *queries: bytes) -> list[Any]:
    answer = host.read_streamed(*queries)
    assert answer.status == 200
    assert "Content-Length" not in answer.headers
    results = pra.decode_read_response(answer.body, content_type=answer.headers["Content-Type"])
    return [[(row.labels, list(zip(row.timestamps, row.values))) for row in rows] for rows in results]


@KINDS
def test_streamed_and_sampled(open_host: Callable[..., Host], kind: type[Any]) -> None:
    storage = kind()
    host = open_host(storage)
    assert series_of(host, QUERY, NONE, QUERY) == [EXPECTED, [], EXPECTED]
    assert host.read(QUERY, NONE).results == [EXPECTED, []]
    assert storage.open == 0


@KINDS
def test_failure_at_the_start(open_host: Callable[..., Host], kind: type[Any]) -> None:
    errors: list[Any] = []
    storage = kind(fails_at=0)
    host = open_host(storage, on_error=lambda *args: errors.append(args))
    for answer in (host.read_streamed(QUERY), host.read(QUERY)):
        assert answer.status == 500
        assert answer.text.strip().endswith("of the storage raised KeyError")
    assert [(method in ("process_query", "fetch"), type(error)) for method, error in errors] == [(True, KeyError)] * 2
    assert storage.open == 0
    storage.fails_at = -1
    assert series_of(host, QUERY) == [EXPECTED]


@KINDS
def test_failure_in_the_middle(open_host: Callable[..., Host], kind: type[Any]) -> None:
    """The client sees that the answer is cut off."""
    errors: list[Any] = []
    storage = kind(fails_at=150)
    host = open_host(storage, on_error=lambda *args: errors.append(args))
    with pytest.raises((http.client.HTTPException, OSError, pra.Error)):
        host.read_streamed(QUERY)
    ((_, error),) = errors
    assert isinstance(error, KeyError) and error.__traceback__
    assert storage.open == 0
    storage.fails_at = -1
    assert series_of(host, QUERY) == [EXPECTED]


@KINDS
def test_external_labels(open_host: Callable[..., Host], kind: type[Any]) -> None:
    """Merging them may break the order; it comes out right."""
    (rows,) = series_of(open_host(kind(), external_labels={"a": "b"}), QUERY)
    assert rows == [({"a": "b", **labels}, samples) for labels, samples in EXPECTED]


@pytest.mark.parametrize("order", [[1, 0], [0, 0]])
def test_not_in_order(open_host: Callable[..., Host], order: list[int]) -> None:
    class Disordered(pra.Storage):
        ordered = True

        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            for number in order:
                yield {"n": str(number)}, [(1, 1.0)]

    errors: list[Any] = []
    assert open_host(Disordered(), on_error=lambda *args: errors.append(args)).read_streamed(QUERY).status == 500


def test_arrow_stream(open_host: Callable[..., Host]) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"n": ["1", "1", "2"], "timestamp": [1, 2, 1], "value": [1.0, 2.0, 3.0]})

    host = open_host(pra.FunctionStorage(process_query=lambda ctx, query: table))
    expected = [({"n": "1"}, [(1, 1.0), (2, 2.0)]), ({"n": "2"}, [(1, 3.0)])]
    assert host.read(QUERY).results == [expected]
    assert series_of(host, QUERY) == [expected]
