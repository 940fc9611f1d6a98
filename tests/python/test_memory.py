"""Python runs out of memory at every allocation of a call, once or from then on: the sender gets an
answer, nothing crashes, and the next request works."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import exchange
import prom_remote_api as pra
import wire
from hosts import AsgiHost
from prom_remote_api import pra as c
from prom_remote_api._adapter import Adapter
from test_cursor import Cursors

testcapi = pytest.importorskip("_testcapi")
pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="other interpreters have ways of their own to fail at it (3.13 never returns)"
)

HEADERS = [(b"Content-Type", b"application/x-protobuf"), (b"Content-Encoding", b"snappy")]
V2 = HEADERS[1:] + [(b"Content-Type", b"application/x-protobuf;proto=io.prometheus.write.v2.Request")]
SERIES = ({"__name__": "up", "job": "x" * 80}, [(1, 1.0), (2, 2.5)])
HINTS = wire.number(1, 5) + wire.data(2, "rate") + wire.data(5, "job")
BODIES = {
    "write": wire.compress(wire.write_request([SERIES] * 3, [(1, "up", "help", "unit")])),
    "v2/write": wire.compress(
        wire.write_request_v2([
            {
                "labels": SERIES[0],
                "samples": [(1, 1.0, 1), (2, 2.5, 0)],
                "exemplars": [({"trace_id": "x"}, 1.0, 1)],
                "histograms": [
                    wire.histogram(5, 3, 1.0, positive=([(0, 2)], [1, 1])),
                    wire.histogram(6, 3.0, 1.0, negative=([(0, 2)], [1.0, 2.0])),
                ],
            }
        ] * 2)
    ),
    "read": wire.compress(
        wire.read_request([wire.query(0, 10, [("job", "=~", "a|b"), ("x", "!=", "")], HINTS)])
    ),
}


INTEGER = pra.Histogram(timestamp=3, count=3, sum=1.0, positive_spans=[(0, 2)], positive_buckets=[1, 2])
FLOAT = pra.Histogram(timestamp=4, count=3.0, sum=1.0, negative_spans=[(0, 2)], negative_buckets=[1.0, 2.0])


class Thorough(pra.Storage):
    """Touches everything that is made in C."""

    histograms = exemplars = True

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for ts in request:
            assert (ts.labels, ts.samples) and (ts.timestamps, ts.values)
            assert request.version == 1 or (ts.exemplars and ts.start_timestamps)
            for one in ts.histograms:
                assert pra.Histogram.decode(one.encode()) == one
                assert request.start_timestamps and list(one.buckets())
            assert ts.fingerprint and ts.values[1:] and repr(request)
        assert request.labels and request.fingerprints and request.data and request.label_spans
        assert request.exemplar_values is not None and request.label_offsets
        for table in (request.samples, request.series, request.histograms, request.exemplars, request.metadata):
            assert table.__arrow_c_array__() and table.__arrow_c_stream__() and table.column_names and repr(table)
        copy = request.copy()
        assert copy[0].labels and copy.values and copy.labels == request.labels
        again = pra.WriteRequest.decode(copy.encode(2), 2, limits={"max_decoded_bytes": 1 << 20})
        assert again[0].labels == copy[0].labels
        assert list(request.metadata) or request.version == 2
        assert request.timestamps and request.values
        assert request.sample_offsets and ctx.headers and ctx.path and ctx.tenant == ""

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
        for m in query.matchers:
            assert (m.set, m.prefix, m.matches("a")) and m.type and m.name and repr(m)
        assert query.hints and query.matches({"job": "a", "x": "y"})
        for i in range(3):
            yield {"i": str(i)}, [(j, 1.0) for j in range(20)]
        yield {"k": "v"}, [1, 2], array.array("d", [1.0, 2.0])
        yield {"h": "1"}, [(1, 1.0), INTEGER, FLOAT]
        yield {"h": "2"}, [], [], [FLOAT, INTEGER]


def driven(x: c.Exchange, adapter: Adapter) -> None:
    x.run()


def stepped(x: c.Exchange, adapter: Adapter) -> None:
    scope, ctx, request, sinks = x.open()
    try:
        if isinstance(request, tuple):
            outcome = adapter.process_query(ctx, request[0], sinks[0])
        else:
            outcome = adapter.write(ctx, request)
    finally:
        scope.close()
    x.finish(*outcome)


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("use", [driven, stepped])
@pytest.mark.parametrize("method", BODIES)
def test_out_of_memory(
    method: str, use: Callable[[c.Exchange, Adapter], None], lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    AsgiHost.stop_server()  # no memory is for all threads
    adapter = Adapter(Thorough(), on_error=lambda *_: None)
    x = c.Exchange(c.Handler(None, None, False, None, adapter))
    failures = undisturbed = allocation = 0
    while undisturbed < 20:
        x.begin("POST", f"/{method}", V2 if method[0] == "v" else HEADERS, "", "", 0)
        x.feed(BODIES[method])
        assert x.end_body() == c.OK
        testcapi.set_nomemory(allocation, 0 if lasting else allocation + 1)
        try:
            use(x, adapter)
        except (MemoryError, pra.Error):
            pass
        except (OverflowError, SystemError, TypeError):
            assert use is stepped  # what SWIG's conversions make of it
        finally:
            testcapi.remove_mem_hooks()
        fine = x.status() in (200, 204)
        assert fine or x.status() in (0, 500, 503)
        failures, undisturbed = failures + (not fine), undisturbed + 1 if fine else 0
        allocation += 1
    assert failures > 10


PIECES = [(1, 1.0), INTEGER, ([4, 5], array.array("d", [1.0, 2.0]), [FLOAT]), (6, 1.0)]
COLUMNS = (pa.array([1, 2]), pa.chunked_array([[1.0], [2.0]]))
NUMPY = (np.array([1, 2], "datetime64[s]"), np.array([1, 2], "int8"))


def cursors(ordered: bool) -> Cursors:
    def rows(cursor: Any) -> Iterator[Any]:
        yield {"a": "1"}, *COLUMNS
        yield {"b": "1"}, *NUMPY, [INTEGER]

    def listed(cursor: Any) -> Iterator[Any]:
        yield {"b": "1"}, lambda: iter(PIECES)
        yield {"a": "1"}, lambda: COLUMNS

    return Cursors(rows if ordered else listed, ordered)


def answers_with(x: c.Exchange, start: int, stop: int) -> bool:
    """Whether it does though these allocations fail. Without memory an exception gets no further in
    a long function, whose instructions have numbers that are objects: CPython tries for ever."""
    testcapi.set_nomemory(start, stop)
    try:
        x.run()
        while x.body() is not None:
            pass
        return x.status() == 200
    except (MemoryError, OverflowError, SystemError, TypeError, pra.Error):
        return False
    finally:
        testcapi.remove_mem_hooks()


def decoded_with(body: bytes, kind: str, start: int, stop: int) -> list[list[pra.Series]] | None:
    testcapi.set_nomemory(start, stop)
    try:
        return pra.decode_read_response(body, content_type=kind)
    except (MemoryError, pra.Error):
        return None
    finally:
        testcapi.remove_mem_hooks()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_cursors_out_of_memory(
    streamed: bool, ordered: bool, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    AsgiHost.stop_server()  # no memory is for all threads
    adapter = cursors(ordered)
    assert len(exchange.ask(adapter, streamed=streamed)[0]) == 2
    x = exchange.begin(adapter, streamed=streamed)
    failures = undisturbed = allocation = 0
    while undisturbed < 20:
        exchange.again(x, streamed=streamed)
        try:
            fine = answers_with(x, allocation, 0 if lasting else allocation + 1)
        except MemoryError:  # for want of memory to handle another
            fine = False
        failures, undisturbed = failures + (not fine), undisturbed + 1 if fine else 0
        adapter.kept.clear()
        adapter.errors.clear()
        adapter.log.clear()
        allocation += 1
    assert failures > 10


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_answers_out_of_memory(streamed: bool, lasting: bool) -> None:
    x = exchange.begin(cursors(True), streamed=streamed)
    x.run()
    body = b"".join(exchange.pieces(x))
    kind = exchange.STREAMED if streamed else "application/x-protobuf"
    whole = pra.decode_read_response(body, content_type=kind)
    for allocation in range(10_000):
        result = decoded_with(body, kind, allocation, 0 if lasting else allocation + 1)
        if result is not None:
            assert result == whole
            break
    assert 10 < allocation < 9_999
