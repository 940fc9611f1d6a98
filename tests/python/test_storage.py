"""What a storage can be, and what is said of one that cannot be."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import AsgiHost, Host, ServerHost, WsgiHost

UP = {"__name__": "up"}
SERIES = (UP, [(1, 1.0)])
QUERY = wire.query(0, 10, [])
HOSTS = pytest.mark.parametrize("kind", [AsgiHost, ServerHost, WsgiHost])


class Kept:
    """Takes part in each shape of a storage."""

    def __init__(self) -> None:
        self.labels: list[dict[str, str]] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.labels += [ts.labels for ts in request]

    async def write_later(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.write(ctx, request)

    def answer(self, ctx: pra.Context, query: pra.Query) -> Any:
        return [(labels, [(1, 1.0)]) for labels in self.labels]

    async def answer_later(self, ctx: pra.Context, query: pra.Query) -> Any:
        for labels in self.labels:
            yield labels, [(1, 1.0)]

    async def answer_with_list(self, ctx: pra.Context, query: pra.Query) -> Any:
        return self.answer(ctx, query)

    async def answer_with_generator(self, ctx: pra.Context, query: pra.Query) -> Any:
        return self.answer_later(ctx, query)


def module(kept: Kept) -> Any:
    made = types.ModuleType("made")
    made.write, made.process_query = kept.write, kept.answer  # type: ignore[attr-defined]
    return made


class Subclass(pra.Storage):
    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.kept.write(ctx, request)

    async def process_query(self, ctx: pra.Context, query: pra.Query) -> list[pra.SeriesLike]:
        return list(self.kept.answer(ctx, query))


class Callable_:
    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    async def __call__(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.kept.write(ctx, request)


SHAPES: dict[str, Callable[[Kept], Any]] = {
    "subclass": Subclass,
    "module": module,
    "functions": lambda k: pra.FunctionStorage(k.write, k.answer),
    "async function": lambda k: pra.FunctionStorage(k.write, k.answer_later),
    "each its own way": lambda k: pra.FunctionStorage(k.write_later, k.answer),
    "list later": lambda k: pra.FunctionStorage(k.write_later, k.answer_with_list),
    "generator later": lambda k: pra.FunctionStorage(k.write, k.answer_with_generator),
    "bound method": lambda k: k.write,
    "function": lambda k: lambda ctx, request: k.write(ctx, request),
    "awaiting function": lambda k: k.write_later,
    "partial": lambda k: functools.partial(lambda one, ctx, request: one.write(ctx, request), k),
    "partial of an async def": lambda k: functools.partial(Kept.write_later, k),
    "callable object": Callable_,
}


@HOSTS
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(kind: Callable[..., Host], shape: str) -> None:
    kept = Kept()
    host = kind(SHAPES[shape](kept))
    assert host.write_series(SERIES).status == 204
    assert kept.labels == [UP]
    answer = host.read(QUERY)
    if any(word in shape for word in ("bound", "partial", "callable")) or shape in ("function", "awaiting function"):
        assert answer.status == 404
    else:
        assert answer.results == [[SERIES]]


def read_lists(ctx: Any, queries: Any) -> Any:
    return [[SERIES] for _ in queries]


async def read_lists_later(ctx: Any, queries: Any) -> Any:
    return read_lists(ctx, queries)


async def read_generators(ctx: Any, queries: Any) -> Any:
    async def one() -> Any:
        yield SERIES

    for _ in queries:
        yield one()


def read_coroutines(ctx: Any, queries: Any) -> Any:
    async def one() -> Any:
        return [SERIES]

    return [one() for _ in queries]


@HOSTS
@pytest.mark.parametrize("read", [read_lists, read_lists_later, read_generators, read_coroutines])
def test_read(kind: Callable[..., Host], read: Any) -> None:
    assert kind(pra.FunctionStorage(read=read)).read(QUERY, QUERY).results == [[SERIES], [SERIES]]


def nothing(*args: Any) -> Any: ...


class Unfinished(pra.Storage):
    def select(self, ctx: pra.Context, query: pra.Query) -> list[tuple[dict[str, str], int]]:
        return []


WRONG: list[tuple[Any, str]] = [
    (None, "NoneType has no write, process_query, read, or select and fetch"),
    (pra.Storage(), "Storage has no write, process_query, read, or select and fetch"),
    (pra.FunctionStorage(), "FunctionStorage has no write"),
    (types.ModuleType("empty"), "empty has no write"),
    (Kept, "Kept is a class: a storage is an object of it, Kept()"),
    (Unfinished(), "Unfinished has select without fetch"),
    (pra.FunctionStorage(fetch=nothing), "FunctionStorage has fetch without select"),
    (pra.FunctionStorage(nothing, fetch=nothing), "FunctionStorage has fetch without select"),
    (pra.FunctionStorage(nothing, ordered=True), "FunctionStorage is ordered"),
    (types.SimpleNamespace(write=17), "write of SimpleNamespace is int, no method"),
    (lambda request: None, "write of <lambda> must take (ctx, request), not (request)"),
    (types.SimpleNamespace(process_query=lambda: []), "process_query of SimpleNamespace must take (ctx, query), not ()"),
]


@pytest.mark.parametrize("storage, message", WRONG)
@pytest.mark.parametrize("make", [pra.make_asgi_app, pra.make_wsgi_app, pra.Server])
def test_what_cannot_be_one(make: Any, storage: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        make(storage)


@HOSTS
def test_none_is_no_method(kind: Callable[..., Host]) -> None:
    host = kind(types.SimpleNamespace(write=nothing, process_query=None, read=None))
    assert host.write_series(SERIES).status == 204
    assert host.read(QUERY).status == 404


@HOSTS
def test_what_an_answer_cannot_be(kind: Callable[..., Host]) -> None:
    errors: list[Any] = []
    host = kind(pra.FunctionStorage(process_query=lambda ctx, query: 17), on_error=lambda *e: errors.append(e))  # type: ignore[arg-type, return-value]
    assert host.read(QUERY).status == 500
    assert isinstance(errors[0][1], TypeError)
