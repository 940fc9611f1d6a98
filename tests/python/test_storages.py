"""The storages that come with the package: one suite for all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import email.utils
import errno
import functools
import http.server
import os
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb  # type: ignore[import-untyped,unused-ignore]
import polars
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hosts
import prom_remote_api as pra
import wire
from prom_remote_api import storages

FIRST, LAST = -(1 << 63), (1 << 63) - 1
ALL = [("__name__", "=~", ".+")]
Labels = tuple[tuple[str, str], ...]


def open_relay(path: Path) -> Any:
    class ToMemory(storages.Relay):
        def close(self) -> None:
            super().close()
            server.close()

    server = hosts.ServerHost(storages.MemoryStorage())
    url = server.server.url
    return ToMemory(f"{url}/api/v1/write", f"{url}/api/v1/read")


STORAGES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: storages.MemoryStorage(),
    "sqlite": lambda path: storages.SQLiteStorage(path / "samples.db"),
    "duckdb": lambda path: storages.DuckDBStorage(path / "samples.duckdb"),
    "parquet": lambda path: storages.ParquetStorage(path / "samples", max_files=4),
    "fanout": lambda path: storages.FanOut(storages.MemoryStorage(), storages.SQLiteStorage(path / "fanned.db")),
    "relay": open_relay,
}
DURABLE = ("sqlite", "duckdb", "parquet")
TELLING = tuple(name for name in STORAGES if name != "parquet")  # of a value that is another


@pytest.fixture(params=STORAGES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(kind: str, tmp_path: Path) -> Iterator[hosts.Host]:
    with STORAGES[kind](tmp_path) as storage:
        yield hosts.WsgiHost(storage)


def sorted_labels(name: str, **labels: str) -> dict[str, str]:
    return dict(sorted({"__name__": name, **labels}.items()))


def read(
    host: hosts.Host, matchers: Any = ALL, *, first: int = FIRST, last: int = LAST, **headers: str
) -> dict[Labels, list[tuple[int, int]]]:
    """Series and the bits of their samples."""
    (series,) = host.read(wire.query(first, last, matchers), **headers).results
    found = {tuple(labels.items()): [(t, wire.to_bits(v)) for t, v in s] for labels, s in series}
    assert len(found) == len(series), "a series twice"
    return found


def names(found: dict[Labels, Any]) -> set[str]:
    return {dict(labels)["__name__"] for labels in found}


def assert_written(answer: hosts.Answer) -> None:
    assert answer.status == 204, answer.text


def key(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def bits(*samples: tuple[int, float]) -> list[tuple[int, int]]:
    return [(t, wire.to_bits(v)) for t, v in samples]


UP_A, UP_B = sorted_labels("up", job="a"), sorted_labels("up", job="b", zone="z")


def test_reads_what_was_written(host: hosts.Host) -> None:
    assert read(host) == {}
    assert_written(host.write_series((UP_A, [(1000, 1.0), (2000, 0.0)]), (UP_B, [(1000, 2.5)])))
    assert_written(host.write_series((UP_A, [(3000, 3.0)])))
    assert read(host) == {
        key(UP_A): bits((1000, 1.0), (2000, 0.0), (3000, 3.0)),
        key(UP_B): bits((1000, 2.5)),
    }
    assert read(host, first=2000, last=3000) == {key(UP_A): bits((2000, 0.0), (3000, 3.0))}
    assert read(host, first=2001, last=2999) == {}
    assert read(host, first=LAST, last=FIRST) == {}


@pytest.mark.parametrize(
    "matchers, expected",
    [
        ([("__name__", "=", "up")], "up"),
        ([("__name__", "=~", "up|down")], "down up"),
        ([("__name__", "=~", "up.*")], "up up_again"),
        ([("__name__", "!=", "up")], "down up_again Upper"),
        ([("__name__", "!~", "up.*")], "down Upper"),
        ([("job", "=", "a")], "up"),
        ([("job", "=~", "a|b")], "down up"),
        ([("job", "=", "")], "up_again Upper"),
        ([("job", "=~", "|a")], "up up_again Upper"),
        ([("job", "!=", "a"), ("__name__", "=~", ".+")], "down up_again Upper"),
        ([("job", "=", 'say "hi", \\')], ""),
        ([("odd", "=", 'say "hi", \\\n日本\x00')], "up_again"),
        ([("odd", "=~", "say.*")], "up_again"),
        ([("ob", "=", "a")], ""),
        ([("__name__", "=", "nothing")], ""),
        ([("__name__", "=~", "up\U0010ffff?")], "up"),
    ],
)
def test_matchers(host: hosts.Host, matchers: Any, expected: str) -> None:
    host.write_series(
        (sorted_labels("up", job="a"), [(1, 1.0)]),
        (sorted_labels("up_again", odd='say "hi", \\\n日本\x00'), [(1, 1.0)]),
        (sorted_labels("down", job="b", not_job="a"), [(1, 1.0)]),
        (sorted_labels("Upper"), [(1, 1.0)]),
    )
    assert names(read(host, matchers)) == set(expected.split())


def test_answers_are_streamed_in_order(host: hosts.Host) -> None:
    written = [sorted_labels(n, **more) for n in ("B", "a", "a\x00", "ü", "日") for more in (
        {}, {"A": "1"}, {"A": "1", "b": "2"}, {"zone": "\U0001f389"}, {"zone": "\uffee"})]  # fmt: skip
    random.Random(5).shuffle(written)
    for part in (written[:9], written[9:]):
        assert_written(host.write_series(*((labels, [(1, 1.0), (2, 2.0)]) for labels in part)))
    answer = host.read_streamed(wire.query(1, 2, ALL), wire.query(2, 2, [("A", "=", "1")]))
    assert answer.status == 200, answer.text
    frames = wire.frames(answer.body)
    expected = sorted(key(labels) for labels in written)
    assert [tuple(labels.items()) for query, labels, _ in frames if query == 0] == expected
    expected = [labels for labels in expected if ("A", "1") in labels]
    assert [tuple(labels.items()) for query, labels, _ in frames if query == 1] == expected
    assert all(chunks == [(1, 1, 2, 2)] for query, _, chunks in frames if query == 0)


ODD_VALUES = [
    wire.from_bits(one)
    for one in (
        wire.STALE_BITS, wire.NORMAL_NAN_BITS, 0x7FF80000DEADBEEF, 0xFFF8000000000000,
        0x7FF0000000000001, 0x8000000000000000, 0, 1, 0x7FF0000000000000, 0xFFF0000000000000,
    )
]  # fmt: skip


def test_values_bit_for_bit(host: hosts.Host) -> None:
    samples = list(enumerate(ODD_VALUES * 3, start=1))
    assert_written(host.write_series((UP_A, samples)))
    assert read(host) == {key(UP_A): bits(*samples)}


def test_any_time(host: hosts.Host) -> None:
    day = 86_400_000
    times = [FIRST, -(1 << 53), -62135596800001, -62135596800000, -day - 1, -day, -1, 0, 1, day - 1, day,
             253402300799999, 253402300800000, 1 << 53, LAST]  # fmt: skip
    samples = [(t, float(i)) for i, t in enumerate(times)]
    shuffled = random.Random(7).sample(samples, len(samples))
    assert_written(host.write_series((UP_A, shuffled)))
    assert read(host) == {key(UP_A): bits(*samples)}
    for first, last in ((-day, day), (0, 0), (FIRST, FIRST), (1 << 53, LAST), (-day - 1, -day - 1)):
        expected = bits(*(one for one in samples if first <= one[0] <= last))
        assert read(host, first=first, last=last) == {key(UP_A): expected}


def test_tenants_are_apart(host: hosts.Host) -> None:
    tenants = ["", "one", "two", "One", "../two", "%4Fne", "tenant=one", "*", "a/b", "日本"]
    def header(tenant: str) -> Any:
        return {"X_Scope_OrgID": tenant.encode().decode("latin-1")} if tenant else {}

    for number, tenant in enumerate(tenants):
        samples = [(1, float(number)), (number + 2, 1.0)]
        assert_written(host.write_series((UP_A, samples), **header(tenant)))
    for number, tenant in enumerate(tenants):
        expected = bits((1, float(number)), (number + 2, 1.0))
        assert read(host, **header(tenant)) == {key(UP_A): expected}
    assert read(host, X_Scope_OrgID="nobody") == {}
    answer = host.write_series((UP_A, [(1, 1.0)]), X_Scope_OrgID="\xff")
    assert (answer.status, answer.text) == (400, "X-Scope-OrgID is not UTF-8\n")


def test_sent_again_changes_nothing(host: hosts.Host) -> None:
    requests = [[(UP_A, [(t, v) for t, v in enumerate(ODD_VALUES, start=1)]), (UP_B, [(5, 1.0)])],
                [(UP_B, [(5, 1.0), (4, 2.0)]), (UP_A, [(1, ODD_VALUES[0]), (100, 3.0)])]]  # fmt: skip
    for one in requests:
        assert_written(host.write_series(*one))
    before = read(host)
    for one in requests * 5:
        assert_written(host.write_series(*one))
    assert read(host) == before


def test_another_value_for_the_same_time(host: hosts.Host, kind: str) -> None:
    assert_written(host.write_series((UP_A, [(1, 1.0), (2, 2.0)])))
    answer = host.write_series((UP_B, [(1, 9.0)]), (UP_A, [(1, 1.5), (2, 2.0), (3, 3.0)]))
    if kind in TELLING:
        assert answer.status == 400
        assert "another value" in answer.text
    assert read(host) == {key(UP_A): bits((1, 1.0), (2, 2.0), (3, 3.0)), key(UP_B): bits((1, 9.0))}


def test_another_value_in_one_request(host: hosts.Host, kind: str) -> None:
    answer = host.write_series((UP_A, [(1, 1.0), (1, 2.0)]), (UP_B, [(1, 3.0)]), (UP_A, [(1, 4.0), (2, 1.0)]))
    assert answer.status == (400 if kind in TELLING else 204)
    assert read(host) == {key(UP_A): bits((1, 1.0), (2, 1.0)), key(UP_B): bits((1, 3.0))}


def histograms() -> list[bytes]:
    spans = ([(0, 2), (1, 1)], [1, 2, -1])
    stale = wire.from_bits(wire.STALE_BITS)
    return [
        wire.histogram(1000, 8, 1.5, schema=3, zero=(0.001, 2), positive=spans, hint=2),
        wire.histogram(2000, 3.5, -0.0, zero=(0.5, 0.5), negative=([(-3, 1)], [3.0]), start=500),
        wire.histogram(3000, 0, stale),
        wire.histogram(4000, 4, 2.0, schema=-53, positive=([(0, 2)], [1, 2]), custom=[0.5, 1.0]),
    ]


def test_histograms(host: hosts.Host) -> None:
    one = {"labels": UP_A, "histograms": histograms(), "samples": [(1500, 1.0, 0)]}
    assert_written(host.write_v2(one, {"labels": UP_B, "samples": [(1000, 2.0, 0)]}))
    assert_written(host.write_v2(one))
    body = wire.uncompress(host.read(wire.query(0, 5000, ALL)).body)
    found = [pra.Histogram.decode(raw) for one in wire.read_histograms(body) for raw in one]
    expected = [pra.Histogram.decode(raw) for raw in histograms()]
    expected = [dataclasses.replace(one, start_timestamp=0) for one in expected]  # not in answers
    assert [h.encode() for h in found] == [h.encode() for h in expected]
    (series,) = host.read(wire.query(1500, 2000, [("job", "=", "a")])).results
    assert [samples for _, samples in series] == [[(1500, 1.0)]]
    conflict = {"labels": UP_A, "histograms": [wire.histogram(1000, 1, 1.0)], "samples": [(2000, 1.0, 0)]}
    host.write_v2(conflict)
    assert wire.uncompress(host.read(wire.query(0, 5000, ALL)).body) == body


def test_exemplars_are_kept(kind: str, host: hosts.Host) -> None:
    one = {"labels": UP_A, "samples": [(1, 1.0, 0)], "exemplars": [({"trace_id": "x"}, 1.5, 77)]}
    answers = [host.write_v2(one) for _ in range(2)]
    if kind == "parquet":
        assert answers[0].status == 400 and "exemplar" in answers[0].text
    else:
        for answer in answers:
            assert_written(answer)
            assert answer.headers["X-Prometheus-Remote-Write-Exemplars-Written"] == "1"
    assert read(host) == {key(UP_A): bits((1, 1.0))}


NAMES = st.sampled_from(["a", "b", "up"])
SERIES = st.fixed_dictionaries(
    {"__name__": NAMES}, optional={"A": st.text(min_size=1, max_size=2), "z": st.sampled_from("xyz")}
).map(lambda labels: dict(sorted(labels.items())))
TIMES = st.integers(0, 5) | st.integers(86_399_998, 86_400_002) | st.sampled_from([FIRST, LAST])
SAMPLES = st.lists(st.tuples(TIMES, st.sampled_from([0.0, 1.0, *ODD_VALUES[:3]])), min_size=1, max_size=6)


@pytest.mark.parametrize("kind", STORAGES)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    requests=st.lists(st.lists(st.tuples(SERIES, SAMPLES), max_size=5), max_size=6),
    ranges=st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3),
)
def test_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, kind: str, requests: Any, ranges: Any
) -> None:
    """Whatever comes: the first value for a time of a series is the one that is read."""
    expected: dict[Labels, dict[int, int]] = {}
    with STORAGES[kind](tmp_path_factory.mktemp("any")) as storage:
        host = hosts.WsgiHost(storage)
        for request in requests:
            host.write_series(*request)
            for labels, samples in request:
                of_one = expected.setdefault(key(labels), {})
                for t, value in samples:
                    of_one.setdefault(t, wire.to_bits(value))
        for first, last in ranges:
            inside = {
                labels: sorted((t, v) for t, v in points.items() if first <= t <= last)
                for labels, points in expected.items()
            }
            assert read(host, first=first, last=last) == {k: v for k, v in inside.items() if v}


@pytest.mark.parametrize("under", ["wsgi", "asgi"])
def test_many_at_a_time(kind: str, under: str, tmp_path: Path) -> None:
    """Writes and reads of threads, and of tasks of an event loop: no error, nothing lost."""

    def write(host: hosts.Host, thread: int) -> None:
        for turn in range(8):
            mine = sorted_labels("mine", thread=str(thread))
            assert_written(host.write_series((mine, [(turn, 1.0)]), (UP_A, [(turn * 8 + thread, 1.0)])))
            assert len(read(host)[key(mine)]) == turn + 1

    with STORAGES[kind](tmp_path) as storage, hosts.HOSTS[under](storage) as host:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(functools.partial(write, host), range(8)))
        found = read(host)
    assert found.pop(key(UP_A)) == bits(*((t, 1.0) for t in range(64)))
    assert [len(samples) for samples in found.values()] == [8] * 8


@pytest.mark.parametrize("kind", ["memory", "sqlite", "duckdb", "parquet"])
def test_answers_flow(kind: str, tmp_path: Path) -> None:
    """A reader that goes away early has not made the storage read everything."""
    values = random.Random(11)
    with STORAGES[kind](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        for start in range(0, 300, 100):
            assert_written(host.write_series(*(
                (sorted_labels("m", number=f"{number:03}"), [(t, values.random()) for t in range(200)])
                for number in range(start, start + 100)
            )))  # fmt: skip
        given: list[object] = []
        fetch, process_query = storage.fetch, storage.process_query

        def counted_fetch(ctx: pra.Context, query: pra.Query, key: object) -> object:
            given.append(key)
            return fetch(ctx, query, key)

        def counted_query(ctx: pra.Context, query: pra.Query) -> Iterator[object]:
            for series in process_query(ctx, query):
                given.append(series[0])
                yield series

        name, counted = ("process_query", counted_query) if storage.ordered else ("fetch", counted_fetch)
        setattr(storage, name, counted)
        app = hosts.WsgiHost(storage).app
        body = wire.compress(wire.read_request([wire.query(0, 1000, ALL)], streamed=True))
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        pieces = app(hosts.environ("/api/v1/read", headers, body), lambda *_: None)
        assert len(next(pieces)) > 0
        assert 0 < len(given) < 100
        rest = list(pieces)
        assert len(given) == 300 and len(rest) > 3
        pieces.close()


# ---- durable ones


@pytest.mark.parametrize("kind", DURABLE)
def test_opened_again(kind: str, tmp_path: Path) -> None:
    for turn in range(3):
        with STORAGES[kind](tmp_path) as storage:
            host = hosts.WsgiHost(storage)
            assert_written(host.write_series((UP_A, [(turn, ODD_VALUES[turn])]), (UP_B, [(turn, 1.0)])))
            expected = bits(*((t, ODD_VALUES[t]) for t in range(turn + 1)))
            assert read(host)[key(UP_A)] == expected


CRASHING = """
import os, sys, threading, traceback
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import hosts, test_storages
lock = threading.Lock()
def write(thread):
    try:
        write_on(thread)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
