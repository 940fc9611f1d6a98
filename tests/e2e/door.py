# SPDX-License-Identifier: Apache-2.0
"""A web configuration file in Prometheus' own format, and a receiver behind it."""

import json
import sys

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


def guard(processes, workdir, program):
    """A receiver behind the file; its certificates are in its folder."""
    folder = workdir / "door"
    folder.mkdir()
    authority = web_config(folder)
    receiver = Receiver(processes, workdir, "receiver", program(workdir, folder / "web.yml"))
    receiver.url = f"https://127.0.0.1:{receiver.port}"
    receiver.authority = authority
    receiver.client = {
        "basic_auth": {"username": "alice", "password": "secret"},
        "tls_config": {"ca_file": str(authority.certificate),
                       "cert_file": str(folder / "sender.crt"), "key_file": str(folder / "sender.key")}}
    return receiver
