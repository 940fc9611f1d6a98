"""Every call of CPython that our C code makes fails once: in each scenario the first, then the second, and so on,
until none is left. Each time somebody is told, nothing is left behind, and the next call works.

Wants the module that is built with PRA_PY_FAULTS (see bindings/python_faults.h).
"""

from __future__ import annotations

import array
import ctypes
import gc
import http.client
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import exchange
import prom_remote_api as pra
import wire
from prom_remote_api import _pra
from prom_remote_api import pra as c
from prom_remote_api._handler import _limits
from test_cursor import Cursor, Cursors

LIBRARY = ctypes.PyDLL(_pra.__file__)
if not hasattr(LIBRARY, "pra_py_faults_arm"):
    pytest.skip("this module cannot fail on demand", allow_module_level=True)


class Site(ctypes.Structure):
    """pra_py_site."""

    _fields_ = [(name, ctypes.c_char_p) for name in ("name", "file", "function")] + [
        (name, ctypes.c_ulong) for name in ("line", "calls", "failures")
    ]

    def __str__(self) -> str:
        return f"{self.name.decode()} in {self.function.decode()}, {Path(self.file.decode()).name}:{self.line}"


arm = LIBRARY.pra_py_faults_arm
failures = LIBRARY.pra_py_faults_failures
LIBRARY.pra_py_faults_last.restype = LIBRARY.pra_py_faults_site.restype = ctypes.POINTER(Site)
LIBRARY.pra_py_faults_site.argtypes = [ctypes.c_size_t]
arm.argtypes = [ctypes.c_long, ctypes.c_long]


def sites() -> Iterator[Site]:
    index = 0
    while site := LIBRARY.pra_py_faults_site(index):
        yield site.contents
        index += 1


# ---- what is done

UP = {"__name__": "up", "job": "x" * 80}
WRITE = wire.compress(wire.write_request([(UP, [(1, 1.0), (2, 2.5)])] * 2, [(1, "up", "help", "unit")]))
WRITE_V2 = wire.compress(
    wire.write_request_v2([
        {
            "labels": UP,
            "samples": [(1, 1.0, 1), (2, 2.5, 0)],
            "metadata": (1, "help", "unit"),
            "exemplars": [({"trace_id": "x"}, 1.0, 1)],
            "histograms": [
                wire.histogram(5, 3, 1.0, positive=([(0, 2)], [1, 1])),
                wire.histogram(6, 3.0, 1.0, negative=([(0, 2)], [1.0, 2.0])),
            ],
        }
    ])
)  # fmt: skip
HINTS = wire.number(1, 5) + wire.data(2, "rate") + wire.data(5, "job")
QUERY = wire.query(1, 10, [("job", "=~", "a|b"), ("x", "!=", "")], HINTS)
HEADERS = [(b"Content-Type", b"application/x-protobuf"), (b"Content-Encoding", b"snappy"), (b"Twice", b"1"), (b"twice", b"2")]
V2_HEADERS = HEADERS[1:] + [(b"Content-Type", b"application/x-protobuf;proto=io.prometheus.write.v2.Request")]
INTEGER = pra.Histogram(
    timestamp=3, count=5, sum=1.0, zero_count=1, positive_spans=[(0, 2)], positive_buckets=[1, 2], negative_spans=[(1, 1)],
    negative_buckets=[1], reset_hint="no",
)  # fmt: skip
FLOAT = pra.Histogram(timestamp=4, count=3.0, sum=1.0, negative_spans=[(0, 2)], negative_buckets=[1.0, 2.0])
CUSTOM = pra.Histogram(
    timestamp=5, count=3, sum=1.0, schema=-53, positive_spans=[(0, 2)], positive_buckets=[1, 2], custom_values=[1.0]
)
COLUMNS = (UP, array.array("q", [1]), array.array("d", [1.0]))


