# SPDX-License-Identifier: Apache-2.0
"""A read of 2,000 series x 240 samples: from a storage's results to the bytes of the answer.

Through make_wsgi_app; the storages have their data ready, in their own shape. In C: an exchange
over select and fetch, as tests/bench/bench_server.c has it.
"""

import functools
import hashlib
from array import array

import cramjam
import numpy
import peer
import pyarrow
from support import (
    CONTENT_TYPES, SAMPLED, STREAMED, WRITE_V1, Case, arguments, c_exchange, read_request, require,
    run_group, wsgi_call)

from prom_remote_api import Series, make_wsgi_app

SERIES, SAMPLES = 2000, 240
TIMESTAMPS = [1700000000000 + i * 15000 for i in range(SAMPLES)]


def labels_of(number):
    return {
        "__name__": "node_cpu_seconds_total", "instance": f"host-{number:04}:9100", "job": "node"}


def values_of(number):
    return [(number * 1000 + i * (number % 13)) / 3 for i in range(SAMPLES)]


def tuples():
    return [(labels_of(number), list(zip(TIMESTAMPS, values_of(number))))
            for number in range(SERIES)]


def arrays():
    return [Series(labels_of(number), array("q", TIMESTAMPS), array("d", values_of(number)))
            for number in range(SERIES)]


def numpy_arrays():
    """As columns of one table, which is how they come out of most."""
    timestamps = numpy.array(TIMESTAMPS * SERIES, dtype="int64").reshape(SERIES, SAMPLES)
    values = numpy.array([values_of(number) for number in range(SERIES)])
    return [(labels_of(number), timestamps[number], values[number]) for number in range(SERIES)]


def arrow_long():
    """A row a sample, labels in columns: what a table of samples is like."""
    columns = {}
    for name in labels_of(0):
        text = pyarrow.array([labels_of(number)[name] for number in range(SERIES)])
        indices = numpy.repeat(numpy.arange(SERIES, dtype="int32"), SAMPLES)
        columns[name] = pyarrow.DictionaryArray.from_arrays(indices, text)
    columns["timestamp"] = pyarrow.array(
        numpy.array(TIMESTAMPS * SERIES), pyarrow.timestamp("ms", "UTC"))
    columns["value"] = numpy.concatenate([values_of(number) for number in range(SERIES)])
    return pyarrow.table(columns)


def arrow_wide():
    """A row a series, its samples in lists."""
    offsets = numpy.arange(SERIES + 1, dtype="int32") * SAMPLES
    values = numpy.concatenate([values_of(number) for number in range(SERIES)])
    return pyarrow.table({
        **{name: [labels_of(number)[name] for number in range(SERIES)] for name in labels_of(0)},
        "timestamps": pyarrow.ListArray.from_arrays(offsets, numpy.array(TIMESTAMPS * SERIES)),
        "values": pyarrow.ListArray.from_arrays(offsets, values),
    })


class Ready:
    """A storage whose answer is always the same."""

    def __init__(self, series):
        self._series = series

    def process_query(self, ctx, query):
        return self._series


class Pulled:
    """The same through select and fetch, as the one in C."""

    def __init__(self, series):
        self._series = series

    def select(self, ctx, query):
        return [(series.labels, number) for number, series in enumerate(self._series)]

    def fetch(self, ctx, query, number):
        series = self._series[number]
        return series.timestamps, series.values


def answer(app, body):
    status, pieces = wsgi_call(app, "/api/v1/read", body)
    require(status.startswith("200"), status)
    return b"".join(pieces)


def answer_in_c(body):
    status, content = c_exchange("/api/v1/read", CONTENT_TYPES[WRITE_V1], body)
    require(status == 200, status)
    return content


def plain(content, response_type):
    """What must be equal, whoever compressed it."""
    return bytes(cramjam.snappy.decompress_raw(content)) if response_type == SAMPLED else content


def case(name, response_type, run):
    digest = functools.partial(_digest, run, response_type)
    return Case(name, run, digest)


def _digest(run, response_type):
    return hashlib.sha256(plain(run(), response_type)).hexdigest()


def main():
    options = arguments()
    storages = {
        "tuples": tuples(),
        "arrays": arrays(),
        "NumPy": numpy_arrays(),
        "Arrow, a row a series": arrow_wide(),
        "Arrow, a row a sample": arrow_long(),
    }
    for response_type, word in ((SAMPLED, "sampled"), (STREAMED, "streamed")):
        body = read_request(response_type)
        cases = [case("C, select and fetch", response_type, functools.partial(answer_in_c, body))]
        backends = {name: Ready(series) for name, series in storages.items()}
        backends["arrays, select and fetch"] = Pulled(storages["arrays"])
        for name, backend in backends.items():
            app = make_wsgi_app(backend)
            cases.append(case(name, response_type, functools.partial(answer, app, body)))
        if response_type == SAMPLED:
            cases.append(case("tuples, protobuf + cramjam", response_type,
                              functools.partial(peer.response, storages["tuples"])))
        run_group(f"Python, {word} answer of 2,000 x 240", cases, 2, options)


if __name__ == "__main__":
    main()
