# SPDX-License-Identifier: Apache-2.0
"""What a storage raises is what Prometheus makes of it: sent again, or given up."""

import re

import pytest

import scenario
from processes import wait_until
from prometheus import scrape
from receivers import moody


@pytest.mark.parametrize("mood", ["retry", "crash", "reject"])
def test_refused_writes(request, processes, tmp_path, targets, mood):
    receiver = moody(request.config.getoption("--receiver"), mood, processes, tmp_path)
    sender = scenario.start_sender(processes, tmp_path, receiver)
    sender.scrape(scrape("target", targets[0].port))
    wait_until(lambda: stored(receiver) > 0, "the storage takes something", sender.process)
    scenario.stop_scraping(sender, targets[0], targets[0].ticks + 3)

    now = sender.sending()
    if mood == "reject":
        assert now["failed"] > 0 and now["retried"] == 0, now
    else:
        assert now["failed"] == 0 and now["retried"] > 0, now
    assert stored(receiver) == now["acknowledged"]
    if mood == "crash":
        assert "a bug in the script" in receiver.process.text()
        assert re.search(r"traceback", receiver.process.text(), re.I)


def stored(receiver):
    counts = re.findall(r"^stored (\d+)$", receiver.process.text(), re.M)
    return int(counts[-1]) if counts else 0
