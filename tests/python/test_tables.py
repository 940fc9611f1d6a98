"""Tables of a request in the packages that people have: values exact, in the call and after it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import pytest

import prom_remote_api as pra
import wire
from hosts import HOSTS, Does

A = {"__name__": "a", "job": "api"}
B = {"__name__": "b", "instance": "Österreich:9100", "job": "db"}
C = {"__name__": "c", "job": "api"}
NAN = wire.from_bits(0xFFF8000000000123)
INTEGER = pra.Histogram(
    timestamp=5000, start_timestamp=4000, count=6, sum=1.5, schema=2, zero_threshold=0.25, zero_count=1,
    reset_hint="no", positive_spans=[(0, 2), (3, 1)], positive_buckets=[1, 2, 2],
)  # fmt: skip
FLOAT = pra.Histogram(
    timestamp=6000, count=3.5, sum=wire.from_bits(wire.NORMAL_NAN_BITS), schema=-53,
    reset_hint="gauge", positive_spans=[(0, 2)], positive_buckets=[1.0, 2.5], custom_values=[0.5, 1.0],
)  # fmt: skip
BELOW = pra.Histogram(timestamp=7000, count=3.0, sum=-1.0, negative_spans=[(-1, 2)], negative_buckets=[1.0, 2.0])
SERIES: list[dict[str, Any]] = [
    {
        "labels": A,
        "samples": [(1000, 1.5, 10), (2000, wire.from_bits(wire.STALE_BITS), 0), (-1, NAN, 0)],
        "exemplars": [({"trace_id": "abc"}, 0.5, 1500)],
        "metadata": (1, "how many", "requests"),
    },
    {"labels": B, "samples": [(3000, -0.0, 30)], "exemplars": [({}, NAN, 1600), ({"a": "1", "b": "°"}, 1.0, 1700)]},
    {"labels": C, "histograms": [one.encode() for one in (INTEGER, FLOAT, BELOW)], "metadata": (3, "", "s")},
]
TABLES = ("samples", "series", "histograms", "exemplars", "metadata")


def bits(value: float) -> int:
    return wire.to_bits(value)


def spans(*pairs: tuple[int, int]) -> list[dict[str, int]]:
    return [{"offset": offset, "length": length} for offset, length in pairs]


def expected(request: pra.WriteRequest) -> dict[str, dict[str, list[Any]]]:
    """By table and column: what was sent; floats as bits, times in milliseconds."""
    hashes = [ts.fingerprint for ts in request]
    return {
        "samples": {
            "series": [0, 0, 0, 1],
            "timestamp": [1000, 2000, -1, 3000],
            "value": [bits(1.5), wire.STALE_BITS, bits(NAN), bits(-0.0)],
            "start_timestamp": [10, None, None, 30],
        },
        "series": {"series": [0, 1, 2], "fingerprint": hashes, "name": ["a", "b", "c"], "labels": [A, B, C]},
        "histograms": {
            "series": [2, 2, 2],
            "timestamp": [5000, 6000, 7000],
            "start_timestamp": [4000, None, None],
            "schema": [2, -53, 0],
            "reset_hint": ["no", "gauge", "unknown"],
            "is_float": [False, True, True],
            "count": [bits(6), bits(3.5), bits(3)],
            "zero_count": [bits(1), 0, 0],
            "zero_threshold": [bits(0.25), 0, 0],
            "sum": [bits(1.5), wire.NORMAL_NAN_BITS, bits(-1)],
            "positive_spans": [spans((0, 2), (3, 1)), spans((0, 2)), []],
            "positive_buckets": [[1, 2, 2], [1, 2.5], []],
            "negative_spans": [[], [], spans((-1, 2))],
            "negative_buckets": [[], [], [1, 2]],
            "custom_values": [[], [0.5, 1], []],
        },
        "exemplars": {
            "series": [0, 1, 1],
            "timestamp": [1500, 1600, 1700],
            "value": [bits(0.5), bits(NAN), bits(1)],
            "labels": [{"trace_id": "abc"}, {}, {"a": "1", "b": "°"}],
        },
        "metadata": {
            "series": [0, 2],
            "family": ["", ""],
            "type": ["counter", "histogram"],
            "help": ["how many", ""],
            "unit": ["requests", "s"],
        },
    }


# ---- packages: how one takes a table, and the columns of what it has then

FLOATS = {"value", "count", "zero_count", "zero_threshold", "sum"}
TIMES = {"timestamp", "start_timestamp"}


def plain(cells: list[Any]) -> list[Any]:
    """Maps as dicts, whatever the package makes of them; NumPy's arrays and scalars as Python's own."""
    return [cell_of(cell) for cell in cells]


def cell_of(cell: Any) -> Any:
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, dict) and set(cell) == {"key", "value"} and isinstance(cell["key"], list):
        return dict(zip(cell["key"], cell["value"]))
    if isinstance(cell, list) and cell and isinstance(cell[0], tuple):
        return dict(cell)
    if isinstance(cell, list) and cell and isinstance(cell[0], dict) and set(cell[0]) == {"key", "value"}:
        return {pair["key"]: pair["value"] for pair in cell}
    return cell


def maps_may_be_empty(table: str, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """An empty map that became an empty list."""
    if table in ("series", "exemplars") and "labels" in columns:
        columns["labels"] = [cell or {} for cell in columns["labels"]]
    return columns


def pyarrow_take(table: pra.Table) -> Any:
    return import_module("pyarrow").table(table)


def pyarrow_batch(table: pra.Table) -> Any:
    return import_module("pyarrow").record_batch(table)


def pyarrow_columns(taken: Any) -> dict[str, list[Any]]:
    pa = import_module("pyarrow")
    taken.validate(full=True)
    columns = {}
    for name in taken.schema.names:
        column = taken.column(name)
        if name in TIMES:
            assert column.type == pa.timestamp("ms", "UTC")
            column = column.cast(pa.int64())
        if name in FLOATS:
            columns[name] = column.to_numpy().view("uint64").tolist()
        else:
            columns[name] = plain(column.to_pylist())
    return columns


def polars_take(table: pra.Table) -> Any:
    return import_module("polars").DataFrame(table)


def polars_columns(taken: Any) -> dict[str, list[Any]]:
    columns = {}
    for name in taken.columns:
        column = taken[name]
        if name in TIMES:
            column = column.dt.epoch("ms")
        columns[name] = column.to_numpy().view("uint64").tolist() if name in FLOATS else plain(column.to_list())
    return columns


def duckdb_take(table: pra.Table) -> Any:
    """Into a table of the database, which finds Python's variables by their names."""
    connection = import_module("duckdb").connect()
    names = [f"epoch_ms({name}) as {name}" if name in TIMES else name for name in table.column_names]
    request_table = table
    connection.execute(f"create table taken as select {', '.join(names)} from request_table")
    del request_table
    return connection


