# SPDX-License-Identifier: Apache-2.0
"""Every configuration in lua/examples/nginx does what it says."""

import hashlib

import pytest

import wire
from messages import READ, T, V1, V2, many, read, results, up, v1, v2
from nginx import ROOT, example
from test_filter import said


def test_all_are_here():
    names = {path.stem for path in (ROOT / "lua" / "examples" / "nginx").glob("*.conf")}
    assert names == {"tenant_gate", "relabel", "shards", "backend", "v2_to_v1"}


def test_tenant_gate(serve, upstream):
    nginx = serve(example("tenant_gate", upstream.port))
    for target in "/api/v1/write", "/api/v1/read":
        for tenant, status in ("team-a", 204), ("team-b", 204), ("team-c", 403), ("", 401):
            headers = V1 | ({"X-Scope-OrgID": tenant} if tenant else {})
            assert nginx.request(target=target, body=v1(up()), headers=headers).status == status
    assert [(got.path, got.headers["x-scope-orgid"]) for got in upstream.requests] == [
        (target, tenant) for target in ("/api/v1/write", "/api/v1/read") for tenant in ("team-a", "team-b")]


def hashed(value, modulus):
    return str(int.from_bytes(hashlib.md5(value.encode()).digest()[8:], "big") % modulus)


@pytest.mark.parametrize("labels, expected", [
    ({"__name__": "go_threads", "job": "node"}, None),
    ({"__name__": "gone", "job": "node"}, {"__name__": "gone", "job": "node"}),
    (up(job="other"), None),
    (up(job="web"), up(job="web")),
    (up(job="web", exported_job="web"), None),
    (up(job="web", exported_job="b"), up(job="web")),
    (up(job="web", env="prod", wanted_env="test"), None),
    (up(job="web", env="prod", wanted_env="prod"), up(job="web")),
    (up(job="web", instance="db-1:9100"), up(job="web", host="db-1", shard=hashed("db-1:9100", 8))),
    (up(job="web", instance="db-1"), up(job="web", shard=hashed("db-1", 8))),
    (up(job="web", zone="EU-West", region="north"), up(job="web", zone="eu-west", region="NORTH")),
    (up(job="web", meta_team="x", meta_code="7", meta_other="y"), up(job="web", team="x", code="7")),
    (up(job="web", unknown="x"), up(job="web")),
])
def test_relabel(serve, upstream, labels, expected):
    nginx = serve(example("relabel", upstream.port))
    assert nginx.request(body=v1(labels), headers=V1).status == 204
    if expected is None:
        assert upstream.requests == []
    else:
        expected = {"shard": hashed("", 8), "via": "nginx", **expected}
        assert upstream.requests[0].labels == [expected]
    assert "prom_remote_api_filter_requests_total 1" in nginx.request("GET", "/metrics").text
    upstream.answer = 200, {}, b"read"
    assert nginx.request(target="/api/v1/read", body=b"x").text == "read"


def test_shards(serve, upstreams):
    nginx = serve(example("shards", *(one.port for one in upstreams)))
    for _ in range(2):
        assert nginx.request(body=many(300), headers=V1).status == 204
    for one in upstreams:
        first, second = one.requests
        assert first.path == "/api/v1/write" and first.labels == second.labels and len(first.labels) > 50
    assert sum(len(one.requests[0].labels) for one in upstreams) == 300


def test_v2_to_v1(serve, upstream):
    nginx = serve(example("v2_to_v1", upstream.port))
    answer = nginx.request(body=v2(up(), up(job="a")), headers=V2)
    assert (answer.status, answer.written) == (204, (2, 0, 0))
    (got,) = upstream.requests
    assert got.headers["content-type"] == "application/x-protobuf"
    assert got.headers["x-prometheus-remote-write-version"] == "0.1.0"
    assert got.series == [(up(), [(T, 0.0)]), (up(job="a"), [(T, 1.0)])]
    upstream.answer = 204, said(9, 9, 9), b""
    assert nginx.request(body=v1(up()), headers=V1).written is None


def test_backend(serve):
    nginx = serve(example("backend"))
    assert nginx.request(body=v1(up(job="a")), headers=V1).status == 204
    assert nginx.request(body=v2(up(job="b")), headers=V2).written == (1, 0, 0)
    got = results(nginx.request(target="/api/v1/read", body=read(), headers=READ))
    assert sorted(got[0], key=str) == [(up(job="a"), [(T, 0.0)]), (up(job="b"), [(T, 0.0)])]
    streamed = nginx.request(target="/api/v1/read", body=read(streamed=True), headers=READ)
    assert [labels for _, labels, _ in wire.frames(streamed.body)] == [up(job="a"), up(job="b")]
