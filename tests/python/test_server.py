"""Server and serve()."""

from __future__ import annotations

import gc
import http.client
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import prom_remote_api as pra
import wire
from hosts import ServerHost

UP = {"__name__": "up"}


class Sink(pra.Storage):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass


def test_port_and_url() -> None:
    with pra.Server(Sink(), "127.0.0.1:0") as server:
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"


def test_stop_twice_and_start_after_stop() -> None:
    server = pra.Server(Sink(), "127.0.0.1:0")
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(RuntimeError):
        server.start()


def test_never_started() -> None:
    pra.Server(Sink(), "127.0.0.1:0").stop()
    server = pra.Server(Sink(), "127.0.0.1:0")
    del server
    gc.collect()


def test_dropped_while_it_runs() -> None:
    server = pra.Server(Sink(), "127.0.0.1:0")
    server.start()
    port = server.port
    del server
    gc.collect()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port).connect()


def test_address_that_is_none() -> None:
    for listen in ("nonsense", "127.0.0.1:99999"):
        with pytest.raises(pra.Error):
            pra.Server(Sink(), listen)


def test_callbacks_run_at_the_same_time() -> None:
    """Workers wait for each other inside the storage: none holds the GIL against the others."""
    barrier = threading.Barrier(4)

    class Meets(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            barrier.wait()

        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            barrier.wait()
            yield UP, [(1, 1.0)]

    statuses: list[int] = []
    with ServerHost(Meets(), workers=4) as host:
        calls = [lambda: host.write_series((UP, [(1, 1.0)])), lambda: host.read(wire.query(0, 9, []))] * 2
        threads = [threading.Thread(target=lambda c=c: statuses.append(c().status)) for c in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(statuses) == [200, 200, 204, 204]


def test_stop_waits_for_what_is_in_flight() -> None:
    entered, leave = threading.Event(), threading.Event()

    class Slow(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            entered.set()
            leave.wait()

    statuses: list[int] = []
    host = ServerHost(Slow(), grace=60)
    client = threading.Thread(target=lambda: statuses.append(host.write_series((UP, [(1, 1.0)])).status))
    client.start()
    entered.wait()
    stopper = threading.Thread(target=host.close)
    stopper.start()
    time.sleep(0.05)
    assert stopper.is_alive()
    leave.set()
    stopper.join()
    client.join()
    assert statuses == [204]


def test_load_from_many_threads() -> None:
    """Errors and answers mixed; every sender gets what belongs to it."""

    class Moody(pra.Storage):
        def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
            mood = request[0].labels["mood"]
            if mood == "reject":
                raise pra.Reject("no", status=422)
            if mood == "retry":
                raise pra.Retry("later")
            if mood == "bug":
                raise KeyError(mood)

        def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[Any]:
            for i in range(20):
                yield {"i": str(i), "end": str(query.end_ms)}, [(query.end_ms, float(i))]

    wanted = {"fine": 204, "reject": 422, "retry": 503, "bug": 500}
    failures: list[Any] = []

    def client(number: int) -> None:
        for i in range(25):
            for mood, status in wanted.items():
                answer = host.write_series(({"__name__": "m", "mood": mood}, [(1, 1.0)]))
                if answer.status != status:
                    failures.append(answer)
            end = 1 + number * 1000 + i
            (result,) = host.read(wire.query(0, end, [])).results
            if [labels["end"] for labels, _ in result] != [str(end)] * 20:
                failures.append(result)

    with ServerHost(Moody(), on_error=lambda *_: None) as host:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


PROGRAM = """
    import os, signal, sys, threading
    import prom_remote_api as pra

    class Sink(pra.Storage):
        def write(self, ctx, request):
            pass

    {body}
    print("ended", flush=True)
"""


def run(body: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(PROGRAM).replace("{body}", textwrap.dedent(body))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(number: signal.Signals) -> None:
    """It stops gracefully, returns, and leaves the signal handlers as they were."""
    result = run(f"""
        before = signal.getsignal({int(number)})
        def end():
            while signal.getsignal({int(number)}) is before:
                threading.Event().wait(0.01)
            os.kill(os.getpid(), {int(number)})
        threading.Thread(target=end).start()
        pra.serve(Sink(), "127.0.0.1:0")
        assert signal.getsignal({int(number)}) is before
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr
    assert "http://127.0.0.1:" in result.stderr


def test_serve_until_a_signal_that_another_thread_takes() -> None:
    """The kernel may choose any of them; the main one is not woken then."""
    result = run("""
        before, main = signal.getsignal(signal.SIGTERM), threading.get_ident()
        def is_waiting():
            return signal.getsignal(signal.SIGTERM) is not before and sys._current_frames()[main].f_code.co_name == "wait"
        def end():
            while not is_waiting():
                threading.Event().wait(0.01)
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        threading.Thread(target=end).start()
        pra.serve(Sink(), "127.0.0.1:0")
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_wait_until_a_signal_at_any_moment() -> None:
    """Between any two steps of the interpreter: the handler never waits for what its own thread has."""
    result = run("""
        def at_step(number):
            left = number
            def trace(frame, event, _):
                nonlocal left
                if not frame.f_code.co_filename.endswith(("_server.py", "threading.py")):
                    return None
                frame.f_trace_opcodes = True
                left -= event == "opcode"
                if left == 0 and event == "opcode":
                    signal.raise_signal(signal.SIGTERM)
                return trace
            server, done = pra.Server(Sink(), "127.0.0.1:0"), []
            def also_later():
                while not done:
                    threading.Event().wait(0.005)
                    os.kill(os.getpid(), signal.SIGTERM)
            thread = threading.Thread(target=also_later)
            thread.start()
            sys._getframe().f_trace_opcodes = True  # 3.12 looks for it here
            sys.settrace(trace)
            server.wait()
            sys.settrace(None)
            done.append(True)
            thread.join()
            return left <= 0
        signal.signal(signal.SIGTERM, lambda *_: None)  # for those before and after the wait
        number = 1
        while at_step(number):
            number += 1
        assert number > 50, number
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_serve_in_a_thread_that_is_not_the_main_one() -> None:
    result = run("""
        thread = threading.Thread(target=pra.serve, args=(Sink(), "127.0.0.1:0"), daemon=True)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


@pytest.mark.parametrize("start", ["", "server.start()"])
def test_a_server_left_alone_at_exit(start: str) -> None:
    result = run(f"""
        server = pra.Server(Sink(), "127.0.0.1:0")
        {start or "pass"}
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_exit_with_requests_in_flight() -> None:
    """The interpreter goes away under senders that do not stop."""
    result = run("""
        import http.client
        server = pra.Server(Sink(), "127.0.0.1:0")
        server.start()
        answered = 0
        def send():
            global answered
            try:
                while True:
                    c = http.client.HTTPConnection("127.0.0.1", server.port)
                    c.request("POST", "/write", b"\\0", {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"})
                    c.getresponse().read()
                    c.close()
                    answered += 1
            except (OSError, http.client.HTTPException):
                pass  # the traceback of a daemon thread can abort an interpreter that ends
        for _ in range(4):
            threading.Thread(target=send, daemon=True).start()
        while answered < 100:
            threading.Event().wait(0.01)
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr
    assert "Fatal" not in result.stderr


def test_fork_under_a_running_server() -> None:
    """The child ends as usual; the parent's server goes on."""
    result = run("""
        import http.client
        def busy(task):  # a fork at that moment could take along a lock of the sanitizer's allocator
            with open(f"/proc/self/task/{task}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] != "S"
        with pra.Server(Sink(), "127.0.0.1:0") as server:
            while any(busy(task) for task in os.listdir("/proc/self/task") if int(task) != os.getpid()):
                threading.Event().wait(0.01)
            pid = os.fork()
            if pid == 0:
                sys.exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", "/-/healthy")
            assert connection.getresponse().status == 200
            connection.close()
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_fork_after_import() -> None:
    result = run("""
        pid = os.fork()
        with pra.Server(Sink(), "127.0.0.1:0") as server:
            assert server.port
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_other_interpreters_are_refused() -> None:
    """The main one goes on."""
    result = run("""
        if sys.version_info < (3, 13):
            import _xxsubinterpreters as interpreters
        else:
            import _interpreters as interpreters
        other = interpreters.create()
        refused = None
        for _ in range(2):
            try:  # newer versions return the exception
                refused = interpreters.run_string(other, "import prom_remote_api").formatted
            except AttributeError:
                raise AssertionError("not refused")
            except getattr(interpreters, "RunFailedError", ()) as error:
                refused = str(error)
            assert "ImportError" in refused and "interpreter" in refused, refused
        interpreters.destroy(other)
        assert pra.WriteRequest.decode(b"\\0").labels == []
        with pra.Server(Sink(), "127.0.0.1:0") as server:
            assert server.port
    """)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_logs_of_the_server_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "prom_remote_api"):
        with ServerHost(Sink()) as host:
            assert host.post("/api/v1/write", {}, b"").status >= 400
    assert any(record.name == "prom_remote_api" for record in caplog.records)


def test_environment_is_the_one_to_test() -> None:
    """The suite tests what was built, or installed where it runs, not what happens to be somewhere else."""
    places = os.environ.get("PYTHONPATH") or sysconfig.get_path("platlib")
    assert any(os.path.samefile(os.path.join(os.path.dirname(pra.__file__), ".."), path)
               for path in places.split(os.pathsep))  # fmt: skip


def test_no_gil() -> None:
    """A free-threaded interpreter that runs without it."""
    command = "import sys; sys._is_gil_enabled = lambda: False\nimport prom_remote_api"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert result.returncode == 1
    assert "ImportError: prom_remote_api needs the GIL" in result.stderr