def duckdb_columns(connection: Any) -> dict[str, list[Any]]:
    result = connection.execute("select * from taken")
    names = [entry[0] for entry in result.description]
    rows = result.fetchall()
    columns = {name: plain([row[i] for row in rows]) for i, name in enumerate(names)}
    for name in FLOATS & set(names):
        columns[name] = [wire.to_bits(cell) for cell in columns[name]]
    return columns


def pandas_take(table: pra.Table) -> Any:
    """As its documentation says: before 3.0 it takes no Arrow itself."""
    frame = import_module("pandas").DataFrame
    return frame.from_arrow(table) if hasattr(frame, "from_arrow") else pyarrow_take(table).to_pandas()


def pandas_columns(taken: Any) -> dict[str, list[Any]]:
    pandas = import_module("pandas")
    columns = {}
    for name in taken.columns:
        column = taken[name]
        if name in TIMES:
            assert str(column.dtype) == "datetime64[ms, UTC]"
            numbers = column.astype("int64").tolist()
            columns[name] = [None if missing else number for number, missing in zip(numbers, column.isna())]
        elif name in FLOATS:
            columns[name] = column.to_numpy().view("uint64").tolist()
        else:
            columns[name] = plain([None if pandas.api.types.is_scalar(cell) and pandas.isna(cell) else cell
                                   for cell in column])
    return columns


def nanoarrow_take(table: pra.Table) -> Any:
    return import_module("nanoarrow").Array(table)


