# SPDX-License-Identifier: Apache-2.0
"""remote.handler: the shared handler behind content_by_lua."""

import base64
import http.client
import socket
import time

import pytest

import wire
from growth import assert_no_growth
from messages import BODY, HEADERS, READ, T, V1, V2, many, read, results, up, v1
from processes import wait_until

SERVER = """
lua_shared_dict seen 1m;
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  local pra = require "prom_remote_api"
  local storage = require "kept"
  %s
  backend = remote.handler { storage = storage, limits = { max_body_bytes = 1048576 } }
}
server {
  listen 127.0.0.1:PORT;
  client_max_body_size 32m;
  %s
  location / { content_by_lua_block { backend() } }
  location = /seen/ { content_by_lua_block { ngx.print(ngx.shared.seen:get(ngx.var.arg_key) or "") } }
}
"""


def start(serve, storage="", server="", **options):
    return serve(SERVER % (storage, server), **options)


def seen(nginx, key):
    return nginx.request("GET", f"/seen/?key={key}").text


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_written_is_read(serve, version):
    nginx = start(serve)
    answer = nginx.request(body=BODY[version](up(job="a"), up(job="b")), headers=HEADERS[version])
    assert (answer.status, answer.body) == (204, b"")
    assert answer.written == (None if version == 1 else (2, 0, 0))
    got = nginx.request(target="/api/v1/read", body=read([("job", "=", "b")]), headers=READ)
    assert results(got) == [[(up(job="b"), [(T, 1.0)])]]
    assert got.headers["content-type"] == "application/x-protobuf"
    assert got.headers["content-encoding"] == "snappy"
    assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("how", ["memory", "file", "file only"])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_from_memory_and_from_a_file(serve, how, chunked):
    nginx = start(serve, server={"memory": "client_body_buffer_size 1m;",
                                 "file": "client_body_buffer_size 1k;",
                                 "file only": "client_body_in_file_only clean;"}[how])
    body = many(4000, samples=3)
    assert len(body) > 400_000
    pieces = (body[at:at + 10_000] for at in range(0, len(body), 10_000))
    assert nginx.request(body=pieces if chunked else body, headers=V1).status == 204
    (answer,) = results(nginx.request(target="/api/v1/read", body=read(), headers=READ))
    assert len(answer) == 4000
    if how != "file only":
        assert ("is buffered to a temporary file" in nginx.log()) == (how == "file")


def test_too_large_is_said_before_the_body(serve):
    nginx = start(serve)
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n"
                       b"Content-Type: application/x-protobuf\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("server", ["client_body_buffer_size 4m;", ""])
def test_too_large_in_chunks(serve, server):
    nginx = start(serve, server=server)
    answer = nginx.request(body=[bytes(100_000)] * 20, headers=V1)
    assert answer.status == 413 and "max_body_bytes" in answer.text


@pytest.mark.parametrize("method, target, headers, body, status", [
    ("GET", "/api/v1/write", {}, b"", 405),
    ("HEAD", "/api/v1/write", {}, b"", 405),
    ("PUT", "/api/v1/read", {}, b"", 405),
    ("POST", "/", V1, b"", 404),
    ("GET", "/metrics", {}, b"", 404),
    ("POST", "/api/v1/write", {"Content-Type": "text/plain"}, b"x", 415),
    ("POST", "/api/v1/write", V1 | {"Content-Encoding": "gzip"}, b"x", 415),
    ("POST", "/api/v1/write", V1, b"", 400),
    ("POST", "/api/v1/write", V1, b"\xff\xff\xff\xff\x0f", 400),
    ("POST", "/api/v1/write", V1, wire.compress(b"\x0a\x05"), 400),
    ("POST", "/api/v1/read", READ, wire.compress(b"\x0a\x05"), 400),
    ("POST", "/push/receive?x=1", V1, v1(up()), 204),
    ("POST", "/api/v1/write", V1, v1({"job": "no name"}), 400),
])
def test_rules_are_those_of_the_shared_handler(serve, method, target, headers, body, status):
    nginx = start(serve)
    answer = nginx.request(method, target, body, headers)
    assert answer.status == status
    assert answer.headers["server"].startswith("nginx")
    if status == 405:
        assert answer.headers["allow"] == "POST"
    if status >= 400:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<html" not in answer.text
        assert bool(answer.text) == (method != "HEAD")


def test_several_requests_over_one_connection(serve):
    nginx = start(serve)
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    for body, status in [(v1(up()), 204), (b"junk", 400), (many(100), 204), (b"", 400), (v1(up()), 204)]:
        connection.request("POST", "/api/v1/write", body, V1)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, status != 204)
    connection.close()


