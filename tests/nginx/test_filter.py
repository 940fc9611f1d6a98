# SPDX-License-Identifier: Apache-2.0
"""remote.filter before proxy_pass."""

import contextlib
import re
import socket
import struct
import threading

import pytest

import wire
from growth import assert_no_growth
from messages import BODY, HEADERS, T, V1, V2, many, up, v1, v2

SERVER = """
lua_shared_dict counted 64k;
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  local pra = require "prom_remote_api"
  filter = remote.filter { %s }
}
server {
  listen 127.0.0.1:PORT;
  client_max_body_size 32m;
  location / {
    access_by_lua_block { filter() }
    header_filter_by_lua_block { filter:header_filter() }
    body_filter_by_lua_block { filter:body_filter() }
    proxy_pass http://127.0.0.1:UPSTREAM;
    %s
  }
  location = /metrics {
    content_by_lua_block { require("prom_remote_api.nginx").metrics "counted" }
  }
}
"""

RENAME = 'relabel = { { source_labels = { "job" }, target_label = "was", regex = "(.+)" } },'
DROP_A = 'relabel = { { action = "drop", source_labels = { "job" }, regex = "a" } },'


def start(serve, upstream, options="", server="", http2=False, **more):
    text = SERVER % (options, server)
    if http2:
        text = text.replace("PORT;", "PORT http2;", 1)
    port = upstream if isinstance(upstream, int) else upstream.port
    return serve(text.replace("UPSTREAM", str(port)), **more)


