# SPDX-License-Identifier: Apache-2.0
"""Steps that several tests share."""

import time

import compare
from processes import wait_until
from prometheus import Prometheus, remote_read, remote_write, scrape


def start_sender(processes, workdir, receiver):
    return Prometheus(processes, workdir, "sender", remote_write(f"{receiver.url}/api/v1/write"))


def start_scraping(sender, targets):
    staying, closing = targets
    sender.scrape(scrape("prometheus", sender.port), scrape("target", staying.port),
                  scrape("closed", closing.port))
    wait_until(lambda: staying.ticks >= 10 and closing.ticks >= 10, "targets are scraped",
               sender.process)
    closing.close()


def stop_scraping(sender, target, ticks=24):
    wait_until(lambda: target.ticks >= ticks, "the target is scraped on", sender.process)
    sender.scrape()
    sender.wait_all_sent()


def assert_read_back(processes, workdir, sender, receiver):
    """A Prometheus without data of its own answers like the sender from its own storage.
    Returns a function that asks again."""
    first, last = compare.span_of(sender, time.time() + 60)
    expected = compare.answers(sender, first, last)
    compare.assert_telling(expected)
    reader = Prometheus(processes, workdir, "reader",
                        remote_read(f"{receiver.url}/api/v1/read"))

    def ask():
        compare.assert_same(expected, compare.answers(reader, first, last))
        assert reader.appended() == 0, "the reader has samples of its own"

    ask()
    return ask


def assert_all_acknowledged(sender):
    now = sender.metrics()
    assert now["prometheus_remote_storage_samples_total"] == sender.appended()
    for kind in ("failed", "dropped"):
        assert now[f"prometheus_remote_storage_samples_{kind}_total"] == 0, kind
    assert now["prometheus_remote_storage_metadata_total"] > 0
    assert now["prometheus_remote_storage_metadata_failed_total"] == 0
