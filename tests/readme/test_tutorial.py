# SPDX-License-Identifier: Apache-2.0
"""python/docs/tutorial.md from its first block to its last, with a real Prometheus."""

import importlib.util
import re
import shutil
import sys
import time

import pytest

import receivers
from processes import wait_until
from prometheus import http_get, metrics
from relay import post
from snippets import ROOT, snippets
from test_readme import check_console, ctest_names

PAGE = "python/docs/tutorial.md"
DOCS = ROOT / "python" / "docs"
PORT = 9201
RECEIVER, PROMETHEUS = f"http://127.0.0.1:{PORT}", "http://127.0.0.1:9090"


def environment(folder):
    """Stands in for `python3 -m venv env && env/bin/pip install .`: the package of the build."""
    tools = folder / "env" / "bin"
    tools.mkdir(parents=True)
    for name, arguments in (("python", ""), ("uvicorn", "-m uvicorn")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        script.chmod(0o755)


class Reader:
    """Somebody who does what the page says, in its order."""

    def __init__(self, processes, folder):
        self._processes, self._folder = processes, folder
        self._running = {}  # port -> process
        self._started = 0
        self.checked = set()

    def follow(self, snippet):
        kind, _, name = snippet.how.partition(" ")
        if kind == "file":
            (self._folder / name).write_text(snippet.text)
        elif kind == "start":
            self._start(name, snippet.text)
        elif kind == "console":
            wait_until(lambda: self._prints(snippet.text), f"this is so, and counts:\n{snippet.text}")
        elif kind == "pip":
            for package in snippet.text.split()[2:]:
                assert importlib.util.find_spec(package), f"{package} is not in tests/requirements.txt"
        elif kind == "look":
            self._look(snippet.text)
        else:
            assert kind == "ctest" and name in ctest_names(), f"no way to run\n{snippet.text}"

    def _start(self, name, command):
        port = 9090 if name == "prometheus" else PORT
        if port in self._running:
            self._running[port].stop()
        self._started += 1
        process = self._processes.start(
            f"{name}-{self._started}", ["/bin/bash", "-c", f"exec {command}"], cwd=self._folder,
            env={} if name == "prometheus" else receivers.interpreter_env())
        self._running[port] = process
        if name == "prometheus":
            wait_until(lambda: "ready to receive web requests" in process.text(), "it is ready", process)
        else:
            assert process.port() == port
        check = getattr(self, f"_check_{name}", None)
        if check:
            check(process)
            self.checked.add(name)

    def _prints(self, text):
        """Whether a block is true; numbers may differ, but counters must have counted."""
        check_console(text, self._folder)
        names = re.findall(r"^(pra_\w+) \d", text, re.M)
        counted = metrics(f"{RECEIVER}/metrics") if names else {}
        return all(counted[name] > 0 for name in names)

    def _check_careful(self, process):
        """Before Prometheus names its tenant."""
        wait_until(lambda: 'code="401"' in http_get(f"{RECEIVER}/metrics"), "it is refused", process)

    def _check_everything(self, process):
        wire = wire_of_python()
        labels = {"__name__": "latency_seconds"}
        now = int(time.time() * 1000)
        histogram = wire.histogram(now, 3, 1.5, positive=([(0, 2)], [1, 1]))
        series = {"labels": labels, "histograms": [histogram],
                  "exemplars": [({"trace_id": "abc"}, 0.5, now)]}
        headers = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                   "Content-Encoding": "snappy", "X-Scope-OrgID": "team-a"}
        status, _, answer = post(PORT, "/api/v1/write", headers, wire.compress(wire.write_request_v2([series])))
        assert status == 204, answer
        assert "0.5 to 1: 1\n1 to 2: 2\n" in process.text()
        assert "see {'trace_id': 'abc'} 0.5\n" in process.text()
        query = f"{PROMETHEUS}/api/v1/query?query=count(up)"
        wait_until(lambda: '"value":[' in http_get(query), "Prometheus reads from it", process)

    def _check_asynchronous(self, process):
        wait_until(lambda: '"POST /api/v1/write HTTP/1.1" 204' in process.text(), "it is written to", process)

    def _look(self, command):
        self._running.pop(PORT).stop()
        shown = self._processes.start("look", ["/bin/bash", "-c", f"exec {command}"], cwd=self._folder,
                                      env=receivers.interpreter_env())
        wait_until(lambda: shown.returncode() is not None, "it has printed")
        assert shown.returncode() == 0 and "prometheus" in shown.text(), shown.tail()


def wire_of_python():
    """The tests of this folder have a smaller module of that name."""
    spec = importlib.util.spec_from_file_location("python_wire", ROOT / "tests" / "python" / "wire.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tutorial(processes, tmp_path):
    if not shutil.which("prometheus"):
        receivers.lacking("there is no prometheus")
    receivers.script("python")  # skips where the package is not built
    environment(tmp_path)
    reader = Reader(processes, tmp_path)
    for snippet in snippets(PAGE):
        reader.follow(snippet)
    assert reader.checked == {"careful", "everything", "asynchronous"}


PAGES = ["README.md", "python/README.md", *sorted(f"python/docs/{page.name}" for page in DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_short(page):
    lines = (ROOT / page).read_text().splitlines()
    long = [line for line in lines if len(line) > 120 and not line.startswith("|")]
    assert not long
