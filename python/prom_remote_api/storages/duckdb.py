# SPDX-License-Identifier: Apache-2.0
"""A storage in one DuckDB file: pip install duckdb pyarrow"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

try:
    import duckdb  # type: ignore[import-untyped,unused-ignore]  # 1.4.0 has no types
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    from . import _arrow
except ImportError as error:
    raise ImportError(f"DuckDBStorage needs {error.name}: pip install duckdb pyarrow") from error

from .. import Context, Query, Series, Storage, WriteRequest
from ._retention import Retention

_SCHEMA = """
CREATE SEQUENCE IF NOT EXISTS series_ids;
CREATE TABLE IF NOT EXISTS series (id BIGINT DEFAULT nextval('series_ids'),
    tenant VARCHAR, fingerprint UBIGINT, name VARCHAR, labels MAP(VARCHAR, VARCHAR));
CREATE TABLE IF NOT EXISTS samples (series BIGINT, timestamp BIGINT, value DOUBLE, histogram BLOB);
CREATE TABLE IF NOT EXISTS exemplars (
    series BIGINT, timestamp BIGINT, value DOUBLE, labels MAP(VARCHAR, VARCHAR));
CREATE VIEW IF NOT EXISTS metrics AS
    SELECT tenant, name, labels, value, histogram, make_timestamp(
        CASE WHEN abs(timestamp) < 9e15 THEN timestamp * 1000 END) AS time  -- or else NULL
    FROM samples JOIN series ON id = series;
"""

# The tables have no keys, whose index would have to be in memory: what is there already is found
# by joins, which read only the blocks of the times that the request has. A request may name one
# series several times, and one time of a series. What is joined by fingerprints is copied before:
# DuckDB 1 asks pyarrow to sort out those of the other side, but not beyond the range of BIGINT.
_WRITE = """
CREATE OR REPLACE TEMP TABLE came_series AS SELECT * FROM series_of_request;
INSERT INTO series (tenant, fingerprint, name, labels)
    SELECT DISTINCT $tenant, fingerprint, name, labels FROM came_series ANTI JOIN
        (SELECT * FROM series WHERE tenant = $tenant) USING (fingerprint, labels);
CREATE OR REPLACE TEMP TABLE numbered AS
    SELECT came_series.series AS place, id FROM came_series
    JOIN series USING (fingerprint, labels) WHERE tenant = $tenant;
CREATE OR REPLACE TEMP TABLE came AS
    SELECT number, place, id AS series, timestamp, value, histogram
    FROM (SELECT row_number() OVER () AS number, * FROM came_points) JOIN numbered USING (place);
INSERT INTO exemplars
    SELECT DISTINCT id, timestamp, value, labels FROM came_exemplars JOIN numbered ON place = series
    ANTI JOIN exemplars ON exemplars.series = id AND exemplars.timestamp = came_exemplars.timestamp
        AND exemplars.labels = came_exemplars.labels;
INSERT INTO samples
    SELECT DISTINCT ON (series, timestamp) series, timestamp, value, histogram
    FROM came ANTI JOIN (SELECT * FROM samples WHERE timestamp BETWEEN $first AND $last)
        USING (series, timestamp) ORDER BY number;
SELECT place, came.histogram IS NOT NULL, count(*)
    FROM came JOIN (SELECT * FROM samples WHERE timestamp BETWEEN $first AND $last) AS there
        USING (series, timestamp)
    WHERE (came.value, came.histogram) IS DISTINCT FROM (there.value, there.histogram) GROUP BY ALL;
