from __future__ import annotations

import html
import json
import re
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from time import process_time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.secret import Secret
from ratesync.rules.masking import (
    HARMLESS,
    mask_headers,
    mask_outcome,
    mask_query,
    mask_text,
    secrets_among,
    secrets_in_form,
    shows,
)

SECRET = "s3cr3t-0123456789"  # a stand-in
ODD = "p&ss/w\"rd+ =<'>?é\\0123"
"""One that every encoding changes."""


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
    headers = {"Authorization": f"Bearer {SECRET}", "Accept": "text/plain", "X-Empty": ""}
    secrets = secrets_among(headers, [("sig", "1" * 8), ("n", "2")])
    assert secrets == (Secret(f"Bearer {SECRET}"), Secret("1" * 8))
    assert mask_text(f"{SECRET} and 11111111, Bearer {SECRET}", secrets) == "*** and ***, ***"


def test_of_a_token_request_only_what_is_no_secret_is_shown() -> None:
    form = {"grant_type": "refresh_token", "client_id": "app", "scope": "", "refresh_token": SECRET, "assertion": ODD}
    assert secrets_in_form(form) == (Secret(SECRET), Secret(ODD))


def test_short_words_are_not_looked_for() -> None:
    assert mask_text("a short one, a shorter one", [Secret("a short one")]) == "***, a shorter one"
    assert mask_text("nothing to hide", []) == "nothing to hide"


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("sent", "told", "shown"),
    [
        ("pw1", "the key PW1 is bad, and so is 'pw1'", "the key *** is bad, and so is '***'"),
        ("pw1", "apw1, pw12 and pw_1 are other words", "apw1, pw12 and pw_1 are other words"),
        ("pw1!", "pw1!x", "***x"),
        ("pw1", "p%771 cHcx 707731", "*** *** ***"),
        ("Bearer pw1", "a Bearer was wrong: pw1", "a Bearer was wrong: ***"),
        ("Token token=pw1", "no token pw1", "no token ***"),
        (basic("ada", "pw1"), "ada:pw1, ada", "ada:***, ada"),
        (basic("ada", "pw12"), f"you sent {b64encode(b'ada:pw12').decode()}", "you sent ***"),
        (basic("key", ""), "no key", "no ***"),
        ("allowSave=true", "must be true", "must be true"),
    ],
)
def test_a_short_secret_is_found_where_it_is_a_word(sent: str, told: str, shown: str) -> None:
    assert mask_text(told, [Secret(sent)]) == shown


def test_a_short_value_is_a_secret_only_where_its_name_says_so() -> None:
    headers = {"X-Api-Version": "2", "X-Api-Key": "pw1", "Cookie": "a=b", "X-Long": "1" * 8}
    assert secrets_among(headers, [("v", "2")]) == (Secret("pw1"), Secret("a=b"), Secret("1" * 8))
    assert secrets_in_form({"format": "json", "password": "pw1"}) == (Secret("pw1"),)


