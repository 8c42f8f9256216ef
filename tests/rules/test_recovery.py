from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.conflict import Defer, FieldConflict, Loser, Resolution, SetValue, Take
from ratesync.model.difference import ABSENT, Side
from ratesync.model.held import Held
from ratesync.model.intent import Decided, Deleting
from ratesync.model.record import Record
from ratesync.rules.merge import Merge, merge
from ratesync.rules.recovery import Standing, may_delete, recover, recovered_base, standing
from ratesync.rules.sameness import is_same

values = st.sampled_from([None, "", "x", 0, 1, True])
views = st.dictionaries(st.sampled_from(("a", "b")), values)
decisions = st.builds(
    Decided,
    st.dictionaries(st.sampled_from(("a", "b")), values | st.just(ABSENT)),
    views,
    views,
    st.just((Loser("z", Side.LOCAL, 1),)),
)
resolutions: st.SearchStrategy[Resolution] = st.sampled_from(
    [
        Take(Side.LOCAL),
        Take(Side.EXTERNAL),
        SetValue("third"),
        Defer("ask"),
    ]
)


def silently_lost(decided: Decided, local: Any, external: Any, found: Merge) -> list[str]:
    """Values newer than the decision that are overwritten and not told."""
    told = {(loser.name, loser.side) for loser in found.losers}
    return [
        name
        for side, view, before, patch in (
            (Side.LOCAL, local, decided.pre_local, found.to_local),
            (Side.EXTERNAL, external, decided.pre_external, found.to_external),
        )
        for name in patch
        if not is_same(view.get(name, ABSENT), before.get(name, ABSENT))
        and not is_same(view.get(name, ABSENT), decided.view.get(name, ABSENT))
        and (name, side) not in told
    ]


@given(decisions, views, views, resolutions)
def test_no_newer_value_is_lost_silently_and_the_sides_end_alike(
    decided: Decided, local: Any, external: Any, resolution: Resolution
) -> None:
    found = recover(decided, local, external, lambda _: resolution)
    assert silently_lost(decided, local, external, found) == []
    assert found.losers[:1] == decided.losers
    deferred = {conflict.name for conflict in found.deferred}
    assert {*found.to_local, *found.to_external} <= set(decided.view)
    for name in decided.view:
        here = found.to_local.get(name, local.get(name, ABSENT))
        there = found.to_external.get(name, external.get(name, ABSENT))
        if name in deferred:
            assert name not in {*found.to_local, *found.to_external}
        else:
            assert is_same(here, there)


def roll_forward(decided: Decided, local: Any, external: Any) -> Merge:
    """The mistake: the decision is carried out, whatever was written since."""
    return Merge(
        {name: value for name, value in decided.view.items() if not is_same(local.get(name, ABSENT), value)},
        {name: value for name, value in decided.view.items() if not is_same(external.get(name, ABSENT), value)},
        decided.losers,
    )


def test_rolling_forward_regardless_would_lose_an_edit() -> None:
    decided = Decided({"a": "pushed"}, {"a": "pushed"}, {"a": "old"})
    local, external = {"a": "pushed"}, {"a": "edited since"}
    assert silently_lost(decided, local, external, roll_forward(decided, local, external)) == ["a"]
    found = recover(decided, local, external, lambda _: Take(Side.LOCAL))
    assert found == Merge({}, {"a": "pushed"}, (Loser("a", Side.EXTERNAL, "edited since", "pushed"),))


@pytest.mark.parametrize("done", ["old", "pushed"])
def test_an_undisturbed_decision_is_carried_out_from_where_it_stopped(done: str) -> None:
    decided = Decided({"a": "pushed"}, {"a": "pushed"}, {"a": "old"})
    found = recover(decided, {"a": "pushed"}, {"a": done}, lambda _: Defer("not asked"))
    assert found == Merge({}, {"a": "pushed"} if done == "old" else {})


def test_who_saw_the_decided_value_wins_without_a_conflict() -> None:
    assert standing("newer", "pushed", "pushed") is Standing.SUPERSEDES
    decided = Decided({"a": "pushed"}, {"a": "pushed"}, {"a": "old"})
    found = recover(decided, {"a": "newer"}, {"a": "pushed"}, lambda _: Defer("not asked"))
    assert found == Merge({}, {"a": "newer"})


def test_two_newer_values_that_are_the_same_are_no_conflict() -> None:
    decided = Decided({"a": 1}, {"a": 0}, {"a": 2})
    assert recover(decided, {"a": 3}, {"a": 3}, lambda _: Defer("not asked")) == Merge({}, {})


def test_a_conflict_that_is_deferred_leaves_both_sides_alone() -> None:
    decided = Decided({"a": "decided"}, {"a": "old"}, {"a": "older"})
    found = recover(decided, {"a": "new here"}, {"a": "new there"}, lambda _: Defer("ask"))
    assert [conflict.name for conflict in found.deferred] == ["a"]
    assert not found.to_local
    assert not found.to_external


