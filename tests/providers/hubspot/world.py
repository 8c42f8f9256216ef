"""A HubSpotProvider before the HubSpot of the tests, and short ways to ask it."""

from __future__ import annotations

from itertools import count
from typing import Any

from ratesync.http import Account as Credentials
from ratesync.http import Bearer
from ratesync.model.batch import Batch
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome
from ratesync.providers.hubspot import HubSpotProvider, ObjectType
from tests.servers.hubspot_server import HubSpot, transport

OBJECTS = {
    "companies": ObjectType(properties=("name", "domain", "customer_no"), unique_property="customer_no"),
    "cars": ObjectType(properties=("plate", "maker"), unique_property="plate"),
}
_numbers = count(1)


def provider_of(hubspot: HubSpot, **settings: Any) -> HubSpotProvider:
    """An adapter that speaks to a HubSpot without a socket."""
    arguments: dict[str, Any] = {"transport": transport(hubspot), **settings}
    return HubSpotProvider(Credentials(Bearer(hubspot.token)), **arguments)


def operation(kind: Kind, resource: str, record_id: str | None = None, **properties: Any) -> Operation:
    """An operation with an id of its own."""
    identity = f"o{next(_numbers)}"
    return Operation(
        provider="hubspot",
        resource=resource,
        kind=kind,
        record_id=record_id,
        fields={"properties": properties} if properties else {},
        id=identity,
        idempotency_key=identity,
    )


async def outcomes(provider: HubSpotProvider, *operations: Operation) -> list[Outcome]:
    """Carry operations out as one batch; their outcomes in the same order."""
    first = operations[0]
    reply = await provider.execute(Batch(Lane("hubspot", "default"), first.resource, first.kind, operations))
    assert set(reply) == {each.id for each in operations}
    return [reply[each.id or ""] for each in operations]
