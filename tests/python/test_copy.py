"""Requests that are kept: copy(), decode(), encode()."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Does, WsgiHost

A = {"__name__": "a", "job": "api"}
B = {"__name__": "b", "job": "db"}
STALE = wire.from_bits(wire.STALE_BITS)
EXEMPLAR = ({"trace_id": "abc"}, 0.5, 1500)
HISTOGRAM = pra.Histogram(timestamp=5, count=3, sum=1.0, positive_spans=[(0, 2)], positive_buckets=[1, 2])
FULL: list[dict[str, Any]] = [
    {"labels": A, "samples": [(1000, 1.0, 10), (2000, STALE, 0)], "exemplars": [EXEMPLAR]},
    {"labels": B, "samples": [(3000, 3.0, 30)], "metadata": (2, "how hot", "°C")},
    {"labels": {"__name__": "h"}, "histograms": [HISTOGRAM.encode()]},
]


def content(request: pra.WriteRequest) -> Any:
    """Everything in it that two requests can be compared by."""
    return (
        request.labels,
        request.timestamps.tolist(),
        bytes(request.values),
        request.start_timestamps and request.start_timestamps.tolist(),
        [offsets.tolist() for offsets in (request.sample_offsets, request.label_offsets, request.exemplar_offsets)],
        [(ts.labels, len(ts.samples), ts.histograms, ts.exemplars, ts.fingerprint) for ts in request],
        list(request.metadata),
    )


def received(open_host: Any, act: Callable[[pra.WriteRequest], object]) -> Any:
    storage = Does(act)
    host = open_host(storage)
    assert host.write_v2(*FULL).status == 204
    result, storage.act = storage.result, lambda _: None
    for _ in range(2):
        assert host.write_v2(*[{"labels": {"__name__": "x" * 500}, "samples": [(7, 7.0, 7)] * 50}] * 20).status == 204
    return result


# ---- copy


def test_copy(open_host: Any) -> None:
    before, copy, again = received(open_host, lambda r: (content(r), r.copy(), r.copy().copy()))
    assert content(copy) == content(again) == before
    assert (copy.version, len(copy), copy.sample_count, copy.histogram_count) == (2, 3, 3, 1)


def test_what_is_taken_of_a_copy_stays(open_host: Any) -> None:
    """Its views too: there is no call they could end with."""
    values, ts, view_of_call = received(open_host, lambda r: ((c := r.copy()).values, c[0], r.values))
    assert values.tolist()[::2] == [1.0, 3.0] and ts.labels == A
    assert ts.timestamps.tolist() == [1000, 2000]
    with pytest.raises(ValueError):
        view_of_call.tolist()


def test_a_copy_after_a_view(open_host: Any) -> None:
    piece, copy = received(open_host, lambda r: (r.timestamps[1:], r.copy()))
    assert piece.tolist() == [2000, 3000] and copy.timestamps.tolist() == [1000, 2000, 3000]
    del copy
    gc.collect()
    assert piece.tolist() == [2000, 3000]


def test_a_copy_cannot_refuse(open_host: Any) -> None:
    def act(request: pra.WriteRequest) -> Any:
        with pytest.raises(pra.ExpiredError, match="kept"):
            request.copy()[0].reject("no")
        return request.copy()

    copy = received(open_host, act)
    with pytest.raises(pra.ExpiredError, match="kept"):
        copy[0].reject("no")


def test_copies_in_other_threads(open_host: Any) -> None:
    """Each looks, encodes and goes while the exchange has its next request."""
    results: list[Any] = []
    threads: list[threading.Thread] = []

    def use(copy: pra.WriteRequest) -> None:
        results.append((content(copy), copy.encode(1), copy.encode(2)))

    def act(request: pra.WriteRequest) -> None:
        for _ in range(2):
            threads.append(threading.Thread(target=use, args=(request.copy(),)))
            threads[-1].start()

    host = open_host(Does(act))
    for _ in range(20):
        assert host.write_v2(*FULL).status == 204
    for thread in threads:
        thread.join()
    assert len(results) == 40 and all(one == results[0] for one in results)


# ---- encode


@pytest.mark.parametrize("version", [1, 2, None])
def test_encode(open_host: Any, version: int | None) -> None:
    before, block, copied = received(
        open_host, lambda r: (content(r), r.encode(version), r.copy().encode(version=version))
    )
    assert block == copied
    again = pra.WriteRequest.decode(block, version or 2)
    if version == 1:
        assert again.labels == before[0] and again.timestamps.tolist() == before[1]
        assert again.start_timestamps is None and again[2].histograms[0].count == 3
        assert again.metadata[0].family == "b" and again[0].exemplars == [EXEMPLAR]
    else:
        assert content(again) == before
    assert again.encode() == block


def test_encode_for_the_wire(open_host: Any) -> None:
    """What is made is what a receiver takes, by another decoder's account."""
    storage = Does(lambda request: request.encode())
    message = wire.write_request([(A, [(1, 1.5)]), (B, [(2, 2.5), (3, 3.5)])])
    host = open_host(storage)
    host.write(message)
    assert wire.uncompress(storage.result) == message


@pytest.mark.parametrize(
    "version, kind",
    [
        (3, pra.Error),
        (0, pra.Error),
        (-1, pra.Error),
        (1 << 40, pra.Error),
        (1 - (1 << 32), pra.Error),
        ("1", TypeError),
        (1.0, TypeError),
    ],
)
def test_encode_of_no_version(open_host: Any, version: Any, kind: type[Exception]) -> None:
    def act(request: pra.WriteRequest) -> None:
        with pytest.raises(kind):
            request.encode(version)
        with pytest.raises(TypeError):
            request.encode(version=1, more=2)  # type: ignore[call-arg]

    received(open_host, act)


