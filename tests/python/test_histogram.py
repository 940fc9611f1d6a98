"""Native histograms: as objects, as bytes, in requests and in answers."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import prom_remote_api as pra
import wire
from hosts import WsgiHost

UP = {"__name__": "up", "job": "api"}
ALL = wire.query(0, 10_000, [("__name__", "=~", ".+")])
INTEGER = pra.Histogram(
    timestamp=1000,
    start_timestamp=10,
    count=12,
    sum=18.4,
    schema=1,
    zero_threshold=0.001,
    zero_count=2,
    positive_spans=[(0, 2), (1, 2)],
    positive_buckets=[1, 2, 1, 1],
    negative_spans=[(-1, 2)],
    negative_buckets=[3, 2],
    reset_hint="no",
)
FLOAT = pra.Histogram(
    timestamp=2000,
    count=4.5,
    sum=math.inf,
    schema=-2,
    zero_count=0.5,
    positive_spans=[(3, 1)],
    positive_buckets=[4.0],
    reset_hint="gauge",
)
CUSTOM = pra.Histogram(
    timestamp=3000,
    count=6,
    sum=-1.0,
    schema=-53,
    positive_spans=[(0, 3)],
    positive_buckets=[1, 2, 3],
    custom_values=[0.5, 2.0],
)
STALE = pra.Histogram(timestamp=4000, count=0, sum=pra.STALE_NAN)
KINDS = {"integer": INTEGER, "float": FLOAT, "custom": CUSTOM, "stale": STALE}
WIRE = wire.histogram(
    1000, 12, 18.4, schema=1, zero=(0.001, 2), hint=2, start=10,
    positive=([(0, 2), (1, 2)], [1, 1, -1, 0]), negative=([(-1, 2)], [3, -1]),
)  # fmt: skip


class Keeps(pra.Storage):
    """Keeps histograms as they are."""

    histograms = exemplars = True

    def __init__(self) -> None:
        self.kept: list[tuple[dict[str, str], list[pra.Histogram]]] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.kept += [(ts.labels, ts.histograms) for ts in request]

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[pra.SeriesLike]:
        return self.kept


def same(a: pra.Histogram, b: pra.Histogram) -> bool:
    """Equal, also in the bits of sum and the kinds of counts."""
    return repr(a) == repr(b) and wire.to_bits(a.sum) == wire.to_bits(b.sum)


# ---- objects


def test_what_it_says() -> None:
    assert (INTEGER.is_float, FLOAT.is_float, INTEGER.is_stale, STALE.is_stale) == (False, True, False, True)
    assert (INTEGER.positive_deltas, INTEGER.negative_deltas) == ((1, 1, -1, 0), (3, -1))
    assert (FLOAT.positive_deltas, INTEGER.positive_spans) == ((), ((0, 2), (1, 2)))
    with pytest.raises(AttributeError):
        INTEGER.count = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(INTEGER)) == INTEGER
    assert len({INTEGER, pra.Histogram.decode(INTEGER.encode())}) == 1


def test_buckets() -> None:
    root = 0.7071067811865475  # as Prometheus has it: one less in the last bit than sqrt(2) / 2
    assert list(INTEGER.buckets()) == [
        (-1.0, -root, 2, True, False),
        (-root, -0.5, 3, True, False),
        (-0.001, 0.001, 2, True, True),
        (root, 1.0, 1, False, True),
        (1.0, 2 * root, 2, False, True),
        (2.0, 4 * root, 1, False, True),
        (4 * root, 4.0, 1, False, True),
    ]
    assert list(FLOAT.buckets()) == [(-0.0, 0.0, 0.5, True, True), (256.0, 4096.0, 4.0, False, True)]
    assert list(CUSTOM.buckets()) == [
        (-math.inf, 0.5, 1, True, True), (0.5, 2.0, 2, False, True), (2.0, math.inf, 3, False, True),
    ]  # fmt: skip
    assert list(STALE.buckets()) == []
    assert next(INTEGER.buckets()).lower_inclusive


def test_a_zero_bucket_that_reaches_into_others() -> None:
    wide = pra.Histogram(
        timestamp=1, count=5, sum=1.0, zero_threshold=1.5, zero_count=1,
        positive_spans=[(1, 1)], positive_buckets=[2], negative_spans=[(1, 1)], negative_buckets=[2],
    )  # fmt: skip
    assert [bucket[:2] for bucket in wide.buckets()] == [(-2.0, -1.5), (-1.5, 1.5), (1.5, 2.0)]


def test_the_last_buckets() -> None:
    for schema, last in ((0, 1024), (3, 8192), (-4, 64)):
        top = pra.Histogram(
            timestamp=1, count=2, sum=1.0, schema=schema, positive_spans=[(last, 2)], positive_buckets=[1, 1]
        )
        assert [bucket.upper for bucket in top.buckets()] == [1.7976931348623157e308, math.inf]


def test_buckets_of_nonsense() -> None:
    """What cannot come from a request, but from bytes."""
    few = pra.Histogram(timestamp=1, count=1, sum=1.0, positive_spans=[(0, 2**32 - 1)], positive_buckets=[1])
    assert [bucket.count for bucket in few.buckets()] == [1]
    many = pra.Histogram(timestamp=1, count=1, sum=1.0, schema=-53, positive_spans=[(-3, 9)], positive_buckets=[1] * 9)
    assert len(list(many.buckets())) == 9
    unknown = pra.Histogram(timestamp=1, count=1, sum=1.0, schema=9, positive_spans=[(0, 1)], positive_buckets=[1])
    assert math.isnan(next(unknown.buckets()).upper)


@pytest.mark.parametrize(
    "value, stale", [(pra.STALE_NAN, True), (math.nan, False), (1.0, False), (wire.from_bits(wire.NORMAL_NAN_BITS), False)]
)
def test_is_stale(value: float, stale: bool) -> None:
    assert pra.is_stale(value) == stale


# ---- bytes


def test_encode_is_the_message() -> None:
    assert same(pra.Histogram.decode(WIRE), INTEGER)
    assert same(pra.Histogram.decode(bytearray(INTEGER.encode())), INTEGER)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str) -> None:
    one = KINDS[kind]
    again = pra.Histogram.decode(memoryview(one.encode()))
    assert wire.to_bits(again.sum) == wire.to_bits(one.sum)
    assert dataclasses.replace(again, sum=0.0) == dataclasses.replace(one, sum=0.0)


I64 = st.integers(-(1 << 63), (1 << 63) - 1)
COUNT = st.integers(0, (1 << 63) - 1)
DOUBLE = st.integers(0, (1 << 64) - 1).map(wire.from_bits)
SPANS = st.lists(st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, (1 << 32) - 1)), max_size=4)


@st.composite
def histograms(draw: Any) -> pra.Histogram:
    count = st.floats(allow_nan=False) if draw(st.booleans()) else COUNT
    return pra.Histogram(
        timestamp=draw(I64),
        start_timestamp=draw(I64),
        count=draw(count),
        sum=draw(DOUBLE),
        schema=draw(st.integers(-(1 << 31), (1 << 31) - 1)),
        zero_threshold=draw(st.floats(allow_nan=False)),
        zero_count=draw(count),
        positive_spans=draw(SPANS),
        positive_buckets=draw(st.lists(count, max_size=9)),
        negative_spans=draw(SPANS),
        negative_buckets=draw(st.lists(count, max_size=9)),
        custom_values=draw(st.lists(st.floats(allow_nan=False), max_size=4)),
        reset_hint=draw(st.sampled_from(["unknown", "yes", "no", "gauge"])),
    )


@given(histograms())
def test_any_round_trip(one: pra.Histogram) -> None:
    assert same(pra.Histogram.decode(one.encode()), one)


@given(st.binary(max_size=60))
@example(b"b\2\0\1")  # deltas that sum up to less than nothing
def test_any_bytes(raw: bytes) -> None:
    try:
        decoded = pra.Histogram.decode(raw)
    except pra.Error as error:
        assert error.code < 0 and str(error)
    else:
        assert same(pra.Histogram.decode(decoded.encode()), decoded)


WRONG: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "negative count": ({"count": -1}, ValueError),
    "huge count": ({"count": 1 << 64}, ValueError),
    "text": ({"count": "3"}, TypeError),
    "float bucket of an integer one": ({"positive_buckets": [1.5]}, TypeError),
    "negative bucket": ({"negative_buckets": [-1]}, ValueError),
    "text bucket of a float one": ({"count": 1.0, "positive_buckets": ["x"]}, TypeError),
    "short span": ({"positive_spans": [(1,)]}, ValueError),
    "wide span": ({"negative_spans": [(1 << 31, 1)]}, ValueError),
    "negative span": ({"negative_spans": [(1, -1)]}, ValueError),
    "custom": ({"custom_values": [None]}, TypeError),
    "hint": ({"reset_hint": "maybe"}, ValueError),
    "schema": ({"schema": 1 << 31}, ValueError),
    "timestamp": ({"timestamp": 1 << 63}, ValueError),
    "float timestamp": ({"timestamp": 1.5}, TypeError),
    "sum": ({"sum": "x"}, TypeError),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values(what: str) -> None:
    values, kind = WRONG[what]
    one = pra.Histogram(**({"timestamp": 1, "count": 1, "sum": 1.0} | values))
    with pytest.raises(kind, match="histogram|number|float|int"):
        one.encode()


def test_not_tuples() -> None:
    one = pra.Histogram(timestamp=1, count=1, sum=1.0)
    object.__setattr__(one, "positive_buckets", [1])
    with pytest.raises(TypeError, match="tuple"):
        one.encode()
    with pytest.raises(TypeError):
        pra.Histogram(timestamp=1, count=1, sum=1.0, positive_spans=17)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pra._pra.histogram_encode(object())  # type: ignore[arg-type]


# ---- requests


def test_of_both_versions(open_host: Any) -> None:
    storage = Keeps()
    host = open_host(storage)
    v1 = wire.data(1, wire.series(UP, []) + wire.data(4, WIRE.replace(wire.number(17, 10), b"")))
    assert host.write(v1).status == 204
    assert host.write_v2({"labels": UP, "histograms": [WIRE, FLOAT.encode(), CUSTOM.encode()]}).status == 204
    (labels, (one,)), (_, three) = storage.kept
    assert labels == UP
    assert one.start_timestamp == 0 and list(one.buckets()) == list(INTEGER.buckets())
    assert three == [INTEGER, FLOAT, CUSTOM]


def test_a_storage_that_does_not_keep_them(open_host: Any) -> None:
    class Samples(Keeps):
        histograms = False

    answer = open_host(Samples()).write_v2({"labels": UP, "samples": [(1, 1.0, 0)], "histograms": [WIRE]})
    assert answer.status == 400 and "does not keep native histograms" in answer.text
    assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert answer.headers["X-Prometheus-Remote-Write-Histograms-Written"] == "0"


# ---- answers

OTHER = {"__name__": "a"}
FORMS: dict[str, Any] = {
    "among samples": lambda hs: (UP, [(500, 1.0), *hs]),
    "generator": lambda hs: (UP, (one for one in [*hs, (500, 1.0)])),
    "columns": lambda hs: (UP, [500], [1.0], hs),
    "Series": lambda hs: pra.Series(UP, [500], [1.0], iter(hs)),
}


class Answers(pra.Storage):
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[Any]:
        yield self.make()
        yield OTHER, [(i, 0.5) for i in range(200)]


@pytest.mark.parametrize("form", FORMS)
def test_sampled(open_host: Any, form: str) -> None:
    answer = open_host(Answers(lambda: FORMS[form]([FLOAT, INTEGER]))).read(ALL)
    assert answer.results[0][0] == (UP, [(500, 1.0)])
    (first, second), none = wire.read_histograms(wire.uncompress(answer.body))
    assert list(pra.Histogram.decode(first).buckets()) == list(INTEGER.buckets())
    assert pra.Histogram.decode(second) == FLOAT and none == []


@pytest.mark.parametrize("form", FORMS)
def test_streamed(open_host: Any, form: str) -> None:
    storage = Answers(lambda: FORMS[form]([INTEGER, FLOAT, CUSTOM, STALE]))
    answer = open_host(storage).read_streamed(ALL, ALL)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/x-streamed-protobuf")
    frames = wire.frames(answer.body)
    assert [(query, labels) for query, labels, _ in frames] == [(q, one) for q in (0, 1) for one in (OTHER, UP)]
    assert [chunk for _, _, chunks in frames[:2] for chunk in chunks] == [
        (1, 0, 119, 120), (1, 120, 199, 80),
        (1, 500, 500, 1), (2, 1000, 1000, 1), (3, 2000, 2000, 1), (2, 3000, 4000, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("use", ["read", "read_streamed"])
@pytest.mark.parametrize(
    "series",
    [
        (UP, [pra.Histogram(timestamp=1, count=5, sum=1.0)]),  # a count without buckets
        (UP, [pra.Histogram(timestamp=1, count=0, sum=1.0, schema=9)]),
        (UP, [pra.Histogram(timestamp=1, count=-1, sum=1.0)]),
        (UP, [1], [1.0], [(1, 1.0)]),
        (UP, [1], [1.0], 17),
        (UP, [INTEGER, "x"]),
    ],
)
def test_wrong_answers(open_host: Any, use: str, series: Any) -> None:
    seen: list[Exception] = []
    host = open_host(Answers(lambda: series), on_error=lambda _, error: seen.append(error))
    assert getattr(host, use)(ALL).status == 500
    assert isinstance(seen[0], ValueError | TypeError)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9_999), st.lists(st.integers(0, 1000), max_size=5)), max_size=5, unique_by=lambda p: p[0]))
def test_what_was_written_is_read(points: list[tuple[int, list[int]]]) -> None:
    sent = [
        pra.Histogram(
            timestamp=t, count=sum(counts), sum=1.5, schema=2, positive_spans=[(-3, len(counts))] * (len(counts) > 0),
            positive_buckets=counts,
        )
        for t, counts in points
    ]  # fmt: skip
    storage = Keeps()
    host = WsgiHost(storage)
    assert host.write_v2({"labels": UP, "histograms": [one.encode() for one in sent]}).status in (204, 400)
    body = wire.uncompress(host.read(ALL).body)
    read = [pra.Histogram.decode(raw) for series in wire.read_histograms(body) for raw in series]
    assert read == sorted(sent, key=lambda one: one.timestamp)
