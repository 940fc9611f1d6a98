#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the dearest request of the tables costs a handler, as rows for tests/bench/run.py."""

import itertools
import json

from bare import BareHandler

import tables

MIB = 1 << 20


def main():
    handler, most = BareHandler(), {}
    for case in itertools.chain(tables.small(), tables.floods()):
        answer = handler.post(case.path, case.content_type, case.body, case.headers)
        refused = answer.status >= 400
        for name, value, unit, target in (
                ("CPU of one request", answer.cpu_us / 1e6, "s", 1),
                ("memory beyond the request", answer.peak_bytes / MIB, "MiB", 128 + 4),
                ("body of a refusal", len(answer.body) if refused else 0, "bytes", 4096)):
            if value >= most.get(name, {"value": -1})["value"]:
                most[name] = {"group": "the dearest of all wrong requests", "name": name,
                              "unit": unit, "value": value, "target": target}
    handler.close()
    for row in most.values():
        print(json.dumps(row))


if __name__ == "__main__":
    main()
