# SPDX-License-Identifier: Apache-2.0
"""What README.md says about a current Prometheus; `./dev test-peers` runs it."""

import shutil

import native
import receivers
from processes import wait_until
from prometheus import http_get, metrics
from snippets import only
from test_readme import configure, stand_in_for_dev

RECEIVER, PROMETHEUS = "http://127.0.0.1:9201", "http://127.0.0.1:9090"
WANTED = [f"pra_received_{kind}_total" for kind in ("samples", "histograms", "exemplars")]


def start(processes, folder, name):
    tools = f"PATH={native.PEERS}:$PATH; "
    process = processes.start(name, ["bash", "-c", tools + "exec " + only("current").text],
                              cwd=folder)
    wait_until(lambda: "ready to receive web requests" in process.text(), "it is ready", process)
    return process


def test_histograms_and_exemplars(processes, tmp_path):
    if not receivers.PRA.exists() or not native.PROMETHEUS.exists():
        receivers.lacking("pra is not built, or there is no current Prometheus")
    stand_in_for_dev(tmp_path)
    serve = processes.start("serve", ["bash", "-c", "exec " + only("serve").text], cwd=tmp_path)
    assert serve.port() == 9201
    target = native.NativeTarget(processes, tmp_path)
    configure(tmp_path, only("current.yml").text, f"127.0.0.1:{target.port}")
    sender = start(processes, tmp_path, "sender")
    wait_until(lambda: all(metrics(f"{RECEIVER}/metrics")[name] > 0 for name in WANTED),
               "all of them arrive", serve)
    sender.stop()
    assert metrics(f"{RECEIVER}/metrics")["pra_failed_samples_total"] == 0
    shutil.rmtree(tmp_path / "data")
    target.process.stop()
    start(processes, tmp_path, "reader")
    answer = http_get(f"{PROMETHEUS}/api/v1/query?query=last_over_time(peer_latency_seconds[1h])")
    assert '"histogram":[' in answer, answer
    serve.stop()
