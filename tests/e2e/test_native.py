# SPDX-License-Identifier: Apache-2.0
"""A current Prometheus sends native histograms and exemplars; a second one, which has no data of
its own, reads them back streamed and gives the same answers."""

import pytest

import native
import scenario
from native import V1, V2


@pytest.mark.parametrize("message", [V1, V2])
def test_another_prometheus_answers_the_same(processes, tmp_path, receiver, message):
    sender = native.send(processes, tmp_path, receiver, message)
    native.assert_clean(sender, receiver)
    times = native.span(sender)
    expected = native.answers(sender, times, message == V2)
    native.assert_telling(expected, message == V2)
    reader = scenario.start_reader(processes, tmp_path, receiver, program=native.PROMETHEUS)
    native.assert_same(expected, native.answers(reader, times, message == V2))
    assert reader.appended() == 0, "the reader has samples of its own"
    receiver.stop()


def test_odd_labels_and_values(processes, tmp_path, receiver, targets):
    sender = scenario.start_sender(processes, tmp_path, receiver, native.PROMETHEUS,
                                   protobuf_message=V2,
                                   send_exemplars=native.keeps_exemplars(receiver))
    scenario.start_scraping(sender, targets)
    scenario.stop_scraping(sender, targets[0])
    native.assert_clean(sender, receiver)
    scenario.assert_read_back(processes, tmp_path, sender, receiver, native.PROMETHEUS)
    receiver.stop()
