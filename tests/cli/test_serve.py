# SPDX-License-Identifier: Apache-2.0
"""pra serve: flags, log lines, signals and errors."""

import http.client
import json
import re
import signal
import socket
import sqlite3
import time

import pytest

from rawproto import block, field, message, packed
from serving import GUARD_S, WRITE, run


def test_help_and_version():
    assert run().returncode == 0
    assert "serve" in run("help").stdout
    assert re.fullmatch(r"pra \d+\.\d+\.\d+\n", run("--version").stdout)
    flags = run("serve", "--help")
    assert run("help", "serve").stdout == flags.stdout
    assert run("help", "srve").returncode == 2
    assert flags.returncode == 0 and flags.stderr == ""
    for name in ("--storage=sqlite:./prom.db", "--storage.retention=0",
                 "--web.listen-address=127.0.0.1:9201", "--web.idle-timeout=6m",
                 "--limit.body-size=32MiB", "--tenant.header=X-Scope-OrgID"):
        assert name in flags.stdout
    told = re.findall(r"^(  --\S+ +)\S", flags.stdout, re.M)
    assert len(told) > 20 and len({len(name) for name in told}) == 1


@pytest.mark.parametrize("args, says", [
    (["srve"], 'did you mean "serve"?'),
    (["serve", "--storge=memory"], "did you mean --storage?"),
    (["serve", "--log.level=loud"], "--log.level is debug, info, warn or error"),
    (["serve", "--storage.retention=90"], "a duration such as"),
    (["serve", "--limit.body-size=lots"], "a size such as"),
    (["serve", "--web.workers=0"], "--web.workers is a number from 1 to"),
    (["serve", "memory"], 'unexpected word "memory"'),
    (["serve", "--external-label=region"], "--external-label is NAME=VALUE"),
    (["serve", "--external-label==eu"], "--external-label is NAME=VALUE"),
    (["serve", "--web.remote-write-receiver.accepted-protobuf-messages=v2"],
     "is prometheus.WriteRequest or io.prometheus.write.v2.Request"),
    (["serve", "--storage.remote.read-sample-limit=many"], "a number"),
    (["serve", "--read.delay=5"], "a duration such as"),
])
def test_wrong_usage_exits_with_2(args, says, tmp_path):
    result = run(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_first_lines_say_where_and_what_next(serve):
    server = serve("--storage=memory")
    assert re.match(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info msg=listening "
                    rf"address=127.0.0.1:{server.port}$", server.wait_for("msg=listening"))
    server.wait_for(f"http://127.0.0.1:{server.port}/ for the lines to add to prometheus.yml")
    status, page = server.request("GET", "/")
    assert status == 200 and "memory" in page and "/api/v1/write" in page
    assert not [line for line in server.lines if "level=warn" in line]


def test_other_addresses_are_warned_about(serve):
    server = serve("--storage=memory", listen="0.0.0.0:0")
    server.wait_for("there is no authentication")


def test_json_log(serve):
    server = serve("--storage=memory", "--log.format=json")
    server.write(b"junk")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.lines if line]
    assert {"time", "level", "msg"} <= set.intersection(*map(set, lines))
    refused = next(line for line in lines if line["msg"] == "request refused")
    assert refused["level"] == "warn" and refused["code"] == 400
    assert refused["target"] == "/api/v1/write" and refused["remote"].startswith("127.0.0.1:")


def test_json_log_of_bytes_that_are_no_text(serve):
    server = serve("--storage=memory", "--log.format=json")
    with server.connect() as connection:
        connection.sendall(b'POST /\xff"\\write HTTP/1.1\r\nHost: a\r\n\r\n')
        assert b" 404 " in connection.recv(100)
    assert json.loads(server.wait_for("request refused"))["target"] == '/\ufffd"\\write'


