# SPDX-License-Identifier: Apache-2.0
"""What is in a file of ParquetStorage: rows in order of labels and time."""

from __future__ import annotations

import datetime
import json
import os
import resource
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from .. import Query, WriteRequest
from . import _arrow

Labels: TypeAlias = list[tuple[str, str]]
"""Of one series, in their order: such lists are in the order that answers have."""

_SCHEMA = pa.schema({"name": pa.string(), "labels": pa.string(), **_arrow.POINTS})
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-._~"
_DAY_MS = 86_400_000
_ROWS = 1 << 17


def folder_of(tenant: str) -> str:
    """Two tenants have two folders, also where file systems take A and a for the same."""
    letters = (chr(b) if b in _PLAIN else f"%{b:02X}" for b in tenant.encode())
    return "tenant=" + "".join(letters)


def day_of(timestamp_ms: int) -> str:
    """The folder of a time. What is beyond the years that dates have is in the first or last."""
    ordinal = timestamp_ms // _DAY_MS + datetime.date(1970, 1, 1).toordinal()
    ordinal = min(max(ordinal, 1), datetime.date.max.toordinal())
    return f"day={datetime.date.fromordinal(ordinal)}"


def rows_by_day(request: WriteRequest) -> Iterator[tuple[str, Any]]:
    """What a request has for each folder, as rows of a file."""
    labels = [tuple(one.items()) for one in request.labels]
    places = {one: place for place, one in enumerate(sorted(set(labels)))}
    rows = _arrow.points(request, [places[one] for one in labels])
    rows = rows.sort_by([("place", "ascending"), ("timestamp", "ascending")])
    texts = pa.array([text_of(one) for one in places], pa.string())
    names = pa.array([dict(one).get("__name__", "") for one in places], pa.string())
    place = rows["place"].combine_chunks()
    rows = rows.set_column(0, "labels", texts.take(place))
    rows = rows.add_column(0, "name", names.take(place))
    while len(rows):  # nearly always once
        times = rows["timestamp"].cast(pa.int64())
        first = pc.min(times).as_py()
        end = (first // _DAY_MS + 1) * _DAY_MS - 1
        of_day = pc.less_equal(times, min(end, (1 << 63) - 1))
        yield day_of(first), rows.filter(of_day)
        rows = rows.filter(pc.invert(of_day))


def text_of(labels: Iterable[tuple[str, str]]) -> str:
    return json.dumps(dict(labels), ensure_ascii=False, separators=(",", ":"))


def labels_of(text: str) -> Labels:
    return list(json.loads(text).items())


def write(folder: Path, tables: Iterable[Any]) -> Path:
    """A file that is on the disk, but not yet of those that are read."""
    path = folder / f"{secrets.token_hex(8)}.tmp"
    # No dictionary of values: all NaNs would become the same one.
    encodings = {"timestamp": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"}
    options = {"compression": "zstd", "use_dictionary": ["name", "labels"]}
    try:
        with open(path, "wb") as file:
            with pq.ParquetWriter(file, _SCHEMA, column_encoding=encodings, **options) as writer:
                for table in _collected(tables):
                    writer.write_table(table.cast(_SCHEMA))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # of a disk that is full each attempt would leave a part
        path.unlink(missing_ok=True)
        raise
    return path


def _collected(tables: Iterable[Any]) -> Iterator[Any]:
    """Each becomes a part of the file that can be left out in reading."""
    waiting: list[Any] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= _ROWS:
            yield pa.concat_tables(waiting)
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting)


def labelled(labels: Labels, points: Any) -> Any:
    """Rows of a file, of one series."""
    name = pa.repeat(dict(labels).get("__name__", ""), len(points))
    text = pa.repeat(text_of(labels), len(points))
    return points.add_column(0, "labels", text).add_column(0, "name", name)


def show(temporary: Path, begin: str, level: int) -> None:
    """From now on it is read."""
    temporary.rename(temporary.with_name(f"{begin}-{level}-{secrets.token_hex(4)}.parquet"))
    sync(temporary.parent)


def sync(folder: Path) -> None:
    """Names in it are on the disk when this returns."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def most_open(wanted: int) -> int:
    """Of the files that the process may have open, half are for others."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most // 2)


def open_file(path: Path) -> Any:
    return pq.ParquetFile(path, read_dictionary=["labels"])


def read(
    file: Any, wanted: Callable[[str], Labels | None], query: Query | None = None
) -> Iterator[tuple[Labels, Any]]:
    """The series for whose labels wanted gives them, with their rows of POINTS."""
    parts = [at for at in range(file.num_row_groups) if _may_have(file, at, query)]
    columns = ["labels", *_arrow.POINTS]
    for batch in file.iter_batches(row_groups=parts, columns=columns) if parts else ():
        texts = batch["labels"]
        every = enumerate(map(wanted, texts.dictionary.to_pylist()))
        found = {number: labels for number, labels in every if labels is not None}
        if found:
            points = batch.select(list(_arrow.POINTS))
            for number, rows in _arrow.runs(points, texts.indices, found.__contains__):
                yield found[number], rows


def since(start_ms: int, rows: Any) -> Any:
    return rows.filter(pc.greater_equal(rows["timestamp"].cast(pa.int64()), start_ms))


def _may_have(file: Any, at: int, query: Query | None) -> bool:
    """By what the file says of the least and greatest in a part of it."""
    if query is None:
        return True
    names, times = (file.metadata.row_group(at).column(one).statistics for one in (0, 2))
    if times.has_min_max and (times.min_raw > query.end_ms or times.max_raw < query.start_ms):
        return False
    for matcher in query.matchers:
        if matcher.name == "__name__" and matcher.type in ("=", "=~") and matcher.set:
            # A file does not say the least and greatest of long names.
            if names.has_min_max and not any(names.min <= one <= names.max for one in matcher.set):
                return False
    return True
