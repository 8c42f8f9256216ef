"""Records that both sides have before they first meet: linked by the fields that the mapping declares."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest

from ratesync import Rate, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.errors import ConfigurationError, UnsupportedOperation
from ratesync.http import Account, ApiKey
from ratesync.mapping import Field, FirstOf, Mapping
from ratesync.mapping.codecs import text
from ratesync.mapping.ready import hubspot, pipedrive, salesforce
from ratesync.memory import MemoryBackend
from ratesync.memory.records import MemoryRecords
from ratesync.model.difference import Side
from ratesync.providers.pipedrive import PipedriveProvider
from ratesync.rules.resolvers import prefer
from ratesync.testing.virtual_time import VirtualClock, virtual_backend_options
from tests.servers.pipedrive_company import Company
from tests.servers.pipedrive_server import transport
from tests.sync.adapter import Crm
from tests.sync.fake_crm import FakeCrm
from tests.sync.test_desk import TRIAL
from tests.sync.test_two_providers import Finding

pytestmark = pytest.mark.anyio

CONTACT = Mapping(Field("email", "mail", text(case="lower"), match_key=True), Field("name", "full_name"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    backend: Literal["asyncio", "trio"] = request.param
    return virtual_backend_options(backend)


def binding(local: Any, **options: Any) -> Binding:
    given: dict[str, Any] = {"provider": "crm", "resource": "contacts", "mapping": CONTACT} | options
    return Binding(local=local, resolve=prefer(Side.LOCAL), **given)


def world(kind: type[Crm] = Finding) -> tuple[MemoryRecords, Crm, SyncEngine]:
    """Ada on both sides, Bob on this one; what calls the provider."""
    clock = VirtualClock()
    local, crm = MemoryRecords(), kind(FakeCrm(TRIAL, clock.now, random.Random(0)))
    local.put("l1", {"email": "ada@example.org", "name": "Ada"})
    local.put("l2", {"email": "bob@example.org", "name": "Bob"})
    crm.inner.put("x1", {"mail": "Ada@Example.org", "full_name": "Ada King"})
    backend = MemoryBackend(clock=clock, cold_start=False)
    engine = SyncEngine(backend=backend, providers=[crm], clock=clock, quotas={"crm": [Rate(50, per=1)]})
    return local, crm, engine


@pytest.mark.parametrize("options", [{}, {"match_keys": {"email": "mail"}}, {"match_keys": {"name": "full_name"}}])
async def test_what_the_mapping_declares_links_records_unless_the_binding_says_otherwise(
    options: dict[str, Any],
) -> None:
    local, crm, engine = world()
    by_email = "name" not in options.get("match_keys", {})
    async with engine:
        run = await engine.sync(binding(local, **options))
        assert run.situations.get("unlinked match: link", 0) == by_email
        assert len(crm.inner.records) == len(local.records) == (2 if by_email else 3)
        if by_email:
            assert crm.inner.records["x1"].fields == {"mail": "Ada@Example.org", "full_name": "Ada"}


async def test_a_binding_may_have_none_matched() -> None:
    local, crm, engine = world()
    async with engine:
        await engine.sync(binding(local, match_keys={}))
    assert len(crm.inner.records) == len(local.records) == 3


async def test_a_provider_that_cannot_search_is_told_before_a_double_is_made() -> None:
    local, crm, engine = world(Crm)
    async with engine:
        with pytest.raises(UnsupportedOperation, match=r"match_keys=\{\}"):
            await engine.sync(binding(local))
        assert len(crm.inner.records) == 1
        await engine.sync(binding(local, match_keys={}))
    assert len(crm.inner.records) == 3


async def test_a_ready_contact_is_known_by_its_e_mail_address() -> None:
    company, local = Company(), MemoryRecords()
    ada = company.add("persons", {"name": "Ada King", "emails": [{"value": "Ada@Example.org", "primary": True}]})
    local.put("l1", {"first_name": "Ada", "last_name": "King", "email": "ada@example.org"})
    local.put("l2", {"first_name": "Bob", "last_name": "Ray", "email": "bob@example.org"})
    account = Account(ApiKey(company.api_token, header="x-api-token"), base_url="https://acme.pipedrive.com")
    backend = MemoryBackend(cold_start=False)
    async with (
        PipedriveProvider(account, transport=transport(company)) as provider,
        SyncEngine(backend=backend, providers=[provider], quotas={"pipedrive": [Rate(50, per=1)]}) as engine,
    ):
        one = binding(local, provider="pipedrive", resource="persons", mapping=pipedrive.contact(replace_lists=True))
        run = await engine.sync(one)
    assert (run.situations["unlinked match: link"], run.errors) == (1, [])
    people = company.held("persons")
    assert sorted(row["name"] for row in people.values()) == ["Ada King", "Bob Ray"]
    assert str(ada["id"]) in people


def test_where_the_keys_stand_is_told_by_the_mapping() -> None:
    places = {
        "Email": salesforce.contact(),
        "properties.email": hubspot.contact(),
        "emails": pipedrive.contact(),
    }
    for place, mapping in places.items():
        assert mapping.match_keys == binding(MemoryRecords(), mapping=mapping).match_keys == {"email": place}
    assert Mapping(FirstOf("email", "emails")).match_keys == {}
    with pytest.raises(ConfigurationError, match="never read"):
        Mapping(Field("email", "email", direction="push", match_key=True))