def test_log_level(serve):
    server = serve("--storage=memory")
    quiet = run("serve", "--storage=memory", "--log.level=error",
                f"--web.listen-address=127.0.0.1:{server.port}")
    assert quiet.returncode == 1
    assert quiet.stderr.count("\n") == 1 and "level=error" in quiet.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_well(serve, number):
    server = serve("--storage=sqlite:./prom.db")
    assert server.write()[0] == 204
    idle = server.connect()
    idle.sendall(b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nready\n"):
        answer += idle.recv(1000)
    assert server.stop(number) == 0
    assert idle.recv(1) == b""
    assert "msg=stopped" in server.lines[-2]


def test_request_in_flight_is_finished(serve):
    server = serve("--storage=memory")
    with server.connect() as connection:
        connection.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           b"Content-Type: application/x-protobuf\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(WRITE))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.child.send_signal(signal.SIGTERM)
        server.wait_for("msg=stopping")
        connection.sendall(WRITE)
        assert connection.recv(100).startswith(b"HTTP/1.1 204")
    assert server.child.wait(GUARD_S) == 0


def test_second_signal_ends_it_at_once(serve):
    server = serve("--storage=memory", "--shutdown-grace=1h")
    with server.connect() as connection:
        connection.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           b"Content-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.child.send_signal(signal.SIGTERM)
        server.wait_for("msg=stopping")
        while server.child.poll() is None:  # the first one may still be taken away by sigwait
            server.child.send_signal(signal.SIGTERM)
            try:
                server.child.wait(0.05)
            except Exception:
                pass
        assert server.child.returncode == -signal.SIGTERM


def test_grace_is_an_end(serve):
    server = serve("--storage=memory", "--shutdown-grace=50ms")
    with server.connect() as connection:
        connection.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           b"Content-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        assert server.stop() == 0
    server.wait_for("requests were cut off")


def test_port_in_use_names_the_remedy(serve):
    server = serve("--storage=memory")
    result = run("serve", "--storage=memory", f"--web.listen-address=127.0.0.1:{server.port}")
    assert result.returncode == 1
    assert "another program uses this port" in result.stderr


def test_missing_directory_names_the_remedy(tmp_path):
    result = run("serve", "--storage=sqlite:no/such/prom.db", "--web.listen-address=127.0.0.1:0",
                 cwd=tmp_path)
    assert result.returncode == 1
    assert "mkdir -p no/such" in result.stderr


@pytest.mark.parametrize("make, says", [
    (lambda path: path.mkdir(), "--storage=sqlite:my.db is a directory"),
    (lambda path: path.write_text("hello\n" * 100), "--storage=sqlite:my.db: "),
    (lambda path: sqlite3.connect(path).execute("CREATE TABLE songs (name)"),
     "--storage=sqlite:my.db: the file is an SQLite database of another program"),
])
def test_a_file_that_is_no_store_is_named(tmp_path, make, says):
    make(tmp_path / "my.db")
    result = run("serve", "--storage=sqlite:my.db", "--web.listen-address=127.0.0.1:0", cwd=tmp_path)
    assert result.returncode == 1
    assert says in result.stderr


def test_store_in_use_is_refused(serve, tmp_path):
    serve("--storage=sqlite:prom.db")
    result = run("serve", "--storage=sqlite:prom.db", "--web.listen-address=127.0.0.1:0",
                 cwd=tmp_path)
    assert result.returncode == 1
    assert "is in use" in result.stderr


def test_unknown_storage_is_refused(tmp_path):
    result = run("serve", "--storage=tape:/dev/st0", "--web.listen-address=127.0.0.1:0",
                 cwd=tmp_path)
    assert result.returncode == 1
    assert "sqlite:PATH" in result.stderr


def test_several_addresses(serve):
    server = serve("--storage=memory", "--web.listen-address=127.0.0.1:0")
    ports = [int(line.rpartition(":")[2]) for line in server.lines if "msg=listening" in line]
    server.wait_for("prometheus.yml")
    ports = [int(line.rpartition(":")[2]) for line in server.lines if "msg=listening" in line]
    assert len(set(ports)) == 2
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=GUARD_S) as connection:
            connection.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
            assert b" 200 " in connection.recv(100)


def test_limits_can_be_set_and_switched_off(serve):
    small = serve("--storage=memory", "--limit.body-size=20")
    status, body = small.write()
    assert status == 413 and "--limit.body-size" in body
    assert serve("--storage=memory", "--limit.body-size=0").write()[0] == 204
    status, body = serve("--storage=memory", "--limit.decoded-size=20").write()
    assert status == 400 and "--limit.decoded-size" in body
    status, body = serve("--storage=memory", "--limit.label-name-length=4B").write()
    assert status == 400 and "--limit.label-name-length" in body


# Two queries with a matcher each: {a=~"[c-e]"}.
READ = b"\x20\x7c" + 2 * b"\x0a\x0e\x1a\x0c\x08\x02\x12\x01a\x1a\x05[c-e]"


@pytest.mark.parametrize("flag", ["--limit.read-queries=1", "--limit.read-matchers=1",
                                  "--limit.pattern-length=4B", "--limit.pattern-memory=1B"])
def test_limits_of_reads_name_their_flag(serve, flag):
    assert serve("--storage=memory").request("POST", "/api/v1/read", READ)[0] == 200
    status, body = serve("--storage=memory", flag).request("POST", "/api/v1/read", READ)
    assert status == 400 and flag.partition("=")[0] in body


def read_up(server, *matchers, streamed=False):
    """Status and body of a read of the series up, at any time."""
    all_of_time = [(1, -(1 << 63)), (2, (1 << 63) - 1)]
    equal = [(3, [(2, name), (3, value)]) for name, value in ((b"__name__", b"up"), *matchers)]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=GUARD_S)
    connection.request("POST", "/api/v1/read", block(message(
        [(1, all_of_time + equal), (2, packed(int(streamed)))])))
    answer = connection.getresponse()
    return answer.status, answer.read()


def series(labels, *timestamps_ms):
    """A write of one series, its values 1."""
    return block(message([(1, [*((1, [(1, name), (2, value)]) for name, value in labels),
                               *((2, [(1, 1.0), (2, then)]) for then in timestamps_ms)])]))


