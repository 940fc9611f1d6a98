# SPDX-License-Identifier: Apache-2.0
"""The receiver dies by kill -9 while a real Prometheus sends, and comes back."""

import scenario
from processes import wait_until


def test_nothing_acknowledged_is_lost(processes, tmp_path, receiver, targets):
    sender = scenario.start_sender(processes, tmp_path, receiver)
    scenario.start_scraping(sender, targets)
    for _ in range(3):
        before = sender.sending()["acknowledged"]
        wait_until(lambda: sender.sending()["acknowledged"] > before + 500, "sending goes on",
                   sender.process)
        receiver.kill()
        retried = sender.sending()["retried"]
        wait_until(lambda: sender.sending()["retried"] > retried, "the sender notices",
                   sender.process)
        receiver.start()
    scenario.stop_scraping(sender, targets[0], targets[0].ticks + 3)
    scenario.assert_all_acknowledged(sender)
    scenario.assert_stored(tmp_path, sender)
    scenario.assert_read_back(processes, tmp_path, sender, receiver)
    receiver.stop()
