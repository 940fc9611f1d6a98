"""The option retention of the storages that come with the package."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb  # type: ignore[import-untyped,unused-ignore]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

import hosts
import wire
from prom_remote_api import storages
from prom_remote_api.storages import _retention
from test_storages import ALL, FIRST, LAST, UP_A, UP_B, assert_written, bits, histograms, key, parquet_files, read
from test_storages import sorted_labels

KINDS: dict[str, Any] = {
    "sqlite": lambda path, **options: storages.SQLiteStorage(path / "samples.db", **options),
    "duckdb": lambda path, **options: storages.DuckDBStorage(path / "samples.duckdb", **options),
    "parquet": lambda path, **options: storages.ParquetStorage(path / "samples", **options),
}
HOUR = 3_600_000
NOW = 20_000 * 24 * HOUR + 12 * HOUR  # noon
TWO_DAYS = timedelta(days=2)


class Clock(SimpleNamespace):
    """Stands still until it is moved."""

    now_ms = NOW

    def time_ns(self) -> int:
        return self.now_ms * 1_000_000

    def monotonic(self) -> float:
        return self.now_ms / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_retention, "time", made)
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def times_in(kind: str, path: Path) -> list[int]:
    """Of the samples that are in the files."""
    if kind == "parquet":
        columns = (pq.read_table(file)["timestamp"] for file in parquet_files(path))
        return sorted({time for one in columns for time in one.cast(pa.int64()).to_pylist()})
    return sorted(time for (time,) in rows_of(kind, path, "SELECT timestamp FROM samples"))


def rows_of(kind: str, path: Path, sql: str) -> list[Any]:
    if kind == "sqlite":
        db: Any = sqlite3.connect(path / "samples.db")
    else:
        db = duckdb.connect(path / "samples.duckdb")
    try:
        rows: list[Any] = db.execute(sql).fetchall()
        return rows
    finally:
        db.close()


def names(kind: str, path: Path) -> set[str]:
    return {name for (name,) in rows_of(kind, path, "SELECT name FROM series")}


@pytest.mark.parametrize("retention", [timedelta(), timedelta(seconds=-1)])
def test_keeps_something(kind: str, retention: timedelta, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="retention"):
        KINDS[kind](tmp_path, retention=retention)


@pytest.mark.parametrize("retention", [None, timedelta(days=100_000), timedelta.max])
def test_keeps_everything(kind: str, retention: timedelta | None, clock: Clock, tmp_path: Path) -> None:
    times = [FIRST, -1, 0, NOW]
    for _ in range(2):
        with KINDS[kind](tmp_path, retention=retention) as storage:
            host = hosts.WsgiHost(storage)
            assert_written(host.write_series((UP_A, [(t, 1.0) for t in times])))
            assert [t for t, _ in read(host)[key(UP_A)]] == times
    assert times_in(kind, tmp_path)[:1] == [FIRST]


def test_what_is_older_is_deleted(kind: str, clock: Clock, tmp_path: Path) -> None:
    """All at once in a file that was kept without a retention."""
    old, border, young = NOW - 72 * HOUR, NOW - 48 * HOUR, NOW - HOUR
    exemplars = {"exemplars": [({"id": "x"}, 1.0, old)]} if kind != "parquet" else {}
    with KINDS[kind](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_v2(
            {"labels": sorted_labels("old"), "samples": [(old, 1.0, 0)], **exemplars},
            {"labels": sorted_labels("histograms"), "histograms": histograms()},
            {"labels": sorted_labels("up"), "samples": [(t, 1.0, 0) for t in (FIRST, border - 1, border, young)]},
        ))  # fmt: skip
    up = key(sorted_labels("up"))
    with KINDS[kind](tmp_path, retention=TWO_DAYS) as storage:
        host = hosts.WsgiHost(storage)
        assert read(host) == {up: bits((border, 1.0), (young, 1.0))}
        assert read(host, last=border - 1) == {}
        assert host.read_streamed(wire.query(FIRST, border - 1, ALL)).body == b""
        assert_written(host.write_series((sorted_labels("new"), [(NOW, 1.0)])))
        assert read(host) == {up: bits((border, 1.0), (young, 1.0)), key(sorted_labels("new")): bits((NOW, 1.0))}
    if kind == "parquet":
        assert len(parquet_files(tmp_path)) == 3
        assert times_in(kind, tmp_path) == [border - 1, border, young, NOW]
    else:
        assert times_in(kind, tmp_path) == [border, young, NOW]
        assert names(kind, tmp_path) == {"up", "new"}
        assert rows_of(kind, tmp_path, "SELECT * FROM exemplars") == []


def test_what_arrives_too_late_is_acknowledged(kind: str, clock: Clock, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path, retention=TWO_DAYS) as storage:
        host = hosts.WsgiHost(storage)
        for _ in range(2):
            assert_written(host.write_series((UP_A, [(NOW - 100 * HOUR, 1.0), (NOW, 2.0)]), (UP_B, [(0, 1.0)])))
            assert read(host) == {key(UP_A): bits((NOW, 2.0))}
        clock.now_ms += 2 * HOUR
        assert_written(host.write_series((UP_A, [(NOW + 1, 3.0)])))
        assert read(host) == {key(UP_A): bits((NOW, 2.0), (NOW + 1, 3.0))}
    assert times_in(kind, tmp_path) == [NOW, NOW + 1]


@pytest.mark.parametrize("hours, pause_s", [(0.5, 90), (48, 3600)])
def test_deletes_now_and_then(kind: str, hours: float, pause_s: int, clock: Clock, tmp_path: Path) -> None:
    """A twentieth of the retention, between a minute and an hour; reads do not wait for it."""
    count: list[int] = []
    with KINDS[kind](tmp_path, retention=timedelta(hours=hours)) as storage:
        forget = storage._forget

        def counted(oldest_ms: int) -> bool:
            count.append(oldest_ms)
            return bool(forget(oldest_ms))

        storage._forget = counted
        host = hosts.WsgiHost(storage)
        for seconds in (0, 1, pause_s - 1, pause_s, pause_s + 1, 2 * pause_s):
            clock.now_ms = NOW + 1000 * seconds
            assert_written(host.write_series((UP_A, [(clock.now_ms, 1.0)])))
        assert count == [NOW - hours * HOUR + 1000 * seconds for seconds in (0, pause_s, 2 * pause_s)]
        clock.now_ms = int(NOW + hours * HOUR) + 1
        assert [t for t, _ in read(host)[key(UP_A)]][:1] == [NOW + 1000]


@pytest.mark.parametrize("kind, count", [("sqlite", 9_000), ("duckdb", 250_000)])
def test_much_is_deleted_in_parts(kind: str, count: int, clock: Clock, tmp_path: Path) -> None:
    with KINDS[kind](tmp_path) as storage:
        host = hosts.WsgiHost(storage)
        assert_written(host.write_series(*(
            (sorted_labels("m", number=str(number)), [(t, 1.0) for t in range(count if number == 7 else 1)])
            for number in range(250)
        )))  # fmt: skip
    left = [count + 249]
    with KINDS[kind](tmp_path, retention=TWO_DAYS) as storage:
        host = hosts.WsgiHost(storage)
        while left[-1]:  # the clock stands still: each write is as good as the next
            assert_written(host.write_series((UP_A, [(NOW + len(left), 1.0)])))
            left.append(len(times_in(kind, tmp_path)) - len(left))
            assert len(left) < 10
    assert len(left) > 3 and left == sorted(left, reverse=True), left


def test_deletion_keeps_up_with_the_writes(clock: Clock) -> None:
    """However seldom they are: as many parts as a tenth of the time has room for."""
    retention, parts = _retention.Retention(TWO_DAYS), list[int]()

    def part(oldest_ms: int) -> bool:
        clock.now_ms += 20
        parts.append(oldest_ms)
        return False

    def written_after(ms: int) -> int:
        clock.now_ms += ms
        before = len(parts)
        retention.forget(part)
        return len(parts) - before

    assert [written_after(ms) for ms in (0, 0, 170, 20, 910, 0, 1_000_000)] == [1, 0, 0, 2, 6, 0, 13]


def test_parquet_folder_that_stays_keeps_no_other(clock: Clock, tmp_path: Path, caplog: Any) -> None:
    days = [NOW - hours * HOUR for hours in (240, 216, 192)]
    with KINDS["parquet"](tmp_path) as storage:
        assert_written(hosts.WsgiHost(storage).write_series((UP_A, [(day, 1.0) for day in days])))
    folders = sorted({file.parent for file in parquet_files(tmp_path)})
    folders[0].rename(tmp_path / "elsewhere")
    folders[0].symlink_to(tmp_path / "elsewhere")
    with KINDS["parquet"](tmp_path, retention=TWO_DAYS) as storage:
        assert_written(hosts.WsgiHost(storage).write_series((UP_A, [(NOW, 1.0)])))
    assert "old data cannot be deleted" in caplog.text
    assert [folder for folder in folders if folder.exists()] == folders[:1]


def test_a_failure_is_not_the_senders(
    kind: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """What it has sent is stored: if it were refused, it would come again and again."""
    with KINDS[kind](tmp_path) as storage:
        assert_written(hosts.WsgiHost(storage).write_series((UP_A, [(0, 1.0)])))
    with KINDS[kind](tmp_path, retention=TWO_DAYS) as storage:
        host = hosts.WsgiHost(storage)
        with monkeypatch.context() as patch:
            if kind == "sqlite":
                storage._writer.execute("CREATE TEMP TRIGGER no BEFORE DELETE ON main.samples"
                                        " BEGIN SELECT raise(ABORT, 'no'); END")  # fmt: skip
            elif kind == "duckdb":
                patch.setattr("prom_remote_api.storages.duckdb._FORGET_SAMPLES", "DELETE FROM nothing")
            else:
                patch.setattr(shutil, "rmtree", lambda path: path.rename(path / "no"))
            assert_written(host.write_series((UP_A, [(NOW, 1.0)])))
        assert "old data cannot be deleted" in caplog.text
        if kind == "sqlite":
            storage._writer.execute("DROP TRIGGER no")
        assert_written(host.write_series((UP_A, [(NOW + 1, 1.0)])))
        assert len(times_in(kind, tmp_path)) == 3  # not at once again
        clock.now_ms += HOUR
        assert_written(host.write_series((UP_A, [(NOW + 2, 1.0)])))
        assert times_in(kind, tmp_path) == [NOW, NOW + 1, NOW + 2]
        assert read(host) == {key(UP_A): bits(*((t, 1.0) for t in (NOW, NOW + 1, NOW + 2)))}


def test_many_at_a_time(kind: str, clock: Clock, tmp_path: Path) -> None:
    """Deleting in each write, what is young stays."""

    def write(thread: int) -> None:
        for turn in range(8):
            mine = sorted_labels("mine", thread=str(thread))
            gone = sorted_labels("gone", thread=str(thread), turn=str(turn))
            assert_written(host.write_series((gone, [(turn * 24 * HOUR, 1.0)]), (mine, [(NOW + turn, 1.0)])))
            assert len(read(host)[key(mine)]) == turn + 1

    with KINDS[kind](tmp_path, retention=TWO_DAYS) as storage:
        storage._retention._pause_s = 0
        host = hosts.WsgiHost(storage)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        assert_written(host.write_series((UP_A, [(NOW, 1.0)])))
        found = read(host)
    assert found.pop(key(UP_A)) == bits((NOW, 1.0))
    assert [len(samples) for samples in found.values()] == [8] * 8
    expected = [NOW, *(t for t in range(NOW, NOW + 8) for _ in range(8))]
    assert times_in(kind, tmp_path) == (sorted(set(expected)) if kind == "parquet" else expected)


def test_sqlite_numbers_of_series_do_not_come_again(clock: Clock, tmp_path: Path) -> None:
    """Another process may know those of series that are deleted here."""
    with KINDS["sqlite"](tmp_path) as other, KINDS["sqlite"](tmp_path, retention=TWO_DAYS) as storage:
        storage._retention._pause_s = 0
        first, second = hosts.WsgiHost(other), hosts.WsgiHost(storage)
        for turn in range(3):
            clock.now_ms = NOW + turn * 100 * HOUR
            series = [(sorted_labels("m", n=str(n)), [(clock.now_ms + n, float(n))]) for n in range(5)]
            assert_written(first.write_series(*series))
            clock.now_ms += 50 * HOUR
            new = sorted_labels("new", turn=str(turn))
            assert_written(second.write_series((new, [(clock.now_ms, 1.0)])))
            assert read(first) == read(second) == {key(new): bits((clock.now_ms, 1.0))}
            assert_written(first.write_series((UP_A, [(clock.now_ms, 2.0)])))
            assert_written(first.write_series(*((labels, [(clock.now_ms, 3.0)]) for labels, _ in series)))
            assert read(second) == {key(new): bits((clock.now_ms, 1.0)), key(UP_A): bits((clock.now_ms, 2.0))} | {
                key(labels): bits((clock.now_ms, 3.0)) for labels, _ in series
            }
    numbers = rows_of("sqlite", tmp_path, "SELECT DISTINCT series FROM samples")
    assert set(numbers) <= set(rows_of("sqlite", tmp_path, "SELECT id FROM series"))
    assert max(numbers)[0] > 10
