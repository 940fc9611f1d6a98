# SPDX-License-Identifier: Apache-2.0
"""What one Prometheus has written, another reads back through PromQL: the same answers."""

import scenario


def test_another_prometheus_answers_the_same(processes, tmp_path, receiver, targets):
    sender = scenario.start_sender(processes, tmp_path, receiver)
    scenario.start_scraping(sender, targets)
    scenario.stop_scraping(sender, targets[0])
    scenario.assert_all_acknowledged(sender)
    scenario.assert_read_back(processes, tmp_path, sender, receiver)
    receiver.stop()
