"""What webhooks tell, from the signed delivery to the records to look at."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import WebhookRefused
from ratesync.http import HubSpotV3, WebhookVerifier
from ratesync.model.change import Change
from ratesync.providers.hubspot import HintedChange, read_hints
from ratesync.testing.strategies import json_values

SECRET, URL = "the app's secret", "https://host.example/hubspot?a=1"


def event(what: str, at: int = 1, **more: Any) -> dict[str, Any]:
    """An event as HubSpot's guide shows it."""
    common = {"eventId": 100, "subscriptionId": 7, "portalId": 62515, "appId": 54321, "attemptNumber": 0}
    return {**common, "occurredAt": 1_564_113_600_000 + at, "subscriptionType": what, **more}


def hints(*events: Any, **more: Any) -> list[tuple[str, str, bool]]:
    found = read_hints(list(events), **more)
    assert {hint.portal_id for hint in found} <= {"62515"}
    return [(hint.resource, hint.change.record_id, hint.change.is_deleted) for hint in found]


@pytest.mark.anyio
async def test_a_signed_delivery_becomes_hints() -> None:
    body = json.dumps(
        [event("contact.propertyChange", objectId=123, propertyName="city", propertyValue="Bern")]
    ).encode()
    stamp = str(int(time.time() * 1000))
    signed = hmac.digest(SECRET.encode(), b"POST" + URL.encode() + body + stamp.encode(), "sha256")
    headers = {"X-HubSpot-Signature-v3": b64encode(signed).decode(), "X-HubSpot-Request-Timestamp": stamp}
    webhook = await WebhookVerifier(HubSpotV3(SECRET)).verify(headers, body, method="POST", url=URL)
    assert read_hints(webhook.json()) == (HintedChange("62515", "contacts", Change("123")),)


@pytest.mark.parametrize(
    ("given_event", "found"),
    [
        (event("contact.creation", objectId=1), [("contacts", "1", False)]),
        (event("company.propertyChange", objectId=2), [("companies", "2", False)]),
        (event("deal.restore", objectId=3), [("deals", "3", False)]),
        (event("line_item.deletion", objectId=4), [("line_items", "4", True)]),
        (event("contact.privacyDeletion", objectId=5), [("contacts", "5", True)]),
        (event("object.creation", objectTypeId="0-3", objectId=6), [("deals", "6", False)]),
        (event("object.deletion", objectTypeId="2-3465404", objectId=7), [("cars", "7", True)]),
        (event("object.propertyChange", objectTypeId="2-99", objectId="8"), [("2-99", "8", False)]),
        (
            event("contact.merge", primaryObjectId=9, mergedObjectIds=[9, 10], newObjectId=11),
            [("contacts", "9", False), ("contacts", "11", False), ("contacts", "10", True)],
        ),
        (event("contact.associationChange", fromObjectId=12, toObjectId=13), [("contacts", "12", False)]),
        (
            event(
                "object.associationChange",
                fromObjectTypeId="0-1",
                fromObjectId=14,
                toObjectTypeId="0-2",
                toObjectId=15,
            ),
            [("contacts", "14", False), ("companies", "15", False)],
        ),
        (event("conversation.creation", objectId=16), []),
        (event("contact.something", objectId=17), []),
        (event("object.creation", objectId=18), []),
        (event("contact.creation"), []),
        (event("contact.creation", objectId=True), []),
        ({"subscriptionType": "contact.creation", "objectId": 19}, []),
        ("text", []),
    ],
)
def test_each_event_names_the_records_that_it_is_about(given_event: Any, found: list[tuple[str, str, bool]]) -> None:
    assert hints(given_event, resources={"2-3465404": "cars"}) == found


def test_of_several_events_the_latest_counts_whatever_their_order() -> None:
    gone, back = event("contact.deletion", 2, objectId=1), event("contact.restore", 3, objectId=1)
    made = event("contact.creation", 1, objectId=1)
    assert hints(back, made, gone, back) == [("contacts", "1", False)]
    assert hints(gone, made, event("deal.creation", objectId=1)) == [("contacts", "1", True), ("deals", "1", False)]
    assert hints(event("contact.propertyChange", 2, objectId=1), gone) == [("contacts", "1", True)]


@given(st.lists(json_values(), max_size=4))
def test_what_is_no_event_is_left_out(body: list[Any]) -> None:
    assert read_hints(body) == ()


@given(json_values().filter(lambda value: not isinstance(value, list)))
def test_what_is_no_list_is_refused(body: Any) -> None:
    with pytest.raises(WebhookRefused) as refused:
        read_hints(body)
    assert refused.value.fault == "body"
