# SPDX-License-Identifier: Apache-2.0
"""Prometheus remote write and remote read: write a storage, serve it.

    class MyStorage(Storage):
        def write(self, ctx, request): ...
        def process_query(self, ctx, query): ...

    serve(MyStorage(), listen="127.0.0.1:9201")

or make_asgi_app(MyStorage()), make_wsgi_app(MyStorage()), `python -m prom_remote_api serve
module:MyStorage`. What a storage can be is said at Storage and StorageLike.

It needs the GIL, and the main interpreter: importing it raises ImportError in a free-threaded build
that runs without the GIL, and in sub-interpreters. It may be imported, and handlers, applications
and servers that were not started may be made, before a fork.
"""

from . import _gil  # noqa: F401  first: refuses where nothing of the rest would be safe
from . import pra
from ._asgi import make_asgi_app
from ._errors import Error, ExpiredError
from ._handler import HandlerOptions
from ._histogram import STALE_NAN, Bucket, Histogram, is_stale
from ._pra import (
    Context,
    Exemplar,
    Hints,
    Matcher,
    Metadata,
    MetadataTable,
    Query,
    Table,
    TimeSeries,
    WriteRequest,
    decode_read_response,
)
from ._server import Server, ServerOptions, serve
from ._storage import (
    ArrowStream,
    FunctionStorage,
    PieceLike,
    Reject,
    Result,
    Retry,
    SampleLike,
    Samples,
    Series,
    SeriesLike,
    Storage,
    StorageLike,
)
from ._wsgi import make_wsgi_app

__version__ = pra.version()

__all__ = [
    "STALE_NAN",
    "ArrowStream",
    "Bucket",
    "Context",
    "Error",
    "Exemplar",
    "ExpiredError",
    "HandlerOptions",
    "FunctionStorage",
    "Hints",
    "Histogram",
    "Matcher",
    "Metadata",
    "MetadataTable",
    "PieceLike",
    "Query",
    "Reject",
    "Result",
    "Retry",
    "SampleLike",
    "Samples",
    "Series",
    "SeriesLike",
    "Server",
    "ServerOptions",
    "Storage",
    "StorageLike",
    "Table",
    "TimeSeries",
    "WriteRequest",
    "decode_read_response",
    "is_stale",
    "make_asgi_app",
    "make_wsgi_app",
    "serve",
]
