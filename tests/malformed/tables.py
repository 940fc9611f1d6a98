# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong, or look as if they were, and what each is answered."""

import struct
from typing import NamedTuple

from messages import (FULL_V1, KINDS, READ, SYMBOLS, V1, V2, WRITE, boundaries, histogram, labels,
                      put)
from rawproto import (BYTES, END_GROUP, FIXED32, FIXED64, GROUP, VARINT, Bits, Raw, block, field, flood,
                  key, message, packed, varint, zigzag)

MIB = 1 << 20
WHOLE = 32 * MIB  # decoded, at most
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
STALE, NAN = Bits(0x7FF0000000000002), Bits(0x7FF8000000000001)


class Case(NamedTuple):
    what: str
    path: str
    content_type: str
    body: bytes
    status: int
    written: tuple | None = None  # samples, histograms, exemplars as the answer counts them
    headers: tuple = ()


# ---- every kind of message: its wire

WIRES = {VARINT: b"\x01", FIXED64: b"\0" * 8, BYTES: b"\0", FIXED32: b"\0" * 4}


def wrong_wire_types(kind):
    for path, fields in kind.fields.items():
        for number, taken in fields.items():
            for wire in WIRES.keys() - taken:
                yield (f"wire type {wire} for field {number} of {path}",
                       put(kind.whole, path, key(number, wire) + WIRES[wire]), 400)


def corners(kind):
    """What can stand in any message, wherever it is."""
    unknown = 1000
    group = key(unknown, GROUP) + key(7, VARINT) + b"\x01" + key(unknown, END_GROUP)
    good = {
        "an unknown varint": key(unknown, VARINT) + b"\xff" * 9 + b"\x01",
        "unknown eight bytes": key(unknown, FIXED64) + b"\xff" * 8,
        "unknown four bytes": key(unknown, FIXED32) + b"\xff" * 4,
        "an unknown string": key(unknown, BYTES) + b"\x03\0\xff\0",
        "an unknown group": group,
        "groups within groups": key(unknown, GROUP) * 50 + key(unknown, END_GROUP) * 50,
        "a key that is longer than it must be": b"\xc0\xbe\x80\0\x01",
    }
    bad = {
        "a group that does not end": key(unknown, GROUP),
        "the end of a group": key(unknown, END_GROUP),
        "wire type 6": varint(unknown << 3 | 6) + b"\0",
        "wire type 7": varint(unknown << 3 | 7) + b"\0",
        "field number 0": b"\x02\0",
        "a varint of eleven bytes": key(unknown, VARINT) + b"\xff" * 10 + b"\x01",
        "a length of eleven bytes": key(unknown, BYTES) + b"\xff" * 10 + b"\x01",
        "a length beyond the end": key(unknown, BYTES) + b"\x7f",
        "a negative length": key(unknown, BYTES) + b"\xff" * 9 + b"\x01",
        "a length of 2^63 - 1": key(unknown, BYTES) + b"\xff" * 8 + b"\x7f",
        "half a key": b"\x80",
    }
    for path in kind.fields:
        for what, extra in good.items():
            yield f"{what} in {path}", put(kind.whole, path, extra), kind.good
        for what, extra in bad.items():
            yield f"{what} in {path}", put(kind.whole, path, extra), 400


def cuts(kind):
    whole, ends = message(kind.whole), boundaries(kind.whole)
    for length in range(len(whole)):
        yield f"cut after {length} bytes", [(0, Raw(whole[:length]))], \
            kind.good if length in ends else 400


def lengths(kind):
    """Each byte of a whole message one higher: nothing worse than a refusal may come of it."""
    whole = message(kind.whole)
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] + 1 & 0xFF]) + whole[at + 1:]
        yield f"byte {at} changed", [(0, Raw(changed))], 0


