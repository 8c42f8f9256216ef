"""What HubSpot's webhooks tell: which records may have changed.

https://developers.hubspot.com/docs/api-reference/legacy/webhooks/guide: a delivery is a list of up to 100 events, in no
order, and some come twice. So a hint says which record to look at, and nothing of what it will be like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from attrs import frozen

from ratesync.errors import WebhookRefused
from ratesync.http.payload import json_array, json_object
from ratesync.model.change import Change
from ratesync.model.hint import Hint

RESOURCES: Mapping[str, str] = MappingProxyType(
    {
        "contact": "contacts",
        "0-1": "contacts",
        "company": "companies",
        "0-2": "companies",
        "deal": "deals",
        "0-3": "deals",
        "ticket": "tickets",
        "0-5": "tickets",
        "product": "products",
        "0-7": "products",
        "line_item": "line_items",
        "0-8": "line_items",
    }
)
"""Resources by what events name: the first word of older ones ("contact.creation"), the object type of others."""

_CHANGED = frozenset({"creation", "propertyChange", "restore"})
_GONE = frozenset({"deletion", "privacyDeletion"})


@frozen
class HintedChange:
    """A record that may have changed, or gone."""

    portal_id: str
    """The account at HubSpot: which connection that is, the host knows."""
    resource: str
    """HubSpot's type id ("2-3465404") where no other name is known."""
    change: Change
    """Which record, and whether it is gone."""


def read_hints(body: Any, *, resources: Mapping[str, str] | None = None) -> tuple[HintedChange, ...]:
    """The records that a verified delivery is about, each once.

    What is no change of a record is left out, such as a message in a conversation. Of several events of one record the
    latest counts.

    :param body: the delivery's JSON value: ``webhook.json()``.
    :param resources: more names of resources by HubSpot's type ids, such as ``{"2-3465404": "cars"}``.
    :raises WebhookRefused: it is no list of events.
    """
    if not isinstance(body, list):
        raise WebhookRefused("the delivery is no list of events", fault="body")
    names = {**RESOURCES, **(resources or {})}
    latest: dict[tuple[str, str, str], tuple[float, bool]] = {}
    for entry in json_array(body):
        event = json_object(entry) or {}
        portal, at = _id(event.get("portalId")), _moment(event.get("occurredAt"))
        if portal is None:
            continue
        for resource, record_id, is_deleted in _records(event, names):
            key = (portal, resource, record_id)
            # Of events at the same moment a deletion is the last one.
            latest[key] = max(latest.get(key, (at, is_deleted)), (at, is_deleted))
    return tuple(
        HintedChange(portal, resource, Change(record_id, is_deleted=is_deleted))
        for (portal, resource, record_id), (_, is_deleted) in latest.items()
    )


@frozen
class HubSpotHints:
    """Tells an endpoint which records a delivery is about: a :class:`ratesync.protocols.webhook.ReadsHints`."""

    resources: Mapping[str, str] | None = None
    """More names of resources, as for :func:`read_hints`."""

    def hints(self, body: Any) -> list[Hint]:
        """The records; their account is HubSpot's portal id, as text.

        :raises WebhookRefused: it is no list of events.
        """
        told = read_hints(body, resources=self.resources)
        return [Hint(hint.resource, hint.change.record_id, hint.portal_id) for hint in told]


def _records(event: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """The records that an event is about: their resource, their id, and whether they are gone."""
    what, _, happened = str(event.get("subscriptionType")).partition(".")
    if what != "object" and what not in names:
        return
    resource = _resource(event.get("objectTypeId") if what == "object" else what, names)
    if happened in _CHANGED or happened in _GONE:
        yield from _named(resource, event.get("objectId"), is_deleted=happened in _GONE)
    elif happened == "merge":
        yield from _named(resource, event.get("primaryObjectId"))
        yield from _named(resource, event.get("newObjectId"))
        kept = {_id(event.get("primaryObjectId")), _id(event.get("newObjectId"))}
        for merged in json_array(event.get("mergedObjectIds")):
            if _id(merged) not in kept:
                yield from _named(resource, merged, is_deleted=True)
    elif happened == "associationChange":
        one = resource if what != "object" else _resource(event.get("fromObjectTypeId"), names)
        yield from _named(one, event.get("fromObjectId"))
        yield from _named(_resource(event.get("toObjectTypeId"), names), event.get("toObjectId"))


def _named(resource: str | None, record_id: Any, *, is_deleted: bool = False) -> Iterator[tuple[str, str, bool]]:
    identity = _id(record_id)
    if resource is not None and identity is not None:
        yield resource, identity, is_deleted


def _resource(type_id: Any, names: Mapping[str, str]) -> str | None:
    return names.get(type_id, type_id) if isinstance(type_id, str) and type_id else None


def _id(value: Any) -> str | None:
    """An id: HubSpot writes numbers."""
    is_id = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) or None if is_id else None


def _moment(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else 0.0
