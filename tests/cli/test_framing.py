# SPDX-License-Identifier: Apache-2.0
"""Where a request ends: for this server and for whatever stands before it.

Every shape that two parties could read differently is refused with 400 and ends the connection, so
that what follows it is never taken for a request.
"""

import contextlib
import re

import pytest

from serving import WRITE

LINE = b"POST /api/v1/write HTTP/1.1\r\n"
HEAD = LINE + b"Host: a\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(WRITE)
CODING = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(WRITE), WRITE)
GOOD = HEAD + LENGTH + b"\r\n" + WRITE
REST = LENGTH + b"\r\n" + WRITE + GOOD  # of a request with a length, and a request to smuggle


def chunked(framed):
    return HEAD + CODING + b"\r\n" + framed


REFUSED = {
    "both lengths": HEAD + LENGTH + CODING + b"\r\n" + CHUNKS + GOOD,
    "both lengths, turned round": HEAD + CODING + LENGTH + b"\r\n" + CHUNKS + GOOD,
    "two lengths": HEAD + LENGTH + REST,
    "two different lengths": HEAD + b"Content-Length: 0\r\n" + REST,
    "a list of lengths": HEAD + b"Content-Length: 33, 33\r\n\r\n" + WRITE + GOOD,
    "a length with a sign": HEAD + b"Content-Length: +33\r\n\r\n" + WRITE + GOOD,
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n" + GOOD,
    "a hexadecimal length": HEAD + b"Content-Length: 0x21\r\n\r\n" + WRITE + GOOD,
    "an empty length": HEAD + b"Content-Length:\r\n\r\n" + GOOD,
    "a length and a space": HEAD + b"Content-Length: 33 \r\n\r\n" + WRITE + GOOD,
    "two codings": HEAD + CODING + CODING + b"\r\n" + CHUNKS + GOOD,
    "another coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS + GOOD,
    "no coding": HEAD + b"Transfer-Encoding:\r\n\r\n" + CHUNKS + GOOD,
    "identity": HEAD + b"Transfer-Encoding: identity\r\n" + REST,
    "a list of codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS + GOOD,
    "a coding in quotes": HEAD + b"Transfer-Encoding: \"chunked\"\r\n\r\n" + CHUNKS + GOOD,
    "a coding after VT": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKS + GOOD,
    "a coding and a space": HEAD + b"Transfer-Encoding: chunked \r\n\r\n" + CHUNKS + GOOD,
    "a coding and a parameter": HEAD + b"Transfer-Encoding: chunked;a=b\r\n\r\n" + CHUNKS + GOOD,
    "a coding in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + CODING + b"\r\n" + CHUNKS + GOOD,
    "two hosts": HEAD + b"Host: b\r\n" + REST,
    "no host": LINE + REST,
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS + GOOD,
    "a tab before the colon": HEAD + b"Content-Length\t: 0\r\n" + REST,
    "a name in two words": HEAD + b"a b: c\r\n" + REST,
    "no name": HEAD + b": a\r\n" + REST,
    "no colon": HEAD + b"abc\r\n" + REST,
    "a name that is not ASCII": HEAD + b"\xc3\xa4: c\r\n" + REST,
    "a folded length": HEAD + b"Content-Length:\r\n %d\r\n\r\n" % len(GOOD) + GOOD,
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + GOOD,
    "a folded name": HEAD + b"Content: %d\r\n -Length\r\n\r\n" % len(GOOD) + GOOD,
    "a coding in a fold": HEAD + b"X: a\r\n " + CODING + REST,
    "a fold without content": HEAD + b"X: a\r\n \r\n" + REST,
    "a fold before any header": LINE + b" a: b\r\nHost: a\r\n" + REST,
    "LF after the request line": HEAD.replace(b"\r\n", b"\n", 1) + REST,
    "LF after Host": HEAD[:-2] + b"\n" + REST,
    "LF after a header": HEAD + b"X: a\n" + REST,
    "LF after an empty value": HEAD + b"X:\n" + REST,
    "LF after the length": HEAD + LENGTH[:-2] + b"\n\r\n" + WRITE + GOOD,
    "LF at the end": HEAD + LENGTH + b"\n" + WRITE + GOOD,
    "LF twice at the end": HEAD + LENGTH[:-2] + b"\n\n" + WRITE + GOOD,
    "LF everywhere": (HEAD + LENGTH).replace(b"\r\n", b"\n") + b"\n" + WRITE + GOOD,
    "LF before CR": HEAD + b"X: a\n\r\n" + REST,
    "CR in a value": HEAD + b"X: a\rb\r\n" + REST,
    "CR before a header": HEAD + b"X: a\r" + CODING + REST,
    "CR before the line's end": HEAD + b"X: a\r\r\n" + REST,
    "CR in a name": HEAD + b"X\ra: b\r\n" + REST,
    "CR in the target": LINE.replace(b"write", b"wri\rte") + b"Host: a\r\n" + REST,
    "CR before the end": HEAD + LENGTH + b"\r\r\n" + WRITE + GOOD,
    "NUL in a value": HEAD + b"X: a\0b\r\n" + REST,
    "NUL after a value": HEAD + b"X: a\0\r\n" + REST,
    "NUL twice after a value": HEAD + b"X: a\0\0\r\n" + REST,
    "NULs for a line's end": HEAD + b"X: a\0\0Content-Length\0 0\r\n" + REST,
    "NUL in a name": HEAD + b"X\0Y: a\r\n" + REST,
    "NUL after a name": HEAD + b"X\0: a\r\n" + REST,
    "NUL for a colon": HEAD + b"Content-Length\0 0\r\n" + REST,
    "NUL in the method": b"PO\0ST" + HEAD[4:] + REST,
    "NUL in the target": LINE.replace(b"write", b"write\0x") + b"Host: a\r\n" + REST,
    "NUL before the version": LINE.replace(b" HTTP", b"\0HTTP") + b"Host: a\r\n" + REST,
    "NUL in the version": LINE.replace(b"1.1", b"1.1\0") + b"Host: a\r\n" + REST,
    "NUL in a length": HEAD + b"Content-Length: 33\x004\r\n\r\n" + WRITE + GOOD,
    "NUL in a coding": HEAD + b"Transfer-Encoding: chunked\0x\r\n\r\n" + CHUNKS + GOOD,
    "NUL in Host": LINE + b"Host: a\0b\r\n" + REST,
    "BEL in a value": HEAD + b"X: \x07\r\n" + REST,
    "DEL in a value": HEAD + b"X: \x7f\r\n" + REST,
    "DEL in the target": LINE.replace(b"write", b"write\x7f") + b"Host: a\r\n" + REST,
    "a tab in the target": LINE.replace(b"write", b"write\t") + b"Host: a\r\n" + REST,
    "two spaces before the target": LINE.replace(b" /", b"  /") + b"Host: a\r\n" + REST,
    "a tab before the target": LINE.replace(b" /", b"\t/") + b"Host: a\r\n" + REST,
    "a space after the version": LINE.replace(b"1.1", b"1.1 ") + b"Host: a\r\n" + REST,
    "a small version": LINE.replace(b"HTTP", b"http") + b"Host: a\r\n" + REST,
    "no version": b"POST /api/v1/write\r\nHost: a\r\n" + REST,
    "a method that is no word": b"PO(ST" + HEAD[4:] + REST,
    "a negative chunk": chunked(b"-1\r\nx\r\n" + GOOD),
    "a chunk of 0x5": chunked(b"0x5\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk of +5": chunked(b"+5\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk size after a space": chunked(b" 5\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk size before a space": chunked(b"5 \r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk without a size": chunked(b"\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk with an extension only": chunked(b";a=b\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "a chunk longer than its size": chunked(b"5\r\nabcdef\r\n0\r\n\r\n" + GOOD),
    "CR in a chunk size": chunked(b"5\r6\r\nabcde\r\n0\r\n\r\n" + GOOD),
    "NUL in a chunk size": chunked(b"5\0\r\nabcde\r\n0\r\n\r\n" + GOOD),
}

# libmicrohttpd closes the connection without an answer.
CLOSED = {
    "two spaces before the version": LINE.replace(b" HTTP", b"  HTTP") + b"Host: a\r\n" + REST,
    "a space in the target": LINE.replace(b"write", b"wri te") + b"Host: a\r\n" + REST,
}

# What libmicrohttpd takes and does not show: no harm, since nothing is read after a chunked body.
UNSEEN = {
    "a chunked body": chunked(CHUNKS + GOOD),
    "LF in a chunk's framing": chunked(CHUNKS.replace(b"\r\n", b"\n") + GOOD),
    "a chunk extension": chunked(CHUNKS.replace(b"\r\n", b";a=\"b\"\r\n", 1) + GOOD),
    "LF in a chunk extension": chunked(CHUNKS.replace(b"\r\n", b";a\n", 1) + GOOD),
    "LF in the trailer": chunked(CHUNKS[:-2] + b"X: a\n\n" + GOOD),
    "a coding in the trailer": chunked(CHUNKS[:-2] + CODING + b"\r\n" + CHUNKS + GOOD),
}

OTHERS = [
    (GOOD * 3, [204, 204, 204]),
    (b"\r\n" + GOOD, [204]),  # RFC 9112 2.2
    (HEAD.replace(b"a\r\n", b" \t a\r\n") + REST, [204, 204]),
    (HEAD + b"X:\r\nY: \r\nZ:\t\r\nU: \xff\tu\r\n" + REST, [204, 204]),
    (HEAD.replace(b"write", b"write?a=b%00&c=%0d%0a") + REST, [204, 204]),
    (HEAD + b"Cookie: a=b; c=d\r\n" * 2 + REST, [204, 204]),
    (HEAD.replace(b"Host", b"hOST") + LENGTH.lower() + b"\r\n" + WRITE + GOOD, [204, 204]),
    (HEAD + b"Transfer-Encoding: Chunked\r\n\r\n" + CHUNKS + GOOD, [204]),
    (LINE.replace(b"1.1", b"1.0") + REST, [204]),
    (HEAD + b"Content-Length: 33554433\r\n\r\n", [413]),
    (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + GOOD, [413]),
    (chunked(b"1ffffffffffffffff\r\n"), [413]),
    (HEAD + b"X: a\r\n" * 10000 + REST, [431]),
    (b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [414]),
    (HEAD.replace(b"1.1", b"2.0") + REST, [505]),
    (HEAD.replace(b"POST", b"PUT") + REST, [405, 204]),
    (HEAD.replace(b"POST", b"HEAD") + b"\r\n" + GOOD, [405, 204]),
    (HEAD + b"Content-Encoding: gzip\r\n" + REST, [415, 204]),
]


def exchange(server, data, piece=None):
    """Statuses of the answers to bytes, sent at once or piece by piece, until the server closes."""
    with server.connect() as connection:
        try:
            for at in range(0, len(data), piece or len(data)):
                connection.sendall(data[at:at + (piece or len(data))])
            connection.shutdown(1)
        except OSError:
            pass  # it has been closed already
        answers = b""
        with contextlib.suppress(ConnectionError):  # closed before all that we sent was read
            while got := connection.recv(65536):
                answers += got
    heads = re.findall(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n(?!HTTP/1\.1 4\d\d)", answers)
    return [int(status) for status in heads]


def samples(server):
    text = server.request("GET", "/metrics")[1]
    return int(re.search(r"^pra_received_samples_total (\d+)$", text, re.M).group(1))


@pytest.mark.parametrize("piece", [None, 1])
def test_framing(serve, piece):
    server, wrong = serve("--storage=memory"), []
    cases = ([(what, data, [400]) for what, data in REFUSED.items()] +
             [(what, data, []) for what, data in CLOSED.items()] +
             [(what, data, [204]) for what, data in UNSEEN.items()] +
             [(data[:60], data, statuses) for data, statuses in OTHERS
              if piece is None or len(data) < 1000])
    for what, data, expected in cases:
        before = samples(server)
        got = exchange(server, data, piece), samples(server) - before
        if got != (expected, expected.count(204)):
            wrong.append((what, expected, got))
    assert not wrong
    assert server.write()[0] == 204
    assert server.stop() == 0


def test_heads_that_are_too_large_are_told_so(serve):
    """Also to a client that reads only when it has sent everything."""
    server = serve("--storage=memory")
    for size, statuses in (20_000, [400, 404]), (70_000, [431, 414]), (3_000_000, [431, 414]):
        field = exchange(server, HEAD + b"X: " + b"a" * size + b"\r\n\r\n")
        target = exchange(server, b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert field + target == statuses, size
    assert server.stop() == 0
