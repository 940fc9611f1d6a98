# SPDX-License-Identifier: Apache-2.0
"""Refuses to be imported where there is no GIL, on which the C code relies."""

import sys

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    raise ImportError(
        "prom_remote_api needs the GIL: run Python with -X gil=1 (or PYTHON_GIL=1), "
        "or one that is not free-threaded"
    )
