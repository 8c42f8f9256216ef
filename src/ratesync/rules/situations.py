"""What a pass may do about a record, by the situation that it finds it in."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ratesync.model.difference import Side
from ratesync.model.direction import Direction
from ratesync.rules.first_match import Situation


class Response(StrEnum):
    """What is done about it."""

    LINK = "link"
    """The two are kept alike from now on. What differs at their first meeting is a conflict."""
    CREATE = "create"
    """The record is made on the side that lacks it."""
    IGNORE = "ignore"
    """Nothing, until the record changes."""
    REPORT = "report"
    """Nothing, but each pass looks at it again and counts it among those left, until somebody has seen to it."""


CHOICES: Mapping[Situation, tuple[Response, ...]] = {
    Situation.UNLINKED_MATCH: (Response.LINK, Response.IGNORE, Response.REPORT),
    Situation.AMBIGUOUS: (Response.REPORT, Response.IGNORE),
    Situation.CLAIMED: (Response.REPORT, Response.IGNORE),
    Situation.LOCAL_ONLY: (Response.CREATE, Response.IGNORE, Response.REPORT),
    Situation.EXTERNAL_ONLY: (Response.CREATE, Response.IGNORE, Response.REPORT),
    Situation.OUT_OF_SCOPE: (Response.IGNORE, Response.REPORT),
}
"""What can be chosen, the default first. Other situations leave no choice here: those of linked records whose other
half is gone are decided by the :class:`~ratesync.rules.reconcile.GonePolicy`."""

Policy = Mapping[Situation, Response]

_MADE_ON = {Situation.LOCAL_ONLY: Side.EXTERNAL, Situation.EXTERNAL_ONLY: Side.LOCAL}


def complete(chosen: Policy, direction: Direction) -> Policy:
    """The policy with defaults for what is not chosen. What would write to a side that is not written is ignored.

    :raises ValueError: a choice is not possible; the message tells which are.
    """
    for situation, response in chosen.items():
        choices = CHOICES.get(situation)
        if choices is None:
            raise ValueError(f"policy: {situation!r} leaves no choice; see GonePolicy for records that are gone")
        if response not in choices:
            raise ValueError(f"policy: {situation!r} can be answered by {_listed(choices)}, not by {response!r}")
        if response is Response.CREATE and _MADE_ON[situation] not in direction.written:
            raise ValueError(f"policy: {situation!r} cannot be answered by 'create' with direction {direction!r}")
    defaults = {situation: choices[0] for situation, choices in CHOICES.items()}
    for situation, side in _MADE_ON.items():
        if side not in direction.written:
            defaults[situation] = Response.IGNORE
    return defaults | dict(chosen)


def _listed(choices: tuple[Response, ...]) -> str:
    return ", ".join(repr(str(choice)) for choice in choices)
