# SPDX-License-Identifier: Apache-2.0
"""Native histograms and stale markers."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from . import _pra

ResetHint: TypeAlias = Literal["unknown", "yes", "no", "gauge"]

_CUSTOM_BUCKETS = -53
_STALE = struct.pack("<Q", 0x7FF0000000000002)

STALE_NAN: float = struct.unpack("<d", _STALE)[0]
"""The value that ends a series; compare with is_stale, not with ==."""


def is_stale(value: float) -> bool:
    """Whether value is the marker that ends a series: one NaN among many."""
    return struct.pack("<d", value) == _STALE


class Bucket(NamedTuple):
    """A bucket of a histogram."""

    lower: float
    """Lower bound, perhaps -inf."""
    upper: float
    """Upper bound, perhaps inf."""
    count: float  # type: ignore[assignment]  # not the method of tuples
    """Observations between them: of this bucket alone, not cumulative."""
    lower_inclusive: bool
    """Whether observations of just lower are in it."""
    upper_inclusive: bool
    """Whether observations of just upper are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """A native histogram: as a request has it, decoded from bytes, or made for an answer.

    All counts are integers, or all are floats (is_float), as count is. buckets() has the buckets
    with their bounds; the fields are as the protocol has them.
    """

    timestamp: int
    """Milliseconds since 1970."""
    count: int | float
    """Number of observations."""
    sum: float
    """Their sum."""
    schema: int = 0
    """Resolution: each bucket is 2**(2**-schema) times as wide as the one before (-4 to 8); -53:
    custom_values."""
    zero_threshold: float = 0.0
    """Width of the zero bucket: from -zero_threshold to zero_threshold."""
    zero_count: int | float = 0
    """Observations in the zero bucket."""
    positive_spans: Sequence[tuple[int, int]] = ()
    """Which positive buckets there are: pairs (offset from the end of the span before, length)."""
    positive_buckets: Sequence[float] = ()
    """Their counts, each of its own (no differences, not cumulative)."""
    negative_spans: Sequence[tuple[int, int]] = ()
    """Likewise of the negative buckets."""
    negative_buckets: Sequence[float] = ()
    """Likewise."""
    custom_values: Sequence[float] = ()
    """With schema -53: upper bounds of the buckets."""
    reset_hint: ResetHint = "unknown"
    """Whether the counter was reset before this; "gauge": it may fall."""
    start_timestamp: int = 0
    """Since when it counts, in milliseconds; 0 = not said."""

    def __post_init__(self) -> None:
        for name in ("positive_buckets", "negative_buckets", "custom_values"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("positive_spans", "negative_spans"):
            object.__setattr__(self, name, tuple(tuple(pair) for pair in getattr(self, name)))

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview) -> Histogram:
        """A histogram from what encode gave, or from a Histogram message of remote write.

        Raises Error if data is no such message.
        """
        return _pra.histogram_decode(data)

    def encode(self) -> bytes:
        """A Histogram message of remote write 2.0: everything, in few bytes, for a database."""
        return _pra.histogram_encode(self)

    @property
    def is_float(self) -> bool:
        """Whether counts are floats."""
        return isinstance(self.count, float)

    @property
    def is_stale(self) -> bool:
        """Whether this only says that the series has ended; nothing else in it means anything."""
        return is_stale(self.sum)

    @property
    def positive_deltas(self) -> tuple[int, ...]:
        """Of integer buckets, each less the one before it, as they are sent; of float ones none."""
        return self._deltas(self.positive_buckets)

    @property
    def negative_deltas(self) -> tuple[int, ...]:
        """positive_deltas of the negative buckets."""
        return self._deltas(self.negative_buckets)

    def buckets(self) -> Iterator[Bucket]:
        """All buckets from the lowest to the highest, as PromQL sees them; an empty zero bucket is
        left out."""
        if self.schema == _CUSTOM_BUCKETS:
            for index, count in _numbered(self.positive_spans, self.positive_buckets):
                yield Bucket(self._custom(index - 1), self._custom(index), count, index == 0, True)
            return
        negative = list(_numbered(self.negative_spans, self.negative_buckets))
        for index, count in reversed(negative):
            upper, lower = self._bounds(index)
            yield Bucket(-lower, -upper, count, True, False)
        if self.zero_count > 0:
            zero = self.zero_threshold
            yield Bucket(-zero, zero, self.zero_count, True, True)
        for index, count in _numbered(self.positive_spans, self.positive_buckets):
            lower, upper = self._bounds(index)
            yield Bucket(lower, upper, count, False, True)

    def _bounds(self, index: int) -> tuple[float, float]:
        """Those of a positive bucket, which begins where the zero bucket ends."""
        lower = _pra.histogram_bound(self.schema, index - 1)
        if 0 < lower < self.zero_threshold:
            lower = self.zero_threshold
        return lower, _pra.histogram_bound(self.schema, index)

    def _custom(self, index: int) -> float:
        if index < 0:
            return -math.inf
        return self.custom_values[index] if index < len(self.custom_values) else math.inf

    def _deltas(self, buckets: Sequence[float]) -> tuple[int, ...]:
        if self.is_float:
            return ()
        return tuple(int(now) - int(before) for before, now in pairwise((0, *buckets)))


def _numbered(
    spans: Sequence[tuple[int, int]], buckets: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """Number and count of every bucket."""
    counts = iter(buckets)
    index = 0
    for offset, length in spans:
        index += offset
        for number, count in zip(range(index, index + length), counts):
            yield number, count
        index += length


_pra.histogram_register(Histogram)
