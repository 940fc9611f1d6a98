# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, most of them slow or greedy: what they cost, and that others are served."""

import contextlib
import re
import resource
import threading

import pytest

from rawproto import block, flood
from serving import GUARD_S, PRA, WRITE

MIB = 1 << 20

SANITIZED = b"__asan_init" in PRA.read_bytes()
HEAD = b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
KEEP = HEAD + LENGTH % len(WRITE) + WRITE


def most_memory(server):
    """The most the server ever needed, in bytes."""
    with open(f"/proc/{server.child.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024


@pytest.fixture(autouse=True)
def no_quarantine(monkeypatch):
    """What a sanitizer keeps of freed memory is no cost of ours."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")


@pytest.fixture
def many_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_idle_and_slow_clients(serve, many_files):
    """1,000 that do nothing and 1,000 that send a byte each second, in their heads or bodies."""
    server, stop, rounds, wrong = serve("--storage=memory", "--web.read-timeout=1h"), threading.Event(), [], []
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(1000)]
        for one in idle:
            one.sendall(KEEP)
            assert one.recv(4096).startswith(b"HTTP/1.1 204 ")
        base = most_memory(server)
        slow = [stack.enter_context(server.connect()) for _ in range(1000)]

        def trickle():
            for number, one in enumerate(slow):
                one.sendall(HEAD + LENGTH % 1000 if number % 2 else HEAD + b"X: ")
            while not stop.wait(1):
                rounds.append(None)
                for one in slow:
                    with contextlib.suppress(OSError):  # cut off: its time was up
                        one.sendall(b"a")

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            while len(rounds) < 3:
                if server.write()[0] != 204 or server.request("GET", "/-/healthy")[0] != 200:
                    wrong.append("not served")
            for one in idle[::10]:
                one.sendall(KEEP)
                wrong += [] if one.recv(4096).startswith(b"HTTP/1.1 204 ") else ["idle one lost"]
            open_now = int(re.search(r"^pra_connections (\d+)$",
                                     server.request("GET", "/metrics")[1], re.M).group(1))
        finally:
            stop.set()
            sender.join()
    assert not wrong
    assert open_now >= 1500  # those that send heads may have been cut off by now
    each = (256 if SANITIZED else 64) << 10
    assert base < 1000 * each + 32 * MIB
    assert most_memory(server) - base < 1000 * each
    assert server.stop() == 0


def test_maximal_bodies(serve):
    """Never more memory than bodies may wait plus what requests in work may take."""
    body, memory, pending, workers = 8 * MIB, 32 * MIB, 64 * MIB, 2
    server = serve("--storage=memory", f"--web.workers={workers}", f"--limit.body-size={body}",
                   f"--limit.decoded-size={4 * body}", f"--limit.request-memory={memory}",
                   f"--limit.pending-memory={pending}")
    base = most_memory(server)
    incompressible = block(b"\x72" + b"\xf0\xff\xff\x03" + b"x" * (body - 64 - 5))[:body]
    bodies = [incompressible, flood(b"\x0a\0"), flood(b"\x70\0"), b"\xff" * body]
    statuses = set()

    def client(number):
        for round_ in range(3):
            content = bodies[(number + round_) % len(bodies)]
            with server.connect() as connection:
                if number % 3:
                    data = HEAD + LENGTH % len(content) + content
                else:
                    data = (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" +
                            b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))
                with contextlib.suppress(OSError):
                    connection.sendall(data)
                    statuses.add(connection.recv(4096)[9:12])

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(GUARD_S)
    assert statuses - {b""} <= {b"204", b"400", b"413", b"503"} and b"413" in statuses
    assert most_memory(server) - base < pending + workers * (body + memory) + 48 * MIB
    assert server.write()[0] == 204
    assert server.stop() == 0
