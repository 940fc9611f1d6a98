"""Tables of every library, in every shape and type, as answers to a read."""

import datetime
from random import Random

import duckdb
import nanoarrow
import numpy
import pandas
import polars
import pyarrow as pa
import pytest
from libpra import Failure, Table, example, push

MS = pa.timestamp("ms", "UTC")
UP, DOWN = {"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}
SERIES = [(UP, [(1000, 1.0), (2000, 2.0)]), (DOWN, [(1000, -0.5)])]


def long_table(**columns):
    """Rows of SERIES, not side by side; columns replace those that are here."""
    table = {
        "timestamp": pa.array([1000, 1000, 2000], MS),
        "value": pa.array([1.0, -0.5, 2.0]),
        "__name__": pa.array(["up", "up", "up"]),
        "job": pa.array(["a", "b", "a"]),
    }
    table.update(columns)
    return pa.table({name: column for name, column in table.items() if column is not None})


def labels_column(labels):
    return long_table(__name__=None, job=None, labels=labels)


def wide_table(**columns):
    table = {
        "timestamps": pa.array([[1000, 2000], [1000]], pa.list_(MS)),
        "values": pa.array([[1.0, 2.0], [-0.5]]),
        "__name__": pa.array(["up", "up"]),
        "job": pa.array(["a", "b"]),
    }
    table.update(columns)
    return pa.table({name: column for name, column in table.items() if column is not None})


PAIRS = [list(labels.items()) for labels in (UP, DOWN, UP)]
STRUCTS = [[{"name": n, "value": v} for n, v in pairs] for pairs in PAIRS]
STRING = pa.string()
PAIR = pa.struct([("name", STRING), ("value", STRING)])
DICTIONARY = pa.dictionary(pa.int32(), STRING)


def dictionary_map():
    flat = [pair for pairs in PAIRS for pair in pairs]
    names, values = (pa.array(side).dictionary_encode() for side in zip(*flat))
    return pa.MapArray.from_arrays(pa.array([0, 2, 4, 6], pa.int32()), names, values)


def test_rows_of_samples():
    assert push(long_table()) == SERIES


def test_rows_of_series():
    assert push(wide_table()) == SERIES


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_of_any_unit(unit, zone):
    times = pa.array([1000, 1000, 2000], pa.timestamp("ms", zone)).cast(pa.timestamp(unit, zone))
    assert push(long_table(timestamp=times)) == SERIES


@pytest.mark.parametrize("unit, per_ms", [("us", 1000), ("ns", 1000000)])
def test_times_are_rounded_down(unit, per_ms):
    times = [-1, -per_ms, -per_ms - 1, 0, per_ms - 1, per_ms]
    table = pa.table({"timestamp": pa.array(times, pa.timestamp(unit)), "value": range(6)})
    assert push(table) == [({}, [(-2, 2.0), (-1, 1.0), (0, 4.0), (1, 5.0)])]  # the last wins


def test_times_that_are_integers_are_milliseconds():
    assert push(long_table(timestamp=pa.array([1000, 1000, 2000]))) == SERIES


def test_a_time_out_of_reach_is_refused():
    times = pa.array([0, 1 << 62, 0], pa.timestamp("s"))
    with pytest.raises(Failure, match='"timestamp": a time is too far'):
        push(long_table(timestamp=times))


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("sign", ["int", "uint"])
def test_integers(sign, bits):
    kind = numpy.dtype(f"{sign}{bits}")
    info = numpy.iinfo(kind)
    values = numpy.array([info.min, info.max, 3], kind)
    got = push(pa.table({"timestamp": [1, 2, 3], "value": values}))
    assert got == [({}, [(1, float(info.min)), (2, float(info.max)), (3, 3.0)])]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats(kind):
    info = numpy.finfo(kind)
    values = [0.1, -2.5, info.max, info.tiny, info.smallest_subnormal, numpy.inf, -numpy.inf, 0.0]
    values = numpy.array(values, kind)
    got = push(pa.table({"timestamp": range(8), "value": values}))
    assert [v for _, v in got[0][1]] == [float(v) for v in values]


def test_not_a_number():
    for kind in "float16", "float32", "float64":
        got = push(pa.table({"timestamp": [1], "value": numpy.array([numpy.nan], kind)}))
        assert numpy.isnan(got[0][1][0][1])


STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
INDEXES = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(),
           pa.uint64()]  # fmt: skip
