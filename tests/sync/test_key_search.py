"""Who is the same as whom at the first meeting: by which key, however it is spelt, whatever else is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
import sqlalchemy as sa
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ratesync.engine.sync.key_search import KeySearch
from ratesync.engine.sync.local_side import LocalSide
from ratesync.engine.sync.provider_side import ProviderSide
from ratesync.http import Account, Basic
from ratesync.memory.records import MemoryRecords
from ratesync.model.change import RecordPage
from ratesync.model.difference import Side
from ratesync.model.held import Held
from ratesync.model.lane import Lane
from ratesync.model.record import Record
from ratesync.providers.kinto import KintoProvider
from ratesync.rules.first_match import Situation, first_match
from tests.providers.hubspot.world import provider_of as hubspot_provider
from tests.providers.pipedrive.speaking import provider as pipedrive_provider
from tests.providers.salesforce.world import provider_of as salesforce_provider
from tests.servers.hubspot_server import HubSpot
from tests.servers.kinto_server import Kinto
from tests.servers.pipedrive_company import Company
from tests.servers.salesforce_server import Salesforce
from tests.sql.host import Host
from tests.sync.desk import Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


class Exact(FakeCrm):
    """Compares exactly, as Kinto does."""

    @override
    async def find(self, lane: Lane, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        return RecordPage(tuple(record for record in self.records.values() if record.fields.get(path) in values))


class ExactRecords(MemoryRecords):
    """Compares exactly."""

    @override
    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        return [record for record in await super().find(name, values) if record.fields.get(name) in values]


def desk_of(chunk: int, *, is_exact: tuple[bool, bool] = (False, False)) -> Desk:
    desk = Desk(crm=Exact if is_exact[1] else FakeCrm, match_keys=("email", "vat"))
    if is_exact[0]:
        desk.local = ExactRecords()
        desk.reconciler = evolve(desk.reconciler, pair=evolve(desk.reconciler.pair, local=LocalSide(desk.local)))
    desk.reconciler = evolve(desk.reconciler, settings=evolve(desk.reconciler.settings, chunk=chunk))
    return desk


async def test_a_pair_is_found_that_is_spelt_otherwise_whatever_the_chunk() -> None:
    for chunk in (1, 100):
        desk = desk_of(chunk, is_exact=(False, True))
        desk.local.put("l1", {"email": "Ada@example.org", "name": "Ada"})
        desk.crm.put("x1", {"email": "ada@example.org", "name": "Ada"})
        run = await desk.sync()
        assert (run.situations["unlinked match: link"], run.left) == (1, 0)
        assert (len(desk.local.records), len(desk.crm.records)) == (1, 1)


async def test_the_next_key_counts_where_a_record_lacks_the_one_before() -> None:
    desk = Desk(match_keys=("email", "vat"))
    desk.local.put("l1", {"email": "ada@example.org", "vat": "1", "name": "Ada"})
    desk.crm.put("x1", {"vat": "1", "name": "Ada"})
    run = await desk.sync()
    assert run.situations["unlinked match: link"] == 1
    assert (len(desk.local.records), len(desk.crm.records)) == (1, 1)


async def test_a_later_key_makes_no_pair_of_records_that_an_earlier_one_tells_apart() -> None:
    desk = Desk(match_keys=("email", "phone"))
    desk.local.put("l1", {"email": "ada@example.org", "phone": "1", "name": "Ada"})
    desk.crm.put("x1", {"email": "bob@example.org", "phone": "1", "name": "Bob"})
    await desk.sync()
    assert desk.names() == (["Ada", "Bob"], ["Ada", "Bob"])


async def test_an_earlier_key_has_the_nearer_claim_whoever_is_met_first() -> None:
    desk = Desk(match_keys=("email", "vat"))
    desk.local.put("l1", {"email": "ada@example.org", "vat": "1", "name": "Ada"})
    by_vat = desk.crm.put("x1", {"vat": "1", "name": "Ada"})
    by_email = desk.crm.put("x2", {"email": "ada@example.org", "name": "Ada"})
    for record, situation in ((by_vat, Situation.CLAIMED), (by_email, Situation.UNLINKED_MATCH)):
        search = KeySearch(desk.reconciler.pair)
        await search.look([(Side.EXTERNAL, Held(record, record.fields))])
        match = first_match((Side.EXTERNAL, record.record_id), search.sharing, ())
        assert match.situation is situation


SPELT = st.sampled_from(["a", "A", " a", "b", None])
FIELDS = st.lists(st.tuples(SPELT, st.sampled_from(["1", "2", None])), max_size=3)


def put_all(desk: Desk, local: Sequence[Any], external: Sequence[Any]) -> None:
    for records, prefix, rows in ((desk.local, "l", local), (desk.crm, "x", external)):
        for number, (email, vat) in enumerate(rows):
            keys = {name: value for name, value in (("email", email), ("vat", vat)) if value is not None}
            records.put(f"{prefix}{number}", {"name": f"{prefix}{number}", **keys})


async def outcome(desk: Desk) -> tuple[Any, ...]:
    run = await desk.sync()
    pairs = sorted((str(link.local.base), str(link.external.base)) for link in await desk.links())
    return run.left, pairs, desk.names()


@given(FIELDS, FIELDS, st.tuples(st.booleans(), st.booleans()))
def test_what_is_the_same_depends_on_no_chunk(local: Any, external: Any, is_exact: tuple[bool, bool]) -> None:
    async def main() -> None:
        found: list[tuple[Any, ...]] = []
        for chunk in (1, 2, 100):
            desk = desk_of(chunk, is_exact=is_exact)
            put_all(desk, local, external)
            found.append(await outcome(desk))
        assert found[0] == found[1] == found[2]

    anyio.run(main)


async def test_a_pair_that_an_exact_side_finds_by_another_spelling_only_is_no_pair_in_a_chunk_either() -> None:
    for chunk in (1, 100):
        desk = desk_of(chunk, is_exact=(True, True))
        desk.local.put("l1", {"email": "ada@example.org", "name": "Ada"})
        desk.crm.put("x1", {"email": "ADA@example.org", "name": "Ada"})
        run = await desk.sync()
        assert (run.situations["local only: create"], run.situations["claimed: left"]) == (1, 1)


class Direct:
    """Calls an adapter and nothing else, and counts the searches that it takes."""

    def __init__(self, provider: Any) -> None:
        self.provider, self.finds = provider, 0

    async def find(self, lane: Lane, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        page: RecordPage = await self.provider.find(lane.connection, resource, path, values)
        self.finds += 1
        return page


async def found_by(provider: Any, resource: str, path: str, texts: Sequence[str], most: int) -> list[str]:
    """The ids of what a side finds for many values at once, in so many calls at most."""
    direct = Direct(provider)
    caller: Any = direct
    found = await ProviderSide(caller, Lane(provider.name), resource, match_paths={"key": path}).find("key", texts)
    assert found.refused == set()
    assert direct.finds <= most
    return sorted(held.record.record_id for held in found.held)


LONG = [f"{'x' * 100}{number}@example.org" for number in range(300)]


async def test_pipedrive_is_asked_for_ten_values_at_a_time() -> None:
    company = Company(search_burst=100)
    made = [company.add("persons", {"name": f"n{number}"}) for number in range(25)]
    provider = pipedrive_provider(company)
    texts = [f"n{number}" for number in range(25)]
    assert await found_by(provider, "persons", "name", texts, 4) == sorted(str(row["id"]) for row in made)


async def test_hubspot_is_asked_for_what_a_search_takes() -> None:
    hubspot = HubSpot()
    made = [*hubspot.account.seed("contacts", 1, email=LONG[0]), *hubspot.account.seed("contacts", 1, email=LONG[299])]
    async with hubspot_provider(hubspot) as provider:
        assert await found_by(provider, "contacts", "properties.email", LONG, 32) == sorted(made)


async def test_salesforce_is_asked_for_what_a_query_takes() -> None:
    salesforce = Salesforce()
    made = [*salesforce.org.seed("Contact", 1, LastName="a", Email=LONG[0][60:])]
    made += salesforce.org.seed("Contact", 1, LastName="b", Email=LONG[299][60:])
    texts = [each[60:] for each in LONG]
    async with salesforce_provider(salesforce) as provider:
        assert await found_by(provider, "contacts", "Email", texts, 16) == sorted(made)


async def test_kinto_is_asked_for_a_comma_by_itself_and_for_numbers_too(kinto: Kinto) -> None:
    records = kinto.create_collection("crm", (name := f"key-search-{uuid4()}"))
    values = ["a,b", "c", 7, "8", 1.5, "d,e"]
    with kinto.client() as client:
        for number, value in enumerate(values):
            client.put(f"{records}/r{number}", json={"data": {"no": value}}).raise_for_status()
    async with KintoProvider(kinto.url, Account(Basic(*kinto.auth)), bucket="crm") as provider:
        texts = [str(value) for value in values] + [f"n{number}" for number in range(94)]
        ids = [f"r{number}" for number in range(len(values))]
        assert await found_by(provider, name, "no", texts, 32) == ids


async def test_a_number_is_found_in_a_column_of_numbers_and_a_text_in_one_of_texts(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'host.db'}")
    host = Host(engine)
    ada = host.add("Ada", age=36)
    side = LocalSide(host.records)
    for name, text in (("age", "36"), ("name", "ADA ")):
        assert [held.record.record_id for held in (await side.find(name, [text, "x"])).held] == [ada]
    engine.dispose()


async def test_records_are_the_same_whose_key_is_a_number_here_and_a_text_there() -> None:
    for chunk in (1, 100):
        desk = desk_of(chunk)
        desk.local.put("l1", {"vat": 123, "name": "Ada"})
        desk.crm.put("x1", {"vat": "123", "name": "Ada"})
        assert (await desk.sync()).situations["unlinked match: link"] == 1
