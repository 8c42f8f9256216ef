"""Operations on cars that a HubSpot of the tests can carry out now."""

from __future__ import annotations

from itertools import count

from ratesync.model.operation import Kind, Operation
from ratesync.testing.provider_calls import Sample
from tests.servers.hubspot_server import HubSpot

_numbers = count(1)


class Part(dict[str, str]):
    """Properties as they are written: equal to all that holds them, as HubSpot shows properties of its own as well."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and self.items() <= other.items()

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def sampler(hubspot: HubSpot) -> Sample:
    """Makes them, and the records that they need."""

    async def make(kind: Kind) -> Operation:
        number = next(_numbers)
        record_id = None
        if kind in {Kind.READ, Kind.UPDATE, Kind.DELETE}:
            (record_id,) = hubspot.account.seed("cars", 1, plate=f"s {number}", maker="Fiat")
        written = Part(maker=f"Audi {number}") if kind is Kind.UPDATE else Part(plate=f"zh {number}", maker="Audi")
        return Operation(
            provider="hubspot",
            resource="cars",
            kind=kind,
            record_id=f"zh {number}" if kind is Kind.UPSERT else record_id,
            fields={} if kind in {Kind.READ, Kind.DELETE} else {"properties": written},
            id=f"o{number}",
            idempotency_key=f"o{number}",
        )

    return make
