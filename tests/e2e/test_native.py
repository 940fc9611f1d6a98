# SPDX-License-Identifier: Apache-2.0
"""A current Prometheus sends native histograms and exemplars; a second one, which has no data of
its own, reads them back streamed and gives the same answers."""

import time

import pytest

import native
from native import V1, V2
from prometheus import Prometheus, remote_read, remote_write
from receivers import PrometheusReceiver

FEATURES = ["--enable-feature=exemplar-storage"]


@pytest.fixture
def start(processes, tmp_path):
    """start(name, config, *flags) starts a current Prometheus."""
    def start(name, config, *flags):
        return Prometheus(processes, tmp_path, name, config, [*FEATURES, *flags],
                          program=native.PROMETHEUS)
    return start


@pytest.fixture
def target(processes, tmp_path):
    return native.NativeTarget(processes, tmp_path)


def send(start, target, receiver, message, ticks=24, **settings):
    """A sender that has sent everything it scraped."""
    sender = start("sender", remote_write(f"{receiver.url}/api/v1/write", protobuf_message=message,
                                          send_native_histograms=True, **settings))
    sender.scrape(native.scrape_native("native", target.port, nhcb=message == V2))
    target.wait_for(ticks)
    sender.scrape()
    sender.wait_all_sent()
    return sender


def assert_clean(sender, receiver):
    """Nothing was refused, sent again or left out."""
    now = sender.metrics()
    if isinstance(receiver, PrometheusReceiver):  # which refuses exemplar-only series in v2
        now.pop("prometheus_remote_storage_exemplars_failed_total")
    wrong = {name: value for name, value in now.items() if value != 0
             and name.startswith("prometheus_remote_storage_")
             and name.endswith(("_failed_total", "_retried_total", "_dropped_total"))}
    assert not wrong, wrong
    assert now["prometheus_remote_storage_exemplars_total"] > 0
    assert now["prometheus_remote_storage_histograms_total"] > 0


@pytest.mark.parametrize("message", [V1, V2])
def test_another_prometheus_answers_the_same(start, target, receiver, message):
    sender = send(start, target, receiver, message)
    assert_clean(sender, receiver)
    times = native.span(sender, time.time() + 60)
    expected = native.answers(sender, times, message == V2)
    native.assert_telling(expected, message == V2)
    reader = start("reader", remote_read(f"{receiver.url}/api/v1/read"))
    native.assert_same(expected, native.answers(reader, times, message == V2))
    assert reader.appended() == 0, "the reader has samples of its own"
    receiver.stop()
