"""An adapter that fails before it has sent anything: what it fails on is refused, and nothing is in doubt."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Applied, Batch, Capabilities, Operation, Outcome, Rejected, Unknown
from ratesync.http import HttpCaller
from ratesync.testing.virtual_time import VirtualClock
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

URL = "https://acme.example"


@define
class Adapter:
    """Has a mistake in it: amounts that are none."""

    caller: HttpCaller
    name: str = "acme"
    capabilities: Capabilities = field(factory=lambda: Capabilities(batch_max=5))
    sends_first: bool = False

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if self.sends_first:
            await self.caller.send("POST", "/log", json={})
        rows = [str(Decimal(str(each.fields["amount"])).quantize(Decimal(1))) for each in batch.operations]
        await self.caller.send("POST", "/deals", json=rows)
        return {each.id or "": Applied() for each in batch.operations}


@define
class Foreign(Adapter):
    """May send past the caller."""

    client: Any = field(factory=lambda: httpx.Client(trust_env=False))


@define
class Picky(Adapter):
    """Fails on batches, whatever is in them."""

    @override
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if len(batch.operations) > 1:
            raise KeyError("two")
        return await super().execute(batch)


def creates(*amounts: str) -> list[Operation]:
    return [
        Operation.create("acme", "deals", {"amount": amount}, id=f"o{number}") for number, amount in enumerate(amounts)
    ]


async def outcomes(
    make_engine: EngineFactory, kind: type[Adapter], *amounts: str, **options: Any
) -> tuple[list[Outcome], list[str]]:
    """What creates come to, and which paths were called."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={})

    adapter = kind(HttpCaller(URL, transport=httpx.MockTransport(answer)), **options)
    async with make_engine(providers=[adapter]) as engine:
        tickets = await engine.submit_many(creates(*amounts))
        return [await ticket.outcome(timeout=600) for ticket in tickets], asked


async def test_what_it_fails_on_alone_is_refused(make_engine: EngineFactory) -> None:
    (outcome,), asked = await outcomes(make_engine, Adapter, "a lot")
    assert outcome == Rejected("the adapter raised InvalidOperation before anything was sent", code="adapter")
    assert asked == []


async def test_the_others_of_its_batch_are_sent_without_it(make_engine: EngineFactory) -> None:
    found, asked = await outcomes(make_engine, Adapter, "1", "a lot", "2")
    assert [type(outcome) for outcome in found] == [Applied, Rejected, Applied]
    assert set(asked) == {"/deals"}


async def test_what_was_begun_is_in_doubt(make_engine: EngineFactory) -> None:
    (outcome,), asked = await outcomes(make_engine, Adapter, "a lot", sends_first=True)
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith("the adapter raised InvalidOperation;")
    assert asked == ["/log"]


async def test_who_may_send_by_other_means_is_in_doubt(make_engine: EngineFactory) -> None:
    (outcome,), _ = await outcomes(make_engine, Foreign, "a lot")
    assert isinstance(outcome, Unknown)


async def test_where_it_fails_on_none_by_itself_all_are_refused(
    make_engine: EngineFactory, clock: VirtualClock
) -> None:
    found, asked = await outcomes(make_engine, Picky, "1", "2")
    assert {type(outcome) for outcome in found} == {Rejected}
    assert asked == []
