from __future__ import annotations

from ratesync.rules.oscillation import OscillationPolicy, Written, note_write

POLICY = OscillationPolicy(max_writes=3, per=100.0)


def made(whats: str, seconds: float = 1.0) -> int:
    """How many of the writes are made."""
    writes: tuple[Written, ...] = ()
    count = 0
    for number, what in enumerate(whats):
        noted = note_write(POLICY, writes, what, number * seconds)
        if noted is not None:
            writes, count = noted, count + 1
    return count


def test_the_same_values_are_written_a_few_times_only() -> None:
    assert made("aaaaaaaa") == 3


def test_values_that_go_back_and_forth_are_found_out() -> None:
    assert made("abababababab") == 6


def test_who_edits_often_is_followed_as_often() -> None:
    assert made("abcdefghijklmnop") == 16


def test_what_was_long_ago_does_not_count() -> None:
    assert made("aaaaaaaa", seconds=40.0) == 8


def test_few_writes_are_remembered() -> None:
    writes: tuple[Written, ...] = ()
    for number in range(50):
        writes = note_write(POLICY, writes, str(number), float(number)) or ()
    assert len(writes) == 6
