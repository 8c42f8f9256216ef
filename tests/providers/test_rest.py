from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import httpx2
import pytest

from ratesync.errors import ConfigurationError
from ratesync.http import salesforce_throttle
from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.feedback import NO_FEEDBACK, Feedback, Reading, ThrottleCause
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record
from ratesync.protocols import LooksUp, ProviderClient
from ratesync.providers import CREATE_ONCE, Resource, RestProvider, Route
from tests.servers.fault_server import FaultServer, Reply
from tests.servers.replies import (
    BROKEN_ON_THE_WIRE,
    NEVER_ENDING,
    OVERSIZE_BODIES,
    UNREADABLE_BODIES,
    answer,
    html,
    json_answer,
    problem,
    redirect,
    retry_after_values,
)

pytestmark = pytest.mark.anyio

FIELDS = {"name": "Ada"}
CREATE = Operation.create("acme", "contacts", FIELDS, id="o1", idempotency_key="o1")
READ = Operation.read("acme", "contacts", "42", id="o2")
UPDATE = Operation.update("acme", "contacts", "42", FIELDS, id="o3")
DELETE = Operation.delete("acme", "contacts", "42", id="o4")
CANARY = "s3cr3t-canary"


def batch(*operations: Operation) -> Batch:
    first = operations[0]
    return Batch(first.lane, first.resource, first.kind, operations)


async def carry_out(provider: RestProvider, operation: Operation) -> Outcome:
    outcomes = await provider.execute(batch(operation))
    assert set(outcomes) == {operation.id}
    return outcomes[operation.id or ""]


async def test_the_smallest_use_is_enough_for_a_plain_api(fault_server: FaultServer) -> None:
    fault_server.script("/contacts", json_answer({"id": 42}, 201, {"etag": '"1"'}))
    fault_server.script(
        "/contacts/42",
        json_answer({"id": 42, "name": "Ada"}, 200, {"etag": '"1"'}),
        json_answer({}, 200, {"etag": '"2"'}),
        answer(204),
    )
    async with RestProvider("acme", fault_server.url) as acme:
        outcomes = [await carry_out(acme, operation) for operation in (CREATE, READ, UPDATE, DELETE)]
    record = Record("42", {"id": 42, "name": "Ada"}, '"1"')
    assert outcomes == [Applied("42", '"1"'), Applied(version='"1"', record=record), Applied(version='"2"'), Applied()]
    sent = [(request.method, request.target, request.body) for request in fault_server.requests]
    assert sent == [
        ("POST", "/contacts", b'{"name":"Ada"}'),
        ("GET", "/contacts/42", b""),
        ("PATCH", "/contacts/42", b'{"name":"Ada"}'),
        ("DELETE", "/contacts/42", b""),
    ]


def test_it_keeps_the_protocol() -> None:
    provider = RestProvider("acme", "https://api.acme.example")
    assert isinstance(provider, ProviderClient)
    assert isinstance(provider, LooksUp), "where its resources have a mark_field"
    assert provider.name == "acme"


NAMED = Resource(create_with_id=CREATE_ONCE)


@pytest.mark.parametrize(
    ("settings", "capabilities"),
    [
        ({}, Capabilities(kinds=frozenset(Kind) - {Kind.UPSERT})),
        ({"resources": NAMED}, Capabilities(kinds=NAMED.kinds, create_identity=CreateIdentity.CLIENT_ID)),
        (
            {
                "resources": {
                    "a": Resource(read=None, delete=None),
                    "b": Resource(create=None, update=None, delete=None),
                }
            },
            Capabilities(kinds=frozenset({Kind.CREATE, Kind.READ, Kind.UPDATE})),
        ),
        (
            {
                "idempotency_header": "Idempotency-Key",
                "key_lasts": 86_400.0,
                "conditional_write": ConditionalWrite.STRONG,
                "concurrency": None,
            },
            Capabilities(
                kinds=Resource().kinds,
                create_identity=CreateIdentity.IDEMPOTENCY_KEY,
                key_lasts=86_400.0,
                conditional_write=ConditionalWrite.STRONG,
                concurrency=None,
            ),
        ),
        ({"resources": NAMED, "create_identity": CreateIdentity.NONE}, Capabilities(kinds=NAMED.kinds)),
    ],
)
def test_capabilities_follow_from_the_configuration(settings: dict[str, Any], capabilities: Capabilities) -> None:
    assert RestProvider("acme", "https://api.acme.example", **settings).capabilities == capabilities


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": None},
        {"headers": {"a b": "c"}},
        {"idempotency_header": "new\nline"},
        {"resources": Resource(read=Route("GET", "/ä/{record_id}"))},
        {"resources": Resource(read=Route("GET", "//evil.example/{record_id}#x"))},
        {"timeout": -1.0},
    ],
)
def test_a_provider_that_could_not_work_is_not_made(settings: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"base_url": "https://api.acme.example", **settings}
    with pytest.raises(ConfigurationError):
        RestProvider("acme", **arguments)


