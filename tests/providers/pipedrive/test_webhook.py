"""Webhooks, version 2: who sent them, and what they hint at."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync.errors import WebhookRefused
from ratesync.model.change import Change
from ratesync.providers.pipedrive import LEADS, RESOURCES, Delivery, WebhookReader
from tests.servers.pipedrive_company import Company

PASSWORD = "correct horse"
READER = WebhookReader("ratesync", PASSWORD)


def basic(user: str = "ratesync", password: str = PASSWORD, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"}


def body(delivery: Any) -> bytes:
    return json.dumps(delivery).encode()


@pytest.mark.parametrize(("action", "is_deleted"), [("create", False), ("change", False), ("delete", True)])
@pytest.mark.parametrize("kind", ["persons", "organizations", "deals"])
def test_a_delivery_hints_at_a_record(company: Company, kind: str, action: str, is_deleted: bool) -> None:
    row = company.add(kind, {"name": "Ada"})
    sent = company.delivery(action, kind, row["id"])
    told = READER.read(basic(), body(sent))
    assert told == Delivery(sent["meta"]["id"], kind, Change(str(row["id"]), is_deleted=is_deleted), "8087566")


def test_record_types_that_are_not_configured_are_none_of_ours(company: Company) -> None:
    row = company.add("leads", {"title": "Hot"})
    sent = company.delivery("change", "leads", row["id"])
    assert READER.read(basic(), body(sent)) is None
    reader = WebhookReader("ratesync", "correct horse", {**RESOURCES, "hot leads": LEADS})
    told = reader.read(basic(), body(sent))
    assert told is not None
    assert (told.resource, told.change.record_id) == ("hot leads", row["id"])


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ({}, "headers"),
        (basic() | {"authorization": "Basic x"}, "headers"),
        (basic(password="guess"), "signature"),
        (basic(user="someone"), "signature"),
        (basic(scheme="Bearer"), "signature"),
        ({"Authorization": "Basic"}, "signature"),
        ({"Authorization": "Basic \udcff"}, "signature"),
    ],
)
def test_who_does_not_know_the_password_is_refused(company: Company, headers: dict[str, str], fault: str) -> None:
    row = company.add("persons", {"name": "Ada"})
    sent = body(company.delivery("change", "persons", row["id"]))
    with pytest.raises(WebhookRefused) as caught:
        READER.read(headers, sent)
    assert caught.value.fault == fault
    assert "correct" not in f"{caught.value} {READER}"


def test_two_passwords_are_good_while_one_is_replaced(company: Company) -> None:
    row = company.add("persons", {"name": "Ada"})
    sent = body(company.delivery("change", "persons", row["id"]))
    reader = WebhookReader("ratesync", ["new", "old"])
    for password in ("new", "old"):
        assert reader.read(basic(password=password), sent) is not None
    with pytest.raises(ValueError, match="password"):
        WebhookReader("ratesync", [])


META = {"version": "2.0", "entity": "person", "entity_id": "7", "action": "change", "id": "x"}


@pytest.mark.parametrize(
    "delivery",
    [
        b"",
        b"[]",
        b"{",
        b'{"meta": []}',
        body({"meta": META | {"version": "1.0"}}),
        body({"v": 1, "meta": {"action": "updated", "object": "deal", "id": 7}, "event": "updated.deal"}),
        body({"meta": META | {"entity_id": None}}),
        body({"meta": META | {"entity_id": ""}}),
        body({"meta": META | {"action": "merged"}}),
        body({"meta": META, "data": "x" * 1_100_000}),
    ],
)
def test_what_version_2_does_not_send_is_refused(delivery: bytes) -> None:
    with pytest.raises(WebhookRefused) as caught:
        READER.read(basic(), delivery)
    assert caught.value.fault == "body"


JSON = st.sampled_from([None, True, 7, -1.5, "", "delete", [], ["x"], {}, {"x": 1}])


@settings(max_examples=60)
@given(meta=st.fixed_dictionaries({}, optional={name: st.just(value) | JSON for name, value in META.items()}))
def test_whatever_comes_is_read_or_refused(meta: dict[str, Any]) -> None:
    try:
        told = READER.read(basic(), body({"meta": meta}))
    except WebhookRefused:
        return
    assert told is None or told.change.record_id
