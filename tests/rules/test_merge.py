from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.conflict import Defer, FieldConflict, Loser, Resolution, SetValue, Take
from ratesync.model.difference import ABSENT, NOT_KNOWN, Side
from ratesync.rules.merge import Merge, merge, next_base
from ratesync.rules.sameness import is_same

NAMES = ("a", "b", "c")
values = st.sampled_from([None, "", "x", "X", 0, 1, 1.0, True, [1], [True], {"k": 1}])
views = st.dictionaries(st.sampled_from(NAMES), values)
bases = st.none() | views
resolutions: st.SearchStrategy[Resolution] = st.sampled_from(
    [
        Take(Side.LOCAL),
        Take(Side.EXTERNAL),
        SetValue("third"),
        SetValue(ABSENT),
        Defer("ask"),
    ]
)


def patched(view: Any, patch: Any) -> dict[str, Any]:
    return {name: value for name, value in {**view, **patch}.items() if value is not ABSENT}


def base_of(base: Any, name: str) -> Any:
    return NOT_KNOWN if base is None else base.get(name, ABSENT)


@given(bases, bases, views, views, resolutions)
def test_every_changed_field_ends_alike_and_every_dropped_change_is_told(
    base_local: Any, base_external: Any, local: Any, external: Any, resolution: Resolution
) -> None:
    merged = merge(base_local, base_external, local, external, lambda _: resolution)
    new_local, new_external = patched(local, merged.to_local), patched(external, merged.to_external)
    deferred = {conflict.name for conflict in merged.deferred}
    told = [(loser.name, loser.side) for loser in merged.losers]
    for name in NAMES:
        lost: list[tuple[str, Side]] = []
        changed = False
        for side, base, old, new in (
            (Side.LOCAL, base_local, local, new_local),
            (Side.EXTERNAL, base_external, external, new_external),
        ):
            before, after = old.get(name, ABSENT), new.get(name, ABSENT)
            is_changed = not is_same(before, base_of(base, name))
            changed |= is_changed
            if is_changed and not is_same(before, after):
                lost.append((name, side))
            if not is_changed and name in deferred:
                pytest.fail("a field that one side left alone is no conflict")
        assert [one for one in told if one[0] == name] == lost
        if name in deferred or not changed:
            assert name not in merged.to_local
            assert name not in merged.to_external
        else:
            assert is_same(new_local.get(name, ABSENT), new_external.get(name, ABSENT))


@given(bases, bases, views, views, resolutions)
def test_what_was_merged_is_idle_and_what_was_deferred_is_still_asked(
    base_local: Any, base_external: Any, local: Any, external: Any, resolution: Resolution
) -> None:
    merged = merge(base_local, base_external, local, external, lambda _: resolution)
    # The external side spells strings its own way: one base for both would write for ever.
    new_local = patched(local, merged.to_local)
    written = {name: v.upper() if isinstance(v, str) else v for name, v in merged.to_external.items()}
    new_external = patched(external, written)
    again = merge(
        next_base(base_local, new_local, merged.deferred),
        next_base(base_external, new_external, merged.deferred),
        new_local,
        new_external,
        lambda _: Defer("ask"),
    )
    assert (again.to_local, again.to_external, again.losers) == ({}, {}, ())
    assert again.deferred == merged.deferred


@given(bases, bases, views, views)
def test_the_sides_are_treated_alike(base_local: Any, base_external: Any, local: Any, external: Any) -> None:
    one = merge(base_local, base_external, local, external, lambda _: Take(Side.LOCAL))
    other = merge(base_external, base_local, external, local, lambda _: Take(Side.LOCAL.other))
    assert is_same(one.to_local, other.to_external)
    assert is_same(one.to_external, other.to_local)
    assert Side.EXTERNAL.other is Side.LOCAL


def test_a_third_value_drops_both() -> None:
    seen: list[FieldConflict] = []

    def resolve(conflict: FieldConflict) -> Resolution:
        seen.append(conflict)
        return SetValue(3)

    merged = merge({"a": 0}, {"a": 0}, {"a": 1}, {"a": True}, resolve)
    assert seen == [FieldConflict("a", 0, 0, 1, True)]
    assert merged.to_local == merged.to_external == {"a": 3}
    assert merged.losers == (Loser("a", Side.LOCAL, 1, 3), Loser("a", Side.EXTERNAL, True, 3))
    assert "True" not in repr(merged)


barred = st.frozensets(st.tuples(st.sampled_from(NAMES), st.sampled_from(Side)))
"""Fields that may not be written, each on a side."""


@given(st.tuples(bases, bases), views, views, resolutions, barred)
def test_a_field_that_may_not_be_written_is_pending_and_all_others_are_as_without_it(
    both_bases: tuple[Any, Any],
    local: Any,
    external: Any,
    resolution: Resolution,
    barred: frozenset[tuple[str, Side]],
) -> None:
    def may_write(name: str, side: Side, _value: Any) -> bool:
        return (name, side) not in barred

    free = merge(*both_bases, local, external, lambda _: resolution)
    found = merge(*both_bases, local, external, lambda _: resolution, may_write=may_write)
    stopped = {name for name in free.to_local if (name, Side.LOCAL) in barred}
    stopped |= {name for name in free.to_external if (name, Side.EXTERNAL) in barred}
    assert {conflict.name for conflict in found.pending} == stopped
    assert found.to_local == {name: value for name, value in free.to_local.items() if name not in stopped}
    assert found.to_external == {name: value for name, value in free.to_external.items() if name not in stopped}
    assert found.losers == tuple(loser for loser in free.losers if loser.name not in stopped)
    assert found.deferred == free.deferred


def test_the_value_of_a_conflict_that_may_not_be_written_drops_nothing() -> None:
    found = merge(
        {"a": 0},
        {"a": 0},
        {"a": 1},
        {"a": 2},
        lambda _: Take(Side.LOCAL),
        may_write=lambda _name, _side, value: value != 1,
    )
    assert [conflict.name for conflict in found.pending] == ["a"]
    assert found == Merge({}, {}, pending=found.pending)
