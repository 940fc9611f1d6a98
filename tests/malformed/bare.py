# SPDX-License-Identifier: Apache-2.0
"""A handler alone, as a child process."""

import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

GUARD_S = 300
BARE_HANDLER = pathlib.Path(os.environ.get(
    "PRA_BARE_HANDLER", HERE.parents[1] / "build" / "asan" / "tests" / "malformed" / "bare_handler"))


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes
    peak_bytes: int = 0  # of the heap, beyond the request itself; the bare handler's only
    cpu_us: int = 0


class BareHandler:
    """Every request goes through one exchange."""

    def __init__(self):
        self.child = subprocess.Popen([BARE_HANDLER], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)

    def post(self, path, content_type, body, headers=()):
        more = "".join(f"{name}: {value}\x1f" for name, value in headers)
        self.child.stdin.write(f"{path}\n{content_type}\n{more}\n{len(body)}\n".encode() + body)
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        assert line, "the handler died"
        status, body_length, head_length, peak, cpu = map(int, line.split())
        head = self.child.stdout.read(head_length).decode()
        content = self.child.stdout.read(body_length)
        return Answer(status, dict(each.split(": ", 1) for each in head.splitlines()), content,
                      peak, cpu)

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(GUARD_S) == 0
