# SPDX-License-Identifier: Apache-2.0
"""What SQLiteStorage does with its file as such: opening it, and deleting in it, series and all.
The file's user_version counts how often series were deleted: who remembers their numbers, in any
process, has to forget them then."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

from .. import Retry

_TIMEOUT = 30  # seconds to wait for other writers
# In messages of SQLite: the file cannot be used now, and the sender is to try again. It may not be
# damaged: that is an error.
_PASSING = ("locked", "locking protocol", "disk is full", "disk I/O error", "unable to open")
_SERIES, _ROWS = 100, 4096  # at a time
_OLD = """DELETE FROM {0} WHERE (series, timestamp) IN (
    SELECT series, timestamp FROM (SELECT id FROM series WHERE id BETWEEN ? AND ?)
    CROSS JOIN {0} ON series = id WHERE timestamp < ? LIMIT ?)"""
# The last one stays: SQLite counts on from its number, so that no number comes twice.
_EMPTY = """SELECT id, tenant, labels FROM series WHERE id BETWEEN ? AND ?
    AND id < (SELECT max(id) FROM series) AND NOT EXISTS (SELECT 1 FROM samples WHERE series = id)
    AND NOT EXISTS (SELECT 1 FROM exemplars WHERE series = id)"""


def connect(path: str) -> sqlite3.Connection:
    """For any thread, but one at a time; what is committed is on the disk."""
    db = sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


def use_log(db: sqlite3.Connection) -> None:
    """While another process makes a new file, SQLite refuses the switch at once, whatever the
    timeout: BEGIN EXCLUSIVE waits for it."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            if "locked" not in str(problem) or time.monotonic() > deadline:
                raise
            db.executescript("BEGIN EXCLUSIVE; COMMIT")


@contextlib.contextmanager
def verdicts() -> Iterator[None]:
    """Asks the sender to try again where the file cannot be used now."""
    try:
        yield
    except sqlite3.OperationalError as problem:
        if any(text in str(problem) for text in _PASSING):
            raise Retry(f"SQLite: {problem}") from problem
        raise


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
