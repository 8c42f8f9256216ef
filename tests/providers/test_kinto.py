"""KintoProvider against a real Kinto: every conformance suite, its length, and what Kinto does in its own way."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from ratesync.errors import CursorExpired, InvalidResponse, UnsupportedOperation
from ratesync.http import Account, Basic
from ratesync.model.batch import Batch, Reply
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Rejected, RetryLater, Unknown
from ratesync.providers import kinto as kinto_module
from ratesync.providers.kinto import KintoProvider
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.find_suite import FindSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.provider_suite import ProviderSuite
from ratesync.testing.pull_suite import PullSuite
from ratesync.testing.records_there import RecordsThere, WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.servers.fault_server import FaultServer
from tests.servers.kinto_server import BATCH_LIMIT, Kinto
from tests.servers.replies import json_answer

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"email": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["email"],
}
LINES = 60
numbers = count(1)
EXISTING = frozenset({Kind.READ, Kind.UPDATE, Kind.DELETE})


def provider_for(kinto: Kinto, **options: Any) -> KintoProvider:
    accounts = {"default": Account(Basic(*kinto.auth)), "stranger": Account(Basic(kinto.user, "guess"))}
    return KintoProvider(kinto.url, accounts, bucket="crm", **options)


@pytest.fixture
async def provider(kinto: Kinto) -> AsyncIterator[KintoProvider]:
    async with provider_for(kinto) as provider:
        yield provider


@pytest.fixture
def contacts(kinto: Kinto) -> str:
    name = f"model-{next(numbers)}"
    kinto.create_collection("crm", name, SCHEMA)
    return name


@pytest.fixture
def sample(provider: KintoProvider, contacts: str) -> Sample:
    async def make(kind: Kind) -> Operation:
        number = next(numbers)
        record_id, fields = f"r{number}", {"email": f"{number}@example.org"}
        if kind in EXISTING:
            await applied(provider, Operation.create("kinto", contacts, fields, record_id=record_id, id=f"c{number}"))
        return Operation(
            provider="kinto",
            resource=contacts,
            kind=kind,
            record_id=record_id,
            fields={**fields, "age": number} if kind in {Kind.CREATE, Kind.UPDATE} else {},
            id=f"o{number}",
            idempotency_key=f"o{number}",
        )

    return make


@pytest.fixture
def provider_over(kinto: Kinto) -> ProviderOver:
    return lambda transport: provider_for(kinto, transport=transport, timeout=1.0, max_response_bytes=200_000)


@pytest.fixture
def there(provider: KintoProvider, sample: Sample, contacts: str) -> RecordsThere:
    return WrittenThere(provider, sample, "default", contacts)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def hide(request: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"code": 404})


class TestKinto(ProviderSuite):
    @pytest.fixture(params=[refuse, hide], ids=["no connection", "a path that is gone"])
    def provider_in_trouble(self, request: pytest.FixtureRequest, kinto: Kinto) -> KintoProvider:
        return provider_for(kinto, transport=httpx.MockTransport(request.param))


class TestKintoInTrouble(TroubleSuite):
    pass


class TestPull(PullSuite):
    pass


class TestListing(ListSuite):
    pass


class TestSearch(FindSuite):
    @pytest.fixture
    def find_path(self) -> str:
        return "email"


class TestDescription(DescribeSuite):
    @pytest.fixture
    def described(self) -> str:
        return "email"


def lines_of_code(path: Path) -> int:
    """Lines with code on them: no comment, docstring or blank line counts."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if ast.get_docstring(node) is not None and first.end_lineno is not None:
                documented.update(range(first.lineno, first.end_lineno + 1))
    idle = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    used: set[int] = set()
    with path.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type not in idle and token.type != tokenize.ENCODING:
                used.update(range(token.start[0], token.end[0] + 1))
    return len(used - documented)


def test_the_model_adapter_is_short() -> None:
    assert kinto_module.__file__ is not None
    assert lines_of_code(Path(kinto_module.__file__)) <= LINES


async def carried_out(provider: KintoProvider, *operations: Operation) -> Reply:
    first = operations[0]
    return await provider.execute(Batch(first.lane, first.resource, first.kind, operations))


def create(contacts: str, record_id: str, identity: str, **fields: Any) -> Operation:
    return Operation.create("kinto", contacts, fields, record_id=record_id, id=identity)