@pytest.mark.parametrize(("resolution", "value"), [(Take(Side.LOCAL), "new here"), (SetValue("third"), "third")])
def test_a_conflict_that_is_resolved_keeps_what_it_drops(resolution: Resolution, value: str) -> None:
    decided = Decided({"a": "decided"}, {"a": "old"}, {"a": "older"})
    found = recover(decided, {"a": "new here"}, {"a": "new there"}, lambda _: resolution)
    assert found.to_external == {"a": value}
    assert Loser("a", Side.EXTERNAL, "new there", value) in found.losers


@given(decisions, views, views, resolutions, st.sampled_from(Side))
def test_what_may_not_be_written_now_is_pending_and_nothing_of_it_is_told_as_lost(
    decided: Decided, local: Any, external: Any, resolution: Resolution, barred: Side
) -> None:
    def may_write(name: str, side: Side, _value: Any) -> bool:
        return name != "a" or side is not barred

    free = recover(decided, local, external, lambda _: resolution)
    found = recover(decided, local, external, lambda _: resolution, may_write)
    is_stopped = "a" in (free.to_local if barred is Side.LOCAL else free.to_external)
    assert [conflict.name for conflict in found.pending] == ["a"] * is_stopped
    for patch, whole in ((found.to_local, free.to_local), (found.to_external, free.to_external)):
        assert patch == {name: value for name, value in whole.items() if not (is_stopped and name == "a")}
    assert found.losers == tuple(loser for loser in free.losers if not (is_stopped and loser.name == "a"))


def test_what_is_pending_in_a_recovery_says_what_both_sides_held_and_hold() -> None:
    def never(_name: str, _side: Side, _value: Any) -> bool:
        return False

    decided = Decided({"a": "decided"}, {"a": "old"}, {"a": "older"})
    found = recover(decided, {"a": "old"}, {"a": "decided"}, lambda _: Defer("not asked"), never)
    assert found.pending == (FieldConflict("a", "old", "older", "old", "decided"),)


@given(decisions, views, views, views, st.sampled_from(("keep", "defer")))
def test_only_decided_fields_get_a_new_base(decided: Decided, base: Any, local: Any, external: Any, way: str) -> None:
    resolution: Resolution = Defer("ask") if way == "defer" else Take(Side.LOCAL)
    found = recover(decided, local, external, lambda _conflict: resolution)
    held = {name: value for name, value in {**local, **found.to_local}.items() if value is not ABSENT}
    new = recovered_base(base, held, decided, found.deferred)
    assert new is not None
    frozen = {conflict.name for conflict in found.deferred}
    for name in ("a", "b"):
        source = held if name in decided.view and name not in frozen else base
        assert is_same(new.get(name, ABSENT), source.get(name, ABSENT))


def test_an_edit_outside_the_decision_still_reaches_the_other_side() -> None:
    decided = Decided({"a": 1}, {"a": 1, "b": 0}, {"a": 0, "b": 0})
    local, external = {"a": 1, "b": 5}, {"a": 1, "b": 0}
    bases = [recovered_base({"a": 0, "b": 0}, held, decided, ()) for held in (local, external)]
    found = merge(bases[0], bases[1], local, external, lambda _conflict: Defer("not asked"))
    assert found == Merge({}, {"b": 5})


def test_a_decided_field_that_the_side_does_not_hold_leaves_its_base() -> None:
    decided = Decided({"a": ABSENT, "b": 3}, {}, {})
    assert recovered_base({"a": 1, "b": 2, "c": 4}, {"b": 3, "c": 5}, decided, ()) == {"b": 3, "c": 4}


def test_a_base_that_was_not_known_stays_so() -> None:
    assert recovered_base(None, {"a": 1}, Decided({"a": 1}, {}, {}), ()) is None


@pytest.mark.parametrize(
    ("version", "current", "may"),
    [
        ("1", Record("r", {"a": 1}, "1"), True),
        ("1", Record("r", {"a": 1}, "2"), False),
        ("1", Record("r", {"a": 1}), False),
        ("1", None, False),
        (None, None, False),
        (None, Record("r", {"a": 1}), True),
        (None, Record("r", {"a": 2}), False),
        (None, Record("r", {"a": True}), False),
        (None, Record("r", {"a": 1}, "1"), False),
    ],
)
def test_an_old_delete_spares_what_is_new(version: str | None, current: Record | None, may: bool) -> None:
    held = None if current is None else Held(current, current.fields)
    assert may_delete(Deleting(Side.LOCAL, version, {"a": 1}), held) is may


@pytest.mark.parametrize("side", Side)
def test_a_value_that_a_mapping_rounds_is_as_decided(side: Side) -> None:
    """On either side, for a provider may be on both."""
    before: dict[Side, dict[str, Any]] = {side: {"a": 0.0}, side.other: {"a": 1.005}}
    now: dict[Side, dict[str, Any]] = {side: {"a": 1.0}, side.other: {"a": 1.005}}
    spelt: dict[str, Any] = {f"as_{side}": {"a": 1.0}}
    decided = Decided({"a": 1.005}, before[Side.LOCAL], before[Side.EXTERNAL], **spelt)
    found = recover(decided, now[Side.LOCAL], now[Side.EXTERNAL], lambda _conflict: Defer("not asked"))
    assert found.losers == ()
    assert found.deferred == ()
