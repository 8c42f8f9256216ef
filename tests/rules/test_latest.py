"""The value that was written last: never by a difference that two clocks may make by themselves."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.change_time import Certainty, ChangeTime
from ratesync.model.conflict import Defer, FieldConflict, Take
from ratesync.model.difference import NOT_KNOWN, Side
from ratesync.rules.resolvers import latest

instants = st.integers(0, 200).map(float)
gaps = st.integers(0, 50).map(float)
modes = st.sampled_from(["field", "record"])
maybe = st.none() | instants


@st.composite
def told(draw: st.DrawFn) -> ChangeTime | None:
    """A field is never changed later than its record."""
    record_at, field_at = draw(maybe), draw(maybe)
    if record_at is not None and field_at is not None:
        record_at, field_at = max(record_at, field_at), min(record_at, field_at)
    return draw(st.none() | st.just(ChangeTime(record_at, field_at)))


def conflict(local: ChangeTime | None, external: ChangeTime | None) -> FieldConflict:
    return FieldConflict("a", NOT_KNOWN, NOT_KNOWN, "here", "there", local, external)


def swapped(resolution: Any) -> Any:
    return Take(resolution.side.other) if isinstance(resolution, Take) else resolution


@given(told(), told(), gaps, modes, st.none() | st.sampled_from(Side))
def test_the_sides_are_treated_alike(here: Any, there: Any, gap: float, by: Any, tie: Side | None) -> None:
    resolve = latest(min_gap=gap, by=by, tie=tie)
    turned = latest(min_gap=gap, by=by, tie=None if tie is None else tie.other)
    assert resolve(conflict(here, there)) == swapped(turned(conflict(there, here)))
    assert resolve(conflict(here, there)) == resolve(conflict(here, there))


@given(told(), told(), gaps, st.floats(-1, 1), modes)
def test_clocks_that_are_apart_as_far_as_declared_never_make_the_older_one_win(
    here: ChangeTime | None, there: ChangeTime | None, gap: float, skew: float, by: Literal["field", "record"]
) -> None:
    """``here`` and ``there`` are true times; the provider's clock is off by up to the gap."""

    def shifted(at: float | None) -> float | None:
        return None if at is None else at + skew * gap

    observed = there and ChangeTime(shifted(there.record_at), shifted(there.field_at))
    found = latest(min_gap=gap, by=by)(conflict(here, observed))
    if isinstance(found, Defer):
        return
    assert isinstance(found, Take)
    assert here is not None
    assert there is not None
    winner, loser = (here, there) if found.side is Side.LOCAL else (there, here)
    if by == "record":
        assert winner.record_at is not None
        assert loser.record_at is not None
        assert winner.record_at > loser.record_at - 1e-9
    else:
        assert winner.field_at is not None  # a field whose own time is not told never wins
        assert loser.at is not None
        assert winner.field_at > loser.at - 1e-9


@given(told(), told(), gaps, modes, st.floats(1, 1e6))
def test_a_greater_gap_decides_no_more(here: Any, there: Any, gap: float, by: Any, more: float) -> None:
    wide, narrow = latest(min_gap=gap + more, by=by), latest(min_gap=gap, by=by)
    assert wide(conflict(here, there)) in (
        narrow(conflict(here, there)),
        Defer("it is not certain which value is the latest"),
    )


@pytest.mark.parametrize("silent", [None, ChangeTime(None, None)])
def test_a_side_that_tells_no_time_decides_nothing(silent: ChangeTime | None) -> None:
    for resolve in latest(min_gap=5), latest(min_gap=5, by="record", tie=Side.LOCAL):
        assert isinstance(resolve(conflict(silent, ChangeTime(200.0, 100.0))), Defer)
        assert isinstance(resolve(conflict(ChangeTime(200.0, 100.0), silent)), Defer)


def test_a_record_that_changed_before_the_field_did_loses_and_one_that_changed_after_decides_nothing() -> None:
    resolve = latest(min_gap=5)
    certain = ChangeTime(200.0, 100.0)
    assert resolve(conflict(certain, ChangeTime(94.0))) == Take(Side.LOCAL)
    assert isinstance(resolve(conflict(certain, ChangeTime(95.0))), Defer)
    assert isinstance(resolve(conflict(certain, ChangeTime(300.0))), Defer)
    assert isinstance(resolve(conflict(ChangeTime(1.0), ChangeTime(300.0))), Defer)
    assert latest(min_gap=5, by="record")(conflict(ChangeTime(1.0), ChangeTime(300.0))) == Take(Side.EXTERNAL)


def test_a_tie_is_of_two_times_that_are_known() -> None:
    resolve = latest(min_gap=5, tie=Side.EXTERNAL)
    near = conflict(ChangeTime(field_at=1.0), ChangeTime(field_at=6.0))
    assert resolve(near) == Take(Side.EXTERNAL)
    assert resolve(evolve(near, external_change=ChangeTime(field_at=6.5))) == Take(Side.EXTERNAL)
    assert isinstance(resolve(evolve(near, external_change=ChangeTime(record_at=6.0))), Defer)
    assert isinstance(resolve(evolve(near, external_change=None)), Defer)


def test_what_a_time_says_of_a_field() -> None:
    assert (ChangeTime(2.0).at, ChangeTime(2.0).certainty) == (2.0, Certainty.POSSIBLE)
    assert (ChangeTime(2.0, 1.0).at, ChangeTime(2.0, 1.0).certainty) == (1.0, Certainty.CERTAIN)


@pytest.mark.parametrize("gap", [-1.0, float("nan"), float("inf")])
def test_a_gap_is_a_number_of_seconds(gap: float) -> None:
    with pytest.raises(ValueError, match="min_gap"):
        latest(min_gap=gap)
