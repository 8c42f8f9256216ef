from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.rules.masking import HARMLESS, mask_headers, mask_query, mask_text, secrets_among

SECRET = "s3cr3t-0123456789"  # a stand-in


def test_only_headers_known_to_be_harmless_are_shown() -> None:
    headers = {"X-Acme": SECRET, "Accept": "application/json", "Authorization": f"Bearer {SECRET}", "Cookie": "a=b"}
    assert mask_headers(headers) == {
        "accept": "application/json",
        "authorization": "***",
        "cookie": "***",
        "x-acme": "***",
    }


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_every_header_is_named_and_no_other_value_shown(headers: dict[str, str]) -> None:
    shown = mask_headers(headers)
    assert set(shown) == {name.lower() for name in headers}
    assert all(value == "***" for name, value in shown.items() if name not in HARMLESS)


@pytest.mark.parametrize(
    "name",
    ["api_key", "apikey", "hapikey", "access_token", "Signature", "sig", "client_secret", "password", "code", "auth"],
)
def test_values_of_queries_are_masked_by_their_name(name: str) -> None:
    assert mask_query([(name, SECRET), ("limit", "5")]) == [(name, "***"), ("limit", "5")]


@pytest.mark.parametrize("name", ["limit", "country_code", "fields", "after", "q", "shipping"])
def test_ordinary_values_of_queries_are_shown(name: str) -> None:
    assert mask_query([(name, "5")]) == [(name, "5")]


def test_what_is_masked_is_masked_elsewhere_too() -> None:
    secrets = secrets_among(
        {"Authorization": f"Bearer {SECRET}", "Accept": "text/plain"}, [("sig", "1" * 8), ("n", "2")]
    )
    assert secrets == {f"Bearer {SECRET}", SECRET, "1" * 8}
    assert mask_text(f"{SECRET} and 11111111, Bearer {SECRET}", secrets) == "*** and ***, ***"


def test_short_words_are_not_looked_for() -> None:
    assert secrets_among({"X-Key": "a short one"}, []) == {"a short one"}
