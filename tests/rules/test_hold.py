from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.quota import Scope
from ratesync.rules.hold import Holds

NOW = 1_700_000_000.0
PROVIDER, ADA, BOB = Scope("acme"), Scope("acme", "ada"), Scope("acme", "bob")
CONTACTS, DEALS = Scope("acme", "ada", "contacts"), Scope("acme", "ada", "deals")


def test_a_hold_covers_the_connection_and_its_resources() -> None:
    holds = Holds()
    holds.hold(CONTACTS, NOW + 30, NOW)
    assert [holds.free_at(scope, NOW) for scope in (ADA, CONTACTS, DEALS)] == [NOW + 30] * 3


def test_a_hold_leaves_other_connections_and_the_provider_alone() -> None:
    holds = Holds()
    holds.hold(ADA, NOW + 30, NOW)
    assert [holds.free_at(scope, NOW) for scope in (PROVIDER, BOB, Scope("other", "ada"))] == [NOW] * 3


def test_a_whole_provider_is_never_held() -> None:
    holds = Holds()
    holds.hold(PROVIDER, NOW + 30, NOW)
    assert not holds.exist(NOW)


def test_the_longer_hold_stays() -> None:
    holds = Holds()
    holds.hold(ADA, NOW + 30, NOW)
    holds.hold(ADA, NOW + 10, NOW)
    assert holds.free_at(ADA, NOW) == NOW + 30
    holds.hold(ADA, NOW + 60, NOW)
    assert holds.free_at(ADA, NOW + 30) == NOW + 60


def test_a_hold_that_has_passed_is_dropped() -> None:
    holds = Holds()
    holds.hold(ADA, NOW + 30, NOW)
    holds.hold(ADA, NOW + 60, NOW)
    assert holds.exist(NOW + 59.9)
    assert not holds.exist(NOW + 60)
    assert holds.free_at(ADA, NOW + 61) == NOW + 61


def test_a_hold_until_now_is_none() -> None:
    holds = Holds()
    holds.hold(ADA, NOW, NOW)
    assert not holds.exist(NOW)


@given(st.lists(st.tuples(st.sampled_from([ADA, BOB]), st.integers(0, 20), st.integers(0, 5))))
def test_each_connection_is_held_until_its_latest_end(steps: list[tuple[Scope, int, int]]) -> None:
    holds, latest, now = Holds(), {ADA: 0.0, BOB: 0.0}, NOW
    for scope, length, wait in steps:
        holds.hold(scope, now + length, now)
        latest[scope] = max(latest[scope], now + length)
        now += wait
        assert all(holds.free_at(held, now) == max(now, until) for held, until in latest.items())
        assert holds.exist(now) == any(until > now for until in latest.values())