class Tells:
    """Keeps of exceptions only the types: they would keep everything else."""

    told: list[type[BaseException]]
    errors: list[Exception]

    def outcome(self, call: Callable[[], Any]) -> exchange.Outcome:
        outcome = exchange.Adapter.outcome(self, call)  # type: ignore[arg-type]
        self.told = self.told + [type(error) for error in self.errors]
        self.errors.clear()
        return outcome


class Quiet(Tells, exchange.Adapter):
    def __init__(self, answer: Callable[..., Any]) -> None:
        super().__init__(answer)
        self.told = []
        self.kept: list[Any] = []


class Writes(Quiet):
    entries = ("write",)
    flags = c.STORAGE_HISTOGRAMS | c.STORAGE_EXEMPLARS

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> exchange.Outcome:
        return self.outcome(lambda: self.answer(ctx, request) and None)  # type: ignore[misc]


class QuietCursors(Tells, Cursors):
    def __init__(self, make: Callable[[Cursor], Any], ordered: bool) -> None:
        super().__init__(make, ordered)
        self.told = []


class Scenario(NamedTuple):
    adapter: Any
    path: str = "/write"
    headers: Any = HEADERS
    body: bytes = WRITE
    use: Callable[[c.Exchange], object] = lambda x: x.run()
    status: int = 204
    told: int = 0
    limits: Any = None


def writing(*acts: Callable[[Any, Any], object], v2: bool = False, use: Any = None) -> Scenario:
    adapter = Writes(lambda ctx, request: [act(ctx, request) for act in acts])
    made = Scenario(adapter, use=use or (lambda x: x.run()))
    return made._replace(headers=V2_HEADERS, body=WRITE_V2) if v2 else made


def reading(adapter: Any, streamed: bool = False) -> Scenario:
    def use(x: c.Exchange) -> None:
        x.run()
        list(exchange.pieces(x))

    return Scenario(adapter, "/read", body=wire.compress(wire.read_request([QUERY], streamed)), use=use, status=200)


def answering(*results: Callable[[], Any], extend: bool = False) -> Scenario:
    if extend:
        return reading(Quiet(lambda query, sink: [sink.extend(result()) for result in results]))
    return reading(Quiet(lambda query, sink: [sink.add(result()) for result in results]))


def stepping(x: c.Exchange) -> None:
    scope, ctx, request, sinks = x.open()
    assert ctx.path
    scope.close()
    x.finish(*exchange.FINE)


def read_stepping(x: c.Exchange) -> None:
    scope, ctx, queries, sinks = x.open()
    try:
        sinks[0].extend([(UP, [(1, 1.0)])])
        assert isinstance(queries[0], pra.Query) and queries[0].end_ms == 10
    finally:
        scope.close()
    x.finish(*exchange.FINE)


class Items:
    """A mapping that is no dict."""

    def items(self) -> Any:
        return list(UP.items())


