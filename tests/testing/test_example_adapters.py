"""The adapters that the examples show stand up to trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import httpx
import pytest

from examples.acme import Acme, running_acme
from examples.custom_adapter_with_batch import AcmeBatches
from ratesync.model.operation import Kind, Operation
from ratesync.testing.provider_calls import Sample
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite

numbers = count(1)


@pytest.fixture(scope="module")
def acme() -> Iterator[Acme]:
    with running_acme(permits=10_000) as acme:
        yield acme


class TestAcmeBatches(TroubleSuite):
    @pytest.fixture
    async def provider(self, acme: Acme) -> AsyncIterator[AcmeBatches]:
        async with httpx.AsyncClient(base_url=acme.url, trust_env=False) as client:
            yield AcmeBatches(client)

    @pytest.fixture
    def provider_over(self, acme: Acme) -> ProviderOver:
        def make(transport: httpx.AsyncBaseTransport) -> AcmeBatches:
            return AcmeBatches(httpx.AsyncClient(base_url=acme.url, transport=transport))

        return make

    @pytest.fixture
    def sample(self) -> Sample:
        async def make(kind: Kind) -> Operation:
            number = next(numbers)
            return Operation(
                provider="acme",
                resource="contacts",
                kind=kind,
                record_id=f"r{number}" if kind is Kind.UPSERT else None,
                fields={"email": f"{number}@example.org"},
                id=f"o{number}",
                idempotency_key=f"o{number}",
            )

        return make