async def test_a_full_batch_is_one_call_and_each_operation_has_its_own_outcome(
    provider: KintoProvider, contacts: str
) -> None:
    await carried_out(provider, create(contacts, "there", "o0", email="a@example.org"))
    operations = [create(contacts, f"r{number}", f"o{number}", email=f"{number}@x.io") for number in range(1, 22)]
    bad = [
        create(contacts, "there", "exists", email="b@example.org"),
        create(contacts, "wrong", "invalid", age=1),
        create(contacts, "../../contacts", "astray", email="a"),
        create(contacts, "r1/", "slash", email="a"),
    ]
    assert len(operations) + len(bad) == BATCH_LIMIT == provider.capabilities.batch_max
    reply = await carried_out(provider, *bad[:2], *operations, *bad[2:])
    assert all(isinstance(reply[str(operation.id)], Applied) for operation in operations)
    conflict = reply["exists"]
    assert isinstance(conflict, Conflict)
    assert conflict.current is not None
    assert conflict.current.fields["email"] == "a@example.org"
    assert reply["invalid"] == Rejected("HTTP 400 Bad Request: 'email' is a required property", "107")
    assert [type(reply[name]) for name in ("astray", "slash")] == [Rejected, Rejected]
    assert reply.feedback.hold_for == 1.0, "Backoff asks to be left alone for a second"


async def test_no_id_reaches_anything_but_one_record(provider: KintoProvider, contacts: str) -> None:
    """Kinto follows redirects within a batch, and deletes a whole collection on DELETE of its path."""
    for name in ("ada", "eve"):
        await carried_out(provider, create(contacts, name, "o1", email=name))
    for record_id in ("", ".", "..", "a/b", "ada/", "a?b", "a#b", "%2e%2e", "ada%2F", "-ada", "é"):
        reply = await carried_out(provider, Operation.delete("kinto", contacts, record_id, id="o2"))
        assert isinstance(reply["o2"], Rejected)
    listed = await provider.list_records("default", contacts, None, limit=9)
    assert {record.record_id for record in listed.records} == {"ada", "eve"}


async def test_what_only_kinto_writes_is_not_sent(provider: KintoProvider, contacts: str) -> None:
    """A record written with the version it was read with would be hidden from the feed of changes."""
    await carried_out(provider, create(contacts, "ada", "o1", email="a"))
    page = await provider.pull_changes("default", contacts, None, limit=9)
    read = (await carried_out(provider, Operation.read("kinto", contacts, "ada", id="o2")))["o2"]
    assert isinstance(read, Applied)
    assert read.record is not None
    fields = {**read.record.fields, "email": "b", "last_modified": 1}
    await carried_out(provider, Operation.update("kinto", contacts, "ada", fields, id="o3"))
    (change,) = (await provider.pull_changes("default", contacts, page.cursor, limit=9)).changes
    assert change.fields is not None
    assert change.fields["email"] == "b"


async def test_a_change_inside_of_an_object_leaves_the_rest_of_it(provider: KintoProvider, contacts: str) -> None:
    await carried_out(provider, create(contacts, "ada", "o1", email="a", home={"city": "London", "zip": "W1"}, age=36))
    change = Operation.update("kinto", contacts, "ada", {"home": {"city": "Paris"}, "age": None}, id="o2")
    await carried_out(provider, change)
    read = (await carried_out(provider, Operation.read("kinto", contacts, "ada", id="o3")))["o3"]
    assert isinstance(read, Applied)
    assert read.record is not None
    assert read.record.fields["home"] == {"city": "Paris", "zip": "W1"}
    assert "age" not in read.record.fields


async def test_a_record_that_is_gone_is_told_as_a_sync_looks_for_it(provider: KintoProvider, contacts: str) -> None:
    """Kinto's own code for it is 110."""
    for operation in (
        Operation.read("kinto", contacts, "ada", id="o1"),
        Operation.update("kinto", contacts, "ada", {"email": "a"}, id="o1"),
    ):
        outcome = (await carried_out(provider, operation))["o1"]
        assert isinstance(outcome, Rejected)
        assert outcome.code == "404"


async def test_versions_of_writes_reads_feeds_and_listings_are_the_same(provider: KintoProvider, contacts: str) -> None:
    written = (await carried_out(provider, create(contacts, "ada", "o1", email="a")))["o1"]
    assert isinstance(written, Applied)
    read = (await carried_out(provider, Operation.read("kinto", contacts, "ada", id="o2")))["o2"]
    assert isinstance(read, Applied)
    pulled = await provider.pull_changes("default", contacts, None, limit=1)
    listed = await provider.list_records("default", contacts, None, limit=1)
    versions = {written.version, read.version, pulled.changes[0].version, listed.records[0].version}
    assert len(versions) == 1
    stale = Operation.update("kinto", contacts, "ada", {"age": 1}, id="o3", if_version=written.version)
    assert isinstance((await carried_out(provider, stale))["o3"], Applied)
    refused = (await carried_out(provider, stale))["o3"]
    assert isinstance(refused, Conflict)
    assert refused.current is not None
    assert refused.current.fields["age"] == 1


