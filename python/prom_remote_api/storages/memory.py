# SPDX-License-Identifier: Apache-2.0
"""A storage in memory, for tests and for trying things out."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import Context, Exemplar, Histogram, Query, Retry
from .. import SampleLike, SeriesLike, Storage, WriteRequest


@dataclass
class _Series:
    labels: dict[str, str]
    points: dict[int, float | Histogram] = field(default_factory=dict)
    exemplars: dict[tuple[int, bytes, tuple[tuple[str, str], ...]], Exemplar] = field(
        default_factory=dict
    )

    def samples(self) -> list[SampleLike]:
        """In order of time."""
        points = sorted(self.points.items(), key=lambda item: item[0])
        return [p if isinstance(p, Histogram) else (t, p) for t, p in points]


class MemoryStorage(Storage):
    """Keeps everything in memory, and shows it: series(), exemplars_of(), sample_count.

    max_samples: how many samples, histograms and exemplars there may be, all tenants together. When
    a request could go beyond, it is refused with Retry: a sender keeps its data until there is room
    again (clear()), nothing that was acknowledged is dropped.

    Of two values for one time in one series the first stays; the second is refused by
    TimeSeries.reject unless it is the same bit for bit.
    """

    histograms = exemplars = True

    def __init__(self, max_samples: int = 10_000_000) -> None:
        self.max_samples = max_samples
        """As given; may be changed."""
        self.sample_count = 0
        """Samples, histograms and exemplars that are stored."""
        self._tenants: dict[str, dict[tuple[tuple[str, str], ...], _Series]] = {}
        self._lock = threading.Lock()

    def write(self, ctx: Context, request: WriteRequest) -> None:
        new = request.sample_count + request.histogram_count + request.exemplar_count
        with self._lock:
            if self.sample_count + new > self.max_samples:
                raise Retry(f"the memory is full: {self.sample_count} samples", after=30)
            tenant = self._tenants.get(ctx.tenant, {})
            for ts in request:
                key = tuple(ts.labels.items())  # requests have them sorted
                series = tenant.get(key) or _Series(dict(key))
                before = len(series.points) + len(series.exemplars)
                refused = _add(series.points, ts.samples)
                if refused:
                    ts.reject("another value is stored for this time", "sample", refused)
                refused = _add(series.points, [(h.timestamp, h) for h in ts.histograms])
                if refused:
                    ts.reject("another value is stored for this time", "histogram", refused)
                for one in ts.exemplars:
                    marks = one.timestamp, _bits(one.value), tuple(one.labels.items())
                    series.exemplars.setdefault(marks, one)
                added = len(series.points) + len(series.exemplars) - before
                if added:
                    self._tenants[ctx.tenant] = tenant
                    tenant[key] = series
                    self.sample_count += added

    def select(self, ctx: Context, query: Query) -> Iterator[tuple[dict[str, str], _Series]]:
        with self._lock:
            tenant = list(self._tenants.get(ctx.tenant, {}).values())
        return ((one.labels, one) for one in tenant if query.matches(one.labels))

    def fetch(self, ctx: Context, query: Query, key: _Series) -> list[SampleLike]:
        with self._lock:
            return key.samples()

    def process_query(self, ctx: Context, query: Query) -> Iterator[SeriesLike]:
        for labels, key in self.select(ctx, query):
            yield labels, self.fetch(ctx, query, key)

    # ---- what tests ask

    def series(
        self, tenant: str = "", /, **labels: str
    ) -> list[tuple[dict[str, str], list[SampleLike]]]:
        """What is stored, in order of labels and time, of series that have (among others) the
        labels given: series(__name__="up", job="api")."""
        with self._lock:
            found = [
                (dict(key), one.samples())
                for key, one in sorted(self._tenants.get(tenant, {}).items(), key=lambda i: i[0])
                if labels.items() <= one.labels.items()
            ]
        return found

    def exemplars_of(self, tenant: str = "", /, **labels: str) -> list[Exemplar]:
        """The exemplars of these series, as they came."""
        with self._lock:
            tenants = list(self._tenants.get(tenant, {}).values())
            return [
                exemplar
                for one in tenants
                if labels.items() <= one.labels.items()
                for exemplar in one.exemplars.values()
            ]

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._tenants.clear()
            self.sample_count = 0

    def close(self) -> None:
        """Nothing to do, as for every storage here."""

    def __enter__(self) -> MemoryStorage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bits(point: float | Histogram) -> bytes:
    return point.encode() if isinstance(point, Histogram) else struct.pack("<d", point)


def _add(
    points: dict[int, float | Histogram],
    new: list[tuple[int, float]] | list[tuple[int, Histogram]],
) -> int:
    """Adds what is new; returns how many have a time at which there is another value."""
    refused = 0
    for timestamp, point in new:
        there = points.setdefault(timestamp, point)
        if there is not point:
            refused += type(there) is not type(point) or _bits(there) != _bits(point)
    return refused
