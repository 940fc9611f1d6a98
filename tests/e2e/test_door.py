# SPDX-License-Identifier: Apache-2.0
"""One web configuration file, given to Prometheus as the receiver and to us: TLS, client
certificates and passwords work alike."""

import json
import sys

import pytest

import scenario
from processes import wait_until
from prometheus import scrape
from receivers import PRA, ROOT, Receiver

sys.path.append(str(ROOT / "tests" / "support"))
from certificates import Authority  # noqa: E402

SECRET = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"


def web_config(folder):
    authority = Authority(folder)
    authority.issue("server")
    authority.issue("sender", sans="DNS:sender", usage="clientAuth")
    (folder / "web.yml").write_text(json.dumps({
        "tls_server_config": {"cert_file": "server.crt", "key_file": "server.key",
                              "client_auth_type": "RequireAndVerifyClientCert",
                              "client_ca_file": "ca.crt", "min_version": "TLS12",
                              "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
                              "curve_preferences": ["CurveP256", "X25519"]},
        "http_server_config": {"http2": False, "headers": {"X-Frame-Options": "deny"}},
        "basic_auth_users": {"alice": SECRET}}))
    return authority


def pra(workdir, config):
    return lambda listen: [PRA, "serve", f"--storage=sqlite:{workdir}/store.db",
                           f"--web.listen-address={listen}", f"--web.config.file={config}"]


def prometheus(workdir, config):
    (workdir / "receiver.yml").write_text("{}")
    return lambda listen: ["prometheus", f"--config.file={workdir}/receiver.yml",
                           f"--storage.tsdb.path={workdir}/store", "--web.enable-remote-write-receiver",
                           "--enable-feature=exemplar-storage",
                           f"--web.listen-address={listen}", f"--web.config.file={config}"]


@pytest.fixture(params=[pra, prometheus])
def guarded(request, processes, tmp_path):
    """A receiver behind the file; its certificates are in its folder."""
    folder = tmp_path / "door"
    folder.mkdir()
    authority = web_config(folder)
    receiver = Receiver(processes, tmp_path, "receiver", request.param(tmp_path, folder / "web.yml"))
    receiver.url = f"https://127.0.0.1:{receiver.port}"
    receiver.authority = authority
    receiver.client = {
        "basic_auth": {"username": "alice", "password": "secret"},
        "tls_config": {"ca_file": str(authority.certificate),
                       "cert_file": str(folder / "sender.crt"), "key_file": str(folder / "sender.key")}}
    return receiver


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