def blocks(kind):
    whole = message(kind.whole)
    good = block(whole)
    bomb = bytes.fromhex("97eab4890a170a085f5f6e616d655f5f120b746573745f6d65747269631210090000000000"
                         "00f03f10d48fc9b2a333")
    head = varint(len(whole))
    yield "no body", b"", 400
    yield "a declared length of 2.7 GB [W-08]", bomb, 400
    yield "a declared length beyond the ratio", varint(WHOLE) + b"\xfe\x02\0" * 1000, 400
    yield "more than may be decoded", varint(WHOLE + 1) + b"\xfe\x02\0" * 530000, 400
    yield "a declared length of six bytes", b"\xff" * 5 + b"\x01" + good, 400
    yield "a frame of the framed format", b"\xff\x06\0\0sNaPpY", 400
    yield "a stream of the framed format", b"\xff\x06\0\0sNaPpY\x01\x09\0\0\0\0\0\0hello", 400
    yield "protobuf without snappy", whole, 400
    yield "gzip", b"\x1f\x8b\x08" + b"\0" * 20, 400
    yield "zstd", b"\x28\xb5\x2f\xfd" + b"\0" * 20, 400
    yield "no protobuf", block(b"hello, world"), 400
    yield "one byte less than declared", varint(len(whole) + 1) + good[len(head):], 400
    yield "one byte more than declared", varint(len(whole) - 1) + good[len(head):], 400
    yield "bytes behind the block", good + b"\0", 400
    yield "a copy before any byte", b"\x04\x01\x01", 400
    yield "a copy with offset 0", head + b"\x00a\x02\x00\x00" + good, 400
    yield "a copy from before the start", varint(10) + b"\x00a\xfe\x40\0", 400
    yield "a literal beyond the end", varint(100) + b"\xf0\x63abc", 400
    yield "an empty message [W-09]", b"\0", kind.good
    for size in (255, 383, 511):  # the block begins as the framed format does [§6.8]
        filler = size - len(whole) - 4
        if filler >= 128:
            yield f"a block of {size} bytes", \
                block(whole + key(1000, BYTES) + varint(filler) + b"\0" * filler), kind.good
    for length in range(0, len(good), 7):
        yield f"a block cut after {length} bytes", good[:length], 400


def floods():
    """The densest requests there are: 32 MiB of empty elements of every repeated field."""
    v2 = message([(4, b""), (4, b"a"), (4, b"b")])
    name = message(labels((b"__name__", b"a")))
    deep = {
        "v1": [("empty series", b"\x0a\0", (), 413), ("empty metadata", b"\x1a\0", (), 413)],
        "v2": [("empty symbols", b"\x22\0", (), 413), ("empty series", b"\x2a\0", (), 413)],
        "read": [("empty queries", b"\x0a\0", (), 400), ("empty matchers", b"\x1a\0", (1,), 400),
                 ("empty hints", b"\x22\0", (1,), 200), ("groupings", b"\x2a\0", (1, 4), 413),
                 ("accepted types", b"\x10\0", (), 413),
                 ("accepted types, packed", b"\0\0", (2,), 413)],
    }
    for number in (1, 2, 3, 4):
        empty = bytes([number << 3 | BYTES, 0])
        deep["v1"] += [(f"empty field {number} in one series", empty, (1,), 413),
                       (f"empty field {number} in each series", field(1, empty), (), 413)]
    for number in (2, 3, 4):
        empty = bytes([number << 3 | BYTES, 0])
        deep["v2"] += [(f"empty field {number} in one series", empty, (5,), 413),
                       (f"empty field {number} in each series", field(5, empty), (), 413)]
    for kind, series, one in (("v1", 1, 4), ("v2", 5, 3)):
        for number in (8, 11):
            deep[kind].append((f"empty spans {number}", bytes([number << 3 | BYTES, 0]),
                               (series, one), 413))
        for number in (9, 12):
            deep[kind].append((f"deltas {number}, packed", b"\0\0", (series, one, number), 413))
        for number in (10, 13):
            deep[kind].append((f"counts {number}, one by one",
                               key(number, FIXED64) + b"\0" * 8, (series, one), None))
        deep[kind].append(("custom values", key(16, FIXED64) + b"\0" * 8, (series, one), None))
    deep["v1"] += [("empty labels of an exemplar", b"\x0a\0", (1, 3), 413),
                   ("one label again and again", field(1, [(1, b"a"), (2, b"b")]), (1,), 413)]
    deep["v2"] += [("references, packed", b"\x01\x01", (5, 1), 413),
                   ("references, one by one", b"\x08\x01", (5,), 413),
                   ("references of an exemplar, packed", b"\x01\x01", (5, 4, 1), 413),
                   ("wrong references in each series", field(5, b"\x0a\x02\x7f\x7f"), (), 413),
                   ("empty metadata in one series", b"\x2a\0", (5,), 400)]
    long = message([(4, b""), (4, b"__name__"), (4, b"x" * MIB)])
    for what, series in (
            ("labels", [(1, packed(1, 2)), one_sample()]),
            ("labels of exemplars", [(1, packed(1, 1)), (4, [(1, packed(1, 2)), (3, 1)])]),
            ("help", [(1, packed(1, 1)), one_sample(), (5, [(3, 2)])])):
        yield Case(f"a long symbol in {what} of many series", WRITE, V2,
                   block(long + field(5, series) * 200), 413, (0, 0, 0))
    for kind in KINDS:
        deep[kind.name] += [("nothing known", b"\x70\0", (), kind.good),
                            ("groups within groups", b"\x73", (), 400)]
        for what, unit, around, status in deep[kind.name]:
            yield Case(f"32 MiB of {what}", kind.path, kind.content_type, flood(unit, *around),
                       status or 0)
        if kind.name == "v2":
            yield Case("32 MiB of series of a name, nothing else", kind.path, V2,
                       flood(field(5, b"\x0a\x02\x01\x02"), before=v2), 413)
        if kind.name == "v1":
            yield Case("32 MiB of series of a name, nothing else", kind.path, V1,
                       flood(field(1, name)), 0)


