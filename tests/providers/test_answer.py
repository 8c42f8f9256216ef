from __future__ import annotations

import json
from typing import Any

import pytest

from ratesync.errors import InvalidResponse
from ratesync.http import Headers, Response
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Outcome, Rejected
from ratesync.model.record import Record
from ratesync.providers import Resource
from ratesync.providers.answer import completed, read_applied, read_current
from ratesync.providers.row import dig

CREATE = Operation.create("acme", "contacts", {"name": "Ada"})
CREATE_NAMED = Operation.create("acme", "contacts", {"name": "Ada"}, record_id="mine")
UPDATE = Operation.update("acme", "contacts", "42", {"name": "Ada"})
UPSERT = Operation.upsert("acme", "contacts", "42", {"name": "Ada"})
READ = Operation.read("acme", "contacts", "42")
DELETE = Operation.delete("acme", "contacts", "42")
PLAIN = Resource()
TELLING = Resource(version_path="a", answers_with_record=True)
DEEP = Resource(envelope="data", id_path="meta.id", version_path="meta.rev")


def answer(body: Any = None, location: str | None = None, status: int = 200) -> Response:
    fields = [] if location is None else [(b"location", location.encode())]
    return Response(status, Headers(fields), b"" if body is None else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("response", "operation", "resource", "applied"),
    [
        (answer({"id": 7}), CREATE, PLAIN, Applied("7", '"e"')),
        (answer({"id": "x", "name": "Ada"}), CREATE, PLAIN, Applied("x", '"e"')),
        (answer({"data": {"meta": {"id": "x", "rev": 3}}}), CREATE, DEEP, Applied("x", "3")),
        (answer({"data": {"meta": {"id": "x"}}}), CREATE, DEEP, Applied("x", '"e"')),
        (answer(None, "https://a.example/contacts/a%2Fb/"), CREATE, PLAIN, Applied("a/b", '"e"')),
        (answer({"id": True}), CREATE, PLAIN, Applied(None, '"e"')),
        (answer({"id": ""}), CREATE_NAMED, PLAIN, Applied("mine", '"e"')),
        (answer(["odd"]), CREATE, PLAIN, Applied(None, '"e"')),
        (answer({"ok": True}), CREATE, DEEP, Applied(None, '"e"')),
        (answer(None), UPSERT, PLAIN, Applied("42", '"e"')),
        (answer({"id": "42"}), UPDATE, PLAIN, Applied(None, '"e"')),
        (answer(None, status=204), DELETE, PLAIN, Applied(None, '"e"')),
        (answer({"id": 43, "a": 1}), READ, PLAIN, Applied(None, '"e"', Record("43", {"id": 43, "a": 1}, '"e"'))),
        (answer({"name": "A"}), READ, PLAIN, Applied(None, '"e"', Record("42", {"name": "A"}, '"e"'))),
        (answer({"id": "42", "a": 1}), UPDATE, TELLING, Applied(None, "1", Record("42", {"id": "42", "a": 1}, "1"))),
        (answer({"id": "7", "a": 1}), CREATE, TELLING, Applied("7", "1", Record("7", {"id": "7", "a": 1}, "1"))),
        (answer({"a": 1}), UPSERT, TELLING, Applied("42", "1", Record("42", {"a": 1}, "1"))),
        (answer(None), UPDATE, TELLING, Applied(None, '"e"')),
        (answer({"id": "42", "deleted": True}), DELETE, TELLING, Applied(None, '"e"')),
    ],
)
def test_id_version_and_record_are_found(
    response: Response, operation: Operation, resource: Resource, applied: Applied
) -> None:
    assert read_applied(response, operation, resource, '"e"') == applied


@pytest.mark.parametrize("body", [None, [], "text", {"data": []}, {"other": {}}])
def test_case_49_a_read_without_a_record_is_an_invalid_response(body: Any) -> None:
    with pytest.raises(InvalidResponse, match="holds no record"):
        read_applied(answer(body), READ, Resource(envelope="data"), None)


@pytest.mark.parametrize("operation", [CREATE, UPDATE, DELETE, READ])
def test_case_49_a_page_of_html_is_no_success(operation: Operation) -> None:
    with pytest.raises(InvalidResponse):
        read_applied(Response(200, body=b"<html>Sign in to the network</html>"), operation, PLAIN, None)


@pytest.mark.parametrize(
    ("status", "operation", "code"),
    [(404, READ, "404"), (410, UPDATE, "410"), (404, CREATE, "110"), (400, READ, "110")],
)
def test_that_a_record_is_gone_is_told_by_the_status_and_not_by_the_providers_own_code(
    status: int, operation: Operation, code: str
) -> None:
    outcome: Outcome = Rejected("no", "110")
    assert completed(outcome, answer({"errno": 110}, status=status), operation, PLAIN) == Rejected("no", code)


def test_what_a_conflict_tells_of_the_record_is_kept() -> None:
    resource = Resource(current_path="details.existing", version_path="rev")
    response = answer({"details": {"existing": {"id": "42", "rev": 9}}}, status=412)
    assert read_current(response, UPDATE, resource) == Record("42", {"id": "42", "rev": 9}, "9")


@pytest.mark.parametrize("body", [None, {"details": None}, {"details": {"existing": []}}, []])
def test_a_conflict_need_not_tell_anything(body: Any) -> None:
    assert read_current(answer(body), UPDATE, Resource(current_path="details.existing")) is None
    assert read_current(answer({"details": {}}), UPDATE, PLAIN) is None


def test_a_path_that_leads_nowhere_finds_nothing() -> None:
    assert dig({"a": {"b": [1]}}, "a.b") == [1]
    assert dig({"a": {"b": [1]}}, "a.b.c") is None
    assert dig({"a": {"b": [1]}}, None) is None
