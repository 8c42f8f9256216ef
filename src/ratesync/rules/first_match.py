"""Which records of two sides are the same, before any of them is linked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from attrs import frozen

from ratesync.model.difference import Side

Place = tuple[Side, str]
"""A record: its side, and its id there."""


class Situation(StrEnum):
    """What a look at both sides found of a record."""

    UNLINKED_MATCH = "unlinked match"
    """One record on each side has the key, and neither is linked."""
    AMBIGUOUS = "ambiguous"
    """Several records of a side have the key: nobody can tell which is meant."""
    CLAIMED = "claimed"
    """The record has the key of one that is linked already, or that an earlier key makes the same as another."""
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
    """What a record was found to be; and the records that it is about: itself, and its other half if it has one."""

    situation: Situation
    places: tuple[Place, ...]


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


def first_match(record: Place, sharing: Mapping[Place, Sequence[Collection[Place]]], taken: Collection[Place]) -> Match:
    """The situation of a record that is not linked.

    The first key decides that it shares with any other record, be it of its own side. Records are never paired by
    guess: where more than one pair is possible, none is made.

    :param sharing: of each record, the others that share a key with it, for each key in order.
    :param taken: records that are linked.
    """
    side = record[0]
    for rank, others in enumerate(sharing.get(record, ())):
        if not others:
            continue
        if any(other in taken for other in others):
            return Match(Situation.CLAIMED, (record,))
        if len(others) > 1 or any(other[0] is side for other in others):
            return Match(Situation.AMBIGUOUS, (record,))
        (other,) = others
        if any(set(nearer) - {record} for nearer in sharing.get(other, ())[:rank]):
            return Match(Situation.CLAIMED, (record,))
        return Match(Situation.UNLINKED_MATCH, (record, other))
    return Match(Situation.LOCAL_ONLY if side is Side.LOCAL else Situation.EXTERNAL_ONLY, (record,))
