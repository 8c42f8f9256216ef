"""Two-way sync of contacts with a real CardDAV server, as vCards."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count

import httpx
import pytest
from attrs import define, field
from typing_extensions import override

from ratesync import Applied, Batch, Conflict, Kind, Operation, Outcome, SyncEngine
from ratesync.engine.sync.binding import Binding
from ratesync.http import Account, Basic
from ratesync.memory import MemoryBackend
from ratesync.memory.records import MemoryRecords
from ratesync.model.difference import Side
from ratesync.model.run import SyncRun
from ratesync.rules.resolvers import prefer
from tests.real_sync.carddav import CONTACTS, CardDavProvider
from tests.servers.radicale_server import CARDS, Radicale

pytestmark = pytest.mark.anyio

_books = count()


@pytest.fixture
def anyio_backend() -> str:
    """One event loop, as the server takes most of the time; the world of tests/sync has both."""
    return "asyncio"


CARD = """BEGIN:VCARD
VERSION:3.0
UID:{uid}
FN:{name}
N:Lovelace;Ada;;;
EMAIL;TYPE=work:{email}
EMAIL;TYPE=home:home@example.org
item1.TEL:+44 1
item1.X-ABLABEL:boat
ADR:;;12 St James's Square;London;;;UK
PHOTO;ENCODING=b;TYPE=PNG:aGVsbG8=
X-SHOE-SIZE;X-FROM=shop:39\\, wide
END:VCARD
"""
UNMAPPED = {
    "EMAIL;TYPE=home:home@example.org",
    "item1.TEL:+44 1",
    "item1.X-ABLABEL:boat",
    "ADR:;;12 St James's Square;London;;;UK",
    "PHOTO;ENCODING=b;TYPE=PNG:aGVsbG8=",
    "X-SHOE-SIZE;X-FROM=shop:39\\, wide",
}


class Interrupted(CardDavProvider):
    """Somebody else writes a card just before we do."""

    meanwhile: Callable[[], object] | None = None

    @override
    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        if self.meanwhile is not None and batch.kind is Kind.UPDATE:
            self.meanwhile()
            self.meanwhile = None
        return await super().execute(batch)


@define
class Book:
    """An address book, its owner's client, and our contacts."""

    radicale: Radicale
    name: str
    client: httpx.Client
    provider: Interrupted
    ours: MemoryRecords = field(factory=MemoryRecords)

    def put(self, uid: str, name: str, email: str = "ada@example.org") -> None:
        """Its owner writes a card."""
        card = CARD.format(uid=uid, name=name, email=email)
        self.client.put(f"/{self.name}/{uid}.vcf", content=card.encode(), headers=CARDS).raise_for_status()

    def card(self, uid: str) -> set[str]:
        """The lines of a card."""
        answer = self.client.get(f"/{self.name}/{uid}.vcf").raise_for_status()
        return set(answer.text.replace("\r\n ", "").splitlines())

    def cards(self) -> set[str]:
        """Their ids."""
        answer = self.client.get(f"/{self.name}/")
        return {line.removeprefix("UID:") for line in answer.text.splitlines() if line.startswith("UID:")}

    def remove(self, uid: str) -> None:
        """Its owner deletes a card."""
        self.client.delete(f"/{self.name}/{uid}.vcf").raise_for_status()

    @asynccontextmanager
    async def syncing(self) -> AsyncGenerator[tuple[Callable[[], Awaitable[SyncRun]], SyncEngine, Binding]]:
        """An engine, and a pass over the binding."""
        binding = Binding(
            local=self.ours,
            provider="carddav",
            resource=self.name,
            mapping=CONTACTS,
            resolve=prefer(Side.EXTERNAL),
        )
        async with self.provider, SyncEngine(backend=MemoryBackend(), providers=[self.provider]) as engine:
            yield lambda: engine.syncs.sync(binding), engine, binding

    def names(self) -> dict[str, str]:
        """Our contacts' names, by id."""
        return {record_id: record.fields["name"] for record_id, record in self.ours.records.items()}