VALUES = [pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]


@pytest.mark.parametrize("kind", STRINGS, ids=str)
def test_strings(kind):
    long = "a value that does not fit into a view"
    job = pa.array([long, "b", long], kind)
    assert push(long_table(job=job)) == [({**UP, "job": long}, SERIES[0][1]), SERIES[1]]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_dictionaries(index, kind):
    job = pa.DictionaryArray.from_arrays(pa.array([1, 2, 1], index), pa.array(["", "a", "b"], kind))
    assert push(long_table(job=job)) == SERIES


@pytest.mark.parametrize("column", [
    pa.array(PAIRS, pa.map_(STRING, STRING)),
    dictionary_map(),
    pa.array(STRUCTS, pa.list_(PAIR)),
    pa.array(STRUCTS, pa.large_list(PAIR)),
    pa.array(STRUCTS, pa.list_(PAIR, 2)),
    pa.array([UP, DOWN, UP], pa.struct([("__name__", DICTIONARY), ("job", STRING)])),
    pa.array([UP, DOWN, UP], pa.struct([("job", STRING), ("x", pa.null()), ("__name__", STRING)])),
], ids=lambda column: str(column.type))  # fmt: skip
def test_labels_in_one_column(column):
    assert push(labels_column(column)) == SERIES
    assert push(labels_column(pa.concat_arrays([column, column]).slice(3))) == SERIES


def test_labels_in_one_column_and_others():
    names = pa.array([[("__name__", "up")]] * 3, pa.map_(STRING, STRING))
    assert push(long_table(__name__=None, labels=names)) == SERIES
    with pytest.raises(Failure, match='label "__name__" stands twice'):
        push(long_table(labels=names))


def test_labels_in_any_order_are_the_same():
    turned = [list(reversed(pairs)) if i else pairs for i, pairs in enumerate(PAIRS)]
    assert push(labels_column(pa.array(turned, pa.map_(STRING, STRING)))) == SERIES


def test_what_is_null_or_empty_is_no_label():
    table = long_table(
        job=pa.array(["a", "b", "a"]),
        zone=pa.array(["", None, None]),
        nothing=pa.nulls(3),
    )
    assert push(table) == SERIES
    pairs = [PAIRS[0] + [("zone", None)], PAIRS[1] + [("zone", "")], PAIRS[2]]
    assert push(labels_column(pa.array(pairs, pa.map_(STRING, STRING)))) == SERIES
    structs = [STRUCTS[0] + [None], STRUCTS[1], STRUCTS[2]]
    assert push(labels_column(pa.array(structs, pa.list_(PAIR)))) == SERIES
    for nulls in pa.array([None, None, None], pa.map_(STRING, STRING)), pa.nulls(3):
        assert push(labels_column(nulls)) == [({}, [(1000, -0.5), (2000, 2.0)])]
    struct = pa.StructArray.from_arrays(
        [pa.array(["x", "y", "z"])], ["job"], mask=pa.array([True, True, True])
    )
    assert push(labels_column(struct)) == [({}, [(1000, -0.5), (2000, 2.0)])]
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["q", None]))
    assert push(long_table(job=None, q=dictionary))[1][0] == {"__name__": "up"}


def test_no_value_is_no_sample():
    nulls = pa.array([1.0, -0.5, 9.0, None, 2.0])
    table = long_table(
        value=nulls,
        timestamp=pa.array([1000, 1000, 1500, None, 2000], MS),
        job=pa.array(["a", "b", None, "a", "a"]),
        __name__=pa.array(["up", "up", None, "up", "up"]),
    )
    assert push(table) == [SERIES[0], SERIES[1], ({}, [(1500, 9.0)])]
    lists = pa.array([[1.0, None, 2.0], [-0.5]])
    times = pa.array([[1000, None, 2000], [1000]], pa.list_(MS))
    assert push(wide_table(timestamps=times, values=lists)) == SERIES


