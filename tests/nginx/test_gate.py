# SPDX-License-Identifier: Apache-2.0
"""remote.gate, and the same in a filter."""

import socket

import pytest

from messages import V1, up, v1

SERVER = """
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  local pra = require "prom_remote_api"
  local rules = { %s }
  gate, filter = remote.gate(rules), remote.filter { tenant = rules }
}
server {
  listen 127.0.0.1:PORT;
  location /gate { access_by_lua_block { gate() } proxy_pass http://127.0.0.1:UPSTREAM; }
  location /filter { access_by_lua_block { filter() } proxy_pass http://127.0.0.1:UPSTREAM; }
}
"""

LIST = 'allow = { "a", "b" }'


def start(serve, upstream, rules):
    return serve((SERVER % rules).replace("UPSTREAM", str(upstream.port)))


@pytest.fixture(params=["/gate", "/filter"])
def target(request):
    return request.param


def ask(nginx, target, tenant, body=None):
    headers = V1 | ({"X-Scope-OrgID": tenant} if tenant is not None else {})
    return nginx.request(target=target, body=v1(up()) if body is None else body, headers=headers)


@pytest.mark.parametrize("rules, tenant, status, arrives", [
    (LIST, "a", 204, "a"),
    (LIST, "c", 403, None),
    (LIST, "", 401, None),
    (LIST, None, 401, None),
    ('allow = { a = true, b = false }', "a", 204, "a"),
    ('allow = { a = true, b = false }', "b", 403, None),
    ("", "anyone", 204, "anyone"),
    ('default = "x"', None, 204, "x"),
    ('default = "x", ' + LIST, None, 403, None),
    ('allow = function(tenant, ctx) return tenant .. ctx.remote_addr .. ctx.path:sub(1, 1) end', "a",
     204, "a127.0.0.1/"),
    ('allow = function(tenant, ctx) return ctx:header "Content-Encoding" == "snappy" and ctx.user == "" end',
     "a", 204, "a"),
    ('allow = function() return false, "not today" end', "a", 403, None),
    ('allow = function() error(pra.reject { "gone", status = 410 }) end', "a", 410, None),
    ('allow = function() error(pra.reject "no") end', "a", 400, None),
    ('allow = function() error(pra.retry { "asking", after = 5 }) end', "a", 503, None),
])
def test_who_may_pass(serve, upstream, target, rules, tenant, status, arrives):
    nginx = start(serve, upstream, rules)
    answer = ask(nginx, target, tenant)
    assert answer.status == status
    if arrives is None:
        assert upstream.requests == [] and "<html" not in answer.text and answer.text
        assert answer.headers.get("retry-after") == ("5" if status == 503 else None)
    else:
        (got,) = upstream.requests
        assert got.headers["x-scope-orgid"] == arrives and got.names.count("x-scope-orgid") == 1
    if "not today" in rules:
        assert answer.text == "not today\n"


def test_the_body_is_not_waited_for(serve, upstream, target):
    nginx = start(serve, upstream, LIST)
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nX-Scope-OrgID: c\r\n\r\n"
                       % target.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_two_tenants(serve, upstream, target):
    nginx = start(serve, upstream, LIST)
    body = v1(up())
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
                       b"X-Scope-OrgID: a\r\nX-Scope-OrgID: c\r\nContent-Length: %d\r\n\r\n%s"
                       % (target.encode(), len(body), body))
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert upstream.requests == []


def test_an_error_is_an_error(serve, upstream, target):
    nginx = start(serve, upstream, 'allow = function() error "oops" end')
    answer = ask(nginx, target, "a")
    assert answer.status == 500 and "oops" not in answer.text
    nginx.expect_log(r"\[error\].*tenant gate failed: .*oops")


def test_a_rule_that_asks_another(serve, upstream, target):
    nginx = start(serve, upstream, f"""allow = function(tenant)
      local socket = assert(ngx.socket.tcp())
      assert(socket:connect("127.0.0.1", {upstream.port}))
      assert(socket:send("GET /" .. tenant .. " HTTP/1.0\\r\\n\\r\\n"))
      return (assert(socket:receive "*l")):find " 200 " ~= nil
    end""")
    upstream.answer = lambda got: (200 if got.path in ("/a", "/gate", "/filter") else 404, {}, b"")
    assert ask(nginx, target, "a").status == 200
    assert ask(nginx, target, "b").status == 403
    assert [got.path for got in upstream.requests] == ["/a", target, "/b"]


def test_only_the_filter_reads_the_body(serve, upstream):
    nginx = start(serve, upstream, LIST)
    assert ask(nginx, "/gate", "a", b"junk").status == 204
    assert ask(nginx, "/filter", "a", b"junk").status == 400
