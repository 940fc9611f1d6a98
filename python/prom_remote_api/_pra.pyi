# SPDX-License-Identifier: Apache-2.0
"""The types that bindings/thunk_python*.c define."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, final

from ._histogram import Histogram
from ._storage import SeriesLike

@final
class Context:
    """What a storage may know about the HTTP request."""

    @property
    def tenant(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def remote_addr(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def worker(self) -> int: ...

class Exemplar(NamedTuple):
    """One observation among those that made a series."""

    labels: dict[str, str]
    value: float
    timestamp: int

@final
class TimeSeries:
    """One series of a WriteRequest."""

    @property
    def labels(self) -> dict[str, str]: ...
    @property
    def samples(self) -> list[tuple[int, float]]: ...
    @property
    def timestamps(self) -> memoryview[int]: ...
    @property
    def values(self) -> memoryview[float]: ...
    @property
    def start_timestamps(self) -> memoryview[int]: ...
    @property
    def histograms(self) -> list[Histogram]: ...
    @property
    def exemplars(self) -> list[Exemplar]: ...
    def reject(
        self,
        reason: str,
        kind: Literal["series", "sample", "histogram", "exemplar", "metadata"] = "series",
        count: int = 1,
    ) -> None: ...

class Metadata(NamedTuple):
    """What a sender says about a metric family (remote write 1.0) or a series (2.0)."""

    type: str
    family: str
    help: str
    unit: str
    @property
    def series(self) -> int | None: ...

@final
class WriteRequest:
    """A decoded remote write request: a sequence of TimeSeries."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> TimeSeries: ...
    def __iter__(self) -> Iterator[TimeSeries]: ...
    @property
    def version(self) -> int: ...
    @property
    def series_count(self) -> int: ...
    @property
    def sample_count(self) -> int: ...
    @property
    def histogram_count(self) -> int: ...
    @property
    def exemplar_count(self) -> int: ...
    @property
    def metadata(self) -> list[Metadata]: ...
    @property
    def timestamps(self) -> memoryview[int]: ...
    @property
    def values(self) -> memoryview[float]: ...
    @property
    def start_timestamps(self) -> memoryview[int]: ...
    @property
    def sample_offsets(self) -> memoryview[int]: ...

@final
class Matcher:
    """One label matcher of a Query, compiled."""

    @property
    def type(self) -> Literal["=", "!=", "=~", "!~"]: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def set(self) -> tuple[str, ...] | None: ...
    @property
    def prefix(self) -> str | None: ...
    def matches(self, value: str, /) -> bool: ...

class Hints(NamedTuple):
    """Advice from the reader; all of it may be ignored."""

    step_ms: int
    func: str
    start_ms: int
    end_ms: int
    grouping: tuple[str, ...]
    by: bool
    range_ms: int

@final
class Query:
    """One query of a remote read request."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def matchers(self) -> tuple[Matcher, ...]: ...
    @property
    def hints(self) -> Hints | None: ...
    def matches(self, labels: Mapping[str, str], /) -> bool: ...

@final
class Sink:
    """Where the series that answer one query go."""

    def extend(self, series: Iterable[SeriesLike], /) -> None: ...

@final
class Scope:
    """How long the objects of a request may be used."""

    def close(self) -> None: ...

def histogram_encode(histogram: Histogram, /) -> bytes: ...
def histogram_decode(data: bytes | bytearray | memoryview, /) -> Histogram: ...
def histogram_bound(schema: int, index: int, /) -> float: ...
def histogram_register(kind: type[Histogram], /) -> None: ...
