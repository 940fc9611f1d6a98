# SPDX-License-Identifier: Apache-2.0
"""The storages that come with the package, inside nginx: Redis over cosockets, a relay over internal
locations."""

import concurrent.futures

import pytest

from messages import BODY, HEADERS, READ, T, V1, read, results, up, v1
from nginx import Nginx, example
from receivers import RedisServer
from test_filter import said

SERVER = """
init_by_lua_block {
  local storage = require("prom_remote_api.storages.%s").new(%s)
  backend = require("prom_remote_api.nginx").handler { storage = storage }
}
server {
  listen 127.0.0.1:PORT;
  location /api/v1/ { content_by_lua_block { backend() } }
  %s
}
"""


@pytest.fixture
def redis(serve, processes, tmp_path):
    server = RedisServer(processes, tmp_path)
    return serve(SERVER % ("redis", f'{{ host = "127.0.0.1", port = {server.port}, timeout = 600 }}', ""), workers=2)


def test_memory_is_for_one_worker(serve):
    with pytest.raises(AssertionError, match=r"init_by_lua.*nginx has 2: set worker_processes 1"):
        serve(SERVER % ("memory", "", ""), workers=2)


def readings(nginx, tenant=None):
    headers = READ | ({"X-Scope-OrgID": tenant} if tenant else {})
    (got,) = results(nginx.request(target="/api/v1/read", body=read(), headers=headers))
    return sorted(got, key=str)


@pytest.mark.parametrize("version", [1, 2])
def test_redis(redis, version):
    for _ in range(3):
        answer = redis.request(body=BODY[version](up(job="a"), up(job="b")), headers=HEADERS[version])
        assert answer.status == 204, answer
    assert redis.request(body=v1(up(of="t")), headers=V1 | {"X-Scope-OrgID": "t"}).status == 204
    assert readings(redis) == [(up(job="a"), [(T, 0.0)]), (up(job="b"), [(T, 1.0)])]
    assert readings(redis, "t") == [(up(of="t"), [(T, 0.0)])]


def test_redis_for_many_at_once(redis):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(
            lambda i: redis.request(body=v1(*(up(n=f"{i}-{k}") for k in range(20))), headers=V1).status, range(60)))
    assert set(statuses) == {204}
    assert len(readings(redis)) == 1200


def relay(serve, upstream):
    return serve(SERVER % ("relay", '{ write_url = "/behind/write", read_url = "/behind/read" }', f"""
      location /behind/ {{ internal; proxy_pass http://127.0.0.1:{upstream.port}/api/v1/; }}"""))


@pytest.mark.parametrize("version", [1, 2])
def test_relay(serve, upstream, version):
    upstream.answer = 204, said(2, 0, 0) if version == 2 else {}, b""
    nginx = relay(serve, upstream)
    answer = nginx.request(body=BODY[version](up(job="a"), up(job="b")), headers=HEADERS[version])
    assert answer.status == 204, answer
    assert answer.written == (None if version == 1 else (2, 0, 0))
    (got,) = upstream.requests
    assert (got.path, got.labels) == ("/api/v1/write", [up(job="a"), up(job="b")])
    upstream.answer = 503, {"Retry-After": "4", "Content-Type": "text/plain"}, b"busy\n"
    answer = nginx.request(body=BODY[version](up()), headers=HEADERS[version])
    assert (answer.status, answer.headers["retry-after"]) == (503, "4") and "busy" in answer.text


def test_relay_says_the_tenant_itself(serve, upstream):
    nginx = serve(SERVER.replace("storage = storage", 'storage = storage, tenant_header = "X-Team"') % (
        "relay", '{ write_url = "/behind/write" }',
        f"location /behind/ {{ internal; proxy_pass http://127.0.0.1:{upstream.port}/api/v1/; }}"))
    for headers in ({"X-Team": "a"}, {"X-Team": "a", "X-Scope-OrgID": "b"}, {"X-Scope-OrgID": "b"}):
        assert nginx.request(body=v1(up()), headers=V1 | headers).status == 204
    assert [one.headers.get("x-scope-orgid") for one in upstream.requests] == ["a", "a", None]


def test_relay_of_reads(serve, processes, tmp_path):
    (tmp_path / "behind").mkdir()
    behind = Nginx(processes, tmp_path / "behind", example("backend"))
    nginx = relay(serve, behind)
    assert nginx.request(body=v1(up(job="a"), up(job="b")), headers=V1).status == 204
    assert readings(nginx) == [(up(job="a"), [(T, 0.0)]), (up(job="b"), [(T, 1.0)])]
    behind.stop()
