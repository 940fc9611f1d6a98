"""Answers in pieces: what C calls of a cursor, in which order, and that it is closed once."""

from __future__ import annotations

import array
import gc
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest

import prom_remote_api as pra
import wire
from exchange import ALL, FINE, STREAMED, Adapter, Outcome, again, ask, begin, pieces, plain, run
from prom_remote_api import _pra
from prom_remote_api import pra as c

SERIES = 2_000
NAMES = [f"{i:05}" for i in range(SERIES)]
TIMES = array.array("q", range(200))
VALUES = array.array("d", [math.sin(i) for i in range(200)])  # much to say, however compressed
FAR = wire.query(0, 1 << 40, [])


class Cursor:
    """Follows a generator, or select and fetch of a dict."""

    def __init__(self, adapter: Cursors, ctx: pra.Context, query: pra.Query) -> None:
        self.adapter, self.ctx, self.query = adapter, ctx, query
        self.keys: list[Any] = []
        self.feed: tuple[int, Any] = (-1, None)
        self.rows: Any = None
        adapter.log.append("open")

    def next(self, sink: Any) -> Outcome:
        self.adapter.log.append("next")
        if self.rows is None:
            self.rows = self.adapter.make(self)
        return self.adapter.outcome(lambda: sink.extend(self.rows))

    def select(self, found: Any) -> Outcome:
        self.adapter.log.append("select")
        return self.adapter.outcome(lambda: found.extend(self.adapter.make(self), self.keys))

    def fetch(self, number: int, from_ms: int, sink: Any) -> Outcome:
        self.adapter.log.append(f"fetch {number}")

        def feed() -> bool:
            if self.feed[0] != number:
                key = self.keys[number]
                self.feed = (number, _pra.Feed(key() if callable(key) else key))
            more = self.feed[1].push(sink)
            assert isinstance(more, bool)
            return more

        return self.adapter.outcome(feed)

    def close(self) -> None:
        self.adapter.log.append("close")
        assert self.query.end_ms and self.ctx.path == "/read"  # they outlive it
        if self.rows is not None and hasattr(self.rows, "close"):
            self.rows.close()
        self.adapter.closed += 1


class Cursors(Adapter):
    def __init__(self, make: Callable[[Cursor], Any], ordered: bool) -> None:
        super().__init__()
        self.make = make
        self.log: list[str] = []
        self.closed = 0
        self.kept: list[Cursor] = []
        self.entries = ("process_query", "cursor") if ordered else ("cursor", "select")
        self.flags = c.STORAGE_ORDERED if ordered else 0

    def cursor(self, ctx: pra.Context, query: pra.Query) -> Cursor:
        self.kept.append(Cursor(self, ctx, query))
        return self.kept[-1]


class Open:
    """Counts generators that are open, and how far they came."""

    def __init__(self, bad: Callable[[int], object] = lambda i: None) -> None:
        self.bad = bad
        self.open = self.given = self.closed = 0

    def __call__(self, cursor: Cursor) -> Iterator[Any]:
        self.open += 1
        try:
            for self.given, name in enumerate(NAMES):
                wrong = self.bad(self.given)
                yield wrong if wrong else ({"n": name}, TIMES, VALUES)
        finally:
            assert cursor.query.end_ms > 0
            self.open -= 1
            self.closed += 1


def listing(count: int, samples: Any = (TIMES, VALUES)) -> Callable[[Cursor], Any]:
    return lambda cursor: [({"n": name}, samples) for name in NAMES[:count]]


EXPECTED = [[({"n": name}, list(zip(TIMES, VALUES))) for name in NAMES]]

# ---- process_query in order


@pytest.mark.parametrize("streamed", [False, True])
def test_ordered(streamed: bool) -> None:
    rows = Open()
    adapter = Cursors(rows, ordered=True)
    assert plain(ask(adapter, FAR, streamed=streamed)) == EXPECTED
    calls = adapter.log.count("next")
    assert calls > 20 if streamed else calls == 1
    assert adapter.log == ["open", *["next"] * calls, "close"]
    assert (rows.open, rows.closed) == (0, 1)


def test_the_generator_rests_while_the_reader_does() -> None:
    rows = Open()
    x = begin(Cursors(rows, ordered=True), FAR, streamed=True)
    x.run()
    body = pieces(x)
    before = rows.given
    assert 0 < before < SERIES / 5
    for _ in range(3):
        next(body)
    assert before < rows.given < SERIES / 2
    assert rows.open == 1


