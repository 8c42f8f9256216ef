"""What each of Salesforce's errors means, of one record and of a whole call."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ratesync.errors import InvalidResponse, ProviderError, Throttled, Unauthorised, Unavailable
from ratesync.http import Account, Bearer
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.providers.salesforce import SalesforceProvider
from ratesync.providers.salesforce.problem import LOCKED_FOR, Problem
from tests.providers.salesforce.world import OBJECTS, URL, operation, outcomes, provider_of
from tests.servers.salesforce_org import Org
from tests.servers.salesforce_server import Salesforce

pytestmark = pytest.mark.anyio

ID = "003000000000001AAA"


def problem(code: str, *fields: str, message: str = "", **more: Any) -> Problem:
    return Problem.read([{"statusCode": code, "message": message, "fields": list(fields), **more}])


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", ["LastName"]),
        ("REQUIRED_FIELD_MISSING", ["LastName", "Email"]),
        ("STRING_TOO_LONG", ["Title"]),
        ("INVALID_EMAIL_ADDRESS", ["Email"]),
        ("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Level__c"]),
        ("INVALID_FIELD_FOR_INSERT_UPDATE", ["CreatedDate"]),
        ("INVALID_CROSS_REFERENCE_KEY", ["AccountId"]),
        ("INSUFFICIENT_ACCESS_OR_READONLY", []),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", []),
        ("MALFORMED_ID", ["Id"]),
        ("STORAGE_LIMIT_EXCEEDED", []),
        ("A_CODE_OF_TOMORROW", []),
    ],
)
@pytest.mark.parametrize("kind", Kind)
def test_what_is_wrong_is_rejected_with_the_code_and_the_names(kind: Kind, code: str, fields: list[str]) -> None:
    outcome = problem(code, *fields, message="Title: too large: my private value").outcome(kind)
    assert isinstance(outcome, Rejected)
    assert outcome.code == code
    assert all(name in outcome.reason for name in (code, *fields))
    assert "private" not in outcome.reason


@pytest.mark.parametrize("code", ["ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"])
def test_a_record_that_is_not_there(code: str) -> None:
    assert problem(code).outcome(Kind.DELETE) == Applied()
    for kind in (Kind.UPDATE, Kind.READ):
        outcome = problem(code).outcome(kind)
        assert isinstance(outcome, Rejected)
        assert outcome.code == "404"
    for kind in (Kind.CREATE, Kind.UPSERT):
        outcome = problem(code).outcome(kind)
        assert isinstance(outcome, Rejected)
        assert outcome.code == code, "nothing of its own is missing: it refers to something that is"


@pytest.mark.parametrize(
    ("found", "cause", "wait"),
    [
        (problem("UNABLE_TO_LOCK_ROW"), Cause.UNAVAILABLE, LOCKED_FOR),
        (
            problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message="T: caused by: UNABLE_TO_LOCK_ROW, unable"),
            Cause.UNAVAILABLE,
            LOCKED_FOR,
        ),
        (problem("SERVER_UNAVAILABLE"), Cause.UNAVAILABLE, LOCKED_FOR),
        (problem("REQUEST_LIMIT_EXCEEDED"), Cause.THROTTLED, None),
        (problem("INVALID_SESSION_ID"), Cause.UNAUTHORISED, None),
        (problem("API_DISABLED_FOR_ORG"), Cause.UNAUTHORISED, None),
    ],
)
def test_what_may_pass_is_tried_later(found: Problem, cause: Cause, wait: float | None) -> None:
    outcome = found.outcome(Kind.UPDATE)
    assert isinstance(outcome, RetryLater)
    assert (outcome.cause, outcome.retry_after) == (cause, wait)


@pytest.mark.parametrize(
    "errors", [None, [], [7], [{}], [{"statusCode": 5}], [{"statusCode": "UNKNOWN_EXCEPTION"}], {}]
)
def test_an_error_without_a_clear_word_leaves_it_open(errors: Any) -> None:
    assert isinstance(Problem.read(errors).outcome(Kind.UPDATE), Unknown)


def test_a_duplicate_names_the_record_that_exists() -> None:
    message = f"duplicate value found: Customer_No__c duplicates value on record with id: {ID}"
    by_value = problem("DUPLICATE_VALUE", "Customer_No__c", message=message)
    for result in ("duplicateResult", "duplicateResut"):
        matches = [{"matchRecords": [{"record": {"Id": ID}}, {"record": {"Id": "none"}}, 5]}]
        by_rule = problem("DUPLICATES_DETECTED", message="Use one of these?", **{result: {"matchResults": matches}})
        for found in (by_value, by_rule):
            created = found.outcome(Kind.CREATE)
            assert isinstance(created, Conflict)
            assert created.current == Record(ID, {})
            updated = found.outcome(Kind.UPDATE)
            assert isinstance(updated, Conflict)
            assert updated.current is None, "another record is in the way, not the one that is updated"
            assert ID in updated.reason


def test_of_several_duplicates_none_is_picked() -> None:
    records = [{"record": {"Id": ID}}, {"record": {"Id": ID.replace("1", "2")}}]
    found = problem("DUPLICATES_DETECTED", duplicateResult={"matchResults": [{"matchRecords": records}]})
    outcome = found.outcome(Kind.CREATE)
    assert isinstance(outcome, Conflict)
    assert outcome.current is None
    assert ID in outcome.reason
    hidden = problem("DUPLICATE_VALUE", message="duplicates value on record with id: <unknown>").outcome(Kind.CREATE)
    assert isinstance(hidden, Conflict)
    assert hidden.current is None


def answering(status: int, code: str | None, **headers: str) -> SalesforceProvider:
    def respond(_: httpx.Request) -> httpx.Response:
        body = "<html>" if code is None else None
        errors = None if code is None else [{"errorCode": code, "message": "my private value"}]
        return httpx.Response(status, text=body, json=errors, headers=headers)

    transport = httpx.MockTransport(respond)
    return SalesforceProvider(Account(Bearer("t"), base_url=URL), objects=OBJECTS, transport=transport)


def kind_of(outcome: Outcome) -> str:
    match outcome:
        case RetryLater():
            return outcome.cause.value
        case Rejected():
            return f"rejected {outcome.code}"
        case _:
            return type(outcome).__name__.lower()


@pytest.mark.parametrize(
    ("status", "code", "single", "several", "error"),
    [
        (300, None, "rejected MULTIPLE_CHOICES", "rejected MULTIPLE_CHOICES", InvalidResponse),
        (400, "MALFORMED_QUERY", "rejected MALFORMED_QUERY", "rejected MALFORMED_QUERY", InvalidResponse),
        (400, "UNABLE_TO_LOCK_ROW", "unavailable", "unavailable", Unavailable),
        (401, "INVALID_SESSION_ID", "unauthorised", "unauthorised", Unauthorised),
        (401, "A_CODE_OF_TOMORROW", "unauthorised", "unauthorised", Unauthorised),
        (429, None, "throttled", "throttled", Throttled),
        (429, "A_CODE_OF_TOMORROW", "throttled", "throttled", Throttled),
        (401, None, "unauthorised", "unauthorised", Unauthorised),
        (403, "REQUEST_LIMIT_EXCEEDED", "throttled", "throttled", Throttled),
        (403, "API_DISABLED_FOR_ORG", "unauthorised", "unauthorised", Unauthorised),
        (403, "INSUFFICIENT_ACCESS", "rejected INSUFFICIENT_ACCESS", "rejected INSUFFICIENT_ACCESS", InvalidResponse),
        (404, "NOT_FOUND", "rejected 404", "rejected NOT_FOUND", InvalidResponse),
        (404, None, "unknown", "unknown", InvalidResponse),
        (410, None, "unknown", "unknown", InvalidResponse),
        (404, "ENTITY_IS_DELETED", "rejected 404", "rejected 404", InvalidResponse),
        (500, "UNKNOWN_EXCEPTION", "unknown", "unknown", Unavailable),
        (500, "INVALID_FIELD", "unknown", "unknown", Unavailable),
        (502, None, "unknown", "unknown", Unavailable),
        (503, "SERVER_UNAVAILABLE", "unavailable", "unavailable", Unavailable),
        (304, None, "unknown", "rejected 304", InvalidResponse),
    ],
)
async def test_a_whole_answer(
    status: int, code: str | None, single: str, several: str, error: type[ProviderError]
) -> None:
    async with answering(status, code) as provider:
        (read,) = await outcomes(provider, operation(Kind.READ, "contacts", ID))
        assert kind_of(read) == single
        ids = [ID, ID.replace("1", "2")]
        told = await outcomes(provider, *(operation(Kind.UPDATE, "contacts", each, Title="x") for each in ids))
        assert {kind_of(outcome) for outcome in told} == {several}
        gone = await outcomes(provider, *(operation(Kind.DELETE, "contacts", each) for each in ids))
        assert not any(isinstance(outcome, Applied) for outcome in gone), "the call was refused, not a record gone"
        with pytest.raises(error) as raised:
            await provider.pull_changes("default", "contacts", None, limit=10)
    assert "private" not in f"{read} {told} {gone} {raised.value}" or single == "throttled"


async def test_a_wait_that_is_asked_for_is_kept() -> None:
    async with answering(503, "SERVER_UNAVAILABLE", **{"retry-after": "17"}) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.READ, "contacts", ID))
        assert isinstance(outcome, RetryLater)
        assert outcome.retry_after == 17
    async with answering(400, "UNABLE_TO_LOCK_ROW", **{"retry-after": "9"}) as provider:
        (outcome,) = await outcomes(provider, operation(Kind.READ, "contacts", ID))
        assert isinstance(outcome, RetryLater)
        assert outcome.retry_after == 9


@pytest.mark.parametrize("size", [1, 2])
async def test_the_org_refuses_what_is_not_right(size: int) -> None:
    """One at a time and many at once come to the same."""
    salesforce = Salesforce(Org(has_duplicate_rule=True))
    (ada, locked) = salesforce.org.seed("Contact", 2, LastName="A", Email="ada@example.org")
    gone, taken = (salesforce.org.seed("Contact", 1, LastName="A", Customer_No__c=number)[0] for number in ("1", "2"))
    salesforce.org.delete(gone)
    salesforce.org.locked.add(locked)
    good = {"LastName": "B"}
    cases: list[tuple[Kind, str | None, dict[str, Any], str]] = [
        (Kind.CREATE, None, {"FirstName": "B"}, "rejected REQUIRED_FIELD_MISSING"),
        (Kind.CREATE, None, {**good, "Email": "nobody"}, "rejected INVALID_EMAIL_ADDRESS"),
        (Kind.CREATE, None, {**good, "Title": "x" * 129}, "rejected STRING_TOO_LONG"),
        (Kind.CREATE, None, {**good, "Level__c": "Tertiary"}, "rejected INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        (Kind.CREATE, None, {**good, "AccountId": ID}, "rejected INVALID_CROSS_REFERENCE_KEY"),
        (Kind.CREATE, None, {"LastName": "Forbidden"}, "rejected FIELD_CUSTOM_VALIDATION_EXCEPTION"),
        (Kind.CREATE, None, {**good, "Customer_No__c": "2"}, "conflict"),
        (Kind.CREATE, None, {**good, "Email": "ada@example.org"}, "conflict"),
        (Kind.UPDATE, locked, good, "unavailable"),
        (Kind.UPDATE, gone, good, "rejected 404"),
        (Kind.UPDATE, taken, {"LastName": "Triggering lock"}, "unavailable"),
        (Kind.UPDATE, ada, {"Customer_No__c": "2"}, "conflict"),
        (Kind.DELETE, gone, {}, "applied"),
        (Kind.DELETE, ID.replace("1", "9"), {}, "applied"),
        (Kind.DELETE, locked, {}, "unavailable"),
        (Kind.UPSERT, "Customer_No__c/2", {"LastName": "Forbidden"}, "rejected FIELD_CUSTOM_VALIDATION_EXCEPTION"),
        (Kind.READ, gone, {}, "rejected 404"),
        (Kind.READ, "Customer_No__c/1", {}, "rejected 404"),
    ]
    async with provider_of(salesforce) as provider:
        for kind, record_id, fields, told in cases:
            salesforce.requests.clear()
            (other,) = salesforce.org.seed("Contact", 1, LastName="O", Customer_No__c="other")
            batch = [operation(kind, "contacts", record_id, **fields), good_one(kind, record_id or "", other)]
            result = await outcomes(provider, *batch[:size])
            assert [kind_of(outcome) for outcome in result] == [told, "applied"][:size], (kind, fields)
            assert len(salesforce.requests) == 1
            salesforce.org.rows.pop(other[:15])


def good_one(kind: Kind, name: str, other: str) -> Operation:
    """An operation that can be carried out, on another record that is named in the same way."""
    record_id = None if kind is Kind.CREATE else "Customer_No__c/other" if "/" in name else other
    return operation(kind, "contacts", record_id, **({} if kind in {Kind.READ, Kind.DELETE} else {"LastName": "P"}))
