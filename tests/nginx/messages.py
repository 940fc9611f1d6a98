# SPDX-License-Identifier: Apache-2.0
"""Requests of both versions, ready to be sent, and answers taken apart."""

import wire

T = 1700000000000
V1 = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
      "X-Prometheus-Remote-Write-Version": "0.1.0"}
V2 = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
      "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0"}
HEADERS = {1: V1, 2: V2}
READ = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Read-Version": "0.1.0"}


def up(**labels):
    return {"__name__": "up", **labels}


def v1(*all_series, metadata=()):
    """A body of remote write 1.0 of labels, each with one sample."""
    return wire.compress(wire.write_request([(labels, [(T, float(i))]) for i, labels in enumerate(all_series)],
                                            metadata))


def v2(*all_series):
    return wire.compress(wire.write_request_v2(
        [{"labels": labels, "samples": [(T, float(i), 0)]} for i, labels in enumerate(all_series)]))


BODY = {1: v1, 2: v2}


def many(count, samples=1, version=1):
    """A body of count series."""
    all_series = [up(instance=f"host-{i}:9100", job="node") for i in range(count)]
    if version == 1:
        return wire.compress(wire.write_request(
            [(labels, [(T + k, i + k / 8) for k in range(samples)]) for i, labels in enumerate(all_series)]))
    return v2(*all_series)


def read(*matchers, start=0, end=T + 10**9, streamed=False):
    return wire.compress(wire.read_request(
        [wire.query(start, end, one) for one in (matchers or ([("__name__", "=", "up")],))], streamed))


def results(answer):
    assert answer.status == 200, answer
    return wire.read_response(wire.uncompress(answer.body))
