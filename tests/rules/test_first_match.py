from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.first_match import Match, SideKeys, Situation, first_match

keys = st.dictionaries(st.sampled_from("123456"), st.sampled_from(["k", "m", None]))


@st.composite
def sides(draw: st.DrawFn) -> SideKeys:
    found = draw(keys)
    return SideKeys(found, frozenset(name for name in found if draw(st.booleans())))


@pytest.mark.parametrize(
    ("local", "external", "found"),
    [
        (SideKeys({"1": "k"}), SideKeys({"9": "k"}), [Match(Situation.UNLINKED_MATCH, ("1",), ("9",))]),
        (SideKeys({"1": "k", "2": "k"}), SideKeys({"9": "k"}), [Match(Situation.AMBIGUOUS, ("1", "2"), ("9",))]),
        (SideKeys({"1": "k", "2": "k"}), SideKeys({}), [Match(Situation.AMBIGUOUS, ("1", "2"))]),
        (SideKeys({"1": "k"}), SideKeys({"9": "k"}, frozenset({"9"})), [Match(Situation.CLAIMED, ("1",))]),
        (
            SideKeys({"1": "k"}),
            SideKeys({"9": "m"}),
            [Match(Situation.EXTERNAL_ONLY, (), ("9",)), Match(Situation.LOCAL_ONLY, ("1",))],
        ),
        (
            SideKeys({"1": None}),
            SideKeys({"9": None}),
            [Match(Situation.EXTERNAL_ONLY, (), ("9",)), Match(Situation.LOCAL_ONLY, ("1",))],
        ),
        (SideKeys({"1": "k"}, frozenset({"1"})), SideKeys({"9": "k"}, frozenset({"9"})), []),
    ],
)
def test_each_situation(local: SideKeys, external: SideKeys, found: list[Match]) -> None:
    assert first_match(local, external) == found


@given(sides(), sides())
def test_every_unlinked_record_is_told_once_and_only_sure_pairs_match(local: SideKeys, external: SideKeys) -> None:
    found = first_match(local, external)
    assert Counter(i for match in found for i in match.local_ids) == Counter(local.keys.keys() - local.linked)
    assert Counter(i for match in found for i in match.external_ids) == Counter(external.keys.keys() - external.linked)
    for match in found:
        if match.situation is Situation.UNLINKED_MATCH:
            key = local.keys[match.local_ids[0]]
            assert key is not None
            assert [i for i, other in local.keys.items() if other == key] == list(match.local_ids)
            assert [i for i, other in external.keys.items() if other == key] == list(match.external_ids)
