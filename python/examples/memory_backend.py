"""A complete backend for a real Prometheus, in memory: python memory_backend.py [HOST:PORT]"""

import sys

from prom_remote_api import Storage, serve


class Memory(Storage):
    def __init__(self):
        self.series = {}  # (tenant, labels) -> {timestamp in ms: value}

    def write(self, ctx, request):
        for ts in request:
            key = ctx.tenant, tuple(ts.labels.items())
            self.series.setdefault(key, {}).update(ts.samples)

    def process_query(self, ctx, query):
        for (tenant, labels), samples in list(self.series.items()):
            labels = dict(labels)
            if tenant == ctx.tenant and query.matches(labels):
                yield labels, list(samples.items())


if __name__ == "__main__":
    serve(Memory(), *sys.argv[1:])
