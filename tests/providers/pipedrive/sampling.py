"""Operations on records that a company of the tests can carry out now."""

from __future__ import annotations

from itertools import count

from ratesync import Kind, Operation
from ratesync.testing.provider_calls import Sample
from tests.servers.pipedrive_company import Company

_TITLES = {"persons": "name", "deals": "title"}
"""What each record type calls its records' names."""
_numbers = count(1)


def sampler(company: Company, resource: str = "persons") -> Sample:
    """Makes them, and the records that they need."""
    title = _TITLES[resource]

    async def make(kind: Kind) -> Operation:
        number = next(_numbers)
        row = None if kind is Kind.CREATE else company.add(resource, {title: f"Ada {number}"})
        return Operation(
            provider="pipedrive",
            resource=resource,
            kind=kind,
            record_id=None if row is None else str(row["id"]),
            fields={} if kind in {Kind.READ, Kind.DELETE} else {title: f"Grace {number}"},
            id=f"o{number}",
            idempotency_key=f"o{number}",
        )

    return make
