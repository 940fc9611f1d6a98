"""Everything that a column of an answer can be, and what it cannot be; Sink.add and Sink.extend."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from typing import Any

import duckdb  # type: ignore[import-untyped,unused-ignore]
import nanoarrow as na  # type: ignore[import-untyped]
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import prom_remote_api as pra
import wire
from exchange import Adapter, Makes, ask, begin, plain, run
from prom_remote_api import pra as c

UP = {"__name__": "up"}
TIMES = [1000, 2000, 3000]
VALUES = [1.0, -2.0, 4.0]
WANTED = [[(UP, list(zip(TIMES, VALUES)))]]


def arrow_times(unit: str, factor: float, zone: str | None = None) -> pa.Array:
    return pa.array([int(t * factor) for t in TIMES], pa.timestamp(unit, zone))


def from_duckdb(statement: str) -> Any:
    relation = duckdb.sql(statement)
    assert relation
    return relation.to_arrow_table()


class Refuses(list[int]):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise RuntimeError("no array of this")


STAMPS: dict[str, Callable[[], Any]] = {
    "list": lambda: TIMES,
    "array q": lambda: array.array("q", TIMES),
    "array h": lambda: array.array("h", TIMES),
    "array I": lambda: array.array("I", TIMES),
    "array Q": lambda: array.array("Q", TIMES),
    "numpy int64": lambda: np.array(TIMES),
    "numpy int16": lambda: np.array(TIMES, "int16"),
    "numpy uint32": lambda: np.array(TIMES, "uint32"),
    "numpy strided": lambda: np.array([1000, 0, 2000, 0, 3000])[::2],
    "numpy backwards": lambda: np.array(TIMES[::-1])[::-1],
    "numpy big-endian": lambda: np.array(TIMES, ">i8"),
    "numpy misaligned": lambda: np.frombuffer(b"x" + np.array(TIMES).tobytes(), "<i8", offset=1),
    "numpy ms": lambda: np.array(TIMES, "datetime64[ms]"),
    "numpy s": lambda: np.array([1, 2, 3], "datetime64[s]"),
    "numpy us": lambda: np.array(TIMES, "datetime64[ms]").astype("datetime64[us]"),
    "numpy ns": lambda: np.array(TIMES, "datetime64[ms]").astype("datetime64[ns]") + np.timedelta64(999_999, "ns"),
    "numpy ns strided": lambda: np.array([1000, 0, 2000, 0, 3000], "datetime64[ms]").astype("datetime64[ns]")[::2],
    "pyarrow int64": lambda: pa.array(TIMES),
    "pyarrow int16": lambda: pa.array(TIMES, pa.int16()),
    "pyarrow uint64": lambda: pa.array(TIMES, pa.uint64()),
    "pyarrow s": lambda: arrow_times("s", 0.001),
    "pyarrow ms": lambda: arrow_times("ms", 1, "UTC"),
    "pyarrow us": lambda: arrow_times("us", 1000, "Europe/Berlin"),
    "pyarrow ns": lambda: arrow_times("ns", 1_000_000),
    "pyarrow slice": lambda: pa.array([7, 7, *TIMES, 7])[2:5],
    "pyarrow slice beside a null": lambda: pa.array([None, *TIMES, None], pa.timestamp("ms"))[1:4],
    "pyarrow chunks": lambda: pa.chunked_array([pa.array(TIMES[:1]), pa.array([], pa.int64()), pa.array(TIMES[1:])]),
    "polars": lambda: pl.Series(TIMES),
    "polars ms": lambda: pl.Series(TIMES).cast(pl.Datetime("ms")),
    "polars us": lambda: pl.Series([t * 1000 for t in TIMES]).cast(pl.Datetime("us", "UTC")),
    "polars chunks": lambda: pl.concat([pl.Series(TIMES[:2]), pl.Series(TIMES[2:])], rechunk=False),
    "pandas": lambda: pd.Series(TIMES),
    "pandas datetimes": lambda: pd.Series(TIMES).astype("datetime64[ms]"),
    "pandas datetimes with a zone": lambda: pd.Series(TIMES).astype("datetime64[ms]").dt.tz_localize("UTC"),
    "pandas index": lambda: pd.to_datetime(TIMES, unit="ms"),
    "pandas index with a zone": lambda: pd.to_datetime(TIMES, unit="ms", utc=True).tz_convert("Asia/Tokyo"),
    "pandas index of integers": lambda: pd.Index(TIMES),
    "array protocol": lambda: Makes(np.array(TIMES)),
    "array protocol ms": lambda: Makes(np.array(TIMES, "datetime64[ms]")),
    "array protocol big-endian": lambda: Makes(np.array(TIMES, ">M8[ms]")),
    "array protocol refused": lambda: Refuses(TIMES),
    "nanoarrow": lambda: na.Array(TIMES, na.int64()),
    "nanoarrow ms": lambda: na.c_array(TIMES, na.timestamp("ms")),
    "duckdb": lambda: from_duckdb("select make_timestamp(unnest([1000, 2000, 3000]) * 1000) t")["t"],
}
NUMBERS: dict[str, Callable[[], Any]] = {
    "tuple": lambda: tuple(VALUES),
    "ints": lambda: [1, -2, 4],
    "array d": lambda: array.array("d", VALUES),
    "array f": lambda: array.array("f", VALUES),
    "array b": lambda: array.array("b", [1, -2, 4]),
    "numpy float64": lambda: np.array(VALUES),
    "numpy float32": lambda: np.array(VALUES, "float32"),
    "numpy float16": lambda: np.array(VALUES, "float16"),
    "numpy int8": lambda: np.array([1, -2, 4], "int8"),
    "numpy strided": lambda: np.array([VALUES, VALUES]).T[:, 1],
    "pyarrow double": lambda: pa.array(VALUES),
    "pyarrow float": lambda: pa.array(VALUES, pa.float32()),
    "pyarrow half": lambda: pa.array(np.array(VALUES, "float16")),
    "pyarrow int32": lambda: pa.array([1, -2, 4], pa.int32()),
    "pyarrow chunks": lambda: pa.chunked_array([VALUES[:1], VALUES[1:]]),
    "polars": lambda: pl.Series(VALUES),
    "polars float": lambda: pl.Series(VALUES, dtype=pl.Float32),
    "pandas": lambda: pd.Series(VALUES),
    "pandas index": lambda: pd.Index(VALUES),
    "nanoarrow": lambda: na.Array(VALUES, na.float64()),
    "array protocol": lambda: Makes(np.array(VALUES, "float32")),
}


@pytest.mark.parametrize("make", [lambda: pd.Series(TIMES), lambda: pd.Series(TIMES).astype("datetime64[ms]")])
def test_pandas_does_not_warn(make: Callable[[], Any], recwarn: pytest.WarningsRecorder) -> None:
    assert plain(ask(adding((UP, make(), VALUES)))) == WANTED and not recwarn.list


def adding(series: Any) -> Adapter:
    return Adapter(lambda query, sink: sink.add(series))


@pytest.mark.parametrize("name", STAMPS)
def test_timestamps(name: str) -> None:
    assert plain(ask(adding((UP, STAMPS[name](), VALUES)))) == WANTED


@pytest.mark.parametrize("name", NUMBERS)
def test_values(name: str) -> None:
    assert plain(ask(adding((UP, TIMES, NUMBERS[name]())))) == WANTED


def test_before_the_epoch_times_are_rounded_down() -> None:
    times = pa.array([-1, -1_000_000, -1_000_001], pa.timestamp("ns"))
    ((series,),) = ask(adding((UP, times, VALUES)), wire.query(-10, 10, []))
    assert dict(zip(series.timestamps, series.values)) == {-1: -2.0, -2: 4.0}  # of equal ones the last


@pytest.mark.parametrize("bits", [wire.STALE_BITS, wire.NORMAL_NAN_BITS, 1 << 63, 0xFFF0000000000001])
@pytest.mark.parametrize("make", [pa.array, pl.Series, np.array, pa.chunked_array])
def test_bits_survive(make: Any, bits: int) -> None:
    values: Any = np.frombuffer(bits.to_bytes(8, "little"), "float64")
    if make is pa.chunked_array:
        values = [pa.array(values)]
    ((series,),) = ask(adding((UP, [1], make(values))))
    assert memoryview(series.values).tobytes() == bits.to_bytes(8, "little")  # type: ignore[arg-type]


@pytest.mark.parametrize("value, half", [(0.0, 0), (-0.0, 0x8000), (6e-8, 1), (65504.0, 0x7BFF), (1 / 3, 0x3555)])
def test_half_floats(value: float, half: int) -> None:
    number = np.array([half], "uint16").view("float16")
    ((series,),) = ask(adding((UP, [1], pa.array(number))))
    assert list(series.values) == [float(number[0])] == [pytest.approx(value, rel=1e-2)]


@pytest.mark.parametrize("empty", [[], b"", np.array([]), pa.array([]), pa.array([], pa.int64()), pl.Series([])])
def test_nothing_in_a_column(empty: Any) -> None:
    times = [] if getattr(empty, "dtype", None) == np.dtype("float64") else empty
    assert ask(adding((UP, times, empty))) == [[]]


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "float stamps": (lambda: (UP, np.array([1.0]), [1.0]), TypeError, "timestamps must be integers"),
    "arrow float stamps": (lambda: (UP, pa.array([1.0]), [1.0]), TypeError, "timestamps must be integers"),
    "datetimes as values": (lambda: (UP, [1], arrow_times("ms", 1)[:1]), TypeError, "values must be numbers"),
    "datetimes of NumPy as values": (lambda: (UP, [1], np.array([1], "M8[s]")), TypeError, "values must be numbers"),
    "strings": (lambda: (UP, [1], pa.array(["1"])), TypeError, "values must be Arrow numbers"),
    "string stamps": (lambda: (UP, pa.array(["1"]), [1.0]), TypeError, "numbers or timestamps"),
    "float in a pair": (lambda: (UP, [(1.5, 1.0)]), TypeError, "a timestamp must be an int (milliseconds), not float"),
    "float in a list": (lambda: (UP, [1.5], [1.0]), TypeError, "a timestamp must be an int (milliseconds), not float"),
    "str in a pair": (lambda: (UP, [(1, "1")]), TypeError, "a value must be a float, not str"),
    "a str": (lambda: (UP, "1", [1.0]), TypeError, ""),
    "dictionary": (lambda: (UP, [1], pa.array([1.0]).dictionary_encode()), TypeError, "Arrow numbers"),
    "decimals": (lambda: (UP, [1], pa.array([1], pa.decimal128(5))), TypeError, "Arrow numbers"),
    "dates": (lambda: (UP, pa.array([1], pa.date32()), [1.0]), TypeError, "timestamps"),
    "a struct": (lambda: (UP, [1], pa.array([{"a": 1.0}])), TypeError, "Arrow numbers"),
    "a table": (lambda: (UP, [1], pa.table({"a": [1.0]})), TypeError, "Arrow numbers"),
    "bools": (lambda: (UP, [1], pa.array([True])), TypeError, "Arrow numbers"),
    "two dimensions": (lambda: (UP, np.zeros((1, 1), "int64"), [1.0]), TypeError, ""),
    "null stamp": (lambda: (UP, pa.array([1, None]), [1.0, 2.0]), ValueError, "null among the timestamps"),
    "null value": (lambda: (UP, [1, 2], pl.Series([None, 2.0])), ValueError, "null among the values"),
    "null in a slice": (lambda: (UP, [1, 2], pa.array([1.0, None, 2.0])[1:]), ValueError, "null among the values"),
    "only nulls": (lambda: (UP, [1], pa.nulls(1)), ValueError, "null among the values"),
    "NaT": (lambda: (UP, np.array(["NaT"], "datetime64[ms]"), [1.0]), ValueError, "NaT"),
    "NaT of pandas": (lambda: (UP, pd.to_datetime([None], utc=True), [1.0]), ValueError, "NaT"),
    "NaT in ns": (lambda: (UP, np.array(["NaT"], "datetime64[ns]"), [1.0]), ValueError, "NaT"),
    "too late": (lambda: (UP, pa.array([1 << 62], pa.timestamp("s")), [1.0]), OverflowError, "out of range"),
    "too late without a sign": (lambda: (UP, np.array([1 << 63], "uint64"), [1.0]), OverflowError, "out of range"),
    "lengths": (lambda: (UP, np.array([1, 2]), pa.array([1.0])), ValueError, "2 timestamps, but 1 values"),
    "years": (lambda: (UP, np.array([1], "datetime64[Y]"), [1.0]), TypeError, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_columns(name: str) -> None:
    make, kind, text = BAD[name]
    adapter = adding(make())
    x = begin(adapter)
    run(x)
    assert x.status() == 500
    (error,) = adapter.errors
    assert type(error) is kind and text in str(error)
    assert len(plain(ask(adding((UP, TIMES, VALUES))))) == 1


class Export:
    """Exports what it is told to, and counts."""

    def __init__(self, array: Any = None, stream: Any = None) -> None:
        self._array, self._stream = array, stream

    def __getattr__(self, name: str) -> Any:
        given = {"__arrow_c_array__": self._array, "__arrow_c_stream__": self._stream}.get(name)
        if given is None:
            raise AttributeError(name)
        return given


def raising(error: BaseException) -> Any:
    def method() -> Any:
        raise error

    return method


@pytest.mark.parametrize(
    "exporter, kind",
    [
        (Export(array=raising(KeyError(1))), KeyError),
        (Export(stream=raising(KeyError(1))), KeyError),
        (Export(array=raising(ImportError())), TypeError),  # and it is no iterable either
        (Export(array=lambda: 17), TypeError),
        (Export(array=lambda: (1, 2)), ValueError),
        (Export(array=lambda: pa.array([1.0]).__arrow_c_array__()[::-1]), ValueError),
        (Export(array=lambda: (1,)), TypeError),
        (Export(stream=lambda: 17), ValueError),
    ],
)
def test_bad_exporters(exporter: Any, kind: type[Exception]) -> None:
    adapter = adding((UP, [1], exporter))
    x = begin(adapter)
    run(x)
    assert [type(error) for error in adapter.errors] == [kind]


def test_a_stream_is_used_up() -> None:
    capsule = pa.chunked_array([VALUES]).__arrow_c_stream__()
    once = Export(stream=lambda: capsule)
    assert plain(ask(adding((UP, TIMES, once)))) == WANTED
    with pytest.raises(AssertionError):
        ask(adding((UP, TIMES, once)))


def test_a_stream_that_fails() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        raise KeyError("no data")
        yield

    reader = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.float64())]), batches())
    adapter = adding((UP, [1], reader))
    run(begin(adapter))
    (error,) = adapter.errors
    assert isinstance(error, TypeError)  # a table is no column, whatever it would have given


# ---- add and extend


def test_add_and_extend_say_whether_there_is_more() -> None:
    said: list[bool] = []

    def answer(query: Any, sink: Any) -> None:
        said.append(sink.add((UP, [(1, 1.0)])))
        said.append(sink.extend(iter([({"a": "1"}, [(1, 1.0)])])))
        said.append(sink.extend([]))

    assert len(ask(Adapter(answer))[0]) == 2
    assert said == [False] * 3


@pytest.mark.parametrize("wrong", [None, UP, (UP,), (UP, 1, 2, 3, 4), [UP, []], 17])
@pytest.mark.parametrize("method", ["add", "extend"])
def test_what_is_no_series(method: str, wrong: Any) -> None:
    adapter = Adapter(lambda query, sink: getattr(sink, method)(wrong if method == "add" else [wrong]))
    x = begin(adapter)
    run(x)
    (error,) = adapter.errors
    assert type(error) is TypeError and "a series must be" in str(error)


def test_a_sink_is_used_by_one_at_a_time() -> None:
    seen: list[str] = []

    def answer(query: Any, sink: Any) -> None:
        def samples() -> Iterator[wire.Sample]:
            for method in (sink.add, sink.extend):
                with pytest.raises(RuntimeError, match="in use") as caught:
                    method((UP, []))
                seen.append(str(caught.value))
            yield 1, 1.0

        sink.add((UP, samples()))

    assert plain(ask(Adapter(answer))) == [[(UP, [(1, 1.0)])]]
    assert len(seen) == 2


def test_a_sink_after_its_call() -> None:
    kept: list[Any] = []
    ask(Adapter(lambda query, sink: kept.append(sink)))
    for method in (kept[0].add, kept[0].extend):
        with pytest.raises(pra.ExpiredError):
            method((UP, [(1, 1.0)]))


def test_limits_are_told_as_such() -> None:
    adapter = Adapter(lambda query, sink: [sink.add((UP, TIMES, VALUES)) for _ in range(10)])
    x = begin(adapter, limits={"max_read_samples": 7})
    run(x)
    (error,) = adapter.errors
    assert isinstance(error, pra.Error) and c.error_name(error.code) == "sample_limit"
    assert x.status() == 400


# ---- tables

ROWS = {
    "__name__": ["up", "up", "down", "up"],
    "job": ["a", "b", None, "a"],
    "timestamp": [1, 1, 1, 2],
    "value": [1.0, 2.0, 3.0, 4.0],
}
LONG = pa.table({name: pa.array(column) for name, column in ROWS.items()})
TIMED = LONG.set_column(2, "timestamp", LONG["timestamp"].cast(pa.timestamp("ms", "UTC")))
WIDE = pa.table({
    "labels": pa.array([[("__name__", "up"), ("job", "a")], [("job", "b"), ("__name__", "up")], [("__name__", "down")]],
                       pa.map_(pa.string(), pa.string())),
    "timestamps": [[1, 2], [1], [1]],
    "values": [[1.0, 4.0], [2.0], [3.0]],
})  # fmt: skip
UPS = {
    (("__name__", "up"), ("job", "a")): [(1, 1.0), (2, 4.0)],
    (("__name__", "up"), ("job", "b")): [(1, 2.0)],
    (("__name__", "down"),): [(1, 3.0)],
}


DATABASE = duckdb.connect()  # which a relation of DuckDB 1.4 does not keep


def query_duckdb(statement: str, table: Any) -> Any:
    DATABASE.register("t", table)
    return DATABASE.sql(statement)


TABLES: dict[str, Callable[[], Any]] = {
    "pyarrow long": lambda: LONG,
    "pyarrow times": lambda: TIMED,
    "pyarrow dictionaries": lambda: LONG.set_column(1, "job", LONG["job"].dictionary_encode()),
    "pyarrow wide": lambda: WIDE,
    "pyarrow reader": lambda: TIMED.to_reader(max_chunksize=1),
    "pyarrow batch": lambda: TIMED.to_batches()[0],
    "polars": lambda: pl.DataFrame(ROWS),
    "polars times": lambda: pl.from_arrow(TIMED),
    "polars categories": lambda: pl.DataFrame(ROWS).with_columns(pl.col("job").cast(pl.Categorical)),
    "polars wide": lambda: pl.DataFrame({
        "__name__": ["up", "up", "down"], "job": ["a", "b", ""], "timestamps": [[1, 2], [1], [1]],
        "values": [[1.0, 4.0], [2.0], [3.0]],
    }),
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas times": lambda: TIMED.to_pandas(),
    "duckdb": lambda: query_duckdb("from t", TIMED),
    "duckdb wide": lambda: query_duckdb(
        'select {__name__: "__name__", job: job} as labels, list("timestamp" order by "timestamp") as timestamps, '
        'list(value order by "timestamp") as values from t group by 1', TIMED
    ),
    "nanoarrow": lambda: na.ArrayStream(TIMED),
}  # fmt: skip


def by_labels(results: list[list[pra.Series]]) -> dict[Any, Any]:
    return {tuple(sorted(labels.items())): samples for labels, samples in plain(results)[0]}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, streamed: bool) -> None:
    said: list[bool] = []
    adapter = Adapter(lambda query, sink: said.append(sink.extend(TABLES[name]())))
    assert by_labels(ask(adapter, streamed=streamed)) == UPS
    assert said == [False]


def test_tables_among_series() -> None:
    other = ({"a": "b"}, [(1, 1.0)])
    adapter = Adapter(lambda query, sink: sink.extend(iter([LONG, other])))
    assert by_labels(ask(adapter)) == UPS | {(("a", "b"),): [(1, 1.0)]}


BAD_TABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "no timestamp": (lambda: LONG.drop_columns(["timestamp"]), "timestamp"),
    "values that are strings": (lambda: LONG.set_column(3, "value", LONG["job"]), "value"),
    "labels that are numbers": (lambda: LONG.append_column("shard", pa.array([1] * 4)), "shard"),
    "no struct": (lambda: pa.chunked_array([[1.0]]), ""),
    "lists of different length": (lambda: WIDE.set_column(2, "values", pa.array([[1.0]] * 3)), "values"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables(name: str) -> None:
    make, text = BAD_TABLES[name]
    adapter = Adapter(lambda query, sink: sink.extend(make()))
    x = begin(adapter)
    run(x)
    (error,) = adapter.errors
    assert type(error) is ValueError and text in str(error)
    assert x.status() == 500


def test_a_table_whose_reader_fails() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield LONG.to_batches()[0]
        raise KeyError("no more data")

    reader = pa.RecordBatchReader.from_batches(LONG.schema, batches())
    adapter = Adapter(lambda query, sink: sink.extend(reader))
    run(begin(adapter))
    (error,) = adapter.errors
    assert "no more data" in str(error)


def test_a_reader_that_wants_the_sink() -> None:
    """Python code in a stream's producer, while C is in the sink."""
    seen: list[str] = []

    def answer(query: Any, sink: Any) -> None:
        def batches() -> Iterator[pa.RecordBatch]:
            with pytest.raises(RuntimeError, match="in use"):
                sink.add((UP, []))
            seen.append("tried")
            yield from LONG.to_batches()

        sink.extend(pa.RecordBatchReader.from_batches(LONG.schema, batches()))

    assert by_labels(ask(Adapter(answer))) == UPS
    assert seen == ["tried"]


@pytest.mark.parametrize("entry", ["process_query", "read"])
def test_memory_of_tables(entry: str) -> None:
    """Bounded as the handler says."""
    table = pa.table({"timestamp": range(10_000), "value": [1.0] * 10_000, "a": ["b"] * 10_000})
    adapter = Adapter(lambda query, sink: sink.extend(table))
    adapter.read = lambda ctx, queries, sinks: adapter.process_query(ctx, queries[0], sinks[0])  # type: ignore[attr-defined]
    adapter.entries = (entry,)
    assert len(ask(adapter)[0]) == 1
    run(begin(adapter, limits={"max_memory_bytes": 100_000}))
    (error,) = adapter.errors
    assert isinstance(error, pra.Error) and c.error_name(error.code) == "memory_budget"


def test_limits_of_tables() -> None:
    adapter = Adapter(lambda query, sink: sink.extend(LONG))
    run(begin(adapter, limits={"max_read_samples": 2}))
    (error,) = adapter.errors
    assert isinstance(error, pra.Error) and c.error_name(error.code) == "sample_limit"
