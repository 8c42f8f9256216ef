"""RestProvider by configuration alone: creates that are looked up by a field of theirs, and a schema that is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import httpx
import pytest
from attrs import evolve

from ratesync.errors import ConfigurationError, UnsupportedOperation
from ratesync.http import Cursor
from ratesync.model.batch import CreateIdentity
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Unknown
from ratesync.model.schema import RemoteField
from ratesync.protocols import LooksUp
from ratesync.providers import Listing, RequestBatch, Resource, RestProvider, RowBatch, equal_to
from ratesync.testing.describe_suite import DescribeSuite
from ratesync.testing.list_suite import ListSuite
from ratesync.testing.provider_calls import Sample, applied, read
from ratesync.testing.provider_suite import ProviderSuite
from ratesync.testing.records_there import RecordsThere, WrittenThere
from ratesync.testing.trouble_suite import ProviderOver, TroubleSuite
from tests.conftest import anyio_backend
from tests.providers.rest_api import RestApi

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

URL = "https://api.example/v2"
PAGES = Cursor(param="after", next_path="next", items_path="rows")
MARKED = Resource(
    read_only={"id", "revision", "updated", "is_deleted"},
    listing=Listing(pager=PAGES, size_param="size", query=equal_to),
    mark_field="made_by",
    mark_lag=5.0,
    answers_with_record=True,
    schema_path="/schemas/{resource}",
    schema_at="data.schema",
)
BATCH = RequestBatch(path="/$batch", size=5, path_name="url", id_name="id")
numbers = count(1)


def rest(transport: httpx.AsyncBaseTransport, **settings: Any) -> RestProvider:
    settings = {"resources": MARKED, **settings}
    return RestProvider("acme", URL, transport=transport, **settings)


def create(**fields: Any) -> Operation:
    identity = f"m{next(numbers)}"
    return Operation.create("acme", "things", fields, id=identity, idempotency_key=identity)


@pytest.fixture
def api() -> RestApi:
    return RestApi()


@pytest.fixture
def transport(api: RestApi) -> httpx.AsyncBaseTransport:
    return api.transport


@pytest.fixture(params=[BATCH, None], ids=["batches", "singles"])
async def provider(api: RestApi, request: pytest.FixtureRequest) -> AsyncIterator[RestProvider]:
    async with rest(api.transport, batch=request.param) as provider:
        yield provider


@pytest.fixture
def sample(provider: RestProvider) -> Sample:
    async def make(kind: Kind) -> Operation:
        fields = {"email": f"{next(numbers)}@example.org"}
        if kind is Kind.CREATE:
            return create(**fields)
        made = await applied(provider, create(**fields))
        changed = {"age": next(numbers)} if kind is Kind.UPDATE else {}
        return evolve(create(), kind=kind, record_id=made.record_id, fields=changed)

    return make


@pytest.fixture
def provider_over(provider: RestProvider) -> ProviderOver:
    batch = BATCH if provider.capabilities.largest > 1 else None
    return lambda transport: rest(transport, batch=batch, timeout=0.3, max_response_bytes=200_000)


@pytest.fixture
def there(provider: RestProvider, sample: Sample) -> RecordsThere:
    return WrittenThere(provider, sample, "default", "things")


@pytest.fixture
def described() -> str:
    return "email"


class OverTheApi:
    """The suites' own fixture leads to the network."""

    @pytest.fixture
    def transport(self, api: RestApi) -> httpx.AsyncBaseTransport:
        return api.transport


class TestMarked(ProviderSuite):
    @pytest.fixture(params=[404, 500])
    def provider_in_trouble(self, request: pytest.FixtureRequest) -> RestProvider:
        return rest(httpx.MockTransport(lambda _: httpx.Response(request.param, html="<p>no</p>")))


class TestMarkedInTrouble(OverTheApi, TroubleSuite):
    pass


class TestMarkedListed(OverTheApi, ListSuite):
    pass


class TestDescribed(OverTheApi, DescribeSuite):
    pass


async def test_the_mark_is_written_and_not_shown(api: RestApi) -> None:
    operation = create(name="Ada")
    async with rest(api.transport) as provider:
        assert isinstance(provider, LooksUp)
        made = await applied(provider, operation)
        assert api.records[made.record_id or ""]["made_by"] == operation.idempotency_key
        assert made.record is not None
        shown = [made.record, await read(provider, operation, made.record_id)]
        shown += (await provider.list_records("default", "things", None, limit=9)).records
        assert len(shown) == 3
        assert all("made_by" not in record.fields and record.fields["name"] == "Ada" for record in shown)
        schema = await provider.describe("default", "things")
    assert schema.fields == {"email": RemoteField("string", required=True), "age": RemoteField("integer")}


async def test_what_the_search_cannot_tell_is_in_doubt(api: RestApi) -> None:
    operation = create(name="Ada")
    async with rest(api.transport) as provider:
        made = await applied(provider, operation)
        assert await provider.lookup(operation) == Applied(made.record_id)
        for _ in range(2):
            api.answer(httpx.Request("POST", f"{URL}/things", json={"made_by": "twice"}))
        assert isinstance(await provider.lookup(evolve(operation, idempotency_key="twice")), Unknown)
    for rows, told in (([{"id": "1"}], Unknown), ([{"id": "1", "made_by": "M1"}], type(None)), ([], type(None))):
        answer = httpx.Response(200, json={"rows": rows, "next": None})
        async with rest(httpx.MockTransport(lambda _, answer=answer: answer)) as provider:
            assert isinstance(await provider.lookup(evolve(operation, idempotency_key="m1")), told), rows
    plain = Resource(listing=MARKED.listing)
    async with rest(api.transport, resources=plain) as provider:
        assert isinstance(await provider.lookup(operation), Unknown)
        with pytest.raises(UnsupportedOperation, match="schema_path"):
            await provider.describe("default", "things")


def test_what_is_promised_of_creates_follows_from_the_marks() -> None:
    wire, plain = RestApi().transport, Resource(listing=MARKED.listing)
    rows = RowBatch(path="/rows", reference="reference")
    able = rest(wire).capabilities
    assert (able.create_identity, able.lookup_after) == (CreateIdentity.LOOKUP, 5.0)
    in_rows = evolve(MARKED, bulk={Kind.CREATE: rows}, mark_lag=9.0)
    able = rest(wire, resources={"a": MARKED, "b": in_rows, "c": evolve(plain, create=None)}).capabilities
    assert (able.create_identity, able.lookup_after) == (CreateIdentity.LOOKUP, 9.0)
    assert rest(wire, resources={"a": MARKED, "b": plain}).capabilities.create_identity is CreateIdentity.NONE
    able = rest(wire, idempotency_header="Idempotency-Key").capabilities
    assert (able.create_identity, able.lookup_after) == (CreateIdentity.IDEMPOTENCY_KEY, 0.0)


@pytest.mark.parametrize(
    "shape",
    [
        {"mark_field": "made_by"},
        {"mark_field": "made_by", "listing": Listing(pager=PAGES)},
        {"schema_path": "/schemas/{record_id}"},
        {"mark_lag": -1.0},
    ],
)
def test_a_resource_that_could_not_be_looked_up_or_described_is_not_made(shape: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Resource(**shape)
