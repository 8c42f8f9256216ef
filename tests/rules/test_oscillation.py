from __future__ import annotations

from itertools import cycle

from ratesync.rules.oscillation import BOTH, OscillationPolicy, Written, note_write

POLICY = OscillationPolicy(max_writes=3, max_turns=8, per=100.0)


def made(whats: str, seconds: float = 1.0, to: str = "x") -> int:
    """How many of the writes are made until one is not, to these sides one after the other."""
    writes: tuple[Written, ...] = ()
    for number, (what, side) in enumerate(zip(whats, cycle(to), strict=False)):
        noted = note_write(POLICY, writes, what, BOTH if side == "b" else side, number * seconds)
        if noted is None:
            return number
        writes = noted
    return len(whats)


def test_the_same_values_are_written_a_few_times_only() -> None:
    assert made("aaaaaaaa") == 3


def test_values_that_go_back_and_forth_are_found_out() -> None:
    assert made("abababababab") == 6


def test_who_edits_often_is_followed_as_often() -> None:
    assert made("abcdefghijklmnop") == 16


def test_sides_that_answer_each_other_with_new_values_are_found_out() -> None:
    assert made("abcdefghijklmnop", to="lx") == 9
    assert made("abcdefghijklmnop", to="b") == 9
    assert made("abcdefghijklmnop", to="bx") == 9


def test_who_edits_often_may_be_answered_now_and_then() -> None:
    assert made("abcdefghijklmnop", to="xxxxxl") == 16


def test_what_was_long_ago_does_not_count() -> None:
    assert made("aaaaaaaa", seconds=40.0) == 8
    assert made("abcdefghijklmnop", seconds=20.0, to="lx") == 16


def test_few_writes_are_remembered() -> None:
    writes: tuple[Written, ...] = ()
    for number in range(50):
        writes = note_write(POLICY, writes, str(number), "x", float(number)) or ()
    assert len(writes) == 9