@contextlib.contextmanager
def answering(raw):
    """The port of an upstream that answers every request with these bytes, whatever they are."""
    def answer(listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                got = b""
                while not (end := got.find(b"\r\n\r\n") + 4) > 3 or len(got) < end + int(
                        re.search(rb"(?i)content-length: (\d+)", got)[1]):
                    got += client.recv(1 << 16)
                client.sendall(raw)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def said(*counts):
    """Headers of an answer to remote write 2.0."""
    names = ("Samples", "Histograms", "Exemplars")
    return {f"X-Prometheus-Remote-Write-{name}-Written": str(n) for name, n in zip(names, counts)}


def ask(nginx, version, *all_series):
    return nginx.request(body=BODY[version](*all_series), headers=HEADERS[version])


@pytest.mark.parametrize("to", [None, 1, 2])
@pytest.mark.parametrize("version", [1, 2])
def test_relabelled_and_encoded(serve, upstream, version, to):
    out = to or version
    upstream.answer = 204, said(2, 0, 0) if out == 2 else {}, b""
    nginx = start(serve, upstream, RENAME + (f"upstream_version = {to}," if to else ""))
    answer = ask(nginx, version, up(job="a"), up())
    assert (answer.status, answer.body) == (204, b"")
    assert answer.written == (None if version == 1 else (2, 0, 0))
    (got,) = upstream.requests
    assert got.series == [(up(job="a", was="a"), [(T, 0.0)]), (up(), [(T, 1.0)])]
    for name, value in HEADERS[out].items():
        assert got.headers[name.lower()] == value
    assert len(got.names) == len(set(got.names)), "a header twice"
    assert got.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("version", [1, 2])
def test_what_nothing_is_asked_of_passes_as_it_came(serve, upstream, version):
    upstream.answer = 204, said(3, 0, 0) if version == 2 else {}, b""
    nginx = start(serve, upstream)
    body = BODY[version](up(), up(job="a"), {"job": "no name"})
    assert nginx.request(body=body, headers=HEADERS[version]).status == 204
    assert upstream.requests[0].body == body


MAP = """map = function(labels, series, ctx)
  if labels.job == "a" then return nil end
  if labels.job == "b" then return { __name__ = "renamed", tenant = ctx.tenant } end
  labels.seen, labels.job = ctx:header "X-Seen", nil
  return labels
end,"""


@pytest.mark.parametrize("version", [1, 2])
def test_a_function_for_labels(serve, upstream, version):
    nginx = start(serve, upstream, MAP)
    body = BODY[version](up(job="a"), up(job="b"), up(job="c"))
    answer = nginx.request(body=body, headers=HEADERS[version] | {"X-Scope-OrgID": "t", "X-Seen": "s"})
    assert answer.status == 204
    assert upstream.requests[0].series == [
        ({"__name__": "renamed", "tenant": "t"}, [(T, 1.0)]), (up(seen="s"), [(T, 2.0)])]


def test_relabelling_comes_before_the_function(serve, upstream):
    nginx = start(serve, upstream, DROP_A + """map = function(labels)
      assert(labels.job ~= "a")
      labels.mapped = "yes"
      return labels
    end""")
    assert ask(nginx, 1, up(job="a"), up(job="b")).status == 204
    assert upstream.requests[0].labels == [up(job="b", mapped="yes")]


def test_nothing_of_a_series_is_lost(serve, upstream):
    stale = wire.from_bits(wire.STALE_BITS)
    histogram = wire.histogram(T, 4, 2.5, positive=(((0, 2),), (1, 2)), hint=3, start=T - 5)
    body = wire.compress(wire.write_request_v2([
        {"labels": up(job="b"), "samples": [(T, 1.5, T - 9), (T + 1, stale, 0)],
         "exemplars": [({"trace": "x"}, 2.0, T)], "metadata": (1, "a text", "s")},
        {"labels": up(job="c"), "histograms": [histogram]},
    ]))
    upstream.answer = 204, said(2, 1, 1), b""
    for rules in RENAME, "map = function(labels) labels.was = labels.job; return labels end":
        nginx = start(serve, upstream, rules)
        answer = nginx.request(body=body, headers=V2)
        assert answer.written == (2, 1, 1)
        message = upstream.requests.pop().message
        parts = list(wire.fields(message))
        symbols = [value.decode() for field, value in parts if field == 4]
        first, second = ([*wire.fields(value)] for field, value in parts if field == 5)
        samples = [dict(wire.fields(value)) for field, value in first if field == 2]
        assert [(s[2], s[1], s.get(3, 0)) for s in samples] == [
            (T, struct.pack("<d", 1.5), T - 9), (T + 1, struct.pack("<Q", wire.STALE_BITS), 0)]
        (exemplar,) = [dict(wire.fields(value)) for field, value in first if field == 4]
        assert exemplar[3] == T and [symbols[n] for n in exemplar[1]] == ["trace", "x"]
        (metadata,) = [dict(wire.fields(value)) for field, value in first if field == 5]
        assert (metadata[1], symbols[metadata[3]], symbols[metadata[4]]) == (1, "a text", "s")
        (h,) = [dict(wire.fields(value)) for field, value in second if field == 3]
        assert (h[1], h[3], h[14], h[15], h[17]) == (4, struct.pack("<d", 2.5), 3, T, T - 5)
        nginx.stop()


def test_metadata_of_1_0(serve, upstream):
    nginx = start(serve, upstream, 'relabel = { { action = "drop", source_labels = { "__name__" } } }')
    entry = (1, "up", "is it up", "")
    assert nginx.request(body=v1(metadata=[entry]), headers=V1).status == 204
    assert nginx.request(body=v1(up(), metadata=[entry]), headers=V1).status == 204
    for got in upstream.requests:
        ((field, value),) = wire.fields(got.message)
        assert field == 3 and dict(wire.fields(value))[2] == b"up"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("counted", [True, False])
def test_what_is_dropped(serve, upstream, version, counted):
    upstream.answer = 204, said(1, 0, 0) if version == 2 else {}, b""
    nginx = start(serve, upstream, DROP_A + ("" if counted else "count_dropped = false,"))
    answer = ask(nginx, version, up(job="a"), up(job="a", x="1"))
    assert (answer.status, answer.body, upstream.requests) == (204, b"", [])
    assert answer.written == (None if version == 1 else (2 * counted, 0, 0))
    answer = ask(nginx, version, up(job="a"), up(job="b"), up(job="a", x="1"))
    assert (answer.status, upstream.requests[0].labels) == (204, [up(job="b")])
    assert answer.written == (None if version == 1 else (1 + 2 * counted, 0, 0))


def test_an_empty_request(serve, upstream):
    nginx = start(serve, upstream, RENAME)
    assert nginx.request(body=wire.compress(b""), headers=V1).status == 204
    assert upstream.requests == []


@pytest.mark.parametrize("method, headers, body, status", [
    ("GET", {}, b"", 405),
    ("POST", {"Content-Type": "application/json"}, b"{}", 415),
    ("POST", V1 | {"Content-Encoding": "zstd"}, b"x", 415),
    ("POST", V1, b"", 400),
    ("POST", V1, b"\xff\xff\xff\xff\x0f", 400),
    ("POST", V1, wire.compress(b"\x0a\x05"), 400),
    ("POST", V2, wire.compress(b"\x2a\x05"), 400),
    ("POST", V1, v1({"job": "x"}), 400),
    ("POST", V2, v2({"job": "x"}), 400),
    ("POST", V1, bytes(2000), 413),
])
def test_the_upstream_hears_of_nothing_wrong(serve, upstream, method, headers, body, status):
    nginx = start(serve, upstream, RENAME + "limits = { max_body_bytes = 1000 },")
    answer = nginx.request(method, "/anything/goes", body, headers)
    assert (answer.status, upstream.requests) == (status, [])
    assert answer.headers["content-type"] == "text/plain; charset=utf-8" and answer.text
    assert nginx.request(target="/anything/goes", body=v1(up()), headers=V1).status == 204
    assert upstream.requests[0].path == "/anything/goes"


BAD = {"job": "no name"}


@pytest.mark.parametrize("version", [1, 2])
def test_partly_refused(serve, upstream, version):
    upstream.answer = 204, said(2, 0, 0) if version == 2 else {}, b""
    nginx = start(serve, upstream, DROP_A)
    answer = ask(nginx, version, up(job="b"), BAD, up(job="a"), up(job="c"))
    assert upstream.requests[0].labels == [up(job="b"), up(job="c")]
    assert answer.status == 400 and 'job="no name"' in answer.text
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.written == (None if version == 1 else (3, 0, 0))
    nginx.expect_log(r"\[warn\].*partly refused")
    # over the same connection it goes on
    assert ask(nginx, version, up(job="b")).status == 204


def test_the_upstreams_text_gives_way(serve, upstream):
    nginx = start(serve, upstream, DROP_A)
    for body in b"ok", b"x" * 200_000:
        upstream.answer = 200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, body
        answer = ask(nginx, 1, up(job="b"), BAD)
        assert answer.status == 400 and answer.text.count("\n") == 1 and 'job="no name"' in answer.text
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_the_upstreams_refusal_goes_before_ours(serve, upstream, version, status):
    upstream.answer = status, {"Content-Type": "text/plain"}, b"of the upstream\n"
    nginx = start(serve, upstream, DROP_A)
    answer = ask(nginx, version, up(job="b"), BAD)
    assert (answer.status, answer.text) == (status, "of the upstream\n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("status, headers", [
    (200, {}), (400, {}), (401, {"WWW-Authenticate": "Basic"}), (429, {"Retry-After": "7"}), (500, {}),
    (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
])
def test_the_upstreams_verdict(serve, upstream, version, status, headers):
    upstream.answer = status, {"Content-Type": "text/plain", **headers}, b"why\n"
    nginx = start(serve, upstream, RENAME)
    answer = ask(nginx, version, up(job="b"))
    assert (answer.status, answer.text) == (status, "why\n")
    for name, value in headers.items():
        assert answer.headers[name.lower()] == value
    assert answer.written is None, "the upstream said nothing"


@pytest.mark.parametrize("status, dropped, written", [(204, 1, 3), (400, 1, 2), (503, 0, 0)])
def test_counts_that_the_upstream_gives(serve, upstream, status, dropped, written):
    upstream.answer = status, said(written - dropped, 0, 0), b""
    nginx = start(serve, upstream, DROP_A)
    answer = ask(nginx, 2, up(job="a"), up(job="b"), up(job="c"))
    assert (answer.status, answer.written) == (status, (written, 0, 0))


@pytest.mark.parametrize("status, written", [(204, 3), (200, 3), (400, 1), (500, 0), (429, 0)])
def test_counts_when_the_upstream_takes_1_0(serve, upstream, status, written):
    upstream.answer = status, {}, b""
    nginx = start(serve, upstream, DROP_A + "upstream_version = 1,")
    answer = ask(nginx, 2, up(job="a"), up(job="b"), up(job="c"))
    assert (answer.status, answer.written) == (status, (written, 0, 0))


def test_an_upstream_that_does_not_know_2_0(serve, upstream):
    upstream.answer = 200, {}, b"fine"
    nginx = start(serve, upstream, "upstream_version = 2,")
    for all_series in [up()], [up(), BAD]:
        answer = ask(nginx, 1, *all_series)
        assert (answer.status, answer.text) == (502, "the upstream does not know remote write 2.0\n")
    answer = ask(nginx, 2, up())
    assert (answer.status, answer.written) == (200, None), "which says it to a sender of 2.0"


def test_a_sender_of_1_0_sees_no_counts(serve, upstream):
    upstream.answer = 204, said(1, 0, 0), b""
    nginx = start(serve, upstream, "upstream_version = 2,")
    assert ask(nginx, 1, up()).written is None


def test_an_upstream_that_is_not_there(serve, closed_port):
    nginx = start(serve, closed_port, RENAME)
    for version in 1, 2:
        assert ask(nginx, version, up()).status == 502
    nginx.expect_log(r"\[error\].*Connection refused")


def test_an_upstream_that_hangs_up(serve, upstream):
    upstream.answer = None
    nginx = start(serve, upstream, RENAME)
    assert ask(nginx, 1, up()).status == 502
    nginx.expect_log(r"\[error\].*upstream prematurely closed")


def test_an_upstream_that_is_slow(serve, upstream):
    upstream.gate.clear()
    nginx = start(serve, upstream, RENAME, "proxy_read_timeout 200ms;")
    assert ask(nginx, 1, up()).status == 504
    nginx.expect_log(r"\[error\].*upstream timed out")


@pytest.mark.parametrize("buffer", ["1k", "4m"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("options", [RENAME, ""])
def test_large_bodies(serve, upstream, buffer, chunked, options):
    nginx = start(serve, upstream, options, f"client_body_buffer_size {buffer};")
    body = many(4000)
    pieces = (body[at:at + 10_000] for at in range(0, len(body), 10_000))
    assert nginx.request(body=pieces if chunked else body, headers=V1).status == 204
    (got,) = upstream.requests
    assert len(got.series) == 4000
    assert "transfer-encoding" not in got.headers


def test_without_request_buffering_in_nginx(serve, upstream):
    nginx = start(serve, upstream, RENAME, "proxy_request_buffering off; proxy_http_version 1.1;")
    assert nginx.request(body=many(2000), headers=V1).status == 204
    assert len(upstream.requests[0].series) == 2000


def test_what_cannot_be_encoded_does_not_go_on_as_it_was(serve, upstream):
    nginx = start(serve, upstream, DROP_A + """ map = (function()
      require("prom_remote_api.faces").Request.encode = function() return nil, "no room", -1 end
    end)(),""")
    answer = ask(nginx, 1, up(job="a"), up(job="b"))
    assert answer.status == 503 and "no room" in answer.text, answer
    assert not upstream.requests


def test_limits_hold_for_what_rules_make(serve, upstream):
    nginx = start(serve, upstream, """ limits = { max_label_value_bytes = 30 }, relabel = {
      { source_labels = { "job" }, target_label = "twice", replacement = "$1$1" } }, """)
    assert ask(nginx, 1, up(job="a" * 10)).status == 204
    answer = ask(nginx, 1, up(job="b"), up(job="a" * 20))
    assert answer.status == 400 and "max_label_value_bytes" in answer.text, answer
    assert len(upstream.requests) == 1


def test_errors_in_the_function(serve, upstream):
    nginx = start(serve, upstream, """map = function(labels)
      if labels.job == "no" then error(pra.reject "not that") end
      error("oops")
    end""")
    answer = ask(nginx, 1, up(job="no"))
    assert answer.status == 400 and "not that" in answer.text
    assert ask(nginx, 1, up(job="x")).status == 500
    nginx.expect_log(r"\[error\].*remote write filter: .*oops")
    assert upstream.requests == []


def test_what_is_counted(serve, upstream):
    nginx = start(serve, upstream, DROP_A + 'metrics = "counted",', workers=2)
    for _ in range(10):
        ask(nginx, 1, up(job="a"), up(job="b"))
    ask(nginx, 1, up(job="a"))
    ask(nginx, 1, BAD, up(job="b"))
    nginx.request(body=b"junk", headers=V1)
    page = nginx.request("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    counted = dict(re.findall(r"^prom_remote_api_filter_(\w+)_total (\d+)$", page.text, re.M))
    assert counted == {"requests": "12", "series": "22", "dropped_series": "11",
                       "forwarded_requests": "11", "refused_requests": "2"}


@pytest.mark.parametrize("options, message", [
    ("upstream_version = 3", "upstream_version is 1 or 2"),
    ("upstreams = {}", "upstreams is a list of 1 to 50"),
    ("relable = {}", "no such option: relable"),
    ('tenant = { alow = { "a" } }', "no such option: alow"),
    ('relabel = { { action = "explode" } }', "explode"),
    ('relabel = { { action = "drop", regex = "(" } }', "regular expression"),
    ("limits = { max_fun = 1 }", "no such limit: max_fun"),
    ('metrics = "nowhere"', "no lua_shared_dict nowhere"),
])
def test_mistakes_keep_nginx_from_starting(serve, upstream, options, message):
    with pytest.raises(AssertionError, match=f"init_by_lua.*({message})"):
        start(serve, upstream, options)


@pytest.mark.parametrize("options", [RENAME, "map = function(labels) return labels end", "", "upstream_version = 2"])
def test_no_growth(serve, upstream, options):
    upstream.answer = 204, said(2000, 0, 0), b""
    nginx = start(serve, upstream, options)
    body = many(500, samples=4)

    def ask_once():
        upstream.requests.clear()
        return nginx.request(body=body, headers=V1).status == 204
    assert_no_growth(nginx, ask_once)


@pytest.mark.parametrize("status", [100, 103, 302, 304, 600, 999])
def test_what_is_no_verdict_is_to_be_tried_again(serve, status):
    with answering(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status) as port:
        nginx = start(serve, port, RENAME)
        for version in (1, 2):
            assert ask(nginx, version, up(job="a")).status == 502
