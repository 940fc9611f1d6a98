"""Many calls leave nothing behind, whatever their outcome. PRA_LEAK_CALLS=100000 makes it more of them."""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import exchange
import prom_remote_api as pra
import wire
from hosts import Host, ServerHost, WsgiHost, repeats

CALLS = int(os.environ.get("PRA_LEAK_CALLS", repeats(1000)))
UP = {"__name__": "up", "job": "api"}
QUERY = wire.query(0, 10, [("__name__", "=~", "u.*"), ("job", "!=", "")])
HISTOGRAM = pra.Histogram(timestamp=1, count=3, sum=1.0, positive_spans=[(0, 2)], positive_buckets=[1, 2])
BAD_HISTOGRAM = pra.Histogram(timestamp=1, count=3.0, sum=1.0, negative_buckets=["x"])  # type: ignore[list-item]
COLUMNS = (UP, array.array("q", [1]), array.array("d", [1.0]))


class Interrupt(BaseException):
    pass


class Odd(pra.Storage):
    """Does what self.act says, with objects that can be counted."""

    histograms = exemplars = True

    def __init__(self, act: str) -> None:
        self.act = act
        self.token = object()

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        held: list[Any] = [self.token, ctx.headers, ctx.tenant, request.timestamps, request.metadata]
        for ts in request:
            held += [ts, ts.labels, ts.samples, ts.values, ts.histograms, ts.exemplars, ts.start_timestamps]
            held += [pra.Histogram.decode(one.encode()) for one in ts.histograms]
            held += [ts.timestamps[:], memoryview(ts.values), ts.fingerprint]
        held += [request.labels, request.data, request.label_spans, request.fingerprints, request.values[:]]
        tables = [request.samples, request.series, request.histograms, request.exemplars, request.metadata]
        held += [one.__arrow_c_array__() for one in tables] + [one.__arrow_c_stream__() for one in tables]
        held += [tables, list(request.metadata), [one.column_names for one in tables], repr(tables)]
        copy = request.copy()
        held += [copy, copy[0], copy[0].labels, copy.values, pra.WriteRequest.decode(copy.encode(1)).labels]
        if self.act == "refuse":
            request[0].reject("no")
        if self.act == "wrong refusal":
            request[0].reject("no", "such kind")  # type: ignore[arg-type]
        if self.act == "raise":
            raise KeyError(self.token)
        if self.act == "reject":
            raise pra.Reject("no")
        if self.act == "retry":
            raise pra.Retry("no", after=3)
        if self.act == "cycle":
            cycle: list[Any] = [request, held]
            cycle.append(cycle)
            request[0].samples.append(cycle)  # type: ignore[arg-type]
            ts = copy[0]
            ts.labels["itself"] = ts  # type: ignore[assignment]
        if self.act == "wrong version":
            request.encode(17)
        if self.act == "wrong message":
            pra.WriteRequest.decode(request.encode(2), 1)
        if self.act == "wrong limits":
            pra.WriteRequest.decode(request.encode(), limits={"max_decoded_bytes": 1})
        if self.act == "wrong table":
            request.samples.__arrow_c_array__(1, 2)  # type: ignore[call-arg]
        if self.act == "labels that are no text":
            block = wire.compress(wire.data(1, wire.data(1, wire.data(1, b"\xff"))))
            pra.WriteRequest.decode(block).series.__arrow_c_array__()
        if self.act == "no such metadata":
            request.metadata[17]
        if self.act == "refuse in a copy":
            copy[0].reject("no")
        if self.act == "tables":
            names = ("samples", "series", "histograms", "exemplars", "metadata")
            made = [getattr(one, name) for one in (request, copy) for name in names]
            held += [pa.table(table) for table in made] + [pa.RecordBatchReader.from_stream(table) for table in made]
            held += [table.__arrow_c_array__() for table in made] + [table.column_names for table in made]
            held += [request.metadata[0], list(copy.metadata)]
        if self.act == "wrong table":
            request.samples.__arrow_c_array__(1, 2)  # type: ignore[call-arg]
        if self.act == "interrupt":
            raise Interrupt(self.token)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        held = (self.token, query.matchers, query.hints, [m.set for m in query.matchers])
        assert query.matches(UP)
        acts: dict[str, Callable[[], Any]] = {
            "list": lambda: [(UP, [(1, 1.0)])],
            "columns": lambda: [COLUMNS],
            "bad columns": lambda: [(UP, COLUMNS[1], [1.0, 2.0])],
            "bad labels": lambda: [(UP, [(1, 1.0)]), ({"": "x"}, [(1, 1.0)])],
            "bad sample": lambda: [(UP, [(1, 1.0), (2, "x")])],
            "not iterable": lambda: 17,
            "histograms": lambda: [(UP, [(1, 1.0), HISTOGRAM]), (*COLUMNS, [HISTOGRAM] * 3)],
            "bad histogram": lambda: [(UP, [HISTOGRAM, BAD_HISTOGRAM])],
            "no histogram": lambda: [(*COLUMNS, [HISTOGRAM, 17])],
        }
        return acts[self.act]() if self.act in acts else self._generate(held)

    def _generate(self, held: Any) -> Iterator[Any]:
        yield UP, [(1, 1.0)]
        if self.act == "raise middle":
            raise KeyError(held)
        if self.act == "reject middle":
            raise pra.Reject("no")
        yield UP, ((i, 1.0) for i in range(3))


