from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import ConfigurationError
from ratesync.http.headers import Headers, checked_headers, is_header_value


def test_names_match_in_any_case() -> None:
    headers = Headers([(b"ETag", b'"1"'), (b"RETRY-AFTER", b"2")])
    assert headers["etag"] == headers["ETag"] == '"1"'
    assert headers.get("Retry-After") == "2"
    assert list(headers) == ["etag", "retry-after"]
    assert "absent" not in headers


def test_a_field_that_came_twice_is_joined() -> None:
    assert Headers([(b"link", b"a"), (b"Link", b"b")])["link"] == "a, b"


def test_bytes_beyond_ascii_are_read_as_they_are() -> None:
    assert Headers([(b"x-name", "café".encode("latin-1"))])["x-name"] == "café"


def test_cookies_are_not_shown() -> None:
    assert dict(Headers([(b"Set-Cookie", b"session=s3cr3t"), (b"etag", b"x")])) == {"etag": "x"}


def test_values_stay_out_of_the_repr() -> None:
    assert repr(Headers([(b"x-token", b"s3cr3t")])) == "Headers(x-token)"


@pytest.mark.parametrize("name", ["", "two words", "colon:", "new\nline", "ümlaut", "X-A\x00"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a header's name"):
        checked_headers({name: "x"})


@pytest.mark.parametrize(
    "value", ["", " s3cr3t", "s3cr3t ", "s3cr3t\r\nHost: evil", "s3cr3t\nb", "s3cr3t\x00", "naïve", "\ud800"]
)
def test_a_value_that_is_more_than_one_value_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(ConfigurationError, match="x-token") as caught:
        checked_headers({"x-token": value})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "CONNECTION"])
def test_what_the_client_sets_itself_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="leave it out"):
        checked_headers({name: "x"})


def test_names_become_lower_case() -> None:
    assert checked_headers({"X-Api-Key": "k e\ty"}) == {"x-api-key": "k e\ty"}


@given(st.text())
def test_a_header_value_is_printable_ascii(value: str) -> None:
    printable = value.isascii() and all(letter == "\t" or 32 <= ord(letter) < 127 for letter in value)
    assert is_header_value(value) == (printable and value != "" and value == value.strip(" \t"))
