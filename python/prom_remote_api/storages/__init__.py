# SPDX-License-Identifier: Apache-2.0
"""Storages that are ready to use, each in one short file that is written to be copied.

    from prom_remote_api import serve
    from prom_remote_api.storages import SQLiteStorage

    serve(SQLiteStorage("metrics.db"))

All of them keep tenants apart and NaNs bit for bit, keep native histograms, may be called from any
number of threads at the same time, and are context managers that close what they have opened.
DuckDBStorage and ParquetStorage need packages of their own, which are imported when they are.

What SQLiteStorage, DuckDBStorage and ParquetStorage have is kept for ever, or for their option
retention, a timedelta: what is older, by its timestamps and the clock of this machine, is never
read, and deleted in some of the writes, a part at a time. What is too old when it arrives is
acknowledged, and forgotten.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .duckdb import DuckDBStorage
    from .fanout import FanOut
    from .memory import MemoryStorage
    from .parquet import ParquetStorage
    from .relay import Relay
    from .sqlite import SQLiteStorage

_MODULES = {
    "DuckDBStorage": "duckdb",
    "FanOut": "fanout",
    "MemoryStorage": "memory",
    "ParquetStorage": "parquet",
    "Relay": "relay",
    "SQLiteStorage": "sqlite",
}

__all__ = [
    "DuckDBStorage",
    "FanOut",
    "MemoryStorage",
    "ParquetStorage",
    "Relay",
    "SQLiteStorage",
]


def __getattr__(name: str) -> object:
    """Imports a storage when it is asked for, so that the others work without its packages."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
