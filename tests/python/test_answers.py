"""The client's side of a read: Query.encode and decode_read_response."""

from __future__ import annotations

import array
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from exchange import STREAMED, Adapter, ask, begin, pieces, plain, run

UP = {"__name__": "up", "job": "é"}
INTEGER = pra.Histogram(timestamp=3, count=3, sum=1.0, positive_spans=[(0, 2)], positive_buckets=[1, 2])
FLOAT = pra.Histogram(timestamp=4, count=3.0, sum=1.0, negative_spans=[(0, 2)], negative_buckets=[1.0, 2.0])
MATCHERS = [("__name__", "=", "up"), ("env", "!~", "test|staging"), ("job", "=~", "api-.*"), ("x", "!=", "")]
HINTS = (
    wire.number(1, 15_000) + wire.data(2, "rate") + wire.number(3, 1) + wire.number(4, 2)
    + wire.data(5, "job") + wire.data(5, "env") + wire.number(6, 1) + wire.number(7, 300_000)
)  # fmt: skip


# ---- Query.encode


def encoded(query: bytes, **arguments: Any) -> bytes:
    seen: list[bytes] = []
    ask(Adapter(lambda query, sink: seen.append(query.encode(**arguments))), query)
    return wire.uncompress(seen[0])


@pytest.mark.parametrize("query", [wire.query(-5, 7_000, MATCHERS, HINTS), wire.query(1, 2, []), wire.query(0, 0, [])])
def test_a_query_is_the_same_again(query: bytes) -> None:
    """For the library itself: what it decodes from it, and what it encodes again."""
    message = encoded(query)
    ((_, inner),) = [field for field in wire.fields(message) if field[0] == 1]
    assert encoded(inner) == message
    assert _said(inner) == _said(query)


def _said(query: bytes) -> list[Any]:
    """Fields of a query; those of messages in it, but for what is 0 or empty."""
    return [
        (field, sorted((n, v) for n, v in wire.fields(value) if v) if field > 2 else value)
        for field, value in wire.fields(query)
        if value
    ]


@pytest.mark.parametrize(
    "types, numbers",
    [(("samples",), [0]), (["streamed_xor_chunks", "samples"], [1, 0]), ((), []), (("samples",) * 3, [0] * 3)],
)
def test_response_types(types: Any, numbers: list[int]) -> None:
    fields = [value for field, value in wire.fields(encoded(wire.query(0, 1, []), response_types=types)) if field == 2]
    flat = [n for value in fields for n in (value if isinstance(value, bytes) else [value])]
    assert flat == numbers


@pytest.mark.parametrize("types, kind", [(("chunks",), ValueError), ((1,), ValueError), (17, TypeError)])
def test_no_such_response_type(types: Any, kind: type[Exception]) -> None:
    adapter = Adapter(lambda query, sink: query.encode(types))
    run(begin(adapter))
    assert [type(error) for error in adapter.errors] == [kind]


def test_a_query_that_is_over() -> None:
    kept: list[Any] = []
    ask(Adapter(lambda query, sink: kept.append(query)))
    with pytest.raises(pra.ExpiredError):
        kept[0].encode()


# ---- decode_read_response


def body(*results: Any, streamed: bool = False, **limits: int) -> bytes:
    """The answer to as many queries, as the library gives it."""
    left = list(results)
    x = begin(
        Adapter(lambda query, sink: sink.extend(left.pop(0))), *[wire.query(0, 1 << 40, [])] * len(left),
        streamed=streamed, limits=limits,
    )  # fmt: skip
    x.run()
    return b"".join(pieces(x))


def decode(data: bytes, streamed: bool, **options: Any) -> list[list[pra.Series]]:
    return pra.decode_read_response(
        data, content_type=STREAMED if streamed else "application/x-protobuf", **options
    )


@pytest.mark.parametrize("streamed", [False, True])
def test_there_and_back(streamed: bool) -> None:
    first = [({"a": "1"}, [(1, 1.5), (2, wire.from_bits(wire.STALE_BITS))]), (UP, [INTEGER, FLOAT, (1, -0.0)])]
    second = [({"a": "1"}, [(7, 1.0)])]
    results = decode(body(first, [], second, streamed=streamed), streamed)
    assert [len(result) for result in results] == [2, 0, 1]
    by_labels = {tuple(one.labels.items()): one for one in results[0]}
    a, up = by_labels[("a", "1"),], by_labels[tuple(UP.items())]
    assert list(a.timestamps) == [1, 2] and wire.to_bits(list(a.values)[1]) == wire.STALE_BITS
    assert [wire.to_bits(one) for one in up.values] == [1 << 63]
    assert list(up.histograms) == [INTEGER, FLOAT]
    assert isinstance(a, pra.Series) and isinstance(a.labels, dict) and isinstance(a.histograms, list)
    for column, format in ((a.timestamps, "q"), (a.values, "d")):
        assert isinstance(column, memoryview) and column.format == format
    assert list(results[2][0].values) == [1.0]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_answers(streamed: bool) -> None:
    """What was decoded may be given back as it is."""
    data = body([(UP, [INTEGER, (1, 1.0), (2, 2.0)]), ({"z": ""}, [(1, 1.0)])], streamed=streamed)
    (series,) = decode(data, streamed)
    assert decode(body(series, streamed=streamed), streamed) == [series]


