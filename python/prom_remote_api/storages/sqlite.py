# SPDX-License-Identifier: Apache-2.0
"""A storage in one SQLite file, with nothing but the standard library."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from .. import Context, Histogram, Query, SampleLike, SeriesLike, Storage, TimeSeries, WriteRequest
from . import _sqlite_file as file
from ._retention import Retention

# A value is a REAL; a NaN, which SQLite would turn into NULL, is a blob of its 8 bytes, so that a
# stale marker stays one. A histogram is a blob of Histogram.encode(). Columns without a type keep
# what they are given, -0.0 too. The keys are in the order of reading.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL,
    labels TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (tenant, labels));
CREATE INDEX IF NOT EXISTS series_by_name ON series (tenant, name);
CREATE TABLE IF NOT EXISTS samples (series INTEGER, timestamp INTEGER, histogram INTEGER NOT NULL,
    value NOT NULL, PRIMARY KEY (series, timestamp)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exemplars (series INTEGER, timestamp INTEGER, value, labels TEXT,
    PRIMARY KEY (series, timestamp, value, labels)) WITHOUT ROWID;
"""
_ROWS = 4096  # of a series, that are read at a time


class SQLiteStorage(Storage):
    """Keeps samples, native histograms and exemplars in the file path, which it creates.

    What write has taken is on the disk when it returns. Of two values for one time in one series
    the first stays; the second is refused by TimeSeries.reject unless it is the same bit for bit.
    Several processes may have the file open. While the disk is full, or another process writes for
    more than 30 seconds, the sender is asked to try again. What is older than retention is deleted;
    the file has room for new data then, and does not shrink by itself. In SQL of your own: labels
    ->> 'job' of series; timestamps are milliseconds; a value is a number where typeof(value) =
    'real'.
    """

    histograms = exemplars = True

    def __init__(
        self, path: str | os.PathLike[str], *, retention: timedelta | None = None
    ) -> None:
        self._path = os.path.abspath(path)
        self._retention = Retention(retention)
        self._forgotten = 0  # up to this series
        self._lock = threading.Lock()  # one writer at a time
        self._ids: dict[tuple[str, str], int] = {}  # of series that are committed
        self._deletions = 0  # of series, by any process, which self._ids knows of
        self._readers: deque[sqlite3.Connection] = deque()  # that nobody uses now
        self._writer = file.connect(self._path)
        file.use_log(self._writer)
        self._writer.executescript(_SCHEMA)

    def write(self, ctx: Context, request: WriteRequest) -> None:
        ids: dict[tuple[str, str], int] = {}
        with self._lock, file.verdicts():
            self._writer.execute("BEGIN IMMEDIATE")
            with self._writer:  # commits, or rolls back
                self._see_deletions()
                for ts in request:
                    key = ctx.tenant, _json(ts.labels)
                    if key not in ids:
                        ids[key] = self._ids.get(key) or self._id(*key, ts.labels)
                    _insert(self._writer, ids[key], ts)
            if len(self._ids) > 1_000_000:
                self._ids.clear()
            self._ids.update(ids)  # only now: what was rolled back has no id
            self._retention.forget(self._forget)

    def _id(self, tenant: str, text: str, labels: Mapping[str, str]) -> int:
        row = tenant, text, labels.get("__name__", "")
        self._writer.execute("INSERT OR IGNORE INTO series VALUES (NULL, ?, ?, ?)", row)
        where = "SELECT id FROM series WHERE (tenant, labels) = (?, ?)"
        return int(self._writer.execute(where, row[:2]).fetchone()[0])

    def _see_deletions(self) -> None:
        deletions = file.deletions(self._writer)
        if deletions != self._deletions:
            self._ids.clear()
            self._deletions = deletions

    def _forget(self, oldest_ms: int) -> bool:
        self._writer.execute("BEGIN IMMEDIATE")
        with self._writer:
            self._see_deletions()
            done, gone = file.forget(self._writer, self._forgotten, oldest_ms)
            deletions = file.deletions(self._writer)
        self._forgotten, self._deletions = done or 0, deletions
        for key in gone:
            self._ids.pop(key, None)
        return done is None

    def select(self, ctx: Context, query: Query) -> Iterator[tuple[dict[str, str], int]]:
        where, values = _where(query)
        sql = f"""SELECT labels, id FROM series WHERE tenant = ? {where} AND EXISTS (
            SELECT 1 FROM samples WHERE series = id AND timestamp BETWEEN ? AND ?)"""
        start_ms = self._retention.start_ms(query)
        for text, number in self._rows(sql, ctx.tenant, *values, start_ms, query.end_ms):
            if query.matches(labels := json.loads(text)):
                yield labels, number

    def fetch(self, ctx: Context, query: Query, key: int) -> Iterator[SampleLike]:
        sql = """SELECT * FROM samples WHERE series = ? AND timestamp BETWEEN ? AND ?
            ORDER BY timestamp LIMIT ?"""
        timestamp, rows = self._retention.start_ms(query) - 1, list[Any](range(_ROWS))
        while len(rows) == _ROWS and timestamp < query.end_ms:
            rows = self._rows(sql, key, timestamp + 1, query.end_ms, _ROWS)
            for _, timestamp, histogram, value in rows:
                if isinstance(value, bytes) and not histogram:
                    (value,) = struct.unpack(">d", value)
                yield Histogram.decode(value) if histogram else (timestamp, value)

    def process_query(self, ctx: Context, query: Query) -> Iterator[SeriesLike]:
        for labels, key in self.select(ctx, query):
            yield labels, self.fetch(ctx, query, key)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        """In a connection that nobody else has meanwhile: readers wait for no one. All at once:
        while a reader rests nothing is open, which would keep the log from being emptied."""
        with file.verdicts():
            try:
                db = self._readers.pop()
            except IndexError:
                db = file.connect(self._path)
            try:
                return db.execute(sql, values).fetchall()
            finally:
                self._readers.append(db)

    def close(self) -> None:
        """Closes the file. No method may be called after it."""
        for db in (self._writer, *self._readers):
            db.close()

    def __enter__(self) -> SQLiteStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _insert(db: sqlite3.Connection, series: int, ts: TimeSeries) -> None:
    rows: list[Any] = [(series, t, 0, _stored(value)) for t, value in ts.samples]
    rows += [(series, one.timestamp, 1, one.encode()) for one in ts.histograms]
    before = db.total_changes
    db.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?)", rows)
    if db.total_changes - before < len(rows):  # some were there: the same ones?
        for row in rows:
            sql = "SELECT * FROM samples WHERE (series, timestamp) = (?, ?)"
            if repr(db.execute(sql, row[:2]).fetchone()) != repr(row):  # 0.0 is not -0.0
                reason = "another value is stored for this time"
                ts.reject(reason, "histogram" if row[2] else "sample")
    exemplars = [(series, e.timestamp, _stored(e.value), _json(e.labels)) for e in ts.exemplars]
    db.executemany("INSERT OR IGNORE INTO exemplars VALUES (?, ?, ?, ?)", exemplars)


def _where(query: Query) -> tuple[str, list[str]]:
    """What SQLite can sort out; query.matches has the last word."""
    where, values = "", list[str]()
    for matcher in (one for one in query.matchers if one.type in ("=", "=~")):
        texts = matcher.set or ()
        if matcher.name == "__name__" and 0 < len(texts) < 500:
            where += f" AND name IN ({', '.join('?' * len(texts))})"
            values += texts
        elif len(texts) == 1 and texts[0]:
            where += " AND instr(labels, ?)"  # "job":"api" stands in the JSON as it does here
            values.append(_json({matcher.name: texts[0]})[1:-1])
    return where, values


def _json(labels: Mapping[str, str]) -> str:
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))


def _stored(value: float) -> float | bytes:
    return value if value == value else struct.pack(">d", value)