def nanoarrow_columns(taken: Any) -> dict[str, list[Any]]:
    """Its iterator knows neither maps nor dictionaries of strings in them: PyArrow looks into these."""
    pa = import_module("pyarrow")
    assert taken.n_chunks == (1 if len(taken) else 0)
    columns = {}
    for number, name in enumerate(field.name for field in taken.schema.fields):
        column = taken.child(number)
        if name in TIMES:
            columns[name] = [cell and round(cell.timestamp() * 1000) for cell in column.to_pylist()]
        elif name == "labels":
            columns[name] = plain(pa.array(column.chunk(0)).to_pylist()) if len(column) else []
        else:
            columns[name] = plain(column.to_pylist())
    for name in FLOATS & set(columns):
        columns[name] = [wire.to_bits(cell) for cell in columns[name]]
    return columns


class Package(NamedTuple):
    take: Callable[[pra.Table], Any]
    columns: Callable[[Any], dict[str, list[Any]]]


PACKAGES = {
    "pyarrow": Package(pyarrow_take, pyarrow_columns),
    "pyarrow batch": Package(pyarrow_batch, pyarrow_columns),
    "polars": Package(polars_take, polars_columns),
    "duckdb": Package(duckdb_take, duckdb_columns),
    "pandas": Package(pandas_take, pandas_columns),
    "nanoarrow": Package(nanoarrow_take, nanoarrow_columns),
}


def received(kind: str, act: Callable[[pra.WriteRequest], object], series: Any = SERIES) -> Any:
    """What act makes of the request, after others have used the memory and the host is gone."""
    storage = Does(act)
    with HOSTS[kind](storage) as host:
        assert host.write_v2(*series).status == 204
        result, storage.act, storage.result = storage.result, lambda _: None, None
        for i in range(2):
            filler = [{"labels": {"__name__": "x" * 500}, "samples": [(7, 7.0, 7)] * 50}] * (i * 20 + 1)
            assert host.write_v2(*filler).status == 204
    gc.collect()
    return result


@pytest.mark.parametrize("kind", ["wsgi", "server"])
@pytest.mark.parametrize("package", PACKAGES)
def test_values(package: str, kind: str) -> None:
    take, columns = PACKAGES[package]

    def act(request: pra.WriteRequest) -> Any:
        taken = {name: take(getattr(request, name)) for name in TABLES}
        seen = {name: columns(one) for name, one in taken.items()}
        return expected(request), seen, taken, request.copy()

    wanted, in_call, taken, copy = received(kind, act)
    after = {name: columns(one) for name, one in taken.items()}
    of_copy = {name: columns(take(getattr(copy, name))) for name in TABLES}
    del taken, copy
    for name in TABLES:
        for seen in (in_call, after, of_copy):
            assert maps_may_be_empty(name, seen[name]) == wanted[name], name


@pytest.mark.parametrize("package", PACKAGES)
def test_empty_tables(package: str) -> None:
    take, columns = PACKAGES[package]

    def act(request: pra.WriteRequest) -> Any:
        return [(getattr(request, name).column_names, columns(take(getattr(request, name)))) for name in TABLES]

    for names, empty in received("wsgi", act, []):
        assert not any(empty.values()) and tuple(empty) == names


def test_numpy() -> None:
    np = import_module("numpy")

    def act(request: pra.WriteRequest) -> Any:
        made = [np.asarray(request.timestamps), np.frombuffer(request.values), np.asarray(request.label_spans)]
        return [*made, np.asarray(request.values)[1:], np.asarray(request[0].values), np.array(request.fingerprints)]

    stamps, values, label_spans, part, first, hashes = received("server", act)
    assert (stamps.dtype, values.dtype, label_spans.dtype, label_spans.shape) == ("int64", "float64", "uint32", (7, 4))
    assert stamps.tolist() == [1000, 2000, -1, 3000]
    assert values.view("uint64").tolist() == [bits(1.5), wire.STALE_BITS, bits(NAN), bits(-0.0)]
    assert part.view("uint64").tolist() == values.view("uint64").tolist()[1:]
    assert first.view("uint64").tolist() == values.view("uint64").tolist()[:3]
    assert len(set(hashes.tolist())) == 3
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1.0


def test_buffers_of_pyarrow() -> None:
    """py_buffer holds the memoryview itself: it cannot be released, and stays."""
    pa = import_module("pyarrow")
    view, buffer = received("wsgi", lambda r: ((v := r.timestamps), pa.py_buffer(v)))
    array = pa.Array.from_buffers(pa.int64(), 4, [None, buffer])
    assert array.to_pylist() == view.tolist() == [1000, 2000, -1, 3000]


