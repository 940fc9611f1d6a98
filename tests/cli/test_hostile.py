# SPDX-License-Identifier: Apache-2.0
"""What a running server answers to bytes that no honest client sends.

Every refusal is one short line with a status that is right for good (4xx), costs no more memory
than a request may have, and leaves the connection good for the next request.
"""

import http.client
import struct

import pytest

from conftest import GUARD_S, WRITE

MIB = 1 << 20
WHOLE = 32 * MIB  # decoded, at most
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


# ---- the wire

def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(tag, value):
    return varint(tag << 3) + varint(value)


def label(name, value):
    return field(1, field(1, name) + field(2, value))


def sample(value, timestamp_ms):
    return field(2, b"\x09" + struct.pack("<Q", value) + number(2, timestamp_ms))


def series(*parts):
    return field(1, b"".join(parts))


def query(*matchers, start=INT64_MIN, end=INT64_MAX):
    return field(1, number(1, start) + number(2, end) + b"".join(matchers))


def matcher(kind, name, value):
    return field(3, number(1, kind) + field(2, name) + field(3, value))


def block(message):
    """A snappy block of one literal."""
    if not message:
        return b"\0"
    return varint(len(message)) + b"\xfc" + struct.pack("<I", len(message) - 1) + message


def flood(unit, *around):
    """A small block of 32 MiB: unit again and again, in nested fields with the numbers around."""
    copies = (WHOLE - 64 - len(unit)) // 64
    head, size = b"", len(unit) + 64 * copies
    for tag in reversed(around):
        head = varint(tag << 3 | 2) + varint(size + len(head)) + head
    first = head + unit
    return (varint(len(first) + 64 * copies) + bytes([(len(first) - 1) << 2]) + first +
            (b"\xfe" + struct.pack("<H", len(unit))) * copies)


BOMB = bytes.fromhex("97eab4890a170a085f5f6e616d655f5f120b746573745f6d6574726963121009000000000000"
                     "f03f10d48fc9b2a333")
NAME = label(b"__name__", b"m")
UP = series(label(b"__name__", b"up"), sample(0, 1))
ONE = query(matcher(0, b"__name__", b"up"))