def test_a_value_without_a_time_is_refused():
    times = pa.array([1000, None, 2000], MS)
    with pytest.raises(Failure, match='"timestamp": a time is null where its value is not'):
        push(long_table(timestamp=times))


def test_slices_and_pieces():
    table = long_table()
    many = pa.concat_tables([table, table])
    assert push(many.slice(3)) == SERIES
    assert push(pa.concat_tables([table.slice(i, 1) for i in range(3)])) == SERIES
    wide = pa.concat_tables([wide_table(), wide_table()]).combine_chunks()
    assert push(wide.slice(2)) == SERIES
    assert push(wide.slice(1, 2)) == [SERIES[1], SERIES[0]]
    structs = pa.StructArray.from_arrays([pa.array(["x", "a", "b", "a"])], ["job"])
    inner = pa.StructArray.from_arrays([pa.array(["x", "a", "b", "a"]).slice(1)], ["job"])
    for column in structs.slice(1), inner:
        assert push(long_table(job=None, labels=column)) == SERIES


@pytest.mark.parametrize("of", [pa.list_, pa.large_list, lambda item: pa.list_(item, 2)])
def test_lists(of):
    table = pa.table({
        "timestamps": pa.array([None, [1, 2], [3, 4]], of(pa.int64())).slice(1),
        "values": pa.array([None, [1, 2], [3, 4]], of(pa.float32())).slice(1),
        "job": ["a", "b"],
    })  # fmt: skip
    assert push(table) == [
        ({"job": "a"}, [(1, 1.0), (2, 2.0)]),
        ({"job": "b"}, [(3, 3.0), (4, 4.0)]),
    ]


def test_nothing():
    assert push(long_table().slice(0, 0)) == []
    assert push(wide_table().slice(0, 0)) == []
    assert push(wide_table(timestamps=pa.array([[], None], pa.list_(MS)),
                           values=pa.array([None, []], pa.list_(pa.float64())))) == []  # fmt: skip


WRONG = [
    (long_table(value=None), 'no column "value"'),
    (long_table(timestamp=None), 'no column "timestamp"'),
    (wide_table(values=None), 'no column "values"'),
    (long_table(value=pa.array(["1", "2", "3"])), '"value" must be a float or an integer'),
    (long_table(timestamp=pa.array([1.0, 2.0, 3.0])), '"timestamp" must be a timestamp, or int64'),
    (long_table(timestamp=pa.array([1, 2, 3], pa.int32())), '"timestamp" must be a timestamp'),
    (long_table(port=pa.array([1, 2, 3])), r'"port" must be strings \(a label\), or be left out'),
    (labels_column(pa.array(["a", "b", "c"])), '"labels" must be a map or list of pairs'),
    (labels_column(pa.array([["a"]] * 3)), '"labels" must be a map or list of pairs'),
    (labels_column(pa.array([[(1, "a")]] * 3, pa.map_(pa.int64(), STRING))), '"labels" must be'),
    (labels_column(pa.array([{"job": 1}] * 3)), '"job" must be strings'),
    (wide_table(values=pa.array([1.0, 2.0])), '"values" must be lists of numbers'),
    (wide_table(timestamps=pa.array([1, 2])), '"timestamps" must be lists of timestamps'),
    (wide_table(values=pa.array([["1"], ["2"]])), '"values" must be lists of floats or integers'),
    (wide_table(timestamps=pa.array([["1"], ["2"]])), '"timestamps" must be lists of timestamps'),
    (wide_table(values=pa.array([[1.0], [2.0]])), '"values": a list has 1 elements.*beside it 2'),
]


@pytest.mark.parametrize("table, message", WRONG)
def test_what_a_column_must_be_is_said(table, message):
    with pytest.raises(Failure, match=message) as failure:
        push(table)
    assert failure.value.args[0] == "invalid_arg"


