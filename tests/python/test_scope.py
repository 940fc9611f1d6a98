"""Objects of a request that are kept: they raise, and never crash."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import HOSTS, repeats

UP = {"__name__": "up", "job": "api"}
MATCHERS = [("__name__", "=", "up"), ("job", "=~", "a.*")]


class Keeper(pra.Storage):
    """Keeps everything it can get at."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        seen = request[0]
        assert seen.labels and seen.samples
        self.kept |= {
            "ctx": ctx,
            "request": request,
            "ts": request[0],
            "seen": seen,
            "iterator": iter(request),
            "labels": seen.labels,
            "timestamps": request.timestamps,
            "values": seen.values,
        }
        next(self.kept["iterator"])

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        self.kept |= {"ctx": ctx, "query": query, "matchers": query.matchers, "hints": query.hints}
        return [(UP, [(1, 1.0)])]


WRITE_USES: dict[str, Callable[[dict[str, Any]], object]] = {
    "tenant": lambda k: k["ctx"].tenant,
    "path": lambda k: k["ctx"].path,
    "query_string": lambda k: k["ctx"].query_string,
    "remote_addr": lambda k: k["ctx"].remote_addr,
    "user": lambda k: k["ctx"].user,
    "headers": lambda k: k["ctx"].headers,
    "worker": lambda k: k["ctx"].worker,
    "index": lambda k: k["request"][0],
    "iterate": lambda k: list(k["request"]),
    "iterate on": lambda k: next(k["iterator"]),
    "metadata": lambda k: k["request"].metadata,
    "timestamps": lambda k: k["request"].timestamps,
    "values": lambda k: k["request"].values,
    "sample_offsets": lambda k: k["request"].sample_offsets,
    "ts.labels": lambda k: k["ts"].labels,
    "ts.samples": lambda k: k["ts"].samples,
    "ts.timestamps": lambda k: k["ts"].timestamps,
    "ts.values": lambda k: k["ts"].values,
    "start_timestamps": lambda k: k["request"].start_timestamps,
    "ts.start_timestamps": lambda k: k["ts"].start_timestamps,
    "ts.histograms": lambda k: k["ts"].histograms,
    "ts.exemplars": lambda k: k["ts"].exemplars,
    "ts.reject": lambda k: k["ts"].reject("late"),
    "seen.labels": lambda k: k["seen"].labels,
    "seen.samples": lambda k: k["seen"].samples,
    "ts.fingerprint": lambda k: k["ts"].fingerprint,
    "labels": lambda k: k["request"].labels,
    "data": lambda k: k["request"].data,
    "label_spans": lambda k: k["request"].label_spans,
    "fingerprints": lambda k: k["request"].fingerprints,
    "copy": lambda k: k["request"].copy(),
    "encode": lambda k: k["request"].encode(),
}
READ_USES: dict[str, Callable[[dict[str, Any]], object]] = {
    "tenant": lambda k: k["ctx"].tenant,
    "start_ms": lambda k: k["query"].start_ms,
    "end_ms": lambda k: k["query"].end_ms,
    "matchers": lambda k: k["query"].matchers,
    "hints": lambda k: k["query"].hints,
    "query.matches": lambda k: k["query"].matches(UP),
    "type": lambda k: k["matchers"][0].type,
    "name": lambda k: k["matchers"][0].name,
    "value": lambda k: k["matchers"][1].value,
    "set": lambda k: k["matchers"][0].set,
    "prefix": lambda k: k["matchers"][1].prefix,
    "matches": lambda k: k["matchers"][1].matches("abc"),
}


def all_expired(uses: dict[str, Callable[[dict[str, Any]], object]], kept: dict[str, Any]) -> None:
    for name, use in uses.items():
        with pytest.raises(pra.ExpiredError, match="over"):
            use(kept)
            pytest.fail(name)


def test_write(open_host: Any) -> None:
    storage = Keeper()
    host = open_host(storage)
    host.write_series((UP, [(1, 1.0)]), (UP, [(2, 2.0)]))
    kept = dict(storage.kept)
    for _ in range(3):  # the memory is used again
        host.write_series(({"a": "b" * 1000}, [(5, 5.0)]))
        all_expired(WRITE_USES, kept)


def test_read(open_host: Any) -> None:
    storage = Keeper()
    host = open_host(storage)
    host.read(wire.query(0, 10, MATCHERS)).results
    kept = dict(storage.kept)
    host.read(wire.query(0, 10, [("x" * 1000, "=~", "y+")])).results
    all_expired(READ_USES, kept)
    assert "over" in repr(kept["matchers"][0])


def test_what_may_be_kept(open_host: Any) -> None:
    storage = Keeper()
    open_host(storage).write_series((UP, [(1, 1.0)]), (UP, [(2, 2.0)]))
    assert storage.kept["labels"] == UP
    assert storage.kept["request"].series_count == 2
    assert storage.kept["request"].version == 1
    assert repr(storage.kept["request"]) == "<prom_remote_api.WriteRequest of remote write 1.0: 2 series, 2 samples>"
    assert storage.kept["ts"].index == 0


@pytest.mark.parametrize("kind", HOSTS)
def test_after_the_host_is_gone(kind: str) -> None:
    storage = Keeper()
    host = HOSTS[kind](storage)
    host.write_series((UP, [(1, 1.0)]))
    host.close()
    del host
    gc.collect()
    with pytest.raises(pra.ExpiredError):
        storage.kept["ts"].labels


def test_other_thread_while_the_call_ends(open_host: Any) -> None:
    """A thread of the storage's own goes on reading while requests come and go."""
    newest: list[Any] = []
    stop = threading.Event()
    outcomes = {"read": 0, "expired": 0}

    class Shares(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            newest[:] = [request]

        def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
            newest[:] = [query]
            return []

    def use() -> None:
        while not stop.is_set():
            for shared in list(newest):
                try:
                    if isinstance(shared, pra.Query):
                        shared.matches(SlowMapping(UP))
                    else:
                        assert all(ts.labels == UP for ts in shared)
                    outcomes["read"] += 1
                except pra.ExpiredError:
                    outcomes["expired"] += 1

    threads = [threading.Thread(target=use) for _ in range(3)]
    host = open_host(Shares())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    try:
        turn = 0
        while turn < repeats(150) or (not outcomes["expired"] and threads[0].is_alive()):
            turn += 1
            host.write_series(*[(UP, [(turn, 1.0)])] * 50)
            host.read(wire.query(0, 10, MATCHERS)).results
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert outcomes["expired"] > 0


class SlowMapping(dict):  # type: ignore[type-arg]
    """Not a plain dict for C: gives the GIL away in the middle."""

    def items(self) -> Any:
        return _Items(dict.items(self))


class _Items:
    def __init__(self, items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            threading.Event().wait(0.0001)
            yield item


def test_generator_that_is_not_exhausted_when_the_host_stops_asking(open_host: Any) -> None:
    """Its clean-up still may use the query."""
    seen = []

    class Stopped(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            try:
                yield UP, [(1, 1.0)]
                yield UP, "no samples at all"
            finally:
                seen.append((query.end_ms, ctx.path))

    host = open_host(Stopped(), on_error=lambda *_: None)
    assert host.read(wire.query(0, 10, MATCHERS)).status == 500
    assert seen == [(10, "/api/v1/read")]
