"""Every table of a request in the hands of every library, with what it holds."""

import datetime
import gc

import duckdb
import nanoarrow
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
from libpra import TABLES, Failure, Table, built, check, example, ffi, labels_of, new, pra


def at(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)


EXPECTED = {
    "samples": [
        {"series": 0, "timestamp": at(1000), "value": 1.0, "start_timestamp": None},
        {"series": 0, "timestamp": at(2000), "value": 0.5, "start_timestamp": at(900)},
        {"series": 1, "timestamp": at(1000), "value": 0.0, "start_timestamp": None},
    ],
    "series": [
        {
            "series": 0,
            "name": "up",
            "labels": [("__name__", "up"), ("instance", "a:1"), ("job", "web")],
        },
        {
            "series": 1,
            "name": "up",
            "labels": [("__name__", "up"), ("instance", "b:1"), ("job", "web")],
        },
        {"series": 2, "name": "size", "labels": [("__name__", "size"), ("job", "größe")]},
    ],
    "exemplars": [
        {"series": 2, "timestamp": at(1500), "value": 0.25, "labels": [("trace_id", "web")]}
    ],
    "metadata": [
        {"series": None, "family": "up", "type": "gauge", "help": "is it up", "unit": "1"},
        {"series": 2, "family": "", "type": "histogram", "help": "?!", "unit": ""},
    ],
    "histograms": [
        {
            "series": 2,
            "timestamp": at(5000),
            "start_timestamp": None,
            "schema": 1,
            "reset_hint": "gauge",
            "is_float": False,
            "count": 6.0,
            "zero_count": 1.0,
            "zero_threshold": 0.25,
            "sum": 12.5,
            "positive_spans": [{"offset": -2, "length": 2}],
            "positive_buckets": [2.0, 3.0],
            "negative_spans": [],
            "negative_buckets": [],
            "custom_values": [],
        }
    ],
}


def plain(value):
    """What a library calls it, as Python has it."""
    if isinstance(value, pandas.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)) and not (value and isinstance(value[0], tuple)):
        return [plain(v) for v in value]
    return value


def rows_of(rows):
    """Rows without the fingerprint; maps that came as dicts, and NaN for null, made alike."""
    out = []
    for row in rows:
        row = {k: plain(v) for k, v in row.items() if k != "fingerprint"}
        if isinstance(row.get("labels"), dict):
            row["labels"] = list(row["labels"].items())
        out.append({k: None if v is pandas.NaT or v != v else v for k, v in row.items()})
    return out


def by_pyarrow(table):
    got = pa.table(table)
    got.validate(full=True)
    return got.to_pylist()


def by_pyarrow_array(table):
    got = pa.record_batch(table)
    got.validate(full=True)
    return got.to_pylist()


def by_polars(table):
    return polars.DataFrame(table).to_dicts()


def by_duckdb(given):
    # back as Arrow: for a timestamp with a zone its own fetchall wants yet another package
    return pa.table(duckdb.sql("SELECT * FROM given")).to_pylist()


def by_pandas(table):
    return pandas.DataFrame.from_arrow(table).to_dict("records")


def by_parquet(table):
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table(table), sink)
    return pa.parquet.read_table(pa.BufferReader(sink.getvalue())).to_pylist()


CONSUMERS = [by_pyarrow, by_pyarrow_array, by_polars, by_duckdb, by_pandas, by_parquet]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("consume", CONSUMERS)
def test_everybody_reads_the_same(consume, name):
    assert rows_of(consume(Table(example(), name))) == EXPECTED[name]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("consume", CONSUMERS)
def test_nothing_is_nothing(consume, name):
    assert consume(Table(new("write_request", ffi.NULL), name)) == []


@pytest.mark.parametrize("name", TABLES)
def test_nanoarrow_finds_the_structs_as_they_should_be(name):
    table = Table(example(), name)
    array = nanoarrow.c_array(table)
    nanoarrow.c_array_stream(table)
    array.view()
    assert array.schema.format == "+s"
    assert len(array) == len(EXPECTED[name])
    columns = [c for c in EXPECTED[name][0] if c != "labels"]  # its iterator knows no maps
    for i in range(array.n_children):
        child = array.child(i)
        if child.schema.name in columns:
            got = plain(nanoarrow.Array(child).to_pylist())
            assert got == [row[child.schema.name] for row in EXPECTED[name]]


def test_labels_are_looked_up_by_name():
    given = Table(example(), "series")  # the name is used in the query
    got = duckdb.sql("SELECT labels['instance'] FROM given").fetchall()
    assert got == [("a:1",), ("b:1",), (None,)]


def test_strings_are_in_dictionaries_once():
    series = pa.table(Table(example(), "series"))
    labels = series["labels"].chunk(0)
    assert labels.keys.dictionary.to_pylist() == ["__name__", "instance", "job"]
    assert labels.items.dictionary.to_pylist() == ["up", "a:1", "web", "b:1", "size", "größe"]
    assert series["name"].chunk(0).dictionary.to_pylist() == ["up", "size"]


def test_samples_are_not_copied():
    req = example()
    columns = ffi.new("pra_columns *", {"size": ffi.sizeof("pra_columns")})
    check(pra.pra_write_request_columns(req, columns))
    batch = pa.record_batch(Table(req, "samples"))
    for name, column in ("timestamp", columns.timestamps_ms), ("value", columns.values):
        assert batch[name].buffers()[1].address == int(ffi.cast("uintptr_t", column))


def test_columns_live_longer_than_the_request():
    req = example()
    value = pa.record_batch(Table(req, "samples"))["value"]
    ffi.release(req)
    gc.collect()
    assert value.to_pylist() == [1.0, 0.5, 0.0]


def test_a_shared_request_is_free_again_when_the_array_is_gone():
    req = example()
    batch = pa.record_batch(Table(req, "samples"))
    series = pa.record_batch(Table(req, "series"))  # is a copy
    labels, _keep = labels_of([("a", "b")])
    with pytest.raises(Failure, match="busy"):
        check(pra.pra_write_request_add_series(req, labels, 1))
    del batch
    gc.collect()
    check(pra.pra_write_request_add_series(req, labels, 1))
    assert len(series) == 3


def test_what_is_no_utf8_is_refused_as_labels():
    req = built([([("a", b"\xff")], [(1, 1.0)], None)])
    with pytest.raises(Failure, match="make the request canonical"):
        pa.table(Table(req, "series"))


def test_joined_and_grouped():
    req = example()
    samples, series = Table(req, "samples"), Table(req, "series")
    got = duckdb.sql(
        "SELECT labels['instance'], avg(value) FROM samples JOIN series USING (series) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert got == [("a:1", 0.75), ("b:1", 0.0)]
    joined = polars.DataFrame(samples).join(polars.DataFrame(series), on="series")
    assert sorted(joined["name"].to_list()) == ["up", "up", "up"]
