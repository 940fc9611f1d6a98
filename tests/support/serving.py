# SPDX-License-Identifier: Apache-2.0
"""Starting the program pra, and talking to it."""

import ctypes
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRA = pathlib.Path(os.environ.get("PRA_BUILD_DIR", ROOT / "build" / "asan")) / "bin" / "pra"
GUARD_S = 300  # ends a test that hangs
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# {__name__="up"} 1 @ 1 ms in a WriteRequest, as a snappy block of one literal.
WRITE = (b"\x1f\x78\x0a\x1d\x0a\x0e\x0a\x08__name__\x12\x02up"
         b"\x12\x0b\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01")


def run(*args, **kwargs):
    """Runs pra to its end."""
    return subprocess.run([PRA, *args], capture_output=True, text=True, timeout=GUARD_S,
                          stdin=subprocess.DEVNULL, **kwargs)


class Serve:
    """A running `pra serve` and its log lines."""

    def __init__(self, *flags, cwd, listen="127.0.0.1:0", open_files=None):
        def prepare():
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # not to outlive the test
            if open_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        self.child = subprocess.Popen(
            [PRA, "serve", f"--web.listen-address={listen}", *flags], cwd=cwd,
            preexec_fn=prepare, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        self.tls = None  # an ssl.SSLContext to connect with
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_it_listens(self):
        address = re.search(r'address[="]+:?"?([^\s"}]+)', self.wait_for("listening")).group(1)
        self.port = int(address.rpartition(":")[2])

    def _read(self):
        for line in self.child.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.lines.append("")  # the end
            self._changed.notify_all()

    def wait_for(self, text):
        """The first line that holds text."""
        def found():
            return [line for line in self.lines if text in line] or "" in self.lines
        with self._changed:
            assert self._changed.wait_for(found, GUARD_S), f"no {text!r} in {self.lines}"
            lines = [line for line in self.lines if text in line]
        assert lines, f"ended without {text!r}: {self.lines}"
        return lines[0]

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=GUARD_S)
        return self.tls.wrap_socket(plain, server_hostname="localhost") if self.tls else plain

    def request(self, method, path, body=b"", **headers):
        """Status and body of one request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close",
                 f"Content-Length: {len(body)}",
                 *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        with self.connect() as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest.decode()

    def write(self, body=WRITE, **headers):
        return self.request("POST", "/api/v1/write", body,
                            Content_Type="application/x-protobuf", **headers)

    def try_write(self):
        """Status of a write, None if the connection was closed before its answer."""
        try:
            return self.write()[0]
        except (OSError, IndexError):
            return None

    def stop(self, number=signal.SIGTERM):
        """Sends the signal and returns the exit code."""
        self.child.send_signal(number)
        code = self.child.wait(GUARD_S)
        self._reader.join(GUARD_S)
        assert "Sanitizer" not in "\n".join(self.lines)
        return code
