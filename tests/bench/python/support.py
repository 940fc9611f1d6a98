# SPDX-License-Identifier: Apache-2.0
"""What the Python benchmarks share: interleaved rounds, equal work proved by digests, what C gives.

Like tests/bench/bench.h: prints one JSON object a line, for tests/bench/run.py.
"""

import argparse
import ctypes
import gc
import hashlib
import io
import json
import os
import pathlib
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

BUILT = pathlib.Path(os.environ["PRA_BENCH_BUILT"])
WRITE_V1, WRITE_V2 = 1, 2
SAMPLED, STREAMED = 0, 1


class Case(NamedTuple):
    """run is the work on the clock; digest, if there is one, does it again and says what it gave.

    target: at most this many times the first case of the group; 0 = none.
    """

    name: str
    run: Callable[[], object]
    digest: Callable[[], str] | None = None
    target: float = 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def require(ok: object, what: str) -> None:
    if not ok:
        sys.exit(f"bench: {what}")


def row(group: str, name: str, samples: Sequence[float], target: float = 0) -> None:
    """countable: whether --instructions counts it; an interpreter in valgrind takes minutes."""
    print(json.dumps({"group": group, "name": name, "unit": "us", "target": target,
                      "countable": False, "samples": [round(sample, 3) for sample in samples]}),
          flush=True)


def _one_sample(case: Case, iterations: int) -> float:
    """CPU time, as in C: what others on the machine take does not count."""
    start = time.process_time_ns()
    for _ in range(iterations):
        case.run()
    return (time.process_time_ns() - start) / 1000 / iterations


def run_group(name: str, cases: Sequence[Case], iterations: int, options: argparse.Namespace) -> None:
    """All cases in turn, round after round, each as often as is about `iterations` of the first."""
    digests = {case.name: case.digest() for case in cases if case.digest}
    require(len(set(digests.values())) <= 1, f"{name}: not the same results: {digests}")
    gc.collect()
    gc.freeze()  # what is imported here should not weigh on what makes many objects
    times = []
    for case in cases:
        case.run()
        times.append(_one_sample(case, 1))
    counts = [max(1, round(iterations * times[0] / each)) for each in times]
    samples: list[list[float]] = [[] for _ in cases]
    for _ in range(options.rounds):
        for case, count, kept in zip(cases, counts, samples):
            kept.append(_one_sample(case, count))
    for case, kept in zip(cases, samples):
        row(name, case.name, kept, case.target)


def digest_of(series: Iterable[tuple[dict[str, str], Iterable[int], Iterable[float]]]) -> str:
    """Of every byte of every series, in their order; of labels in any."""
    digest = hashlib.sha256()
    for labels, timestamps, values in series:
        digest.update(repr(sorted(labels.items())).encode())
        digest.update(array("q", timestamps).tobytes() + array("d", values).tobytes())
    return digest.hexdigest()


# ---- what C gives: native.c


native = ctypes.CDLL(str(BUILT / "native.so"))
native.native_write_request.restype = ctypes.c_size_t
native.native_read_request.restype = ctypes.c_size_t
native.native_filter.restype = ctypes.c_size_t
native.native_serve.restype = ctypes.c_uint16


def _bytes_of(function: Callable[..., int], *args: int) -> bytes:
    place = ctypes.c_void_p()
    length = function(*args, ctypes.byref(place))
    return ctypes.string_at(place, length)


def write_request(series: int, version: int = WRITE_V1) -> bytes:
    """A snappy block: recorded data if it is there, else made up (see bench_write_request)."""
    return _bytes_of(native.native_write_request, ctypes.c_size_t(series), version)


def read_request(response_type: int) -> bytes:
    return _bytes_of(native.native_read_request, response_type)


def c_decode(block: bytes, version: int = WRITE_V1, *, new: bool = False) -> None:
    function = native.native_decode_new if new else native.native_decode
    function(block, ctypes.c_size_t(len(block)), version)


def c_filter(block: bytes, version: int = WRITE_V1) -> bytes:
    """Decoded, relabelled, encoded again; see native.c."""
    place = ctypes.c_void_p()
    length = native.native_filter(block, ctypes.c_size_t(len(block)), version, ctypes.byref(place))
    return ctypes.string_at(place, length)


def c_exchange(target: str, content_type: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of an answer of the storage of serving.c."""
    place, length = ctypes.c_void_p(), ctypes.c_size_t()
    status = native.native_exchange(
        target.encode(), content_type.encode(), body, ctypes.c_size_t(len(body)),
        ctypes.byref(place), ctypes.byref(length))
    return status, ctypes.string_at(place, length.value) if length.value else b""


class Load(NamedTuple):
    requests: float
    seconds: float
    client_us: float


def load(port: int, body: bytes, connections: int, seconds: float) -> Load:
    result = (ctypes.c_double * 3)()
    native.native_load(ctypes.c_uint16(port), body, ctypes.c_size_t(len(body)), connections,
                       ctypes.c_double(seconds), result)
    return Load(*result)


# ---- a WSGI application, without a server


CONTENT_TYPES = {
    WRITE_V1: "application/x-protobuf",
    WRITE_V2: "application/x-protobuf;proto=io.prometheus.write.v2.Request",
}


def wsgi_call(app, target: str, body: bytes, content_type: str = CONTENT_TYPES[WRITE_V1]):
    """Status line and pieces of the answer."""
    said = []
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": target,
        "QUERY_STRING": "",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": "snappy",
        "HTTP_USER_AGENT": "Prometheus/3.4.0",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
    }
    answer = app(environ, lambda status, headers: said.append(status))
    pieces = list(answer)
    answer.close()
    return said[0], pieces
