"""usage: bundled.py NAME serve|uvicorn LISTEN [URL]

A storage of prom_remote_api.storages under one of the hosts; its files are in the current folder,
and URL is where a relay finds the next one.
"""

import signal
import sys

from prom_remote_api import make_asgi_app, serve, storages

STORAGES = {
    "memory": lambda url: storages.MemoryStorage(),
    "sqlite": lambda url: storages.SQLiteStorage("bundled.db"),
    "duckdb": lambda url: storages.DuckDBStorage("bundled.duckdb"),
    "parquet": lambda url: storages.ParquetStorage("bundled", max_files=8),
    "fanout": lambda url: storages.FanOut(storages.MemoryStorage(), storages.SQLiteStorage("fanned.db")),
    "relay": lambda url: storages.Relay(f"{url}/api/v1/write", f"{url}/api/v1/read"),
}


def under_uvicorn(storage, listen):
    import uvicorn

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # which uvicorn raises again at its end
    host, port = listen.split(":")
    uvicorn.run(make_asgi_app(storage), host=host, port=int(port), log_level="warning")


def main(name, host, listen, url=None):
    with STORAGES[name](url) as storage:
        (under_uvicorn if host == "uvicorn" else serve)(storage, listen)


main(*sys.argv[1:])
