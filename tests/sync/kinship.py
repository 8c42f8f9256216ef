"""Who refers to whom, when everybody has gone home."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from ratesync.engine.sync.link_codec import decode_mark
from ratesync.model.difference import Side
from ratesync.model.link import RecordLink
from ratesync.model.stored import Stored
from tests.sync.sides import Sides
from tests.sync.trial import REFERENCE


@frozen
class Kinship:
    """Contacts and their parents, by the links of both."""

    families: list[tuple[RecordLink, str | None, str | None]]
    """The links of contacts that are there on both sides, and what the two records refer to."""
    counterparts: dict[str | None, str | None]
    """External ids of parents by local ones; nobody's is nobody."""
    gone: set[tuple[Side, str]]
    """Parents that were deleted: nothing can be made to refer to them any more."""

    @classmethod
    async def of(
        cls, contacts: Sides, children: Iterable[RecordLink], parents: Sides, links: Iterable[RecordLink]
    ) -> Kinship:
        """By what both sides hold now."""
        here, there = contacts.local.records, contacts.crm.records
        families = [
            (link, local.fields.get(REFERENCE), external.fields.get(REFERENCE))
            for link in children
            if (local := here.get(link.local.record_id or "")) is not None
            and (external := there.get(link.external.record_id or "")) is not None
        ]
        counterparts: dict[str | None, str | None] = {link.local.record_id: link.external.record_id for link in links}
        return cls(families, {**counterparts, None: None}, await parents.deleted())

    def differences(self) -> list[str]:
        """References that mean different records, though nobody is told and nothing is in the way."""
        return [
            f"not converged: {link.local.record_id} refers to {here!r} and {there!r}"
            for link, here, there in self.families
            if self.counterparts.get(here, "nobody") != there
            and not self._is_orphan(here, there)
            and REFERENCE not in link.deferred
        ]

    def _is_orphan(self, here: str | None, there: str | None) -> bool:
        return (Side.LOCAL, here) in self.gone or (Side.EXTERNAL, there) in self.gone

    def has_orphans(self) -> bool:
        """Whether a contact refers to a parent that went. Made anew, it has an id that a look at the contact finds."""
        return any(self._is_orphan(here, there) for _, here, there in self.families)

    def waits_in_vain(self, mark: Stored) -> bool:
        """Whether a mark waits for nothing but parents that are gone."""
        lacks = decode_mark(mark.value, Side.LOCAL, "", mark.revision).lacks
        return bool(lacks) and all((lack.side, lack.record_id) in self.gone for lack in lacks)

    def count(self) -> int:
        """Pairs of contacts that refer to a pair of parents."""
        return sum(here is not None and there is not None for _, here, there in self.families)
