from __future__ import annotations

from typing import Any

import pytest

from ratesync.errors import ConfigurationError, InvalidPayload, UnsupportedOperation
from ratesync.model.batch import ConditionalWrite
from ratesync.model.operation import Kind, Operation
from ratesync.providers import CREATE_ONCE, Resource, Route
from ratesync.providers.request import RequestBuilder

FIELDS = {"name": "Ada"}
FULL = Resource(create_with_id=CREATE_ONCE, upsert=Route("PUT", "/{resource}/{record_id}", {"X-Upsert": "1"}))
EVERY = {
    "create": Operation.create("acme", "contacts", FIELDS, id="o1", idempotency_key="k1"),
    "create with id": Operation.create("acme", "contacts", FIELDS, record_id="42", id="o1"),
    "read": Operation.read("acme", "contacts", "42", id="o1"),
    "update": Operation.update("acme", "contacts", "42", FIELDS, id="o1"),
    "upsert": Operation.upsert("acme", "contacts", "42", FIELDS, id="o1"),
    "delete": Operation.delete("acme", "contacts", "42", id="o1"),
}


def builder(**settings: Any) -> RequestBuilder:
    defaults: dict[str, Any] = {
        "resources": FULL,
        "idempotency_header": None,
        "conditional_write": ConditionalWrite.NONE,
    }
    return RequestBuilder(**{**defaults, **settings})


@pytest.mark.parametrize(
    ("name", "method", "path", "headers"),
    [
        ("create", "POST", "/contacts", {}),
        ("create with id", "PUT", "/contacts/42", {"if-none-match": "*"}),
        ("read", "GET", "/contacts/42", {}),
        ("update", "PATCH", "/contacts/42", {}),
        ("upsert", "PUT", "/contacts/42", {"x-upsert": "1"}),
        ("delete", "DELETE", "/contacts/42", {}),
    ],
)
def test_each_kind_has_its_call(name: str, method: str, path: str, headers: dict[str, str]) -> None:
    request = builder().build(EVERY[name])
    assert (request.method, request.path, dict(request.headers)) == (method, path, headers)
    assert request.json == (None if name in {"read", "delete"} else FIELDS)


def test_an_envelope_goes_around_the_fields() -> None:
    assert builder(resources=Resource(envelope="data")).build(EVERY["update"]).json == {"data": FIELDS}


@pytest.mark.parametrize("name", EVERY)
def test_every_write_carries_the_same_key_on_every_attempt(name: str) -> None:
    build = builder(idempotency_header="Idempotency-Key").build
    expected = {"create": "k1", "read": None}.get(name, "o1")
    assert [build(EVERY[name]).headers.get("Idempotency-Key") for _ in range(2)] == [expected] * 2


def test_a_key_of_any_letters_can_be_sent_and_stays_unique() -> None:
    build = builder(idempotency_header="Idempotency-Key").build
    keys = ["a b", "a%20b", "naïve", "a\nb", "0123-abc_:/"]
    sent = [build(Operation.delete("acme", "c", "1", idempotency_key=key)).headers["Idempotency-Key"] for key in keys]
    assert sent == ["a%20b", "a%2520b", "na%C3%AFve", "a%0Ab", "0123-abc_:/"]


def test_an_operation_without_an_id_has_no_key() -> None:
    request = builder(idempotency_header="Idempotency-Key").build(Operation.delete("acme", "contacts", "42"))
    assert request.headers == {}


def test_a_condition_is_sent_where_versions_are_compared() -> None:
    operation = Operation.update("acme", "contacts", "42", FIELDS, if_version='W/"7"')
    assert builder(conditional_write=ConditionalWrite.STRONG).build(operation).headers == {"If-Match": 'W/"7"'}
    with pytest.raises(UnsupportedOperation, match="if_version"):
        builder().build(operation)


@pytest.mark.parametrize("version", ["", "a\r\nX: y", " 1", "ö"])
def test_a_condition_that_is_no_header_is_refused(version: str) -> None:
    operation = Operation.delete("acme", "contacts", "42", if_version=version)
    with pytest.raises(InvalidPayload, match="if_version"):
        builder(conditional_write=ConditionalWrite.STRONG).build(operation)


def test_resources_may_differ_and_others_are_unknown() -> None:
    build = builder(resources={"people": Resource(read=Route("GET", "/v2/persons/{record_id}.json"))}).build
    assert build(Operation.read("acme", "people", "a b")).path == "/v2/persons/a%20b.json"
    with pytest.raises(UnsupportedOperation, match="no resource 'deals'"):
        build(Operation.read("acme", "deals", "1"))


NOTHING = Resource(create=None, read=None, update=None, delete=None)


@pytest.mark.parametrize("name", EVERY)
def test_what_has_no_route_is_unsupported(name: str) -> None:
    with pytest.raises(UnsupportedOperation, match="has no route for"):
        builder(resources=NOTHING).build(EVERY[name])


def test_a_resource_knows_its_kinds() -> None:
    assert Resource().kinds == {Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE}
    assert FULL.kinds == set(Kind)
    assert NOTHING.kinds == set()
    assert Resource(create=None, create_with_id=CREATE_ONCE).kinds >= {Kind.CREATE}
    assert len(FULL.paths) == 6


@pytest.mark.parametrize("name", ["create_with_id", "read", "update", "upsert", "delete"])
def test_a_route_for_one_record_does_not_lead_to_all(name: str) -> None:
    routes: dict[str, Any] = {name: Route("DELETE", "/{resource}")}
    with pytest.raises(ConfigurationError, match=name):
        Resource(**routes)


def test_a_route_s_method_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="capital letters"):
        Route("get", "/{record_id}")


def test_an_empty_id_does_not_reach_the_collection() -> None:
    with pytest.raises(InvalidPayload, match="record_id"):
        builder().build(Operation.delete("acme", "contacts", ""))
