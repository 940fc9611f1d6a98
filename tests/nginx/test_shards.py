# SPDX-License-Identifier: Apache-2.0
"""remote.filter with upstreams: series divided by fingerprint, verdicts made one."""

import pytest

import wire
from growth import assert_no_growth
from messages import BODY, HEADERS, V1, many, up, v1
from test_filter import answering, said

SERVER = """
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  filter = remote.filter { upstreams = { "/shard/0", "/shard/1", "/shard/2" }, %s }
}
server {
  listen 127.0.0.1:PORT;
  client_max_body_size 32m;
  location / { content_by_lua_block { filter() } }
  location /shard/0 { internal; proxy_pass http://127.0.0.1:UPSTREAM0/write; }
  location /shard/1 { internal; proxy_pass http://127.0.0.1:UPSTREAM1/write; }
  location /shard/2 { internal; proxy_pass http://127.0.0.1:UPSTREAM2/write; }
}
"""


def start(serve, upstreams, options="", server=SERVER, **more):
    text = server % options
    for i, one in enumerate(upstreams):
        text = text.replace(f"UPSTREAM{i}", str(one if isinstance(one, int) else one.port))
    return serve(text, **more)


ALL = [up(instance=f"host-{i}") for i in range(60)]


def answers(upstreams, *statuses):
    for one, status in zip(upstreams, statuses):
        status, headers = status if isinstance(status, tuple) else (status, {})
        one.answer = status, {"Content-Type": "text/plain", **headers}, b"why\n" if status != 204 else b""


@pytest.mark.parametrize("version", [1, 2])
def test_divided_and_the_same_again(serve, upstreams, version):
    if version == 2:
        for one in upstreams:
            one.answer = lambda got: (204, said(len(got.series), 0, 0), b"")
    nginx = start(serve, upstreams, workers=2)
    for _ in range(4):
        answer = nginx.request(body=BODY[version](*ALL), headers=HEADERS[version])
        assert answer.status == 204
        assert answer.written == (None if version == 1 else (60, 0, 0))
    parts = [one.requests[0].labels for one in upstreams]
    assert sorted(map(str, sum(parts, []))) == sorted(map(str, ALL))
    assert all(len(part) > 5 for part in parts)
    for one in upstreams:
        assert len(one.requests) == 4
        for got in one.requests:
            assert got.path == "/write" and got.labels == one.requests[0].labels
            for name, value in HEADERS[version].items():
                assert got.headers[name.lower()] == value
            assert len(got.names) == len(set(got.names))


def test_only_where_there_is_something(serve, upstreams):
    nginx = start(serve, upstreams)
    assert nginx.request(body=v1(up()), headers=V1).status == 204
    assert sorted(len(one.requests) for one in upstreams) == [0, 0, 1]


@pytest.mark.parametrize("statuses, status, after", [
    ((204, 200, 204), 204, None),
    ((204, 400, 204), 400, None),
    ((400, 503, 204), 503, None),
    ((429, 400, 204), 429, None),
    ((429, 500, 204), 500, None),
    ((204, (503, {"Retry-After": "3"}), (429, {"Retry-After": "8"})), 503, "8"),
    (((429, {"Retry-After": "5"}), 204, 404), 429, "5"),
    ((204, 302, 400), 502, None),
    ((204, 403, 204), 403, None),
    ((204, (400, {"Retry-After": "9"}), 204), 400, None),
])
def test_one_verdict(serve, upstreams, statuses, status, after):
    nginx = start(serve, upstreams)
    answers(upstreams, *statuses)
    answer = nginx.request(body=v1(*ALL), headers=V1)
    assert (answer.status, answer.headers.get("retry-after")) == (status, after)
    if status != 204:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "/shard/" in answer.text and "why" in answer.text
    assert [len(one.requests) for one in upstreams] == [1, 1, 1]


@pytest.mark.parametrize("statuses, written", [
    ((204, 204, 204), "all"), ((204, 400, 204), "less"), ((204, 503, 204), "none")])
@pytest.mark.parametrize("upstream_version", [1, 2])
def test_what_was_written(serve, upstreams, statuses, written, upstream_version):
    nginx = start(serve, upstreams, f"upstream_version = {upstream_version},")
    for one, status in zip(upstreams, statuses):
        one.answer = lambda got, status=status: (
            status, said(len(got.series) * (status == 204), 0, 0) if upstream_version == 2 else {}, b"")
    answer = nginx.request(body=BODY[2](*ALL), headers=HEADERS[2])
    less = 60 - len(upstreams[1].requests[0].series)
    assert answer.written == ({"all": 60, "less": less, "none": 0}[written], 0, 0)
    assert less < 60


