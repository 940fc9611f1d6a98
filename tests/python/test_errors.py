"""A storage that raises, in each of its methods and at each moment."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import Answer, Host

UP = {"__name__": "up"}
QUERY = wire.query(0, 10, [])


class Raising(pra.Storage):
    """Raises self.error at the place named, if there is one."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.error: BaseException | None = None
        self.generators_open = 0
        if place == "read":
            self.read = self._read  # type: ignore[method-assign]

    def _raise_at(self, place: str) -> None:
        if self.error and self.place == place:
            raise self.error

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for ts in request:
            assert ts.labels
            self._raise_at("write")

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Any:
        self._raise_at("list")
        if self.place == "list":
            return [(UP, [(1, 1.0)])]
        return self._generate()

    def _generate(self) -> Iterator[Any]:
        self.generators_open += 1
        try:
            self._raise_at("generator start")
            for i in range(5):
                yield {"i": str(i)}, self._samples()
                if i == 2:
                    self._raise_at("generator middle")
            self._raise_at("generator end")
        finally:
            self.generators_open -= 1

    def _samples(self) -> Iterator[wire.Sample]:
        yield 1, 1.0
        self._raise_at("samples")
        yield 2, 2.0

    def _read(self, ctx: pra.Context, queries: Sequence[pra.Query]) -> Any:
        self._raise_at("read")
        return [[(UP, [(1, 1.0)])] for _ in queries]


PLACES = ["write", "list", "generator start", "generator middle", "generator end", "samples", "read"]
METHODS = {"write": "write", "read": "read"}


def ask(host: Host, place: str) -> Answer:
    return host.write_series((UP, [(1, 1.0)])) if place == "write" else host.read(QUERY)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


def test_any_exception(open_host: Any, place: str) -> None:
    """500 and a short message for the sender; the exception itself for the host; then all is well."""
    storage = Raising(place)
    errors: list[tuple[str, Exception]] = []
    host = open_host(storage, on_error=lambda *args: errors.append(args))
    before = ask(host, place)
    assert before.status in (200, 204)

    storage.error = KeyError("secret detail")
    answer = ask(host, place)
    assert answer.status == 500
    method = METHODS.get(place, "process_query")
    assert answer.text.strip() == f"{method} of the storage raised KeyError"
    assert len(errors) == 1
    assert errors[0] == (method, storage.error)
    assert errors[0][1].__traceback__ is not None
    assert storage.generators_open == 0

    storage.error = None
    assert ask(host, place).status == before.status


def test_it_is_logged(open_host: Any, place: str, caplog: pytest.LogCaptureFixture) -> None:
    storage = Raising(place)
    storage.error = ZeroDivisionError("by zero")
    with caplog.at_level(logging.ERROR, "prom_remote_api"):
        assert ask(open_host(storage), place).status == 500
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR and r.exc_info]
    assert record.name == "prom_remote_api"
    assert record.exc_info and record.exc_info[1] is storage.error
    assert "_raise_at" in caplog.text


@pytest.mark.parametrize("status", [400, 404, 413, 422, 499])
def test_reject(open_host: Any, place: str, status: int) -> None:
    storage = Raising(place)
    storage.error = pra.Reject("too old: é\n2 lines", status=status)
    answer = ask(open_host(storage, on_error=_unexpected), place)
    assert answer.status == status
    assert answer.text.startswith("too old: é")
    assert answer.text.strip().count("\n") == 0


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_retry(open_host: Any, place: str, status: int) -> None:
    storage = Raising(place)
    storage.error = pra.Retry("busy", status=status)
    answer = ask(open_host(storage, on_error=_unexpected), place)
    assert (answer.status, answer.text.strip()) == (status, "busy")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize("after, header", [(7, "7"), (0.2, "1"), (1e30, str(0xFFFFFFFF)), (61.5, "62"), (math.inf, str(0xFFFFFFFF))])
def test_retry_after(open_host: Any, after: float, header: str) -> None:
    storage = Raising("write")
    storage.error = pra.Retry(after=after, status=429)
    answer = ask(open_host(storage, on_error=_unexpected), "write")
    assert answer.status == 429
    assert answer.headers["Retry-After"] == header


def _unexpected(method: str, error: Exception) -> None:
    raise AssertionError(f"{method}: {error!r} is no error of the storage")


@pytest.mark.parametrize("message", ["nul \0 inside", "\ud800", "x" * 5000, "", "\x1b[31m"])
def test_odd_messages(open_host: Any, message: str) -> None:
    storage = Raising("write")
    storage.error = pra.Reject(message)
    answer = ask(open_host(storage), "write")
    assert answer.status == 400
    assert answer.text.strip().isprintable()


def test_arguments_of_the_exceptions() -> None:
    for status in (200, 399, 429, 500):
        with pytest.raises(ValueError):
            pra.Reject("no", status=status)
    for status in (200, 400, 428, 600):
        with pytest.raises(ValueError):
            pra.Retry("no", status=status)


def test_system_exit_in_a_server_thread(recwarn: pytest.WarningsRecorder) -> None:
    """It cannot end the program from there; it must not end the thread either."""
    from hosts import ServerHost

    storage = Raising("write")
    storage.error = SystemExit(3)
    with ServerHost(storage) as host, _quiet_unraisable() as seen:
        assert ask(host, "write").status == 500
        storage.error = None
        assert ask(host, "write").status == 204
    assert [args.exc_type for args in seen] == [SystemExit]


def test_keyboard_interrupt_passes_through_wsgi() -> None:
    from hosts import WsgiHost

    storage = Raising("write")
    storage.error = KeyboardInterrupt()
    host = WsgiHost(storage)
    with pytest.raises(KeyboardInterrupt):
        ask(host, "write")
    storage.error = None
    assert ask(host, "write").status == 204


def test_failing_hook(open_host: Any, caplog: pytest.LogCaptureFixture) -> None:
    def hook(method: str, error: Exception) -> None:
        raise RuntimeError("the hook is broken")

    storage = Raising("write")
    storage.error = KeyError()
    assert ask(open_host(storage, on_error=hook), "write").status == 500
    assert "the hook is broken" in caplog.text


# ---- what a storage can be


def test_missing_methods(open_host: Any) -> None:
    class WritesOnly(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            pass

    host = open_host(WritesOnly())
    assert ask(host, "write").status == 204
    assert ask(host, "list").status == 404


def test_any_object_will_do(open_host: Any) -> None:
    class Duck:
        def process_query(self, ctx: pra.Context, query: pra.Query) -> list[Any]:
            return []

    host = open_host(Duck())
    assert ask(host, "list").status == 200
    assert ask(host, "write").status == 404


@pytest.mark.parametrize("nothing", [pra.Storage(), object(), None])
def test_no_methods_at_all(nothing: Any) -> None:
    make: Callable[[Any], object]
    for make in (pra.make_wsgi_app, pra.Server):
        with pytest.raises(TypeError):
            make(nothing)


def test_unknown_limit() -> None:
    for name in ("max_typos", "this", "__class__", "thisown"):
        with pytest.raises(ValueError):
            pra.make_wsgi_app(Raising("write"), limits={name: 1})
    with pytest.raises(OverflowError):
        pra.make_wsgi_app(Raising("write"), limits={"max_body_bytes": -1})


class _quiet_unraisable:
    def __enter__(self) -> list[Any]:
        import sys

        self.before = sys.unraisablehook
        seen: list[Any] = []
        sys.unraisablehook = seen.append
        return seen

    def __exit__(self, *_: object) -> None:
        import sys

        sys.unraisablehook = self.before
