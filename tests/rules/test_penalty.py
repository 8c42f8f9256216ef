from __future__ import annotations

from ratesync.model.feedback import Reading
from ratesync.rules.penalty import PenaltyBox

NOW = 1_700_000_000.0


def test_nothing_is_held_before_a_refusal() -> None:
    box = PenaltyBox(30)
    assert box.limit is None
    assert box.take(1_000_000, NOW)
    assert box.free_at(1_000_000, NOW) == box.earliest_at(1, NOW) == NOW
    assert box.used(NOW) == 0
    assert box.is_idle(NOW)


def test_a_refusal_holds_everything_until_its_seconds_have_passed() -> None:
    box = PenaltyBox(30)
    box.refuse(NOW, is_sure=False)
    assert not box.take(1, NOW + 29.999)
    assert not box.is_idle(NOW + 29.999)
    assert box.free_at(1, NOW + 10) == box.earliest_at(1, NOW + 10) == NOW + 30
    assert box.take(1, NOW + 30)
    assert box.is_idle(NOW + 30)


def test_another_refusal_begins_it_again() -> None:
    box = PenaltyBox(30)
    box.refuse(NOW, is_sure=True)
    box.refuse(NOW + 20, is_sure=True)
    assert box.free_at(1, NOW + 40) == NOW + 50


def test_calls_and_readings_change_nothing() -> None:
    box = PenaltyBox(30)
    box.refuse(NOW, is_sure=True)
    box.settle(1, 1, NOW, NOW + 1)
    box.refund(1)
    box.learn(Reading(limit=10, remaining=10, reset_after=0), NOW, NOW + 1)
    assert box.free_at(1, NOW + 1) == NOW + 30
    assert box.used(NOW + 1) == 0