def test_upstreams_that_are_not_there(serve, upstreams, closed_port):
    nginx = start(serve, [upstreams[0], closed_port, upstreams[2]])
    answer = nginx.request(body=v1(*ALL), headers=V1)
    assert answer.status == 502
    assert "/shard/1 answered 502" in answer.text and "html" not in answer.text
    nginx.expect_log(r"\[error\].*Connection refused")
    assert len(upstreams[0].requests) == len(upstreams[2].requests) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_an_upstream_that_does_not_know_2_0(serve, upstreams, version):
    nginx = start(serve, upstreams, "upstream_version = 2,")
    for one in upstreams[1:]:
        one.answer = lambda got: (204, said(len(got.series), 0, 0), b"")
    answer = nginx.request(body=BODY[version](*ALL), headers=HEADERS[version])
    assert (answer.status, answer.text) == (502, "/shard/0 answered 502: it does not know remote write 2.0\n")


def test_partly_refused_and_dropped(serve, upstreams):
    nginx = start(serve, upstreams,
                  'relabel = { { action = "drop", source_labels = { "instance" }, regex = "host-1.*" } }')
    answer = nginx.request(body=v1(*ALL, {"job": "no name"}), headers=V1)
    assert answer.status == 400 and 'job="no name"' in answer.text
    assert sum(len(one.requests[0].series) for one in upstreams) == 49
    answer = nginx.request(body=v1(up(instance="host-1")), headers=V1)
    assert answer.status == 204
    assert sum(len(one.requests) for one in upstreams) == 3


def test_malformed(serve, upstreams):
    nginx = start(serve, upstreams)
    assert nginx.request(body=b"junk", headers=V1).status == 400
    assert nginx.request("GET").status == 405
    assert nginx.request("POST", "/shard/0", v1(up()), V1).status == 404, "it is internal"
    assert not any(one.requests for one in upstreams)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("buffer", ["1k", "4m"])
def test_large_bodies(serve, upstreams, buffer, chunked):
    nginx = start(serve, upstreams, server=SERVER.replace("client_max", f"client_body_buffer_size {buffer}; client_max"))
    body = many(4000)
    pieces = (body[at:at + 10_000] for at in range(0, len(body), 10_000))
    assert nginx.request(body=pieces if chunked else body, headers=V1).status == 204
    assert sum(len(one.requests[0].series) for one in upstreams) == 4000
    for one in upstreams:
        assert "transfer-encoding" not in one.requests[0].headers


def test_metadata_of_1_0_arrives(serve, upstreams):
    nginx = start(serve, upstreams)
    assert nginx.request(body=v1(*ALL, metadata=[(1, "up", "text", "")]), headers=V1).status == 204
    families = [dict(wire.fields(value))[2] for one in upstreams for got in one.requests
                for field, value in wire.fields(got.message) if field == 3]
    assert set(families) == {b"up"}


def test_no_growth(serve, upstreams):
    nginx = start(serve, upstreams)
    body = many(500, samples=4)

    def ask_once():
        for one in upstreams:
            one.requests.clear()
        return nginx.request(body=body, headers=V1).status == 204
    assert_no_growth(nginx, ask_once)


@pytest.mark.parametrize("answer, log", [
    (b"no HTTP\n", "no valid HTTP"), (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "prematurely closed"),
    (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", None)])
def test_nonsense_is_no_success(serve, upstreams, answer, log):
    with answering(answer) as port:
        nginx = start(serve, [port, *upstreams[1:]])
        assert nginx.request(body=v1(*ALL), headers=V1).status == 502
        if log:
            nginx.expect_log(log)


def test_counts_and_delays_that_are_none(serve, upstreams):
    nginx = start(serve, upstreams)
    for one in upstreams:
        one.answer = 429, {"Retry-After": "9" * 20}, b""
    answer = nginx.request(body=v1(*ALL), headers=V1)
    assert (answer.status, answer.headers["retry-after"]) == (429, str(2**32 - 1))
    for odd in ("1e999", "-7", "nan", "9" * 20):
        for one in upstreams:
            one.answer = 204, {"X-Prometheus-Remote-Write-Samples-Written": odd}, b""
        assert nginx.request(body=BODY[2](*ALL), headers=HEADERS[2]).status == 502
