"""usage: storage.py LIBRARY CDEF: a storage written with cffi answers a write and a read."""

import sys

import cffi

library, cdef = sys.argv[1:]
ffi = cffi.FFI()
with open(cdef) as text:
    ffi.cdef(text.read())
pra = ffi.dlopen(library)


def check(rc):
    assert rc == 0, ffi.string(pra.pra_strerror(rc))


def new(kind, *args):
    out = ffi.new(f"pra_{kind} *[1]")
    check(getattr(pra, f"pra_{kind}_new")(*args, out))
    return ffi.gc(out[0], getattr(pra, f"pra_{kind}_free"))


keep = []  # cffi memory lives as long as its Python object


def string(s):
    raw = ffi.new("char[]", s.encode())
    keep.append(raw)
    return {"ptr": raw, "len": len(raw) - 1}


def columns_of(view):
    c = ffi.new("pra_columns *", {"size": ffi.sizeof("pra_columns")})
    check(view(c))
    return c


# The storage: one list of (timestamp, value).
stored = []
destroyed = []


@ffi.callback(
    "int(void *, const pra_context *, const pra_write_request *, pra_write_result *, pra_error *)"
)
def write(_self, _ctx, request, _result, _err):
    c = columns_of(lambda out: pra.pra_write_request_columns(request, out))
    stored.extend((c.timestamps_ms[i], c.values[i]) for i in range(c.sample_count))
    return 0


@ffi.callback("int(void *, const pra_context *, const pra_query *, pra_series_sink *, pra_error *)")
def process_query(_self, _ctx, query, sink, err):
    labels = ffi.new("pra_label[1]", [{"name": string("__name__"), "value": string("up")}])
    if not pra.pra_query_matches(query, labels, 1):
        return 0
    times = ffi.new("int64_t[]", [t for t, _ in stored])
    values = ffi.new("double[]", [v for _, v in stored])
    return pra.pra_series_sink_add(sink, labels, 1, times, values, len(stored), err)


@ffi.callback("void(void *)")
def destroy(_self):
    destroyed.append(True)


vtbl = ffi.new("pra_storage_vtbl *", {"size": ffi.sizeof("pra_storage_vtbl")})
vtbl.write, vtbl.process_query, vtbl.destroy = write, process_query, destroy
storage = ffi.new("pra_storage *", {"vtbl": vtbl})
handler_out = ffi.new("pra_handler *[1]")
check(pra.pra_handler_new(ffi.NULL, storage, ffi.NULL, handler_out, ffi.NULL))
handler = handler_out[0]
exchange_out = ffi.new("pra_exchange *[1]")
check(pra.pra_exchange_new(handler, ffi.NULL, exchange_out))
exchange = exchange_out[0]


def post(target, message):
    block = new("buffer", ffi.NULL)
    check(
        pra.pra_snappy_compress(
            pra.pra_buffer_data(message), pra.pra_buffer_len(message), block, ffi.NULL
        )
    )
    head = ffi.new(
        "pra_request_head *",
        {
            "size": ffi.sizeof("pra_request_head"),
            "method": string("POST"),
            "target": string(target),
        },
    )
    check(pra.pra_exchange_begin(exchange, head))
    check(pra.pra_exchange_feed(exchange, pra.pra_buffer_data(block), pra.pra_buffer_len(block)))
    check(pra.pra_exchange_end(exchange))
    check(pra.pra_exchange_run(exchange))
    return pra.pra_exchange_status(exchange)


request = new("write_request", ffi.NULL)
up = ffi.new("pra_label[1]", [{"name": string("__name__"), "value": string("up")}])
check(pra.pra_write_request_add_series(request, up, 1))
check(
    pra.pra_write_request_add_samples(
        request, ffi.new("int64_t[]", [1000, 2000]), ffi.new("double[]", [1, 2.5]), ffi.NULL, 2
    )
)
message = new("buffer", ffi.NULL)
check(pra.pra_write_request_encode(request, pra.PRA_WRITE_V1, message, ffi.NULL))
assert post("/api/v1/write", message) == 204
assert stored == [(1000, 1), (2000, 2.5)]

read = new("read_request", ffi.NULL)
check(pra.pra_read_request_add_query(read, 1500, 3000))
check(
    pra.pra_read_request_add_matcher(
        read, pra.PRA_MATCH_REGEX, string("__name__"), string("u[op]")
    )
)
message = new("buffer", ffi.NULL)
check(pra.pra_read_request_encode(read, message, ffi.NULL))
assert post("/api/v1/read", message) == 200
body, length = ffi.new("const void *[1]"), ffi.new("size_t[1]")
check(pra.pra_exchange_body(exchange, body, length))
response = new("read_response", ffi.NULL)
check(
    pra.pra_read_response_decode_snappy(response, body[0], length[0], ffi.NULL, ffi.NULL)
)
c = columns_of(lambda out: pra.pra_read_response_columns(response, out))
assert (c.series_count, c.timestamps_ms[0], c.values[0]) == (1, 2000, 2.5)

pra.pra_exchange_free(exchange)
pra.pra_handler_free(handler)
assert destroyed == [True]
