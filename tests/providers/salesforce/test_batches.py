"""Batches: partial failures, refusals of the whole, and answers whose rows are not as they should be."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.http import Account, Bearer
from ratesync.model.batch import Batch
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Conflict, Rejected, RetryLater, Unknown
from ratesync.model.quota import CALLS
from ratesync.providers.salesforce import SalesforceProvider, SObject
from ratesync.providers.salesforce.collection import read_saved
from ratesync.providers.salesforce.record_id import plain_id
from tests.providers.salesforce.world import OBJECTS, URL, operation, outcomes, provider_of
from tests.servers.salesforce_org import long_id
from tests.servers.salesforce_server import Salesforce

pytestmark = pytest.mark.anyio


def identity(number: int) -> str:
    return long_id(f"003{number:012}")


async def test_two_hundred_records_go_in_one_call_and_each_has_its_own_outcome() -> None:
    salesforce = Salesforce()
    ids = salesforce.org.seed("Contact", 200, LastName="Lovelace")
    salesforce.org.delete(ids[3])
    salesforce.org.locked.add(ids[5])
    async with provider_of(salesforce) as provider:
        names = ["Forbidden" if place == 7 else f"New {place}" for place in range(200)]
        updates = [
            operation(Kind.UPDATE, "contacts", each, LastName=name) for each, name in zip(ids, names, strict=True)
        ]
        told = await outcomes(provider, *updates)
    assert len(salesforce.requests) == 1
    assert [place for place, outcome in enumerate(told) if not isinstance(outcome, Applied)] == [3, 5, 7]
    assert isinstance(told[3], Rejected)
    assert isinstance(told[5], RetryLater)
    assert isinstance(told[7], Rejected)
    assert salesforce.org.rows[plain_id(ids[199])].fields["LastName"] == "New 199"


async def test_created_records_come_with_their_ids() -> None:
    salesforce = Salesforce()
    async with provider_of(salesforce) as provider:
        made = [operation(Kind.CREATE, "contacts", LastName=f"L{place}" if place % 3 else None) for place in range(30)]
        told = await outcomes(provider, *made)
        for create, outcome in zip(made, told, strict=True):
            if create.fields["LastName"] is None:
                assert isinstance(outcome, Rejected)
            else:
                assert isinstance(outcome, Applied)
                row = salesforce.org.find(outcome.record_id or "")
                assert row is not None
                assert row.fields["LastName"] == create.fields["LastName"]
    assert len(salesforce.requests) == 1


async def test_a_field_that_there_is_not_spoils_only_the_operations_that_have_it() -> None:
    """Salesforce refuses the whole call for it, with no word about which record it was."""
    salesforce = Salesforce()
    ids = salesforce.org.seed("Contact", 100, LastName="Lovelace")
    async with provider_of(salesforce) as provider:
        fields: list[dict[str, Any]] = [{"LastName": "New"} for _ in ids]
        fields[41] = {"Nickname__c": "Ada"}
        updates = [operation(Kind.UPDATE, "contacts", each, **more) for each, more in zip(ids, fields, strict=True)]
        told = await outcomes(provider, *updates)
    assert Counter(type(outcome) for outcome in told) == {Applied: 99, Rejected: 1}
    assert isinstance(told[41], Rejected)
    assert told[41].code == "INVALID_FIELD"
    assert len(salesforce.requests) <= 20


async def test_a_type_that_there_is_not_takes_one_call() -> None:
    salesforce = Salesforce()
    async with provider_of(salesforce) as provider:
        for kind, fields in ((Kind.CREATE, {"Name": "x"}), (Kind.READ, {})):
            name = None if kind is Kind.CREATE else identity(1)
            batch = [operation(kind, "Nothing__c", name, **fields) for _ in range(50)]
            told = await outcomes(provider, *batch)
            assert {type(outcome) for outcome in told} == {Rejected}
            assert {outcome.code for outcome in told if isinstance(outcome, Rejected)} <= {"INVALID_TYPE", "NOT_FOUND"}
    assert len(salesforce.requests) == 2


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("resource", ["contacts", "Nothing__c", "invoices"])
async def test_nothing_of_another_type_is_deleted(resource: str, size: int) -> None:
    """Salesforce deletes by id alone, whatever type was meant."""
    salesforce = Salesforce()
    ids = salesforce.org.seed("Account", size, Name="Acme")
    async with provider_of(salesforce) as provider:
        told = await outcomes(provider, *(operation(Kind.DELETE, resource, each) for each in ids))
    assert [outcome.code for outcome in told if isinstance(outcome, Rejected)] == ["invalid_operation"] * size
    assert salesforce.requests == []
    assert all(salesforce.org.find(each) for each in ids)


async def test_a_field_that_nobody_may_read_is_found_out_in_one_call() -> None:
    salesforce = Salesforce()
    ids = salesforce.org.seed("Contact", 50, LastName="Lovelace")
    objects = {"contacts": SObject(name="Contact", fields=("LastName", "Secret__c"))}
    async with provider_of(salesforce, objects=objects) as provider:
        told = await outcomes(provider, *(operation(Kind.READ, "contacts", each) for each in ids))
    assert {outcome.code for outcome in told if isinstance(outcome, Rejected)} == {"INVALID_FIELD"}
    assert len(salesforce.requests) == 1


async def test_records_are_upserted_by_their_external_id() -> None:
    salesforce = Salesforce()
    (old,) = salesforce.org.seed("Contact", 1, LastName="Old", Customer_No__c="K/1 ä")
    async with provider_of(salesforce) as provider:
        for size in (1, 3):
            names = [f"Customer_No__c/{number}" for number in ("K/1 ä", f"new {size}", "k/2")[:size]]
            told = await outcomes(provider, *(operation(Kind.UPSERT, "contacts", each, LastName="B") for each in names))
            assert all(isinstance(outcome, Applied) for outcome in told)
            assert told[0] == Applied(old)
        # A number may be an external id too.
        told = await outcomes(provider, operation(Kind.UPSERT, "invoices", "Invoice_No__c/42", Name="I"))
        again = [operation(Kind.UPSERT, "invoices", f"Invoice_No__c/{number}", Name="J") for number in (42, 43)]
        assert (await outcomes(provider, *again))[0] == told[0]
        read = await outcomes(provider, operation(Kind.READ, "invoices", "Invoice_No__c/43"))
        assert isinstance(read[0], Applied)
    assert len(salesforce.org.rows) == 5


async def test_reads_by_value_go_by_twenty_five_and_those_by_id_apart() -> None:
    salesforce = Salesforce()
    by_value = [f"Customer_No__c/N{number}" for number in range(60)]
    for number in range(60):
        salesforce.org.seed("Contact", 1, LastName=f"L{number}", Customer_No__c=f"N{number}")
    ids = salesforce.org.seed("Contact", 40, LastName="Id")
    names = [*by_value, "Customer_No__c/nobody", *ids, ids[0][:15], identity(77)]
    async with provider_of(salesforce) as provider:
        reads = tuple(operation(Kind.READ, "contacts", name) for name in names)
        reply = await provider.execute(Batch(Lane("salesforce", "default"), "contacts", Kind.READ, reads))
        assert reply.feedback.charged == {CALLS: 4}
        assert provider.charge("contacts", Kind.READ, len(names))[CALLS] >= 4
        assert provider.charge("contacts", Kind.READ, 1) == {}
        assert provider.charge("Account", Kind.READ, 200) == {}
    told = [reply[read.id or ""] for read in reads]
    assert [isinstance(outcome, Applied) for outcome in told] == [True] * 60 + [False] + [True] * 41 + [False]
    assert all(isinstance(told[place], Rejected) for place in (60, -1))
    records = [outcome.record for outcome in told if isinstance(outcome, Applied)]
    assert [record.fields["LastName"] for record in records if record][:60] == [f"L{number}" for number in range(60)]


@pytest.mark.parametrize(
    ("kind", "record_id", "fields"),
    [
        (Kind.CREATE, identity(1), {"LastName": "A"}),
        (Kind.UPDATE, None, {"LastName": "A"}),
        (Kind.UPDATE, "42", {"LastName": "A"}),
        (Kind.UPDATE, f"{identity(1)}/..", {"LastName": "A"}),
        (Kind.UPDATE, "Customer_No__c/42", {"LastName": "A"}),
        (Kind.DELETE, f"{identity(1)},{identity(2)}", {}),
        (Kind.READ, "Other__c/42", {}),
        (Kind.READ, "Customer_No__c/..", {}),
        (Kind.READ, "Customer_No__c/", {}),
        (Kind.READ, "Customer_No__c/a\nb", {}),
        (Kind.UPSERT, identity(1), {"LastName": "A"}),
        (Kind.UPSERT, "Customer_No__c/42", {"Customer_No__c": "43"}),
        (Kind.UPDATE, identity(1), {"attributes": {"type": "User"}}),
        (Kind.UPDATE, identity(1), {"ID": identity(2)}),
        (Kind.UPDATE, identity(1), {"LastName": float("nan")}),
    ],
)
async def test_what_cannot_be_asked_for_is_not_sent(kind: Kind, record_id: str | None, fields: dict[str, Any]) -> None:
    salesforce = Salesforce()
    async with provider_of(salesforce) as provider:
        (outcome,) = await outcomes(provider, operation(kind, "contacts", record_id, **fields))
        assert isinstance(outcome, Rejected)
        (outcome,) = await outcomes(provider, operation(Kind.CREATE, "../User", LastName="A"))
        assert isinstance(outcome, Rejected)
        (outcome,) = await outcomes(provider, operation(Kind.UPSERT, "Account", "Customer_No__c/1", Name="A"))
        assert isinstance(outcome, Rejected)
    assert salesforce.requests == []


async def test_the_external_id_may_be_written_as_well() -> None:
    salesforce = Salesforce()
    async with provider_of(salesforce) as provider:
        upsert = operation(Kind.UPSERT, "contacts", "Customer_No__c/42", LastName="A", Customer_No__c="42")
        assert isinstance((await outcomes(provider, upsert))[0], Applied)


async def test_two_writes_to_one_record_do_not_go_in_one_call() -> None:
    salesforce = Salesforce()
    (ada,) = salesforce.org.seed("Contact", 1, LastName="A")
    async with provider_of(salesforce) as provider:
        updates = [operation(Kind.UPDATE, "contacts", name, LastName="B") for name in (ada, ada[:15])]
        first, second = await outcomes(provider, *updates)
        upserts = [operation(Kind.UPSERT, "contacts", f"Customer_No__c/{name}", LastName="B") for name in ("k1", "K1")]
        third, fourth = await outcomes(provider, *upserts)
    assert isinstance(first, Applied)
    assert isinstance(third, Applied)
    assert isinstance(second, RetryLater)
    assert isinstance(fourth, RetryLater)


def saved(number: int) -> dict[str, Any]:
    return {"id": identity(number), "success": True, "errors": []}


REFUSED: dict[str, Any] = {"success": False, "errors": [{"statusCode": "STRING_TOO_LONG", "fields": ["Title"]}]}


def updates(size: int) -> list[Operation]:
    return [operation(Kind.UPDATE, "contacts", identity(number)) for number in range(size)]


@given(st.data())
def test_whatever_rows_come_no_update_gets_anothers(data: st.DataObject) -> None:
    """Rows that are missing, strange, double or in another order."""
    size = data.draw(st.integers(1, 6))
    one = st.sampled_from([*(saved(number) for number in range(size + 2)), REFUSED, {}, 7, None, {"success": True}])
    rows = data.draw(st.lists(one, max_size=8))
    operations = updates(size)
    told = read_saved(Kind.UPDATE, operations, rows)
    assert set(told) == {each.id for each in operations}
    for number, each in enumerate(operations):
        outcome = told[each.id or ""]
        if isinstance(outcome, Applied):
            assert saved(number) in rows
        if isinstance(outcome, Rejected):
            assert len(rows) == size
            assert rows[number] == REFUSED


@given(st.permutations(range(5)))
def test_the_order_of_rows_with_ids_does_not_matter(order: list[int]) -> None:
    operations = updates(5)
    rows = [{**saved(number), "success": number != 3} for number in order]
    rows = [row if row["success"] else row | {"errors": REFUSED["errors"]} for row in rows]
    told = read_saved(Kind.UPDATE, operations, rows)
    assert [isinstance(told[each.id or ""], Applied) for each in operations] == [True, True, True, False, True]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [saved(0)],
        [saved(0), saved(1), saved(2)],
        [saved(0), saved(0)],
        [REFUSED],
        [{"success": True, "errors": []}, {"success": "yes", "id": identity(1)}],
    ],
)
@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPSERT])
def test_records_whose_ids_were_not_known_are_in_doubt_if_rows_are_missing(kind: Kind, rows: list[Any]) -> None:
    operations = [operation(kind, "contacts", None, LastName=name) for name in "AB"]
    told = read_saved(kind, operations, rows)
    assert {type(outcome) for outcome in told.values()} == {Unknown}


@pytest.mark.parametrize(
    "rows",
    [[], [None], [{"Id": "x"}, None], [{"LastName": "A"}, 5], [{"Id": identity(7)}, None, None]],
)
async def test_a_record_counts_as_gone_only_if_the_answer_is_clear(rows: list[Any]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=rows))
    async with SalesforceProvider(Account(Bearer("t"), base_url=URL), objects=OBJECTS, transport=transport) as provider:
        reads = [operation(Kind.READ, "contacts", identity(number)) for number in range(2)]
        assert {type(outcome) for outcome in await outcomes(provider, *reads)} == {Unknown}


@pytest.mark.parametrize("trouble", ["double", "missing", "no status", "no record", "error"])
async def test_rows_of_composite_reads_are_matched_by_their_reference(trouble: str) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        inner = json.loads(request.content)["compositeRequest"]
        rows: list[dict[str, Any]] = [
            {"httpStatusCode": 200, "httpHeaders": {}, "referenceId": each["referenceId"], "body": {"Id": identity(n)}}
            for n, each in enumerate(inner)
        ]
        match trouble:
            case "double":
                rows.append(rows[1])
            case "missing":
                del rows[1]
            case "no status":
                rows[1].pop("httpStatusCode")
            case "no record":
                rows[1]["body"] = []
            case _:
                rows[1] |= {"httpStatusCode": 400, "body": [{"errorCode": "UNKNOWN_EXCEPTION", "message": "?"}]}
        return httpx.Response(200, json={"compositeResponse": rows[::-1]})

    account = Account(Bearer("t"), base_url=URL)
    async with SalesforceProvider(account, objects=OBJECTS, transport=httpx.MockTransport(respond)) as provider:
        reads = [operation(Kind.READ, "contacts", f"Customer_No__c/{number}") for number in range(3)]
        told = await outcomes(provider, *reads)
    assert isinstance(told[1], Unknown)
    for number in (0, 2):
        outcome = told[number]
        assert isinstance(outcome, Applied)
        assert outcome.record is not None
        assert outcome.record.record_id == identity(number)


@pytest.mark.parametrize("body", [{}, "[", [5]])
async def test_an_answer_to_many_that_is_none_leaves_all_in_doubt(body: Any) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=body) if isinstance(body, str) else httpx.Response(200, json=body)

    account = Account(Bearer("t"), base_url=URL)
    async with SalesforceProvider(account, objects=OBJECTS, transport=httpx.MockTransport(respond)) as provider:
        for kind in (Kind.READ, Kind.UPDATE, Kind.DELETE):
            told = await outcomes(provider, *(operation(kind, "contacts", identity(number)) for number in range(2)))
            assert {type(outcome) for outcome in told} == {Unknown}
        named = [operation(Kind.READ, "contacts", f"Customer_No__c/{number}") for number in range(2)]
        assert {type(outcome) for outcome in await outcomes(provider, *named)} == {Unknown}


async def test_after_a_call_that_failed_no_other_is_made() -> None:
    salesforce = Salesforce()
    ids = salesforce.org.seed("Contact", 3, LastName="A")
    salesforce.trouble.extend(["", "503"])
    async with provider_of(salesforce) as provider:
        names = [f"Customer_No__c/{number}" for number in range(60)]
        told = await outcomes(provider, *(operation(Kind.READ, "contacts", name) for name in (*names, *ids)))
    assert [type(outcome) for outcome in told] == [RetryLater] * 60 + [Applied] * 3
    assert len(salesforce.requests) == 2


async def test_a_duplicate_in_a_batch_names_the_record_that_exists() -> None:
    salesforce = Salesforce()
    (old,) = salesforce.org.seed("Contact", 1, LastName="Old", Customer_No__c="1")
    async with provider_of(salesforce) as provider:
        creates = [operation(Kind.CREATE, "contacts", LastName="New", Customer_No__c=number) for number in ("1", "2")]
        conflict, made = await outcomes(provider, *creates)
    assert isinstance(made, Applied)
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert conflict.current.record_id == old
