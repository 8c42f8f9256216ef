"""The pieces that batch calls are made of: answers within an answer, and rows given to whom they belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import httpx
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import (
    BlockedAddress,
    ConfigurationError,
    InvalidPayload,
    InvalidResponse,
    PagingBroken,
    UnsafeRedirect,
)
from ratesync.http import Account, AddressGuard, ApiKey, Cursor, Headers, NextLink, PageNumber, embedded_response
from ratesync.http.embedded import embedded_responses
from ratesync.http.payload import encode_json
from ratesync.http.reason import reason_of
from ratesync.http.response import Response
from ratesync.http.told_time import told_time
from ratesync.model.batch import Batch, Capabilities, Reply
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.schema import RemoteField
from ratesync.model.secret import Secret
from ratesync.providers import (
    Bulk,
    HttpOptions,
    HttpProvider,
    RequestBatch,
    Resource,
    RowBatch,
    read_json_schema,
    record_in,
    text_at,
)
from ratesync.providers.request import Request
from ratesync.rules.paging import Pager

pytestmark = pytest.mark.anyio


def test_a_row_is_a_response_of_its_own() -> None:
    row = {"status": 412, "headers": {"ETag": '"1"', "Content-Type": "text/html"}, "body": {"a": 1}}
    response = embedded_response(row)
    assert (response.status, response.headers["etag"], response.json()) == (412, '"1"', {"a": 1})
    assert response.headers["content-type"] == "application/json", "it was JSON within JSON"
    of_salesforce: dict[str, Any] = {"httpStatusCode": "201", "httpHeaders": {}, "body": [1]}
    response = embedded_response(of_salesforce, status="httpStatusCode", headers="httpHeaders")
    assert (response.status, response.json()) == (201, [1])
    assert embedded_response({"status": 204, "headers": None}).body == b""
    assert embedded_response({"status": 204, "body": ""}).body == b""


def test_a_row_keeps_the_secrets_of_the_answer_that_it_came_in() -> None:
    date = b"Thu, 26 Nov 2026 12:00:00 GMT"
    whole = Response(200, Headers([(b"date", date)]), secrets=(Secret("s3cr3t-canary"),))
    row = {"status": 400, "headers": {"date": "soon"}, "body": {"message": "s3cr3t-canary is no token"}}
    response = embedded_response(row, whole)
    assert reason_of(response) == "HTTP 400 Bad Request: *** is no token"
    assert response.headers["date"] == date.decode()


@pytest.mark.parametrize("row", [None, 7, [], {}, {"status": True}, {"status": 99}, {"status": "9" * 99}], ids=repr)
def test_a_row_that_is_none_is_an_error(row: object) -> None:
    with pytest.raises(InvalidResponse):
        embedded_response(row)


def test_rows_asked_for_together_come_in_the_order_asked() -> None:
    def answer(*keys: str) -> Response:
        rows = ",".join(f'{{"id": "{key}", "status": 200}}' for key in keys)
        return Response(200, body=f'{{"rows": [{rows}, 7]}}'.encode())

    def key(row: Any) -> str | None:
        return text_at(row, "id")

    found = embedded_responses(answer("c", "b", "a"), ["a", "b"], rows_path="rows", key_of_row=key)
    assert [response.status for response in found] == [200, 200]
    for wrong in (answer("a"), answer("a", "b", "b"), answer("c")):
        with pytest.raises(InvalidResponse, match="one row for each"):
            embedded_responses(wrong, ["a", "b"], rows_path="rows", key_of_row=key)


def test_the_time_of_an_answer_is_that_of_its_date() -> None:
    told = embedded_response({"status": 200, "headers": {"Date": "Thu, 26 Nov 2026 12:00:00 GMT"}})
    instant = told_time(told)
    assert instant is not None
    assert instant.isoformat() == "2026-11-26T12:00:00+00:00"
    assert told_time(Response(200)) is None


def test_a_record_has_an_id_and_may_have_a_version() -> None:
    record = record_in({"id": 7, "meta": {"rev": 3}}, version_path="meta.rev", version_form="v{}")
    assert (record.record_id, record.version) == ("7", "v3")
    odd: list[Any] = [None, [], {}, {"id": None}, {"id": True}, {"id": ""}, {"id": 1.5}]
    for row in odd:
        with pytest.raises(InvalidResponse):
            record_in(row)


def test_a_json_schema_is_read_for_its_fields() -> None:
    schema = {
        "required": ["email", "address"],
        "properties": {
            "email": {"type": "string", "maxLength": 80},
            "kind": {"enum": ["a", "b", 1]},
            "age": {"type": ["integer", "null"]},
            "address": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            "odd": True,
        },
    }
    assert read_json_schema(schema).fields == {
        "email": RemoteField("string", required=True, max_length=80),
        "kind": RemoteField("any", choices=frozenset({"a", "b", "1"})),
        "age": RemoteField("integer|null"),
        "address": RemoteField("object", required=True),
        "address.city": RemoteField("string", required=True),
        "odd": RemoteField("any"),
    }
    none: list[Any] = [None, [], 7, {}, {"properties": []}]
    for nothing in none:
        assert read_json_schema(nothing).fields == {}


def build(operation: Operation) -> Mapping[str, Any]:
    if operation.record_id == "unsendable":
        raise InvalidPayload("cannot be sent", path="record_id")
    return {"id": operation.record_id, **operation.fields}


def read(operation: Operation, row: Any, whole: Response) -> Outcome:
    if row.get("odd"):
        raise InvalidResponse("what is this")
    return Applied(version=row["version"].upper())


ROWS = Bulk(
    target="/rows",
    build=build,
    wrap=lambda rows: {"rows": rows},
    key=lambda operation, row: row["id"],
    key_of_row=lambda row: row["id"],
    read=read,
    rows_path="rows",
)


class Rows(HttpProvider):
    capabilities = Capabilities(batch_max=9)

    def __init__(self, rows: list[Any] | httpx.Response, **options: Unpack[HttpOptions]) -> None:
        answer = rows if isinstance(rows, httpx.Response) else httpx.Response(200, json={"rows": rows})
        self.sent: list[bytes] = []

        def serve(request: httpx.Request) -> httpx.Response:
            self.sent.append(request.content)
            return answer

        options = {"transport": httpx.MockTransport(serve), **options}
        super().__init__("acme", "https://acme.example", Account(), **options)

    async def execute(self, batch: Batch) -> Reply:
        return await self.send_bulk(batch, ROWS)


async def carried_out(provider: Rows, *operations: Operation) -> Reply:
    return await provider.execute(Batch(operations[0].lane, "contacts", operations[0].kind, operations))


def update(record_id: str, **fields: Any) -> Operation:
    return Operation.update("acme", "contacts", record_id, fields, id=f"o-{record_id}")


async def test_each_operation_has_the_row_of_its_key_and_odd_rows_are_nobody_s() -> None:
    rows = [7, None, {"id": "b", "version": "y"}, {"id": "x", "version": "z"}, {"id": "a", "version": "x"}]
    async with Rows([*rows, {"id": "c", "odd": True}, {"id": "d", "version": 4}]) as provider:
        reply = await carried_out(provider, *map(update, "abcde"))
    assert [reply[f"o-{name}"] for name in "ab"] == [Applied(version="X"), Applied(version="Y")]
    reasons = [reply[f"o-{name}"] for name in "cde"]
    assert reasons == [
        Unknown("what is this"),
        Unknown("the provider's row for this operation cannot be read (AttributeError)"),
        Unknown("the provider's answer has no row for this operation"),
    ]


async def test_what_cannot_be_sent_is_rejected_and_the_others_are_sent() -> None:
    async with Rows([{"id": "a", "version": "x"}]) as provider:
        reply = await carried_out(provider, update("unsendable"), update("a"), update("n", n=float("inf")))
    assert provider.sent == [b'{"rows":[{"id":"a"}]}']
    assert reply["o-a"] == Applied(version="X")
    assert reply["o-unsendable"] == Rejected("record_id: cannot be sent", "InvalidPayload")
    assert isinstance(reply["o-n"], Rejected)


async def test_where_nothing_can_be_sent_no_call_is_made() -> None:
    async with Rows([]) as provider:
        reply = await carried_out(provider, update("unsendable"))
    assert provider.sent == []
    assert isinstance(reply["o-unsendable"], Rejected)


async def test_a_refusal_of_the_whole_call_is_that_of_each_operation() -> None:
    refusal = httpx.Response(429, headers={"retry-after": "7", "x-ratelimit-remaining": "0", "x-ratelimit-limit": "9"})
    async with Rows(refusal) as provider:
        reply = await carried_out(provider, update("a"), update("unsendable"))
    later = reply["o-a"]
    assert isinstance(later, RetryLater)
    assert (later.cause, later.retry_after) == (Cause.THROTTLED, 7.0)
    assert isinstance(reply["o-unsendable"], Rejected)
    assert reply.feedback.readings[0].remaining == 0


async def test_a_lost_answer_is_not_that_of_what_was_never_sent() -> None:
    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    async with Rows([], transport=httpx.MockTransport(lose)) as provider:
        reply = await carried_out(provider, update("a"), update("unsendable"))
    assert isinstance(reply["o-a"], Unknown)
    assert isinstance(reply["o-unsendable"], Rejected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 700) | st.sampled_from(["a", "b", "201", "/a", "/v1/a", "id", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "status", "path", "body", "headers", "version", "odd"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)
OF_REQUESTS = RequestBatch(prefix="/v1", undone_by=frozenset({409}))
OF_ROWS = RowBatch(path="/rows", status_name="status")
SHAPE = Resource(path="/things")
BULKS = {
    "by hand": ROWS,
    "requests": OF_REQUESTS.bulk(
        lambda operation: Request("PATCH", f"/{operation.record_id}", {}, {}), lambda operation, row: Applied()
    ),
    "rows": OF_ROWS.bulk("default", "things", SHAPE.sent, lambda operation, row: Applied()),
}


@pytest.mark.parametrize("name", BULKS)
@given(rows=JSON | st.lists(JSON, max_size=6))
def test_whatever_is_answered_every_operation_has_an_outcome(name: str, rows: object) -> None:
    bulk, operations = BULKS[name], [update("a"), update("b")]
    sent = bulk.prepare(operations)
    where = bulk.rows_path or ""
    outcomes = bulk.outcomes(sent, Response(200, body=encode_json({where: rows})), Applied())
    assert outcomes.keys() == {"o-a", "o-b"}
    assert all(
        isinstance(outcome, Applied | Conflict | RetryLater | Rejected | Unknown) for outcome in outcomes.values()
    )
    if not isinstance(rows, list) or not rows:
        assert {type(outcome) for outcome in outcomes.values()} == {Unknown}, "nothing was told"


async def test_settings_that_cannot_be_sent_are_not_the_operations_fault() -> None:
    operation = update("a")
    async with Rows([]) as provider:
        batch = Batch(operation.lane, "contacts", operation.kind, (operation,))
        outcome = (await provider.send_bulk(batch, evolve(ROWS, headers={"x-key": ""})))["o-a"]
    assert isinstance(outcome, RetryLater)
    assert outcome.cause is Cause.NOT_SENT
    assert "'x-key' is empty" in outcome.reason
    assert provider.sent == []


@pytest.mark.parametrize(
    ("pager", "position", "answer", "error"),
    [
        (PageNumber(), "abc", [], PagingBroken),
        (Cursor(next_path="next", items_path="rows"), "2", {"rows": [1], "next": "2"}, PagingBroken),
        (NextLink(next_path="next", items_path="rows"), "https://evil.example/", {"rows": []}, UnsafeRedirect),
        (Cursor(items_path="rows"), None, {"items": []}, InvalidResponse),
    ],
)
async def test_a_page_that_leads_astray_is_an_error(
    pager: Pager, position: str | None, answer: object, error: type[Exception]
) -> None:
    async with Rows(httpx.Response(200, json=answer)) as provider:
        with pytest.raises(error):
            await provider.page("default", "/things", pager, position)


async def test_the_next_page_s_link_may_be_in_any_header() -> None:
    answer = httpx.Response(200, json=[1], headers={"next-page": "https://acme.example/things?after=1"})
    async with Rows(answer) as provider:
        page = await provider.page("default", "/things", NextLink(), None, link_header="next-page")
        assert page.next_position == "https://acme.example/things?after=1"
        await provider.page("default", "/things", NextLink(), "/things?after=0", link_header="next-page")
    assert len(provider.sent) == 2


def test_what_goes_over_a_client_of_the_host_s_is_not_guarded_here() -> None:
    with pytest.raises(ConfigurationError, match="leave guard and transport out"):
        HttpProvider("acme", None, Account(), client=httpx.AsyncClient(), guard=AddressGuard())


async def test_a_guard_keeps_calls_out_of_the_host_s_own_network() -> None:
    async with HttpProvider("acme", "http://127.0.0.1:9", Account(), guard=AddressGuard()) as provider:
        with pytest.raises(BlockedAddress):
            await provider.ask("default", "/")


async def test_accounts_go_over_a_client_of_the_host_s_too() -> None:
    seen: list[tuple[str, str, str]] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["x-key"], request.headers["x-team"]))
        return httpx.Response(200, json={})

    accounts = {
        "one": Account(ApiKey("key-one", header="x-key")),
        "two": Account(ApiKey("key-two", header="x-key"), base_url="https://two.example"),
    }
    transport = httpx.MockTransport(serve)
    async with httpx.AsyncClient(
        base_url="https://one.example", transport=transport, headers={"x-team": "1"}
    ) as client:
        async with HttpProvider("acme", None, accounts, client=client) as provider:
            for connection in accounts:
                await provider.ask(connection, "/a")
        assert not client.is_closed
    assert seen == [("https://one.example/a", "key-one", "1"), ("https://two.example/a", "key-two", "1")]
