# SPDX-License-Identifier: Apache-2.0
"""What DuckDBStorage and ParquetStorage share: requests and answers as tables of pyarrow, without a
Python object for each sample."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from .. import Histogram, Series, WriteRequest

_Key = TypeVar("_Key")

POINTS = {"timestamp": pa.timestamp("ms", "UTC"), "value": pa.float64(), "histogram": pa.binary()}
"""The columns of samples and native histograms; one of the last two is null."""


def points(request: WriteRequest, places: Sequence[int]) -> Any:
    """The samples and histograms of a request as a table: POINTS, and before them place, that of
    places at the number of the series."""
    samples = pa.table(request.samples)
    table = pa.table({
        "place": pa.array(places, pa.int64()).take(samples["series"].combine_chunks()),
        "timestamp": samples["timestamp"],
        "value": samples["value"],
        "histogram": pa.nulls(len(samples), pa.binary()),
    })  # fmt: skip
    if not request.histogram_count:
        return table
    rows = [
        {"place": place, "timestamp": one.timestamp, "histogram": one.encode()}
        for place, ts in zip(places, request)
        for one in ts.histograms
    ]
    return pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)])


def runs(
    batch: Any, column: Any, wanted: Callable[[Any], bool] = lambda value: True
) -> Iterator[tuple[Any, Any]]:
    """The rows of a batch by values of column (one for each row) that follow each other, where they
    are wanted."""
    encoded, start = pc.run_end_encode(column), 0
    for value, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist()):
        if wanted(value):
            yield value, batch.slice(start, end - start)
        start = end


def merged(readers: Iterable[Iterator[tuple[_Key, Any]]]) -> Iterator[tuple[_Key, Any]]:
    """One table for each key in order, from readers that give rising keys and rows of POINTS. Rows
    are in order of time; of several for one time there is the first, of the first reader."""
    first = operator.itemgetter(0)
    for key, pieces in itertools.groupby(heapq.merge(*readers, key=first), key=first):
        yield key, _in_order(pa.Table.from_batches([rows for _, rows in pieces]))


def _in_order(rows: Any) -> Any:
    times = rows["timestamp"]
    if pc.all(pc.less(times[:-1], times[1:])).as_py() is not False:
        return rows
    rows = rows.take(pc.sort_indices(times))  # which leaves equal ones as they are
    times = rows["timestamp"]
    new = pc.not_equal(times[:-1], times[1:]).combine_chunks()
    return rows.filter(pa.concat_arrays([pa.array([True]), new]))


def series(labels: Mapping[str, str], rows: Any) -> Series:
    """One series of an answer from rows of POINTS."""
    blobs = rows["histogram"].drop_null().to_pylist()
    floats = rows.filter(rows["histogram"].is_null()) if blobs else rows
    times = floats["timestamp"].cast(pa.int64())  # of timestamps the least would be NaT
    return Series(labels, times, floats["value"], map(Histogram.decode, blobs))
