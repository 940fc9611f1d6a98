# SPDX-License-Identifier: Apache-2.0
"""What became of a call of the storage, as the C code is told."""

from __future__ import annotations

from typing import TypeAlias

from . import pra

Outcome: TypeAlias = tuple[int, int, str, int]
"""Code, HTTP status (0 = the code's own), message for the sender, seconds to wait (0 = none)."""

DONE: Outcome = (pra.OK, 0, "", 0)
MORE: Outcome = (pra.DONE, 0, "", 0)
"""The sink has enough: call again when the reader wants more."""
CANCELLED: Outcome = (pra.ERR_CANCELLED, 0, "nobody waits for the answer", 0)
INTERRUPTED: Outcome = (pra.ERR_USER, 0, "the storage was interrupted", 0)