# ---- remote write 1.0: its data

def v1(what, *series, status=400):
    return Case(what, WRITE, V1, block(message([(1, s) for s in series])), status)


def named(name, *more):
    return [*labels((b"__name__", name), *more)]


def one_sample(value=1.0, timestamp_ms=1):
    return 2, [(1, value), (2, timestamp_ms)]


def data_v1():
    one = one_sample()
    yield v1("1,001 labels", [*labels(*((b"l%d" % i, b"v") for i in range(1001))), one])
    yield v1("a value of 1 MiB", [*named(b"big", (b"z", b"x" * MIB)), one], status=204)
    yield v1("a value of more", [*named(b"big", (b"z", b"x" * (MIB + 1))), one])
    yield v1("a name of more than 64 KiB", [*named(b"big", (b"z" * 65537, b"x")), one])
    yield v1("NUL in labels", [*named(b"nul", (b"a\0b", b"c\0d")), one], status=204)
    yield v1("noncharacters in a value", [*named(b"ufffe", (b"z", b"\xef\xbf\xbe")), one],
             status=204)
    yield v1("a name of other than ASCII [W-31]", [*named("größe".encode()), one], status=204)
    for what, text in (("a lone byte", b"\xff"), ("a surrogate", b"\xed\xa0\x80"),
                       ("an overlong slash", b"\xc0\xaf"), ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
                       ("half a character", b"\xe2\x82")):
        yield v1(f"{what} in a name [W-32]", [*named(b"utf", (text, b"v")), one])
        yield v1(f"{what} in a value [W-32]", [*named(b"utf", (b"z", text)), one])
        yield v1(f"{what} in the metric's name [W-32]", [*named(text), one])
        yield v1(f"{what} in a label of an exemplar", [
            *named(b"utf_e"), one, (3, [*labels((b"z", text)), (2, 1.0), (3, 1)])])
    yield v1("a repeated label [W-30]", [*named(b"twice", (b"a\r\n", b"1"), (b"a\r\n", b"2")), one])
    yield v1("a repeated name [W-30]", [*named(b"twice", (b"__name__", b"twice")), one])
    yield v1("a label without a name [W-30]", [*named(b"nameless", (b"", b"v")), one])
    yield v1("no labels", [one])
    yield v1("no metric name [W-32]", [*labels((b"job", b"x")), one])
    yield v1("an empty metric name [W-32]", [*labels((b"__name__", b""), (b"job", b"x")), one])
    yield v1("labels out of order [W-30]", [*labels((b"b", b"1"), (b"a", b"2"),
                                                    (b"__name__", b"mixed")), one], status=204)
    yield v1("an empty value [W-32]", [*named(b"hollow", (b"z", b"")), one], status=204)
    yield v1("NaN and the ends of time", [
        *named(b"nan"), one_sample(STALE, INT64_MAX), one_sample(NAN, INT64_MIN)], status=204)
    yield v1("100,000 samples backwards", [
        *named(b"many"), *(one_sample(float(i), -i) for i in range(100_000))], status=204)
    yield v1("bad series among good ones [W-22]", [*named(b"good_1"), one], [one],
             [*named(b"good_2"), one])
    yield v1("70,000 samples", [*named(b"more_than_16_bits"),
                                *(one_sample(1.0, i) for i in range(70_000))], status=204)
    yield Case("an unknown type of metadata", WRITE, V1,
               block(message([(3, [(1, 99), (2, b"up")])])), 204)
    yield Case("metadata that contradicts itself", WRITE, V1,
               block(message([(3, [(1, 1), (2, b"up")]), (3, [(1, 2), (2, b"up")])])), 204)
    yield Case("a request of remote write 2.0 as 1.0 [W-12]", WRITE, V1,
               block(message([(4, b""), (5, b"")])), 204)


