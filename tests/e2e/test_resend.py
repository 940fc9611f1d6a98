# SPDX-License-Identifier: Apache-2.0
"""Requests that arrive again, because an answer was lost or for no reason, change nothing."""

import random

import pytest

import scenario
from relay import Relay, post


@pytest.fixture
def relay(receiver):
    between = Relay(receiver, lose_every=4)
    yield between
    between.close()


def test_resent_requests_change_nothing(processes, tmp_path, receiver, relay, targets):
    sender = scenario.start_sender(processes, tmp_path, relay)
    scenario.start_scraping(sender, targets)
    scenario.stop_scraping(sender, targets[0])
    assert relay.lost > 0
    assert sender.sending()["retried"] > 0
    scenario.assert_all_acknowledged(sender)
    scenario.assert_stored(tmp_path, sender)
    ask = scenario.assert_read_back(processes, tmp_path, sender, receiver)

    receiver.stop()
    receiver.start()
    order = list(relay.requests)
    random.Random(3).shuffle(order)
    for path, headers, body, status in relay.requests + order:
        assert status == 204
        again, _, answer = post(receiver.port, path, headers, body)
        assert again == 204, answer.decode()
    scenario.assert_stored(tmp_path, sender)
    ask()
    receiver.stop()
