# SPDX-License-Identifier: Apache-2.0
"""The options that all hosts of a storage share."""

from __future__ import annotations

import http
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TypedDict

from . import pra
from ._adapter import Adapter
from ._errors import Error


class HandlerOptions(TypedDict, total=False):
    """What Server, serve, make_asgi_app and make_wsgi_app take by name."""

    tenant_header: str
    """The header that names the tenant, "X-Scope-OrgID" unless said otherwise; "" = none."""
    limits: Mapping[str, int] | None
    """What one request may cost: {"max_body_bytes": 1 << 20}; the names are those of the fields of
    pra_limits in pra.h, which says what holds for those left out."""
    accepted_messages: Iterable[int]
    """Versions of remote write that are taken, 1 and 2 unless said otherwise; others get 415."""
    strict: bool
    """Whether to refuse what is mended otherwise: unsorted labels, empty values, and the like."""
    external_labels: Mapping[str, str]
    """Labels that stand for this storage as a whole, as in Prometheus: every series of an answer
    has them, and matchers may ask for them."""
    ignored_matchers: Iterable[str]
    """Names of labels; matchers on them are left out of queries."""
    read_delay: float
    """Seconds; samples that are younger are not read."""
    read_max_age: float
    """Seconds; samples that are older are not read. 0 = there is no such limit."""


UNKNOWN_LENGTH = 0xFFFFFFFFFFFFFFFF


class Exchanges:
    """The exchanges of an application, which keep their memory from one request to the next."""

    def __init__(self, handler: pra.Handler) -> None:
        self._handler = handler
        self._idle: deque[pra.Exchange] = deque(maxlen=16)

    def take(self) -> pra.Exchange:
        try:
            return self._idle.pop()
        except IndexError:
            return pra.Exchange(self._handler)

    def give(self, exchange: pra.Exchange) -> None:
        """Takes back one that nobody uses. One that is not given back is just dropped."""
        self._idle.append(exchange)


def run(exchange: pra.Exchange) -> None:
    """Asks the storage. That it failed is in the answer."""
    try:
        exchange.run()
    except Error as error:
        if error.code != pra.ERR_USER:
            raise


def response_headers(exchange: pra.Exchange) -> list[tuple[str, str]]:
    headers = [
        (exchange.header_name(i), exchange.header_value(i)) for i in range(exchange.header_count())
    ]
    length = exchange.body_length()
    if length != UNKNOWN_LENGTH and exchange.status() != http.HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(length)))
    return headers


def make_handler(
    adapter: Adapter,
    *,
    tenant_header: str = "X-Scope-OrgID",
    limits: Mapping[str, int] | None = None,
    accepted_messages: Iterable[int] = (1, 2),
    strict: bool = False,
    external_labels: Mapping[str, str] | None = None,
    ignored_matchers: Iterable[str] = (),
    read_delay: float = 0,
    read_max_age: float = 0,
) -> pra.Handler:
    rules = pra.Rules()
    rules.accepted_messages = _messages(accepted_messages)
    rules.canonical_flags = pra.CANONICAL_STRICT if strict else 0
    rules.read_delay_ms = round(read_delay * 1000)
    rules.read_max_age_ms = round(read_max_age * 1000)
    for name, value in (external_labels or {}).items():
        rules.add_external_label(name, value)
    for name in ignored_matchers:
        rules.ignore_matcher(name)
    return pra.Handler(_limits(limits), tenant_header, False, rules, adapter)


def _messages(versions: Iterable[int]) -> int:
    bits = 0
    for version in versions:
        if version not in (1, 2):
            raise ValueError(f"no such version of remote write: {version}")
        bits |= 1 << version
    if not bits:
        raise ValueError("accepted_messages must name a version of remote write")
    return bits


def _names_of_limits() -> list[str]:
    fields = vars(pra.Limits).items()
    return [name for name, field in fields if isinstance(field, property) and name != "thisown"]


def _limits(limits: Mapping[str, int] | None) -> pra.Limits | None:
    """The fields of pra_limits by name: {"max_body_bytes": 1 << 20}."""
    if not limits:
        return None
    result = pra.Limits()
    names = _names_of_limits()
    for name, value in limits.items():
        if name not in names:
            raise ValueError(f"no such limit: {name} (there are: {', '.join(names)})")
        setattr(result, name, value)
    return result
