"""The adapters that the examples show stand up to trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from typing import Any

import httpx
import pytest
from typing_extensions import override

from examples.acme import Acme, running_acme
from examples.custom_adapter_with_batch import AcmeBatches
from ratesync.errors import ProviderError
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Outcome
from ratesync.testing.faulty_transport import FaultyTransport
from ratesync.testing.provider_calls import Sample
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.testing.suite_run import fails

numbers = count(1)


@pytest.fixture(scope="module")
def acme() -> Iterator[Acme]:
    with running_acme(permits=10_000) as acme:
        yield acme


async def sample_of(kind: Kind) -> Operation:
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
        return sample_of


class DeniesWhenItFails(AcmeBatches):
    @override
    async def lookup(self, operation: Operation) -> Outcome | None:
        try:
            found = await super().lookup(operation)
        except ProviderError:
            return None
        return found if isinstance(found, Applied) else None


class FindsNothing(AcmeBatches):
    @override
    async def lookup(self, operation: Operation) -> Outcome | None:
        return None


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("mutant", "test"),
    [
        (DeniesWhenItFails, "test_a_lookup_that_fails_denies_nothing"),
        (FindsNothing, "test_a_create_whose_answer_was_lost_can_be_looked_up"),
    ],
)
async def test_the_suite_finds_a_lookup_that_would_create_twice(
    acme: Acme, mutant: type[AcmeBatches], test: str
) -> None:
    transports: list[FaultyTransport] = []

    def over(transport: httpx.AsyncBaseTransport) -> AcmeBatches:
        return mutant(httpx.AsyncClient(base_url=acme.url, transport=transport))

    def fixtures() -> Mapping[str, Any]:
        transports.append(FaultyTransport(httpx.AsyncHTTPTransport(trust_env=False)))
        good = AcmeBatches(httpx.AsyncClient(base_url=acme.url, transport=transports[-1]))
        return {"provider": good, "provider_over": over, "sample": sample_of, "faulty": transports[-1]}

    assert await fails(TroubleSuite, test, fixtures)
    for transport in transports:
        await transport.aclose()
