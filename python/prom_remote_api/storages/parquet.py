# SPDX-License-Identifier: Apache-2.0
"""A storage in Parquet files by tenant and day: pip install pyarrow

    DIRECTORY/tenant=NAME/day=2026-11-22/BEGIN-LEVEL-RANDOM.parquet

Days are those of UTC; NAME is escaped as in URLs, capitals too. The columns are name (of the
metric), labels (all of them, as JSON), timestamp, value and histogram (null, or a blob for
Histogram.decode). In DuckDB:

    SELECT timestamp, value FROM read_parquet('DIRECTORY/*/*/*.parquet', hive_partitioning = true)
    WHERE day = '2026-11-22' AND name = 'up' AND (labels ->> 'job') = 'api'

and in Polars pl.scan_parquet("DIRECTORY/*/*/*.parquet", hive_partitioning=True). In a file rows are
in order of labels and time. What was sent twice may be in two files until they are merged.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

try:
    from . import _arrow
    from . import _parquet_files as files
except ImportError as error:
    raise ImportError(f"ParquetStorage needs {error.name}: pip install pyarrow") from error

from .. import Context, Query, Reject, Series, Storage, WriteRequest
from ._retention import Retention

logger = logging.getLogger("prom_remote_api")


class ParquetStorage(Storage):
    """Keeps samples and native histograms in Parquet files.

    A request becomes a file (of each day in it), which is complete, synced and renamed before write
    returns. As soon as max_files files of one level are in a folder they are merged into one of the
    next level, so there are never many; compact() makes it one for each day. Merging happens inside
    the write that makes a folder full, which takes that much longer: it reads and writes all rows
    of those files, and others go on. A read of more than max_open files is refused with Reject, or
    of more than half of those that the process may have open. Of two values for one
    time in one series the first stays; the sender is not told. Processes may share a directory.
    Days that lie wholly before the retention are deleted.
    """

    histograms = ordered = True

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_files: int = 32,
        max_open: int = 400,
        retention: timedelta | None = None,
    ) -> None:
        self._retention = Retention(retention)
        self._root = Path(directory).absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._max_files = max_files
        self._max_open = max_open
        self._last = 0  # the number in the name of a file, by which they are in order
        self._swap = threading.Lock()  # held while files are renamed, removed or opened
        self._merging = threading.Lock()

    def write(self, ctx: Context, request: WriteRequest) -> None:
        tenant, oldest = self._tenant(ctx), files.day_of(self._retention.oldest_ms())
        for day, rows in files.rows_by_day(request):
            if day < oldest:
                continue
            folder = tenant / day
            folder.mkdir(parents=True, exist_ok=True)
            temporary = files.write(folder, [rows])
            with self._swap:
                self._last = max(self._last + 1, time.time_ns())
                files.show(temporary, f"{self._last:020}", 0)
            for path in (tenant, self._root, self._root.parent):  # they may be new, too
                files.sync(path)
            self._merge_levels(folder)
        self._retention.forget(self._forget)

    def process_query(self, ctx: Context, query: Query) -> Iterator[Series]:
        start_ms = self._retention.start_ms(query)
        first, last = files.day_of(start_ms), files.day_of(query.end_ms)
        folders = [one for one in self._tenant(ctx).glob("day=*") if first <= one.name <= last]

        @functools.cache
        def wanted(text: str) -> files.Labels | None:
            labels = files.labels_of(text)
            return labels if query.matches(dict(labels)) else None

        with self._open(folders) as opened:
            readers = [files.read(one, wanted, query) for one in opened]
            for labels, rows in _arrow.merged(readers):
                if start_ms > query.start_ms:
                    rows = files.since(start_ms, rows)
                yield _arrow.series(dict(labels), rows)

    def compact(self) -> None:
        """Merges the files of each day into one, good for days that are over; removes what crashes
        have left."""
        for path in self._root.glob("tenant=*/day=*/*.tmp"):
            if path.stat().st_mtime < time.time() - 3600:  # nobody is writing it
                path.unlink(missing_ok=True)
        with self._merging:
            for folder in self._root.glob("tenant=*/day=*"):
                self._merge(folder, sorted(folder.glob("*.parquet")), 9)

    def _tenant(self, ctx: Context) -> Path:
        name = files.folder_of(ctx.tenant)
        if len(name) > 255:
            raise Reject("the name of the tenant is too long")
        return self._root / name

    @contextlib.contextmanager
    def _open(self, folders: Iterable[Path]) -> Iterator[list[Any]]:
        """All files of some folders, as of one moment; what is removed meanwhile stays open."""
        with contextlib.ExitStack() as stack:
            opened = None
            while opened is None:
                with self._swap, contextlib.suppress(FileNotFoundError):  # by another process
                    paths = sorted(path for one in folders for path in one.glob("*.parquet"))
                    if len(paths) > files.most_open(self._max_open):
                        raise Reject(f"{len(paths)} files: ask for a shorter time, or compact()")
                    opened = [stack.enter_context(files.open_file(path)) for path in paths]
            yield opened

    def _merge_levels(self, folder: Path) -> None:
        """Never fails: what the sender has sent is stored, and it must not come again."""
        if self._merging.acquire(blocking=False):  # or else another thread is at it
            try:
                for level in range(8):
                    paths = sorted(folder.glob(f"*-{level}-*.parquet"))
                    if len(paths) >= self._max_files:
                        self._merge(folder, paths, level + 1)
            except Exception:  # a file is broken, or the disk is full
                logger.exception("files in %s cannot be merged", folder)
            finally:
                self._merging.release()

    def _merge(self, folder: Path, paths: list[Path], level: int) -> None:
        """Wherever this ends every row is in a file, or in two, which is the same to readers."""
        if len(paths) < 2:
            return
        with contextlib.ExitStack() as stack:
            try:
                opened = [stack.enter_context(files.open_file(path)) for path in paths]
            except FileNotFoundError:
                return  # another process has merged them
            rows = _arrow.merged(files.read(one, files.labels_of) for one in opened)
            temporary = files.write(folder, (files.labelled(*one) for one in rows))
        with self._swap:
            files.show(temporary, paths[0].name.partition("-")[0], level)
            for path in paths:
                path.unlink(missing_ok=True)

    def _forget(self, oldest_ms: int) -> bool:
        """Not the day that ended just now: somebody may still write to it."""
        if not self._merging.acquire(blocking=False):
            return True  # another time
        try:
            for folder in self._root.glob("tenant=*/day=*"):
                if folder.name < files.day_of(oldest_ms - 3_600_000):
                    self._remove(folder)
        finally:
            self._merging.release()
        return True

    def _remove(self, folder: Path) -> None:
        with self._swap:
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                pass  # another process removes it
            except OSError:  # the others can go nevertheless
                logger.exception("old data cannot be deleted: %s", folder)

    def close(self) -> None:
        """No file stays open."""

    def __enter__(self) -> ParquetStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
