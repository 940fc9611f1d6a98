# SPDX-License-Identifier: Apache-2.0
"""What SQLiteStorage, DuckDBStorage and ParquetStorage share: how long data are kept."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from .. import Query

logger = logging.getLogger("prom_remote_api")
_FIRST_MS = -(1 << 63)


class Retention:
    """The option retention of a storage; None keeps everything.

    It is time to delete what is older, by its timestamps and the clock of this machine, once in a
    twentieth of the retention, but at most once a minute and at least once an hour; or, if that is
    too much for one write, in parts that take a tenth of the time: as many in one write as have
    room in a ninth of the time since the last ones, but no longer than a quarter of a second.
    """

    def __init__(self, retention: timedelta | None) -> None:
        if retention is not None and retention <= timedelta():
            raise ValueError(f"retention: {retention} keeps nothing (None keeps everything)")
        kept = timedelta.max if retention is None else retention
        self._ms = kept // timedelta(milliseconds=1)
        self._pause_s = min(max(kept.total_seconds() / 20, 60), 3600)
        self._next = self._ended = time.monotonic()
        self._lock = threading.Lock()

    def oldest_ms(self) -> int:
        """What is before this time is too old."""
        now = time.time_ns() // 1_000_000
        return _FIRST_MS if self._ms > now else now - self._ms

    def start_ms(self, query: Query) -> int:
        """From when on a query is to be answered."""
        return max(query.start_ms, self.oldest_ms())

    def forget(self, some: Callable[[int], bool]) -> None:
        """Calls some(oldest_ms) when it is time. That deletes a part of what is too old, and
        returns whether it was all of it. Never fails: what the sender has sent is stored, and it
        must not come again."""
        oldest_ms = self.oldest_ms()
        if oldest_ms == _FIRST_MS or time.monotonic() < self._next:
            return
        if not self._lock.acquire(blocking=False):
            return
        begun, pause = time.monotonic(), self._pause_s
        end = begun + min((begun - self._ended) / 9, 0.25)
        try:
            while not some(oldest_ms):
                if time.monotonic() >= end:
                    pause = 9 * (time.monotonic() - begun)
                    break
        except Exception:
            logger.exception("old data cannot be deleted")
        finally:
            self._ended = time.monotonic()
            self._next = self._ended + pause
            self._lock.release()
