# SPDX-License-Identifier: Apache-2.0
"""Requests to another server, over connections that are kept; its verdict as Reject and Retry."""

from __future__ import annotations

import email.utils
import http.client
import ssl
import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import Reject, Retry


_MOST_BYTES = 1 << 28
"""Of an answer, as max_response_bytes: it is in memory as a whole."""


class Answer(NamedTuple):
    """Of the other server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def raise_unless_fine(self) -> None:
        """The verdict of the other side, for the sender on this one."""
        if 200 <= self.status < 300:
            return
        text = self.body[:1024].decode(errors="replace").strip() or f"status {self.status}"
        if 400 <= self.status < 500 and self.status != 429:
            raise Reject(text, status=self.status)
        status = self.status if self.status == 429 or 500 <= self.status < 600 else 502
        raise Retry(text, status=status, after=_seconds(self.headers.get("Retry-After", "")))


class Endpoint:
    """One URL, and the connections to it that wait for the next request. For any thread."""

    def __init__(self, url: str, timeout: float, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of an endpoint: {url!r}")
        self._host, self._port = parts.hostname, parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout = timeout
        self._tls = parts.scheme == "https"
        self._context = context or (ssl.create_default_context() if self._tls else None)
        self._idle: deque[http.client.HTTPConnection] = deque()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises Retry if there is no answer. May send twice what arrives once."""
        raw = {name: value.encode("utf-8", "surrogateescape") for name, value in headers.items()}
        while True:
            kept, connection = self._connection()
            try:
                connection.request("POST", self._target, body, raw)
                response = connection.getresponse()
                if not response.headers:  # http.client takes a head that breaks off for a whole one
                    raise http.client.HTTPException("an answer without headers")
                answer = Answer(response.status, response.headers, _body(response))
            except Retry:
                connection.close()
                raise
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and not isinstance(error, TimeoutError):
                    continue  # the other side may have closed it meanwhile
                reason = str(error) or type(error).__name__
                raise Retry(f"{self._host} does not answer: {reason}") from error
            self._idle.append(connection)  # http.client opens it again if it was closed
            return answer

    def _connection(self) -> tuple[bool, http.client.HTTPConnection]:
        """(whether it was used before, a connection)"""
        try:
            return True, self._idle.pop()
        except IndexError:
            pass
        if self._tls:
            return False, http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._context
            )
        return False, http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _body(response: http.client.HTTPResponse) -> bytes:
    """All of it: only of chunks a part may be asked for, of other bodies none would be missed."""
    size, pieces = response.length or 0, list[bytes]()
    while size <= _MOST_BYTES:
        if response.length is not None:
            return response.read()
        pieces.append(response.read(1 << 16))
        size += len(pieces[-1])
        if not pieces[-1]:
            return b"".join(pieces)
    raise Retry(f"the other side answers with more than {_MOST_BYTES} bytes")


def _seconds(retry_after: str) -> float | None:
    """Retry-After: seconds, or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    date = email.utils.parsedate_tz(retry_after)
    try:
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):  # of a year that there is not
        return None