@pytest.mark.parametrize(
    ("reply", "operation", "outcome"),
    [
        (problem(404), DELETE, Applied()),
        (html(410), DELETE, Rejected("HTTP 410 Gone", code="no_such_page")),
        (answer(410), DELETE, Applied()),
        (problem(404), READ, Rejected("HTTP 404 Not Found: Not Found", code="404")),
        (problem(409), UPDATE, Conflict("HTTP 409 Conflict: Conflict")),
        (problem(401), UPDATE, RetryLater("HTTP 401 Unauthorized: Unauthorized", Cause.UNAUTHORISED)),
        (
            problem(503, "9"),
            CREATE,
            RetryLater("HTTP 503 Service Unavailable: Service Unavailable", Cause.UNAVAILABLE, 9),
        ),
        (
            json_answer({"code": "E7", "message": "no"}, 422),
            CREATE,
            Rejected("HTTP 422 Unprocessable Entity: no", "E7"),
        ),
        (redirect("/x"), CREATE, Rejected("{url} redirected a POST: only a GET is followed", code="unsafe_redirect")),
    ],
)
async def test_answers_become_outcomes(
    fault_server: FaultServer, reply: Reply, operation: Operation, outcome: Outcome
) -> None:
    for path in ("/contacts", "/contacts/42"):
        fault_server.script(path, reply)
    async with RestProvider("acme", fault_server.url) as acme:
        found = await carry_out(acme, operation)
    if isinstance(outcome, Rejected):
        outcome = Rejected(outcome.reason.format(url=fault_server.url), outcome.code)
    assert found == outcome


@pytest.mark.parametrize("name", retry_after_values(0.0))
async def test_case_43_a_throttled_call_waits_as_long_as_the_provider_says(
    fault_server: FaultServer, name: str
) -> None:
    fault_server.script("/contacts/42", problem(429, retry_after_values(time.time())[name]))
    async with RestProvider("acme", fault_server.url) as acme:
        outcome = await carry_out(acme, UPDATE)
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.THROTTLED
    wait = outcome.retry_after
    if name in {"inf", "nan", "garbage", "empty", "none"}:
        assert wait is None
    elif name in {"zero", "negative", "date in the past", "obsolete date"}:
        assert wait == 0.0
    elif name in {"1e9", "a billion"}:
        assert wait == 86_400.0
    else:
        assert wait is not None
        assert 0.0 <= wait <= 2.5


async def test_case_44_a_throttled_call_need_not_say_how_long(fault_server: FaultServer) -> None:
    fault_server.script("/contacts/42", problem(429))
    async with RestProvider("acme", fault_server.url) as acme:
        outcome = await carry_out(acme, UPDATE)
    assert outcome == RetryLater("HTTP 429 Too Many Requests: Too Many Requests", Cause.THROTTLED, None)


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_case_45_a_page_of_html_with_a_server_error_is_not_read_as_json(
    fault_server: FaultServer, status: int
) -> None:
    fault_server.script("/contacts/42", html(status))
    async with RestProvider("acme", fault_server.url) as acme:
        outcome = await carry_out(acme, UPDATE)
    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith(f"HTTP {status} ")
    assert "<" not in outcome.reason


async def test_a_conflict_tells_what_the_provider_holds(fault_server: FaultServer) -> None:
    body = {"details": {"existing": {"id": "42", "name": "Eve"}}}
    fault_server.script("/contacts/42", json_answer(body, 412, {"etag": '"9"'}))
    resource = Resource(current_path="details.existing")
    settings: Mapping[str, Any] = {"resources": resource, "conditional_write": ConditionalWrite.STRONG}
    async with RestProvider("acme", fault_server.url, **settings) as acme:
        stale = Operation.update("acme", "contacts", "42", FIELDS, id="o1", if_version='"8"')
        outcome = await carry_out(acme, stale)
    assert isinstance(outcome, Conflict)
    assert outcome.current == Record("42", {"id": "42", "name": "Eve"}, '"9"')
    assert fault_server.requests[0].header("if-match") == '"8"'


