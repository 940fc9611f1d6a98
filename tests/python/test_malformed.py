"""Every request of tests/malformed through the hosts of Python: answered as by the handler alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import hosts
import prom_remote_api as pra

sys.path.append(str(Path(__file__).resolve().parents[1] / "malformed"))

bare: Any = importlib.import_module("bare")  # first: it knows where the others are
tables: Any = importlib.import_module("tables")

Case = tuple[Any, Any]  # a request, and the answer


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    handler = bare.BareHandler()
    answers = [(one, handler.post(one.path, one.content_type, one.body, one.headers)) for one in tables.small()]
    handler.close()
    return answers


class Nothing(pra.Storage):
    """Takes everything and has nothing, like the one of the handler alone."""

    histograms = exemplars = True

    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass

    def process_query(self, ctx: pra.Context, query: pra.Query) -> list[pra.SeriesLike]:
        return []


def told(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that the handler sets, whatever the host adds."""
    wanted = ("content-type", "content-encoding", "retry-after", "x-prometheus-")
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lower.items() if name.startswith(wanted)}


@pytest.mark.parametrize("name", ["asgi", "server", "wsgi"])
def test_hosts_answer_as_the_handler(name: str, cases: list[Case]) -> None:
    errors: list[Any] = []
    with hosts.HOSTS[name](Nothing(), on_error=lambda *error: errors.append(error)) as host:
        for case, expected in cases:
            headers = {"Content-Type": case.content_type, **dict(case.headers)}
            answer = host.post(case.path, headers, case.body)
            assert (answer.status, answer.body) == (expected.status, expected.body), case.what
            assert told(answer.headers) == told(expected.headers), case.what
    assert not errors and len(cases) > 1500