# what, body, status
BOTH = [
    ("no body", b"", 400),
    ("a declared length of 2.7 GB", BOMB, 400),
    ("a declared length beyond the ratio", varint(WHOLE) + b"\xfe\x02\0" * 1000, 400),
    ("more than may be decoded", varint(WHOLE + 1) + b"\xfe\x02\0" * 530000, 400),
    ("no snappy", b"\xff\x06\0\0sNaPpY", 400),
    ("no protobuf", block(b"hello, world"), 400),
    ("groups within groups", flood(b"\x73"), 400),
    ("field number 0", block(b"\x02\0"), 400),
    ("a varint of eleven bytes", block(b"\x70" + b"\xff" * 10 + b"\x01"), 400),
]
WRITES = BOTH + [
    ("empty series", flood(b"\x0a\0"), 413),
    ("empty metadata", flood(b"\x1a\0"), 413),
    *((f"empty field {tag} in one series", flood(bytes([tag << 3 | 2, 0]), 1), 413)
      for tag in (1, 2, 3, 4)),
    *((f"empty field {tag} in each series", flood(series(bytes([tag << 3 | 2, 0]))), 413)
      for tag in (1, 2, 3, 4)),
    ("empty spans", flood(b"\x5a\0", 1, 4), 413),
    ("empty labels of an exemplar", flood(b"\x0a\0", 1, 3), 413),
    ("one label again and again", flood(label(b"a", b"b"), 1), 413),
    ("nothing known", flood(b"\x70\0"), 204),
    ("1001 labels", block(series(*(label(b"l%d" % i, b"v") for i in range(1001)))), 400),
    ("a value of 1 MiB", block(series(NAME, label(b"a", b"x" * MIB), sample(0, 1))), 204),
    ("a value of more", block(series(NAME, label(b"a", b"x" * (MIB + 1)), sample(0, 1))), 400),
    ("NUL in labels", block(series(NAME, label(b"a\0b", b"c\0d"), sample(0, 1))), 204),
    ("invalid UTF-8 in a name", block(series(NAME, label(b"\xff", b"v"), sample(0, 1))), 400),
    ("a surrogate in a value", block(series(NAME, label(b"a", b"\xed\xa0\x80"), sample(0, 1))), 400),
    ("a repeated label", block(series(NAME, label(b"a\r\n", b"1") * 2, sample(0, 1))), 400),
    ("a label without a name", block(series(NAME, label(b"", b"v"), sample(0, 1))), 400),
    ("no labels", block(series(sample(0, 1))), 400),
    ("no metric name", block(series(label(b"a", b"b"), sample(0, 1))), 400),
    ("an empty metric name", block(series(label(b"__name__", b""), sample(0, 1))), 400),
    ("NaN and the ends of time", block(series(
        NAME, label(b"a", b"nan"), sample(0x7FF0000000000002, INT64_MAX),
        sample(0xFFFFFFFFFFFFFFFF, INT64_MIN))), 204),
    ("100,000 samples backwards", block(series(
        NAME, label(b"a", b"many"), *(sample(i, -i) for i in range(100_000)))), 204),
    ("100,000 values for one time", block(series(
        NAME, label(b"a", b"one"), *(sample(i, 7) for i in range(100_000)))), 400),
    *((f"cut after {i} bytes", WRITE[:i], 400) for i in range(len(WRITE))),
]
READ = block(query(matcher(2, b"__name__", b"u.+"), start=1, end=2))
READS = BOTH + [
    ("empty queries", flood(b"\x0a\0"), 400),
    ("empty matchers", flood(b"\x1a\0", 1), 400),
    ("groupings", flood(b"\x2a\0", 1, 4), 413),
    ("accepted types", flood(b"\x10\0"), 413),
    ("accepted types, packed", flood(b"\0\0", 2), 413),
    ("nothing known", flood(b"\x70\0"), 200),
    ("100 queries", block(query(matcher(0, b"a", b"x")) * 100), 200),
    ("101 queries", block(query(matcher(0, b"a", b"x")) * 101), 400),
    ("an unknown matcher", block(query(matcher(9, b"a", b"x"))), 400),
    ("no type that is served", block(ONE + number(2, 7)), 400),
    *((f"the expression {text[:12]}", block(query(matcher(2, b"a", text))), status)
      for text, status in ((b"a{1000}{1000}", 400), (b"((a{100}){100}){100}", 400),
                           (b"\\pL" * 1000, 400), (b"x" * 65537, 400), (b"\xff", 400), (b"(", 400),
                           (b"(a)\\1", 400), (b"(a?){500}a{500}", 200),
                           (b"(" * 9999 + b"a" + b")" * 9999, 200), (b"(a|aa)+$", 200))),
    *((f"cut after {i} bytes", READ[:i], 400) for i in range(len(READ))),
]


class Kept:
    """A client that stays on one connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GUARD_S)
        self.connection.connect()
        self.socket = self.connection.sock

    def post(self, path, body):
        self.connection.request("POST", path, body)
        answer = self.connection.getresponse()
        content = answer.read()
        assert self.connection.sock is self.socket, "the connection was closed"
        return answer.status, content


def is_one_line(content):
    return len(content) < 4096 and content.endswith(b"\n") and min(content[:-1]) >= 0x20


@pytest.mark.parametrize("storage", ["memory", "sqlite:./hostile.db"])
def test_bodies(serve, storage):
    server = serve(f"--storage={storage}")
    client, wrong = Kept(server.port), []
    for path, table in (("/api/v1/write", WRITES), ("/api/v1/read", READS)):
        for what, body, expected in table:
            status, content = client.post(path, body)
            if status != expected or status >= 400 and not is_one_line(content):
                wrong.append((path, what, expected, status, content[:100]))
            after = (client.post("/api/v1/write", block(UP))[0],
                     client.post("/api/v1/read", block(ONE))[0])
            if after != (204, 200):
                wrong.append((path, what, "the requests after it", after))
    assert not wrong
    assert server.stop() == 0
