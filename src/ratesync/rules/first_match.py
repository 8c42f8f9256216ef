"""Which records of two sides are the same, before any of them is linked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from enum import StrEnum

from attrs import frozen


class Situation(StrEnum):
    """What a first look at both sides found of a record."""

    UNLINKED_MATCH = "unlinked match"
    """One record on each side has the key, and neither is linked."""
    AMBIGUOUS = "ambiguous"
    """Several records of a side have the key: nobody can tell which is meant."""
    CLAIMED = "claimed"
    """The record has the key of one that is linked already."""
    LOCAL_ONLY = "local only"
    EXTERNAL_ONLY = "external only"


@frozen
class Match:
    """The records that share a key, or one that has no key or shares it with nobody. Ids are in order."""

    situation: Situation
    local_ids: tuple[str, ...] = ()
    external_ids: tuple[str, ...] = ()


@frozen
class SideKeys:
    """One side's records by id, each with its match key, or None if it has none; and which ids are linked."""

    keys: Mapping[str, Hashable | None]
    linked: frozenset[str] = frozenset()


def first_match(local: SideKeys, external: SideKeys) -> list[Match]:
    """Every record that is not linked, once, with its situation; in an order that depends on nothing else.

    A record without a key matches nothing. Records are never paired by guess: where more than one pair is possible, all
    of them are told together.
    """
    here, there = _by_key(local), _by_key(external)
    found = [_match(local, external, here.get(key, []), there.get(key, [])) for key in {**here, **there}]
    for situation, side in ((Situation.LOCAL_ONLY, local), (Situation.EXTERNAL_ONLY, external)):
        for record_id, key in side.keys.items():
            if key is None and record_id not in side.linked:
                ids = ((record_id,), ()) if side is local else ((), (record_id,))
                found.append(Match(situation, *ids))
    kept = (match for match in found if match.local_ids or match.external_ids)
    return sorted(kept, key=lambda match: (match.local_ids, match.external_ids))


def _by_key(side: SideKeys) -> dict[Hashable, list[str]]:
    groups: defaultdict[Hashable, list[str]] = defaultdict(list)
    for record_id, key in side.keys.items():
        if key is not None:
            groups[key].append(record_id)
    return groups


def _match(local: SideKeys, external: SideKeys, local_all: list[str], external_all: list[str]) -> Match:
    """What the records of one key are to one another."""
    here = tuple(sorted(set(local_all) - local.linked))
    there = tuple(sorted(set(external_all) - external.linked))
    if len(here) < len(local_all) or len(there) < len(external_all):
        return Match(Situation.CLAIMED, here, there)
    if len(here) > 1 or len(there) > 1:
        return Match(Situation.AMBIGUOUS, here, there)
    if here and there:
        return Match(Situation.UNLINKED_MATCH, here, there)
    return Match(Situation.LOCAL_ONLY if here else Situation.EXTERNAL_ONLY, here, there)
