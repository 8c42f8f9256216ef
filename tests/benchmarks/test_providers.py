"""The benchmark of providers must count what arrives, or its figures say nothing."""

from __future__ import annotations

import httpx
import pytest

pytest.importorskip("httptools")
pytest.importorskip("uvloop")

from benchmarks import providers
from benchmarks._providers_server import running_server
from ratesync.providers import Resource


def test_records_go_through_the_engine_in_batches_and_one_by_one() -> None:
    batches = providers.through_engine(250, providers.BULK, providers.stock)
    assert batches["calls"] == 3
    singles = providers.through_engine(20, Resource(), providers.fast)
    assert singles["calls"] == 20
    assert singles["per_second"] > 0


@pytest.mark.parametrize("name", providers.CLIENTS)
def test_bare_clients_make_the_same_requests(name: str) -> None:
    assert providers.bare(250, 100, providers.CLIENTS[name])["calls"] == 3


def test_records_that_are_lost_doubled_or_spoilt_end_the_benchmark() -> None:
    with running_server() as url:
        httpx.patch(f"{url}/contacts/1", json=providers.fields(1), trust_env=False)
        assert providers.judged(url, 1, 1.0, 1.0)["calls"] == 1
        httpx.patch(f"{url}/contacts/1", json=providers.fields(2), trust_env=False)
        with pytest.raises(SystemExit):
            providers.judged(url, 1, 1.0, 1.0)
        with pytest.raises(SystemExit):
            providers.judged(url, 1, 1.0, 1.0)
        for _ in range(2):
            httpx.patch(f"{url}/contacts/1", json=providers.fields(1), trust_env=False)
        with pytest.raises(SystemExit):
            providers.judged(url, 2, 1.0, 1.0)
