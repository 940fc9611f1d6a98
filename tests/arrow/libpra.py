"""libpra through cffi, and what its Arrow structs need to be an exporter for Python."""

import ctypes
import os
import struct

import cffi

ffi = cffi.FFI()
for cdef in os.environ["PRA_TEST_CDEFS"].split(":"):
    with open(cdef) as text:
        ffi.cdef(text.read())
pra = ffi.dlopen(os.environ["PRA_TEST_LIBRARY"])

_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.restype = ctypes.py_object
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_kept = []  # structs that capsules point to: whoever takes them leaves them empty

TABLES = {
    "samples": pra.PRA_ARROW_SAMPLES,
    "series": pra.PRA_ARROW_SERIES,
    "histograms": pra.PRA_ARROW_HISTOGRAMS,
    "exemplars": pra.PRA_ARROW_EXEMPLARS,
    "metadata": pra.PRA_ARROW_METADATA,
}


class Failure(Exception):
    """Code and message of an error of libpra."""


def check(rc, err=None):
    if rc:
        text = ffi.string(err.message if err else pra.pra_strerror(rc)).decode()
        raise Failure(ffi.string(pra.pra_error_name(rc)).decode(), text)


def new(kind, *args):
    out = ffi.new(f"pra_{kind} *[1]")
    check(getattr(pra, f"pra_{kind}_new")(*args, out))
    return ffi.gc(out[0], getattr(pra, f"pra_{kind}_free"))


def string(s):
    raw = ffi.new("char[]", s.encode() if isinstance(s, str) else s)
    return raw, {"ptr": raw, "len": len(raw) - 1}


def labels_of(pairs):
    """Labels and what keeps their text alive."""
    strings = [(string(n), string(v)) for n, v in pairs]
    out = ffi.new("pra_label[]", [{"name": n[1], "value": v[1]} for n, v in strings])
    return out, strings


def capsule(kind, cstruct, name):
    _kept.append(cstruct)
    return _capsule_new(int(ffi.cast("uintptr_t", cstruct)), name, None)