def test_tables_one_by_one() -> None:
    """A table is taken as a whole; the next is asked for when the reader wants more."""

    def tables(cursor: Cursor) -> Iterator[Any]:
        for name in NAMES:
            yield pa.table({"n": [name] * len(TIMES), "timestamp": TIMES, "value": VALUES})

    adapter = Cursors(tables, ordered=True)
    assert plain(ask(adapter, FAR, streamed=True)) == EXPECTED
    assert adapter.log.count("next") > 20


def test_a_table_in_one_go() -> None:
    """Whatever the sink says: nobody could take it up in its middle."""
    rows = [{"n": name, "timestamps": list(TIMES), "values": list(VALUES)} for name in NAMES]
    adapter = Cursors(lambda cursor: pa.Table.from_pylist(rows), ordered=True)
    assert plain(ask(adapter, FAR, streamed=True)) == EXPECTED
    assert adapter.log.count("next") == 1


def test_a_cursor_for_each_query() -> None:
    adapter = Cursors(Open(), ordered=True)
    assert plain(ask(adapter, FAR, FAR, streamed=True)) == EXPECTED * 2
    assert (adapter.log.count("open"), adapter.closed) == (2, 2)
    second = [i for i, call in enumerate(adapter.log) if call == "open"][1]
    assert adapter.log[second - 1] == "close"  # the first was over by then


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("rows", [[({"n": "2"}, [(1, 1.0)]), ({"n": "1"}, [(1, 1.0)])], [({"n": "1"}, [(1, 1.0)])] * 2])
def test_what_is_not_in_order(streamed: bool, rows: list[Any]) -> None:
    adapter = Cursors(lambda cursor: iter(rows), ordered=True)
    x = begin(adapter, streamed=streamed)
    run(x)
    (error,) = adapter.errors
    assert type(error) is ValueError and "order" in str(error)
    assert (x.status(), adapter.closed) == (500, 1)


def test_without_a_cursor_nothing_is_ordered() -> None:
    adapter = Adapter(lambda query, sink: sink.extend([({"n": "2"}, [(1, 1.0)]), ({"n": "1"}, [(1, 1.0)])]))
    adapter.flags = c.STORAGE_ORDERED
    assert plain(ask(adapter, streamed=True)) == [[({"n": "1"}, [(1, 1.0)]), ({"n": "2"}, [(1, 1.0)])]]


# ---- select and fetch

