# SPDX-License-Identifier: Apache-2.0
"""Prometheus remote write and remote read: write a storage, serve it.

    class MyStorage(Storage):
        def write(self, ctx, request): ...
        def process_query(self, ctx, query): ...

    serve(MyStorage(), listen="127.0.0.1:9201")
"""

from . import pra
from ._errors import Error, ExpiredError
from ._pra import Context, Hints, Matcher, Metadata, Query, TimeSeries, WriteRequest
from ._server import Server, serve
from ._storage import Reject, Retry, Series, SeriesLike, Storage, StorageLike
from ._wsgi import make_wsgi_app

__version__ = pra.version()

__all__ = [
    "Context",
    "Error",
    "ExpiredError",
    "Hints",
    "Matcher",
    "Metadata",
    "Query",
    "Reject",
    "Retry",
    "Series",
    "SeriesLike",
    "Server",
    "Storage",
    "StorageLike",
    "TimeSeries",
    "WriteRequest",
    "make_wsgi_app",
    "serve",
]
