# SPDX-License-Identifier: Apache-2.0
"""Storages that two workers share, many writers at a time."""

from concurrent.futures import ThreadPoolExecutor

import wire
from messages import READ, T, V1, V2, read, results, up, v2
from receivers import RedisServer

SERVER = """
lua_check_client_abort on;
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  local storage = require "prom_remote_api.storages.%s"
  backend = remote.handler { storage = storage.new %s }
}
server {
  listen 127.0.0.1:PORT;
  client_body_buffer_size 1m;
  location / { content_by_lua_block { backend() } }
}
"""


def body(samples, **labels):
    return wire.compress(wire.write_request([(up(**labels), samples)]))


def stored(nginx, *matchers, **headers):
    found = results(nginx.request(target="/api/v1/read", body=read(*matchers), headers=READ | headers))
    return [sorted((labels.get("job"), samples) for labels, samples in one) for one in found]


def use(nginx):
    """Many writers at a time, then what one answers for."""
    tenant = {"X-Scope-OrgID": "a%:b"}

    def write(i):
        return nginx.request(body=body([(T + i, float(i))], job=f"j{i % 4}"), headers=V1).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, [*range(40), *range(40)])) == {204}
    stale = wire.from_bits(wire.STALE_BITS)
    assert nginx.request(body=body([(T, stale), (T + 1, 2.5)], job="j0"), headers=V1 | tenant).status == 204
    answer = nginx.request(body=body([(T, 7.0), (T + 99, 1.0)], job="j0"), headers=V1)
    assert answer.status == 400 and "1 samples: another value" in answer.text
    expected = [(f"j{j}", [(T + i, float(i)) for i in range(j, 40, 4)]) for j in range(4)]
    expected[0][1].append((T + 99, 1.0))
    assert stored(nginx) == [expected]
    assert stored(nginx, [("job", "=", "j1")], [("job", "=~", "j2|j3")]) == [expected[1:2], expected[2:]]
    ((job, samples),), = stored(nginx, **tenant)
    assert [wire.to_bits(value) for _, value in samples] == [wire.STALE_BITS, wire.to_bits(2.5)]
    answer = nginx.request(body=v2(up(job="v2")), headers=V2)
    assert (answer.status, answer.written) == (204, (1, 0, 0))


def test_redis(serve, processes, tmp_path):
    redis = RedisServer(processes, tmp_path)
    nginx = serve(SERVER % ("redis", f"{{ port = {redis.port}, timeout = 600 }}"), workers=2)
    use(nginx)
    redis.kill()
    answer = nginx.request(body=body([(T, 1.0)], job="late"), headers=V1)
    assert answer.status == 503 and answer.text.startswith("Redis: ")
    nginx.expect_log("connect\\(\\) failed|Redis|recv\\(\\) failed|prematurely closed")
    redis.start()
    assert nginx.request(body=body([(T, 1.0)], job="late"), headers=V1).status == 204
    assert stored(nginx, [("job", "=", "late")]) == [[("late", [(T, 1.0)])]]


def test_sqlite(serve, tmp_path):
    nginx = serve(SERVER % ("sqlite", f'("{tmp_path}/nginx.db", {{ timeout = 600 }})'), workers=2)
    use(nginx)
