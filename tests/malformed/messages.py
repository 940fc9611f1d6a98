# SPDX-License-Identifier: Apache-2.0
"""Valid messages of every kind, and every place in them where something can be put."""

from typing import NamedTuple

from rawproto import BYTES, FIXED64, VARINT, Raw, field, packed, zigzag

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
WRITE, READ = "/api/v1/write", "/api/v1/read"

# Wire types that each field of a message takes. A list is a message inside.
SPAN = {1: {VARINT}, 2: {VARINT}}
PACKED = {VARINT, BYTES}
DOUBLES = {FIXED64, BYTES}
HISTOGRAM = {1: {VARINT}, 2: {FIXED64}, 3: {FIXED64}, 4: {VARINT}, 5: {FIXED64}, 6: {VARINT},
             7: {FIXED64}, 8: {BYTES}, 9: PACKED, 10: DOUBLES, 11: {BYTES}, 12: PACKED,
             13: DOUBLES, 14: {VARINT}, 15: {VARINT}, 16: DOUBLES}
LABEL = {1: {BYTES}, 2: {BYTES}}

# Path to a message inside the request -> wire types of its fields.
V1_FIELDS = {
    (): {1: {BYTES}, 3: {BYTES}},
    (1,): {1: {BYTES}, 2: {BYTES}, 3: {BYTES}, 4: {BYTES}},
    (1, 1): LABEL,
    (1, 2): {1: {FIXED64}, 2: {VARINT}},
    (1, 3): {1: {BYTES}, 2: {FIXED64}, 3: {VARINT}},
    (1, 3, 1): LABEL,
    (1, 4): HISTOGRAM,
    (1, 4, 8): SPAN,
    (1, 4, 11): SPAN,
    (3,): {1: {VARINT}, 2: {BYTES}, 4: {BYTES}, 5: {BYTES}},
}
V2_FIELDS = {
    (): {4: {BYTES}, 5: {BYTES}},
    (5,): {1: PACKED, 2: {BYTES}, 3: {BYTES}, 4: {BYTES}, 5: {BYTES}},
    (5, 2): {1: {FIXED64}, 2: {VARINT}, 3: {VARINT}},
    (5, 3): HISTOGRAM | {17: {VARINT}},
    (5, 3, 8): SPAN,
    (5, 3, 11): SPAN,
    (5, 4): {1: PACKED, 2: {FIXED64}, 3: {VARINT}},
    (5, 5): {1: {VARINT}, 3: {VARINT}, 4: {VARINT}},
}
READ_FIELDS = {
    (): {1: {BYTES}, 2: PACKED},
    (1,): {1: {VARINT}, 2: {VARINT}, 3: {BYTES}, 4: {BYTES}},
    (1, 3): {1: {VARINT}, 2: {BYTES}, 3: {BYTES}},
    (1, 4): {1: {VARINT}, 2: {BYTES}, 3: {VARINT}, 4: {VARINT}, 5: {BYTES}, 6: {VARINT},
             7: {VARINT}},
}


class Kind(NamedTuple):
    """A kind of request: how it is sent, what it holds, what it is answered."""

    name: str
    path: str
    content_type: str
    whole: list
    fields: dict
    good: int


def histogram(timestamp_ms, *more):
    return [(1, 7), (3, 1.5), (4, 0), (5, 0.25), (6, 1),
            (8, [(1, 0), (2, 1)]), (9, packed(zigzag(2))),
            (11, [(1, 0), (2, 2)]), (12, packed(zigzag(1), zigzag(2))), (15, timestamp_ms), *more]


def labels(*pairs):
    return [(1, [(1, name), (2, value)]) for name, value in pairs]


# What Prometheus sends, and everything it can send, in one request.
FULL_V1 = [
    (1, [*labels((b"__name__", b"up"), (b"job", b"x")), (2, [(1, 1.5), (2, 1000)]),
         (3, [*labels((b"trace_id", b"abc")), (2, 0.5), (3, 1000)])]),
    (1, [*labels((b"__name__", b"latency"), (b"job", b"x")), (4, histogram(1000))]),
    (3, [(1, 1), (2, b"up"), (4, b"whether it is up"), (5, b"bool")]),
]
SYMBOLS = [b"", b"__name__", b"up", b"job", b"x", b"trace_id", b"abc", b"help", b"unit", b"duration"]
FULL_V2 = [
    *((4, symbol) for symbol in SYMBOLS),
    (5, [(1, packed(1, 2, 3, 4)), (2, [(1, 1.5), (2, 1000), (3, 500)]),
         (4, [(1, packed(5, 6)), (2, 0.5), (3, 1000)]), (5, [(1, 1), (3, 7), (4, 8)])]),
    (5, [(1, packed(1, 9, 3, 4)), (3, histogram(1000, (17, 500)))]),
]
FULL_READ = [
    (1, [(1, 0), (2, 2000), (3, [(1, 2), (2, b"__name__"), (3, b"u.")]),
         (4, [(1, 15), (2, b"rate"), (3, 1), (4, 2), (5, b"job"), (6, 1), (7, 300)])]),
    (2, packed(0)),
]

KINDS = [
    Kind("v1", WRITE, V1, FULL_V1, V1_FIELDS, 204),
    Kind("v2", WRITE, V2, FULL_V2, V2_FIELDS, 204),
    Kind("read", READ, V1, FULL_READ, READ_FIELDS, 200),
]


def put(fields, path, extra):
    """The message with extra (bytes) at the end of the first message at path."""
    if not path:
        return [*fields, (0, Raw(extra))]
    for i, (number, content) in enumerate(fields):
        if number == path[0] and isinstance(content, list) and has(content, path[1:]):
            return [*fields[:i], (number, put(content, path[1:], extra)), *fields[i + 1:]]
    raise KeyError(path)


def has(fields, path):
    return not path or any(number == path[0] and isinstance(content, list) and
                           has(content, path[1:]) for number, content in fields)


def boundaries(fields):
    """Lengths at which a message may end and still be one."""
    ends, at = {0}, 0
    for number, content in fields:
        at += len(field(number, content))
        ends.add(at)
    return ends