WRITES = [
    "fine", "raise", "reject", "retry", "cycle", "refuse", "wrong refusal",
    "wrong version", "wrong message", "wrong limits", "refuse in a copy", "tables", "wrong table", "interrupt",
    "wrong table", "labels that are no text", "no such metadata",
]  # fmt: skip
READS = [
    "list", "columns", "generator", "bad columns", "bad labels", "bad sample", "not iterable",
    "raise middle", "reject middle", "histograms", "bad histogram", "no histogram",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """pytest keeps log records, and with them what they mention."""
    logger = logging.getLogger("prom_remote_api")
    logger.disabled = True
    yield
    logger.disabled = False


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]


def c_memory() -> int:
    """Bytes that this thread's C code has."""
    process = ctypes.CDLL(None)
    try:
        bytes_of_all = process.__sanitizer_get_current_allocated_bytes
    except AttributeError:
        process.mallinfo2.restype = Mallinfo
        info = process.mallinfo2()
        return int(info.uordblks + info.hblkhd)
    bytes_of_all.restype = ctypes.c_size_t
    return int(bytes_of_all())


def counts(*watched: object) -> tuple[int, ...]:
    sys._clear_type_cache()  # which keeps names of attributes, and None where it has none
    for _ in range(3):
        gc.collect()
    return (len(gc.get_objects()), *(sys.getrefcount(one) for one in watched))