async def test_wrong_credentials_are_told_for_each_operation(provider: KintoProvider, contacts: str) -> None:
    operations = [Operation.read("kinto", contacts, name, id=name, connection="stranger") for name in ("a", "b")]
    for outcome in (await carried_out(provider, *operations)).values():
        assert isinstance(outcome, RetryLater)
        assert outcome.cause is Cause.UNAUTHORISED


def made_anew(client: httpx.Client, collection: str) -> None:
    client.delete(collection).raise_for_status()
    client.put(collection).raise_for_status()


def given_another_schema(client: httpx.Client, collection: str) -> None:
    client.patch(collection, json={"data": {"schema": {"type": "object"}}}).raise_for_status()


@pytest.mark.parametrize("happens", [made_anew, given_another_schema])
async def test_a_cursor_expires_when_deletions_may_be_forgotten(
    provider: KintoProvider, contacts: str, kinto: Kinto, happens: Callable[[httpx.Client, str], None]
) -> None:
    """Kinto itself answers as if nothing had been lost."""
    await carried_out(provider, create(contacts, "ada", "o1", email="a"))
    cursor = (await provider.pull_changes("default", contacts, None, limit=9)).cursor
    with kinto.client() as client:
        happens(client, f"/buckets/crm/collections/{contacts}")
    with pytest.raises(CursorExpired):
        await provider.pull_changes("default", contacts, cursor, limit=9)
    anew = await provider.pull_changes("default", contacts, None, limit=9)
    again = await provider.pull_changes("default", contacts, anew.cursor, limit=9)
    assert (again.changes, again.has_more) == ((), False)


async def test_a_cursor_of_a_time_to_come_has_expired(provider: KintoProvider, contacts: str) -> None:
    """The server was put back to an earlier state."""
    await carried_out(provider, create(contacts, "ada", "o1", email="a"))
    newest, _, version = (await provider.pull_changes("default", contacts, None, limit=9)).cursor.partition(".")
    with pytest.raises(CursorExpired):
        await provider.pull_changes("default", contacts, f"{int(newest) + 9}.{version}", limit=9)


@pytest.mark.parametrize(
    ("state", "rows"), [({}, []), ({"last_modified": None}, []), ({"last_modified": 1}, [{"id": "a"}])]
)
async def test_a_page_without_marks_gives_no_cursor(
    fault_server: FaultServer, state: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    """A cursor made of nothing would be the last one."""
    collection = "/v1/buckets/crm/collections/c"
    answers = [
        {"status": 200, "path": f"{collection}/records", "headers": {"ETag": '"1"'}, "body": {"data": rows}},
        {"status": 200, "path": collection, "body": {"data": state}},
    ]
    fault_server.script("/v1/batch", json_answer({"responses": answers}))
    async with KintoProvider(f"{fault_server.url}/v1", Account(), bucket="crm") as provider:
        with pytest.raises(InvalidResponse, match="last_modified"):
            await provider.pull_changes("default", "c", None, limit=1)


async def test_a_search_that_kinto_would_misread_is_refused(provider: KintoProvider, contacts: str) -> None:
    for path, values in (("e-mail", ["a"]), ("email", ["a,b", "c"]), ("", ["a"])):
        with pytest.raises(UnsupportedOperation):
            await provider.find("default", contacts, path, values)
    await carried_out(provider, create(contacts, "ada", "o1", email="a,b", min_age="7"))
    for path, value in (("email", "a,b"), ("min_age", "7")):
        found = await provider.find("default", contacts, path, [value])
        assert [record.record_id for record in found.records] == ["ada"]


async def test_a_conflict_that_may_have_undone_the_batch_leaves_the_others_in_doubt(fault_server: FaultServer) -> None:
    """With PostgreSQL under it Kinto rolls back what came before a 409, and has told 201 for it."""
    path = "/buckets/crm/collections/c/records"
    rows = [
        {"status": 201, "path": f"/v1{path}/a", "body": {"data": {"id": "a", "last_modified": 1}}},
        {"status": 409, "path": f"/v1{path}/b", "body": {"code": 409}},
    ]
    fault_server.script("/v1/batch", json_answer({"responses": rows}))
    async with KintoProvider(f"{fault_server.url}/v1", Account(), bucket="crm") as provider:
        reply = await carried_out(provider, create("c", "a", "o1"), create("c", "b", "o2"))
    assert [type(reply[name]) for name in ("o1", "o2")] == [Unknown, Conflict]