def test_the_context(serve, tmp_path):
    (tmp_path / "users").write_text("alice:{PLAIN}secret\n")
    nginx = start(serve, """
      function storage.write(ctx, request)
        ngx.shared.seen:set("context", table.concat({ ctx.tenant, ctx.user, ctx.remote_addr, ctx.path,
          ctx.query_string, ctx:header("X-Other"), ctx.headers["x-twice"] }, " "))
      end""", f"auth_basic x; auth_basic_user_file {tmp_path}/users;")
    token = "Basic " + base64.b64encode(b"alice:secret").decode()
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        body = v1(up())
        client.sendall(b"POST /api/v1/write?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"X-Scope-OrgID: team\r\nX-Other: o\r\nX-Twice: 1\r\nx-twice: 2\r\n"
                       b"Authorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (token.encode(), len(body), body))
        assert client.recv(4096).startswith(b"HTTP/1.1 204 ")
    with_token = nginx.request("GET", "/seen/?key=context", headers={"Authorization": token})
    assert with_token.text == "team alice 127.0.0.1 /api/v1/write a=b o 1, 2"


def test_tenants_are_apart(serve):
    nginx = start(serve)
    for tenant in "a", "b":
        assert nginx.request(body=v1(up(of=tenant)), headers=V1 | {"X-Scope-OrgID": tenant}).status == 204
    got = nginx.request(target="/api/v1/read", body=read(), headers=READ | {"X-Scope-OrgID": "a"})
    assert results(got) == [[(up(of="a"), [(T, 0.0)])]]


@pytest.mark.parametrize("how, status, text, after", [
    ('error("oops")', 500, "oops", None),
    ('error(pra.reject "never")', 400, "never", None),
    ('error(pra.reject { "gone", status = 410 })', 410, "gone", None),
    ('error(pra.retry { "later", status = 429, after = 7 })', 429, "later", "7"),
    ('return nil, "why"', 500, "why", None),
    ('request:reject(1, "too old")', 400, "too old", None),
])
def test_verdicts(serve, how, status, text, after):
    nginx = start(serve, f"function storage.write(ctx, request) {how} end")
    for headers, body in (V1, v1(up())), (V2, BODY[2](up())):
        answer = nginx.request(body=body, headers=headers)
        assert answer.status == status and answer.headers.get("retry-after") == after
        if status != 500:
            assert text in answer.text
        assert answer.written == (None if headers is V1 else (0, 0, 0))
    if status == 500:
        nginx.expect_log(rf"\[error\].*remote storage: .*{text}")
        # what a traceback spreads over lines is one entry
    assert nginx.request("GET", "/api/v1/write").status == 405, "it goes on"


def test_storage_functions_may_yield(serve, upstream):
    upstream.answer = 200, {}, b"from afar"
    nginx = start(serve, f"""
      local function ask()
        local socket = assert(ngx.socket.tcp())
        assert(socket:connect("127.0.0.1", {upstream.port}))
        assert(socket:send "GET / HTTP/1.0\\r\\n\\r\\n")
        local answer = assert(socket:receive "*a")
        socket:close()
        return answer:match "[^\\n]*$"
      end
      function storage.write(ctx, request)
        for series in request:series() do
          kept_label = ask()
          assert(series.labels.job == "a")
        end
        assert(ngx.location.capture("/seen/?key=none").status == 200)
      end
      function storage.process_query(ctx, query, sink)
        sink:add {{ labels = {{ __name__ = "up", said = ask() }}, timestamps = {{ {T} }}, values = {{ 1 }} }}
        ngx.sleep(0.001)
      end""")
    assert nginx.request(body=v1(up(job="a")), headers=V1).status == 204
    got = nginx.request(target="/api/v1/read", body=read(), headers=READ)
    assert results(got) == [[(up(said="from afar"), [(T, 1.0)])]]
    assert len(upstream.requests) == 2


def test_queries_are_asked_at_the_same_time(serve):
    # Each waits until all have begun: one after the other they would never end.
    nginx = start(serve, """
      function storage.process_query(ctx, query, sink)
        local seen = ngx.shared.seen
        seen:incr("begun", 1, 0)
        local tries = 0
        while seen:get "begun" < 3 do
          tries = tries + 1
          if tries > 3000 then error("alone") end
          ngx.sleep(0.01)
        end
        sink:add { labels = { __name__ = "up", q = query.matchers[1].value }, timestamps = { 1 },
                   values = { 1 } }
      end""")
    queries = [[("q", "=", name)] for name in ("x", "y", "z")]
    got = results(nginx.request(target="/api/v1/read", body=read(*queries), headers=READ))
    assert [[labels["q"] for labels, _ in one] for one in got] == [["x"], ["y"], ["z"]]


def test_an_error_in_one_of_the_queries(serve):
    nginx = start(serve, """
      function storage.process_query(ctx, query, sink)
        ngx.sleep(0.001)
        if query.matchers[1].value == "y" then error(pra.reject { "no y", status = 422 }) end
      end""")
    queries = [[("q", "=", name)] for name in ("x", "y", "z")]
    answer = nginx.request(target="/api/v1/read", body=read(*queries), headers=READ)
    assert answer.status == 422 and "no y" in answer.text


LARGE = """
  local stamps, values = {}, {}
  for i = 1, 100000 do stamps[i], values[i] = 1700000000000 + i * 1000, math.sin(i) end
  function storage.process_query(ctx, query, sink)
    for i = 1, 30 do
      sink:add { labels = { __name__ = "up", n = ("%02d"):format(i) }, timestamps = stamps, values = values }
    end
  end"""


def large_read(version="1.1"):
    body = read(end=T + 10**12, streamed=True)
    return (f"POST /api/v1/read HTTP/{version}\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


def test_streamed_answers(serve):
    nginx = start(serve, LARGE)
    got = nginx.request(target="/api/v1/read", body=read(end=T + 10**12, streamed=True), headers=READ)
    assert got.status == 200 and got.headers["transfer-encoding"] == "chunked"
    assert got.headers["content-type"].startswith("application/x-streamed-protobuf")
    assert frame_series(got.body) == {f"{i:02d}": 100_000 for i in range(1, 31)}


def test_streamed_answers_in_http_1_0(serve):
    nginx = start(serve, LARGE)
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(large_read("1.0"))
        head, _, raw = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"chunked" not in head
    assert frame_series(raw) == {f"{i:02d}": 100_000 for i in range(1, 31)}


def frame_series(raw):
    """Samples by label n; without checksums, of which Python would be slow to make so many."""
    out, at = {}, 0
    while at < len(raw):
        size, at = wire.read_varint(raw, at)
        body = raw[at + 4:at + 4 + size]
        at += 4 + size
        (one,) = [value for field, value in wire.fields(body) if field == 1]
        parts = list(wire.fields(one))
        labels = dict((f[1].decode(), f[2].decode())
                      for f in (dict(wire.fields(p)) for n, p in parts if n == 1))
        chunks = [dict(wire.fields(p)) for n, p in parts if n == 2]
        count = sum(int.from_bytes(c[4][:2], "big") for c in chunks)
        out[labels["n"]] = out.get(labels["n"], 0) + count
    return out


def test_a_slow_reader_holds_up_nobody(serve):
    nginx = start(serve, LARGE)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", nginx.port))
        slow.sendall(large_read())
        assert slow.recv(100).startswith(b"HTTP/1.1 200 ")
        for _ in range(20):  # the only worker has time for others
            assert nginx.request(body=v1(up()), headers=V1).status == 204
        received = 0
        while piece := slow.recv(1 << 16):
            received += len(piece)
    assert received > 5_000_000


def test_a_reader_that_goes_away(serve):
    nginx = start(serve, LARGE)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", nginx.port)) as client:
            client.sendall(large_read())
            client.recv(100)
    assert nginx.request(body=v1(up()), headers=V1).status == 204


ENDLESS = """
  function storage.process_query(ctx, query, sink)
    while true do
      ngx.shared.seen:incr("turns", 1, 0)
      ngx.sleep(0.005)
    end
  end
  function storage.write(ctx, request)
    for i = 1, 40 do
      ngx.shared.seen:incr("turns", 1, 0)
      ngx.sleep(0.005)
    end
    ngx.shared.seen:set("written", "yes")
  end"""


def test_a_read_ends_with_its_client(serve):
    nginx = start(serve, ENDLESS, "lua_check_client_abort on;")
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(large_read())
        wait_until(lambda: int(seen(nginx, "turns") or 0) > 3, "the query is at work")

    def rests():
        before = seen(nginx, "turns")
        time.sleep(0.1)
        return seen(nginx, "turns") == before
    wait_until(rests, "the query has ended")


def test_a_write_does_not_end_with_its_client(serve):
    nginx = start(serve, ENDLESS, "lua_check_client_abort on;")
    body = v1(up())
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        wait_until(lambda: int(seen(nginx, "turns") or 0) > 3, "the write is at work")
    wait_until(lambda: seen(nginx, "written") == "yes", "it is written")


def test_two_workers(serve):
    nginx = start(serve, workers=2)
    for _ in range(40):
        assert nginx.request(body=v1(up()), headers=V1).status == 204
    assert len(nginx.worker_pids()) == 2


def test_no_growth(serve):
    nginx = start(serve, """function storage.write(ctx, request)
      for series in request:series() do assert(series.labels.job) end
    end""")
    body = many(500, samples=4)
    assert_no_growth(nginx, lambda: nginx.request(body=body, headers=V1).status == 204)
