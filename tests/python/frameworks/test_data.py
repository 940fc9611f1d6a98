"""Every snippet of python/docs/data.md and python/docs/storages.md, in a storage that is written to and read from."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import ServerHost, WsgiHost
from prom_remote_api.storages import MemoryStorage, _retention

sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))

from snippets import Snippet, snippets  # noqa: E402

DATA, STORAGES = snippets("python/docs/data.md"), snippets("python/docs/storages.md")
API, DB = {"__name__": "up", "job": "api"}, {"__name__": "up", "job": "db"}
SERIES = [(API, [(1000, 1.0), (2000, 0.0)]), (DB, [(1000, 1.0)])]
QUERY = wire.query(0, 1 << 40, [("__name__", "=", "up")])


def executed(snippet: Snippet) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(snippet.text, f"snippet {snippet.how}", "exec"), names)
    return names


def blocks(*kinds: str) -> list[Any]:
    return [pytest.param(i, id=f"{one.how}-{i}") for i, one in enumerate(DATA) if one.how in kinds]


def answers(host: Any) -> None:
    assert sorted(host.read(QUERY).results[0], key=str) == SERIES
    streamed = [(labels, chunks[0][3]) for _, labels, chunks in wire.frames(host.read_streamed(QUERY).body)]
    assert streamed == [(API, 2), (DB, 1)]


@pytest.mark.parametrize("index", blocks("write"))
def test_write(index: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = executed(DATA[index])
    host = WsgiHost(names["write"])
    answer = host.write_series(*SERIES)
    assert answer.status == 204, answer
    for thread in [one for one in names.values() if isinstance(one, threading.Thread)]:
        thread.start()
        thread.join()
    assert DATA[index + 1].how == "output"
    assert capsys.readouterr().out == DATA[index + 1].text


@pytest.mark.parametrize("index", blocks("process_query", "select"))
def test_results(index: int) -> None:
    names = executed(DATA[index])
    methods = {name: names[name] for name in ("process_query", "select", "fetch") if name in names}
    answers(WsgiHost(pra.FunctionStorage(**methods)))


@pytest.mark.parametrize("index", range(len(STORAGES)))
def test_storage(index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_retention, "time", SimpleNamespace(time_ns=lambda: 3_000_000_000, monotonic=time.monotonic))
    with ServerHost(MemoryStorage()) as other:
        snippet = STORAGES[index]
        assert snippet.how == "storage"
        text = snippet.text.replace("127.0.0.1:9202", f"127.0.0.1:{other.port}")
        with executed(Snippet(snippet.how, snippet.language, text))["storage"] as storage:
            host = WsgiHost(storage)
            for _ in range(2):
                assert host.write_series(*SERIES).status == 204
            answers(host)


def test_every_snippet_is_run() -> None:
    rest = [one.how for one in DATA if one.how not in ("write", "output", "process_query", "select")]
    assert rest == [""]  # what is sent
