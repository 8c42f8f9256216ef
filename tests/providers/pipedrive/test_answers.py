"""What Pipedrive's answers mean for operations."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from ratesync import Applied, Kind, Outcome, Rejected, RetryLater, Unknown
from ratesync.http import Response
from ratesync.model.outcome import NO_SUCH_PAGE, Cause
from ratesync.providers.pipedrive import LEADS, NOTES
from ratesync.providers.pipedrive.answer import interpret
from ratesync.providers.pipedrive.record import version_of
from ratesync.providers.pipedrive.throttle import throttle_reader
from tests.providers.pipedrive.speaking import MARK, SCORE, execute, one, operation, provider
from tests.servers.pipedrive_company import CLOUDFLARE, Company, Told

pytestmark = pytest.mark.anyio


def told(status: int, body: Any, content_type: str = "application/json", **headers: str) -> Told:
    text = body if isinstance(body, str) else json.dumps(body)
    return Told(
        status, text, {"content-type": content_type, **{name.replace("_", "-"): headers[name] for name in headers}}
    )


def problem(error: str, **more: Any) -> dict[str, Any]:
    return {"success": False, "error": error, "error_info": "Please check developers.pipedrive.com", **more}


CASES: dict[str, tuple[Told, Outcome]] = {
    "not valid": (
        told(400, problem("Validation failed: name: Required", code="ERR_SCHEMA_VALIDATION_FAILED")),
        Rejected("HTTP 400 Bad Request: Validation failed: name: Required", "ERR_SCHEMA_VALIDATION_FAILED"),
    ),
    "no token": (
        told(401, problem("unauthorized access", errorCode=401)),
        RetryLater("HTTP 401 Unauthorized: unauthorized access", Cause.UNAUTHORISED),
    ),
    "trial expired": (
        told(402, problem("Company account is not open")),
        RetryLater("HTTP 402 Payment Required: Company account is not open", Cause.UNAUTHORISED),
    ),
    "no scope": (
        told(403, problem("Scope and URL mismatch", errorCode=403)),
        RetryLater("HTTP 403 Forbidden: Scope and URL mismatch", Cause.UNAUTHORISED),
    ),
    "limit of the plan": (
        told(403, problem("Couldn't add the deal. Open deals limit reached.", code="feature_capping_deals_limit")),
        Rejected("HTTP 403 Forbidden: Couldn't add the deal. Open deals limit reached.", "feature_capping_deals_limit"),
    ),
    "not this record": (
        told(403, problem("You do not have permissions to do this", errorCode=403)),
        Rejected("HTTP 403 Forbidden: You do not have permissions to do this", "403"),
    ),
    "blocked": (
        told(403, CLOUDFLARE, "text/html"),
        RetryLater("HTTP 403 Forbidden", Cause.THROTTLED, 300.0),
    ),
    "gone": (
        told(404, problem("Person not found", errorCode=404)),
        Rejected("HTTP 404 Not Found: Person not found", "404"),
    ),
    "an endpoint that is gone": (
        told(410, problem("Gone")),
        Rejected("HTTP 410 Gone: Gone", "Gone"),
    ),
    "a feature that is off": (
        told(415, problem("Feature is not enabled")),
        Rejected("HTTP 415 Unsupported Media Type: Feature is not enabled", "415"),
    ),
    "unprocessable": (
        told(422, problem("Unprocessable")),
        Rejected(f"HTTP 422 {HTTPStatus(422).phrase}: Unprocessable", "Unprocessable"),
    ),
    "a burst": (
        told(
            429, problem("request over limit"), x_ratelimit_limit="20", x_ratelimit_remaining="0", x_ratelimit_reset="1"
        ),
        RetryLater("HTTP 429 Too Many Requests: request over limit", Cause.THROTTLED, 1.0),
    ),
    "a burst that says when": (
        told(429, problem("request over limit"), x_ratelimit_remaining="0", retry_after="7"),
        RetryLater("HTTP 429 Too Many Requests: request over limit", Cause.THROTTLED, 7.0),
    ),
    "the day": (
        told(429, problem("Daily limit"), x_ratelimit_remaining="19", x_daily_ratelimit_token_remaining="2"),
        RetryLater("HTTP 429 Too Many Requests: Daily limit", Cause.THROTTLED),
    ),
    "nobody knows": (told(500, problem("Internal error")), Unknown("HTTP 500 Internal Server Error: Internal error")),
    "not implemented": (
        told(501, problem("Not implemented")),
        Rejected("HTTP 501 Not Implemented: Not implemented", "501"),
    ),
    "maintenance": (
        told(503, problem("Scheduled maintenance"), retry_after="60"),
        RetryLater("HTTP 503 Service Unavailable: Scheduled maintenance", Cause.UNAVAILABLE, 60.0),
    ),
    "a failure in disguise": (told(200, problem("No")), Rejected("HTTP 200 OK: No", "No")),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_answer_is_classified(company: Company, case: str) -> None:
    answer, expected = CASES[case]
    pipedrive = provider(company)
    for kind in (Kind.CREATE, Kind.UPDATE, Kind.READ, Kind.DELETE):
        if case == "the day" and kind is Kind.READ:
            continue  # a read costs one token, so two are enough
        company.before.append(answer)
        record_id = None if kind is Kind.CREATE else "1"
        outcome = await one(pipedrive, kind, record_id, **({} if record_id else {"name": "Ada"}))
        assert outcome == (Applied() if kind is Kind.DELETE and answer.status in {404, 410} else expected), kind


@pytest.mark.parametrize(
    "answer",
    [
        told(200, "<html>", "text/html"),
        told(200, "[]"),
        told(200, {"success": True}),
        told(200, {"data": {"id": 1}}),
        told(200, {"success": True, "data": None}),
        told(200, {"success": True, "data": {"id": None}}),
        told(200, {"success": True, "data": {"id": True, "name": "Ada"}}),
        told(200, {"success": True, "data": {"id": 2, "name": "Ada"}}),
    ],
)
async def test_an_answer_that_is_none_leaves_it_open(company: Company, answer: Told) -> None:
    pipedrive = provider(company)
    for kind in (Kind.UPDATE, Kind.READ, Kind.CREATE, Kind.DELETE):
        company.before.append(answer)
        outcome = await one(pipedrive, kind, None if kind is Kind.CREATE else "1")
        row = json.loads(answer.body).get("data") if '"success": true' in answer.body else None
        if kind is Kind.DELETE and '"success": true' in answer.body:
            assert outcome == Applied()  # what it says beyond success is of no matter
        elif kind is Kind.CREATE and row == {"id": 2, "name": "Ada"}:
            assert isinstance(outcome, Applied)
        else:
            assert isinstance(outcome, Unknown), (kind, outcome)


@pytest.mark.parametrize("answer", [told(404, "<html>", "text/html"), told(410, "gone", "text/plain")])
async def test_a_page_that_is_not_pipedrives_says_of_no_record_that_it_is_gone(company: Company, answer: Told) -> None:
    pipedrive = provider(company)
    for kind in (Kind.UPDATE, Kind.READ, Kind.CREATE, Kind.DELETE):
        company.before.append(answer)
        outcome = await one(pipedrive, kind, None if kind is Kind.CREATE else "1")
        assert isinstance(outcome, Rejected)
        assert outcome.code == NO_SUCH_PAGE


def test_an_answer_does_not_show_the_record() -> None:
    response = Response(200, body=b'{"success": true, "data": {"id": 1, "name": "Ada Lovelace"}}')
    answer = interpret(response, Kind.READ, 0.0, throttle_reader(1))
    assert answer.data["name"] == "Ada Lovelace"
    assert "Ada" not in repr(answer)


async def test_a_header_of_a_proxy_is_no_version(company: Company) -> None:
    company.before.append(told(200, {"success": True, "data": {"id": 1, "name": "Ada"}}, etag='W/"x"'))
    outcome = await one(provider(company), Kind.UPDATE, "1", name="Ada")
    assert isinstance(outcome, Applied)
    assert outcome.version == version_of({"id": 1, "name": "Ada"})
    company.before.append(told(200, {"success": True, "data": {"id": 1}}, etag='W/"x"'))
    assert await one(provider(company), Kind.DELETE, "1") == Applied()


async def test_an_update_that_leaves_a_record_deleted_found_none(company: Company) -> None:
    for row in ({"id": 1, "is_deleted": True}, {"id": 1, "status": "deleted"}, {"id": 1, "active_flag": False}):
        company.before.append(company.success(row))
        outcome = await one(provider(company), Kind.UPDATE, "1", name="Ada")
        assert isinstance(outcome, Rejected)
        assert outcome.code == "404"


async def test_a_record_has_a_life(company: Company) -> None:
    company.custom = {SCORE}
    pipedrive = provider(company)
    created = await one(pipedrive, Kind.CREATE, name="Ada Lovelace", custom_fields={SCORE: 7})
    assert isinstance(created, Applied)
    assert created.record_id == "1"
    read = await one(pipedrive, Kind.READ, "1")
    assert isinstance(read, Applied)
    assert read.record is not None
    assert read.record.fields["custom_fields"] == {SCORE: 7}
    assert read.version == created.version
    updated = await one(pipedrive, Kind.UPDATE, "1", name="Ada King")
    assert isinstance(updated, Applied)
    assert updated.version not in {None, created.version}
    assert company.held("persons")["1"]["custom_fields"] == {SCORE: 7}
    assert await one(pipedrive, Kind.DELETE, "1") == Applied()
    assert await one(pipedrive, Kind.DELETE, "1") == Applied()
    for shows_deleted in (True, False):
        company.shows_deleted = shows_deleted
        for kind in (Kind.READ, Kind.UPDATE):
            gone = await one(pipedrive, kind, "1")
            assert isinstance(gone, Rejected)
            assert gone.code == "404"


async def test_two_changes_within_a_second_have_two_versions(company: Company) -> None:
    company.clock = lambda: 1_790_000_000.0
    company.add("persons", {"name": "Ada"})
    pipedrive = provider(company)
    versions = [await one(pipedrive, Kind.UPDATE, "1", name=name) for name in ("Ada", "Eve", "Ada")]
    first, second, third = (outcome.version for outcome in versions if isinstance(outcome, Applied))
    assert first == third != second


async def test_an_archived_deal_is_changed_once_it_is_taken_out_of_the_archive(company: Company) -> None:
    company.add("deals", {"title": "Old", "is_archived": True})
    pipedrive = provider(company)
    steps: list[tuple[dict[str, Any], type[Outcome]]] = [
        ({"title": "New"}, Rejected),
        ({"is_archived": False}, Applied),
        ({"title": "New"}, Applied),
    ]
    for fields, expected in steps:
        (outcome,), _ = await execute(pipedrive, [operation(Kind.UPDATE, "1", resource="deals", **fields)])
        assert isinstance(outcome, expected)
    assert company.held("deals")["1"]["title"] == "New"


@pytest.mark.parametrize("record_id", ["", "1/2", "../deals/1", "1,2", "1?x", "é", "a" * 65])
async def test_what_is_no_id_is_not_sent(company: Company, record_id: str) -> None:
    company.add("persons", {"name": "Ada"})
    pipedrive = provider(company)
    for kind in (Kind.READ, Kind.UPDATE, Kind.DELETE):
        outcome = await one(pipedrive, kind, record_id)
        assert isinstance(outcome, Rejected)
        assert outcome.code == "UnsupportedOperation"
    assert company.asked == []
    reads = [operation(Kind.READ, identity) for identity in (record_id, *["1"] * 11)]
    outcomes, _ = await execute(pipedrive, reads)
    assert [type(outcome) for outcome in outcomes] == [Rejected] + [Applied] * 11
    assert [asked.query["ids"] for asked in company.asked] == ["1"]


async def test_what_pipedrive_cannot_do_is_not_sent(company: Company) -> None:
    pipedrive = provider(company)
    assert isinstance(await one(pipedrive, Kind.UPSERT, "1"), Rejected)
    assert isinstance(await one(pipedrive, Kind.CREATE, "1", name="Ada"), Rejected)
    (outcome,), _ = await execute(pipedrive, [operation(Kind.READ, "1", resource="people")])
    assert isinstance(outcome, Rejected)
    assert "persons" in outcome.reason
    assert company.asked == []


async def test_version_1_has_records_too(company: Company) -> None:
    pipedrive = provider(company, resources={"leads": LEADS, "notes": NOTES})
    for name, fields in (("leads", {"title": "Hot"}), ("notes", {"content": "Hello"})):
        (created,), _ = await execute(pipedrive, [operation(Kind.CREATE, resource=name, **fields)])
        assert isinstance(created, Applied)
        assert company.held(name)[created.record_id or ""].items() >= fields.items()
        changed = dict.fromkeys(fields, "changed")
        await execute(pipedrive, [operation(Kind.UPDATE, created.record_id, resource=name, **changed)])
        reads = [operation(Kind.READ, identity, resource=name) for identity in (created.record_id, "999")]
        (read, missing), _ = await execute(pipedrive, reads)
        assert isinstance(read, Applied)
        assert read.record is not None
        assert read.record.fields.items() >= changed.items()
        assert isinstance(missing, Rejected)
    assert {asked.method for asked in company.asked} == {"POST", "PATCH", "PUT", "GET"}


async def test_no_secret_is_repeated(company: Company) -> None:
    company.api_token = "s3cret-api-token-of-ada"
    pipedrive = provider(company)
    company.before.append(told(400, problem(f"bad token {company.api_token}")))
    outcome = await one(pipedrive, Kind.READ, "1")
    assert isinstance(outcome, Rejected)
    assert company.api_token not in f"{outcome} {pipedrive!r}"
    assert MARK not in repr(pipedrive)
