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


def _zigzag(values: Iterable[int]) -> bytes:
    return b"".join(varint(value << 1 ^ value >> 63) for value in values)


def histogram(
    timestamp: int,
    count: float,
    total: float,
    *,
    schema: int = 0,
    zero: tuple[float, float] = (0.0, 0),
    positive: tuple[Iterable[tuple[int, int]], Iterable[float]] = ((), ()),
    negative: tuple[Iterable[tuple[int, int]], Iterable[float]] = ((), ()),
    custom: Iterable[float] = (),
    hint: int = 0,
    start: int = 0,
) -> bytes:
    """A Histogram message; buckets are deltas, or floats if count is one."""
    floats = isinstance(count, float)
    out = double(2, count) if floats else number(1, int(count))
    out += double(3, total) + number(4, schema << 1 ^ schema >> 31) + double(5, zero[0])
    out += double(7, zero[1]) if floats else number(6, int(zero[1]))
    for side, (spans, buckets) in ((8, negative), (11, positive)):
        out += b"".join(data(side, number(1, o << 1 ^ o >> 31) + number(2, n)) for o, n in spans)
        if floats:
            out += data(side + 2, b"".join(struct.pack("<d", one) for one in buckets))
        else:
            out += data(side + 1, _zigzag(int(one) for one in buckets))
    out += number(14, hint) + number(15, timestamp) + number(17, start)
    return out + data(16, b"".join(struct.pack("<d", one) for one in custom))


class Symbols:
    """The strings of one remote write 2.0 request."""

    def __init__(self) -> None:
        self.texts = [""]

    def ref(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def labels(self, labels: Mapping[str, str]) -> bytes:
        refs = [self.ref(text) for pair in labels.items() for text in pair]
        return data(1, b"".join(varint(ref) for ref in refs))


def write_request_v2(all_series: Iterable[Mapping[str, Any]]) -> bytes:
    """Series with labels and, if they like, samples (timestamp, value, start), histograms (bytes),
    exemplars (labels, value, timestamp), metadata (type, help, unit)."""
    symbols, out = Symbols(), b""
    for one in all_series:
        raw = symbols.labels(one["labels"])
        for t, v, start in one.get("samples", ()):
            raw += data(2, double(1, v) + number(2, t) + number(3, start))
        raw += b"".join(data(3, h) for h in one.get("histograms", ()))
        for labels, value, t in one.get("exemplars", ()):
            raw += data(4, symbols.labels(labels) + double(2, value) + number(3, t))
        if "metadata" in one:
            kind, text, unit = one["metadata"]
            raw += data(5, number(1, kind) + number(3, symbols.ref(text)) + number(4, symbols.ref(unit)))
        out += data(5, raw)
    return b"".join(data(4, text) for text in symbols.texts) + out


MATCH = {"=": 0, "!=": 1, "=~": 2, "!~": 3}


def query(start_ms: int, end_ms: int, matchers: Iterable[tuple[str, str, str]], hints: bytes = b"") -> bytes:
    out = number(1, start_ms) + number(2, end_ms)
    for name, kind, value in matchers:
        out += data(3, number(1, MATCH[kind]) + data(2, name) + data(3, value))
    return out + (data(4, hints) if hints else b"")


def read_request(queries: Iterable[bytes], streamed: bool = False) -> bytes:
    return b"".join(data(1, one) for one in queries) + (number(2, 1) if streamed else b"")


def _crc32c(raw: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in raw:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


Chunk = tuple[int, int, int, int]
"""Type, first and last timestamp, number of samples."""


def frames(raw: bytes) -> list[tuple[int, dict[str, str], list[Chunk]]]:
    """Query, labels and chunks of each frame of a streamed answer."""
    out, at = [], 0
    while at < len(raw):
        size, at = read_varint(raw, at)
        body = raw[at + 4 : at + 4 + size]
        assert len(body) == size and _crc32c(body) == int.from_bytes(raw[at : at + 4], "big")
        at += 4 + size
        message = list(fields(body))
        ((_, one),) = [pair for pair in message if pair[0] == 1]
        parts = list(fields(one))
        labels = {f[1].decode(): f[2].decode() for f in (dict(fields(p)) for n, p in parts if n == 1)}
        chunks = [dict(fields(p)) for n, p in parts if n == 2]
        out.append((
            dict(message).get(2, 0),
            labels,
            [(c[3], c.get(1, 0), c.get(2, 0), int.from_bytes(c[4][:2], "big")) for c in chunks],
        ))  # fmt: skip
    return out


def read_histograms(raw: bytes) -> list[list[bytes]]:
    """The Histogram messages of every series of a sampled answer."""
    series = [one for _, result in fields(raw) for _, one in fields(result)]
    return [[value for field, value in fields(one) if field == 4] for one in series]


def read_response(raw: bytes) -> list[list[tuple[dict[str, str], list[Sample]]]]:
    results = []
    for field, result in fields(raw):
        assert field == 1
        results.append([_series(one) for _, one in fields(result)])
    return results


def _series(raw: bytes) -> tuple[dict[str, str], list[Sample]]:
    labels, samples = {}, []
    for field, value in fields(raw):
        parts = dict(fields(value)) if field < 3 else {}
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