# ---- remote write 2.0: its data [W-25]: the answer counts what was written

def v2(what, *series, status=400, written=(0, 0, 0), symbols=SYMBOLS):
    fields = [*((4, symbol) for symbol in symbols), *((5, s) for s in series)]
    return Case(what, WRITE, V2, block(message(fields)), status, written)


LAST, PAST, FAR = len(SYMBOLS) - 1, len(SYMBOLS), (1 << 32) - 1


def references():
    good = [(1, packed(1, 2)), one_sample(1.0, 77)]
    for what, ref in (("n", PAST), ("2^32 - 1", FAR)):
        for place in range(2):
            refs = [1, 2, 3, 4]
            refs[2 + place] = ref
            yield v2(f"reference {what} in labels, place {place} [W-33]",
                     [(1, packed(*refs)), one_sample()], good, written=(1, 0, 0))
            refs = [5, 6]
            refs[place] = ref
            yield v2(f"reference {what} in an exemplar, place {place} [W-33]",
                     [(1, packed(1, 2)), one_sample(2.0, 78),
                      (4, [(1, packed(*refs)), (2, 1.0), (3, 1)])], good, written=(2, 0, 0))
        for number in (3, 4):
            yield v2(f"reference {what} in metadata, field {number} [W-33]",
                     [(1, packed(1, 2)), one_sample(), (5, [(1, 1), (number, ref)])], good,
                     written=(1, 0, 0))
    yield v2("the last reference [W-33]", [(1, packed(1, LAST)), one_sample(1.0, 5)], status=204,
             written=(1, 0, 0))
    yield v2("an odd number of references [W-33]", [(1, packed(1, 2, 3)), one_sample()], good,
             written=(1, 0, 0))
    yield v2("an odd number in an exemplar [W-33]",
             [(1, packed(1, 2)), one_sample(2.0, 79), (4, [(1, packed(5)), (2, 1.0), (3, 1)])],
             written=(1, 0, 0))
    yield v2("no symbols [W-33]", [(1, packed(0, 0)), one_sample()], symbols=[])
    yield v2("no references [W-32]", [one_sample()], good, written=(1, 0, 0))
    yield v2("references one by one", [(1, 1), (1, 2), one_sample(1.0, 6)], status=204,
             written=(1, 0, 0))
    yield v2("a reference of more than 32 bits", [(1, packed(1, (1 << 32) + 2)),
                                                  one_sample(1.0, 6)], status=204,
             written=(1, 0, 0))
    yield Case("symbols behind the series [W-33]", WRITE, V2, block(message(
        [(5, [(1, packed(1, 2)), one_sample(1.0, 7)]), *((4, s) for s in SYMBOLS)])), 204,
        (1, 0, 0))
    yield Case("symbols around the series [W-33]", WRITE, V2, block(message(
        [*((4, s) for s in SYMBOLS[:2]), (5, [(1, packed(1, 2)), one_sample(1.0, 8)]),
         *((4, s) for s in SYMBOLS[2:])])), 204, (1, 0, 0))
    yield v2("70,000 symbols", [(1, packed(1, 70_000)), one_sample()], status=204,
             written=(1, 0, 0),
             symbols=[b"", b"__name__", *(b"symbol_%d" % i for i in range(70_000))])