def test_limit_of_samples_in_an_answer(serve):
    server = serve("--storage=memory", "--storage.remote.read-sample-limit=1")
    assert server.write(series([(b"__name__", b"up")], 1, 2))[0] == 204
    status, body = read_up(server)
    assert status == 400 and b"--storage.remote.read-sample-limit" in body
    assert read_up(server, streamed=True)[0] == 200


def test_external_labels(serve):
    server = serve("--storage=memory", "--external-label=region=eu", "--external-label=a=b=c")
    assert server.write()[0] == 204
    status, body = read_up(server, streamed=True)
    assert status == 200 and all(field(1, name) + field(2, value) in body
                                 for name, value in ((b"region", b"eu"), (b"a", b"b=c")))
    assert b"up" in read_up(server, (b"region", b"eu"), streamed=True)[1]
    assert b"up" not in read_up(server, (b"region", b"us"), streamed=True)[1]


def test_ignored_matchers(serve):
    for flags, there in ([], False), (["--read.ignore-label=x", "--read.ignore-label=y"], True):
        server = serve("--storage=memory", *flags)
        assert server.write()[0] == 204
        status, body = read_up(server, (b"y", b"z"), streamed=True)
        assert status == 200 and (b"up" in body) == there


def test_times_that_are_not_read(serve):
    now = int(time.time() * 1000)
    for flags, known in (([], {b"old", b"new"}), (["--read.max-age=1d"], {b"new"}),
                         (["--read.delay=1h"], {b"old"}),
                         (["--read.delay=1h", "--read.max-age=1d"], set())):
        server = serve("--storage=memory", *flags)
        for name, then in (b"old", now - 3 * 86_400_000), (b"new", now - 60_000):
            assert server.write(series([(b"__name__", b"up"), (b"age", name)], then))[0] == 204
        status, body = read_up(server, streamed=True)
        assert status == 200
        assert {name for name in (b"old", b"new") if name in body} == known


def test_strict(serve):
    unsorted = series([(b"b", b"1"), (b"__name__", b"up")], 1)
    for flags, status in ([], 204), (["--strict"], 400), (["--strict", "--no-strict"], 204):
        server = serve("--storage=memory", *flags)
        assert server.write(unsorted)[0] == status
        assert server.write()[0] == 204


FIRST, SECOND = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"


@pytest.mark.parametrize("given, accepted", [
    ([], {FIRST, SECOND}), ([FIRST], {FIRST}), ([SECOND], {SECOND}),
    ([f"{FIRST},{SECOND}"], {FIRST, SECOND}), ([SECOND, FIRST], {FIRST, SECOND}),
])
def test_accepted_messages(serve, given, accepted):
    server = serve("--storage=memory", *(
        f"--web.remote-write-receiver.accepted-protobuf-messages={name}" for name in given))
    # symbols "", "__name__", "up"; series 1 of them with a sample
    second = block(message([(4, b""), (4, b"__name__"), (4, b"up"),
                            (5, [(1, packed(1, 2)), (2, [(1, 1.0), (2, 2)])])]))
    for name, body in (FIRST, WRITE), (SECOND, second):
        status = server.request("POST", "/api/v1/write", body,
                                Content_Type=f"application/x-protobuf;proto={name}")[0]
        assert status == (204 if name in accepted else 415)
    text = server.request("GET", "/metrics")[1]
    assert ('pra_requests_total{endpoint="write",version="2.0",code="204"} 1\n' in text) == \
        (SECOND in accepted)


def test_warnings_that_clients_cause_are_limited(serve):
    server = serve("--storage=memory")
    junk = b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\njunk"
    with server.connect() as connection:
        while not [line for line in server.lines if re.search("request refused.* dropped=[1-9]", line)]:
            connection.sendall(junk * 50)  # until it was faster than the limit
            answers = b""
            while answers.count(b"HTTP/1.1 400 ") < 50:
                answers += connection.recv(65536) or pytest.fail("closed")
    assert server.stop() == 0


def test_connections_fit_into_the_limit_of_open_files(serve):
    server = serve("--storage=memory", "--log.level=debug", open_files=64)
    server.wait_for("max_connections=")
    held = [server.connect() for _ in range(80)]
    for connection in held:
        connection.close()
    while server.try_write() != 204:
        pass
    assert server.stop() == 0
    assert not [line for line in server.lines if "Too many open files" in line]


def test_metrics_are_well_formed(serve):
    server = serve("--storage=sqlite:./prom.db")
    assert server.write()[0] == 204
    status, text = server.request("GET", "/metrics")
    assert status == 200
    told = {"HELP": set(), "TYPE": set()}
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, _ = line.split(" ", 3)
            assert name not in told[what], line
            told[what].add(name)
        else:
            name = re.fullmatch(r'([a-z_]+)(\{[^}]*\})? [-+.e0-9]+', line).group(1)
            name = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in told["HELP"] and name in told["TYPE"], line
