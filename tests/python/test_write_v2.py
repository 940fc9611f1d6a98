"""What remote write 2.0 brings to a storage, and how it refuses a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Does

A = {"__name__": "a", "job": "api"}
B = {"__name__": "b", "job": "api"}
EXEMPLAR = ({"trace_id": "abc"}, 0.5, 1500)
FULL = [
    {
        "labels": A,
        "samples": [(1000, 1.0, 10), (2000, 2.0, 0)],
        "exemplars": [EXEMPLAR, ({}, 1.5, 1600)],
        "metadata": (1, "how many", "requests"),
    },
    {"labels": B, "samples": [(3000, 3.0, 30)], "metadata": (2, "", "°C")},
]


def received(open_host: Any, act: Callable[[pra.WriteRequest], object]) -> Any:
    storage = Does(act)
    assert open_host(storage).write_v2(*FULL).status == 204
    return storage.result


def test_version(open_host: Any) -> None:
    storage = Does(lambda request: request.version)
    host = open_host(storage)
    host.write_series((A, [(1, 1.0)]))
    assert storage.result == 1
    host.write_v2(*FULL)
    assert storage.result == 2


def test_start_timestamps(open_host: Any) -> None:
    both = received(
        open_host,
        lambda r: (list(r.start_timestamps or ()), [list(ts.start_timestamps or ()) for ts in r]),
    )
    assert both == ([10, 0, 30], [[10, 0], [30]])
    storage = Does(lambda r: (r.start_timestamps, r[0].start_timestamps))
    open_host(storage).write_series((A, [(1, 1.0), (2, 1.0)]))
    assert storage.result == (None, None)


def test_exemplars(open_host: Any) -> None:
    (first, second), none = received(open_host, lambda request: [ts.exemplars for ts in request])
    assert first == EXEMPLAR and none == []
    assert (first.labels, first.value, first.timestamp, second.labels) == ({"trace_id": "abc"}, 0.5, 1500, {})


def test_exemplars_of_version_1(open_host: Any) -> None:
    storage = Does(lambda request: [ts.exemplars for ts in request])
    exemplar = wire.data(1, wire.label("trace_id", "abc")) + wire.double(2, 0.5) + wire.number(3, 1500)
    message = wire.data(1, wire.series(A, [(1, 1.0)]) + wire.data(3, exemplar))
    assert open_host(storage).write(message).status == 204
    assert storage.result == [[EXEMPLAR]]


def test_metadata(open_host: Any) -> None:
    first, second = received(open_host, lambda request: list(request.metadata))
    assert first == ("counter", "", "how many", "requests") and second == ("gauge", "", "", "°C")
    assert (first.series, second.series) == (0, 1)
    storage = Does(lambda request: request.metadata[0].series)
    open_host(storage).write(wire.write_request([], [(1, "x", "", "")]))
    assert storage.result is None


def test_metadata_of_a_series_that_is_refused_is_left_out(open_host: Any) -> None:
    storage = Does(lambda request: [(m.series, m.unit) for m in request.metadata])
    nameless = {"labels": {"job": "x"}, "samples": [(1, 1.0, 0)], "metadata": (1, "", "gone")}
    assert open_host(storage).write_v2(nameless, *FULL).status == 400
    assert storage.result == [(0, "requests"), (1, "°C")]


def test_a_storage_that_keeps_no_exemplars(open_host: Any) -> None:
    storage = Does(lambda request: None)
    storage.exemplars = False
    answer = open_host(storage).write_v2(*FULL)
    assert answer.status == 400 and "does not keep exemplars" in answer.text
    assert written(answer) == (3, 0, 0)


# ---- refusing a part


def written(answer: Any) -> tuple[int, ...]:
    return tuple(
        int(answer.headers[f"X-Prometheus-Remote-Write-{kind}-Written"])
        for kind in ("Samples", "Histograms", "Exemplars")
    )


REFUSALS: dict[str, tuple[Callable[[pra.WriteRequest], object], tuple[int, int, int]]] = {
    "a series": (lambda r: r[0].reject("no such metric"), (1, 0, 0)),
    "one sample": (lambda r: r[0].reject("no such metric", "sample"), (2, 0, 2)),
    "two samples": (lambda r: r[0].reject("no such metric", kind="sample", count=2), (1, 0, 2)),
    "an exemplar": (lambda r: r[0].reject("no such metric", "exemplar", 1), (3, 0, 1)),
    "all": (lambda r: list(map(pra.TimeSeries.reject, r, ["no such metric"] * 2)), (0, 0, 0)),
    "the other": (lambda r: r[-1].reject(reason="no such metric"), (2, 0, 2)),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refuse(open_host: Any, what: str) -> None:
    act, expected = REFUSALS[what]
    answer = open_host(Does(act)).write_v2(*FULL)
    assert (answer.status, written(answer)) == (400, expected)
    assert "no such metric" in answer.text and 'job="api"' in answer.text


def test_refuse_in_version_1(open_host: Any) -> None:
    answer = open_host(Does(lambda r: r[1].reject("too old: Österreich"))).write_series(
        (A, [(1, 1.0)]), (B, [(1, 1.0)])
    )
    assert answer.status == 400 and "too old" in answer.text and '"b"' in answer.text


def test_a_failure_is_worse_than_a_refusal(open_host: Any) -> None:
    def act(request: pra.WriteRequest) -> None:
        request[0].reject("no")
        raise pra.Retry("later", after=3)

    answer = open_host(Does(act)).write_v2(*FULL)
    assert (answer.status, answer.headers["Retry-After"], written(answer)) == (503, "3", (0, 0, 0))


@pytest.mark.parametrize(
    "arguments, kind",
    [((), TypeError), ((1,), TypeError), (("x", "chunk"), ValueError), (("x", "sample", -1), ValueError)],
)
def test_wrong_arguments(open_host: Any, arguments: tuple[Any, ...], kind: type[Exception]) -> None:
    def act(request: pra.WriteRequest) -> None:
        with pytest.raises(kind):
            request[0].reject(*arguments)

    assert open_host(Does(act)).write_v2(*FULL).status == 204
