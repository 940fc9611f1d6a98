# SPDX-License-Identifier: Apache-2.0
"""The part of the SWIG module that the package uses."""

from collections.abc import Callable

from ._adapter import Adapter
from ._pra import Context, Query, Scope, Sink, WriteRequest

OK: int
DONE: int
ERR_CALLBACK: int
ERR_REJECT: int
ERR_RETRY: int
ERR_USER: int
ERR_CANCELLED: int
ENDPOINT_AUTO: int
STEP_WRITE: int
STEP_READ: int
STEP_RESPOND: int
STORAGE_HISTOGRAMS: int
STORAGE_EXEMPLARS: int
STORAGE_ORDERED: int
CANONICAL_STRICT: int
LOG_DEBUG: int
LOG_INFO: int
LOG_WARN: int
LOG_ERROR: int

def version() -> str: ...
def strerror(code: int) -> str: ...
def error_name(code: int) -> str: ...
def http_status(code: int) -> int: ...

class Limits:
    max_body_bytes: int
    max_decoded_bytes: int
    max_memory_bytes: int
    max_labels_per_series: int
    max_label_name_bytes: int
    max_label_value_bytes: int
    max_queries: int
    max_matchers: int
    max_pattern_bytes: int
    max_pattern_memory: int
    max_read_samples: int
    max_response_bytes: int
    retain_bytes: int
    max_frame_bytes: int
    max_frame_read_bytes: int
    def __init__(self) -> None: ...

class Rules:
    accepted_messages: int
    response_types: int
    canonical_flags: int
    read_delay_ms: int
    read_max_age_ms: int
    def __init__(self) -> None: ...
    def add_external_label(self, name: str, value: str) -> None: ...
    def ignore_matcher(self, name: str) -> None: ...

class Handler:
    def __init__(
        self,
        limits: Limits | None,
        tenant_header: str | None,
        parallel: bool,
        rules: Rules | None,
        storage: Adapter,
    ) -> None: ...

class Exchange:
    def __init__(self, handler: Handler) -> None: ...
    def begin(
        self,
        method: str,
        target: str | bytes,
        headers: list[tuple[bytes, bytes]],
        remote_addr: str,
        user: str,
        endpoint: int,
    ) -> int: ...
    def feed(self, data: bytes | bytearray | memoryview) -> int: ...
    def end_body(self) -> int: ...
    def run(self) -> int: ...
    def step(self) -> int: ...
    def open(
        self,
    ) -> tuple[Scope, Context, WriteRequest | tuple[Query, ...], tuple[Sink, ...]]: ...
    def finish(self, code: int, http_status: int, message: str, retry_after: int) -> None: ...
    def status(self) -> int: ...
    def header_count(self) -> int: ...
    def header_name(self, index: int) -> str: ...
    def header_value(self, index: int) -> str: ...
    def body_length(self) -> int: ...
    def body(self) -> bytes | None: ...
    def error_code(self) -> int: ...
    def error_message(self) -> str: ...
    def cancel(self) -> None: ...
    def reset(self) -> None: ...

class Server:
    thisown: bool
    def __init__(
        self,
        handler: Handler,
        listen: str | None,
        workers: int,
        max_connections: int,
        description: str | None,
        web_config_file: str | None,
        bearer_token_file: str | None,
        max_concurrent_reads: int,
        log: Callable[[int, str], None] | None,
    ) -> None: ...
    def start(self) -> None: ...
    def port(self) -> int: ...
    def is_tls(self) -> int: ...
    def stop(self, grace_ms: int) -> int: ...
