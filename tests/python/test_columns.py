"""Columns are memory of the request itself, and stay it for whoever still looks in after the call."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Does, WsgiHost, repeats

A = {"__name__": "a", "job": "api"}
B = {"__name__": "b", "job": "Österreich"}
EXEMPLAR = ({"trace_id": "abc"}, 0.5, 1500)
HISTOGRAM = wire.histogram(5, 3, 1.0, positive=([(0, 2)], [1, 1]))
SERIES: list[dict[str, Any]] = [
    {"labels": A, "samples": [(1000, 1.5, 10), (2000, wire.from_bits(wire.STALE_BITS), 0)], "exemplars": [EXEMPLAR]},
    {"labels": B, "samples": [(3000, 3.5, 30)], "exemplars": [EXEMPLAR, ({}, 1.5, 1600)]},
    {"labels": {"__name__": "c"}, "histograms": [HISTOGRAM, HISTOGRAM]},
]
COLUMNS: dict[str, tuple[str, Any]] = {
    "timestamps": ("q", [1000, 2000, 3000]),
    "values": ("d", [1.5, wire.STALE_BITS, 3.5]),
    "start_timestamps": ("q", [10, 0, 30]),
    "sample_offsets": ("I", [0, 2, 3, 3]),
    "label_offsets": ("I", [0, 2, 4, 5]),
    "histogram_offsets": ("I", [0, 0, 0, 2]),
    "exemplar_offsets": ("I", [0, 1, 3, 3]),
    "exemplar_timestamps": ("q", [1500, 1500, 1600]),
    "exemplar_values": ("d", [0.5, 0.5, 1.5]),
}
OTHERS = ("label_spans", "data", "fingerprints")


def received(open_host: Any, act: Callable[[pra.WriteRequest], object], series: Any = SERIES) -> Any:
    """What act makes of the request; afterwards the exchange has had two others."""
    storage = Does(act)
    host = open_host(storage)
    assert host.write_v2(*series).status == 204
    result, storage.act = storage.result, lambda _: None
    for i in range(2):
        filler = [{"labels": {"__name__": "x" * 500}, "samples": [(7, 7.0, 7)] * 50}] * (i * 20 + 1)
        assert host.write_v2(*filler).status == 204
    return result


def plain(view: Any) -> list[Any]:
    """The elements, those that are no numbers as bits."""
    return [item if item == item else wire.to_bits(item) for item in view.tolist()]


def expected(name: str) -> list[Any]:
    return COLUMNS[name][1]  # type: ignore[no-any-return]


def test_values(open_host: Any) -> None:
    def look(request: pra.WriteRequest) -> dict[str, tuple[str, Any]]:
        seen = {}
        for name in COLUMNS:
            view = getattr(request, name)
            assert (view.readonly, view.c_contiguous, view.ndim) == (True, True, 1)
            assert view.nbytes == len(view) * view.itemsize
            with pytest.raises(TypeError):
                view[0] = 1
            seen[name] = view.format, plain(view)
        return seen

    assert received(open_host, look) == COLUMNS


def test_of_one_series(open_host: Any) -> None:
    def look(request: pra.WriteRequest) -> list[Any]:
        return [[plain(part) for part in (ts.timestamps, ts.values, ts.start_timestamps)] for ts in request]

    assert received(open_host, look) == [
        [[1000, 2000], [1.5, wire.STALE_BITS], [10, 0]],
        [[3000], [3.5], [30]],
        [[], [], []],
    ]


def test_labels_by_spans(open_host: Any) -> None:
    def look(request: pra.WriteRequest) -> list[dict[str, str]]:
        spans, data, offsets = request.label_spans, request.data, request.label_offsets
        assert (spans.shape, spans.format, data.format) == ((5, 4), "I", "B")
        rows = [
            (str(data[name : name + n], "utf-8"), str(data[value : value + v], "utf-8"))
            for name, n, value, v in (tuple(spans[row, i] for i in range(4)) for row in range(5))
        ]
        return [dict(rows[a:b]) for a, b in zip(offsets, list(offsets)[1:])]

    assert received(open_host, look) == [series["labels"] for series in SERIES]


def test_all_labels_at_once(open_host: Any) -> None:
    def look(request: pra.WriteRequest) -> Any:
        first = request.labels
        assert first == [ts.labels for ts in request] and first[0] is not request.labels[0]
        first[0]["more"] = "x"
        assert "more" not in request[0].labels
        return request.labels

    assert received(open_host, look) == [series["labels"] for series in SERIES]


@pytest.mark.parametrize("send", ["write_series", "write_v2"])
def test_equal_strings_are_one(open_host: Any, send: str) -> None:
    storage = Does(lambda request: request.labels + [ts.labels for ts in request])
    long = "v" * (100 if send == "write_v2" else 20)
    labels = {"__name__": "test_equal_strings", "instance": long}
    rows: list[Any] = [{"labels": labels, "samples": [(i, 1.0, 0)]} for i in range(3)]
    if send == "write_series":
        rows = [(labels, [(i, 1.0)]) for i in range(3)]
    assert getattr(open_host(storage), send)(*rows).status == 204
    assert storage.result == [labels] * 6
    assert len({id(text) for one in storage.result for text in (*one, *one.values())}) == 4


def test_symbols_that_are_mended(open_host: Any) -> None:
    """Labels that are sorted, dropped or refused take their symbols with them."""
    sent: list[dict[str, Any]] = [
        {"labels": {"zone": "1", "__name__": "m", "gone": "", "a": "2"}, "samples": [(1, 1.0, 0)]},
        {"labels": {"no": "name"}, "samples": [(1, 1.0, 0)]},
        {"labels": {"job": "x", "__name__": "n"}, "samples": [(2, 2.0, 0)]},
    ]
    storage = Does(lambda request: [list(labels.items()) for labels in request.labels])
    assert open_host(storage).write_v2(*sent).status == 400
    assert storage.result == [[("__name__", "m"), ("a", "2"), ("zone", "1")], [("__name__", "n"), ("job", "x")]]


def test_fingerprints(open_host: Any) -> None:
    def look(request: pra.WriteRequest) -> Any:
        assert request.fingerprints.format == "Q" and request.fingerprints.readonly
        assert request.fingerprints.tolist() == [ts.fingerprint for ts in request]
        assert [ts.index for ts in request] == [0, 1, 2] and request[-1].index == 2
        return request.fingerprints

    kept = received(open_host, look)  # memory of Python, not of the request
    # Prometheus' labels.Hash of {__name__="a", job="api"}
    assert kept[0] == xxh64(b"__name__\xffa\xffjob\xffapi\xff")
    assert len(set(kept)) == 3


def xxh64(data: bytes) -> int:
    """Of less than 32 bytes."""
    p1, p2, p3, p4, p5 = (
        11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261,
    )  # fmt: skip
    mask = (1 << 64) - 1

    def rotl(value: int, by: int) -> int:
        return (value << by | value >> 64 - by) & mask

    h, at = (p5 + len(data)) & mask, 0
    while at + 8 <= len(data):
        word = rotl(int.from_bytes(data[at : at + 8], "little") * p2 & mask, 31) * p1 & mask
        h, at = (rotl(h ^ word, 27) * p1 + p4) & mask, at + 8
    if at + 4 <= len(data):
        h ^= int.from_bytes(data[at : at + 4], "little") * p1 & mask
        h, at = (rotl(h, 23) * p2 + p3) & mask, at + 4
    for byte in data[at:]:
        h = rotl(h ^ byte * p5 & mask, 11) * p1 & mask
    for shift, prime in ((33, p2), (29, p3), (32, 1)):
        h = (h ^ h >> shift) * prime & mask
    return h


def test_nothing_in_it(open_host: Any) -> None:
    storage = Does(
        lambda r: {
            "lists": [getattr(r, name).tolist() for name in (*COLUMNS, *OTHERS) if name != "start_timestamps"],
            "more": (r.start_timestamps, r.labels, r.label_spans.shape, r.sample_offsets.tolist()),
            "bytes": bytes(r.timestamps) + bytes(memoryview(r.values)) + bytes(r.label_spans),
        }
    )
    assert open_host(storage).write(b"").status == 204
    assert storage.result["more"] == (None, [], (0, 4), [0])
    assert sum(map(sum, storage.result["lists"])) == 0 and storage.result["bytes"] == b""


# ---- life time


def test_views_end_with_the_call(open_host: Any) -> None:
    views = received(open_host, lambda request: [getattr(request, name) for name in (*COLUMNS, "label_spans", "data")])
    for view in views:
        for use in (memoryview.tolist, memoryview.__len__, memoryview, lambda view: view[0], lambda view: view.format):
            with pytest.raises(ValueError, match="released"):
                use(view)
        assert "released" in repr(view)
        view.release()


def test_views_of_a_series_end_too(open_host: Any) -> None:
    views = received(open_host, lambda request: [ts.values for ts in request] + [request[0].timestamps])
    for view in views:
        with pytest.raises(ValueError, match="released"):
            view.tolist()


MAKERS: dict[str, Callable[[memoryview[int]], Any]] = {
    "slice": lambda view: view[:],
    "view": lambda view: memoryview(view),
    "cast": lambda view: view.cast("B"),
    "slice of a slice": lambda view: memoryview(view[0:])[0:],
    "read only": lambda view: view.toreadonly(),
    "ctypes": lambda view: Exported(view),
    "object behind it": lambda view: view.obj,
}


class Exported:
    """Holds an export of the memoryview itself, so that it cannot be released."""

    def __init__(self, view: memoryview[int]) -> None:
        self.buffer = ctypes.create_string_buffer(256)
        code = ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), self.buffer, 0x11C)  # FULL_RO
        assert code == 0

    def release(self) -> None:
        ctypes.pythonapi.PyBuffer_Release(self.buffer)


@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_made_of_a_view_stays(open_host: Any, maker: str) -> None:
    def make(request: pra.WriteRequest) -> Any:
        views = [getattr(request, name) for name in (*COLUMNS, "data")]
        return [(bytes(view), view, MAKERS[maker](view)) for view in views]

    for content, view, made in received(open_host, make):
        if isinstance(made, Exported):
            assert bytes(view) == content  # still used: cannot be released
            made.release()
        else:
            with pytest.raises(ValueError):
                bytes(view)
            assert bytes(made) == content
        del view, made
        gc.collect()


def test_kept_after_the_host_is_gone() -> None:
    storage = Does(lambda request: (request.values[1:], request.data[:]))
    host = WsgiHost(storage)
    host.write_v2(*SERIES)
    host.close()
    del host
    gc.collect()
    values, data = storage.result
    assert plain(values) == [wire.STALE_BITS, 3.5]
    assert "Österreich".encode() in bytes(data)


def test_a_storage_that_fails(open_host: Any) -> None:
    """Views end, and what is made of them stays, whatever became of the call."""
    kept: list[Any] = []

    def act(request: pra.WriteRequest) -> None:
        kept[:] = [request.timestamps, request.timestamps[:]]
        raise KeyError("x")

    host = open_host(Does(act), on_error=lambda *_: None)
    assert host.write_v2(*SERIES).status == 500
    view, piece = kept
    with pytest.raises(ValueError):
        view.tolist()
    assert piece.tolist() == [1000, 2000, 3000]


def test_kept_in_exceptions(open_host: Any) -> None:
    """A traceback holds views; they end all the same, and so does the memory."""
    errors: list[Exception] = []

    def act(request: pra.WriteRequest) -> None:
        view = request.values
        raise KeyError(view[:], request)

    host = open_host(Does(act), on_error=lambda _, error: errors.append(error))
    assert host.write_v2(*SERIES).status == 500
    assert plain(errors[0].args[0]) == expected("values")
    with pytest.raises(pra.ExpiredError):
        errors[0].args[1].values


def test_released_by_hand(open_host: Any) -> None:
    def act(request: pra.WriteRequest) -> Any:
        with request.values as view:
            piece = view[1:]
        with pytest.raises(ValueError):
            view.tolist()
        return piece

    assert plain(received(open_host, act)) == [wire.STALE_BITS, 3.5]


def test_threads_that_go_on_reading(open_host: Any) -> None:
    """Views that end under the eyes of other threads, and arrays that do not."""
    newest: list[Any] = []
    stop = threading.Event()
    outcomes = {"read": 0, "ended": 0}

    def use() -> None:
        while not stop.is_set():
            for view, piece in list(newest):
                assert sum(piece.tolist()) == sum(range(50))
                try:
                    outcomes["read"] += sum(view.tolist()) == sum(range(50))
                except ValueError:
                    outcomes["ended"] += 1

    def act(request: pra.WriteRequest) -> None:
        newest[:] = [(request.timestamps, request.timestamps[:]) for _ in range(3)]

    threads = [threading.Thread(target=use) for _ in range(3)]
    host = open_host(Does(act))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    try:
        for _ in range(repeats(100)):
            host.write_v2({"labels": A, "samples": [(i, 1.0, 0) for i in range(50)]})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert outcomes["ended"] > 0


def test_memory_goes_when_nobody_has_it() -> None:
    """Whatever is kept of a call and dropped later, in any order."""
    storage = Does(lambda _: None)
    host = WsgiHost(storage)
    message = wire.write_request([({"__name__": "x" * 100000}, [(1, 1.0), (2, 2.0)])])

    def call(act: Callable[[pra.WriteRequest], object]) -> None:
        storage.act = act
        assert host.write(message).status == 204
        storage.result = None

    acts: list[Callable[[pra.WriteRequest], object]] = [
        lambda r: r.values[:],
        lambda r: (r.values, r.timestamps[1:], r.copy().values),
        lambda r: [r.copy() for _ in range(3)],
        lambda r: [r.copy()[0].values, r[0].values[:]],
        lambda r: [memoryview(r.data), pra.WriteRequest.decode(r.encode(2), 2).data],
    ]
    for act in acts:
        call(act)
    before = allocated()
    for _ in range(20):
        for act in acts:
            call(act)
    assert allocated() - before < 1 << 20  # 100 requests of 0.1 MiB


def allocated() -> int:
    """Bytes that C has taken: the sanitizer knows, or else libc."""
    libc = ctypes.CDLL(None)
    try:
        count = libc.__sanitizer_get_current_allocated_bytes
    except AttributeError:
        pass
    else:
        count.restype = ctypes.c_size_t
        return int(count())

    class MallInfo(ctypes.Structure):
        _fields_ = [(f"field{i}", ctypes.c_size_t) for i in range(10)]

    libc.mallinfo2.restype = MallInfo
    info = libc.mallinfo2()
    return int(info.field4 + info.field7)  # mapped, and in use
