# SPDX-License-Identifier: Apache-2.0
"""The same questions to two Prometheus servers; the answers must be the same, value for value."""

import json

# Every series with every sample, except stale markers, which a query never shows as samples.
RAW = '{__name__=~".+"}[1h]'

INSTANT = [
    '{__name__=~".+"}',
    "up",
    "e2e_constant",
    "e2e_odd",
    "e2e_all_odd",
    "timestamp(e2e_tick)",
    "rate(e2e_requests_total[5s])",
    "increase(e2e_requests_total[4s])",
    "irate(e2e_requests_total[3s])",
    "resets(e2e_resets[1h])",
    "changes(e2e_mostly_nan[1h])",
    "count_over_time(e2e_flapping[1h])",
    "max_over_time(e2e_walk[1h])",
    "stddev_over_time(e2e_walk[1h])",
    "quantile_over_time(0.7, e2e_walk[1h])",
    "max_over_time(rate(e2e_requests_total[2s])[4s:500ms])",
    "histogram_quantile(0.9, rate(e2e_latency_bucket[5s]))",
    "e2e_tick offset 1s",
    # the four kinds of matchers
    'e2e_requests_total{code="200"}',
    'e2e_requests_total{code="20"}',
    'e2e_requests_total{code!="200"}',
    'e2e_requests_total{code=~"2.."}',
    'e2e_requests_total{code=~"2"}',
    'e2e_requests_total{code=~"200|404"}',
    'e2e_requests_total{code=~"4.*|.*4"}',
    'e2e_requests_total{code!~"[45].."}',
    'e2e_requests_total{code=~"(?i:2.4)",method!~"p.+"}',
    '{__name__=~"e2e_(tick|walk)"}',
    '{__name__!~"prometheus_.*|go_.*|up|scrape_.*|process_.*|net_.*",job="target"}',
    # a label that is missing is an empty label
    'e2e_requests_total{zone=""}',
    'e2e_requests_total{zone!=""}',
    'e2e_requests_total{zone=~""}',
    'e2e_requests_total{zone=~".*"}',
    'e2e_requests_total{zone=~".+"}',
    'e2e_requests_total{zone!~"b"}',
    'e2e_requests_total{zone=~"|b"}',
    'e2e_requests_total{nowhere="x"}',
    'e2e_odd{empty=""}',
    # odd values
    r'e2e_odd{quotes="say \"hi\""}',
    r'e2e_odd{newline="first\nsecond"}',
    # (?s) because this Prometheus' dot, unlike that of 3.x and ours, does not match a newline
    'e2e_odd{newline=~"(?s)first.second"}',
    'e2e_odd{newline=~"first"}',
    r'e2e_odd{backslash="C:\\dir\\"}',
    'e2e_odd{utf8=~".*日本.*"}',
    'e2e_odd{utf8=~"na.ve .{3} ."}',
    'e2e_odd{utf8="naïve 日本語 🎉"}',
    'e2e_odd{spaces=~" {2}"}',
    # aggregation of whole numbers: the order of series does not matter
    'count by (job, __name__) ({__name__=~".+"})',
    "sum by (code) (e2e_requests_total)",
    "sum without (code) (e2e_requests_total)",
    "count(e2e_constant)",
    "count_values(\"v\", e2e_constant)",
    'topk(3, e2e_constant{job="target"})',  # without ties
    # absent and stale
    "e2e_nothing",
    "absent(e2e_nothing)",
    'absent(e2e_nothing{a="b"})',
    "absent(e2e_vanishing)",
    'absent(e2e_tick{job="closed"})',
    "e2e_vanishing",
    "last_over_time(e2e_vanishing[1h])",
    "absent_over_time(e2e_flapping[300ms])",
    "present_over_time(e2e_flapping[1h])",
]

# These find nothing, at any time; all others do, at some time.
NOTHING = {
    'e2e_requests_total{code="20"}',
    'e2e_requests_total{code=~"2"}',
    'e2e_requests_total{nowhere="x"}',
    'e2e_odd{newline=~"first"}',
    "e2e_nothing",
}

RANGE = [
    '{__name__=~"e2e_.*|up|scrape_.*"}',
    "rate(e2e_requests_total[2s])",
    "sum by (job) (up)",
    "e2e_flapping",
    "absent(e2e_flapping)",
    'count by (job) ({__name__=~"e2e_.*"})',
    "e2e_mostly_nan",
    "e2e_tick offset 2s",
    "histogram_quantile(0.5, rate(e2e_latency_bucket[2s]))",
]


def normal(answer):
    """Order of series is free; everything else must be equal. NaN is the text "NaN" here."""
    assert answer["status"] == "success", answer
    data = answer["data"]
    rows = {}
    for row in data["result"]:
        key = json.dumps(row["metric"], sort_keys=True)
        assert key not in rows, f"series twice: {key}"
        if "value" in row or "histogram" in row:
            rows[key] = row.get("value", row.get("histogram"))
        else:
            rows[key] = row.get("values", []) + row.get("histograms", [])
    return data["resultType"], rows


def moments(prometheus, far_future):
    """Times, in seconds, at which to ask: ends of the data, between, and when a series was there
    that is gone later."""
    _, rows = normal(prometheus.query(RAW, far_future))
    times = [time for values in rows.values() for time, _ in values]
    first, last = min(times), max(times)
    gone = max(values[-1][0] for key, values in rows.items() if '"e2e_vanishing"' in key)
    return [first, gone, *(round(first + (last - first) * part, 3) for part in (0.5, 0.8)), last]


def questions(times):
    """(question, when, ask(prometheus)) for everything that is compared."""
    first, last = times[0], times[-1]
    for time in (*times, last + 60):
        for text in INSTANT:
            yield text, time, lambda p, q=text, t=time: p.query(q, t)
    for text in RANGE:
        yield text, "range", lambda p, q=text: p.query_range(q, first - 1, last + 2, 0.25)
    yield RAW, "end", lambda p: p.query(RAW, last + 60)


def answers(prometheus, times):
    """Answers to all questions, by question and time."""
    return {(text, when): normal(ask(prometheus)) for text, when, ask in questions(times)}


def assert_telling(expected):
    """Guards the tests themselves: the data must contain what the questions are about."""
    found = {text for (text, _), (_, rows) in expected.items() if rows}
    asked = {text for text, _ in expected}
    unlike = (asked - found) ^ NOTHING
    assert not unlike, f"find nothing, or something, against expectation: {unlike}"
    everything = expected[RAW, "end"][1]
    assert {"NaN", "+Inf", "-Inf"} <= {v for rows in everything.values() for _, v in rows}
    vanished = [rows for (text, _), (_, rows) in expected.items() if text == "e2e_vanishing"]
    assert any(vanished) and not all(vanished), "no series became stale"


def assert_same(expected, got):
    for question, answer in expected.items():
        if got[question] != answer:
            raise AssertionError(f"{question}\n{difference(answer, got[question])}")


def difference(expected, got):
    if expected[0] != got[0]:
        return f"type {got[0]} instead of {expected[0]}"
    lines = []
    for key in sorted(expected[1].keys() | got[1].keys()):
        a, b = expected[1].get(key), got[1].get(key)
        if a != b:
            lines.append(f"{key[:200]}\n  expected {str(a)[:300]}\n  got      {str(b)[:300]}")
    return f"{len(lines)} series differ\n" + "\n".join(lines[:5])
