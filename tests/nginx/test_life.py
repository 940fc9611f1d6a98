# SPDX-License-Identifier: Apache-2.0
"""Many at once, and reloads."""

import concurrent.futures
import os
import signal
import subprocess
import threading

import pytest

from messages import READ, V1, many, read, results, up, v1
from processes import wait_until
from test_filter import start as start_filter
from test_handler import start as start_handler
from test_shards import start as start_shards

SLOW = """
  function storage.write(ctx, request)
    local before = #request
    for series in request:series() do
      local name = series.labels.instance
      ngx.sleep(0.001)
      assert(series.labels.instance == name)
    end
    assert(#request == before and before == tonumber(ctx:header "X-Count"))
  end
  function storage.process_query(ctx, query, sink)
    local who = query.matchers[1].value
    ngx.sleep(0.01)
    sink:add { labels = { __name__ = who }, timestamps = { 1 }, values = { 1 } }
    ngx.sleep(0.01)
    assert(query.matchers[1].value == who)
  end"""


def at_once(tasks, workers=16):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return [one.result() for one in [pool.submit(*task) for task in tasks]]


def test_requests_that_wait_do_not_disturb_each_other(serve):
    nginx = start_handler(serve, SLOW)

    def write(count):
        headers = V1 | {"X-Count": str(count)}
        assert nginx.request(body=many(count), headers=headers).status == 204

    def query(names):
        got = nginx.request(target="/api/v1/read", headers=READ,
                            body=read(*[[("x", "=", name)] for name in names]))
        assert [[labels for labels, _ in one] for one in results(got)] == [[{"__name__": n}] for n in names]
    at_once([(write, 1 + i % 7) for i in range(60)] + [(query, [f"q{i}", f"r{i}"]) for i in range(60)])


def test_shards_at_once(serve, upstreams):
    nginx = start_shards(serve, upstreams)

    def write(i):
        labels = [up(instance=f"{i}-{k}") for k in range(30)]
        assert nginx.request(body=v1(*labels), headers=V1).status == 204
        return labels
    sent = sum(at_once([(write, i) for i in range(60)]), [])
    arrived = [labels for one in upstreams for got in one.requests for labels in got.labels]
    assert sorted(map(str, arrived)) == sorted(map(str, sent))


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_lose_nothing(serve, upstream, workers):
    nginx = start_filter(serve, upstream, 'relabel = { { target_label = "x", replacement = "y" } }', workers=workers)
    stop, answers = threading.Event(), []

    def write():
        while not stop.is_set():
            answers.append(nginx.request(body=v1(up()), headers=V1).status)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(5):
            os.kill(nginx.process.pid, signal.SIGHUP)
            wait_until(lambda: len(nginx.worker_pids()) >= (turn + 2) * workers, "new workers are there")
            seen = len(answers)
            wait_until(lambda: len(answers) > seen + 10, "requests are answered")
    finally:
        stop.set()
        writer.join()
    assert set(answers) == {204}
    assert all(got.labels == [up(x="y")] for got in upstream.requests)
    assert len(upstream.requests) == len(answers)


@pytest.mark.parametrize("length", [True, False])
def test_http_2(serve, upstream, length):
    nginx = start_filter(serve, upstream, 'relabel = { { target_label = "x", replacement = "y" } }', http2=True)
    how = ["--data-binary", "@-"] if length else ["-T", "-", "-X", "POST"]
    answer = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", *how, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
         "-H", "Content-Type: application/x-protobuf", "-H", "Content-Encoding: snappy", nginx.url],
        input=v1(up()), capture_output=True, check=True)
    assert answer.stdout == b"2 204"
    assert upstream.requests[0].labels == [up(x="y")]
