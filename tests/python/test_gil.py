"""Other threads run while C works.

With a switch interval of an hour a thread gets the GIL only from one that gives it away.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import exchange
import prom_remote_api as pra
import wire
from prom_remote_api import pra as c
from prom_remote_api._adapter import Adapter

BODY = wire.compress(wire.write_request([({"__name__": "up"}, [(i, 1.0) for i in range(300_000)])]))
QUERY = wire.compress(wire.read_request([wire.query(0, 1 << 40, [])]))
HEADERS = [(b"Content-Type", b"application/x-protobuf"), (b"Content-Encoding", b"snappy")]


class Large(pra.Storage):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        return [({"i": str(i)}, range(2_000), [1.0] * 2_000) for i in range(50)]


@pytest.fixture
def long_switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    yield
    sys.setswitchinterval(before)


def runs_during(call: Callable[[], object]) -> bool:
    """Whether a thread that wants to run does so while call runs."""
    go, ran = threading.Lock(), threading.Event()

    def other() -> None:
        go.acquire()
        ran.set()

    def caller() -> bool:
        # Who wants to run takes the processor from this thread at once, even where there is only one.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        # The other is at the lock, or will be when this one gives the GIL away.
        go.release()
        call()
        return ran.is_set()

    go.acquire()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(other)
        return pool.submit(caller).result()


def decode(x: c.Exchange) -> Callable[[], object]:
    x.begin("POST", "/write", HEADERS, "", "", 0)
    x.feed(BODY)
    return x.end_body


def encode(x: c.Exchange, adapter: Adapter) -> Callable[[], object]:
    x.begin("POST", "/read", HEADERS, "", "", 0)
    x.feed(QUERY)
    x.end_body()
    scope, ctx, request, sinks = x.open()
    assert isinstance(request, tuple)
    outcome = adapter.process_query(ctx, request[0], sinks[0])
    scope.close()
    return lambda: x.finish(*outcome)


@pytest.mark.parametrize("what", ["decode", "encode"])
def test_others_run(long_switch_interval: None, what: str) -> None:
    adapter = Adapter(Large())
    x = c.Exchange(c.Handler(None, None, False, None, adapter))
    # The operating system may be slow to wake the other thread: that one wins once is enough.
    assert any(
        runs_during(decode(x) if what == "decode" else encode(x, adapter)) for _ in range(100)
    )


def test_the_method_can_fail(long_switch_interval: None) -> None:
    assert not any(runs_during(lambda: sum(range(10_000))) for _ in range(20))


def answer(streamed: bool) -> Callable[[], object]:
    x = exchange.begin(Adapter(Large()), wire.query(0, 1 << 40, []), streamed=streamed)
    x.run()
    body = b"".join(exchange.pieces(x))
    kind = exchange.STREAMED if streamed else "application/x-protobuf"
    return lambda: pra.decode_read_response(body[:-1], content_type=kind)  # no objects are made


@pytest.mark.parametrize("streamed", [False, True])
def test_others_run_while_an_answer_is_decoded(long_switch_interval: None, streamed: bool) -> None:
    decode_answer = answer(streamed)

    def call() -> None:
        with pytest.raises(pra.Error):
            decode_answer()

    assert any(runs_during(call) for _ in range(100))


def test_others_run_while_a_table_is_taken(long_switch_interval: None) -> None:
    table = pa.table({"job": ["a"] * 100_000, "timestamp": range(100_000), "value": [1.0] * 100_000})
    won: list[bool] = []

    def take(query: Any, sink: Any) -> None:
        won.append(runs_during(lambda: sink.extend(table)))

    for _ in range(100):
        exchange.ask(exchange.Adapter(take))
        if won[-1]:
            break
    assert won[-1]


KEPT: dict[str, Callable[[pra.WriteRequest], object]] = {
    "decode": lambda _: pra.WriteRequest.decode(BODY),
    "encode": lambda request: request.encode(1),
    "__arrow_c_array__": lambda request: request.samples.__arrow_c_array__(),
    "__arrow_c_stream__": lambda request: request.samples.__arrow_c_stream__(),
}


@pytest.mark.parametrize("what", KEPT)
def test_others_run_while_a_request_is_used(long_switch_interval: None, what: str) -> None:
    request = pra.WriteRequest.decode(BODY)
    assert any(runs_during(lambda: KEPT[what](request)) for _ in range(100))
