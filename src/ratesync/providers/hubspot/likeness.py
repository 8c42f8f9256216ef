"""Which created record is whose, by what was written: HubSpot names only the inputs that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from ratesync.model.record import Record
from ratesync.providers.hubspot.properties import all_agree
from ratesync.providers.hubspot.record import properties_of

Written = Mapping[str, str]


def match_created(written: Mapping[str, Written], records: Sequence[Record]) -> dict[str, Record]:
    """The created records by the ids of their operations, as far as it is sure. Position says nothing.

    A record is an operation's if it has all that the operation wrote and no other operation could have written it.
    Operations that wrote exactly the same are worth the same, so each gets one of their records.

    :param written: the properties that each operation sent, by the operation's id; without those known to have failed.
    """
    groups = _alike(written)
    # Where some are missing, a record must not pass for the one of an operation that wrote less than its own.
    names = set[str]()
    if len(written) != len(records):
        names = {name for properties in written.values() for name in properties}
    candidates = {
        place: {number for number, (properties, _) in enumerate(groups) if _fits(properties, record, names)}
        for place, record in enumerate(records)
    }
    matched: dict[str, Record] = {}
    while True:
        forced = _forced(groups, candidates)
        if not forced:
            return matched
        for number, places in forced.items():
            identities = groups[number][1]
            # More records than operations that could have written them: something else is wrong here, so none is sure.
            if len(places) <= len(identities):
                matched |= {identity: records[place] for identity, place in zip(identities, places, strict=False)}
            del identities[: len(places)]
            for place in places:
                del candidates[place]
        full = {number for number, (_, identities) in enumerate(groups) if not identities}
        candidates = {place: numbers - full for place, numbers in candidates.items()}


def _fits(properties: Written, record: Record, names: AbstractSet[str]) -> bool:
    """Tell whether the record has all of the properties, and none of the others that are named."""
    held = properties_of(record)
    return all_agree(properties, held) and not any(held.get(name) for name in names - properties.keys())


def _alike(written: Mapping[str, Written]) -> list[tuple[Written, list[str]]]:
    """What was written, each with the operations that wrote exactly that."""
    groups: dict[frozenset[tuple[str, str]], tuple[Written, list[str]]] = {}
    for identity, properties in written.items():
        groups.setdefault(frozenset(properties.items()), (properties, []))[1].append(identity)
    return list(groups.values())


def _forced(groups: Sequence[tuple[Written, list[str]]], candidates: Mapping[int, set[int]]) -> dict[int, list[int]]:
    """The records that only one group can have written, by the group."""
    forced: dict[int, list[int]] = {}
    for place, numbers in candidates.items():
        if len(numbers) == 1:
            forced.setdefault(next(iter(numbers)), []).append(place)
    return {number: places for number, places in forced.items() if groups[number][1]}
