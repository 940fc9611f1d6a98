# SPDX-License-Identifier: Apache-2.0
"""What a backend is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from ._histogram import Histogram

if TYPE_CHECKING:
    from ._pra import Context, Query, WriteRequest


class Series(NamedTuple):
    """A series in an answer, as columns: any buffer of int64 and of double, or any iterable."""

    labels: Mapping[str, str]
    timestamps: Iterable[int]
    values: Iterable[float]
    histograms: Iterable[Histogram] = ()


SampleLike: TypeAlias = tuple[int, float] | Histogram
SeriesLike: TypeAlias = (
    Series
    | tuple[Mapping[str, str], Iterable[SampleLike]]
    | tuple[Mapping[str, str], Iterable[int], Iterable[float]]
    | tuple[Mapping[str, str], Iterable[int], Iterable[float], Iterable[Histogram]]
)


class Reject(Exception):
    """Raise it to refuse a request for good (4xx): the sender drops the data."""

    def __init__(self, message: str = "rejected by the storage", *, status: int = 400) -> None:
        super().__init__(message)
        if not 400 <= status < 500 or status == 429:
            raise ValueError("status of Reject must be 4xx and not 429")
        self.status = status


class Retry(Exception):
    """Raise it to refuse a request for now (5xx or 429): the sender tries again.

    after: seconds, sent as Retry-After in answer to a write.
    """

    def __init__(
        self,
        message: str = "the storage cannot do this now",
        *,
        after: float | None = None,
        status: int = 503,
    ) -> None:
        super().__init__(message)
        if not 500 <= status < 600 and status != 429:
            raise ValueError("status of Retry must be 5xx or 429")
        self.after = 0 if after is None else min(max(1, math.ceil(after)), 0xFFFFFFFF)
        self.status = status


class Storage:
    """Base of a backend: override what it can do; the rest is answered with 404.

    Methods are called from several threads at the same time. What they are given may be used until
    they return (or, of a generator, until it is exhausted); labels, samples and columns taken from
    it may be kept. Raise Reject or Retry to refuse; any other exception is answered with 500.
    """

    histograms = False
    """Whether write keeps native histograms. Otherwise the sender is told that they are refused."""

    exemplars = False
    """Whether write keeps exemplars. Otherwise a sender of remote write 2.0 is told likewise."""

    def write(self, ctx: Context, request: WriteRequest) -> None:
        """Stores the request before returning. A request sent again must change nothing.

        To refuse a part for good, say so by TimeSeries.reject and store the rest.
        """
        raise NotImplementedError

    def process_query(self, ctx: Context, query: Query) -> Iterable[SeriesLike]:
        """Gives (as list or generator) all series that satisfy query: each is a Series, or a tuple
        (labels, [(timestamp in ms, value), ...]) or (labels, timestamps in ms, values). Histograms
        may stand among the samples of the first, or be a fourth item of the second.

        Samples outside the time range may be among them; order does not matter.
        """
        raise NotImplementedError

    def read(self, ctx: Context, queries: Sequence[Query]) -> Iterable[Iterable[SeriesLike]]:
        """Optional: answers all queries of a request at once, in their order."""
        raise NotImplementedError


class Writes(Protocol):
    def write(self, ctx: Context, request: WriteRequest, /) -> None: ...


class Answers(Protocol):
    def process_query(self, ctx: Context, query: Query, /) -> Iterable[SeriesLike]: ...


class Reads(Protocol):
    def read(self, ctx: Context, queries: Sequence[Query], /) -> Iterable[Iterable[SeriesLike]]: ...


StorageLike: TypeAlias = Storage | Writes | Answers | Reads
"""A Storage, or any object with one of its methods."""