def data_v2():
    good, one = [(1, packed(1, 2)), one_sample(1.0, 80)], one_sample()
    yield v2("an empty series [W-35]", [(1, packed(1, 2))], good, written=(1, 0, 0))
    yield v2("metadata alone [W-35]", [(1, packed(1, 2)), (5, [(1, 1), (3, 7)])], good,
             written=(1, 0, 0))
    yield v2("exemplars alone [W-35]", [(1, packed(1, 2)),
                                        (4, [(1, packed(5, 6)), (2, 1.0), (3, 44)])], status=204,
             written=(0, 0, 1))
    yield v2("samples and a histogram [W-35]",
             [(1, packed(1, 9)), one_sample(1.0, 2), (3, histogram(3))], status=204,
             written=(1, 1, 0))
    yield v2("an exemplar without a time [W-45]",
             [(1, packed(1, 2)), one_sample(1.0, 81), (4, [(1, packed(5, 6)), (2, 1.0)])],
             written=(1, 0, 0))
    yield v2("an exemplar without labels [W-45]",
             [(1, packed(1, 2)), one_sample(1.0, 82), (4, [(2, 1.0), (3, 45)])], status=204,
             written=(1, 0, 1))
    yield v2("a repeated label [W-30]", [(1, packed(1, 2, 3, 4, 3, 4)), one], good,
             written=(1, 0, 0))
    yield v2("no metric name [W-32]", [(1, packed(3, 4)), one], good, written=(1, 0, 0))
    yield v2("an empty metric name [W-32]", [(1, packed(1, 0)), one], good, written=(1, 0, 0))
    yield v2("an empty label name [W-32]", [(1, packed(1, 2, 0, 4)), one], good, written=(1, 0, 0))
    yield v2("an empty label value", [(1, packed(1, 2, 3, 0)), one_sample(1.0, 83)], status=204,
             written=(1, 0, 0))
    yield v2("labels out of order [W-30]", [(1, packed(3, 4, 1, 2)), one_sample(1.0, 84)],
             status=204, written=(1, 0, 0))
    yield v2("invalid UTF-8 that is used [W-32]", [(1, packed(1, 2, 3, 10)), one], good,
             written=(1, 0, 0), symbols=[*SYMBOLS, b"\xff"])
    yield v2("invalid UTF-8 that is not used", good, status=204, written=(1, 0, 0),
             symbols=[*SYMBOLS, b"\xff"])
    yield v2("an unknown type of metadata [W-11]",
             [(1, packed(1, 2)), one_sample(1.0, 85), (5, [(1, 99), (3, 7)])], status=204,
             written=(1, 0, 0))
    yield v2("the created timestamp of older senders [W-44]",
             [(1, packed(1, 2)), one_sample(1.0, 86), (6, 5)], status=204, written=(1, 0, 0))
    yield v2("NaN and the ends of time",
             [(1, packed(1, 9, 3, 2)), one_sample(STALE, INT64_MAX), one_sample(NAN, INT64_MIN)],
             status=204, written=(2, 0, 0))
    yield Case("a request of remote write 1.0 as 2.0 [W-12]", WRITE, V2,
               block(message(FULL_V1)), 204, (0, 0, 0))
    yield Case("an empty message as 2.0 [W-09]", WRITE, V2, b"\0", 204, (0, 0, 0))
    yield Case("no protobuf as 2.0 [W-25]", WRITE, V2, block(b"hello, world"), 400, (0, 0, 0))


# ---- native histograms [W-47] [W-48] [W-49]

def doubles(*values):
    return struct.pack(f"<{len(values)}d", *values)


def changed(base, **fields):
    """A histogram with fields (f4=3) in place of its own, or without them (f4=None)."""
    new = {int(name[1:]): content for name, content in fields.items()}
    kept = [(number, content) for number, content in base if number not in new]
    return kept + [(number, content) for number, content in new.items() if content is not None]


