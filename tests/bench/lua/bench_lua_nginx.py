# SPDX-License-Identifier: Apache-2.0
"""nginx as a filter of writes of 2,000 series: its CPU time and that of the same work in C, and what
it and `pra serve` take over sockets.

The client (in C, four connections, here), the upstream (an nginx that only says 204) and what is
measured share the machine.
"""

import contextlib
import json
import statistics
import tempfile
import time

from nginx import Nginx
from processes import Processes
from receivers import PRA, Receiver
from support import arguments, c_filter, load, require, row, write_request

CONNECTIONS = 4
SECONDS = 0.4

# As in tests/bench/native.c.
SERVER = """
init_by_lua_block {
  local remote = require "prom_remote_api.nginx"
  relabel = remote.filter {
    relabel = {
      { action = "drop", source_labels = { "__name__" }, regex = "go_.*|node_scrape_.*" },
      { source_labels = { "instance" }, regex = "([^:]+):\\\\d+", target_label = "host" },
      { target_label = "via", replacement = "nginx" },
      { action = "labeldrop", regex = "fstype|revision" },
    },
  }
  pass = remote.filter {}
  map = remote.filter {
    map = function(labels)
      if labels.__name__:find "^go_" or labels.__name__:find "^node_scrape_" then return nil end
      labels.host = labels.instance:match "([^:]+):%d+"
      labels.via, labels.fstype, labels.revision = "nginx", nil, nil
      return labels
    end,
  }
  backend = remote.handler { storage = { write = function(_, request)
    assert(request.series_count > 0)
  end } }
}
upstream next { server 127.0.0.1:UPSTREAM; keepalive 16; keepalive_requests 1000000; }
access_log off;
keepalive_requests 1000000;
client_body_buffer_size 1m;
proxy_http_version 1.1;
proxy_set_header Connection "";
server {
  listen 127.0.0.1:PORT;
  location = /api/v1/write { RULES }
  location = /echoed {
    access_by_lua_block { relabel() }
    proxy_pass http://127.0.0.1:PORT2;
  }
}
server {
  listen 127.0.0.1:PORT2;
  location / { content_by_lua_block { ngx.req.read_body() ngx.print(ngx.req.get_body_data()) } }
}
"""

UPSTREAM = """
access_log off;
keepalive_requests 1000000;
client_body_buffer_size 1m;
server { listen 127.0.0.1:PORT; location / { return 204; } }
"""

FILTER = "access_by_lua_block {{ {0}() }} header_filter_by_lua_block {{ {0}:header_filter() }} " \
         "body_filter_by_lua_block {{ {0}:body_filter() }} proxy_pass http://next;"


class Subject:
    """A server by its port and the processes that do the work."""

    def __init__(self, name, port, pids):
        self.name, self.port, self._pids = name, port, pids
        self.wall_us, self.cpu_us = [], []

    def cpu_ns(self):
        # The clock of another process, as clock_getcpuclockid makes it in Linux.
        return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in self._pids)

    def measure(self, body, seconds=SECONDS):
        before = self.cpu_ns()
        done = load(self.port, body, CONNECTIONS, seconds)
        self.wall_us.append(done.seconds * 1e6 / done.requests)
        self.cpu_us.append((self.cpu_ns() - before) / 1000 / done.requests)


def nginx(stack, processes, rules, upstream):
    """One worker."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pra-bench-"))
    text = SERVER.replace("RULES", rules).replace("UPSTREAM", str(upstream))
    return Nginx(processes, folder, text)


def check_equal_work(server, body):
    answer = server.request(target="/echoed", body=body, headers={
        "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"})
    require(answer.body == c_filter(body), "nginx and C make different requests")


def c_sample(body, iterations=50):
    start = time.process_time_ns()
    for _ in range(iterations):
        c_filter(body)
    return (time.process_time_ns() - start) / 1000 / iterations


def subjects(stack, processes, body):
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pra-bench-"))
    upstream = Nginx(processes, folder, UPSTREAM).port
    cases = {
        "filter, relabel": FILTER.format("relabel"),
        "filter, map in Lua": FILTER.format("map"),
        "filter, looks only": FILTER.format("pass"),
        "proxy_pass alone": "proxy_pass http://next;",
        "handler, looks only": "content_by_lua_block { backend() }",
    }
    found = []
    for name, rules in cases.items():
        server = nginx(stack, processes, rules, upstream)
        if not found:
            check_equal_work(server, body)
        found.append(Subject(f"nginx, {name}", server.port, server.worker_pids()))
    serve = Receiver(processes, folder, "serve", lambda listen: [
        PRA, "serve", "--storage=memory:", f"--web.listen-address={listen}"])
    found.append(Subject("pra serve, memory", serve.port, [serve.process.pid]))
    return found


def measure(options, stack):
    processes = Processes()
    stack.callback(processes.kill_all)
    body = write_request(2000)
    found = subjects(stack, processes, body)
    c = []
    for subject in found:
        subject.measure(body)
        del subject.wall_us[:], subject.cpu_us[:]
    for _ in range(options.rounds):
        c.append(c_sample(body))
        for subject in found:
            subject.measure(body)
    return c, found


def rates(subject):
    samples = [round(1e6 / us) for us in subject.wall_us]
    print(json.dumps({"group": "Lua, nginx, one worker: writes of 2,000 series a second",
                      "name": subject.name, "unit": "/s", "value": statistics.median(samples),
                      "samples": samples}), flush=True)


def main():
    options = arguments()
    with contextlib.ExitStack() as stack:
        c, found = measure(options, stack)
    group = "Lua, nginx, a write of 2,000 series: CPU time"
    row(group, "C: decoded, relabelled, encoded", c)
    for subject in found:
        row(group, subject.name, subject.cpu_us, 3 if subject is found[0] else 0)
    for subject in found:
        rates(subject)


if __name__ == "__main__":
    main()
