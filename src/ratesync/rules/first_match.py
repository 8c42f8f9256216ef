"""Which records of two sides are the same, before any of them is linked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from enum import StrEnum

from attrs import frozen

from ratesync.model.difference import Side


class Situation(StrEnum):
    """What a look at both sides found of a record."""

    UNLINKED_MATCH = "unlinked match"
    """One record on each side has the key, and neither is linked."""
    AMBIGUOUS = "ambiguous"
    """Several records of a side have the key: nobody can tell which is meant."""
    CLAIMED = "claimed"
    """The record has the key of one that is linked already."""
    LOCAL_ONLY = "local only"
    EXTERNAL_ONLY = "external only"
    LINKED = "linked"
    """Both records are there, and known to be one."""
    MISSING_LOCAL = "missing local"
    """A linked record is gone on the local side."""
    MISSING_EXTERNAL = "missing external"
    BOTH_GONE = "both gone"
    OUT_OF_SCOPE = "out of scope"
    """The binding's ``scope`` says that it is none of its records, on either side."""


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


def situation_of(bases: tuple[object, object], present: frozenset[Side]) -> Situation:
    """The situation of a link, by its bases (local, external) and by which records are there.

    A link that was never synced is being made: whichever record it lacks was never there.
    """
    was_synced = bases != (None, None)
    if Side.LOCAL in present:
        if Side.EXTERNAL in present:
            return Situation.LINKED
        return Situation.MISSING_EXTERNAL if was_synced else Situation.LOCAL_ONLY
    if Side.EXTERNAL in present:
        return Situation.MISSING_LOCAL if was_synced else Situation.EXTERNAL_ONLY
    return Situation.BOTH_GONE


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
