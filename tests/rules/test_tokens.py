from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import InvalidResponse
from ratesync.model.secret import Secret
from ratesync.rules.tokens import (
    GrantRefusal,
    LockView,
    Tokens,
    load_tokens,
    read_refusal,
    read_tokens,
    spent,
    write_tokens,
)

words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1).map(Secret)
tokens = st.builds(
    Tokens,
    access=words,
    refresh=st.none() | words,
    expires_at=st.none() | st.floats(0, 1e12),
    generation=st.integers(0, 2**40),
    is_spent=st.booleans(),
)
OLD = Tokens(access=Secret("a"), refresh=Secret("r"), expires_at=100.0, generation=5)


@given(tokens)
def test_tokens_come_back_as_they_were(each: Tokens) -> None:
    assert load_tokens(write_tokens(each)) == each


GOOD: dict[str, Any] = json.loads(write_tokens(OLD))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\xff", b"[]", b"5", b"{}", b"[" * 100_000),
        *(json.dumps(GOOD | {"v": 2}).encode(), json.dumps(GOOD | {"expires_at": "soon"}).encode()),
        *(json.dumps(GOOD | {"access": ""}).encode(), json.dumps(GOOD | {"refresh": 5}).encode()),
        json.dumps(GOOD | {"spent": 1}).encode(),
    ],
    ids=range(11),
)
def test_other_bytes_are_no_tokens(data: bytes) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        load_tokens(data)


@pytest.mark.parametrize(
    ("life", "expires_at"),
    [
        *((3600, 1003600.0), (0, 1000000.0), ("60", 1000060.0), ("1.5", 1000001.5), (1.5, 1000001.5)),
        *((None, None), (-1, None), (1e20, None), (True, None), ("soon", None), ("9" * 40, None), ([], None)),
    ],
    ids=repr,
)
def test_a_life_is_counted_from_when_it_was_asked_for(life: Any, expires_at: float | None) -> None:
    assert read_tokens({"access_token": "a", "expires_in": life}, 1e6, None).expires_at == expires_at


def test_the_refresh_token_stays_where_no_new_one_comes() -> None:
    assert read_tokens({"access_token": "b"}, 0.0, OLD) == Tokens(access=Secret("b"), refresh=Secret("r"), generation=6)
    assert read_tokens({"access_token": "b", "refresh_token": "s"}, 0.0, OLD).refresh == Secret("s")


@pytest.mark.parametrize("token", [None, "", "a b", "a\nb", "ä", 5, "x" * 70_000], ids=lambda value: repr(value)[:9])
def test_a_token_must_fit_into_a_header(token: Any) -> None:
    with pytest.raises(InvalidResponse, match="no access token"):
        read_tokens({"access_token": token}, 0.0, None)
    with pytest.raises(InvalidResponse, match="no access token"):
        read_tokens([token], 0.0, None)


def test_some_refusals_are_final() -> None:
    assert read_refusal(400, {"error": "invalid_grant"}) == GrantRefusal("invalid_grant", is_final=True)
    assert read_refusal(400, {"error": "temporarily_unavailable"}) == GrantRefusal("temporarily_unavailable", False)
    assert read_refusal(500, {"error": "invalid_grant"}) == GrantRefusal("invalid_grant", is_final=False)
    bodies: list[Any] = [None, [], {}, {"error": None}, {"error": "a\nb"}, {"error": "x" * 65}]
    for body in bodies:
        assert read_refusal(400, body) is None


def test_a_token_will_do_until_shortly_before_its_end() -> None:
    assert OLD.will_do(89.9, 10, None)
    assert not OLD.will_do(90.0, 10, None)
    assert not OLD.will_do(0.0, 10, OLD)
    assert read_tokens({"access_token": "b"}, 0.0, OLD).will_do(1e9, 10, OLD)
    assert spent(OLD).will_do(0.0, 10, None), "the access token is still good"


def test_a_lock_is_stale_when_its_revision_stands_still() -> None:
    view = LockView(-1).seen(7, 100.0)
    assert not view.is_stale(109.9, 10)
    assert view.seen(7, 105.0).is_stale(110.0, 10)
    assert not view.seen(8, 109.0).is_stale(110.0, 10)
    assert view.seen(0, 100.0).is_stale(100.0, 10), "nobody holds it"