def test_frames_of_a_series_are_joined() -> None:
    times = array.array("q", range(50_000))
    values = array.array("d", [i * 1.7 % 1 for i in times])
    many = [pra.Histogram(timestamp=60_000 + i, count=i, zero_count=i, sum=i * 1.7) for i in range(5_000)]
    data = body([({"a": "1"}, times, values, many), ({"b": "1"}, times, values)], streamed=True, max_frame_bytes=9_000)
    assert len(wire.frames(data)) > 50
    ((one, other),) = decode(data, True)
    assert memoryview(one.timestamps) == memoryview(times) == memoryview(other.timestamps)  # type: ignore[arg-type]
    assert memoryview(one.values) == memoryview(values) == memoryview(other.values)  # type: ignore[arg-type]
    assert [(h.timestamp, h.count, h.sum) for h in one.histograms] == [(h.timestamp, h.count, h.sum) for h in many]
    assert other.histograms == []


def test_the_same_labels_in_two_queries_are_two_series() -> None:
    data = body([(UP, [(1, 1.0)])], [(UP, [(2, 2.0)])], streamed=True)
    assert plain(decode(data, True)) == [[(UP, [(1, 1.0)])], [(UP, [(2, 2.0)])]]


def test_empty_answers() -> None:
    assert decode(body([], []), False) == [[], []]
    assert decode(body([], [], streamed=True), True) == []  # nothing tells how many queries there were
    assert decode(body([], [(UP, [(1, 1.0)])], [], streamed=True), True)[0] == []


GOOD = body([(UP, [(i, i * 0.3) for i in range(100)])])
FRAMES = body([(UP, [(i, i * 0.3) for i in range(100)])], streamed=True)


@pytest.mark.parametrize("streamed", [False, True])
def test_cut_off_anywhere(streamed: bool) -> None:
    whole = FRAMES if streamed else GOOD
    for end in range(1, len(whole)):
        with pytest.raises(pra.Error) as caught:
            decode(whole[:end], streamed)
        assert caught.value.code and str(caught.value)


def test_wrong_bytes() -> None:
    for at in range(len(FRAMES)):
        with pytest.raises(pra.Error):
            decode(FRAMES[:at] + bytes([FRAMES[at] ^ 0x41]) + FRAMES[at + 1 :], True)
    with pytest.raises(pra.Error):
        decode(FRAMES, False)
    with pytest.raises(pra.Error):
        decode(GOOD, True)


def test_limits() -> None:
    with pytest.raises(pra.Error, match="max_decoded|over|limit|large"):
        decode(GOOD, False, limits={"max_decoded_bytes": 100})
    with pytest.raises(pra.Error):
        decode(FRAMES, True, limits={"max_frame_read_bytes": 100})
    big = body([({"a": str(i)}, [(1, 1.0)]) for i in range(3000)], streamed=True)
    with pytest.raises(pra.Error) as caught:
        decode(big, True, limits={"max_memory_bytes": 100_000})
    assert "memory" in str(caught.value)
    with pytest.raises(ValueError, match="no such limit"):
        decode(GOOD, False, limits={"max_typos": 1})


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes(kind: Any) -> None:
    assert len(decode(kind(GOOD), False)[0][0].labels) == 2
    assert len(decode(kind(FRAMES), True)[0][0].labels) == 2


@pytest.mark.parametrize("type", ["application/x-protobuf", "Application/X-Protobuf; charset=x"])
def test_content_types(type: str) -> None:
    assert pra.decode_read_response(GOOD, content_type=type)
    assert pra.decode_read_response(FRAMES, content_type="application/x-streamed-protobuf")
    for wrong in ("text/plain", "", "application/x-protobufs", "application/x-proto"):
        with pytest.raises(ValueError, match="content type"):
            pra.decode_read_response(GOOD, content_type=wrong)
    with pytest.raises(TypeError):
        pra.decode_read_response("text")  # type: ignore[arg-type]
