"""What a storage's process_query and read are given, and what they may give back."""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prom_remote_api as pra
import wire
from hosts import WsgiHost

UP = {"__name__": "up", "job": "api"}
ALL = wire.query(0, 10_000, [("__name__", "=~", ".+")])


class Fixed(pra.Storage):
    """Answers every query with the same."""

    def __init__(self, *series: Any) -> None:
        self.series = series

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[Any]:
        return self.series


SHAPES: dict[str, Any] = {
    "pairs": (UP, [(1, 1.5), (2, 2.5)]),
    "lists": (UP, [[1, 1.5], [2, 2.5]]),
    "generator": None,
    "dict items": (UP, {1: 1.5, 2: 2.5}.items()),
    "unsorted": (UP, ((2, 2.5), (1, 1.5))),
    "outside": (UP, [(-1, 9.0), (1, 1.5), (2, 2.5), (10_001, 9.0)]),
    "arrays": (UP, array.array("q", [1, 2]), array.array("d", [1.5, 2.5])),
    "memoryviews": (UP, memoryview(array.array("q", [1, 2])), memoryview(array.array("d", [1.5, 2.5]))),
    "misaligned": None,
    "strided": None,
    "columns of numbers": (UP, [1, 2], (1.5, 2.5)),
    "narrow arrays": (UP, array.array("i", [1, 2]), array.array("f", [1.5, 2.5])),
    "Series": pra.Series(UP, array.array("q", [1, 2]), array.array("d", [1.5, 2.5])),
    "other mapping": None,
    "ints as values": None,
}


def _shape(name: str) -> Any:
    """Those that can be used once only, or need code."""
    from types import MappingProxyType

    if name == "generator":
        return (UP, ((stamp, stamp + 0.5) for stamp in (1, 2)))
    if name == "misaligned":
        raw = b"x" + array.array("q", [1, 2]).tobytes()
        return (UP, memoryview(raw)[1:].cast("q"), array.array("d", [1.5, 2.5]))
    if name == "strided":
        return (UP, memoryview(array.array("q", [1, 0, 2]))[::2], memoryview(array.array("d", [1.5, 0, 2.5]))[::2])
    if name == "other mapping":
        return (MappingProxyType(UP), [(1, 1.5), (2, 2.5)])
    if name == "ints as values":
        return (UP, [(True, 1.5), (2, 2.5)])
    return SHAPES[name]


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(open_host: Any, name: str) -> None:
    host = open_host(Fixed(_shape(name)))
    assert host.read(ALL).results == [[(UP, [(1, 1.5), (2, 2.5)])]]