def test_labels_are_checked():
    with pytest.raises(Failure, match="empty name"):
        push(labels_column(pa.array([[("", "a")]] * 3, pa.map_(STRING, STRING))))
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff"] * 3).buffers())
    with pytest.raises(Failure, match="is not UTF-8"):
        push(long_table(job=bad))


def test_a_stream_that_fails_says_why():
    def batches():
        yield from long_table().to_batches()
        raise OSError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(long_table().schema, batches())
    with pytest.raises(Failure, match="the Arrow stream failed:.*the disk is gone"):
        push(reader)


def test_memory_is_bounded():
    n = 100_000
    table = pa.table({"timestamp": range(n), "value": range(n), "job": ["a"] * n})
    assert len(push(table)[0][1]) == n
    with pytest.raises(Failure, match="more than the limit of 1000000 bytes"):
        push(table, max_memory_bytes=1_000_000)
    lists = pa.table({"timestamps": [[i] for i in range(n)], "values": [[i] for i in range(n)]})
    assert len(push(lists, max_memory_bytes=1_000_000)) == n


def test_what_was_exported_comes_back():
    samples, series = Table(example(), "samples"), Table(example(), "series")
    joined = duckdb.sql("SELECT timestamp, value, labels FROM samples JOIN series USING (series)")
    a = {"__name__": "up", "instance": "a:1", "job": "web"}
    b = {"__name__": "up", "instance": "b:1", "job": "web"}
    expected = [(a, [(1000, 1.0), (2000, 0.5)]), (b, [(1000, 0.0)])]
    assert sorted(push(joined), key=str) == expected
    frame = polars.DataFrame(samples).join(polars.DataFrame(series), on="series")
    assert sorted(push(frame.select("timestamp", "value", "labels")), key=str) == expected


def test_polars():
    frame = polars.DataFrame({
        "timestamp": [datetime.datetime.fromtimestamp(t) for t in (1, 1, 2)],
        "value": [1.0, -0.5, 2.0],
        "__name__": ["up"] * 3,
        "job": polars.Series(["a", "b", "a"], dtype=polars.Categorical),
    })  # fmt: skip
    utc = frame.with_columns(polars.from_epoch(polars.Series([1, 1, 2])).alias("timestamp"))
    assert push(utc) == SERIES
    by_series = utc.group_by("__name__", "job", maintain_order=True).agg(
        timestamps="timestamp", values="value"
    )
    assert push(by_series) == SERIES


def test_duckdb():
    query = """SELECT make_timestamp_ms(t) AS timestamp, v AS value, 'up' AS __name__, j AS job
               FROM (VALUES (1000, 1.0, 'a'), (1000, -0.5, 'b'), (2000, 2.0, 'a')) x(t, v, j)"""
    assert push(duckdb.sql(query.replace("v AS", "v::DOUBLE AS"))) == SERIES
    as_map = """SELECT epoch_ms(timestamp) AS timestamp, value::DOUBLE AS value,
                       MAP {'job': job, '__name__': 'up'} AS labels FROM (%s)""" % query
    assert push(duckdb.sql(as_map)) == SERIES
    with pytest.raises(Failure, match='"value" must be a float or an integer'):
        push(duckdb.sql(query))  # DECIMAL


def test_pandas():
    frame = pandas.DataFrame({
        "timestamp": pandas.to_datetime([1000, 1000, 2000], unit="ms", utc=True),
        "value": [1.0, -0.5, 2.0],
        "__name__": "up",
        "job": pandas.Categorical(["a", "b", "a"]),
    })  # fmt: skip
    assert push(frame) == SERIES
    assert push(frame.set_index(pandas.Index([7, 8, 9]))) == SERIES  # as after a filter or a join
    assert push(frame.set_index(pandas.Index(["x", "y", "z"]))) == SERIES
    assert push(frame.set_index("job")) == SERIES  # this index has a name: a label


