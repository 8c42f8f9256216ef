"""An application with a SQLite database and a real Kinto server are kept alike, both ways, whatever is killed.

    python -m examples.two_way_sync

The syncing process is killed with -9 again and again, while people edit both sides. At the end both are compared, field
by field.

Kinto (https://docs.kinto-storage.org) is independent software: `python noxfile.py two_way` brings it along.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx
import sqlalchemy as sa
from attrs import define, field
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ratesync import Rate, Settings, SyncEngine
from ratesync.http import Account, Basic
from ratesync.mapping import Field, Mapping
from ratesync.memory import MemoryLimiter
from ratesync.providers.kinto import KintoProvider
from ratesync.sql import Outbox, SqlRecords
from ratesync.sqlite import SqliteBackend
from ratesync.sync import Binding, Case, Side, SyncSettings, prefer
from tests.servers.kinto_server import Kinto, running_kinto  # starts one, with a free port and an account

BUCKET, COLLECTION = "crm", "contacts"
OURS, THEIRS, BOTH = 60, 50, 30
"""Contacts of the application, of Kinto, and those of them whom both know."""
KILLS = 3
FIRST = ("Ada", "Grace", "Шамиль", "太郎", "Zoë", "Ọlá", "Łukasz", "Mary", "Linus", "Barbara")
LAST = ("Lovelace", "Hopper", "Басаев", "山田", "Ångström", "Curie", "Noether")
CITIES = ("London", "Łódź", "東京", "São Paulo", "Zürich", "Lagos", "Oslo")


# --8<-- [start:binding]
class Base(DeclarativeBase):
    """The application's tables."""


class Contact(Base):
    """Somebody. The application knows nothing of the sync."""

    __tablename__ = "contact"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  no id is ever given to another contact
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    city: Mapped[str | None]
    phone: Mapped[str | None]


OUTBOX = Outbox()

CONTACTS = Mapping(  # here, and there
    Field("email", "email", match_key=True),  # whom both know at the first sync
    Field("name", "full_name"),
    Field("city", "address.city"),
    Field("phone", "phone"),
)


def binding_of(database: sa.Engine) -> Binding:
    """Which records are kept alike, and how."""
    return Binding(
        local=SqlRecords(database, Contact, outbox=OUTBOX),
        provider="kinto",
        resource=COLLECTION,
        mapping=CONTACTS,
        resolve=prefer(Side.EXTERNAL),  # where both changed a field; what is dropped is stored
    )


async def work(url: str, folder: Path) -> None:
    """The syncing process: passes, until nothing is left to do. It may be killed at any line."""
    database = sa.create_engine(f"sqlite:///{folder / 'app.db'}")
    async with (
        KintoProvider(url, Account(Basic(*Kinto(url=url).auth)), bucket=BUCKET) as kinto,
        SyncEngine(
            backend=SqliteBackend(folder / "sync.db", limiter=MemoryLimiter()),
            providers=[kinto],
            quotas={"kinto": [Rate(50, per=1)]},
            # Short leases: a killed process's work is taken over soon.
            settings=Settings(call_timeout=1.0, sync=SyncSettings(chunk=10, lease=4.5, margin=1.5)),
        ) as engine,
    ):
        binding = binding_of(database)
        while True:
            run = await engine.syncs.sync(binding, note=tell)
            done = ", ".join(f"{number} {what}" for what, number in sorted(run.actions.items()))
            print(f"pass: {done or 'no news'}", flush=True)
            if not run.left and not run.actions:
                break
            if run.left:
                await anyio.sleep(0.5)
        losers = [loser async for dropped in engine.syncs.dropped(binding) for loser in dropped.losers]
        print(f"conflicts: {len(losers)} values gave way to Kinto's, and are stored, such as {losers[0].value!r}")


# --8<-- [end:binding]


def tell(case: Case) -> None:
    """A record is done."""
    if case.actions:
        print(f"record {case.actions[-1]}", flush=True)


