from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import prom_remote_api as pra
from hosts import HOSTS, Host

# No test depends on how fast the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_finish() -> None:
    """What the imports have made is not looked at in every gc.collect() of the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=sorted(HOSTS))
def open_host(request: pytest.FixtureRequest) -> Iterator[Callable[..., Host]]:
    """open_host(storage, **options): the storage behind HTTP, once per kind of host."""
    opened: list[Host] = []

    def make(storage: pra.StorageLike, **options: Any) -> Host:
        opened.append(HOSTS[request.param](storage, **options))
        return opened[-1]

    yield make
    for host in opened:
        host.close()
