# SPDX-License-Identifier: Apache-2.0
"""The real prometheus as sender (remote_write), as reader (remote_read), or as receiver."""

import json
import pathlib
import re
import urllib.error
import urllib.parse
import urllib.request

from processes import wait_until

# Put on every series that is sent; the reader asks with it and takes it off again.
_GLOBAL = {"external_labels": {"cluster": "e2e"}}
_METRIC = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)$")


def http_get(url):
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read().decode()


def metrics(url):
    """Sums of the metrics at url by name, labels aside."""
    sums = {}
    for line in http_get(url).splitlines():
        match = _METRIC.match(line)
        if match:
            sums[match[1]] = sums.get(match[1], 0.0) + float(match[2])
    return sums


def remote_write(url, **settings):
    """Configuration of a sender that does not wait for full batches. Its number of shards is fixed:
    where it changes, because the receiver is slow, Prometheus gives up what it cannot flush in time."""
    queue = {
        "min_shards": 2, "max_shards": 2, "max_samples_per_send": 500, "capacity": 5000,
        "batch_send_deadline": "100ms", "min_backoff": "30ms", "max_backoff": "200ms",
    }
    metadata = {"send": True, "send_interval": "1s"}
    return {"global": _GLOBAL, "remote_write": [
        {"url": url, "queue_config": queue, "metadata_config": metadata,
         "send_exemplars": True, **settings}]}


def remote_read(url, **settings):
    return {"global": _GLOBAL, "remote_read": [{"url": url, "read_recent": True, **settings}]}


def scrape(job, port, interval="200ms", **settings):
    return {"job_name": job, "scrape_interval": interval, "scrape_timeout": interval,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], **settings}


class Prometheus:
    def __init__(self, processes, workdir, name, config, flags=(), program="prometheus"):
        self._dir = pathlib.Path(workdir) / name
        self._dir.mkdir()
        self._config = config
        self.sends_metadata = any(to.get("protobuf_message") != "io.prometheus.write.v2.Request"
                                  for to in config.get("remote_write", []))  # 2.0 has them in series
        self._write_config([])
        self.process = processes.start(name, [
            program, f"--config.file={self._dir}/prometheus.json",
            f"--storage.tsdb.path={self._dir}/data", "--web.listen-address=127.0.0.1:0",
            "--web.enable-lifecycle", "--storage.remote.flush-deadline=1s", *flags,
        ], cwd=workdir)
        self.port = self.process.port()
        self.url = f"http://127.0.0.1:{self.port}"
        wait_until(self._ready, f"{name} is ready", self.process)
        if "remote_write" in config:
            # What is appended before the sender follows the log is never sent.
            wait_until(lambda: "Replaying WAL" in self.process.text(),
                       f"{name} follows its own log", self.process)

    def _ready(self):
        try:
            return http_get(f"{self.url}/-/ready")
        except (urllib.error.URLError, ConnectionError):
            return False

    def _write_config(self, scrape_configs):
        # JSON is YAML.
        config = {**self._config, "scrape_configs": scrape_configs}
        (self._dir / "prometheus.json").write_text(json.dumps(config))

    def scrape(self, *scrape_configs):
        """Replaces what is scraped. What is gone appends nothing after it returns."""
        self._write_config(list(scrape_configs))
        http_post(f"{self.url}/-/reload", b"")

    def metrics(self):
        return metrics(f"{self.url}/metrics")

    def metric(self, name):
        return self.metrics().get(name, 0.0)

    def appended(self):
        return self.metric("prometheus_tsdb_head_samples_appended_total")

    def sending(self):
        """What became of the samples appended. Prometheus counts each attempt as sent."""
        now = self.metrics()

        def data(kind):
            return sum(now.get(f"prometheus_remote_storage_{datum}_{kind}", 0.0)
                       for datum in ("samples", "histograms"))
        of = {kind: data(f"{kind}_total") for kind in ("failed", "retried", "dropped")}
        tried, pending = data("total") - of["retried"], data("pending")
        return {**of, "tried": tried, "pending": pending, "acknowledged": tried - of["failed"],
                "metadata": now["prometheus_remote_storage_metadata_total"],
                "metadata_failed": now["prometheus_remote_storage_metadata_failed_total"],
                "exemplars": now["prometheus_remote_storage_exemplars_total"],
                "exemplars_retried": now["prometheus_remote_storage_exemplars_retried_total"],
                "exemplars_failed": now["prometheus_remote_storage_exemplars_failed_total"]}

    def wait_all_sent(self):
        """After the end of scraping: every sample, and every exemplar that is to be sent, has been
        acknowledged or given up. Exemplars may come in a request of their own behind the samples."""
        exemplars = (self.metric("prometheus_tsdb_exemplar_exemplars_appended_total")
                     if self._config["remote_write"][0]["send_exemplars"] else 0)

        def done():
            now = self.sending()
            return (now["tried"] == self.appended() and now["pending"] == 0
                    and now["exemplars"] - now["exemplars_retried"] >= exemplars)
        wait_until(done, "all samples are sent", self.process, lambda: self.sending()["tried"])

    def query(self, expression, time):
        return self._api("query", {"query": expression, "time": repr(time)})

    def query_range(self, expression, start, end, step):
        return self._api("query_range", {"query": expression, "start": repr(start),
                                         "end": repr(end), "step": repr(step)})

    def _api(self, what, parameters):
        body = urllib.parse.urlencode(parameters).encode()
        return json.loads(http_post(f"{self.url}/api/v1/{what}", body))


def http_post(url, body, headers=None):
    """Answer of a POST, also of one that is answered with an error in JSON."""
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        if not error.headers.get("Content-Type", "").startswith("application/json"):
            raise AssertionError(f"POST {url}: {error.code} {text}") from error
        return text
