# SPDX-License-Identifier: Apache-2.0
"""Exceptions that C raises."""

from __future__ import annotations


class Error(Exception):
    """The C library refused something: bytes that cannot be decoded, a limit, an address in use …"""

    code: int
    """Which of the PRA_ERR_ numbers of pra.h."""
    http_status: int
    """What a client is to be answered, or 0."""
    offset: int
    """Where in the input, in bytes."""

    def __init__(self, code: int, message: str, http_status: int = 0, offset: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.http_status = http_status
        self.offset = offset


class SinkError(Error):
    """An answer went over its limits, or nobody waits for it any more."""


class ExpiredError(RuntimeError):
    """An object of a request was used after the method that it was given to had returned."""
