# SPDX-License-Identifier: Apache-2.0
"""Several storages as one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from .. import Context, Query, Reject, Retry, Storage, StorageLike, WriteRequest
from .._loop import close, iterable, resolve
from .._storage import methods_of, name_of

logger = logging.getLogger("prom_remote_api")


class FanOut(Storage):
    """Writes to every storage given, one after the other, and reads from the first that answers.

    Writes: every storage is asked, also after one has failed, so that what can be stored is. If one
    of them raises Retry, or anything but Reject, the sender is to send the request again; to those
    that have it already that changes nothing. Of several Retry the one with the longest wait is
    raised. Only if there is none, and one of them raises Reject, is the sender told that and drops
    the request, which is then in the other storages only. So what was acknowledged is in all of
    them, and each can answer alone. What one refuses by TimeSeries.reject counts as refused.

    Reads: the storages that have process_query are asked in their order; one that fails before its
    first series hands over to the next. One that fails later fails the read, part of which may be
    gone already. A Reject ends it at once: it is about the query.

    A storage that answers by read, or by select and fetch, but has no process_query is refused with
    TypeError. Methods may be `def` or `async def`. The storages are closed with the FanOut, if they can be.
    """

    def __init__(self, *storages: StorageLike) -> None:
        self._storages = storages
        writers = [one for one in storages if "write" in methods_of(one)]
        readers = [one for one in storages if "process_query" in methods_of(one)]
        self._writes = [methods_of(one)["write"] for one in writers]
        self._queries = [methods_of(one)["process_query"] for one in readers]
        for one in storages:
            known = methods_of(one)
            if "process_query" not in known and known.keys() & {"read", "select"}:
                raise TypeError(f"{name_of(one)} has no process_query, by which FanOut reads")
        # Nothing is said to be kept that one of them drops, or to be in order that is not.
        self.histograms = all(getattr(one, "histograms", False) for one in writers)
        self.exemplars = all(getattr(one, "exemplars", False) for one in writers)
        self.ordered = bool(readers) and all(getattr(one, "ordered", False) for one in readers)
        for name, methods in (("write", self._writes), ("process_query", self._queries)):
            if not methods:  # then this storage has none, either: the answer is 404
                setattr(self, name, None)

    def write(self, ctx: Context, request: WriteRequest) -> None:
        failed: list[Exception] = []
        for write in self._writes:
            try:
                resolve(write(ctx, request))
            except Exception as error:
                failed.append(error)
        if failed:
            worst = max(failed, key=_weight)
            for other in failed:
                if other is not worst:
                    logger.warning("another storage failed, too", exc_info=other)
            raise worst

    def process_query(self, ctx: Context, query: Query) -> Any:
        failed: Exception | None = None
        for process_query in self._queries:
            try:
                result = iterable(process_query(ctx, query))
                if hasattr(result, "__arrow_c_stream__"):
                    return result
                series = iter(result)
                first = list(itertools.islice(series, 1))
            except Reject:
                raise
            except Exception as error:
                logger.warning("a storage cannot answer", exc_info=error)
                failed = failed or error
            else:
                rows = _chain(first, series)
                next(rows)
                return rows
        raise failed or Retry()

    def close(self) -> None:
        """Closes the storages that can be closed."""
        for storage in self._storages:
            if hasattr(storage, "close"):
                storage.close()

    def __enter__(self) -> FanOut:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _chain(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    """To be begun by next(): closed before that, a generator would not close rest."""
    try:
        yield
        yield from first
        yield from rest
    finally:
        close(rest)


def _weight(error: Exception) -> tuple[int, float]:
    """What a sender has to hear first: of a bug in a storage, then of Retry, then of Reject."""
    if isinstance(error, Retry):
        return 1, error.after
    return (0, 0) if isinstance(error, Reject) else (2, 0)