class Series:
    """Exports a stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        table = {"job": ["a", "b"], "timestamp": pa.array([1, 2], pa.timestamp("ms")), "value": [1.0, 2.0]}
        return pa.table(table).__arrow_c_stream__()


def columns(request: Any) -> object:
    names = (
        "timestamps", "values", "start_timestamps", "sample_offsets", "label_offsets", "label_spans", "data",
        "histogram_offsets", "exemplar_offsets", "exemplar_timestamps", "exemplar_values", "fingerprints",
    )  # fmt: skip
    held = [getattr(request, name) for name in names]
    return held, [(ts.timestamps[:], ts.values, ts.start_timestamps, ts.fingerprint, ts.index) for ts in request]


def tables(request: Any) -> object:
    held: tuple[object, ...] = ()
    for name in ("samples", "series", "histograms", "exemplars", "metadata"):
        table = getattr(request, name)
        held = (table.__arrow_c_array__(), table.__arrow_c_stream__(), table.__arrow_c_schema__(), len(table))
        held += (table.column_names, repr(table))
    return held


def kept(request: Any) -> None:
    copy = request.copy()
    assert copy[0].labels == request[0].labels and copy.values and repr(copy)
    for compressed in (True, False):
        data = copy.encode(1) if compressed else wire.uncompress(copy.encode(1))
        again = pra.WriteRequest.decode(data, compressed=compressed, limits={"max_decoded_bytes": 1 << 20})
        assert again.labels == copy.labels


def reject(request: Any) -> None:
    for ts in request:
        ts.reject("no", kind="sample", count=1)


def matching(query: pra.Query, sink: Any) -> None:
    for m in query.matchers:
        assert m.type and m.name and m.value is not None and repr(m) and (m.set, m.prefix, m.matches("a"))
    assert query.hints and query.start_ms and query.end_ms
    assert query.matches({"job": "a", "x": "y"}) and query.matches(Items()) is False  # type: ignore[arg-type]
    assert query.encode() and query.encode(response_types=("samples", "streamed_xor_chunks"))


def rows(cursor: Cursor) -> Iterator[Any]:
    yield {"a": "1"}, pa.array([1, 2]), pa.chunked_array([[1.0], [2.0]])
    yield {"b": "1"}, np.array([1, 2], "datetime64[s]"), np.array([1, 2], "int8"), [INTEGER]


PIECES = [(1, 1.0), INTEGER, ([4, 5], array.array("d", [1.0, 2.0]), [FLOAT]), (6, 1.0)]


def listed(cursor: Cursor) -> Iterator[Any]:
    yield {"b": "1"}, lambda: iter(PIECES)
    yield {"a": "1"}, lambda: COLUMNS[1:]


def columns_kept() -> Scenario:
    adapter = Writes(lambda ctx, request: adapter.kept.append(request.values))
    return Scenario(adapter)


def matchers_kept() -> Callable[[], object]:
    adapter = Quiet(lambda query, sink: adapter.kept.extend(query.matchers))
    exchange.run(exchange.begin(adapter, QUERY))
    return lambda: repr(adapter.kept[0])


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "nothing": lambda: writing(),
    "context": lambda: writing(
        lambda ctx, request: (ctx.headers, ctx.tenant, ctx.path, ctx.worker, ctx.user, ctx.remote_addr)
    ),
    "labels": lambda: writing(lambda ctx, request: ([ts.labels for ts in request], request.labels)),
    "labels of 2.0": lambda: writing(lambda ctx, request: ([ts.labels for ts in request], request.labels), v2=True),
    "samples": lambda: writing(lambda ctx, request: [ts.samples for ts in request]),
    "counts": lambda: writing(lambda ctx, request: (request.version, request.sample_count, len(request), repr(request))),
    "columns": lambda: writing(lambda ctx, request: columns(request), v2=True),
    "columns that are kept": columns_kept,
    "tables": lambda: writing(lambda ctx, request: tables(request), v2=True),
    "copy, encode, decode": lambda: writing(lambda ctx, request: kept(request)),
    "histograms and exemplars": lambda: writing(
        lambda ctx, request: [(ts.histograms, ts.exemplars) for ts in request], v2=True
    ),
    "metadata": lambda: writing(lambda ctx, request: (list(request.metadata), request.metadata[0])),
    "metadata of 2.0": lambda: writing(lambda ctx, request: list(request.metadata), v2=True),
    "reject": lambda: writing(lambda ctx, request: reject(request))._replace(status=400),
    "failure": lambda: writing(lambda ctx, request: request.encode(17))._replace(status=500, told=2),
    "open": lambda: writing(use=stepping),
    "open a read": lambda: answering()._replace(use=read_stepping),
    "query": lambda: reading(Quiet(matching)),
    "tuples": lambda: answering(lambda: iter([(UP, [(1, 1.0), [2, 3]]), (Items(), iter([(1, 1.0)]))]), extend=True),
    "buffers": lambda: answering(lambda: COLUMNS, lambda: (UP, [1, 2], np.array([1, 2], "float32"))),
    "arrays": lambda: answering(lambda: (UP, exchange.Makes(np.array([1])), exchange.Makes(np.array([1.0])))),
    "datetimes": lambda: answering(lambda: (UP, np.array([1], "datetime64[s]"), np.array([1], "int16"))),
    "arrow columns": lambda: answering(lambda: (UP, pa.array([1, 2]), pa.chunked_array([[1.0], [2.0]]))),
    "arrow stream": lambda: answering(Series),
    "arrow streams": lambda: answering(Series, extend=True),
    "native histograms": lambda: answering(
        lambda: (UP, [(1, 1.0), INTEGER, FLOAT, CUSTOM]), lambda: ({"h": "1"}, [], [], [FLOAT])
    ),
    "ordered": lambda: reading(QuietCursors(rows, ordered=True), streamed=True),
    "select and fetch": lambda: reading(QuietCursors(listed, ordered=False), streamed=True),
    "select and fetch, sampled": lambda: reading(QuietCursors(listed, ordered=False)),
    "far": lambda: answering(lambda: (UP, [(1 << 70, 1.0)]))._replace(status=500, told=2),
    "too much": lambda: answering(lambda: (UP, [(1, 1.0), (2, 2.0)]))._replace(status=400, told=1, limits={"max_read_samples": 1}),
    "bad labels": lambda: answering(lambda: ({"": "x"}, [(1, 1.0)]))._replace(status=500, told=2),
}


class Calls(NamedTuple):
    """What is no request: a call that raises."""

    call: Callable[[], object]


def answers(streamed: bool) -> Callable[[], object]:
    kind = exchange.STREAMED if streamed else "application/x-protobuf"
    x = exchange.begin(exchange.Adapter(lambda query, sink: sink.add((*COLUMNS, [INTEGER, CUSTOM])) and None), streamed=streamed)
    x.run()
    body = b"".join(exchange.pieces(x))
    return lambda: pra.decode_read_response(body, content_type=kind, limits={})


def create() -> None:
    adapter: Any = Quiet(print)
    c.Exchange(c.Handler(None, "", False, None, adapter))


def no_log(level: int, fields: str) -> None:
    pass


def serve() -> None:
    """With a line in the log."""
    adapter: Any = Quiet(print)
    handler = c.Handler(None, "", False, None, adapter)
    server = c.Server(handler, "127.0.0.1:0", 1, 10, "x", None, None, 1, no_log)  # which must live on
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port())
    connection.request("POST", "/write", b"?")
    assert connection.getresponse().status == 400
    connection.close()
    server.stop(1000)


CALLS: dict[str, Callable[[], Callable[[], object]]] = {
    "handler": lambda: create,
    "server": lambda: serve,
    "sampled answer": lambda: answers(False),
    "streamed answer": lambda: answers(True),
    "a histogram": lambda: lambda: (pra.Histogram.decode(INTEGER.encode()), list(CUSTOM.buckets()), list(FLOAT.buckets())),
    "matchers that are kept": matchers_kept,
    "a feed": lambda: lambda: (_pra.Feed([]), _pra.Feed(COLUMNS[1:])),
}


# ---- one after the other fails


def told(adapter: Any) -> list[type[BaseException]]:
    seen: list[type[BaseException]] = adapter.told
    adapter.told = []
    adapter.kept.clear()
    if isinstance(adapter, Cursors):
        adapter.log.clear()
    return seen


def request(scenario: Scenario, x: c.Exchange, first: int, count: int) -> tuple[int, list[type[BaseException]]]:
    """One request, during which calls fail; its status, and of what somebody was told."""
    x.begin("POST", scenario.path, scenario.headers, "127.0.0.1", "me", 0)
    x.feed(scenario.body)
    assert x.end_body() == c.OK
    raised: list[type[BaseException]] = []
    arm(first, count)
    try:
        scenario.use(x)
    except Exception as error:
        raised.append(type(error))
    finally:
        FAILED[0] = failures()
        arm(-1, 0)
        status = x.status()
        x.reset()
    return status, raised + told(scenario.adapter)


UNTOLD = "PyObject_CallMethod in release_view"
"""A view that cannot be released stays as it is, and keeps its memory."""

FAILED = [0]
"""Calls that failed in the last request."""


def drive_requests(scenario: Scenario, unraisable: list[type[BaseException]], count: int) -> int:
    x = c.Exchange(c.Handler(_limits(scenario.limits), "X-Scope-OrgID", False, None, scenario.adapter))
    fine = request(scenario, x, -1, 0)
    assert fine == (scenario.status, [ANY] * scenario.told), fine
    first = 0
    while True:
        status, seen = request(scenario, x, first, count)
        if not FAILED[0]:
            assert (status, seen, unraisable) == (*fine, [])
            return first
        place = str(LIBRARY.pra_py_faults_last().contents)
        assert MemoryError in seen + unraisable or UNTOLD in place, (place, status, seen, unraisable)
        unraisable.clear()
        assert request(scenario, x, -1, 0) == fine, place
        assert not unraisable, place
        first += 1


def drive_calls(call: Callable[[], object], unraisable: list[type[BaseException]], count: int) -> int:
    call()
    unraisable.clear()
    first = 0
    while True:
        raised: list[type[BaseException]] = []
        arm(first, count)
        try:
            call()
        except Exception as error:
            raised.append(type(error))
        number = failures()
        place = str(LIBRARY.pra_py_faults_last().contents) if number else ""
        arm(-1, 0)
        if not number:
            assert not raised and not unraisable
            return first
        assert MemoryError in raised + unraisable, (place, raised, unraisable)
        unraisable.clear()
        call()
        assert not unraisable
        first += 1


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: seen.append(hook.exc_type))
    return seen


def allocated() -> int:
    """Bytes of everything: under the sanitizer, with PYTHONMALLOC=malloc."""
    gc.collect()
    sys._clear_type_cache()  # which keeps names of attributes
    return int(BYTES())


BYTES: Any = getattr(ctypes.CDLL(None), "__sanitizer_get_current_allocated_bytes", sys.getallocatedblocks)
if BYTES is not sys.getallocatedblocks:
    BYTES.restype = ctypes.c_size_t
driven: set[str] = set()


def drive(name: str, unraisable: list[type[BaseException]]) -> None:
    """All calls of a scenario in turn, again and again until a round leaves nothing behind."""
    if name in SCENARIOS:
        made: Any = SCENARIOS[name]()
        rounds: Callable[[int], int] = lambda count: drive_requests(made, unraisable, count)
    else:
        made = CALLS[name]()
        rounds = lambda count: drive_calls(made, unraisable, count)
    assert rounds(1) > 0
    rounds(1 << 30)
    seen = array.array("q", bytes(8 * 4))  # as measuring is not to be measured
    for _ in range(5):
        seen[0], seen[1] = len(gc.get_objects()), allocated()
        rounds(1)
        seen[2], seen[3] = len(gc.get_objects()), allocated()
        if seen[2] <= seen[0] and seen[3] <= seen[1]:
            break
    else:
        raise AssertionError(f"objects and bytes before and after: {seen}")
    driven.add(name)


@pytest.mark.parametrize("name", [*SCENARIOS, *CALLS])
def test_a_call_fails(name: str, unraisable: list[type[BaseException]]) -> None:
    drive(name, unraisable)


# ---- is all of it done here?

CANNOT_FAIL = {
    # They look, or touch only what is there.
    "PyBuffer_Release", "PyBytes_AS_STRING", "PyDict_Check", "PyDict_CheckExact", "PyDict_GET_SIZE", "PyDict_Next",
    "PyFloat_AS_DOUBLE", "PyFloat_Check", "PyFloat_CheckExact", "PyGen_CheckExact", "PyIndex_Check",
    "PyInterpreterState_Get", "PyInterpreterState_Main", "PyList_CheckExact", "PyList_GET_ITEM", "PyList_GET_SIZE",
    "PyList_SET_ITEM", "PyLong_Check", "PyLong_CheckExact", "PyMem_Free", "PyNumber_Check", "PyOS_strnicmp",
    "PyObject_CheckBuffer", "PyObject_GC_Del", "PyObject_GC_Track", "PyObject_GC_UnTrack", "PyObject_TypeCheck",
    "PySequence_Check", "PySequence_Fast_GET_ITEM", "PySequence_Fast_GET_SIZE", "PyTuple_Check", "PyTuple_CheckExact", "PyTuple_GET_ITEM",
    "PyTuple_GET_SIZE", "PyTuple_SET_ITEM", "PyType_Check", "PyUnicode_1BYTE_DATA", "PyUnicode_Check",
    "PyUnicode_GET_LENGTH", "PyUnicode_IS_COMPACT_ASCII", "PyBool_FromLong", "PyVarObject_HEAD_INIT",
    # Given str objects these cannot, and we give no others.
    "PyUnicode_Compare", "PyUnicode_CompareWithASCIIString",
    # It takes what may be NULL with an exception, and always takes it.
    "PyStructSequence_SetItem",
    # These are what tells of failure.
    "PyErr_Clear", "PyErr_ExceptionMatches", "PyErr_Fetch", "PyErr_Format", "PyErr_NoMemory", "PyErr_Occurred",
    "PyErr_Restore", "PyErr_SetObject", "PyErr_SetString", "PyErr_WriteUnraisable",
    # No code runs without them.
    "PyGILState_Ensure", "PyGILState_GetThisThreadState", "PyGILState_Release",
    # The weak reference is ours; these give NULL for what is gone.
    "PyWeakref_GetObject", "PyWeakref_GetRef",
}  # fmt: skip
SOURCES = Path(__file__).parents[2] / "bindings"


def test_every_call_that_can_fail_is_wrapped() -> None:
    used = {
        name
        for path in SOURCES.glob("thunk_python*.c")
        for name in re.findall(r"\b(Py[A-Z]?[A-Za-z0-9]*_[A-Za-z0-9_]+)\(", path.read_text())
        if not re.fullmatch(r"Py_(X?INCREF|X?DECREF|X?NewRef|X?SETREF|CLEAR|VISIT|TYPE)", name)
    }
    wrapped = {site.name.decode() for site in sites()}
    assert used - wrapped <= CANNOT_FAIL
    assert not wrapped & CANNOT_FAIL
    assert len(wrapped) >= 50


IMPORT = """
import asyncio, ctypes, logging, os, sys
library = ctypes.PyDLL(sys.argv[1])
class Site(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("name", "file", "function")] + [
        (name, ctypes.c_ulong) for name in ("line", "calls", "failures")]
