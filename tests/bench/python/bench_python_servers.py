# SPDX-License-Identifier: Apache-2.0
"""Writes over sockets: storages that do nothing behind serve(), uvicorn and gunicorn, and receivers
written by hand.

The client (in C, four connections, here) and the server under test share the machine. Half the wall
time per write is twice the requests per second.
"""

import contextlib
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

from support import arguments, load, require, row, write_request

CONNECTIONS = 4
SECONDS = 0.2


class Subject(NamedTuple):
    name: str
    host: str
    storage: str
    target: float = 0


GROUPS = {
    "behind serve()": (
        Subject("C: libpra_server, looks only", "c", "-"),
        Subject("serve(), looks only", "serve", "Looking", 2),
    ),
    "ASGI, uvicorn": (
        Subject("FastAPI + protobuf + cramjam: dicts, lists", "uvicorn", "peer"),
        Subject("ours, looks only", "uvicorn", "Looking", 1 / 4),
        Subject("ours, looks only, async", "uvicorn", "LookingAsync", 1 / 4),
        Subject("ours, dicts and lists", "uvicorn", "Storing", 1 / 4),
        Subject("ours, dicts and lists, async", "uvicorn", "StoringAsync", 1 / 4),
    ),
    "WSGI, gunicorn": (
        Subject("Flask + protobuf + cramjam: dicts, lists", "gunicorn", "peer"),
        Subject("ours, looks only", "gunicorn", "Looking"),
        Subject("ours, dicts and lists", "gunicorn", "Storing"),
    ),
}


class Running:
    def __init__(self, subject):
        script = pathlib.Path(__file__).with_name("serve_one.py")
        self._process = subprocess.Popen(
            [sys.executable, script, subject.host, subject.storage], stdout=subprocess.PIPE)
        self.subject = subject
        self.port = 0
        self.wall_us, self.cpu_us = [], []

    def cpu_ns(self):
        """CPU time of the process and its children (the worker of gunicorn)."""
        pid = self._process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # The clock of another process, as clock_getcpuclockid makes it in Linux.
        return sum(time.clock_gettime_ns(~int(each) << 3 | 2) for each in (pid, *children))

    def measure(self, body, seconds):
        before = self.cpu_ns()
        done = load(self.port, body, CONNECTIONS, seconds)
        self.wall_us.append(done.seconds * 1e6 / done.requests)
        self.cpu_us.append((self.cpu_ns() - before) / 1000 / done.requests)

    def await_port(self):
        self.port = int(self._process.stdout.readline() or 0)
        require(self.port, f"{self.subject.name} does not start")

    def __exit__(self, *exception):
        self._process.terminate()
        self._process.wait()


def run_group(name, subjects, body, rounds):
    with contextlib.ExitStack() as running:
        servers = [running.push(Running(subject)) for subject in subjects]
        for server in servers:
            server.await_port()
        for server in servers:
            server.measure(body, SECONDS / 2)
            del server.wall_us[:], server.cpu_us[:]
        for _ in range(rounds):
            for server in servers:
                server.measure(body, SECONDS)
    for server in servers:
        row(f"Python, {name}: wall time per write of 2,000 series", server.subject.name,
            server.wall_us, server.subject.target)
    for server in servers:
        row(f"Python, {name}: CPU time of the server", server.subject.name,
            server.cpu_us, server.subject.target)


def main():
    options = arguments()
    body = write_request(2000)
    for name, subjects in GROUPS.items():
        run_group(name, subjects, body, options.rounds)


if __name__ == "__main__":
    main()