@define
class People:
    """They edit contacts: in the application with its ORM, at Kinto by HTTP."""

    database: sa.Engine
    kinto: httpx.Client
    random: random.Random
    _numbers: int = 0
    done: Counter[str] = field(factory=Counter[str])

    records = f"/buckets/{BUCKET}/collections/{COLLECTION}/records"

    def somebody(self) -> dict[str, str]:
        """A new person."""
        self._numbers += 1
        name = f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"
        return {"email": f"p{self._numbers}@example.org", "name": name} | self.something()

    def something(self) -> dict[str, str]:
        """A city and a telephone number."""
        return {"city": self.random.choice(CITIES), "phone": f"+44 20 7946 {self.random.randrange(1000, 9999)}"}

    def begin(self) -> None:
        """Both sides have contacts of their own, and some whom both know."""
        everybody = [self.somebody() for _ in range(OURS + THEIRS - BOTH)]
        with Session(self.database) as session, session.begin():
            session.add_all(Contact(**person) for person in everybody[:OURS])
        for person in everybody[OURS - BOTH :]:
            self.create_there(person)

    def create_there(self, person: dict[str, str]) -> None:
        """A contact at Kinto; it has more fields than the mapping knows."""
        data = {"email": person["email"], "full_name": person["name"], "phone": person["phone"]}
        address = {"city": person["city"], "country": f"of {person['email']}"}
        self.kinto.post(self.records, json={"data": {**data, "address": address}}).raise_for_status()

    def there(self) -> list[dict[str, Any]]:
        """Kinto's contacts."""
        found: list[dict[str, Any]] = self.kinto.get(self.records).raise_for_status().json()["data"]
        return sorted(found, key=lambda row: str(row["email"]))

    def here(self) -> list[dict[str, Any]]:
        """The application's contacts."""
        with Session(self.database) as session:
            contacts = session.scalars(sa.select(Contact).order_by(Contact.email))
            return [{name: getattr(each, name) for name in CONTACTS.names} for each in contacts]

    def edit(self) -> None:
        """Everybody does something on both sides; some do it to the same field of the same contact."""
        with Session(self.database) as session, session.begin():
            contacts = session.scalars(sa.select(Contact)).all()
            for contact in self.random.sample(contacts, 12):
                contact.phone = self.something()["phone"]
            session.delete(self.random.choice(contacts))
            session.add(Contact(**self.somebody()))
        for row in self.random.sample(rows := self.there(), 12):
            change = {"full_name": f"Dr {row['full_name']}", "phone": self.something()["phone"]}
            self.kinto.patch(f"{self.records}/{row['id']}", json={"data": change}).raise_for_status()
        self.kinto.delete(f"{self.records}/{self.random.choice(rows)['id']}").raise_for_status()
        self.create_there(self.somebody())
        print("  people edit 12 contacts on each side, delete one and make one")


def sync(url: str, folder: Path, *, dies_after: int | None = None) -> None:
    """Let a process sync, and kill it when so many records are done; show what it said."""
    command = [sys.executable, "-m", "examples.two_way_sync", "--worker", url, str(folder)]
    records = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("record"):
                print(f"  {line.rstrip()}")
                continue
            records += 1
            if records == dies_after:
                process.kill()
                print(f"  the sync is killed with -9 after {records} records")
                return
    if process.returncode:
        raise SystemExit("the syncing process failed")


def compare(people: People) -> int:
    """Field by field; how many values differ."""
    here, there = people.here(), people.there()
    views = [CONTACTS.get(row) for row in there]
    pairs = [(ours, {**dict.fromkeys(CONTACTS.names), **theirs}) for ours, theirs in zip(here, views, strict=True)]
    wrong = [(ours, name) for ours, theirs in pairs for name in ours if ours[name] != theirs[name]]
    countries = [(row["address"]["country"], row["email"]) for row in there if "country" in row["address"]]
    changed = [email for country, email in countries if country != f"of {email}"]
    values = len(pairs) * len(CONTACTS.names)
    print(f"  {len(here)} contacts here, {len(there)} there, {values} values: {len(wrong)} differ")
    print(f"  {len(countries)} countries, which only Kinto has: {len(changed)} changed")
    return len(wrong) + len(changed)


def main(seed: int) -> None:
    """The whole story."""
    with (
        tempfile.TemporaryDirectory() as name,
        running_kinto(folder := Path(name), backoff=0) as kinto,
        kinto.client() as client,
    ):
        kinto.create_collection(BUCKET, COLLECTION)
        database = sa.create_engine(f"sqlite:///{folder / 'app.db'}")
        Base.metadata.create_all(database)
        OUTBOX.create(database)
        OUTBOX.watch(database, Contact)
        people = People(database, client, random.Random(seed))
        people.begin()
        print(f"First sync: {OURS} contacts in the application, {THEIRS} at Kinto, {BOTH} of them in both")
        for number in range(KILLS):
            sync(kinto.url, folder, dies_after=people.random.randint(1, 25))
            print(f"Round {number + 1}")
            people.edit()
        print("To the end")
        sync(kinto.url, folder)
        print("Compared")
        wrong = compare(people)
        database.dispose()
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", nargs=2, metavar=("URL", "FOLDER"), help="be the syncing process")
    arguments = parser.parse_args()
    if arguments.worker:
        anyio.run(work, arguments.worker[0], Path(arguments.worker[1]))
    else:
        main(arguments.seed)
