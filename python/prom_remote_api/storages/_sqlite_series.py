# SPDX-License-Identifier: Apache-2.0
"""Deleting in the file of SQLiteStorage, series and all. Its user_version counts how often series
were deleted: who remembers their numbers, in any process, has to forget them then."""

from __future__ import annotations

import sqlite3

_SERIES, _ROWS = 100, 4096  # at a time
_OLD = """DELETE FROM {0} WHERE (series, timestamp) IN (
    SELECT series, timestamp FROM (SELECT id FROM series WHERE id BETWEEN ? AND ?)
    CROSS JOIN {0} ON series = id WHERE timestamp < ? LIMIT ?)"""
# The last one stays: SQLite counts on from its number, so that no number comes twice.
_EMPTY = """SELECT id, tenant, labels FROM series WHERE id BETWEEN ? AND ?
    AND id < (SELECT max(id) FROM series) AND NOT EXISTS (SELECT 1 FROM samples WHERE series = id)
    AND NOT EXISTS (SELECT 1 FROM exemplars WHERE series = id)"""


def deletions(db: sqlite3.Connection) -> int:
    (count,) = db.execute("PRAGMA user_version").fetchone()
    return int(count)


def forget(
    db: sqlite3.Connection, after: int, oldest_ms: int
) -> tuple[int | None, list[tuple[str, str]]]:
    """Deletes what is older of some series whose numbers are greater than after, and those that
    have nothing then. Returns up to which number all is done, None if all is, and the tenants and
    labels of the series that are gone. To be called in a transaction."""
    sql = "SELECT id FROM series WHERE id > ? ORDER BY id LIMIT ?"
    ids = [number for (number,) in db.execute(sql, (after, _SERIES))]
    if not ids:
        return None, []
    first, last = ids[0], ids[-1]
    sqls, values = map(_OLD.format, ("samples", "exemplars")), (first, last, oldest_ms, _ROWS)
    rows = [db.execute(one, values).rowcount for one in sqls]
    gone = db.execute(_EMPTY, (first, last)).fetchall()
    if gone:
        db.executemany("DELETE FROM series WHERE id = ?", [row[:1] for row in gone])
        db.execute(f"PRAGMA user_version = {deletions(db) + 1 & 0x7FFFFFFF}")
    done = after if max(rows) >= _ROWS else last if len(ids) == _SERIES else None
    return done, [(tenant, labels) for _, tenant, labels in gone]