@pytest.mark.parametrize(
    ("operation", "outcome"),
    [
        (
            Operation.upsert("acme", "contacts", "42", FIELDS, id="o1"),
            Rejected("kind: 'contacts' has no route for upsert", code="UnsupportedOperation"),
        ),
        (
            Operation.delete("acme", "contacts", "..", id="o1"),
            Rejected(
                "record_id: cannot be part of a path: it is empty or has a segment of dots", code="InvalidPayload"
            ),
        ),
        (
            Operation.update("acme", "contacts", "42", {"n": float("nan")}, id="o1"),
            Rejected("body: cannot be written as JSON (ValueError)", code="InvalidPayload"),
        ),
        (
            Operation.read("acme", "contacts", "42", id="o1", connection="nobody"),
            RetryLater("there are no credentials for connection 'nobody'", Cause.UNAUTHORISED),
        ),
        (
            Operation.read("acme", "contacts", "42", id="o1", connection="broken"),
            RetryLater(
                "the value of header 'Authorization' is empty or not printable ASCII: encode it first", Cause.NOT_SENT
            ),
        ),
    ],
)
async def test_what_cannot_be_asked_is_not_sent(
    fault_server: FaultServer, operation: Operation, outcome: Outcome
) -> None:
    credentials = {"default": {"Authorization": "Bearer x"}, "broken": {"Authorization": f"Bearer {CANARY}\n"}}
    async with RestProvider("acme", fault_server.url, credentials=credentials) as acme:
        assert await carry_out(acme, operation) == outcome
    assert fault_server.requests == []


async def test_operations_of_one_batch_do_not_suffer_from_each_other(fault_server: FaultServer) -> None:
    fault_server.script("/contacts/1", answer(204))
    fault_server.script("/contacts/2", problem(422))
    fault_server.script("/contacts/3", BROKEN_ON_THE_WIRE["reset before the answer"])
    fault_server.script("/contacts/4", answer(204))
    async with RestProvider("acme", fault_server.url) as acme:
        operations = [Operation.update("acme", "contacts", str(n), FIELDS, id=f"o{n}") for n in range(1, 5)]
        outcomes = await acme.execute(batch(*operations))
    assert {identity: type(outcome) for identity, outcome in outcomes.items()} == {
        "o1": Applied,
        "o2": Rejected,
        "o3": Unknown,
        "o4": Applied,
    }


def quota(remaining: int) -> dict[str, str]:
    return {"x-ratelimit-limit": "100", "x-ratelimit-remaining": str(remaining)}


async def test_a_reply_tells_how_the_quotas_stand_after_its_last_call(fault_server: FaultServer) -> None:
    fault_server.script("/contacts/1", answer(204, headers=quota(99)))
    fault_server.script("/contacts/2", answer(204, headers=quota(98) | {"backoff": "5"}))
    fault_server.script("/contacts/3", BROKEN_ON_THE_WIRE["reset before the answer"])
    async with RestProvider("acme", fault_server.url) as acme:
        operations = [Operation.update("acme", "contacts", str(n), FIELDS, id=f"o{n}") for n in range(1, 4)]
        reply = await acme.execute(batch(*operations))
    assert reply.feedback == Feedback(readings=(Reading(limit=100, remaining=98),), hold_for=5.0)


async def test_feedback_is_told_even_if_the_record_cannot_be_read(fault_server: FaultServer) -> None:
    fault_server.script("/contacts/42", json_answer([], 200, quota(7)), answer(204))
    async with RestProvider("acme", fault_server.url) as acme:
        reply = await acme.execute(batch(READ))
        silent = await acme.execute(batch(UPDATE))
    assert isinstance(reply["o2"], Unknown)
    assert reply.feedback.readings == (Reading(limit=100, remaining=7),)
    assert silent.feedback == NO_FEEDBACK


async def test_throttling_in_a_body_is_told_by_a_reader(fault_server: FaultServer) -> None:
    refusal = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    fault_server.script("/contacts/42", json_answer(refusal, 403), json_answer(refusal, 403))
    async with RestProvider("acme", fault_server.url) as acme:
        outcome = await carry_out(acme, UPDATE)
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.UNAUTHORISED
    async with RestProvider("acme", fault_server.url, throttle=salesforce_throttle) as acme:
        reply = await acme.execute(batch(UPDATE))
    assert reply.outcomes == {
        "o3": RetryLater("HTTP 403 Forbidden: TotalRequests Limit exceeded.", Cause.THROTTLED),
    }
    assert reply.feedback.cause is ThrottleCause.BUDGET