class Table:
    """A table of a request, with the methods that Arrow's libraries look for."""

    def __init__(self, request, table):
        self.request = request
        self.table = TABLES[table]

    def __arrow_c_schema__(self):
        out = ffi.new("struct ArrowSchema *")
        check(pra.pra_arrow_schema(self.table, ffi.NULL, out))
        return capsule("schema", out, b"arrow_schema")

    def __arrow_c_array__(self, requested_schema=None):
        schema, array = ffi.new("struct ArrowSchema *"), ffi.new("struct ArrowArray *")
        err = ffi.new("pra_error *")
        check(pra.pra_arrow_export(self.request, self.table, ffi.NULL, schema, array, err), err)
        return (
            capsule("schema", schema, b"arrow_schema"),
            capsule("array", array, b"arrow_array"),
        )

    def __arrow_c_stream__(self, requested_schema=None):
        out, err = ffi.new("struct ArrowArrayStream *"), ffi.new("pra_error *")
        check(pra.pra_arrow_stream(self.request, self.table, ffi.NULL, out, err), err)
        return capsule("stream", out, b"arrow_array_stream")


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, payload):
    """A field of a protobuf message: an integer, a double or bytes."""
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    if isinstance(payload, float):
        return varint(number << 3 | 1) + struct.pack("<d", payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def zigzag(n):
    return varint(n << 1 ^ n >> 63)


HISTOGRAM = b"".join([
    field(1, 6),  # count
    field(3, 12.5),  # sum
    varint(4 << 3) + zigzag(1),  # schema
    field(5, 0.25),  # zero threshold
    field(6, 1),  # zero count
    field(11, varint(1 << 3) + zigzag(-2) + field(2, 2)),  # positive span
    field(12, zigzag(2) + zigzag(1)),  # positive deltas: 2, 3
    field(14, 3),  # reset hint: gauge
    field(15, 5000),  # timestamp
])  # fmt: skip


def built(series):
    """A request of (labels, samples, start timestamps or None)."""
    req = new("write_request", ffi.NULL)
    for labels, samples, starts in series:
        array, _keep = labels_of(labels)
        check(pra.pra_write_request_add_series(req, array, len(labels)))
        times = ffi.new("int64_t[]", [t for t, _ in samples])
        values = ffi.new("double[]", [v for _, v in samples])
        check(
            pra.pra_write_request_add_samples(req, times, values, starts or ffi.NULL, len(samples))
        )
    return req


def example():
    """Three series with samples, an exemplar, a histogram and metadata."""
    req = built([
        ([("__name__", "up"), ("instance", "a:1"), ("job", "web")], [(1000, 1.0), (2000, 0.5)], [0, 900]),
        ([("__name__", "up"), ("instance", "b:1"), ("job", "web")], [(1000, 0.0)], None),
        ([("__name__", "size"), ("job", "größe")], [], None),
    ])  # fmt: skip
    trace, _keep = labels_of([("trace_id", "web")])
    check(pra.pra_write_request_add_exemplar(req, trace, 1, 1500, 0.25))
    err = ffi.new("pra_error *")
    check(
        pra.pra_write_request_add_histogram_encoded(req, HISTOGRAM, len(HISTOGRAM), err), err
    )
    family, text, unit, nothing = string("up"), string("is it up"), string("1"), string("")
    add = pra.pra_write_request_add_metadata
    check(add(req, pra.PRA_METRIC_GAUGE, family[1], text[1], unit[1]))
    check(add(req, pra.PRA_METRIC_HISTOGRAM, nothing[1], string(b"\xff!")[1], nothing[1]))
    return req


def columns_of(view):
    out = ffi.new("pra_columns *", {"size": ffi.sizeof("pra_columns")})
    check(view(out))
    return out


def series_of(columns):
    """[(labels, [(timestamp, value)])] of columns, labels as a dict."""
    text = ffi.buffer(columns.base, columns.base_len)[:] if columns.base_len else b""

    def at(span):
        return text[span.off : span.off + span.len].decode()

    out = []
    for i in range(columns.series_count):
        names = range(columns.label_offsets[i], columns.label_offsets[i + 1])
        samples = range(columns.sample_offsets[i], columns.sample_offsets[i + 1])
        out.append((
            {at(columns.labels[j].name): at(columns.labels[j].value) for j in names},
            [(columns.timestamps_ms[j], columns.values[j]) for j in samples],
        ))  # fmt: skip
    return out


def push(exporter, max_memory_bytes=0):
    """What a read is answered with if a storage gives an Arrow table."""
    sink, err = ffi.new("pra_series_sink *[1]"), ffi.new("pra_error *")
    limits = ffi.new("pra_limits *", {"size": ffi.sizeof("pra_limits")})
    limits.max_memory_bytes = max_memory_bytes
    check(pra.pra_series_sink_new(ffi.NULL, -(1 << 62), 1 << 62, ffi.NULL, sink))
    sink = ffi.gc(sink[0], pra.pra_series_sink_free)
    stream_capsule = exporter.__arrow_c_stream__()
    stream = ffi.cast(
        "struct ArrowArrayStream *", _capsule_pointer(stream_capsule, b"arrow_array_stream")
    )
    rc = pra.pra_arrow_push(stream, sink, ffi.NULL, limits, err)
    assert not stream.release
    check(rc, err)
    buffer, response = new("buffer", ffi.NULL), new("read_response", ffi.NULL)
    sinks = ffi.new("pra_series_sink *[1]", [sink])
    check(pra.pra_read_response_encode(sinks, 1, buffer, err), err)
    data, length = pra.pra_buffer_data(buffer), pra.pra_buffer_len(buffer)
    check(pra.pra_read_response_decode(response, data, length, ffi.NULL, err), err)
    return series_of(columns_of(lambda out: pra.pra_read_response_columns(response, out)))
