from __future__ import annotations

from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import ConfigurationError, UnsafeRedirect
from ratesync.http.origin import Origin

API = Origin.of("https://api.acme.example/v1/")


@pytest.mark.parametrize(
    ("base_url", "text"),
    [
        ("https://api.acme.example", "https://api.acme.example"),
        ("HTTPS://API.acme.example:443/v1", "https://api.acme.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_scheme_host_and_port(base_url: str, text: str) -> None:
    assert str(Origin.of(base_url)) == text


@pytest.mark.parametrize(
    "base_url",
    ["", "api.acme.example", "/v1", "ftp://acme.example", "https://", "https://a b", "https://a:99999", "https://[::1"],
)
def test_a_base_url_must_be_absolute(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="absolute http or https URL"):
        Origin.of(base_url)


@pytest.mark.parametrize(
    "base_url", ["https://ada:s3cr3t@acme.example", "https://a.example?key=s3cr3t", "https://a#s3cr3t"]
)
def test_a_base_url_holds_no_credentials(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="put credentials into headers") as caught:
        Origin.of(base_url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/contacts/a%2Fb", "https://api.acme.example/v1/contacts/a%2Fb"),
        ("contacts", "https://api.acme.example/v1/contacts"),
        ("/contacts?fields=all", "https://api.acme.example/v1/contacts?fields=all"),
        ("/", "https://api.acme.example/v1/"),
        ("https://api.acme.example/v1/next?page=2", "https://api.acme.example/v1/next?page=2"),
        ("https://API.ACME.example:443/next", "https://api.acme.example/next"),
    ],
)
def test_paths_are_below_the_base_url(target: str, url: str) -> None:
    assert API.url(target) == url


def test_parameters_are_encoded_and_added() -> None:
    assert API.url("/a", {"q": "x y&z=ä"}) == "https://api.acme.example/v1/a?q=x%20y%26z%3D%C3%A4"
    assert API.url("/a?b=1", {"c": "2"}) == "https://api.acme.example/v1/a?b=1&c=2"


@pytest.mark.parametrize("target", ["/a b", "/ä", "/a#b", "/a\nb", "/a\\b", '/"', "/<x>"])
def test_a_path_must_be_encoded_already(target: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encoded"):
        API.url(target)


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/v1",
        "http://api.acme.example/v1",
        "https://api.acme.example:8443/v1",
        "https://ada@api.acme.example/v1",
        "https://api.acme.example@evil.example/",
        "https://api.acme.example.evil.example/",
        "file:///etc/passwd",
        "https:///v1",
        "https://[::1/v1",
        "javascript:alert(1)",
    ],
)
def test_an_absolute_url_elsewhere_is_refused(target: str) -> None:
    with pytest.raises(UnsafeRedirect, match="nothing was sent"):
        API.url(target)


@given(st.text(alphabet="/\\@:.?%ea1", max_size=12))
def test_whatever_the_path_says_the_origin_stays(target: str) -> None:
    try:
        url = API.url(target)
    except (ConfigurationError, UnsafeRedirect):
        return
    parsed = httpx.URL(url)
    assert (parsed.scheme, parsed.host, parsed.port, parsed.userinfo) == ("https", "api.acme.example", None, b"")
    assert str(parsed) == url, "what is checked is what is sent"
    assert API.url(url) == url


@given(
    st.text(alphabet="/.a%2eF~:@&'?", max_size=16).map("/".__add__),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
)
def test_httpx_would_send_every_path_to_the_same_place(target: str, params: dict[str, str]) -> None:
    """It is asked only about paths that it may change."""
    try:
        url = API.url(target, params)
    except UnsafeRedirect:
        return
    query = urlencode(params, quote_via=quote)
    mark = "&" if "?" in target else "?"
    assert url == str(httpx.URL(f"{API.base}/{target.removeprefix('/')}{mark if params else ''}{query}"))


def test_dots_are_resolved_and_encoded_ones_are_not() -> None:
    assert API.url("/a/../b") == "https://api.acme.example/v1/b"
    assert API.url("/../../x") == "https://api.acme.example/x"
    assert API.url("/%2e%2e/x") == "https://api.acme.example/v1/%2e%2e/x"


def test_a_url_that_is_too_long_is_refused() -> None:
    assert len(API.url("/" + "a" * 10_000)) > 10_000
    with pytest.raises(UnsafeRedirect):
        API.url("/" + "a" * 70_000)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/contacts", "https://api.acme.example/v2/contacts"),
        ("2?x=1#there", "https://api.acme.example/v1/2?x=1"),
        ("https://api.acme.example:443/", "https://api.acme.example/"),
        ("//api.acme.example/x", "https://api.acme.example/x"),
    ],
)
def test_redirects_within_the_origin_are_resolved(location: str, url: str) -> None:
    assert API.redirect("https://api.acme.example/v1/contacts", location) == url


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://api.acme.example/v1",
        "http://169.254.169.254/latest/meta-data",
        "https://ada:x@api.acme.example/",
        "https://api.acme.example:444/",
        "https://[::1/",
        "https://api.acme.example\\@evil.example/",
        "gopher://api.acme.example/",
        "https://a\x00b/",
    ],
)
def test_case_52_redirects_elsewhere_are_refused(location: str) -> None:
    with pytest.raises(UnsafeRedirect, match=r"https://api\.acme\.example redirected to another origin"):
        API.redirect("https://api.acme.example/v1/contacts", location)
