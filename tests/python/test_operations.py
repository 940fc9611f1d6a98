"""What is taken of requests, in any order and on any thread, against a model: it is right for as long as it is there,
or says that it is over.
"""

from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import exchange
import prom_remote_api as pra
import wire
from prom_remote_api import pra as c

THREADS = 3


class Worker:
    """A thread that does what it is told, one thing at a time."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while job := self._jobs.get():
            try:
                self._results.put((job(), None))
            except BaseException as error:
                self._results.put((None, error.with_traceback(None)))
            del job

    def do(self, job: Callable[[], Any]) -> Any:
        self._jobs.put(job)
        result, error = self._results.get()
        if error:
            raise error
        return result

    def end(self) -> None:
        self._jobs.put(None)


class Call(NamedTuple):
    """What was sent, and whether it is being answered."""

    first: int
    size: int
    open: list[bool]

    @property
    def samples(self) -> list[tuple[int, float]]:
        return [(self.first + i, (self.first + i) / 2) for i in range(self.size)]

    @property
    def labels(self) -> list[dict[str, str]]:
        return [{"__name__": f"m{self.first}", "job": "x" * 70}] if self.size else []

    def body(self) -> bytes:
        series = [(self.labels[0], self.samples)] if self.size else []
        return wire.compress(wire.write_request(series))


class Adapter:
    entries = ("write",)
    flags = 0


class Item(NamedTuple):
    """look gives what was sent, or raises what over says while the call is over."""

    call: Call
    thing: Any
    look: Callable[[Any], Any]
    sent: Callable[[Call], Any]
    over: type[Exception] | None


def times(call: Call) -> list[int]:
    return [time for time, _ in call.samples]


def values(call: Call) -> list[float]:
    return [value for _, value in call.samples]


def rows(table: Any) -> list[tuple[int, float]]:
    return list(zip(table["timestamp"].cast(pa.int64()).to_pylist(), table["value"].to_pylist()))


VIEWS: dict[str, Callable[[Call], Any]] = {"timestamps": times, "values": values}
TAKEN: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Call], Any]]] = {
    "slice": (lambda r: r.values[:], lambda v: v.tolist(), values),
    "array": (lambda r: np.asarray(r.timestamps), lambda v: v.tolist(), times),
    "array of a slice": (lambda r: np.asarray(r.values[1:]), lambda v: v.tolist(), lambda call: values(call)[1:]),
    "table": (lambda r: pa.table(r.samples), rows, lambda call: call.samples),
    "stream": (lambda r: pa.RecordBatchReader.from_stream(r.samples), lambda v: v.schema.names[1], lambda call: "timestamp"),
    "copy": (lambda r: r.copy(), lambda v: [dict(labels) for labels in v.labels], lambda call: call.labels),
    "table of a copy": (lambda r: pa.table(r.copy().samples), rows, lambda call: call.samples),
    "view of a copy": (lambda r: r.copy().values, lambda v: v.tolist(), values),
    "series of a copy": (lambda r: list(r.copy()), lambda v: [ts.labels for ts in v], lambda call: call.labels),
    "decoded": (
        lambda r: pra.WriteRequest.decode(r.encode()), lambda v: [s for ts in v for s in ts.samples], lambda call: call.samples
    ),
    "fingerprints": (lambda r: r.fingerprints, len, lambda call: len(call.labels)),
    "labels": (lambda r: r.labels, list, lambda call: call.labels),
}  # fmt: skip
SCOPED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Call], Any]]] = {
    "request": (lambda r: r, lambda v: v.timestamps.tolist(), times),
    "series": (lambda r: list(r), lambda v: [ts.labels for ts in v], lambda call: call.labels),
    "a table": (lambda r: r.samples, lambda v: rows(pa.table(v)), lambda call: call.samples),
}


class Operations(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        adapter: Any = Adapter()
        self.handler = c.Handler(None, "", False, None, adapter)
        self.workers = [Worker() for _ in range(THREADS)]
        self.exchanges = [c.Exchange(self.handler) for _ in range(2)]
        self.calls: dict[int, tuple[Call, Any, Any]] = {}  # by exchange: its call, scope and request
        self.items: list[Item] = []
        self.next = 1

    @rule(number=st.integers(0, 1), count=st.integers(0, 5), thread=st.integers(0, THREADS - 1))
    def begin(self, number: int, count: int, thread: int) -> None:
        if number in self.calls:
            return
        call = Call(self.next, count, [True])
        self.next += 1000
        x = self.exchanges[number]

        def work() -> Any:
            x.begin("POST", "/write", exchange.HEADERS, "", "", 0)
            x.feed(call.body())
            assert x.end_body() == c.OK
            return x.open()

        scope, _, request, _ = self.workers[thread].do(work)
        self.calls[number] = (call, scope, request)

    @rule(number=st.integers(0, 1), thread=st.integers(0, THREADS - 1))
    def end(self, number: int, thread: int) -> None:
        if number not in self.calls:
            return
        call, scope, request = self.calls.pop(number)
        call.open[0] = False
        del request

        def work() -> None:
            scope.close()
            self.exchanges[number].finish(*exchange.FINE)

        self.workers[thread].do(work)
        assert self.exchanges[number].status() == 204

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), thread=st.integers(0, THREADS - 1))
    def take(self, data: st.DataObject, thread: int) -> None:
        call, _, request = self.calls[data.draw(st.sampled_from(sorted(self.calls)))]
        what = data.draw(st.sampled_from([*VIEWS, *TAKEN, *SCOPED]))
        if what in VIEWS:
            thing = self.workers[thread].do(lambda: getattr(request, what))
            self.items.append(Item(call, thing, lambda v: v.tolist(), VIEWS[what], ValueError))
        else:
            make, look, sent = (TAKEN.get(what) or SCOPED[what])
            thing = self.workers[thread].do(lambda: make(request))
            self.items.append(Item(call, thing, look, sent, pra.ExpiredError if what in SCOPED else None))

    @precondition(lambda self: self.items)
    @rule(data=st.data(), thread=st.integers(0, THREADS - 1))
    def derive(self, data: st.DataObject, thread: int) -> None:
        """A slice of a view: the view ends with the call, the slice does not."""
        item = data.draw(st.sampled_from(self.items))
        if isinstance(item.thing, memoryview) and (item.call.open[0] or item.over is None):
            thing = self.workers[thread].do(lambda: item.thing[:])
            self.items.append(item._replace(thing=thing, over=None))

    @precondition(lambda self: self.items)
    @rule(data=st.data(), thread=st.integers(0, THREADS - 1))
    def drop(self, data: st.DataObject, thread: int) -> None:
        index = data.draw(st.integers(0, len(self.items) - 1))
        things = [self.items.pop(index)]
        self.workers[thread].do(things.clear)

    @precondition(lambda self: self.items)
    @rule(thread=st.integers(0, THREADS - 1))
    def look(self, thread: int) -> None:
        for item in self.items:
            if item.over and not item.call.open[0]:
                try:
                    self.workers[thread].do(lambda: item.look(item.thing))
                except item.over:
                    continue
                # of no series nothing is asked
                assert item.call.size == 0 and isinstance(item.thing, list)
            else:
                assert self.workers[thread].do(lambda: item.look(item.thing)) == item.sent(item.call)

    @rule()
    def collect(self) -> None:
        gc.collect()

    @rule(number=st.integers(0, 1))
    def drop_exchange(self, number: int) -> None:
        if number not in self.calls:
            self.exchanges[number] = c.Exchange(self.handler)

    def teardown(self) -> None:
        for number in list(self.calls):
            self.end(number, 0)
        self.look(1)
        for worker in self.workers:
            worker.end()


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