def write_on(thread):
    turn = 0
    while True:
        samples = [(1000 * turn + i, 1.0) for i in range(5)]
        answer = host.write_series(({"__name__": "m", "thread": str(thread)}, samples))
        assert answer.status == 204, answer.text
        with lock:
            print(thread, turn, flush=True)
        turn += 1
host = hosts.WsgiHost(test_storages.STORAGES[sys.argv[1]](Path(sys.argv[3])))
for thread in range(3):
    threading.Thread(target=write, args=(thread,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("kind", DURABLE)
def test_killed(kind: str, tmp_path: Path) -> None:
    """kill -9: what was acknowledged is there."""
    acknowledged: set[tuple[int, int]] = set()
    for _ in range(2):
        command = [sys.executable, "-c", CRASHING, kind, str(Path(__file__).parent), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for line in child.stdout:
                thread, turn = map(int, line.split())
                acknowledged.add((thread, turn))
                if turn >= 8:
                    break
            else:
                pytest.fail("the child ended by itself")
            os.kill(child.pid, signal.SIGKILL)
            for line in child.stdout:
                thread, turn = map(int, line.split())
                acknowledged.add((thread, turn))
        with STORAGES[kind](tmp_path) as storage:
            found = read(hosts.WsgiHost(storage))
        for thread, turn in acknowledged:
            times = {t for t, _ in found[key({"__name__": "m", "thread": str(thread)})]}
            assert times >= {1000 * turn + i for i in range(5)}


# ---- what only one of them does


def test_memory_shows_what_it_has() -> None:
    storage = storages.MemoryStorage(max_samples=5)
    host = hosts.WsgiHost(storage)
    one = {"labels": UP_A, "samples": [(2, 1.0, 0), (1, 0.5, 0)], "exemplars": [({"id": "x"}, 1.5, 7)]}
    host.write_v2(one, {"labels": UP_B, "samples": [(1, 2.0, 0)]}, {"labels": sorted_labels("empty")})
    assert storage.series() == [(UP_A, [(1, 0.5), (2, 1.0)]), (UP_B, [(1, 2.0)])]
    assert storage.series(job="b", zone="z") == [(UP_B, [(1, 2.0)])]
    assert storage.series("other") == storage.series(job="c") == []
    assert storage.exemplars_of(job="a") == [({"id": "x"}, 1.5, 7)]
    assert storage.sample_count == 4


def test_memory_has_no_tenants_without_data() -> None:
    storage = storages.MemoryStorage()
    host = hosts.WsgiHost(storage)
    assert_written(host.write_series((UP_A, [])))
    assert not storage._tenants
    assert_written(host.write_series((UP_A, [(1, 1.0)])))
    assert list(storage._tenants) == [""]


def test_memory_is_bounded() -> None:
    storage = storages.MemoryStorage(max_samples=3)
    host = hosts.WsgiHost(storage)
    assert_written(host.write_series((UP_A, [(1, 1.0), (2, 1.0)])))
    answer = host.write_series((UP_A, [(3, 1.0), (4, 1.0)]))
    assert answer.status == 503 and "full" in answer.text and "Retry-After" in answer.headers
    assert storage.sample_count == 2
    storage.clear()
    assert_written(host.write_series((UP_A, [(3, 1.0), (4, 1.0)])))
    assert storage.series() == [(UP_A, [(3, 1.0), (4, 1.0)])]


def test_sqlite_is_open_to_sql_and_other_processes(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(STORAGES["sqlite"](tmp_path)) for _ in range(2))
        for turn in range(4):  # two that do not know of each other, as in two processes
            host = hosts.WsgiHost((first, second)[turn % 2])
            assert_written(host.write_series((UP_A, [(turn, 1.5), (10 + turn, ODD_VALUES[0])])))
            assert_written(host.write_series((sorted_labels("up", turn=str(turn)), [(1, 2.0)])))
        assert read(hosts.WsgiHost(first)) == read(hosts.WsgiHost(second))
    with sqlite3.connect(tmp_path / "samples.db") as db:
        sql = "SELECT avg(value), count(*) FROM samples JOIN series ON id = series" \
            " WHERE labels ->> 'job' = 'a' AND typeof(value) = 'real'"  # fmt: skip
        assert db.execute(sql).fetchone() == (1.5, 4)
        assert db.execute("SELECT count(*) FROM series").fetchone() == (5,)


def test_sqlite_waits_for_another_that_makes_the_file(tmp_path: Path) -> None:
    """SQLite refuses at once to switch to the log, whatever the timeout."""
    other = sqlite3.connect(tmp_path / "samples.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, other.close)
    timer.start()
    with STORAGES["sqlite"](tmp_path) as storage:
        assert_written(hosts.WsgiHost(storage).write_series((UP_A, [(1, 1.0)])))
    timer.join()


def test_sqlite_rolls_back(tmp_path: Path) -> None:
    with STORAGES["sqlite"](tmp_path) as storage:
        host = hosts.WsgiHost(storage, on_error=lambda *_: None)
        with sqlite3.connect(tmp_path / "samples.db") as db:
            db.execute("CREATE TRIGGER no BEFORE INSERT ON samples WHEN new.value = 13"
                       " BEGIN SELECT raise(ABORT, 'unlucky'); END")  # fmt: skip
        assert host.write_series((UP_A, [(1, 1.0)]), (UP_B, [(1, 13.0)])).status == 500
        assert read(host) == {}
        assert_written(host.write_series((UP_B, [(1, 1.0)]), (UP_A, [(1, 2.0)])))
        assert read(host) == {key(UP_A): bits((1, 2.0)), key(UP_B): bits((1, 1.0))}


def test_sqlite_on_a_full_disk(tmp_path: Path) -> None:
    """What was acknowledged is there, all else is to be sent again."""
    big = [(t, t + 0.5) for t in range(10_000)]
    with STORAGES["sqlite"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series((UP_A, [(1, 1.0)])))
        storage._writer.execute("PRAGMA max_page_count = 20")
        for _ in range(2):
            answer = host.write_series((UP_B, [(1, 1.0)]), (UP_A, big))
            assert (answer.status, b"disk is full" in answer.body) == (503, True)
            assert read(host) == {key(UP_A): bits((1, 1.0))}
        assert_written(host.write_series((UP_B, [(2, 2.0)])))  # that one has room
        storage._writer.execute("PRAGMA max_page_count = 100000")
        assert_written(host.write_series((UP_A, [(20_000, 3.0)])))
        assert read(host) == {key(UP_A): bits((1, 1.0), (20_000, 3.0)), key(UP_B): bits((2, 2.0))}


def test_sqlite_that_another_one_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prom_remote_api.storages._sqlite_file._TIMEOUT", 0.05)
    with STORAGES["sqlite"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        with contextlib.closing(sqlite3.connect(tmp_path / "samples.db", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            answer = host.write_series((UP_A, [(1, 1.0)]))
            assert (answer.status, b"locked" in answer.body) == (503, True)
            assert read(host) == {}
        assert_written(host.write_series((UP_A, [(1, 1.0)])))
        assert read(host) == {key(UP_A): bits((1, 1.0))}


def test_sqlite_file_that_is_damaged(tmp_path: Path) -> None:
    with STORAGES["sqlite"](tmp_path) as storage:
        assert_written(hosts.WsgiHost(storage).write_series((UP_A, [(t, t + 0.5) for t in range(1000)])))
    with open(tmp_path / "samples.db", "r+b") as file:
        size = file.seek(4096) and os.fstat(file.fileno()).st_size
        file.write(b"\xa5" * (size - 4096))  # all but the schema
    said = list[str]()
    with STORAGES["sqlite"](tmp_path) as storage:
        host = hosts.WsgiHost(storage, on_error=lambda *problem: said.append(str(problem)))
        for _ in range(2):
            assert host.write_series((UP_A, [(2000, 1.0)])).status == 500
            assert host.read(wire.query(FIRST, LAST, ALL)).status == 500
        assert len(said) == 4 and all("malformed" in problem for problem in said)


def test_sqlite_reader_that_rests_holds_nothing(tmp_path: Path) -> None:
    """Else the log of the file could not be emptied, and would grow for as long as it rests."""
    path = tmp_path / "samples.db"
    with storages.SQLiteStorage(path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series((UP_A, [(t, 1.0) for t in range(10_000)])))
        query: Any = SimpleNamespace(start_ms=FIRST, end_ms=LAST)
        rows: Any = storage.fetch(None, query, 1)  # type: ignore[arg-type]
        next(rows)
        assert_written(host.write_series((UP_A, [(LAST, 1.0)])))
        with contextlib.closing(sqlite3.connect(path)) as db:
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
        assert len(list(rows)) == 10_000


class Failing(pra.Storage):
    histograms = exemplars = True

    def __init__(self, error: Exception | None, after: int = 0) -> None:
        self.error, self.after, self.closed = error, after, False

    async def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        if self.error:
            raise self.error

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[pra.SeriesLike]:
        for number in range(self.after):
            yield {"__name__": "part", "n": str(number)}, [(1, 1.0)]
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "errors, status, wait",
    [
        ([None], 204, None),
        ([pra.Reject("never", status=422)], 422, None),
        ([pra.Retry("later", after=3)], 503, "3"),
        ([pra.Reject("never"), pra.Retry("later", after=3), pra.Retry("much later", after=9)], 503, "9"),
        ([pra.Retry("later", after=3), ValueError("a bug")], 500, None),
        ([None, pra.Reject("never"), None], 400, None),
    ],
)
def test_fanout_writes_to_all(errors: list[Exception | None], status: int, wait: str | None) -> None:
    last = storages.MemoryStorage()
    seen: list[Exception] = []
    with storages.FanOut(*map(Failing, errors), last) as storage:
        host = hosts.WsgiHost(storage, on_error=lambda method, error: seen.append(error))
        for _ in range(2):
            answer = host.write_series((UP_A, [(1, 1.0)]))
            assert (answer.status, answer.headers.get("Retry-After")) == (status, wait)
        assert last.series() == [(UP_A, [(1, 1.0)])]
    assert {type(error) for error in seen} == ({ValueError} if status == 500 else set())


def test_fanout_reads_from_the_first_that_answers() -> None:
    full = storages.MemoryStorage()
    assert_written(hosts.WsgiHost(full).write_series((UP_A, [(1, 1.0)])))
    cases: list[tuple[list[Any], int]] = [
        ([full, Failing(None)], 200),
        ([Failing(pra.Retry()), Failing(ValueError()), full], 200),
        ([lambda ctx, request: None, full], 200),
        ([Failing(pra.Reject("no")), full], 400),
        ([Failing(pra.Retry("later")), Failing(ValueError())], 503),
        ([Failing(pra.Retry("in the middle"), after=1), full], 503),
        ([lambda ctx, request: None], 404),
    ]
    for several, status in cases:
        storage = storages.FanOut(*several)
        answer = hosts.WsgiHost(storage).read(wire.query(0, 9, ALL))
        assert answer.status == status, answer.text
        if status == 200:
            assert answer.results == [[(UP_A, [(1, 1.0)])]]
    first = Failing(None)
    with storages.FanOut(first, full):
        pass
    assert first.closed


@pytest.mark.parametrize("awaited", [False, True])
def test_fanout_closes_what_nobody_reads(awaited: bool) -> None:
    """A reader may be gone as soon as there is a first series."""
    closed = []

    def rows(ctx: Any, query: Any) -> Iterator[Any]:
        try:
            for number in range(100):
                yield {"n": f"{number:02}"}, [(1, 1.0)]
        finally:
            closed.append(True)

    async def awaited_rows(ctx: Any, query: Any) -> Any:
        try:
            for number in range(100):
                yield {"n": f"{number:02}"}, [(1, 1.0)]
        finally:
            closed.append(True)

    fanout = storages.FanOut(pra.FunctionStorage(process_query=awaited_rows if awaited else rows))
    answer: Any = fanout.process_query(None, None)  # type: ignore[arg-type]
    answer.close()
    assert closed == [True]
    assert len(list(fanout.process_query(None, None))) == 100  # type: ignore[arg-type]


class Selects:
    def select(self, ctx: pra.Context, query: pra.Query) -> Any:
        return []

    def fetch(self, ctx: pra.Context, query: pra.Query, key: Any) -> Any:
        return []


class Reads:
    def read(self, ctx: pra.Context, queries: Any) -> Any:
        return []


@pytest.mark.parametrize("other", [Selects(), Reads()])
def test_fanout_passes_over_no_reader(other: Any) -> None:
    with pytest.raises(TypeError, match=f"{type(other).__name__} has no process_query"):
        storages.FanOut(storages.MemoryStorage(), other)


def test_fanout_promises_what_all_keep() -> None:
    keeps, drops = storages.MemoryStorage(), pra.FunctionStorage(lambda ctx, request: None)
    assert storages.FanOut(keeps, keeps).histograms and not storages.FanOut(keeps, drops).histograms
    answer = hosts.WsgiHost(storages.FanOut(keeps, drops)).write_v2({"labels": UP_A, "histograms": histograms()})
    assert answer.status == 400


class Upstream(http.server.ThreadingHTTPServer):
    """Answers with what it is told, and keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), UpstreamHandler)
        self.answer: tuple[int, dict[str, str], bytes] = (204, {}, b"")
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.hang_up_after = 1 << 30
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class UpstreamHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, headers, text = self.server.answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        # Without saying so, as a server does with an idle connection.
        self.close_connection = len(self.server.requests) % self.server.hang_up_after == 0

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server
        server.shutdown()


def in_an_hour() -> str:
    return email.utils.formatdate(time.time() + 3600, usegmt=True)


@pytest.mark.parametrize(
    "answer, status, wait",
    [
        ((200, {}, b"fine"), 204, None),
        ((400, {}, b"bad sample"), 400, None),
        ((422, {}, b""), 422, None),
        ((401, {}, b"who are you"), 401, None),
        ((429, {"Retry-After": "7"}, b"slow down"), 429, range(7, 8)),
        ((503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, b"now"), 503, range(1, 2)),
        ((503, {"Retry-After": "IN AN HOUR"}, b"later"), 503, range(3590, 3602)),
        ((500, {"Retry-After": "soon"}, b"a bug"), 500, None),
        ((503, {"Retry-After": "Fri, 31 Dec 9999999 23:59:59 GMT"}, b"never"), 503, None),
        ((301, {"Location": "http://elsewhere.invalid/"}, b"moved"), 502, None),
    ],
)
def test_relay_says_what_it_was_told(upstream: Upstream, answer: Any, status: int, wait: range | None) -> None:
    number, headers, text = answer
    begun = time.monotonic()
    headers = {name: in_an_hour() if "HOUR" in value else value for name, value in headers.items()}
    upstream.answer = number, headers, text
    with storages.Relay(upstream.url + "/push?x=1", upstream.url + "/read") as relay:
        host = hosts.WsgiHost(relay)
        told = host.write_series((UP_A, [(1, 1.0)]))
        assert told.status == status
        assert text.decode() in told.text or status == 204
        if wait:
            late = int(time.monotonic() - begun)
            assert int(told.headers["Retry-After"]) in range(wait.start - late, wait.stop)
        else:
            assert "Retry-After" not in told.headers
        if status != 204:
            told = host.read(wire.query(0, 1, ALL))
            assert told.status == status and text.decode() in told.text
    assert upstream.requests[0][0] == "/push?x=1"


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/x-streamed-protobuf", "text/html"])
def test_relay_is_told_nonsense(upstream: Upstream, kind: str) -> None:
    upstream.answer = 200, {"Content-Type": kind}, b"hello"
    with storages.Relay(upstream.url) as relay, storages.Relay(upstream.url, upstream.url) as reader:
        assert hosts.WsgiHost(relay).write_series((UP_A, [(1, 1.0)])).status == 204
        told = hosts.WsgiHost(reader).read(wire.query(0, 1, ALL))
        assert told.status == 502 and "not an answer to a read" in told.text


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200", b"HTTP/1.1 204 No Content\r\n"])
def test_relay_is_told_half_of_it(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(head)

        thread = threading.Thread(target=answer)
        thread.start()
        with storages.Relay(f"http://127.0.0.1:{server.getsockname()[1]}") as relay:
            told = hosts.WsgiHost(relay).write_series((UP_A, [(1, 1.0)]))
        thread.join()
    assert told.status == 503 and "does not answer" in told.text


def test_relay_sends_what_came(upstream: Upstream) -> None:
    relay = storages.Relay(
        upstream.url, headers={"Authorization": "Bearer x"}, forward=["X-Source"], tenant_header="X-Tenant"
    )
    host = hosts.WsgiHost(relay)
    message = wire.write_request([(UP_A, [(1, ODD_VALUES[0])])])
    tenant = "日本".encode().decode("latin-1")
    assert_written(host.write(message, X_Scope_OrgID=tenant, X_Source="here", X_Other="no"))
    path, headers, body = upstream.requests.pop()
    assert (path, wire.uncompress(body)) == ("/", message)
    assert headers["X-Tenant"].encode("latin-1").decode() == "日本"
    assert (headers["Authorization"], headers["x-source"]) == ("Bearer x", "here")
    assert "X-Other" not in headers and headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"

    written = {f"X-Prometheus-Remote-Write-{kind}-Written": "1" for kind in ("Samples", "Histograms")}
    one = {"labels": UP_A, "samples": [(1, 1.0, 0)], "histograms": histograms()[:1]}
    upstream.answer = (204, written, b"")
    assert_written(host.write_v2(one))
    _, headers, body = upstream.requests.pop()
    assert headers["Content-Type"].endswith("proto=io.prometheus.write.v2.Request")
    assert len(pra.WriteRequest.decode(body, 2)[0].histograms) == 1
    upstream.answer = (204, {}, b"")  # by one that has decoded it as 1.0, and found nothing
    answer = host.write_v2(one)
    assert answer.status == 502 and "version=1" in answer.text
    assert_written(hosts.WsgiHost(storages.Relay(upstream.url, version=1)).write_v2(one))
    assert upstream.requests[-1][1]["Content-Type"] == "application/x-protobuf"
    assert host.read(wire.query(0, 1, ALL)).status == 404


def test_relay_of_an_answer_without_results(upstream: Upstream) -> None:
    upstream.answer = 200, {"Content-Type": "application/x-protobuf"}, wire.compress(b"")
    with storages.Relay(upstream.url, upstream.url) as relay:
        assert read(hosts.WsgiHost(relay)) == {}


@pytest.mark.parametrize("headers, ends", [({}, b""), ({"Transfer-Encoding": "chunked"}, b"\r\n0\r\n\r\n")])
def test_relay_of_an_answer_that_is_too_long(
    upstream: Upstream, headers: dict[str, str], ends: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prom_remote_api.storages._http._MOST_BYTES", 15)
    with storages.Relay(upstream.url) as relay:
        host = hosts.WsgiHost(relay)
        for size, status in ((15, 204), (16, 503), (15, 204)):
            text = b"x" * size
            upstream.answer = 200, headers, b"%x\r\n" % size + text + ends if headers else text
            assert host.write_series((UP_A, [(1, 1.0)])).status == status


def test_relay_keeps_connections(upstream: Upstream) -> None:
    with storages.Relay(upstream.url) as relay:
        host = hosts.WsgiHost(relay)
        for _ in range(5):
            assert_written(host.write_series((UP_A, [(1, 1.0)])))
        assert upstream.connections == 1
        upstream.hang_up_after = 1
        for _ in range(5):  # the connection that was kept is a dead one
            assert_written(host.write_series((UP_A, [(1, 1.0)])))
        assert len(upstream.requests) == 10


def test_relay_without_an_answer() -> None:
    with hosts.listening_socket() as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        host = hosts.WsgiHost(storages.Relay(url, url, timeout=0.2))
        assert host.write_series((UP_A, [(1, 1.0)])).status == 503
        assert host.read(wire.query(0, 1, ALL)).status == 503
    assert host.write_series((UP_A, [(1, 1.0)])).status == 503  # nobody listens
    with pytest.raises(ValueError, match="ftp"):
        storages.Relay("ftp://host/")


def test_relay_over_tls(upstream: Upstream, tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]  # fmt: skip
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    upstream.socket = server.wrap_socket(upstream.socket, server_side=True)
    url = upstream.url.replace("http:", "https:")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert_written(hosts.WsgiHost(storages.Relay(url, ssl_context=trusting)).write_series((UP_A, [(1, 1.0)])))
    answer = hosts.WsgiHost(storages.Relay(url)).write_series((UP_A, [(1, 1.0)]))
    assert answer.status == 503 and "certificate" in answer.text


def parquet_files(path: Path) -> list[Path]:
    return sorted(path.glob("samples/*/*/*.parquet"))


def test_parquet_has_few_files(tmp_path: Path) -> None:
    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        for turn in range(40):
            assert_written(host.write_series((UP_A, [(turn, ODD_VALUES[turn % 5])]), (UP_B, [(turn % 3, 1.0)])))
            assert len(parquet_files(tmp_path)) < 3 * 4
        before = read(host)
        assert len(before[key(UP_A)]) == 40
        storage.compact()
        assert len(parquet_files(tmp_path)) == 1
        assert read(host) == before
    assert not list(tmp_path.glob("samples/*/*/*.tmp"))


def test_parquet_opens_few_files(tmp_path: Path) -> None:
    storage = storages.ParquetStorage(tmp_path, max_open=2)
    host = hosts.WsgiHost(storage)
    for day in range(3):
        assert_written(host.write_series((UP_A, [(day * 86_400_000, 1.0)])))
    answer = host.read(wire.query(0, LAST, ALL))
    assert answer.status == 400 and "ask for a shorter time" in answer.text
    assert host.read(wire.query(0, 86_400_000, ALL)).results == [[(UP_A, [(0, 1.0), (86_400_000, 1.0)])]]


def test_parquet_after_a_crash(tmp_path: Path) -> None:
    """Between the two steps of a merge rows are in two files; and there may be half a file."""
    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        for turn in range(3):
            host.write_series((UP_A, [(5, float(turn)), (turn, 1.0)]))
        before, parts = read(host), {path: path.read_bytes() for path in parquet_files(tmp_path)}
        storage.compact()
        for path, content in parts.items():
            path.write_bytes(content)
        leftover, other = path.with_name("old.tmp"), path.with_name("new.tmp")
        for half in (leftover, other):
            half.write_bytes(content[:50])
        os.utime(leftover, (1, 1))
        assert read(host) == before == {key(UP_A): bits((0, 1.0), (1, 1.0), (2, 1.0), (5, 0.0))}
        storage.compact()
        assert len(parquet_files(tmp_path)) == 1
        assert read(host) == before
        assert other.exists() and not leftover.exists()


def test_parquet_leaves_nothing_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage, on_error=lambda *_: None)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert host.write_series((UP_A, [(1, 1.0)])).status == 500
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        assert_written(host.write_series((UP_A, [(1, 1.0)])))


def test_parquet_is_open_to_others(tmp_path: Path) -> None:
    day = 86_400_000
    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        host.write_series((UP_A, [(day - 1, 1.0), (day, 2.0)]), (UP_B, [(day, 3.0)]), X_Scope_OrgID="a/b")
        host.write_series((UP_A, [(5 * day, 4.0)]))
    names = [str(path.parent.relative_to(tmp_path / "samples")) for path in parquet_files(tmp_path)]
    assert names == ["tenant=/day=1970-01-06", "tenant=a%2Fb/day=1970-01-01", "tenant=a%2Fb/day=1970-01-02"]
    glob = f"{tmp_path}/samples/*/*/*.parquet"
    sql = f"""SELECT epoch_ms(timestamp::TIMESTAMP), value FROM read_parquet('{glob}', hive_partitioning = true)
        WHERE day = '1970-01-02' AND name = 'up' AND (labels ->> 'job') = 'a'"""
    assert duckdb.connect().execute(sql).fetchall() == [(day, 2.0)]
    frame = polars.scan_parquet(glob, hive_partitioning=True).filter(polars.col("value") > 1).collect()
    assert sorted(frame["value"]) == [2.0, 3.0, 4.0]
    assert set(frame["name"]) == {"up"}


def test_parquet_long_names(tmp_path: Path) -> None:
    """Of these a file does not say which is the least and the greatest."""
    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series(({"__name__": "long" * 2000}, [(1, 1.0)]), (UP_A, [(1, 2.0)])))
        assert list(read(host, [("__name__", "=", "up")])) == [key(UP_A)]


def test_parquet_takes_writes_beside_a_broken_file(tmp_path: Path, caplog: Any) -> None:
    """They are stored: if they were refused, they would come again and again."""
    with STORAGES["parquet"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series((UP_A, [(1, 1.0)])))
        (broken,) = parquet_files(tmp_path)
        content = broken.read_bytes()
        broken.write_bytes(content[:-4])
        for turn in range(8):
            assert_written(host.write_series((UP_A, [(2 + turn, 1.0)])))
        assert "cannot be merged" in caplog.text
        assert host.read(wire.query(0, 10, [])).status == 500  # it does not look whole
        broken.write_bytes(content)
        assert_written(host.write_series((UP_A, [(10, 1.0)])))
        assert len(parquet_files(tmp_path)) == 1
        assert read(host) == {key(UP_A): bits(*((time, 1.0) for time in range(1, 11)))}


def test_parquet_folders_differ_in_more_than_capitals() -> None:
    """There are file systems to which A and a are the same."""
    from prom_remote_api.storages._parquet_files import folder_of

    names = ["a", "A", "%41", "é", "É", "/", "%2F", "%2f"]
    assert len({folder_of(name).lower() for name in names}) == len(names)


def test_parquet_refuses_names_that_no_folder_has(tmp_path: Path) -> None:
    with STORAGES["parquet"](tmp_path) as storage:
        answer = hosts.WsgiHost(storage).write_series((UP_A, [(1, 1.0)]), X_Scope_OrgID="/" * 100)
        assert answer.status == 400 and "too long" in answer.text


def test_duckdb_is_open_to_sql(tmp_path: Path) -> None:
    with STORAGES["duckdb"](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series((UP_A, [(1500, 1.0), (LAST, 2.0)]), (UP_B, [(1500, 3.0)])))
    with duckdb.connect(tmp_path / "samples.duckdb") as db:
        sql = "SELECT time::VARCHAR, value FROM metrics WHERE name = 'up' AND labels['job'] = 'a' ORDER BY value"
        assert db.execute(sql).fetchall() == [("1970-01-01 00:00:01.5", 1.0), (None, 2.0)]


def test_duckdb_reader_that_rests_stops_nobody(tmp_path: Path) -> None:
    """Neither writers, nor the emptying of the log, which would grow for as long as it rests."""
    with STORAGES["duckdb"](tmp_path) as storage:
        host, values = hosts.WsgiHost(storage), random.Random(3)
        series = [sorted_labels("m", number=f"{number:03}") for number in range(100)]
        assert_written(host.write_series(*((one, [(t, values.random()) for t in range(500)]) for one in series)))
        body = wire.compress(wire.read_request([wire.query(0, LAST, ALL)], streamed=True))
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        pieces = host.app(hosts.environ("/api/v1/read", headers, body), lambda *_: None)
        first = next(pieces)
        assert_written(host.write_series(*((one, [(LAST, 1.0)]) for one in series)))
        storage._db.execute("DELETE FROM samples WHERE timestamp = 7")
        storage._db.execute("CHECKPOINT")
        log = tmp_path / "samples.duckdb.wal"
        assert not log.exists() or log.stat().st_size == 0
        chunks = [one for _, _, several in wire.frames(first + b"".join(pieces)) for one in several]
        pieces.close()
        assert sum(count for *_, count in chunks) == 100 * 500  # as it was when the reader began
        assert max(last for _, _, last, _ in chunks) == 499


@pytest.mark.parametrize("package", ["duckdb", "pyarrow"])
def test_others_work_without(package: str) -> None:
    """A package that is not there is named when it is needed, and only then."""
    program = f"""
import sys
sys.modules["{package}"] = None
from prom_remote_api.storages import FanOut, MemoryStorage, Relay, SQLiteStorage
try:
    from prom_remote_api.storages import DuckDBStorage, ParquetStorage
except ImportError as error:
    assert "{package}" in str(error) and "pip install" in str(error), error
else:
    sys.exit("imported")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
