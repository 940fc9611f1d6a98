"""The examples run as printed."""

from __future__ import annotations

import ctypes
import http.client
import importlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import prom_remote_api as pra
import wire
from hosts import WsgiHost

EXAMPLES = Path(__file__).resolve().parents[2] / "python" / "examples"
_libc = ctypes.CDLL(None)
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


def die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


@pytest.fixture(params=["memory_backend.py 127.0.0.1:0", "histograms_backend.py 127.0.0.1:0", "wsgi_app.py 0"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    script, argument = request.param.split()
    command = [sys.executable, "-u", EXAMPLES / script, argument]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"http://127.0.0.1:(\d+)", line):
                break
        else:
            raise AssertionError("it does not say where it listens")
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == (-signal.SIGTERM if script == "wsgi_app.py" else 0)


def post(port: int, path: str, message: bytes, tenant: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path, wire.compress(message), HEADERS | {"X-Scope-OrgID": tenant})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_write_and_read_back(port: int) -> None:
    up = {"__name__": "up", "job": "api"}
    message = wire.write_request([(up, [(1, 1.0), (2, 0.0)]), ({"__name__": "down"}, [(1, 5.0)])])
    for _ in range(2):  # sent again it changes nothing
        assert post(port, "/api/v1/write", message, "a") == (204, b"")
    request = wire.read_request([wire.query(2, 9, [("job", "=~", "a.*")])])
    status, content = post(port, "/api/v1/read", request, "a")
    assert status == 200
    assert wire.read_response(wire.uncompress(content)) == [[(up, [(2, 0.0)])]]
    content = post(port, "/api/v1/read", request, "b")[1]
    assert wire.read_response(wire.uncompress(content)) == [[]]


def test_the_one_that_keeps_histograms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    storage = importlib.import_module("histograms_backend").Everything()
    host = WsgiHost(storage)
    up = {"__name__": "up"}
    sent = pra.Histogram(timestamp=5, count=3, sum=1.5, positive_spans=[(0, 2)], positive_buckets=[1, 2])
    exemplar = ({"trace_id": "abc"}, 0.5, 4)
    full = {"labels": up, "samples": [(3, 1.0, 0)], "histograms": [sent.encode()], "exemplars": [exemplar]}
    assert host.write_v2(full).status == 204
    wrong = {"labels": up | {"trace_id": "abc"}, "samples": [(3, 1.0, 0)]}
    assert "belongs into an exemplar" in host.write_v2(full, wrong).text
    answer = host.read(wire.query(0, 9, [("__name__", "=", "up")]))
    assert answer.results == [[(up, [(3, 1.0)])]]
    ((raw,),) = wire.read_histograms(wire.uncompress(answer.body))
    assert pra.Histogram.decode(raw) == sent
    assert storage.traces[0] == ("", up, {"trace_id": "abc"}, 0.5)


def test_the_backend_is_short() -> None:
    lines = (EXAMPLES / "memory_backend.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 25