def histograms():
    base = histogram(0)
    floats = changed(base, f1=None, f2=7.0, f6=None, f7=1.0, f9=None, f10=doubles(2.0), f12=None,
                     f13=doubles(1.0, 3.0))
    custom = [(1, 3), (3, 1.5), (4, zigzag(-53)), (11, [(1, 0), (2, 2)]),
              (12, packed(zigzag(1), zigzag(1))), (16, doubles(1.0, 2.0))]
    yield "integers", base, True
    yield "floats", floats, True
    yield "custom buckets", custom, True
    yield "a stale marker [W-43]", [(3, STALE)], True
    yield "a stale marker with nonsense [W-43]", changed(base, f1=99, f3=STALE), True
    yield "nothing but a time", [], True
    yield "a sum that is NaN with a larger count", changed(base, f1=9, f3=NAN), True
    yield "a sum that is NaN with a smaller count", changed(base, f1=6, f3=NAN), False
    yield "a count that is too high", changed(base, f1=8), False
    yield "a count that is too low", changed(base, f1=6), False
    for schema in (-4, 8):
        yield f"schema {schema}", changed(base, f4=zigzag(schema)), True
    for schema in (9, 52):  # reduced to 8
        yield f"schema {schema}", changed(base, f4=zigzag(schema)), True
    for schema in (-54, -52, -5, 53, 127, -(1 << 31), (1 << 31) - 1):
        yield f"schema {schema}", changed(base, f4=zigzag(schema)), False
    yield "fewer deltas than buckets", changed(base, f12=packed(zigzag(1))), False
    yield "more deltas than buckets", changed(base, f12=packed(*map(zigzag, (1, 2, 0)))), False
    yield "a bucket below zero", changed(base, f12=packed(zigzag(1), zigzag(-2))), False
    yield "a first span that begins below zero", changed(base, f11=[(1, zigzag(-5)), (2, 2)]), True
    yield "a later span that goes back", [
        *changed(base, f11=[(1, 0), (2, 1)]), (11, [(1, zigzag(-1)), (2, 1)])], False
    yield "a span of 2^32 - 1 buckets", changed(base, f11=[(1, 0), (2, FAR)]), False
    yield "deltas that overflow", changed(base, f12=packed(zigzag(INT64_MAX), zigzag(INT64_MAX))), \
        False
    yield "custom values without custom buckets", [*base, (16, doubles(1.0))], False
    yield "floats: a count below zero", changed(floats, f2=-7.0), False
    yield "floats: a bucket below zero", changed(floats, f13=doubles(1.0, -3.0)), False
    yield "floats: a zero bucket below zero", changed(floats, f7=-1.0), False
    yield "floats: fewer counts than buckets", changed(floats, f13=doubles(1.0)), False
    yield "custom: a zero count", [*custom, (6, 1)], False
    yield "custom: a zero threshold", [*custom, (5, 0.5)], False
    yield "custom: negative buckets", [*custom, (8, [(1, 0), (2, 1)]), (9, packed(0))], False
    yield "custom: bounds out of order", changed(custom, f16=doubles(2.0, 1.0)), False
    yield "custom: equal bounds", changed(custom, f16=doubles(1.0, 1.0)), False
    yield "custom: a bound that is NaN", changed(custom, f16=doubles(1.0, float("nan"))), False
    yield "custom: a bound of +Inf", changed(custom, f16=doubles(1.0, float("inf"))), False
    yield "custom: more buckets than bounds", changed(custom, f16=b""), False
    yield "custom: an offset below zero", changed(custom, f11=[(1, zigzag(-1)), (2, 2)]), False


def histogram_cases():
    for i, (what, fields, valid) in enumerate(histograms()):
        timed = [*changed(fields, f15=1000 + i)]
        name = b"h_%d" % i
        yield Case(f"histogram, v1: {what}", WRITE, V1, block(message(
            [(1, [*named(name, (b"v", b"1")), (4, timed)])])), 204 if valid else 400)
        yield v2(f"histogram, v2: {what}", [(1, packed(1, 10)), (3, timed)],
                 [(1, packed(1, 2)), one_sample(1.0, 90)], symbols=[*SYMBOLS, name],
                 status=204 if valid else 400, written=(1, int(valid), 0))


# ---- remote read

def read(what, *fields, status=400):
    return Case(what, READ, V1, block(message(fields)), status)


def query(*matchers, start=0, end=10):
    return 1, [(1, start), (2, end), *((3, [(1, kind), (2, name), (3, value)])
                                       for kind, name, value in matchers)]


