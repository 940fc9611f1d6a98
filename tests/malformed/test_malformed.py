# SPDX-License-Identifier: Apache-2.0
"""Every request of the tables is answered as it should be, and the next one as if nothing had
been."""

import itertools

import tables
from messages import READ, V1, WRITE
from rawproto import block, message

MIB = 1 << 20
BUDGET = 128 * MIB  # pra_limits.max_memory_bytes
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
UP = block(message([tables.query((0, b"__name__", b"after"))]))


def valid(host, clock):
    """A write that nobody made before, and a read."""
    sample = message([(1, [*tables.named(b"after"), tables.one_sample(1.0, next(clock))])])
    return host.post(WRITE, V1, block(sample)).status, host.post(READ, V1, UP).status


def is_readable(body):
    """One short line of text."""
    return 1 < len(body) < 4096 and body.endswith(b"\n") and min(body[:-1]) >= 0x20 and \
        body.decode()


def written(answer):
    """What the answer says of its counts; () if it says nothing."""
    counts = tuple(answer.headers.get(WRITTEN.format(kind))
                   for kind in ("Samples", "Histograms", "Exemplars"))
    return () if counts == (None,) * 3 else tuple(map(int, counts))


def faults(case, answer):
    """What is wrong with an answer."""
    if answer.status != case.status and (case.status or answer.status >= 500):
        yield f"{answer.status}, not {case.status}: {answer.body[:100]}"
    if answer.status >= 400 and not is_readable(answer.body):
        yield f"an unreadable body: {answer.body[:100]}"
    counted = case.path == WRITE and "v2.Request" in case.content_type and answer.status != 415
    if bool(written(answer)) != counted:  # [W-25] [W-26]
        yield f"the headers of what was written: {answer.headers}"
    if case.written is not None and written(answer) != case.written:
        yield f"written: {written(answer)}, not {case.written}"


def test_small(host):
    clock, wrong, count = itertools.count(1), [], 0
    for case in tables.small():
        count += 1
        answer = host.post(case.path, case.content_type, case.body, case.headers)
        wrong += [(case.what, fault) for fault in faults(case, answer)]
        after = valid(host, clock)
        if after != (204, 200):
            wrong.append((case.what, "the requests after it", after))
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(map(str, wrong[:50]))
    assert count > 1500


def test_floods(host_of_floods):
    host, clock, wrong = host_of_floods, itertools.count(1), []
    for case in tables.floods():
        answer = host.post(case.path, case.content_type, case.body)
        wrong += [(case.what, fault) for fault in faults(case, answer)]
        if answer.peak_bytes > BUDGET + 4 * MIB:  # the body itself, and the answer
            wrong.append((case.what, f"{answer.peak_bytes} bytes of memory"))
        after = valid(host, clock)
        if after != (204, 200):
            wrong.append((case.what, "the requests after it", after))
    assert not wrong, "\n".join(map(str, wrong))


def test_small_bombs_cost_nothing(handler):
    valid(handler, itertools.count(1))
    for kind, content_type, path in (("v1", V1, WRITE), ("v2", tables.V2, WRITE),
                                     ("read", V1, READ)):
        for case in tables.of_wire():
            if case.what.startswith(kind) and "declared length" in case.what:
                answer = handler.post(path, content_type, case.body)
                assert answer.status == 400, case.what
                assert answer.peak_bytes < len(case.body) + (1 << 20), case.what