@pytest.fixture
def book(radicale: Radicale) -> Iterator[Book]:
    name = f"book-{next(_books)}"
    radicale.create_book(name)
    with radicale.client() as client:
        provider = Interrupted(f"{radicale.url}/{radicale.user}", Account(Basic(*radicale.auth)))
        yield Book(radicale, name, client, provider)


async def test_contacts_and_cards_are_kept_alike_and_what_nobody_maps_stays(book: Book) -> None:
    book.put("c1", "Ada Lovelace")
    book.ours.put("1", {"name": "Grace Hopper", "email": "grace@example.org", "phone": None, "note": "line\nline; ü"})
    async with book.syncing() as (sync, _, _):
        await sync()
        assert sorted(book.names().values()) == ["Ada Lovelace", "Grace Hopper"]
        (made,) = book.cards() - {"c1"}
        assert {"FN:Grace Hopper", "N:Hopper;Grace;;;", "NOTE:line\\nline\\; ü"} <= book.card(made)
        (ada,) = set(book.ours.records) - {"1"}
        book.ours.change(ada, email="ada@lovelace.example")  # both are edited, in different fields
        book.put("c1", "Augusta Ada King")
        book.ours.change("1", note=None)
        await sync()
        assert book.names()[ada] == "Augusta Ada King"
        assert UNMAPPED | {"FN:Augusta Ada King", "EMAIL;TYPE=work:ada@lovelace.example"} <= book.card("c1")
        assert not any(line.startswith("NOTE") for line in book.card(made))
        book.remove("c1")
        book.ours.remove("1")
        await sync()
        assert (book.names(), book.cards()) == ({}, set())
        assert not (await sync()).actions


async def test_what_is_written_at_the_same_time_is_merged(book: Book) -> None:
    """The ETag that we send is no more the card's: Radicale refuses, and the card is read anew."""
    book.put("c1", "Ada Lovelace")
    async with book.syncing() as (sync, _, _):
        await sync()
        (ada,) = book.ours.records
        book.ours.change(ada, phone="+44 2")
        book.provider.meanwhile = lambda: book.put("c1", "Augusta Ada King")
        await sync()
        assert book.names() == {ada: "Augusta Ada King"}
        assert {"FN:Augusta Ada King", "item1.TEL:+44 2"} <= book.card("c1")


async def test_with_a_forgotten_sync_token_all_is_read_anew_and_nothing_deleted_unasked(book: Book) -> None:
    for number in range(4):
        book.put(f"c{number}", f"Ada {number}")
    async with book.syncing() as (sync, engine, binding):
        await sync()
        book.put("c1", "Ada edited")
        book.put("c9", "Ada new")
        book.remove("c3")
        book.radicale.forget_tokens(book.name)
        run = await sync()
        assert run.held == 1
        assert "expired" in run.hold_reason
        assert sorted(book.names().values()) == ["Ada 0", "Ada 2", "Ada 3", "Ada edited", "Ada new"]
        assert (await sync()).held == 1, "it waits for as long as it takes"
        assert await engine.syncs.approve_deletes(binding) == 1
        await sync()
        assert sorted(book.names().values()) == ["Ada 0", "Ada 2", "Ada edited", "Ada new"]


async def test_a_card_is_made_once_and_written_only_as_it_was_read(book: Book) -> None:
    async with book.provider:

        async def done(operation: Operation) -> Outcome:
            batch = Batch(operation.lane, operation.resource, operation.kind, (operation,))
            return (await book.provider.execute(batch))["o"]

        made = Operation.create("carddav", book.name, {"fn": ["Ada Lovelace"]}, record_id="c1", id="o")
        first = await done(made)
        assert isinstance(await done(made), Conflict)
        book.put("c1", "Augusta Ada King")
        assert isinstance(first, Applied)
        assert first.version is not None
        update = Operation.update("carddav", book.name, "c1", {"fn": ["Eve"]}, id="o", if_version=first.version)
        assert isinstance(await done(update), Conflict)
        delete = Operation.delete("carddav", book.name, "c1", id="o", if_version=first.version)
        assert isinstance(await done(delete), Conflict)
        assert "FN:Augusta Ada King" in book.card("c1")
