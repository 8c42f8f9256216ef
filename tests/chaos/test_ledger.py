"""The ledger finds what is wrong: else a chaos that it calls clean proves nothing."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from tests.chaos.ledger import Attempt, Death, account, attempts_in, most_at_once

A, B, C = (Attempt(f"o{number}", "k", number, 1, number, number + 0.5) for number in range(3))
ACCEPTED = {f"o{number}": ("k", number) for number in range(3)}


def check(*attempts: Attempt, deaths: tuple[Death, ...] = (), server: tuple[float, ...] = ()) -> list[str]:
    found = account(ACCEPTED, sorted(attempts, key=lambda attempt: attempt.started_at), deaths, server, 0.2)
    assert found.is_clean == (not (found.lost or found.unexplained or found.disordered or found.overlapping))
    return [name for name in ("lost", "unexplained", "disordered", "overlapping") if getattr(found, name)]


def test_a_clean_run() -> None:
    assert check(A, B, C) == []


def test_a_lost_operation() -> None:
    assert check(A, C) == ["lost"]
    assert check(A, C, evolve(B, ended_at=None)) == ["lost"]


def test_a_repetition_that_nothing_explains() -> None:
    assert check(A, B, evolve(B, started_at=1.8, ended_at=1.9), C) == ["unexplained"]


@pytest.mark.parametrize("at", [1.2, 1.6])
def test_a_repetition_after_a_death_in_the_call_or_right_after_it(at: float) -> None:
    again = evolve(B, worker=2, started_at=1.8, ended_at=1.9)
    assert check(A, B, C, again, deaths=(Death(1, at),)) == []
    assert check(A, B, C, again, server=(at,)) == []
    assert check(A, B, C, again, deaths=(Death(2, at),)) == ["unexplained"]


def test_a_death_long_after_the_call_explains_nothing() -> None:
    assert check(A, B, C, evolve(B, started_at=5, ended_at=6), deaths=(Death(1, 4.0),)) == ["unexplained"]


def test_an_order_that_was_not_kept() -> None:
    assert check(A, evolve(C, started_at=1, ended_at=1.5), evolve(B, started_at=2, ended_at=2.5)) == ["disordered"]


def test_a_repetition_of_an_earlier_one_is_no_disorder() -> None:
    dead = evolve(B, ended_at=None)
    again = evolve(B, worker=2, started_at=1.9, ended_at=1.95)
    assert check(A, dead, again, evolve(C, worker=2), deaths=(Death(1, 1.2),)) == []


def test_two_workers_at_one_key() -> None:
    assert check(A, B, evolve(C, worker=2, started_at=1.2, ended_at=1.4)) == ["overlapping"]
    assert check(A, B, evolve(C, worker=2, started_at=1.2, ended_at=1.4), deaths=(Death(1, 1.1),)) == []


def test_an_earlier_one_repeated_after_a_later_one() -> None:
    """The provider is left with what the earlier one wrote."""
    again, last = evolve(B, worker=3, started_at=3, ended_at=3.5), evolve(C, worker=2)
    assert check(A, B, last, again, deaths=(Death(1, 1.6),)) == ["disordered"]
    assert check(A, B, last, again, deaths=(Death(1, 1.6), Death(3, 2.0))) == []


def test_two_workers_at_one_key_one_of_which_dies_in_its_call() -> None:
    dead, other = evolve(B, ended_at=None), evolve(B, worker=2, started_at=1.2, ended_at=1.4)
    assert check(A, dead, other, C, deaths=(Death(1, 1.3),)) == ["overlapping"]
    assert check(A, dead, other, evolve(C, worker=2), deaths=(Death(1, 1.1),)) == []


def test_a_call_that_never_ended_although_nobody_died() -> None:
    again = evolve(B, worker=2, started_at=1.8, ended_at=1.9)
    assert check(A, evolve(B, ended_at=None), again, C) == ["unexplained"]


def test_the_most_calls_at_once() -> None:
    beside, endless = evolve(A, worker=2, started_at=0.2, ended_at=1.0), evolve(B, worker=3, ended_at=None)
    assert most_at_once([], []) == 0
    assert most_at_once([A, B, C], []) == 1
    assert most_at_once([A, beside, B], []) == 2, "one that ends as another begins is not beside it"
    assert most_at_once([A, beside, B, C, endless], []) == 2
    assert most_at_once([A, beside], [Death(1, 0.1)]) == 1, "a call ends with its worker"
    assert most_at_once([B, C, endless], [Death(3, 0.5)]) == 1, "a late call is nobody's"


def test_lines_become_attempts() -> None:
    lines = [
        json.dumps(["start", "o", "k", 0, 1, 1.0]),
        json.dumps(["start", "o", "k", 0, 2, 2.0]),
        json.dumps(["end", "o", "k", 0, 2, 3.0]),
    ]
    assert attempts_in(lines) == [Attempt("o", "k", 0, 1, 1.0), Attempt("o", "k", 0, 2, 2.0, 3.0)]
