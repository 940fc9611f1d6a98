# SPDX-License-Identifier: Apache-2.0
"""A write of 10,000 series: from the body to the data in a storage's hands.

Ours goes through make_wsgi_app, so it is decoded, checked and answered; the peers only decode.
"""

import functools
import math

import numpy
import peer
import pyarrow
from support import (
    CONTENT_TYPES, WRITE_V1, WRITE_V2, Case, arguments, c_decode, c_exchange, digest_of, require,
    run_group, write_request, wsgi_call)

from prom_remote_api import WriteRequest, make_wsgi_app


class Taker:
    """A storage that takes the data in one way; `digest` has it looked at too, while it may be."""

    def __init__(self, take, series_of, block, version=WRITE_V1):
        self._take, self._series_of, self._digest = take, series_of, None
        self._call = functools.partial(
            wsgi_call, make_wsgi_app(self), "/api/v1/write", block, CONTENT_TYPES[version])

    def write(self, ctx, request):
        taken = self._take(request)
        if self._digest == "":
            self._digest = self._series_of(taken)

    def run(self):
        status, _ = self._call()
        require(status.startswith("204"), status)

    def digest(self):
        self._digest = ""
        self.run()
        result, self._digest = self._digest, None
        return result


def case(name, take, series_of, block, target=0, version=WRITE_V1):
    taker = Taker(take, series_of, block, version)
    return Case(name, taker.run, taker.digest, target)


def peer_case(name, take, digest, block):
    return Case(name, lambda: take(block), lambda: digest(take(block)))


# ---- columns


def columns(request):
    return (request.data, request.label_spans, request.label_offsets, request.timestamps,
            request.values, request.sample_offsets)


def digest_of_columns(taken):
    data, spans, label_offsets, timestamps, values, sample_offsets = taken
    data, spans = bytes(data), spans.tolist()
    text = [(data[a:a + b].decode(), data[c:c + d].decode()) for a, b, c, d in spans]
    return digest_of(
        (dict(text[label_offsets[i]:label_offsets[i + 1]]),
         timestamps[sample_offsets[i]:sample_offsets[i + 1]],
         values[sample_offsets[i]:sample_offsets[i + 1]])
        for i in range(len(label_offsets) - 1))


def digest_of_peer_columns(taken):
    names, texts, label_ends, timestamps, values, sample_ends = taken
    label = sample = 0
    series = []
    for label_end, sample_end in zip(label_ends, sample_ends):
        series.append((dict(zip(names[label:label_end], texts[label:label_end])),
                       timestamps[sample:sample_end], values[sample:sample_end]))
        label, sample = label_end, sample_end
    return digest_of(series)


# ---- Arrow


def tables(request):
    return pyarrow.table(request.samples), pyarrow.table(request.series)


def digest_of_tables(taken):
    samples, series = taken
    numbers = numpy.asarray(samples["series"])
    places = numpy.searchsorted(numbers, numpy.arange(len(series) + 1))
    timestamps = numpy.asarray(samples["timestamp"]).astype("int64")
    values = numpy.asarray(samples["value"])
    return digest_of(
        (dict(labels), timestamps[start:end].tolist(), values[start:end].tolist())
        for labels, start, end in zip(series["labels"].to_pylist(), places, places[1:]))


# ---- dicts of strings and lists of tuples


def dicts(request):
    return [(series.labels, series.samples) for series in request]


def digest_of_dicts(taken):
    return digest_of((labels, [t for t, _ in samples], [v for _, v in samples])
                     for labels, samples in taken)


# ---- iteration


def iterate(request):
    count, total = 0, 0.0
    for series in request:
        for name, text in series.labels.items():
            count += 1
        for timestamp, value in series.samples:
            total += value
    return count, total


def digest_of_sums(taken):
    count, total = taken
    return f"{count} {'nan' if math.isnan(total) else total}"


def main():
    options = arguments()
    block = write_request(10000)
    run_group("Python, 10,000 series as columns", [
        peer_case("protobuf + cramjam", peer.columns, digest_of_peer_columns, block),
        case("ours", columns, digest_of_columns, block, 1 / 25),
        Case("protobuf + cramjam, parsed and not looked at", lambda: peer.parse(block)),
    ], 1, options)
    run_group("Python, 10,000 series as columns, and C", [
        Case("an exchange in C", lambda: c_exchange("/api/v1/write", CONTENT_TYPES[WRITE_V1], block)),
        case("make_wsgi_app and a storage", columns, digest_of_columns, block, 1.15),
    ], 20, options)
    run_group("Python, 10,000 series decoded, and C", [
        Case("decoded in C, into a warm request", lambda: c_decode(block)),
        Case("decoded in C, into a new request", lambda: c_decode(block, new=True)),
        Case("WriteRequest.decode", lambda: columns(WriteRequest.decode(block)),
             lambda: digest_of_columns(columns(WriteRequest.decode(block))), 1.15),
    ], 20, options)
    run_group("Python, 10,000 series as Arrow tables of samples and of labels", [
        peer_case("protobuf + cramjam", peer.tables, digest_of_tables, block),
        case("ours", tables, digest_of_tables, block),
    ], 1, options)
    run_group("Python, 10,000 series as dicts and lists of tuples", [
        peer_case("protobuf + cramjam", peer.dicts, digest_of_dicts, block),
        case("ours", dicts, digest_of_dicts, block, 1 / 3),
    ], 1, options)
    run_group("Python, 10,000 series, iteration over all", [
        peer_case("protobuf + cramjam", peer.iterate, digest_of_sums, block),
        case("ours", iterate, digest_of_sums, block, 1 / 2),
    ], 1, options)
    newer = write_request(10000, WRITE_V2)
    run_group("Python, 10,000 series in 2.0 as dicts and lists of tuples", [
        peer_case("protobuf + cramjam", peer.dicts_v2, digest_of_dicts, newer),
        case("ours", dicts, digest_of_dicts, newer, version=WRITE_V2),
    ], 1, options)


if __name__ == "__main__":
    main()