def test_nanoarrow():
    assert push(nanoarrow.ArrayStream(long_table())) == SERIES


def any_strings(random, strings):
    """The same strings as a column of a random type, in which null stands for ""."""
    kind = random.choice(STRINGS)
    column = pa.array([s or random.choice([None, ""]) for s in strings], kind)
    if kind != pa.string_view() and random.random() < 0.5:
        unordered = list({*strings, "", "never used"})
        random.shuffle(unordered)
        numbers = [unordered.index(s) for s in strings]
        values = pa.array(unordered, kind)
        column = pa.DictionaryArray.from_arrays(pa.array(numbers, random.choice(INDEXES)), values)
    return column


def any_labels(random, labels):
    """Columns for label sets: some by name, the others in a column labels of a random type."""
    by_name = [name for name in ("__name__", "job", "zone") if random.random() < 0.5]
    columns = {n: any_strings(random, [s.get(n, "") for s in labels]) for n in by_name}
    rest = [[(n, v) for n, v in s.items() if n not in by_name] for s in labels]
    for pairs in rest:
        random.shuffle(pairs)
    if random.random() < 0.3:
        names = ["__name__", "job", "zone"]
        strings = [any_strings(random, [dict(p).get(n, "") for p in rest]) for n in names]
        columns["labels"] = pa.StructArray.from_arrays(strings, names)
        return columns
    offsets = [0]
    for pairs in rest:
        offsets.append(offsets[-1] + len(pairs))
    flat = [[pair[i] for pairs in rest for pair in pairs] for i in (0, 1)]
    names, values = pa.array(flat[0], pa.string()), any_strings(random, flat[1])
    make = random.choice([pa.MapArray, pa.ListArray, pa.LargeListArray])
    if make is pa.MapArray:
        columns["labels"] = make.from_arrays(pa.array(offsets, pa.int32()), names, values)
    else:
        pairs = pa.StructArray.from_arrays([names, values], ["n", "v"])
        index = pa.int64() if make is pa.LargeListArray else pa.int32()
        columns["labels"] = make.from_arrays(pa.array(offsets, index), pairs)
    return columns


def in_pieces(random, columns):
    """A table that is a slice of a longer one, in pieces, each a slice of its own."""
    table = pa.table(columns)
    n = len(table)
    cuts = sorted(random.sample(range(n + 1), min(3, n)))
    table = pa.concat_tables([table.slice(max(n - 2, 0)), table]).combine_chunks().slice(min(2, n))
    return pa.concat_tables(
        [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(table)])]
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_table(seed):
    random = Random(seed)
    vocabulary = ["", "a", "größe", "x" * 40, "zwölf Zeichen"]
    expected = {}
    rows = []
    for _ in range(random.randrange(40)):
        labels = {n: random.choice(vocabulary) for n in ("__name__", "job", "zone")}
        labels = {n: v for n, v in labels.items() if v}
        time, value = random.randrange(-50, 50), random.randrange(100)
        rows.append((labels, time, value))
        expected.setdefault(tuple(sorted(labels.items())), {})[time] = float(value)
    expected = [(dict(labels), sorted(samples.items())) for labels, samples in expected.items()]
    unit, per_ms = random.choice([("ms", 1), ("us", 1000), ("ns", 1000000)])
    times = [t * per_ms + random.randrange(per_ms) for _, t, _ in rows]
    columns = {
        "timestamp": pa.array(times, pa.timestamp(unit, random.choice([None, "UTC"]))),
        "value": pa.array([v for _, _, v in rows], random.choice(VALUES)),
        **any_labels(random, [labels for labels, _, _ in rows]),
    }
    assert push(in_pieces(random, columns)) == expected
    lists = random.choice([pa.list_, pa.large_list])
    columns = {
        "timestamps": pa.array([[t for t, _ in s] for _, s in expected], lists(pa.int64())),
        "values": pa.array([[v for _, v in s] for _, s in expected], lists(pa.float32())),
        **any_labels(random, [labels for labels, _ in expected]),
    }
    assert push(in_pieces(random, columns)) == expected
