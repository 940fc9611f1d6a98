"""Just enough of protobuf and snappy to play Prometheus, independent of the library."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

STALE_BITS = 0x7FF0000000000002
NORMAL_NAN_BITS = 0x7FF8000000000001

Sample = tuple[int, float]


def from_bits(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(value)


def to_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


# ---- protobuf


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def data(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(raw):
        key, at = read_varint(raw, at)
        if key & 7 == 0:
            value, at = read_varint(raw, at)
            yield key >> 3, value
        elif key & 7 == 1:
            yield key >> 3, raw[at : at + 8]
            at += 8
        else:
            assert key & 7 == 2
            size, at = read_varint(raw, at)
            yield key >> 3, raw[at : at + size]
            at += size


# ---- messages


def label(name: str, value: str) -> bytes:
    return data(1, name) + data(2, value)


def series(labels: Mapping[str, str] | Iterable[tuple[str, str]], samples: Iterable[Sample]) -> bytes:
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    out = b"".join(data(1, label(name, value)) for name, value in pairs)
    return out + b"".join(data(2, double(1, v) + number(2, t)) for t, v in samples)


def write_request(
    all_series: Iterable[tuple[Mapping[str, str] | Iterable[tuple[str, str]], Iterable[Sample]]],
    metadata: Iterable[tuple[int, str, str, str]] = (),
) -> bytes:
    out = b"".join(data(1, series(labels, samples)) for labels, samples in all_series)
    for kind, family, text, unit in metadata:
        out += data(3, number(1, kind) + data(2, family) + data(4, text) + data(5, unit))
    return out


MATCH = {"=": 0, "!=": 1, "=~": 2, "!~": 3}


def query(start_ms: int, end_ms: int, matchers: Iterable[tuple[str, str, str]], hints: bytes = b"") -> bytes:
    out = number(1, start_ms) + number(2, end_ms)
    for name, kind, value in matchers:
        out += data(3, number(1, MATCH[kind]) + data(2, name) + data(3, value))
    return out + (data(4, hints) if hints else b"")


def read_request(queries: Iterable[bytes]) -> bytes:
    return b"".join(data(1, one) for one in queries)


def read_response(raw: bytes) -> list[list[tuple[dict[str, str], list[Sample]]]]:
    results = []
    for field, result in fields(raw):
        assert field == 1
        results.append([_series(one) for _, one in fields(result)])
    return results


def _series(raw: bytes) -> tuple[dict[str, str], list[Sample]]:
    labels, samples = {}, []
    for field, value in fields(raw):
        parts = dict(fields(value))
        if field == 1:
            labels[parts[1].decode()] = parts.get(2, b"").decode()
        elif field == 2:
            stamp = parts.get(2, 0)
            stamp -= (1 << 64) if stamp >> 63 else 0
            samples.append((stamp, struct.unpack("<d", parts.get(1, bytes(8)))[0]))
    return labels, samples


# ---- snappy


def compress(raw: bytes) -> bytes:
    """Literals only."""
    out = bytearray(varint(len(raw)))
    for at in range(0, len(raw), 65536):
        piece = raw[at : at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def uncompress(raw: bytes) -> bytes:
    size, at = read_varint(raw, 0)
    out = bytearray()
    while at < len(raw):
        tag = raw[at]
        at += 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                extra = length - 59
                length = int.from_bytes(raw[at : at + extra], "little")
                at += extra
            out += raw[at : at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | raw[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(raw[at : at + width], "little")
            at += width
        for _ in range(length):
            out.append(out[-offset])
    assert len(out) == size
    return bytes(out)