ESCAPES: dict[str, Callable[[str], str]] = {
    "quote": quote,
    "quote all": lambda text: quote(text, safe=""),
    "quote_plus": quote_plus,
    "every character": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON of Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "JSON of digits": lambda text: re.sub(".", lambda mark: f"\\u{ord(mark[0]):04X}", text, flags=re.DOTALL),
    "HTML": html.escape,
    "HTML without quotes": lambda text: html.escape(text, quote=False),
    "HTML of numbers": lambda text: "".join(f"&#{ord(mark)};" for mark in text),
    "HTML of hexadecimal": lambda text: "".join(f"&#x{ord(mark):X};" for mark in text),
    "upper case": lambda text: text.encode().upper().decode(),
    "none": str,
}
FOLDS: dict[str, Callable[[str], str]] = {
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
    "base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64 in lines": lambda text: encodebytes(text.encode() * 5).decode(),
    "base64 of an escape": lambda text: b64encode(quote(text, safe="").encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
}


@pytest.mark.parametrize("secret", [SECRET, ODD])
@pytest.mark.parametrize("encode", [*ESCAPES.values(), *FOLDS.values()], ids=[*ESCAPES, *FOLDS])
def test_a_secret_is_found_however_it_is_spelt(encode: Callable[[str], str], secret: str) -> None:
    assert mask_text(f"the key ({encode(secret)}) is bad", [secret]).replace("\n", "") == "the key (***) is bad"


@pytest.mark.parametrize("outer", ["quote all", "JSON", "HTML", "JSON of PHP"])
@pytest.mark.parametrize("middle", ["quote all", "JSON", "HTML", "none"])
@pytest.mark.parametrize("inner", ["quote_plus", "JSON", "HTML", "none"])
def test_a_secret_is_found_behind_several_escapes(outer: str, middle: str, inner: str) -> None:
    told = ESCAPES[outer](f'<a> {ESCAPES[middle](ESCAPES[inner](ODD))} "ü"')
    shown = mask_text(told, [ODD])
    assert "***" in shown
    assert "0123" not in shown
    assert shown.count("***") == 1


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:", "é"])
@pytest.mark.parametrize("after", ["", ":", "xy", "\n"])
@pytest.mark.parametrize("fold", ["base64", "base64 for URLs", "hexadecimal"])
def test_a_secret_is_found_in_base64_of_more_than_itself(before: str, after: str, fold: str) -> None:
    folded = FOLDS[fold](before + SECRET + after).rstrip("=")
    assert mask_text(f"auth={folded}", [SECRET]) == "auth=***"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (f"Bearer {SECRET}", SECRET),
        (f"Token token={SECRET}", SECRET),
        (f'Digest username="a", response="{SECRET}"', SECRET),
        (f"session={SECRET}; path=/", SECRET),
        (f"sha256={SECRET}", SECRET),
        (f"Basic {b64encode(f'ada:{SECRET}'.encode()).decode()}", f"password {SECRET} of ada"),
        (f"Basic {b64encode(f'ada:{SECRET}'.encode()).decode()}", f"ada:{SECRET}"),
        (f"Basic {b64encode(f'{SECRET}:'.encode()).decode()}", SECRET),
        (f"Basic {b64encode(f'c:{quote_plus(ODD)}'.encode()).decode()}", ODD),
        (f"Basic {b64encode(f'c:{quote_plus(ODD)}'.encode()).decode()}", quote(ODD)),
        (f"Basic {b64encode(f'ada:{SECRET}'.encode()).decode()}", b64encode(f"{SECRET}".encode()).decode()),
    ],
)
def test_the_words_of_a_secret_are_secrets(sent: str, told: str) -> None:
    shown = mask_text(f"«{told}»", [Secret(sent)])
    assert "***" in shown
    assert "0123" not in shown


@given(st.text(max_size=60), st.text(min_size=8, max_size=40), st.text(max_size=60))
def test_a_text_around_a_secret_stays_and_the_secret_goes(before: str, secret: str, after: str) -> None:
    shown = mask_text(f"{before}\n{secret}\n{after}", [secret])
    assert "***" in shown
    assert secret.lower() in "*** \n" or secret.lower() not in shown.lower()


@given(st.text(max_size=400))
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert mask_text(text, [SECRET, ODD]) == text


@pytest.mark.parametrize(
    "text",
    ["%25" * 1_300, "&amp;" * 800, '\\\\"' * 1_300, "%26amp;%5C%5C" * 300, "QUJD" * 1_000, "&amp;%25\\\\" * 400],
)
def test_a_text_made_to_be_slow_is_not(text: str) -> None:
    begun = process_time()
    assert mask_text(text, [f"{SECRET}{n}" for n in range(10)]) == text
    assert process_time() - begun < 1.0, "seconds of CPU; a tenth of it was seen"


@pytest.mark.parametrize(
    ("outcome", "masked"),
    [
        (Applied(record_id=SECRET), Applied(record_id=SECRET)),
        (Rejected(f"no {SECRET}", code=SECRET), Rejected("no ***", code=None)),
        (Rejected(f"no {SECRET}", code="E1"), Rejected("no ***", code="E1")),
        (RetryLater(SECRET, Cause.THROTTLED, 3.0), RetryLater("***", Cause.THROTTLED, 3.0)),
        (Conflict(f"{SECRET}!"), Conflict("***!")),
        (Unknown(quote(ODD)), Unknown("***")),
    ],
)
def test_what_an_outcome_says_is_masked(outcome: Outcome, masked: Outcome) -> None:
    assert mask_outcome(outcome, iter([SECRET, ODD])) == masked


def test_it_can_be_asked_whether_a_text_shows_a_secret() -> None:
    assert shows(f"E-{SECRET}", [SECRET])
    assert not shows("E-1", [SECRET])
