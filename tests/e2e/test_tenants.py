# SPDX-License-Identifier: Apache-2.0
"""A tenant does not see what another has written."""

import time

import pytest

import compare
import scenario
from relay import Relay


@pytest.fixture
def tenant(receiver):
    """Debian's prometheus 2.42 does not send the headers of its configuration; relays do."""
    relays = []

    def relay_of(name):
        relays.append(Relay(receiver, headers={"X-Scope-OrgID": name}))
        return relays[-1]

    yield relay_of
    for relay in relays:
        relay.close()


def test_tenants_are_apart(processes, tmp_path, receiver, tenant, targets):
    sender = scenario.start_sender(processes, tmp_path, tenant("one"))
    scenario.start_scraping(sender, targets)
    scenario.stop_scraping(sender, targets[0], 12)

    def all_samples(prometheus):
        return compare.normal(prometheus.query(compare.RAW, time.time()))[1]

    def seen_by(name, where):
        return all_samples(scenario.start_reader(processes, tmp_path, where, name))

    assert seen_by("same", tenant("one")) == all_samples(sender) != {}
    assert seen_by("other", tenant("two")) == {}
    assert seen_by("nobody", receiver) == {}
    receiver.stop()
