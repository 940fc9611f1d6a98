# SPDX-License-Identifier: Apache-2.0
"""Steps that several tests share."""

import sqlite3
import time

import compare
from processes import wait_until
from prometheus import Prometheus, remote_read, remote_write, scrape


def _client(receiver):
    """How Prometheus has to come to the receiver, beside the address."""
    return getattr(receiver, "client", {})


def start_sender(processes, workdir, receiver, program="prometheus", features="", **settings):
    config = remote_write(f"{receiver.url}/api/v1/write", **_client(receiver), **settings)
    return Prometheus(processes, workdir, "sender", config,
                      [f"--enable-feature=exemplar-storage{features and ','}{features}"], program)


def start_reader(processes, workdir, receiver, name="reader", program="prometheus", flags=(),
                 **settings):
    config = remote_read(f"{receiver.url}/api/v1/read", **_client(receiver), **settings)
    return Prometheus(processes, workdir, name, config, flags, program)


def start_scraping(sender, targets):
    staying, closing = targets
    sender.scrape(scrape("prometheus", sender.port), scrape("target", staying.port),
                  scrape("closed", closing.port))
    wait_until(lambda: staying.ticks >= 10 and closing.ticks >= 10, "targets are scraped",
               sender.process)
    closing.close()


def stop_scraping(sender, target, ticks=24):
    wait_until(lambda: target.ticks >= ticks, "the target is scraped on", sender.process)
    if sender.sends_metadata:  # of what it scrapes, now and then
        wait_until(lambda: sender.sending()["metadata"] > 0, "metadata are sent", sender.process)
    sender.scrape()
    sender.wait_all_sent()


def assert_read_back(processes, workdir, sender, receiver, program="prometheus"):
    """A Prometheus without data of its own answers like the sender from its own storage.
    Returns a function that asks again."""
    times = compare.moments(sender, time.time() + 60)
    expected = compare.answers(sender, times)
    compare.assert_telling(expected)
    reader = start_reader(processes, workdir, receiver, program=program)

    def ask():
        compare.assert_same(expected, compare.answers(reader, times))
        assert reader.appended() == 0, "the reader has samples of its own"

    ask()
    return ask


def assert_all_acknowledged(sender):
    now = sender.sending()
    assert now["acknowledged"] == sender.appended(), now
    assert now["failed"] == 0 and now["dropped"] == 0, now
    for kind in ("metadata", "exemplars"):
        assert now[kind] > 0 and now[f"{kind}_failed"] == 0, now


def stored_samples(workdir):
    """(samples, stale markers) in the SQLite store."""
    database = sqlite3.connect(f"file:{workdir}/store.db?mode=ro", uri=True)
    try:
        return database.execute("SELECT count(*), sum(value = x'7FF0000000000002')"
                                " FROM samples").fetchone()
    finally:
        database.close()


def assert_stored(workdir, sender):
    """The store has what was acknowledged: nothing less, nothing twice."""
    samples, stale = stored_samples(workdir)
    assert samples == sender.sending()["acknowledged"]
    assert stale > 0
