# SPDX-License-Identifier: Apache-2.0
"""A current Prometheus against what `pra serve` has flags for, and against an old Prometheus."""

import json
import sqlite3
import urllib.parse

import pytest

import native
import scenario
from door import guard, pra
from prometheus import http_get
from receivers import PRA, Receiver
@pytest.fixture
def serve(processes, tmp_path):
    """serve(flag...) starts pra with a store."""
    def serve(*flags):
        return Receiver(processes, tmp_path, "receiver", lambda listen: [
            PRA, "serve", f"--storage=sqlite:{tmp_path}/store.db",
            f"--web.listen-address={listen}", *flags])
    return serve


def read_by(processes, workdir, receiver, name="reader", **settings):
    return native.raw(scenario.start_reader(processes, workdir, receiver, name, native.PROMETHEUS,
                                            **settings))


def test_through_the_door(processes, tmp_path):
    """TLS with a client's certificate, and a password; streamed answers too."""
    receiver = guard(processes, tmp_path, pra)
    sender = native.send(processes, tmp_path, receiver, ticks=12)
    native.assert_clean(sender, receiver)
    assert read_by(processes, tmp_path, receiver) == native.raw(sender) != {}
    receiver.stop()


def test_tenants_by_header(processes, tmp_path, serve):
    receiver = serve()
    one, two = ({"headers": {"X-Scope-OrgID": name}} for name in ("one", "two"))
    sender = native.send(processes, tmp_path, receiver, ticks=12, **one)
    native.assert_clean(sender, receiver)
    assert read_by(processes, tmp_path, receiver, "same", **one) == native.raw(sender) != {}
    assert read_by(processes, tmp_path, receiver, "other", **two) == {}
    assert read_by(processes, tmp_path, receiver, "nobody") == {}
    receiver.stop()


def test_labels_of_the_storage(processes, tmp_path, serve):
    """External labels come with every series; a reader's own, which nobody has sent, are ignored."""
    receiver = serve("--external-label=store=pra", "--external-label=job=not taken",
                     "--read.ignore-label=cluster")
    sender = native.send(processes, tmp_path, receiver, ticks=12)
    expected = {json.dumps({**json.loads(key), "store": "pra"}, sort_keys=True): row
                for key, row in native.raw(sender).items()}
    reader = scenario.start_reader(processes, tmp_path, receiver, program=native.PROMETHEUS)
    assert native.raw(reader) == expected != {}
    for query, found in (('count(peer_requests_total{store="pra"})', True),
                         ('count(peer_requests_total{store="other"})', False)):
        answer = reader.query(query, native.span(sender)[2])
        assert bool(answer["data"]["result"]) == found, query
    receiver.stop()


def test_exemplars_are_kept(processes, tmp_path, serve):
    """Those that Prometheus' own receiver refuses, because they come alone, too."""
    receiver = serve()
    sender = native.send(processes, tmp_path, receiver)
    native.assert_clean(sender, receiver)
    first, _, last = native.span(sender)
    query = urllib.parse.urlencode({"query": '{__name__=~"peer_.+"}', "start": first - 60,
                                    "end": last + 60})
    expected = {(json.dumps({**series["seriesLabels"], "cluster": "e2e"}, sort_keys=True),
                 json.dumps(exemplar["labels"]), round(exemplar["timestamp"] * 1000),
                 float(exemplar["value"]))
                for series in json.loads(http_get(f"{sender.url}/api/v1/query_exemplars?{query}"))["data"]
                for exemplar in series["exemplars"]}
    receiver.stop()
    database = sqlite3.connect(f"file:{tmp_path}/store.db?mode=ro", uri=True)
    got = {(json.dumps(json.loads(labels), sort_keys=True), json.dumps(json.loads(own)), time, value)
           for labels, own, time, value in database.execute(
               "SELECT series.labels, exemplars.labels, timestamp_ms, value"
               " FROM exemplars JOIN series ON series.id = series_id")}
    database.close()
    assert got == expected
    assert len(got) > 50


def test_start_timestamps_are_taken(processes, tmp_path, serve):
    """A sender that knows since when counters count says so, in another encoding of chunks."""
    receiver = serve()
    sender = native.send(processes, tmp_path, receiver,
                         features="st-storage,xor2-encoding,histograms-st-encoding")
    native.assert_clean(sender, receiver)
    assert read_by(processes, tmp_path, receiver) == native.raw(sender) != {}
    receiver.stop()


def test_an_old_prometheus_reads_the_floats(processes, tmp_path, serve):
    """2.42 asks for a sampled answer and passes over the histograms in it."""
    receiver = serve()
    sender = native.send(processes, tmp_path, receiver)
    reader = scenario.start_reader(processes, tmp_path, receiver)
    when = native.span(sender)[2]
    for query in ("peer_requests_total", "rate(peer_requests_total[5s])",
                  "peer_classic_seconds_bucket", "count_over_time(peer_requests_total[1h])"):
        expected = native.normal(sender.query(query, when))[:2]
        assert native.normal(reader.query(query, when))[:2] == expected, query
        assert expected[1], query
    receiver.stop()
