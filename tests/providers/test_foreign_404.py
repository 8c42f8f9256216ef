"""A gateway in between answers 404 with a page of its own: that says nothing of a record, and deletes none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ratesync import SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.http import Account, Cursor
from ratesync.memory import MemoryBackend
from ratesync.memory.records import MemoryRecords
from ratesync.model.batch import Batch, DeleteFeed
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import NO_SUCH_PAGE, Outcome, Rejected
from ratesync.providers import CREATE_ONCE, Feed, RequestBatch, Resource, RestProvider, Route, RowBatch
from tests.providers.rest_api import RestApi

pytestmark = pytest.mark.anyio

PAGE = httpx.Response(404, headers={"content-type": "text/html; charset=utf-8"}, text="<html>no such host</html>")
URL = "https://api.example/v2"
KINDS = sorted(Kind)
BATCH = RequestBatch(path="/$batch", size=5, path_name="url", id_name="id")
ROWS = Resource(create=None, read=None, update=None, delete=None, bulk=dict.fromkeys(KINDS, RowBatch(path="/rows")))
SINGLES = Resource(upsert=Route("PUT", "/things/{record_id}"))
THINGS = Resource(
    create=None,
    create_with_id=CREATE_ONCE,
    version_path="revision",
    version_form='"{}"',
    read_only={"id", "revision", "updated", "is_deleted"},
    changes=Feed(
        path="/things/changed",
        pager=Cursor(param="after", next_path="next", items_path="rows"),
        since_param="since",
        updated_path="updated",
        deleted_path="is_deleted",
    ),
)


async def came_to(answer: httpx.Response, kind: Kind, **settings: Any) -> list[Outcome]:
    operations = tuple(
        Operation(
            provider="acme", resource="things", kind=kind, record_id=None if kind is Kind.CREATE else name, id=name
        )
        for name in ("a", "b")
    )
    transport = httpx.MockTransport(lambda _: answer)
    async with RestProvider("acme", URL, transport=transport, **settings) as provider:
        outcomes = await provider.execute(Batch(operations[0].lane, "things", kind, operations))
    return [outcomes[name] for name in ("a", "b")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{"batch": BATCH, "resources": SINGLES}, {"resources": ROWS}])
@pytest.mark.parametrize(
    "answer",
    [PAGE, httpx.Response(410, json={"message": "moved", "code": "404"}), httpx.Response(404)],
    ids=["HTML", "JSON", "nothing"],
)
async def test_a_batch_that_is_not_found_tells_of_no_record(
    kind: Kind, settings: dict[str, Any], answer: httpx.Response
) -> None:
    for outcome in await came_to(answer, kind, **settings):
        assert isinstance(outcome, Rejected)
        assert outcome.code == NO_SUCH_PAGE


@pytest.mark.parametrize("kind", KINDS)
async def test_a_page_of_html_tells_of_no_record(kind: Kind) -> None:
    for outcome in await came_to(PAGE, kind, resources=SINGLES):
        assert outcome == Rejected("HTTP 404 Not Found", NO_SUCH_PAGE)


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(404, json={"code": "absent"})])
async def test_a_404_without_a_page_says_that_the_record_is_gone(answer: httpx.Response) -> None:
    for outcome in await came_to(answer, Kind.READ, resources=SINGLES):
        assert isinstance(outcome, Rejected)
        assert outcome.code == "404"


@pytest.mark.parametrize("batch", [BATCH, None], ids=["batches", "singles"])
async def test_a_sync_deletes_nothing_for_the_pages_of_a_gateway(batch: RequestBatch | None) -> None:
    api, ours = RestApi(), MemoryRecords()
    is_astray = False

    async def answer(request: httpx.Request) -> httpx.Response:
        return PAGE if is_astray and request.url.path != "/v2/things/changed" else api.answer(request)

    provider = RestProvider(
        "acme", URL, Account(), resources=THINGS, batch=batch, transport=httpx.MockTransport(answer)
    )
    assert provider.capabilities.deletes is DeleteFeed.TOMBSTONES
    binding = Binding(local=ours, provider="acme", resource="things")
    async with provider, SyncEngine(backend=MemoryBackend(), providers=[provider]) as engine:
        for name in ("a", "b", "c"):
            ours.put(name, {"name": name})
        await engine.syncs.sync(binding)
        assert {row["name"] for row in api.records.values()} == {"a", "b", "c"}
        ours.change("a", name="Ada")
        is_astray = True
        await engine.syncs.sync(binding)
        assert set(ours.records) == {"a", "b", "c"}, "what a gateway does not know is not deleted"
        is_astray = False
        await engine.syncs.sync(binding)
        await engine.syncs.sync(binding)
    assert {record.fields["name"] for record in ours.records.values()} == {"Ada", "b", "c"}
    assert not any(row["is_deleted"] for row in api.records.values())