"""
_ROWS = 100_000  # that are deleted at a time
_FORGET_SAMPLES = f"""DELETE FROM samples WHERE rowid IN
    (SELECT rowid FROM samples WHERE timestamp < ? LIMIT {_ROWS})"""
_FORGET_EXEMPLARS = "DELETE FROM exemplars WHERE timestamp < ?"
_FORGET_SERIES = """DELETE FROM series WHERE id NOT IN
    (SELECT DISTINCT series FROM samples UNION ALL SELECT DISTINCT series FROM exemplars)"""


class DuckDBStorage(Storage):
    """Keeps samples and native histograms in the file path, which it creates.

    What write has taken is on the disk when it returns: one transaction a request. Of two values
    for one time in one series the first stays; the second is refused by TimeSeries.reject unless it
    is the same (to DuckDB all NaNs are the same). One process at a time may have the file open.
    For SQL of your own there is the view metrics: SELECT time, value FROM metrics WHERE name = 'up'
    AND labels['job'] = 'api'. A histogram is a blob for Histogram.decode. What is older than
    retention is deleted; the file has room for new data then, and does not shrink by itself.
    """

    histograms = exemplars = ordered = True

    def __init__(
        self, path: str | os.PathLike[str], *, retention: timedelta | None = None
    ) -> None:
        self._retention = Retention(retention)
        self._db = duckdb.connect(os.fspath(path))
        self._db.execute(_SCHEMA)
        self._lock = threading.Lock()  # of the connection that writes; readers have others

    def write(self, ctx: Context, request: WriteRequest) -> None:
        came = {
            "came_points": _milliseconds(_arrow.points(request, range(len(request)))),
            "came_exemplars": _milliseconds(pa.table(request.exemplars)),
            "series_of_request": pa.table(request.series),
        }
        times = pc.min_max(came["came_points"]["timestamp"]).as_py()
        values = {"tenant": ctx.tenant, "first": times["min"], "last": times["max"]}
        with self._lock:
            for name, table in came.items():
                self._db.register(name, table)
            self._db.begin()
            try:
                for statement in duckdb.extract_statements(_WRITE):
                    names = statement.named_parameters
                    self._db.execute(statement, {name: values[name] for name in names})
                refused = self._db.fetchall()
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise
            finally:
                for name in came:
                    self._db.unregister(name)
            self._retention.forget(self._forget)
        for place, histogram, count in refused:
            reason = "another value is stored for this time"
            request[place].reject(reason, "histogram" if histogram else "sample", count)

    def _forget(self, oldest_ms: int) -> bool:
        samples = self._deleted(_FORGET_SAMPLES, oldest_ms)
        if samples < _ROWS and samples + self._deleted(_FORGET_EXEMPLARS, oldest_ms):
            self._deleted(_FORGET_SERIES)  # that have no data
        return samples < _ROWS

    def _deleted(self, sql: str, *values: int) -> int:
        [(count,)] = self._db.execute(sql, values).fetchall()
        return int(count)

    def process_query(self, ctx: Context, query: Query) -> Iterator[Series]:
        with self._db.cursor() as db:
            where, values = _where(query)
            sql = f"SELECT labels, id FROM series WHERE tenant = ? {where}"
            rows = db.execute(sql, [ctx.tenant, *values]).fetchall()
            found = [(sorted(labels.items()), id) for labels, id in rows if query.matches(labels)]
            found.sort()
            start_ms = self._retention.start_ms(query)
            ids = pa.array([id for _, id in found], pa.int64())
            db.register("wanted", pa.table({"series": ids, "place": pa.array(range(len(ids)))}))
            sql = f"""SELECT place, timestamp, value, histogram FROM samples JOIN wanted
                USING (series) WHERE timestamp BETWEEN {start_ms} AND {query.end_ms}
                ORDER BY place, timestamp"""  # on the disk, if it is too much for memory
            batches = pa.RecordBatchReader.from_stream(db.sql(sql))
            runs = (run for batch in batches for run in _arrow.runs(batch, batch["place"]))
            for place, points in _arrow.merged([runs]):
                yield _arrow.series(dict(found[place][0]), points)

    def close(self) -> None:
        """Closes the file. No method may be called after it."""
        self._db.close()

    def __enter__(self) -> DuckDBStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _where(query: Query) -> tuple[str, list[Any]]:
    """What DuckDB can sort out; query.matches has the last word."""
    where, values = "", []
    for matcher in query.matchers:
        if matcher.type in ("=", "=~") and matcher.set:
            where += " AND list_contains(?, coalesce(map_extract(labels, ?)[1], ''))"
            values += [list(matcher.set), matcher.name]
    return where, values


def _milliseconds(table: Any) -> Any:
    """With plain numbers for times: DuckDB's own have microseconds, and fewer years."""
    at = table.column_names.index("timestamp")
    return table.set_column(at, "timestamp", table["timestamp"].cast(pa.int64()))
