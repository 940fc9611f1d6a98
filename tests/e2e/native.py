# SPDX-License-Identifier: Apache-2.0
"""A current Prometheus, a target with native histograms, and questions about them."""

import json
import os
import pathlib
import time

import scenario
from processes import wait_until
from prometheus import Prometheus, http_get, scrape

# Where `./dev test-peers` puts what it builds.
PEERS = pathlib.Path(os.environ.get("PRA_PEERS_DIR", "/nonexistent"))
PROMETHEUS = PEERS / "prometheus"
V1 = "prometheus.WriteRequest"
V2 = "io.prometheus.write.v2.Request"


class NativeTarget:
    """tests/peers/target; ticks counts the scrapes answered."""

    def __init__(self, processes, workdir):
        self.process = processes.start("target", [PEERS / "target"], cwd=workdir)
        self.port = self.process.port()

    @property
    def ticks(self):
        return int(http_get(f"http://127.0.0.1:{self.port}/ticks"))

    def wait_for(self, ticks):
        wait_until(lambda: self.ticks >= ticks, f"scrape number {ticks}", self.process)


def keeps_exemplars(receiver):
    return getattr(receiver, "exemplars", True)


def scrape_native(job, port, nhcb):
    return scrape(job, port, scrape_native_histograms=True, always_scrape_classic_histograms=True,
                  convert_classic_histograms_to_nhcb=nhcb)


def send(processes, workdir, receiver, message=V2, ticks=24, nhcb=True, **settings):
    """A sender that has sent everything it scraped from a target of its own."""
    settings.setdefault("send_exemplars", keeps_exemplars(receiver))
    target = NativeTarget(processes, workdir)
    sender = scenario.start_sender(processes, workdir, receiver, PROMETHEUS, protobuf_message=message,
                                   send_native_histograms=True, **settings)
    sender.scrape(scrape_native("native", target.port, nhcb and message == V2))
    target.wait_for(ticks)
    sender.scrape()
    sender.wait_all_sent()
    return sender


def assert_clean(sender, receiver):
    """Nothing was refused, sent again or left out."""
    now = sender.metrics()
    if isinstance(receiver, Prometheus):  # which refuses exemplar-only series in 2.0
        now.pop("prometheus_remote_storage_exemplars_failed_total")
    wrong = {name: value for name, value in now.items() if value != 0
             and name.startswith("prometheus_remote_storage_")
             and name.endswith(("_failed_total", "_retried_total", "_dropped_total"))}
    assert not wrong, wrong
    assert sender.sending()["tried"] == sender.appended() > 0
    assert (now["prometheus_remote_storage_exemplars_total"] > 0) == keeps_exemplars(receiver)


def raw(prometheus):
    """Every float and histogram that a query shows, by series."""
    return normal(prometheus.query(RAW, time.time() + 60))[1]


# Every histogram and float of the target.
RAW = '{__name__=~"peer_.*"}[1h]'

INSTANT = [
    '{__name__=~"peer_.*"}',
    "peer_latency_seconds",
    'peer_latency_seconds{kind!="plain"}',
    "histogram_count(peer_latency_seconds)",
    "histogram_sum(peer_latency_seconds)",
    "histogram_avg(peer_latency_seconds)",
    "histogram_stddev(peer_latency_seconds)",
    "histogram_quantile(0.5, peer_latency_seconds)",
    "histogram_quantile(0.99, rate(peer_latency_seconds[5s]))",
    "histogram_fraction(0, 0.7, rate(peer_latency_seconds[5s]))",
    "rate(peer_latency_seconds[3s])",
    "increase(peer_latency_seconds[3s])",
    "irate(peer_latency_seconds[3s])",
    "sum by (kind) (peer_latency_seconds)",
    "count by (kind) (rate(peer_latency_seconds[3s]))",
    "avg_over_time(peer_latency_seconds[3s])",
    "sum_over_time(peer_latency_seconds[3s])",
    "last_over_time(peer_latency_seconds[3s])",
    "count_over_time(peer_latency_seconds[1h])",
    "peer_latency_seconds offset 1s",
    "rate(peer_latency_seconds[2s:500ms])",
    "rate(peer_resets_seconds[1h])",
    "increase(peer_resets_seconds[5s])",
    "resets(peer_resets_seconds[1h])",
    "changes(peer_resets_seconds[1h])",
    "peer_float_seconds",
    "rate(peer_float_seconds[1h])",
    "resets(peer_float_seconds[1h])",
    "histogram_quantile(0.9, rate(peer_float_seconds[5s]))",
    "peer_queue",
    "delta(peer_queue[3s])",
    "idelta(peer_queue[3s])",
    "rate(peer_queue[3s])",  # with a warning: not a counter
    "sum(peer_queue)",
    "max by (kind) (histogram_count(peer_queue))",
    "peer_empty_seconds",
    "peer_mixed",
    "count_over_time(peer_mixed[1h])",
    "rate(peer_mixed[1h])",  # with a warning: floats and histograms
    "peer_requests_total",
    "rate(peer_requests_total[5s])",
    "timestamp(peer_latency_seconds)",
    # classic histograms, converted or not
    "peer_classic_seconds_bucket",
    "histogram_quantile(0.9, rate(peer_classic_seconds_bucket[5s]))",
    # absent and stale
    "absent(peer_nothing)",
    "absent(peer_vanishing_seconds)",
    "peer_vanishing_seconds",
    "last_over_time(peer_vanishing_seconds[1h])",
    "peer_flapping_seconds",
    "count_over_time(peer_flapping_seconds[1h])",
    "rate(peer_flapping_seconds[1h])",
    "absent_over_time(peer_flapping_seconds[500ms])",
]