# ---- the interface


def test_table() -> None:
    def act(request: pra.WriteRequest) -> Any:
        tables = [getattr(request, name) for name in TABLES]
        assert [len(table) for table in tables] == [4, 3, 3, 3, 2]
        assert request.samples.column_names == ("series", "timestamp", "value", "start_timestamp")
        assert repr(request.series) == "<prom_remote_api.Table series of 3 rows: series, fingerprint, name, labels>"
        assert all(isinstance(table, pra.Table) for table in tables)
        assert isinstance(request.metadata, pra.MetadataTable) and not isinstance(request.samples, pra.MetadataTable)
        return tables

    for table in received("wsgi", act):
        for use in (table.__arrow_c_array__, table.__arrow_c_stream__, lambda: table.__arrow_c_stream__(None)):
            with pytest.raises(pra.ExpiredError):
                use()
        assert table.column_names and len(table) and "rows" in repr(table)
        assert "arrow_schema" in repr(table.__arrow_c_schema__())
        for wrong in (lambda: type(table)(), lambda: type("Mine", (type(table),), {})):
            with pytest.raises(TypeError):
                wrong()


def test_metadata_is_a_sequence() -> None:
    def act(request: pra.WriteRequest) -> Any:
        metadata = request.metadata
        assert metadata[0] == metadata[-2] and [one.series for one in metadata] == [0, 2]
        for index in (2, -3):
            with pytest.raises(IndexError):
                metadata[index]
        with pytest.raises(TypeError):
            request.samples[0]  # type: ignore[index]
        return metadata, request.copy().metadata

    metadata, kept = received("wsgi", act)
    with pytest.raises(pra.ExpiredError):
        metadata[0]
    assert list(kept) == [("counter", "", "how many", "requests"), ("histogram", "", "", "s")]


def test_capsules() -> None:
    """Taken or not, in the call or later, they leave nothing behind."""
    pa = import_module("pyarrow")

    def act(request: pra.WriteRequest) -> Any:
        pair = request.samples.__arrow_c_array__(requested_schema=None)
        assert ['"arrow_schema"' in repr(pair[0]), '"arrow_array"' in repr(pair[1])] == [True, True]
        assert request.samples.__arrow_c_array__(pair[0])  # a wish, which may be passed over
        with pytest.raises(TypeError):
            request.samples.__arrow_c_stream__(1, 2)  # type: ignore[call-arg]
        return pair, request.series.__arrow_c_stream__(), request.exemplars.__arrow_c_stream__()

    pair, stream, unused = received("server", act)
    del unused

    class Takes:
        def __arrow_c_array__(self, requested_schema: object = None) -> object:
            return pair

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return stream

    batch = pa.record_batch(Takes())
    assert batch.num_rows == 4
    assert pa.RecordBatchReader.from_stream(Takes()).read_all().num_rows == 3
    with pytest.raises(Exception):
        pa.record_batch(Takes())  # moved out of the capsule


def test_labels_that_are_no_text() -> None:
    """Of a request that nobody made canonical."""
    message = wire.data(1, wire.data(1, wire.data(1, b"name") + wire.data(2, b"\xff\xfe")))
    request = pra.WriteRequest.decode(message, compressed=False)
    assert request.labels == [{"name": "\udcff\udcfe"}]
    for export in (request.series.__arrow_c_array__, request.series.__arrow_c_stream__):
        with pytest.raises(pra.Error, match="UTF-8"):
            export()
    assert len(import_module("pyarrow").table(request.samples)) == 0


@pytest.mark.parametrize("name", TABLES)
def test_memory_is_shared_and_goes(name: str) -> None:
    """Timestamps and values of a table are those of the request."""
    pa = import_module("pyarrow")
    block = wire.compress(wire.write_request_v2(SERIES))
    request = pra.WriteRequest.decode(block, 2)
    table = pa.table(getattr(request, name))
    if name in ("samples", "exemplars"):
        view = request.values if name == "samples" else request.exemplar_values
        ours = import_module("numpy").asarray(view).__array_interface__["data"][0]
        assert table["value"].chunk(0).buffers()[1].address == ours
    del request
    gc.collect()
    assert maps_may_be_empty(name, pyarrow_columns(table)) == expected(pra.WriteRequest.decode(block, 2))[name]