def data_read():
    one = query((0, b"a", b"x"))
    yield read("100 queries", *[one] * 100, status=200)
    yield read("101 queries", *[one] * 101)
    yield read("an unknown matcher", query((9, b"a", b"x")))
    yield read("no type that is served [R-02]", one, (2, 7))
    yield read("an unknown type, then SAMPLES [R-02]", one, (2, packed(7, 0)), status=200)
    yield read("an unknown type, then chunks [R-02]", one, (2, packed(7, 1)), status=200)
    yield read("an end before its start [R-05]", query((0, b"a", b"x"), start=10, end=0),
               status=200)
    yield read("all of time", query((0, b"a", b"x"), start=INT64_MIN, end=INT64_MAX), status=200)
    yield read("no matchers", query(), status=200)
    for text, status in ((b"a{1000}{1000}", 400), (b"((a{100}){100}){100}", 400),
                         (b"\\pL" * 1000, 400), (b"x" * 65537, 400), (b"\xff", 400), (b"(", 400),
                         (b"(a)\\1", 400), (b"(?=a)", 400), (b"a**", 400), (b"[z-a]", 400),
                         (b"\\C", 400), (b"(a?){500}a{500}", 200),
                         (b"(" * 9999 + b"a" + b")" * 9999, 200), (b"(a|aa)+$", 200)):
        for kind in (2, 3):
            yield read(f"the expression {text[:12]}, matcher {kind} [R-06]",
                       query((kind, b"a", text)), status=status)


# ---- HTTP

def heads():
    for kind in KINDS:
        body = block(message(kind.whole))
        for coding, status in (("snappy", kind.good), ("SNAPPY", kind.good), ("gzip", 415),
                               ("zstd", 415), ("identity", 415), ("deflate", 415),
                               ("snappy, snappy", 415), ("x-snappy-framed", 415)):
            yield Case(f"{kind.name}: Content-Encoding {coding} [W-02]", kind.path,
                       kind.content_type, body, status, headers=(("Content-Encoding", coding),))
    full1, full2 = (block(message(kind.whole)) for kind in KINDS[:2])
    for content_type, status in (
            ("application/x-protobuf", 204), ("application/X-Protobuf", 204),
            ("application/x-protobuf;proto=prometheus.WriteRequest", 204),
            ("application/x-protobuf; proto=prometheus.WriteRequest", 204),
            ('application/x-protobuf;proto="prometheus.WriteRequest"', 204),
            ("application/x-protobuf ; PROTO=prometheus.WriteRequest", 204),
            ("application/x-protobuf;proto=prometheus.writerequest", 415),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", 415),
            ("application/x-protobuf;proto=", 415), ("application/x-protobuf;proto", 415),
            ("application/json", 415), ("text/plain", 415), ("application/protobuf", 415),
            ("application/vnd.google.protobuf", 415), ("application/x-protobuf/", 415),
            ("application", 415), ("/", 415), (";", 415), ("*/*", 415)):
        yield Case(f"Content-Type {content_type} [W-03] [W-05]", WRITE, content_type, full1, status)
        if status == 415:
            yield Case(f"Content-Type {content_type} and no snappy [W-13]", WRITE, content_type,
                       b"\xff" * 30, 415)
    yield Case("2.0 with white space [W-05]", WRITE,
               "application/x-protobuf; proto=io.prometheus.write.v2.Request", full2, 204,
               (1, 1, 1))
    yield Case("2.0 in quotes [W-05]", WRITE,
               'application/x-protobuf; proto="io.prometheus.write.v2.Request"', full2, 204,
               (1, 1, 1))
    yield Case("the version header contradicts the type [W-06]", WRITE, V2, full2, 204, (1, 1, 1),
               headers=(("X-Prometheus-Remote-Write-Version", "0.1.0"),))


# ---- all of it

def of_wire():
    for kind in KINDS:
        for source in (wrong_wire_types, corners, cuts, lengths):
            for what, fields, status in source(kind):
                yield Case(f"{kind.name}: {what}", kind.path, kind.content_type,
                           block(message(fields)), status)
        for what, body, status in blocks(kind):
            yield Case(f"{kind.name}: {what}", kind.path, kind.content_type, body, status)


def small():
    for source in (of_wire, data_v1, references, data_v2, histogram_cases, data_read, heads):
        yield from source()