# What only custom buckets answer.
CUSTOM = [
    "peer_classic_seconds",
    "rate(peer_classic_seconds[5s])",
    "histogram_quantile(0.5, peer_classic_seconds)",
    "histogram_quantile(0.9, rate(peer_classic_seconds[5s]))",
    "histogram_fraction(0, 1, peer_classic_seconds)",
    "sum(peer_classic_seconds)",
    "count_over_time(peer_classic_seconds[1h])",
]

RANGE = [
    '{__name__=~"peer_.*"}',
    "histogram_quantile(0.9, rate(peer_latency_seconds[2s]))",
    "histogram_quantile(0.9, sum by (kind) (peer_latency_seconds))",
    "rate(peer_resets_seconds[2s])",
    "peer_vanishing_seconds",
    "peer_flapping_seconds",
    "peer_mixed",
]


def normal(answer):
    """Order of series is free; values, histograms, warnings and infos must be equal."""
    assert answer["status"] == "success", answer
    rows = {}
    for row in answer["data"]["result"]:
        key = json.dumps(row.pop("metric"), sort_keys=True)
        assert key not in rows, f"series twice: {key}"
        rows[key] = row
    return answer["data"]["resultType"], rows, sorted(answer.get("warnings", []) + answer.get("infos", []))


def span(prometheus):
    """First and last time of the target's data, in seconds, and when a series was there that is
    gone later."""
    times = {key: [t for kind in ("values", "histograms") for t, _ in row.get(kind, [])]
             for key, row in raw(prometheus).items()}
    everything = [t for of_one in times.values() for t in of_one]
    gone = max(max(of_one) for key, of_one in times.items() if '"peer_vanishing_seconds"' in key)
    return min(everything), gone, max(everything)


def answers(prometheus, times, nhcb):
    """Answers to all questions, by question and time."""
    first, gone, last = times
    found = {}
    for when in (first, gone, round((gone + last) / 2, 3), last, last + 60):
        for text in INSTANT + CUSTOM * nhcb:
            found[text, when] = normal(prometheus.query(text, when))
    for text in RANGE + CUSTOM * nhcb:
        found[text, "range"] = normal(prometheus.query_range(text, first - 1, last + 2, 0.25))
    found[RAW, "end"] = normal(prometheus.query(RAW, last + 60))
    return found


def assert_telling(expected, nhcb):
    """Guards the tests themselves: the data must contain what the questions are about."""
    silent = {text for text, _ in expected} - {
        text for (text, _), (_, rows, annotations) in expected.items() if rows or annotations}
    assert not silent, f"questions without any answer: {silent}"
    series = expected[RAW, "end"][1]
    histograms = [h for row in series.values() for _, h in row.get("histograms", [])]
    assert len(histograms) > 100
    assert any("histograms" in row and "values" in row for row in series.values()), "no mixed series"
    assert any('"peer_classic_seconds"' in key for key in series) == nhcb
    assert any(answer[2] for answer in expected.values()), "no warning"
    vanished = [bool(answer[1]) for (text, _), answer in expected.items()
                if text == "peer_vanishing_seconds"]
    assert any(vanished) and not all(vanished), "no series became stale"


def assert_same(expected, got):
    for question, answer in expected.items():
        if got[question] != answer:
            raise AssertionError(f"{question}\n{difference(answer, got[question])}")


def difference(expected, got):
    lines = []
    if expected[0] != got[0] or expected[2] != got[2]:
        lines.append(f"expected {expected[0]} {expected[2]}\ngot      {got[0]} {got[2]}")
    for key in sorted(expected[1].keys() | got[1].keys()):
        a, b = (json.dumps(of[1].get(key)) for of in (expected, got))
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            at = max(0, at - 150)
            lines.append(f"{key[:200]}\n  expected {a[at:at + 300]}\n  got      {b[at:at + 300]}")
    return f"{len(lines)} series differ\n" + "\n".join(lines[:5])
