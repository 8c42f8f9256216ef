"""A SalesforceProvider before the Salesforce of the tests, and short ways to ask it."""

from __future__ import annotations

from itertools import count
from typing import Any

from attrs import evolve

from ratesync.http import Account, Bearer
from ratesync.model.batch import Batch
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome
from ratesync.providers.salesforce import OBJECTS as READY
from ratesync.providers.salesforce import SalesforceProvider, SObject
from tests.servers.salesforce_server import Salesforce, transport

URL = "https://acme.my.salesforce.com"
CONTACTS = evolve(READY["contacts"], external_id="Customer_No__c")
INVOICES = SObject(name="Invoice__c", fields=("Name", "Total__c"), external_id="Invoice_No__c")
OBJECTS = {"contacts": CONTACTS, "invoices": INVOICES}
_numbers = count(1)


def provider_of(salesforce: Salesforce, **settings: Any) -> SalesforceProvider:
    """An adapter that speaks to a Salesforce without a socket."""
    arguments: dict[str, Any] = {"transport": transport(salesforce), "base_url": URL, "objects": OBJECTS, **settings}
    return SalesforceProvider(Account(Bearer(salesforce.token)), **arguments)


def operation(kind: Kind, resource: str, record_id: str | None = None, **fields: Any) -> Operation:
    """An operation with an id of its own."""
    identity = f"o{next(_numbers)}"
    return Operation(
        provider="salesforce",
        resource=resource,
        kind=kind,
        record_id=record_id,
        fields=fields,
        id=identity,
        idempotency_key=identity,
    )


async def outcomes(provider: SalesforceProvider, *operations: Operation) -> list[Outcome]:
    """Carry operations out as one batch; their outcomes in the same order."""
    first = operations[0]
    reply = await provider.execute(Batch(Lane("salesforce", "default"), first.resource, first.kind, operations))
    assert set(reply) == {each.id for each in operations}
    return [reply[each.id or ""] for each in operations]