def test_generator_of_series(open_host: Any) -> None:
    class Generates(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            for i in range(3):
                yield {"i": str(i)}, [(query.start_ms + i, float(i))]

    results = open_host(Generates()).read(ALL, wire.query(5, 6, [])).results
    assert results == [
        [({"i": str(i)}, [(i, float(i))]) for i in range(3)],
        [({"i": str(i)}, [(5 + i, float(i))]) for i in range(2)],
    ]


def test_nothing(open_host: Any) -> None:
    assert open_host(Fixed()).read(ALL, ALL).results == [[], []]
    assert open_host(Fixed((UP, []))).read(ALL).results == [[]]


@pytest.mark.parametrize("bits", [wire.STALE_BITS, wire.NORMAL_NAN_BITS, 1 << 63])
@pytest.mark.parametrize("columns", [False, True])
def test_bits_survive(open_host: Any, bits: int, columns: bool) -> None:
    value = wire.from_bits(bits)
    buffer = memoryview(bits.to_bytes(8, "little")).cast("d")
    shape = (UP, array.array("q", [1]), buffer) if columns else (UP, [(1, value)])
    (((_, ((_, back),)),),) = open_host(Fixed(shape)).read(ALL).results
    assert wire.to_bits(back) == bits


WRONG: dict[str, tuple[Any, str]] = {
    "None": (None, "TypeError"),
    "a series that is no tuple": ([UP], "TypeError"),
    "a series of one": ([(UP,)], "TypeError"),
    "a series of four": ([(UP, 1, 2, 3)], "TypeError"),
    "labels that are no mapping": ([(17, [(1, 1.0)])], "TypeError"),
    "a label value that is no str": ([({"a": 1}, [(1, 1.0)])], "TypeError"),
    "a label name that is no str": ([({b"a": "1"}, [(1, 1.0)])], "TypeError"),
    "a lone surrogate": ([({"a": "\ud800"}, [(1, 1.0)])], "UnicodeEncodeError"),
    "an empty label name": ([({"": "1"}, [(1, 1.0)])], "ValueError"),
    "a sample of one": ([(UP, [(1,)])], "TypeError"),
    "a sample of three": ([(UP, [(1, 2, 3)])], "TypeError"),
    "a sample that is a number": ([(UP, [1])], "TypeError"),
    "a timestamp that is no int": ([(UP, [(1.5, 1.0)])], "TypeError"),
    "a timestamp over 64 bits": ([(UP, [(1 << 63, 1.0)])], "OverflowError"),
    "a value that is no float": ([(UP, [(1, "1")])], "TypeError"),
    "samples that cannot be iterated": ([(UP, 5)], "TypeError"),
    "columns of different length": ([(UP, array.array("q", [1, 2]), [1.0])], "ValueError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_results(open_host: Any, name: str) -> None:
    """They are a mistake of the storage: 500, the exception goes to the host's log."""
    result, kind = WRONG[name]
    errors: list[tuple[str, Exception]] = []

    class Wrong(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
            return result

    answer = open_host(Wrong(), on_error=lambda *args: errors.append(args)).read(ALL)
    assert answer.status == 500
    assert kind in answer.text
    ((where, error),) = errors
    assert where == "process_query" and type(error).__name__ == kind
    assert error.__traceback__ is not None


def test_limit_of_an_answer(open_host: Any) -> None:
    """Refused as the library says, and the generator is told to stop."""
    closed = []

    class Endless(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            try:
                for i in range(1_000_000):
                    yield {"i": str(i)}, [(1, 1.0)]
            finally:
                closed.append(i)

    errors: list[Any] = []
    host = open_host(Endless(), limits={"max_read_samples": 10}, on_error=lambda *args: errors.append(args))
    answer = host.read(ALL)
    assert answer.status == 400
    assert closed and closed[0] < 80  # asynchronous ones may be some ahead
    assert errors == []


# ---- the query


def test_query(open_host: Any) -> None:
    seen: dict[str, Any] = {}

    class Looks(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> list[Any]:
            seen["range"] = (query.start_ms, query.end_ms)
            seen["matchers"] = [(m.name, m.type, m.value) for m in query.matchers]
            seen["sets"] = [m.set for m in query.matchers]
            seen["prefixes"] = [m.prefix for m in query.matchers]
            seen["repr"] = repr(query.matchers[0])
            seen["hints"] = query.hints
            m = query.matchers[2]
            seen["matches"] = [m.matches("api-1"), m.matches("api"), m.matches("")]
            seen["all"] = [
                query.matches({"__name__": "up", "job": "api-7"}),
                query.matches({"__name__": "up", "job": "api-7", "env": "test"}),
                query.matches({"__name__": "down", "job": "api-7"}),
            ]
            with pytest.raises(TypeError):
                query.matches([("a", "b")])  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                m.matches(b"api")  # type: ignore[arg-type]
            return []

    hints = (
        wire.number(1, 15_000) + wire.data(2, "rate") + wire.number(3, 1) + wire.number(4, 2)
        + wire.data(5, "job") + wire.data(5, "env") + wire.number(6, 1) + wire.number(7, 300_000)
    )  # fmt: skip
    matchers = [("__name__", "=", "up"), ("env", "!~", "test|staging"), ("job", "=~", "api-.*")]
    open_host(Looks()).read(wire.query(-5, 7_000, matchers, hints)).results
    assert seen["range"] == (-5, 7_000)
    assert seen["matchers"] == matchers
    assert seen["sets"] == [("up",), ("staging", "test"), None]
    assert seen["prefixes"][2] == "api-"
    assert seen["repr"] == "<Matcher __name__='up'>"
    assert seen["hints"] == (15_000, "rate", 1, 2, ("job", "env"), True, 300_000)
    assert seen["hints"].func == "rate"
    assert seen["matches"] == [True, False, False]
    assert seen["all"] == [True, False, False]


def test_no_hints(open_host: Any) -> None:
    seen = []

    class Looks(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> list[Any]:
            seen.append((query.hints, query.matchers))
            return []

    open_host(Looks()).read(wire.query(0, 1, [])).results
    assert seen == [(None, ())]


def test_bad_pattern_does_not_reach_the_storage(open_host: Any) -> None:
    answer = open_host(Fixed()).read(wire.query(0, 1, [("a", "=~", "(")]))
    assert answer.status == 400


# ---- read


class Batch(pra.Storage):
    def __init__(self, results: Any) -> None:
        self.results = results

    def read(self, ctx: pra.Context, queries: Sequence[pra.Query]) -> Any:
        if callable(self.results):
            return self.results(queries)
        return self.results


def test_read(open_host: Any) -> None:
    def answer(queries: Sequence[pra.Query]) -> Iterator[Any]:
        for query in queries:
            yield (({"start": str(query.start_ms)}, [(query.start_ms, 1.0)]) for _ in range(1))

    results = open_host(Batch(answer)).read(wire.query(1, 9, []), wire.query(2, 9, [])).results
    assert results == [[({"start": "1"}, [(1, 1.0)])], [({"start": "2"}, [(2, 1.0)])]]


@pytest.mark.parametrize("results", [[], [[], [], []], None])
def test_read_with_a_wrong_number_of_results(open_host: Any, results: Any) -> None:
    answer = open_host(Batch(results), on_error=lambda *_: None).read(ALL, ALL)
    assert answer.status == 500


# ---- there and back


text = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40)
label_sets = st.dictionaries(text, text, min_size=1, max_size=6)
values = st.integers(0, (1 << 64) - 1).map(wire.from_bits)
samples = st.dictionaries(st.integers(-(1 << 63), (1 << 63) - 1), values, min_size=1, max_size=5)
EVERYTHING = wire.query(-(1 << 63), (1 << 63) - 1, [])


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(label_sets, samples), max_size=6, unique_by=lambda s: tuple(sorted(s[0].items()))))
def test_everything_comes_back(all_series: list[tuple[dict[str, str], dict[int, float]]]) -> None:
    given_series = [(labels, list(points.items())) for labels, points in all_series]
    (back,) = WsgiHost(Fixed(*given_series)).read(EVERYTHING).results
    wanted = [(labels, sorted(points.items())) for labels, points in all_series]
    assert _comparable(back) == _comparable(wanted)


def _comparable(all_series: Iterable[tuple[dict[str, str], list[wire.Sample]]]) -> list[Any]:
    return sorted(
        (sorted(labels.items()), [(stamp, wire.to_bits(value)) for stamp, value in points])
        for labels, points in all_series
    )