INTEGER = pra.Histogram(timestamp=3, count=3, sum=1.0, positive_spans=[(0, 2)], positive_buckets=[1, 2])
FLOAT = pra.Histogram(timestamp=5, count=3.0, sum=1.0, negative_spans=[(0, 2)], negative_buckets=[1.0, 2.0])
PAIRS = [(1, 1.0), (4, 2.0), (6, 3.0)]
FEEDS: dict[str, Callable[[], Any]] = {
    "pairs": lambda: PAIRS,
    "generator": lambda: iter(PAIRS),
    "lists": lambda: [list(pair) for pair in PAIRS],
    "piece": lambda: ([1, 4, 6], [1.0, 2.0, 3.0]),
    "arrays": lambda: (array.array("q", [1, 4, 6]), array.array("d", [1.0, 2.0, 3.0])),
    "pieces": lambda: [([1, 4], [1.0, 2.0]), ([], []), ([6], [3.0])],
    "pairs and pieces": lambda: [(1, 1.0), ([4, 6], [2.0, 3.0])],
    "pieces and pairs": lambda: iter([([1, 4], [1.0, 2.0]), (6, 3.0)]),
    "earlier ones": lambda: [(-5, 9.0), *PAIRS],
    "later ones": lambda: [*PAIRS, (10_001, 9.0), (10_002, 9.0)],
}
MIXED: dict[str, Callable[[], Any]] = {
    "among samples": lambda: [(1, 1.0), INTEGER, (4, 2.0), FLOAT, (6, 3.0)],
    "in a piece": lambda: ([1, 4, 6], [1.0, 2.0, 3.0], [INTEGER, FLOAT]),
    "in pieces": lambda: [([1], [1.0], [INTEGER]), ([4], [2.0], []), FLOAT, (6, 3.0)],
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", FEEDS)
def test_shapes_of_samples(name: str, streamed: bool) -> None:
    adapter = Cursors(lambda cursor: [({"b": "1"}, FEEDS[name]), ({"a": "1"}, FEEDS[name])], ordered=False)
    results = plain(ask(adapter, streamed=streamed))
    assert results == [[({"a": "1"}, PAIRS), ({"b": "1"}, PAIRS)]]  # in order, whatever select said
    assert (adapter.closed, adapter.errors) == (1, [])
    assert adapter.log[:2] == ["open", "select"] and adapter.log[-1] == "close"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", MIXED)
def test_histograms_in_turn(name: str, streamed: bool) -> None:
    adapter = Cursors(lambda cursor: [({"a": "1"}, MIXED[name])], ordered=False)
    ((series,),) = ask(adapter, streamed=streamed)
    assert list(zip(series.timestamps, series.values)) == PAIRS
    assert list(series.histograms) == [INTEGER, FLOAT]


@pytest.mark.parametrize("streamed", [False, True])
def test_only_histograms(streamed: bool) -> None:
    many = [pra.Histogram(timestamp=i, count=i, zero_count=i, sum=1.0) for i in range(1, 3000)]
    adapter = Cursors(lambda cursor: [({"a": "1"}, many)], ordered=False)
    ((series,),) = ask(adapter, streamed=streamed)
    assert [one.count for one in series.histograms] == list(range(1, 3000))


def samples_of(number: int) -> Iterator[wire.Sample]:
    return ((i, i * 1.7 % 1 + number) for i in range(30_000))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shape", ["pairs", "piece", "pieces"])
def test_series_of_many_frames(shape: str, streamed: bool) -> None:
    def samples() -> Any:
        if shape == "pairs":
            return samples_of(1)
        times, values = zip(*samples_of(1))
        if shape == "piece":
            return times, values
        return ((times[i : i + 700], values[i : i + 700]) for i in range(0, 30_000, 700))

    adapter = Cursors(lambda cursor: [({"a": "1"}, samples)], ordered=False)
    limits = {"max_frame_bytes": 10_000}
    x = begin(adapter, FAR, streamed=streamed, limits=limits)
    x.run()
    results = pra.decode_read_response(
        b"".join(pieces(x)), content_type=STREAMED if streamed else "application/x-protobuf"
    )
    assert plain(results) == [[({"a": "1"}, list(samples_of(1)))]]
    assert adapter.log.count("fetch 0") > 5 if streamed else adapter.log.count("fetch 0") == 1


def test_fetch_goes_as_the_reader_does() -> None:
    adapter = Cursors(listing(SERIES), ordered=False)
    x = begin(adapter, FAR, streamed=True)
    x.run()
    before = len(adapter.log)
    assert before < SERIES / 5
    body = pieces(x)
    for _ in range(3):
        next(body)
    assert before < len(adapter.log) < SERIES / 2
    assert b"".join(body)
    assert adapter.closed == 1


BAD_FEEDS: dict[str, tuple[Any, type[Exception]]] = {
    "None": (None, TypeError),
    "a number": (17, TypeError),
    "numbers": ([1, 2], TypeError),
    "a pair of wrong things": ([("1", 1.0)], TypeError),
    "a value that is none": ([(1, "1")], TypeError),
    "a piece of four": ([([1], [1.0], [], [])], TypeError),
    "a piece of one": (([1],), TypeError),
    "an empty piece": ((), TypeError),
    "lengths": (([1, 2], [1.0]), ValueError),
    "not in order": ([(2, 1.0), (1, 1.0)], ValueError),
    "pieces not in order": ([([2], [1.0]), ([1], [1.0])], ValueError),
    "twice": ([(1, 1.0), (1, 2.0)], ValueError),
    "a bad histogram": ([pra.Histogram(timestamp=1, count=1, sum=1.0, positive_buckets=[1])], ValueError),
    "no histogram": (([1], [1.0], [1]), TypeError),
    "raises": (lambda: (1 // 0 for _ in "x"), ZeroDivisionError),
    "raises later": (lambda: ((i, 1.0) if i < 2000 else (1 // 0, 1.0) for i in range(3000)), ZeroDivisionError),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", BAD_FEEDS)
def test_bad_samples(name: str, streamed: bool) -> None:
    samples, kind = BAD_FEEDS[name]
    adapter = Cursors(listing(3, samples), ordered=False)
    x = begin(adapter, streamed=streamed)
    run(x)
    assert x.status() == 500
    assert [type(error) for error in adapter.errors] == [kind]
    assert adapter.closed == 1


BAD_LISTS: dict[str, tuple[Any, type[Exception]]] = {
    "None": (None, TypeError),
    "no pair": ([UP := {"a": "b"}], TypeError),
    "three": ([(UP, 1, 2)], TypeError),
    "no labels": ([(17, 1)], TypeError),
    "an empty name": ([({"": "1"}, 1)], ValueError),
    "raises": ((1 // 0 for _ in "x"), ZeroDivisionError),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_lists(name: str) -> None:
    pairs, kind = BAD_LISTS[name]
    adapter = Cursors(lambda cursor: pairs, ordered=False)
    x = begin(adapter, streamed=True)
    run(x)
    assert x.status() == 500
    assert [type(error) for error in adapter.errors] == [kind]
    assert adapter.closed == 1


def test_a_list_wants_a_list_for_its_keys() -> None:
    adapter = Cursors(lambda cursor: [], ordered=False)

    def select(found: Any) -> Outcome:
        for wrong in list[Any]((None, (), {})):
            with pytest.raises(TypeError):
                found.extend([], wrong)
        kept.append(found)
        return FINE

    kept: list[Any] = []
    adapter.cursor = lambda ctx, query: type("", (Cursor,), {"select": lambda self, l: select(l)})(adapter, ctx, query)  # type: ignore[method-assign]
    assert ask(adapter) == [[]]
    with pytest.raises(pra.ExpiredError):
        kept[0].extend([], [])


def test_feed_by_itself() -> None:
    for wrong in ((), (1, 2)):
        with pytest.raises(TypeError):
            _pra.Feed(*wrong)
    with pytest.raises(TypeError):
        _pra.Feed(samples=[])  # type: ignore[call-arg]
    feed = _pra.Feed([])
    for sink in (None, feed):
        with pytest.raises(TypeError, match="expected Sink"):
            feed.push(sink)  # type: ignore[arg-type]


def test_a_feed_is_used_by_one_at_a_time() -> None:
    seen: list[int] = []

    def answer(query: Any, sink: Any) -> None:
        def samples() -> Iterator[wire.Sample]:
            with pytest.raises(RuntimeError, match="in use"):
                feed.push(sink)
            seen.append(1)
            yield 1, 1.0

        feed = _pra.Feed(samples())
        feed.push(sink)

    x = begin(Adapter(answer))
    run(x)  # outside of fetch a sink takes no samples without a series
    assert seen == [1]


def test_a_feed_in_a_cycle_is_collected() -> None:
    token = type("Token", (), {})()
    import weakref

    gone = weakref.ref(token)

    def samples() -> Iterator[Any]:
        yield holder, token

    holder: dict[str, Any] = {}
    holder["feed"] = _pra.Feed(samples())
    holder["token"] = token
    del holder, token, samples
    gc.collect()
    assert gone() is None


# ---- ends


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("at", [0, 7, SERIES - 1])
@pytest.mark.parametrize("bad", ["raise", "series", "labels"])
def test_a_failure_in_the_middle(bad: str, at: int, streamed: bool) -> None:
    def wrong(i: int) -> object:
        if i < at:
            return None
        if bad == "raise":
            raise KeyError(i)
        return 17 if bad == "series" else ({"": "x"}, TIMES, VALUES)

    rows = Open(wrong)
    adapter = Cursors(rows, ordered=True)
    x = begin(adapter, FAR, streamed=streamed)
    run(x)
    if x.status() == 200:
        with pytest.raises(pra.Error):
            list(pieces(x))
    else:
        assert x.status() == 500
    assert len(adapter.errors) == 1
    assert (rows.open, rows.closed, adapter.closed) == (0, 1, 1)


def give_up(x: c.Exchange, how: str) -> None:
    if how == "reset":
        x.reset()
    elif how == "begin":
        again(x, ALL)
    elif how == "cancel":
        x.cancel()
        with pytest.raises(pra.Error) as caught:
            list(pieces(x))
        assert caught.value.code == c.ERR_CANCELLED


@pytest.mark.parametrize("how", ["reset", "begin", "cancel", "free", "free while raising"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("read", [0, 2])
def test_given_up(how: str, ordered: bool, read: int) -> None:
    rows = Open()
    adapter = Cursors(rows if ordered else listing(SERIES), ordered)
    x = begin(adapter, FAR, streamed=True)
    x.run()
    for _ in range(read):
        x.body()
    assert adapter.closed == 0
    give_up(x, how)
    if how == "free":
        del x
    if how == "free while raising":
        with pytest.raises(KeyError, match="kept"):
            held = [x]
            del x
            raise_from(held)
    assert adapter.closed == 1 and rows.open == 0
    with pytest.raises(pra.ExpiredError):
        adapter.kept[0].query.end_ms
    with pytest.raises(pra.ExpiredError):
        adapter.kept[0].ctx.path


def raise_from(held: list[Any]) -> None:
    held.clear()
    raise KeyError("kept")


def test_reset_at_any_time() -> None:
    adapter = Cursors(Open(), ordered=True)
    x = begin(adapter, FAR, streamed=True)
    for _ in range(3):
        x.reset()
        again(x, ALL)
    x.run()
    x.reset()
    x.reset()
    again(x, FAR, streamed=True)
    x.run()
    assert plain(pra.decode_read_response(b"".join(pieces(x)), content_type=STREAMED)) == EXPECTED
    assert adapter.closed == 2


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_cancel_from_another_thread(ordered: bool, streamed: bool) -> None:
    """While the storage is busy: its next series is refused."""
    go, cancelled = threading.Event(), threading.Event()

    def rows(cursor: Cursor) -> Iterator[Any]:
        yield {"n": "0"}, TIMES if ordered else (TIMES, VALUES), VALUES
        go.set()
        cancelled.wait()
        for name in NAMES:
            yield {"n": "1" + name}, TIMES if ordered else (TIMES, VALUES), VALUES

    def listed(cursor: Cursor) -> Iterator[Any]:
        return ((labels, samples) for labels, samples, _ in rows(cursor))

    adapter = Cursors(rows if ordered else listed, ordered)
    x = begin(adapter, FAR, streamed=streamed)

    def cancel() -> None:
        go.wait()
        x.cancel()
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    run(x)
    thread.join()
    (error,) = adapter.errors
    assert isinstance(error, pra.Error) and error.code == c.ERR_CANCELLED
    assert x.error_code() == c.ERR_CANCELLED
    assert adapter.closed == 1
    again(x, ALL)  # another request is not cancelled
    go.clear()
    run(x)
    assert x.status() == 200


def test_pieces_on_other_threads() -> None:
    adapter = Cursors(Open(), ordered=True)
    x = begin(adapter, FAR, streamed=True)
    collected: list[bytes] = []
    over = False

    def step() -> None:
        nonlocal over
        piece = x.body()
        over = piece is None
        collected.append(piece or b"")

    x.run()
    while not over:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert plain(pra.decode_read_response(b"".join(collected), content_type=STREAMED)) == EXPECTED


@pytest.mark.parametrize("method", ["cursor", "next", "close"])
def test_interrupts(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no Exception: there is nobody to raise it to, and nothing is left behind."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_type))
    adapter = Cursors(lambda cursor: iter([]), ordered=True)

    def interrupt(*_: Any) -> Outcome:
        raise SystemExit(3)

    class Interrupted(Cursor):
        pass

    if method == "cursor":
        adapter.cursor = interrupt  # type: ignore
    else:
        setattr(Interrupted, method, interrupt)
        adapter.cursor = lambda ctx, query: Interrupted(adapter, ctx, query)  # type: ignore
    x = begin(adapter, streamed=True)
    run(x)
    x.reset()
    assert seen == [SystemExit]
    assert adapter.closed == (1 if method == "next" else 0)


@pytest.mark.parametrize("outcome", [None, 17, (), (0, 0, "", 0, 0), ("0", 0, "", 0)])
def test_outcomes_that_are_none(outcome: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    adapter = Cursors(Open(), ordered=True)
    adapter.outcome = lambda call: outcome  # type: ignore
    x = begin(adapter, streamed=True)
    run(x)
    assert (x.status(), adapter.closed) == (500, 1)
