from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.signature import any_matches, decode_signature, hmac_digest


def test_hmac_is_that_of_rfc_4231() -> None:
    digest = hmac_digest(b"Jefe", b"what do ya want for nothing?")
    assert digest.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize("text", ["", "0", "zz", "0x00", "００", "00 "])
def test_what_is_no_hex(text: str) -> None:
    assert decode_signature(text, "hex") is None


@pytest.mark.parametrize("text", ["", "A", "AAA", "A===", "AA-_", "AAAA\n", "é", "AA=A"])
def test_what_is_no_base64(text: str) -> None:
    assert decode_signature(text, "base64") is None


@given(st.lists(st.binary(max_size=3)), st.lists(st.binary(max_size=3)))
def test_one_of_those_given_must_be_one_of_those_expected(expected: list[bytes], given_: list[bytes]) -> None:
    assert any_matches(expected, given_) == bool(set(expected) & set(given_))
