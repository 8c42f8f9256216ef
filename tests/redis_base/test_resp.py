"""Commands and answers as bytes, in pieces of any size."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.redis.server.resp import Answers, Garbled, ReplyError, Words, packed, unpacked

scalars = st.none() | st.integers(-(2**62), 2**62) | st.binary(max_size=40) | st.just(b"x" * 5000)
answers = st.recursive(scalars, lambda inner: st.lists(inner, max_size=6), max_leaves=30)
words = st.lists(st.text(max_size=9) | st.binary(max_size=9) | st.integers() | st.floats(), min_size=1, max_size=6)


def told(value: Any) -> bytes:
    """As a server writes it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%s\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(told, value))


def read(data: bytes, size: int) -> list[Any]:
    """What comes of it in pieces of that size."""
    taker = Answers()
    found: list[Any] = []
    for start in range(0, len(data), size):
        taker.feed(data[start : start + size])
        found += taker
    return found


@given(st.lists(answers, max_size=4), st.integers(1, 60))
def test_answers_are_read_whatever_pieces_they_come_in(values: list[Any], size: int) -> None:
    assert read(b"".join(map(told, values)), size) == values


def test_short_answers_errors_and_nothing_at_all() -> None:
    ok, error, nothing, (inner,) = read(b"+OK\r\n-ERR no\r\n*-1\r\n*1\r\n-OOM no\r\n", 3)
    assert (ok, nothing) == (b"OK", None)
    assert isinstance(error, ReplyError)
    assert isinstance(inner, ReplyError)
    assert (str(error), str(inner)) == ("ERR no", "OOM no")


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"$many\r\n", b"*x\r\n", b":1.5\r\n"])
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(Garbled):
        read(data, 100)


@given(words, words)
def test_words_that_are_packed_before_are_the_same_words(first: list[Any], second: list[Any]) -> None:
    assert packed([Words(*first), *second]) == packed([*first, *second])
    assert unpacked([Words(*first), *second]) == unpacked([*first, *second])
    (plain,) = read(packed([*first, Words(*second)]), 7)
    assert len(plain) == len(first) + len(second)


def test_a_command_is_an_array_of_texts() -> None:
    assert read(packed(["é", b"\xff", 5, 0.1, ""]), 2) == [["é".encode(), b"\xff", b"5", b"0.1", b""]]
