# SPDX-License-Identifier: Apache-2.0
"""A storage that passes everything on to another one, over HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence

from .. import Context, Error, Query, Retry, Series, Storage, WriteRequest
from .. import decode_read_response
from ._http import Endpoint

_TYPES = {
    1: ("application/x-protobuf", "0.1.0"),
    2: ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
}
_WRITTEN = "X-Prometheus-Remote-Write-"


class Relay(Storage):
    """Sends writes on to write_url, and asks read_url (if there is one) what is read.

    A write is answered as the other side answers it: its 4xx is a Reject with its text, 429 and 5xx
    are a Retry with its Retry-After, and when it does not answer at all that is a Retry too. What
    was acknowledged is in the other storage: nothing is kept here.

    version: of the remote write messages that are sent, 1 or 2; by default as they came. A receiver
    that takes a 2.0 message without saying what it has written has not understood it: Retry,
    until somebody gives it version=1.
    tenant_header: says the tenant of a request to the other side; "" = nothing does.
    headers: are sent with every request, such as {"Authorization": "Bearer …"}; forward: names of
    headers that are passed on as they came. timeout: seconds without a sign of life. ssl_context:
    for https, if not the default one.
    """

    histograms = exemplars = True

    def __init__(
        self,
        write_url: str,
        read_url: str | None = None,
        *,
        version: int | None = None,
        tenant_header: str = "X-Scope-OrgID",
        headers: Mapping[str, str] | None = None,
        forward: Iterable[str] = (),
        timeout: float = 30.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._version = version
        self._tenant_header = tenant_header
        self._headers = {"Content-Encoding": "snappy", "User-Agent": "prom-remote-api relay"}
        self._headers |= headers or {}
        self._forward = tuple(name.lower() for name in forward)
        self._write = Endpoint(write_url, timeout, ssl_context)
        self._read = Endpoint(read_url or write_url, timeout, ssl_context)
        if read_url is None:  # then this storage has no such method: reads are answered with 404
            setattr(self, "process_query", None)

    def write(self, ctx: Context, request: WriteRequest) -> None:
        version = self._version or request.version
        kind, number = _TYPES[version]
        headers = {"Content-Type": kind, "X-Prometheus-Remote-Write-Version": number}
        body = request.encode(version)
        answer = self._write.post(body, self._headers_for(ctx) | headers)
        answer.raise_unless_fine()
        data = request.sample_count + request.histogram_count + request.exemplar_count
        names = (f"{_WRITTEN}{kind}-Written" for kind in ("Samples", "Histograms", "Exemplars"))
        if version == 2 and data and not any(name in answer.headers for name in names):
            remedy = "the receiver does not know remote write 2.0; give Relay version=1"
            raise Retry(remedy, status=502)

    def process_query(self, ctx: Context, query: Query) -> Sequence[Series]:
        headers = {
            "Content-Type": "application/x-protobuf",
            "Accept-Encoding": "snappy",
            "X-Prometheus-Remote-Read-Version": "0.1.0",
        }
        answer = self._read.post(query.encode(), self._headers_for(ctx) | headers)
        answer.raise_unless_fine()
        kind = answer.headers.get("Content-Type", "application/x-protobuf")
        try:
            results = decode_read_response(answer.body, content_type=kind)
        except (Error, ValueError) as error:
            raise Retry(f"not an answer to a read: {error}", status=502) from error
        return results[0] if results else ()

    def _headers_for(self, ctx: Context) -> dict[str, str]:
        came = {name.lower(): value for name, value in ctx.headers.items()}
        headers = self._headers | {name: came[name] for name in self._forward if name in came}
        if self._tenant_header and ctx.tenant:
            headers[self._tenant_header] = ctx.tenant
        return headers

    def close(self) -> None:
        """Closes the connections to the other side."""
        self._write.close()
        self._read.close()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