library.pra_py_faults_last.restype = ctypes.POINTER(Site)
first = 0
while True:
    pid = os.fork()
    if pid == 0:
        break
    result = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if result:
        sys.exit(result - 1)
    first += 1
library.pra_py_faults_arm(first, 1)
try:
    import prom_remote_api
except MemoryError:
    site = library.pra_py_faults_last().contents
    print(site.name.decode(), site.line, flush=True)
failures = library.pra_py_faults_failures()
library.pra_py_faults_arm(-1, 0)
for name in [name for name in sys.modules if name.partition(".")[0] == "prom_remote_api"]:
    del sys.modules[name]
import prom_remote_api
assert prom_remote_api.WriteRequest.decode(b"\\0").series_count == 0
sys.stdout.flush()
os._exit(0 if failures else 1)
"""
"""In a child for each call that fails. An import that failed can be done again."""


def test_every_site_has_failed(unraisable: list[type[BaseException]]) -> None:
    for name in [*SCENARIOS, *CALLS]:
        if name not in driven:
            drive(name, unraisable)
    result = subprocess.run([sys.executable, "-c", IMPORT, _pra.__file__], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.splitlines())
    missed = {str(site) for site in sites() if not site.failures and f"{site.name.decode()} {site.line}" not in imported}
    # Destructors of capsules ask for what they put there themselves.
    assert {re.sub(",.*", "", site) for site in missed} == {
        f"PyCapsule_GetPointer in {name}_free" for name in ("array", "schema", "stream")
    }, "\n".join(sorted(missed))
