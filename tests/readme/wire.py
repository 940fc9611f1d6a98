# SPDX-License-Identifier: Apache-2.0
"""Just enough of the wire format to write one series and read it back."""

import struct

HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, content):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def label(name, value):
    return field(1, name.encode()) + field(2, value.encode())


def write_request(labels, value, timestamp_ms):
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(timestamp_ms)
    series = b"".join(field(1, label(*pair)) for pair in sorted(labels.items()))
    return compress(field(1, series + field(2, sample)))


def read_request(name, start_ms, end_ms):
    """Asks for __name__="name"."""
    matcher = field(2, b"__name__") + field(3, name.encode())
    return compress(field(1, b"\x08" + varint(start_ms) + b"\x10" + varint(end_ms)
                          + field(3, matcher)))


def compress(data):
    """A snappy block of one literal."""
    assert 0 < len(data) <= 0x10000
    return varint(len(data)) + bytes([61 << 2]) + struct.pack("<H", len(data) - 1) + data


def uncompress(block):
    at = 0
    while block[at] & 0x80:
        at += 1
    at += 1
    out = bytearray()
    while at < len(block):
        tag, at = block[at], at + 1
        kind, high = tag & 3, tag >> 2
        if kind == 0:
            if high >= 60:
                extra = high - 59
                high = int.from_bytes(block[at:at + extra], "little")
                at += extra
            out += block[at:at + high + 1]
            at += high + 1
            continue
        if kind == 1:
            length, offset = 4 + (high & 7), (high >> 3) << 8 | block[at]
            at += 1
        else:
            size = 2 if kind == 2 else 4
            length, offset = high + 1, int.from_bytes(block[at:at + size], "little")
            at += size
        for _ in range(length):
            out.append(out[-offset])
    return bytes(out)
