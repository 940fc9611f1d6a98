"""What a storage's write is given."""

from __future__ import annotations

import array
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prom_remote_api as pra
import wire
from hosts import WsgiHost


class Recorder(pra.Storage):
    """Copies everything it is given."""

    def __init__(self) -> None:
        self.series: list[tuple[dict[str, str], list[wire.Sample]]] = []
        self.metadata: list[pra.Metadata] = []
        self.seen: dict[str, Any] = {}

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.series += [(ts.labels, ts.samples) for ts in request]
        self.metadata += request.metadata
        self.seen = {
            "counts": (request.series_count, request.sample_count, len(request)),
            "more_counts": (request.histogram_count, request.exemplar_count),
            "timestamps": request.timestamps.tolist(),
            "values": bytes(request.values),
            "offsets": request.sample_offsets.tolist(),
            "columns": [(ts.timestamps.tolist(), ts.values.tolist()) for ts in request],
        }


ONE = {"__name__": "up", "job": "api"}
TWO = {"__name__": "up", "job": "db"}


def test_iterate(open_host: Any) -> None:
    storage = Recorder()
    answer = open_host(storage).write_series((ONE, [(1000, 1.0), (2000, 0.5)]), (TWO, [(-5, 7.0)]))
    assert (answer.status, answer.body) == (204, b"")
    assert storage.series == [(ONE, [(1000, 1.0), (2000, 0.5)]), (TWO, [(-5, 7.0)])]


def test_columns(open_host: Any) -> None:
    storage = Recorder()
    open_host(storage).write_series((ONE, [(1, 1.5), (2, 2.5)]), (TWO, [(3, 3.5)]))
    seen = storage.seen
    assert seen["counts"] == (2, 3, 2)
    assert seen["more_counts"] == (0, 0)
    assert seen["timestamps"] == [1, 2, 3]
    assert array.array("d", seen["values"]).tolist() == [1.5, 2.5, 3.5]
    assert seen["offsets"] == [0, 2, 3]
    assert seen["columns"] == [([1, 2], [1.5, 2.5]), ([3], [3.5])]


def test_metadata(open_host: Any) -> None:
    storage = Recorder()
    entries = [(1, "http_requests", "how many", "requests"), (2, "temperature", "", "°C"), (99, "x", "", "")]
    assert open_host(storage).write(wire.write_request([], entries)).status == 204
    assert storage.metadata == [
        ("counter", "http_requests", "how many", "requests"),
        ("gauge", "temperature", "", "°C"),
        ("unknown", "x", "", ""),
    ]
    assert storage.metadata[0].family == "http_requests"


@pytest.mark.parametrize("bits", [wire.STALE_BITS, wire.NORMAL_NAN_BITS, 0xFFF8000000000123, 1 << 63])
def test_bits_survive(open_host: Any, bits: int) -> None:
    storage = Recorder()
    open_host(storage).write_series((ONE, [(1, wire.from_bits(bits))]))
    ((_, ((_, value),)),) = storage.series
    assert wire.to_bits(value) == bits
    assert storage.seen["values"] == bits.to_bytes(8, "little")


def test_extreme_timestamps(open_host: Any) -> None:
    storage = Recorder()
    stamps = [-(1 << 63), -1, 0, (1 << 63) - 1]
    open_host(storage).write_series((ONE, [(stamp, 0.0) for stamp in stamps]))
    assert [stamp for stamp, _ in storage.series[0][1]] == stamps


def test_canonical_labels(open_host: Any) -> None:
    storage = Recorder()
    open_host(storage).write_series(([("z", "1"), ("__name__", "m"), ("gone", "")], [(1, 1.0)]))
    assert list(storage.series[0][0].items()) == [("__name__", "m"), ("z", "1")]


def test_repeated_label_is_the_senders_mistake(open_host: Any) -> None:
    storage = Recorder()
    answer = open_host(storage).write_series((
        [("__name__", "m"), ("a", "1"), ("a", "2")], [(1, 1.0)]), (ONE, [(1, 1.0)]))
    assert answer.status == 400
    assert [labels for labels, _ in storage.series] == [ONE]


def test_no_metric_name_is_the_senders_mistake(open_host: Any) -> None:
    storage = Recorder()
    answer = open_host(storage).write_series(({"job": "api"}, [(1, 1.0)]), (ONE, [(1, 1.0)]))
    assert answer.status == 400
    assert b"no metric name" in answer.body
    assert [labels for labels, _ in storage.series] == [ONE]


def test_empty_request(open_host: Any) -> None:
    storage = Recorder()
    assert open_host(storage).write(b"").status == 204
    assert storage.seen["counts"] == (0, 0, 0)
    assert storage.seen["timestamps"] == []
    assert storage.seen["offsets"] == [0]


def test_strings_are_shared() -> None:
    storage = Recorder()
    WsgiHost(storage).write_series(*(({"__name__": "a_long_name"}, [(i, 0.0)]) for i in range(3)))
    names = {id(name) for labels, _ in storage.series for name in labels}
    values = {id(value) for labels, _ in storage.series for value in labels.values()}
    assert (len(names), len(values)) == (1, 1)


def test_index(open_host: Any) -> None:
    class Indexing(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            assert request[1].labels == TWO
            assert request[-1].labels == TWO
            ts = request[0]
            assert ts.labels is ts.labels
            with pytest.raises(IndexError):
                request[2]
            with pytest.raises(TypeError):
                type(request)()

    assert open_host(Indexing()).write_series((ONE, [(1, 1.0)]), (TWO, [(1, 1.0)])).status == 204


text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=80)
label_sets = st.tuples(text.filter(len), st.dictionaries(text.filter(len), text.filter(len), max_size=12)).map(
    lambda both: {**both[1], "__name__": both[0]})
values = st.floats(width=64) | st.integers(0, (1 << 64) - 1).map(wire.from_bits)
samples = st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), values), max_size=5)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(label_sets, samples), max_size=8))
def test_everything_arrives(all_series: list[tuple[dict[str, str], list[wire.Sample]]]) -> None:
    """Labels of any UTF-8 (also NUL), values of any bits."""
    storage = Recorder()
    assert WsgiHost(storage).write_series(*all_series).status == 204
    assert [labels for labels, _ in storage.series] == [labels for labels, _ in all_series]
    assert _bits(storage.series) == _bits(all_series)


def _bits(all_series: list[tuple[dict[str, str], list[wire.Sample]]]) -> list[Any]:
    return [[(stamp, wire.to_bits(value)) for stamp, value in part] for _, part in all_series]
