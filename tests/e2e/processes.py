# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the test, and waiting without sleeping for a fixed time."""

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import time

HANG_GUARD_S = 90  # a condition that has not come true by then, nor come nearer, never will
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error: ")
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def wait_until(condition, what, process=None, progress=lambda: None):
    """Polls until condition() is true and returns its value; fails when it never is. As long as
    progress() changes, it goes on."""
    give_up, before = time.monotonic() + HANG_GUARD_S, progress()
    while True:
        value = condition()
        if value:
            return value
        now = progress()
        if now != before:
            give_up, before = time.monotonic() + HANG_GUARD_S, now
        if process is not None and process.returncode() is not None:
            raise AssertionError(f"{process.name} ended while waiting until {what}\n{process.tail()}")
        if time.monotonic() > give_up:
            tail = process.tail() if process is not None else ""
            raise AssertionError(f"gave up waiting until {what}\n{tail}")
        time.sleep(0.05)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _family(pid):
    """A process and those below it."""
    yield pid
    for task in os.scandir(f"/proc/{pid}/task"):
        for child in pathlib.Path(task.path, "children").read_text().split():
            yield from _family(int(child))


def _sockets(pid):
    links = (os.readlink(fd.path) for fd in os.scandir(f"/proc/{pid}/fd"))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


class Process:
    """One program, its output in a file, and the port it listens on."""

    def __init__(self, name, argv, cwd, env=None, stdin=False, pass_fds=()):
        self.name = name
        self.log = pathlib.Path(cwd) / f"{name}.log"
        with open(self.log, "ab") as out:
            self._child = subprocess.Popen(
                [str(a) for a in argv], cwd=cwd, env={**os.environ, **{k: str(v) for k, v in (env or {}).items()}},
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                pass_fds=pass_fds, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self._child.pid

    def returncode(self):
        return self._child.poll()

    def tail(self, size=4000):
        return f"--- end of {self.log.name} ---\n{self.text()[-size:]}"

    def text(self):
        return self.log.read_text(errors="replace")

    def port(self):
        """The TCP port on which the program, or a child of it, listens, as soon as one does."""
        return wait_until(self._listening_port, f"{self.name} listens", self)

    def _listening_port(self):
        try:
            inodes = set().union(*(_sockets(pid) for pid in _family(self._child.pid)))
        except OSError:  # a descriptor or a process is gone again
            return None
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                return int(fields[1].rpartition(":")[2], 16)
        return None

    def enter(self):
        """What a user does who presses Enter."""
        self._child.communicate(b"\n")

    def kill(self):
        """kill -9, also for the children."""
        with contextlib.suppress(OSError):  # one of them has ended by itself
            for pid in [*_family(self._child.pid)]:
                os.kill(pid, signal.SIGKILL)
        self._child.kill()
        self._child.wait()

    def stop(self, number=signal.SIGTERM):
        """A signal; returns the exit code (0 if it is the way this program ends)."""
        self._child.send_signal(number)
        wait_until(lambda: self._child.poll() is not None, f"{self.name} stops after signal {number}")
        return self._child.returncode

    def check_sanitizers(self):
        assert not SANITIZER.search(self.text()), self.tail(20000)


class Processes:
    """Everything one test has started."""

    def __init__(self):
        self._all = []

    def start(self, *args, **kwargs):
        process = Process(*args, **kwargs)
        self._all.append(process)
        return process

    def kill_all(self):
        for process in self._all:
            if process.returncode() is None:
                process.kill()

    def check_sanitizers(self):
        for process in self._all:
            process.check_sanitizers()

    def tails(self):
        return "\n".join(process.tail(1500) for process in self._all)
