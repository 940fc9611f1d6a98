"""The backend in memory that keeps all there is: python histograms_backend.py [HOST:PORT]"""

import sys

from memory_backend import Memory

from prom_remote_api import serve


class Everything(Memory):
    histograms = exemplars = True  # senders are told that other storages do not keep them

    def __init__(self):
        super().__init__()  # self.series: (tenant, labels) -> {timestamp: (timestamp, value) or Histogram}
        self.traces = []

    def write(self, ctx, request):
        for ts in request:
            if "trace_id" in ts.labels:
                ts.reject("a trace_id belongs into an exemplar")  # the rest is stored
                continue
            points = self.series.setdefault((ctx.tenant, tuple(ts.labels.items())), {})
            points.update((sample[0], sample) for sample in ts.samples)
            points.update((h.timestamp, h) for h in ts.histograms)
            self.traces += [(ctx.tenant, ts.labels, e.labels, e.value) for e in ts.exemplars]

    def process_query(self, ctx, query):
        for (tenant, labels), points in list(self.series.items()):
            labels = dict(labels)
            if tenant == ctx.tenant and query.matches(labels):
                yield labels, list(points.values())


if __name__ == "__main__":
    serve(Everything(), *sys.argv[1:])