# ---- decode

V1 = wire.write_request([(A, [(1, 1.0), (2, STALE)]), (B, [(-5, 7.0)])], [(1, "a", "help", "unit")])
V2 = wire.write_request_v2(FULL)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("version, message", [(1, V1), (2, V2)])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decode(kind: type[Any], version: int, message: bytes, compressed: bool) -> None:
    data = bytearray(wire.compress(message) if compressed else message)
    request = pra.WriteRequest.decode(kind(data), version, compressed=compressed)
    data[:] = bytes(len(data))  # it is not looked at any more
    assert request.version == version and request[0].labels == A and request[1].labels == B
    assert wire.to_bits(request[0].samples[1][1]) == wire.STALE_BITS
    assert request[0].timestamps.tolist() == ([1, 2] if version == 1 else [1000, 2000])
    assert len(request.metadata) == 1
    view = request.values
    del request
    gc.collect()
    assert wire.to_bits(view[1]) == wire.STALE_BITS


def test_decode_by_default() -> None:
    assert pra.WriteRequest.decode(wire.compress(V1)).labels == [A, B]
    assert pra.WriteRequest.decode(data=wire.compress(b"")).labels == []
    assert pra.WriteRequest.decode(b"", compressed=False).labels == []


def test_decode_mends_nothing() -> None:
    labels = [("z", "1"), ("__name__", "m"), ("z", ""), ("", "x")]
    request = pra.WriteRequest.decode(wire.compress(wire.write_request([(labels, [(1, 1.0)])])))
    spans: Any = request.label_spans.tolist()
    data = bytes(request.data).decode("latin-1")
    assert [(data[a : a + b], data[c : c + d]) for a, b, c, d in spans] == labels
    assert request.labels == [dict(labels)]


def test_references_that_name_no_symbol() -> None:
    """They are the empty string, though symbol 0 is none here [W-33]."""
    series = wire.data(1, b"\x00\x01\x63\x01") + wire.data(2, wire.double(1, 1.0) + wire.number(2, 5))
    message = wire.data(4, "name") + wire.data(4, "value") + wire.data(5, series)
    request = pra.WriteRequest.decode(message, 2, compressed=False)
    assert request.labels == [request[0].labels] == [{"name": "value", "": "value"}]
    no_symbols = pra.WriteRequest.decode(wire.data(5, series), 2, compressed=False)
    assert no_symbols.labels == [{"": ""}]


BROKEN: dict[str, tuple[Any, ...]] = {
    "no snappy": (b"\xff\xff", {}, pra.Error, "snappy"),
    "empty": (b"", {}, pra.Error, "snappy"),
    "no protobuf": (wire.compress(b"\xff" * 9), {}, pra.Error, "malformed"),
    "no protobuf, bare": (b"\xff" * 9, {"compressed": False}, pra.Error, "malformed"),
    "no version": (wire.compress(V1), {"version": 3}, pra.Error, "version"),
    "too long": (wire.compress(V1), {"limits": {"max_decoded_bytes": 10}}, pra.Error, "max_decoded_bytes"),
    "too much": (wire.compress(V1), {"limits": {"max_memory_bytes": 100}}, pra.Error, "max_memory_bytes"),
    "labels": (wire.compress(V1), {"limits": {"max_labels_per_series": 1}}, pra.Error, "labels"),
    "no limit": (wire.compress(V1), {"limits": {"max_wealth": 1}}, ValueError, "max_wealth"),
    "no limits": (wire.compress(V1), {"limits": 17}, AttributeError, "items"),
    "text": ("text", {}, TypeError, "bytes"),
    "strided": (memoryview(bytes(10))[::2], {}, BufferError, "contiguous"),
    "positional": (wire.compress(V1), {"version": "x"}, TypeError, "int"),
    "named": (wire.compress(V1), {"more": 1}, TypeError, "more"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_decode_refuses(what: str) -> None:
    data, options, kind, text = BROKEN[what]
    with pytest.raises(kind, match=text) as caught:
        pra.WriteRequest.decode(data, **options)
    assert not isinstance(caught.value, pra.Error) or caught.value.code < 0


def test_decode_with_limits() -> None:
    block = wire.compress(V1)
    assert len(pra.WriteRequest.decode(block, limits={"max_memory_bytes": 1 << 20})) == 2
    assert len(pra.WriteRequest.decode(block, 1, limits={})) == len(pra.WriteRequest.decode(block, limits=None)) == 2


def test_requests_are_made_in_no_other_way() -> None:
    request = pra.WriteRequest.decode(wire.compress(V1))
    for thing in (request, request[0], request.values.obj):
        with pytest.raises(TypeError, match="cannot create"):
            type(thing)()
    with pytest.raises(TypeError):
        type("Mine", (pra.WriteRequest,), {})


def test_relay() -> None:
    """What one storage encodes another one decodes: all of it arrives."""
    second = Does(content)
    far = WsgiHost(second)
    first = Does(lambda request: (content(request), far.write(wire.uncompress(request.encode(1)))))
    near = WsgiHost(first)
    assert near.write(V1).status == 204
    seen, answer = first.result
    assert answer.status == 204 and second.result == seen
