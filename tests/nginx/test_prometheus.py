# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus writes through a filter in nginx into `pra serve` (SQLite); another one reads back
what the relabelling promised: what the first has itself, under labels as these tests work them out."""

import hashlib
import json
import re
import time

import pytest

import native
import scenario
from native import V1, V2
from nginx import Nginx
from prometheus import http_get
from receivers import RECEIVERS, lacking
from target import Target

CONFIG = """
lua_shared_dict counted 64k;
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  filter = remote.filter {
    metrics = "counted",
    relabel = {
      { action = "drop", source_labels = { "__name__" }, regex = "go_.+|e2e_walk|peer_queue" },
      { source_labels = { "instance" }, regex = "(.+):([0-9]+)", target_label = "host" },
      { action = "hashmod", source_labels = { "job", "instance" }, modulus = 16, target_label = "part" },
      { target_label = "via", replacement = "nginx" },
      { action = "uppercase", source_labels = { "job" }, target_label = "big_job" },
      { action = "labelmap", regex = "(code|kind)", replacement = "was_$1" },
      { action = "labeldrop", regex = "code|kind|instance" },
    },
    map = MAP,
  }
}
server {
  listen 127.0.0.1:PORT;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  location = /api/v1/write {
    access_by_lua_block { filter() }
    header_filter_by_lua_block { filter:header_filter() }
    body_filter_by_lua_block { filter:body_filter() }
    proxy_pass http://127.0.0.1:RECEIVER;
  }
  location = /api/v1/read { proxy_pass http://127.0.0.1:RECEIVER; }
  location = /metrics { content_by_lua_block { require("prom_remote_api.nginx").metrics "counted" } }
}
"""
MAP = """function(labels)
  if labels.__name__ == "e2e_resets" then return nil end
  labels.mapped = labels.was_code or labels.was_kind
  return labels
end"""
EVERYTHING = '{__name__=~".+"}[1h]'


def promised(labels, mapped):
    """What becomes of labels; None if the series is dropped."""
    if re.fullmatch("go_.+|e2e_walk|peer_queue", labels["__name__"]):
        return None
    if mapped and labels["__name__"] == "e2e_resets":
        return None
    out = dict(labels)
    job, instance = out["job"], out.pop("instance")
    if match := re.fullmatch(r"(.+):(\d+)", instance):
        out["host"] = match[1]
    digest = hashlib.md5(f"{job};{instance}".encode()).digest()
    out["part"] = str(int.from_bytes(digest[8:], "big") % 16)
    out |= {"via": "nginx", "big_job": job.upper()}
    for name in "code", "kind":
        if name in out:
            out[f"was_{name}"] = out.pop(name)
    if mapped and (was := out.get("was_code") or out.get("was_kind")):
        out["mapped"] = was
    return out


class Filtered:
    """An nginx that filters what goes to a receiver."""

    def __init__(self, processes, workdir, mapped):
        self.receiver = RECEIVERS["sqlite"](processes, workdir)
        text = CONFIG.replace("RECEIVER", str(self.receiver.port)).replace("MAP", MAP if mapped else "nil")
        self.nginx = Nginx(processes, workdir, text, workers=2)
        self.url = self.nginx.url

    def stop(self):
        self.nginx.stop()
        self.receiver.stop()


@pytest.fixture
def targets():
    pair = [Target(), Target()]
    yield pair
    for target in pair:
        target.close()


def from_debian(processes, workdir, receiver, targets):
    sender = scenario.start_sender(processes, workdir, receiver)
    scenario.start_scraping(sender, targets)
    scenario.stop_scraping(sender, targets[0])
    scenario.assert_all_acknowledged(sender)
    return sender, "prometheus"


def from_current(message):
    def send(processes, workdir, receiver, targets):
        if not native.PROMETHEUS.exists():
            lacking("no current Prometheus; ./dev test-peers builds it")
        sender = native.send(processes, workdir, receiver, message)
        native.assert_clean(sender, receiver)
        return sender, native.PROMETHEUS
    return send


@pytest.mark.parametrize("mapped", [False, True], ids=["relabel", "map"])
@pytest.mark.parametrize("send", [from_debian, from_current(V1), from_current(V2)],
                         ids=["debian", "current_v1", "current_v2"])
def test_what_relabelling_promised(processes, tmp_path, targets, send, mapped):
    receiver = Filtered(processes, tmp_path, mapped)
    sender, program = send(processes, tmp_path, receiver, targets)
    when = time.time() + 60
    expected, dropped = {}, 0
    for key, row in native.normal(sender.query(EVERYTHING, when))[1].items():
        labels = promised(json.loads(key), mapped)
        dropped += labels is None
        if labels:
            expected[json.dumps(labels, sort_keys=True)] = row
    assert len(expected) > 40 and dropped
    reader = scenario.start_reader(processes, tmp_path, receiver, program=program)
    got = native.normal(reader.query(EVERYTHING, when))[1]
    assert got.keys() == expected.keys()
    for key, row in expected.items():
        assert got[key] == row, key
    assert reader.appended() == 0, "the reader has samples of its own"
    counted = dict(re.findall(r"^prom_remote_api_filter_(\w+)_total (\d+)$",
                              http_get(f"{receiver.url}/metrics"), re.M))
    assert int(counted["dropped_series"]) > 0 and int(counted["refused_requests"]) == 0
    receiver.stop()