@pytest.mark.parametrize("package", [httpx, httpx2], ids=lambda package: package.__name__)
async def test_a_client_of_the_host_s_may_be_given(fault_server: FaultServer, package: Any) -> None:
    fault_server.script("/v1/contacts/42", answer(204))
    client = package.AsyncClient(base_url=f"{fault_server.url}/v1", headers={"X-Team": "1"}, trust_env=False)
    async with client, RestProvider("acme", client=client) as acme:
        assert await carry_out(acme, UPDATE) == Applied()
    assert fault_server.requests[0].header("x-team") == "1"


async def test_no_secret_is_shown(fault_server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ratesync")
    caplog.set_level(logging.INFO, logger="httpx")
    fault_server.script("/contacts/42", json_answer({"message": f"token {CANARY} is not allowed"}, 400))
    credentials = {"default": {"Authorization": f"Bearer {CANARY}"}}
    async with RestProvider("acme", fault_server.url, credentials=credentials, headers={"X-App": CANARY}) as acme:
        outcome = await carry_out(acme, READ)
        assert outcome == Rejected("HTTP 400 Bad Request: token *** is not allowed", code="400")
        shown = [repr(acme), str(acme), repr(outcome), caplog.text]
    assert CANARY not in "".join(shown)


FAULTS: dict[str, Reply] = {
    **NEVER_ENDING,
    **BROKEN_ON_THE_WIRE,
    **UNREADABLE_BODIES,
    **OVERSIZE_BODIES,
    **{f"HTML with {status}": html(status) for status in (400, 404, 409, 429, 500, 502)},
    **{f"problem {status}": problem(status, "1") for status in (401, 403, 408, 410, 412, 425, 503, 504)},
    **{f"redirect {status}": redirect("http://127.0.0.1:9/", status) for status in (301, 303, 307)},
}
REQUESTS = {
    "GET": (READ, None),
    "POST with a key": (CREATE, "Idempotency-Key"),
    "POST without a key": (CREATE, None),
}
NOT_APPLIED = (RetryLater, Rejected, Conflict, Unknown)


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_goes_wrong_there_is_an_outcome(
    fault_server: FaultServer, fault: str, request_name: str
) -> None:
    """Cases 45 to 51: no exception of the client's or of ours comes out, and nothing broken is taken for a success."""
    operation, key = REQUESTS[request_name]
    for path in ("/contacts", "/contacts/42"):
        fault_server.script(path, FAULTS[fault])
    timeout = 0.2 if fault in NEVER_ENDING else 10.0
    async with RestProvider(
        "acme", fault_server.url, timeout=timeout, max_response_bytes=1_000_000, idempotency_header=key
    ) as acme:
        outcome = await carry_out(acme, operation)
    if fault == "nothing with 200" and operation is CREATE:
        assert outcome == Applied(), "a write may be answered with nothing"
    else:
        assert isinstance(outcome, NOT_APPLIED)
    assert [request.header("idempotency-key") for request in fault_server.requests] == ["o1" if key else None]
    if operation is CREATE:
        assert json.loads(fault_server.requests[0].body) == FIELDS
    if fault in NEVER_ENDING or (fault in BROKEN_ON_THE_WIRE and fault != "gzip that is none"):
        assert isinstance(outcome, Unknown), "it may have been applied"


async def test_a_lane_s_operations_go_out_with_its_own_credentials_only(fault_server: FaultServer) -> None:
    fault_server.script("/contacts/42", json_answer({}, 200, {"set-cookie": "session=of-one; Path=/"}))
    credentials = {name: {"X-Api-Key": f"key-of-{name}"} for name in ("one", "two")}
    async with RestProvider("acme", fault_server.url, credentials=credentials) as acme:
        for name in ("one", "two"):
            operation = Operation.update("acme", "contacts", "42", FIELDS, id="o1", connection=name)
            await acme.execute(Batch(Lane("acme", name), "contacts", Kind.UPDATE, (operation,)))
    sent = [(request.header("x-api-key"), request.header("cookie")) for request in fault_server.requests]
    assert sent == [("key-of-one", None), ("key-of-two", None)]
