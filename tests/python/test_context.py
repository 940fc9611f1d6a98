"""The context of a request."""

from __future__ import annotations

from typing import Any

import prom_remote_api as pra
import wire

UP = {"__name__": "up"}


class Looks(pra.Storage):
    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        self.seen = {name: getattr(ctx, name) for name in dir(ctx) if not name.startswith("_")}

    def process_query(self, ctx: pra.Context, query: pra.Query) -> list[Any]:
        self.write(ctx, None)  # type: ignore[arg-type]
        return []


def test_context(open_host: Any) -> None:
    storage = Looks()
    host = open_host(storage)
    answer = host.write(
        wire.write_request([(UP, [(1, 1.0)])]),
        path="/some%20where/api/v1/write?a=b&c=%20d",
        X_Scope_OrgID="tenant-1",
        User_Agent="Prometheus/2.42",
    )
    assert answer.status == 204
    seen = storage.seen
    assert seen["tenant"] == "tenant-1"
    assert seen["query_string"] == "a=b&c=%20d"
    assert seen["path"].endswith("/api/v1/write")
    assert seen["remote_addr"].startswith("127.0.0.1")
    assert seen["user"] == ""
    assert seen["worker"] >= 0
    headers = seen["headers"]
    assert headers["user-agent"] == "Prometheus/2.42"
    assert headers["content-encoding"] == "snappy"
    assert headers["x-scope-orgid"] == "tenant-1"


def test_no_tenant(open_host: Any) -> None:
    storage = Looks()
    open_host(storage).read(wire.query(0, 1, [])).results
    assert storage.seen["tenant"] == ""


def test_other_tenant_header(open_host: Any) -> None:
    storage = Looks()
    host = open_host(storage, tenant_header="X-Team")
    host.write_series((UP, [(1, 1.0)]), X_Team="blue", X_Scope_OrgID="no")
    assert storage.seen["tenant"] == "blue"
