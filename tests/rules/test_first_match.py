from __future__ import annotations

from typing import Any

import pytest

from ratesync.model.difference import Side
from ratesync.rules.first_match import Match, Place, Situation, first_match

NOBODY: frozenset[Place] = frozenset()
L1, L2, X1, X2 = (Side.LOCAL, "1"), (Side.LOCAL, "2"), (Side.EXTERNAL, "1"), (Side.EXTERNAL, "2")


CASES: list[tuple[Place, dict[Place, list[Any]], Any, Match]] = [
    (L1, {}, NOBODY, Match(Situation.LOCAL_ONLY, (L1,))),
    (X1, {X1: [NOBODY, NOBODY]}, NOBODY, Match(Situation.EXTERNAL_ONLY, (X1,))),
    (L1, {L1: [{X1}]}, NOBODY, Match(Situation.UNLINKED_MATCH, (L1, X1))),
    (L1, {L1: [{X1, X2}]}, NOBODY, Match(Situation.AMBIGUOUS, (L1,))),
    (L1, {L1: [{L2}]}, NOBODY, Match(Situation.AMBIGUOUS, (L1,))),
    (L1, {L1: [{X1}]}, {X1}, Match(Situation.CLAIMED, (L1,))),
    (L1, {L1: [{X1, X2}]}, {X2}, Match(Situation.CLAIMED, (L1,))),
    # The first key that any other shares decides.
    (L1, {L1: [NOBODY, {X1}]}, NOBODY, Match(Situation.UNLINKED_MATCH, (L1, X1))),
    (L1, {L1: [{X1}, {X2}]}, NOBODY, Match(Situation.UNLINKED_MATCH, (L1, X1))),
    (L1, {L1: [{X1}, NOBODY]}, {X1}, Match(Situation.CLAIMED, (L1,))),
    # Who else shares an earlier key with the other one has the nearer claim to it.
    (L1, {L1: [NOBODY, {X1}], X1: [{L2}, NOBODY]}, NOBODY, Match(Situation.CLAIMED, (L1,))),
    (L1, {L1: [NOBODY, {X1}], X1: [{L1}, NOBODY]}, NOBODY, Match(Situation.UNLINKED_MATCH, (L1, X1))),
    (L1, {L1: [NOBODY, {X1}], X1: [NOBODY, {L1, L2}]}, NOBODY, Match(Situation.UNLINKED_MATCH, (L1, X1))),
]


@pytest.mark.parametrize(("record", "sharing", "taken", "found"), CASES)
def test_each_situation(record: Place, sharing: Any, taken: Any, found: Match) -> None:
    assert first_match(record, sharing, taken) == found
