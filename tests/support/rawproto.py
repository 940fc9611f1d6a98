# SPDX-License-Identifier: Apache-2.0
"""Protocol buffers and snappy blocks by hand, so that anything can be wrong with them.

A message is a list of (number, content): an int is a varint, a float or Bits eight bytes, bytes a
length and the bytes, a list a message, Raw whatever it holds.
"""

import struct
from typing import NamedTuple

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)


class Bits(NamedTuple):
    """A double as its bits."""

    bits: int


class Raw(NamedTuple):
    """Bytes in place of a field."""

    data: bytes


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def packed(*numbers):
    return b"".join(map(varint, numbers))


def zigzag(number):
    return number << 1 ^ number >> 63


def key(number, wire):
    return varint(number << 3 | wire)


def field(number, content):
    if isinstance(content, Raw):
        return content.data
    if isinstance(content, int):
        return key(number, VARINT) + varint(content)
    if isinstance(content, float):
        return key(number, FIXED64) + struct.pack("<d", content)
    if isinstance(content, Bits):
        return key(number, FIXED64) + struct.pack("<Q", content.bits)
    if isinstance(content, list):
        content = message(content)
    return key(number, BYTES) + varint(len(content)) + content


def message(fields):
    return b"".join(field(number, content) for number, content in fields)


def block(data):
    """A snappy block of one literal."""
    if not data:
        return b"\0"
    return varint(len(data)) + b"\xfc" + struct.pack("<I", len(data) - 1) + data


def flood(unit, *around, size=32 << 20, before=b""):
    """A small block of a large message: before, then unit again and again, in nested fields with
    the numbers around."""
    copies = (size - 64 - len(unit) - len(before)) // 64
    head, inside = b"", len(unit) + 64 * copies
    for number in reversed(around):
        head = key(number, BYTES) + varint(inside + len(head)) + head
    first = before + head + unit
    literal = b"\xf0" + bytes([len(first) - 1]) if len(first) > 60 else bytes([len(first) - 1 << 2])
    copy = b"\xfe" + struct.pack("<H", len(unit))
    return varint(len(first) + 64 * copies) + literal + first + copy * copies