@pytest.mark.parametrize("kind", [WsgiHost, ServerHost])
@pytest.mark.parametrize("act", [f"write: {act}" for act in WRITES] + [f"read: {act}" for act in READS])
def test_nothing_is_left(kind: type[Any], act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, _, act = act.partition(": ")
    storage = Odd(act)
    host: Host
    full = {"labels": UP, "samples": [(1, 1.0, 1)], "exemplars": [(UP, 1.0, 1)], "metadata": (1, "help", "")}
    full["histograms"] = [HISTOGRAM.encode()]
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with kind(storage, on_error=lambda *_: None) as host:

        def call() -> None:
            with contextlib.suppress(Interrupt):
                host.write_v2(full, X_Scope_OrgID="t") if method == "write" else host.read(QUERY)

        number = CALLS if kind is WsgiHost else CALLS // 5
        for _ in range(20 + number // 4):  # until the heap has the size that it needs
            call()
        watched = (
            storage, storage.token, None, UP, *COLUMNS[1:], pra.Context, pra.Query, KeyError, HISTOGRAM,
            HISTOGRAM.positive_spans, pra.Histogram, pra.Exemplar, HISTOGRAM.reset_hint,
        )  # fmt: skip
        before, bytes_before = counts(*watched), c_memory()
        number = max(CALLS, 500) if kind is WsgiHost else max(CALLS // 5, 200)
        for _ in range(number):
            call()
        after, bytes_after = counts(*watched), c_memory()
    growth = [b - a for a, b in zip(before, after)]
    assert max(growth) < number // 20, growth
    if kind is WsgiHost:  # threads of a server have memory at hand
        # One request more or less may be kept for the next decode.
        assert bytes_after - bytes_before < number * 16 + 65536


LATER = pra.Histogram(timestamp=6, count=1, zero_count=1, sum=1.0)
PIECES = [COLUMNS[1:], (2, 1.0), ([3, 4], array.array("d", [1.0, 2.0]), [LATER]), (7, 1.0)]
CURSORS: dict[str, Any] = {
    "fine": lambda: [(UP, lambda: PIECES), ({"b": "1"}, lambda: iter(PIECES))],
    "one piece": lambda: [(UP, lambda: COLUMNS[1:])],
    "bad key": lambda: [(UP, 17)],
    "bad samples": lambda: [(UP, lambda: [(1, 1.0), "x"])],
    "bad piece": lambda: [(UP, lambda: [COLUMNS[1:], (COLUMNS[1], [])])],
    "bad list": lambda: [(UP, lambda: PIECES), (17, 1)],
    "raises": lambda: [(UP, lambda: (1 // 0 for _ in "x"))],
}


@pytest.mark.parametrize("ending", ["end", "reset", "cancel", "begin"])
@pytest.mark.parametrize("act", CURSORS)
def test_nothing_is_left_of_cursors(act: str, ending: str) -> None:
    """Read to the end, or given up."""
    from test_cursor import Cursors

    made = CURSORS[act]()
    adapter = Cursors(lambda cursor: list(made), ordered=False)
    x = exchange.begin(adapter, streamed=True)
    exchange.run(x)
    assert bool(adapter.errors) == act.startswith(("bad", "raises"))

    def call() -> None:
        exchange.again(x, streamed=True)
        exchange.run(x)
        if ending == "reset":
            x.reset()
        if ending == "cancel":
            x.cancel()
        if ending in ("end", "cancel"):
            with contextlib.suppress(pra.Error):
                list(exchange.pieces(x))
        adapter.kept.clear()
        adapter.errors.clear()
        adapter.log.clear()

    for _ in range(20):
        call()
    watched = (adapter, None, UP, *COLUMNS[1:], HISTOGRAM, pra.Query, pra.Context, *made[0])
    before = counts(*watched)
    for _ in range(CALLS):
        call()
    exchange.again(x)
    adapter.kept.clear()
    growth = [b - a for a, b in zip(before, counts(*watched))]
    assert max(growth) < CALLS // 20, growth


def ex_table(values: Any) -> Any:
    return pa.table({"job": ["a", "b"], "timestamp": pa.array([1, 2], pa.timestamp("ms")), "value": values})


RESULTS: dict[str, Callable[[], Any]] = {
    "arrow": lambda: (UP, pa.array([1]), pa.chunked_array([[1.0]])),
    "nulls": lambda: (UP, pa.array([1]), pa.array([None], pa.float64())),
    "strings": lambda: (UP, pa.array(["1"]), pa.array([1.0])),
    "datetimes": lambda: (UP, np.array([1], "datetime64[s]"), np.array([1], "int16")),
    "table": lambda: ex_table([1.0, None]),
    "bad table": lambda: ex_table(["1", "2"]),
    "NaT": lambda: (UP, np.array(["NaT"], "datetime64[s]"), np.array([1], "int16")),
}


@pytest.mark.parametrize("act", RESULTS)
def test_nothing_is_left_of_columns(act: str) -> None:
    result = made = RESULTS[act]()
    adapter = exchange.Adapter(lambda query, sink: sink.add(result))
    x = exchange.begin(adapter)

    def call() -> None:
        exchange.again(x)
        exchange.run(x)
        adapter.errors.clear()

    for _ in range(20):
        call()
    made = made if isinstance(made, tuple) else (made,)
    before, buffers = counts(*made), pa.total_allocated_bytes()
    for _ in range(CALLS):
        call()
    growth = [b - a for a, b in zip(before, counts(*made))]
    assert max(growth) < CALLS // 20, growth
    assert pa.total_allocated_bytes() <= buffers


def test_nothing_is_left_of_answers() -> None:
    """The client's side."""
    adapter = exchange.Adapter(lambda query, sink: (sink.add((*COLUMNS, [LATER])), query.encode()))
    bodies = []
    for streamed in (False, True):
        x = exchange.begin(adapter, streamed=streamed)
        x.run()
        bodies.append((b"".join(exchange.pieces(x)), exchange.STREAMED if streamed else "application/x-protobuf"))

    def call() -> None:
        exchange.ask(adapter)
        for body, content_type in bodies:
            assert pra.decode_read_response(body, content_type=content_type)[0][0].histograms
            with pytest.raises(pra.Error):
                pra.decode_read_response(body[:-1], content_type=content_type)

    for _ in range(20):
        call()
    watched = (None, UP, pra.Series, pra.Histogram, pra.Error, bodies[0][0])
    before = counts(*watched)
    for _ in range(CALLS):
        call()
    growth = [b - a for a, b in zip(before, counts(*watched))]
    assert max(growth) < CALLS // 20, growth


@pytest.mark.parametrize("kind", [WsgiHost, ServerHost])
def test_a_storage_goes_with_its_host(kind: type[Any]) -> None:
    import weakref

    storage = Odd("fine")
    gone = weakref.ref(storage)
    host = kind(storage)
    assert host.write_series((UP, [(1, 1.0)])).status == 204
    host.close()
    del host, storage
    gc.collect()
    assert gone() is None


def test_hosts_come_and_go() -> None:
    """In any order a collector likes: everything in one cycle."""
    before = counts()
    for _ in range(200):
        host = WsgiHost(Odd("fine"))
        host.write_series((UP, [(1, 1.0)]))
        host.cycle = host  # type: ignore[attr-defined]
    del host
    assert counts()[0] - before[0] < 50


def test_a_server_that_cannot_listen() -> None:
    storage = Odd("fine")
    with ServerHost(storage) as host:
        before = counts(storage)
        for _ in range(20):
            with pytest.raises(pra.Error) as caught:
                pra.Server(storage, f"127.0.0.1:{host.server.port}")  # type: ignore[attr-defined]
            assert caught.value.code and str(caught.value)
        del caught
        after = counts(storage)
    assert max(b - a for a, b in zip(before, after)) < 10


def test_a_handler_that_cannot_be_made() -> None:
    """The storage is given up exactly once."""
    storage = Odd("fine")
    before = counts(storage)
    for _ in range(50):
        with pytest.raises(pra.Error) as caught:
            pra.make_wsgi_app(storage, tenant_header="x" * 1000)
        assert caught.value.code
    del caught
    assert max(b - a for a, b in zip(before, counts(storage))) < 10
