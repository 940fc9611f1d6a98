# SPDX-License-Identifier: Apache-2.0
"""What a backend is made of."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

from ._histogram import Histogram

if TYPE_CHECKING:
    from ._pra import Context, Query, WriteRequest


class Series(NamedTuple):
    """A series in an answer, as columns: buffers, Arrow arrays of numbers or what has __array__
    (NumPy, PyArrow, Polars, pandas …), or any iterable. Nulls are refused.
    """

    labels: Mapping[str, str]
    """Label names and values, the metric name as "__name__"."""
    timestamps: Iterable[int]
    """Of the samples: integers, in milliseconds, or Arrow's timestamps and NumPy's datetime64 of any
    unit."""
    values: Iterable[float]
    """Of the samples, as many."""
    histograms: Iterable[Histogram] = ()
    """Native histograms of the series, which have their timestamps."""


SampleLike: TypeAlias = tuple[int, float] | Histogram
"""A sample in an answer: (timestamp in ms, value), or a Histogram, which has its timestamp."""
SeriesLike: TypeAlias = (
    Series
    | tuple[Mapping[str, str], Iterable[SampleLike]]
    | tuple[Mapping[str, str], Iterable[int], Iterable[float]]
    | tuple[Mapping[str, str], Iterable[int], Iterable[float], Iterable[Histogram]]
)
"""A series in an answer. Histograms may stand among the samples of the first shape, or be the
fourth item of the last."""


class ArrowStream(Protocol):
    """Whatever exports an Arrow stream: tables and readers of pyarrow, polars, DuckDB and others.

    A table has a row a sample, with the columns timestamp (of any unit, or integers: milliseconds)
    and value, or a row a series, with timestamps and values, lists of these. Labels are the column
    labels (a map, or a struct of strings) and every other column of strings, by its name; null and
    "" are no label, and where the value is null is no sample.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream, in a capsule."""


PieceLike: TypeAlias = (
    tuple[Iterable[int], Iterable[float]]
    | tuple[Iterable[int], Iterable[float], Iterable[Histogram]]
)
"""Samples of one series in columns: timestamps in ms and values, perhaps histograms."""

_T = TypeVar("_T")
Maybe: TypeAlias = _T | Awaitable[_T]
"""What a `def` returns, or an `async def`."""
Some: TypeAlias = Iterable[_T] | AsyncIterable[_T]
"""A list, a generator, an asynchronous generator, or anything else that can be iterated."""

Result: TypeAlias = Some[SeriesLike] | ArrowStream
"""The answer to a query."""
Samples: TypeAlias = Some[SampleLike | PieceLike] | PieceLike
"""The data of a series, in order of time."""


class Reject(Exception):
    """Raise it to refuse a request for good: the sender drops the data."""

    status: int
    """Of the answer: 4xx, but not 429."""

    def __init__(self, message: str = "rejected by the storage", *, status: int = 400) -> None:
        super().__init__(message)
        if not 400 <= status < 500 or status == 429:
            raise ValueError("status of Reject must be 4xx and not 429")
        self.status = status


class Retry(Exception):
    """Raise it to refuse a request for now: the sender tries again."""

    after: int
    """Seconds that the sender is asked to wait (Retry-After); 0 = as it likes."""
    status: int
    """Of the answer: 5xx or 429."""

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
        self.after = 0 if after is None else math.ceil(min(max(1, after), 0xFFFFFFFF))
        self.status = status


class Storage:
    """Base of a backend: override what it can do; the rest is answered with 404.

    A storage need not be derived from it: see StorageLike.

    Each method may be `def` or `async def`, whatever the others are. They are called for several
    requests at the same time: those with `def` from threads, those with `async def` on one event
    loop, which is the host's (ASGI) or one in a thread of this package. What they are given may be
    used until they return (or, of a generator, until it is exhausted or closed). Raise Reject or
    Retry to refuse; any other exception is answered with 500.

    A generator, asynchronous or not, is closed when nobody waits for the rest. One that is plain may
    be resumed on another thread than the one before (a connection of sqlite3 must allow that); an
    asynchronous one stays in one task, and may be some 60 items ahead of what is sent.
    """

    histograms: bool = False
    """Whether write keeps native histograms. Otherwise the sender is told that they are refused."""

    exemplars: bool = False
    """Whether write keeps exemplars. Otherwise a sender of remote write 2.0 is told likewise."""

    ordered: bool = False
    """Whether process_query gives its series in the order of their labels. Then a streamed answer
    is sent as they come, and the generator rests while the reader is busy; otherwise it is
    collected and sorted first. Labels are ordered as sorted(labels.items()) are, in UTF-8."""

    def write(self, ctx: Context, request: WriteRequest) -> Maybe[None]:
        """Stores the request before returning. A request sent again must change nothing.

        To refuse a part for good, say so by TimeSeries.reject and store the rest.
        """
        raise NotImplementedError

    def process_query(self, ctx: Context, query: Query) -> Maybe[Result]:
        """Gives (as list, generator, asynchronous generator or Arrow stream) all series that
        satisfy query: each is a Series, or a tuple (labels, [(timestamp in ms, value), ...]) or
        (labels, timestamps in ms, values). Histograms may stand among the samples of the first, or
        be a fourth item of the second.

        Samples outside the time range may be among them; order does not matter, unless `ordered`.
        """
        raise NotImplementedError

    def read(self, ctx: Context, queries: Sequence[Query]) -> Maybe[Some[Maybe[Result]]]:
        """Optional: answers all queries of a request at once, in their order."""
        raise NotImplementedError

    def select(self, ctx: Context, query: Query) -> Maybe[Some[tuple[Mapping[str, str], object]]]:
        """Optional, with fetch, instead of process_query: lists the series that satisfy query, in
        any order, as (labels, key). With these two an answer of any length takes little memory: the
        data of a series are fetched as the reader takes them. The key is any object.
        """
        raise NotImplementedError

    def fetch(self, ctx: Context, query: Query, key: Any) -> Maybe[Samples]:
        """Gives the samples of the series with that key, in order of time: pairs (timestamp in ms,
        value), Histograms, or pieces (timestamps, values[, histograms]) of them; or one such piece.
        """
        raise NotImplementedError


class Writes(Protocol):
    """Has a write."""

    def write(self, ctx: Context, request: WriteRequest, /) -> Maybe[None]:
        """See Storage."""


class Answers(Protocol):
    """Has a process_query."""

    def process_query(self, ctx: Context, query: Query, /) -> Maybe[Result]:
        """See Storage."""


class Reads(Protocol):
    """Has a read."""

    def read(self, ctx: Context, queries: Sequence[Query], /) -> Maybe[Some[Maybe[Result]]]:
        """See Storage."""


class Selects(Protocol):
    """Has select and fetch."""

    def select(
        self, ctx: Context, query: Query, /
    ) -> Maybe[Some[tuple[Mapping[str, str], object]]]:
        """See Storage."""

    def fetch(self, ctx: Context, query: Query, key: Any, /) -> Maybe[Samples]:
        """See Storage."""


WriteFunction: TypeAlias = Callable[["Context", "WriteRequest"], Maybe[None]]
StorageLike: TypeAlias = Storage | Writes | Answers | Reads | Selects | WriteFunction
"""A Storage; any object (also a module) with some of its methods; or a function, which is its
write."""


class FunctionStorage(Storage):
    """A storage made of functions, each as the method of Storage of that name; the three flags are
    its attributes.
    """

    def __init__(
        self,
        write: WriteFunction | None = None,
        process_query: Callable[[Context, Query], Maybe[Result]] | None = None,
        *,
        read: Callable[[Context, Sequence[Query]], Maybe[Some[Maybe[Result]]]] | None = None,
        select: Callable[[Context, Query], Maybe[Some[tuple[Mapping[str, str], object]]]]
        | None = None,
        fetch: Callable[[Context, Query, Any], Maybe[Samples]] | None = None,
        histograms: bool = False,
        exemplars: bool = False,
        ordered: bool = False,
    ) -> None:
        given = {
            "write": write,
            "process_query": process_query,
            "read": read,
            "select": select,
            "fetch": fetch,
        }
        vars(self).update({name: function for name, function in given.items() if function})
        self.histograms = histograms
        self.exemplars = exemplars
        self.ordered = ordered


Methods: TypeAlias = dict[str, Callable[..., Any]]

_ARGUMENTS = {
    "write": ("ctx", "request"),
    "process_query": ("ctx", "query"),
    "read": ("ctx", "queries"),
    "select": ("ctx", "query"),
    "fetch": ("ctx", "query", "key"),
}


def name_of(storage: object) -> str:
    """What people call it, for messages."""
    if isinstance(storage, (ModuleType, type)) or _is_function(storage):
        return str(getattr(storage, "__name__", storage))
    return type(storage).__name__


def methods_of(storage: StorageLike) -> Methods:
    """The methods that a storage has. Raises TypeError for what is none."""
    name = name_of(storage)
    if isinstance(storage, type):
        raise TypeError(f"{name} is a class: a storage is an object of it, {name}()")
    methods = {method: found for method in _ARGUMENTS if (found := _method(storage, method))}
    if not methods and callable(storage):
        methods = {"write": storage}
    if not methods:
        raise TypeError(f"{name} has no write, process_query, read, or select and fetch")
    for one, other in (("select", "fetch"), ("fetch", "select")):
        if one in methods and other not in methods:
            raise TypeError(f"{name} has {one} without {other}")
    if getattr(storage, "ordered", False) and "process_query" not in methods:
        raise TypeError(f"{name} is ordered, which is said of process_query, and has none")
    for method, found in methods.items():
        _check_arguments(f"{method} of {name}", found, _ARGUMENTS[method])
    return methods


def _is_function(storage: object) -> bool:
    return inspect.isroutine(storage) or isinstance(storage, functools.partial)


def _method(storage: StorageLike, name: str) -> Callable[..., Any] | None:
    """A method of the storage, unless it is missing or left as the base class has it."""
    method = getattr(storage, name, None)
    if method is None or getattr(method, "__func__", None) is getattr(Storage, name):
        return None
    if not callable(method):
        raise TypeError(f"{name} of {name_of(storage)} is {type(method).__name__}, no method")
    found: Callable[..., Any] = method
    return found


def _check_arguments(name: str, method: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # made in C, and does not say
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        wanted = ", ".join(arguments)
        raise TypeError(f"{name} must take ({wanted}), not {signature}") from None
