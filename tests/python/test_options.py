"""Options of the hosts, as the sender and the reader see them."""

from __future__ import annotations

import http.client
import ssl
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import ServerHost

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from certificates import Authority  # type: ignore[import-not-found]  # noqa: E402

UP = {"__name__": "up", "job": "api"}
SAMPLES = [(1, 1.0)]


class Both(pra.Storage):
    def __init__(self) -> None:
        self.matchers: list[tuple[str, str]] = []

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[Any]:
        self.matchers = [(m.name, m.value) for m in query.matchers]
        now = round(time.time() * 1000)
        yield UP, [(now - 3_600_000, 1.0), (now - 60_000, 2.0), (now, 3.0)]


def ask(host: Any, *matchers: tuple[str, str, str]) -> Any:
    end = round(time.time() * 1000) + 60_000
    return host.read(wire.query(0, end, [("__name__", "=", "up"), *matchers])).results[0]


def test_accepted_messages(open_host: Any) -> None:
    statuses = []
    for versions in ((1, 2), (1,), {2}):
        host = open_host(Both(), accepted_messages=versions)
        statuses.append((host.write_series((UP, SAMPLES)).status, host.write_v2({"labels": UP, "samples": [(1, 1.0, 0)]}).status))
    assert statuses == [(204, 204), (204, 415), (415, 204)]
    for wrong in ((), (3,)):
        with pytest.raises(ValueError):
            open_host(Both(), accepted_messages=wrong)


def test_strict(open_host: Any) -> None:
    unsorted = [("z", "1"), ("__name__", "m")]
    for strict, status in ((False, 204), (True, 400)):
        assert open_host(Both(), strict=strict).write_series((unsorted, SAMPLES)).status == status


def test_external_labels(open_host: Any) -> None:
    storage = Both()
    host = open_host(storage, external_labels={"region": "eu", "job": "none"})
    ((labels, _),) = ask(host, ("region", "=", "eu"))
    assert labels == UP | {"region": "eu"}
    assert ("region", "") in storage.matchers
    for wrong in ({"": "x"}, {"a": ""}):
        with pytest.raises(pra.Error):
            open_host(Both(), external_labels=wrong)
    with pytest.raises(TypeError):
        open_host(Both(), external_labels={"a": 1})


def test_ignored_matchers(open_host: Any) -> None:
    storage = Both()
    assert ask(open_host(storage, ignored_matchers=["replica", "zone"]), ("zone", "=", "a"), ("job", "=", "api"))
    assert storage.matchers == [("__name__", "up"), ("job", "api")]


def test_read_delay_and_max_age(open_host: Any) -> None:
    def values(**options: float) -> list[float]:
        return [value for _, samples in ask(open_host(Both(), **options)) for _, value in samples]

    assert values() == [1.0, 2.0, 3.0]
    assert values(read_delay=30.5) == [1.0, 2.0]
    assert values(read_max_age=1800) == [2.0, 3.0]
    assert values(read_delay=30, read_max_age=1800) == [2.0]


def test_unknown_options(open_host: Any) -> None:
    with pytest.raises(TypeError):
        open_host(Both(), read_dealy=3)
    with pytest.raises(ValueError):
        open_host(Both(), limits={"max_frames": 3})


def test_frame_limit(open_host: Any) -> None:
    class Long(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[Any]:
            yield UP, [(i, i * 0.1) for i in range(1000)]

    host = open_host(Long(), limits={"max_frame_bytes": 1000})
    frames = wire.frames(host.read_streamed(wire.query(0, 10_000, [("__name__", "=", "up")])).body)
    assert len(frames) > 1 and all(labels == UP for _, labels, _ in frames)
    assert sum(count for _, _, chunks in frames for _, _, _, count in chunks) == 1000


# ---- the server's own


def test_tls_and_tokens(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    (tmp_path / "tokens").write_text("ann secret\n")
    users: list[str] = []

    class Users(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            users.append(ctx.user)

    options = {"web_config_file": tmp_path / "web.yml", "bearer_token_file": str(tmp_path / "tokens")}
    with pra.Server(Users(), "127.0.0.1:0", **options) as server:  # type: ignore[arg-type]
        assert server.url == f"https://127.0.0.1:{server.port}"
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        statuses = []
        for token in ("secret", "wrong"):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context)
            connection.request("POST", "/write", wire.compress(b""), {"Authorization": f"Bearer {token}"})
            statuses.append(connection.getresponse().status)
            connection.close()
    assert (statuses, users) == ([204, 401], ["ann"])


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    for name in ("web_config_file", "bearer_token_file"):
        with pytest.raises(pra.Error, match="none"):
            pra.Server(Both(), "127.0.0.1:0", **{name: tmp_path / "none"})  # type: ignore[arg-type]


def test_concurrent_reads() -> None:
    inside: list[int] = []
    most = []

    class Counts(pra.Storage):
        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterable[Any]:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()
            return []

    with ServerHost(Counts(), max_concurrent_reads=1) as host:
        reads = [threading.Thread(target=host.read, args=(wire.query(0, 1, []),)) for _ in range(4)]
        for read in reads:
            read.start()
        for read in reads:
            read.join()
    assert most == [1, 1, 1, 1]
