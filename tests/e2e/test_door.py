# SPDX-License-Identifier: Apache-2.0
"""One web configuration file, given to Prometheus as the receiver and to us: TLS, client
certificates and passwords work alike."""

import pytest

import scenario
from door import guard, pra
from processes import wait_until
from prometheus import scrape


def prometheus(workdir, config):
    (workdir / "receiver.yml").write_text("{}")
    return lambda listen: ["prometheus", f"--config.file={workdir}/receiver.yml",
                           f"--storage.tsdb.path={workdir}/store", "--web.enable-remote-write-receiver",
                           "--enable-feature=exemplar-storage",
                           f"--web.listen-address={listen}", f"--web.config.file={config}"]


@pytest.fixture(params=[pra, prometheus])
def guarded(request, processes, tmp_path):
    return guard(processes, tmp_path, request.param)


def test_who_is_known_writes_and_reads(processes, tmp_path, targets, guarded):
    sender = scenario.start_sender(processes, tmp_path, guarded)
    scenario.start_scraping(sender, targets)
    guarded.authority.issue("server")  # another certificate, while both run
    scenario.stop_scraping(sender, targets[0])
    scenario.assert_all_acknowledged(sender)
    scenario.assert_read_back(processes, tmp_path, sender, guarded)
    guarded.stop()


@pytest.mark.parametrize("change, said", [
    ({"basic_auth": {"username": "alice", "password": "wrong"}}, "401 Unauthorized"),
    ({"basic_auth": None}, "401 Unauthorized"),
    ({"tls_config": {}}, "certificate signed by unknown authority"),
    ({"tls_config": {"insecure_skip_verify": True}}, "remote error: tls: "),
])
def test_who_is_not_known_is_told(processes, tmp_path, targets, guarded, change, said):
    guarded.client = {key: value for key, value in {**guarded.client, **change}.items()
                      if value is not None}
    sender = scenario.start_sender(processes, tmp_path, guarded)
    sender.scrape(scrape("target", targets[0].port))
    wait_until(lambda: said in sender.process.text(), f"the sender says {said!r}", sender.process)
    guarded.stop()
