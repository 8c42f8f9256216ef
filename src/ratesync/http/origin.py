"""Where requests may go: one origin (scheme, host, port), to which credentials and bodies are bound."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import httpx
from attrs import field, frozen

from ratesync.errors import ConfigurationError, UnsafeRedirect

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORTS = range(1, 65_536)
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

_PATH_MARKS = "/%:@!$&'()*+,;=-._~?"
"""What may stand in a path and query besides letters and digits; ``#`` is left out, as a fragment is never sent."""
_FINAL = re.compile(r"(?!.*/\.)(?:[A-Za-z0-9/:@!$&'()*+,;=\-._~?]|%[0-9A-Fa-f]{2})*")
"""A path and query that httpx would leave as they are: no bare ``%``, and nothing like ``/..`` to be resolved."""
_LONGEST_FINAL = 4_096
"""httpx takes no URL that is much longer than any: it is asked about these."""


@frozen
class Origin:
    """Scheme, host and port of a provider, and the path under which its API lives."""

    scheme: str
    host: str
    port: int
    base: str = field(repr=False)
    """The base URL without a slash at its end. There may be a key in its path."""

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """The origin of a base URL.

        :raises ConfigurationError: not an http or https URL with a host, or one with a user, query or fragment in it.
        """
        url = _parse(base_url)
        port = None if url is None else _port(url)
        named = url is not None and url.scheme in _DEFAULT_PORTS and _HOST.fullmatch(url.raw_host)
        if url is None or not named or port is None or port not in _PORTS:
            raise ConfigurationError("base_url must be an absolute http or https URL, as in https://api.example.com/v1")
        if url.userinfo or url.query or url.fragment:
            raise ConfigurationError("base_url must have no user, query or fragment: put credentials into headers")
        return cls(url.scheme, url.host, port, str(url).rstrip("/"))

    def url(self, target: str, params: Mapping[str, str] | None = None) -> str:
        """The URL of a path below the base URL, or of an absolute URL at this origin (such as a link to a next page).

        A path must be percent-encoded already. ``params`` are encoded here and added to the query.

        :raises ConfigurationError: the path holds what no URL can.
        :raises UnsafeRedirect: the absolute URL is not at this origin.
        """
        is_absolute = _ABSOLUTE.match(target) is not None
        path = "" if is_absolute else f"/{target.removeprefix('/')}"
        is_final = not is_absolute and _FINAL.fullmatch(path) is not None
        if not is_absolute and not is_final and quote(target, safe=_PATH_MARKS) != target:
            raise ConfigurationError("the path of a request must be percent-encoded and without a fragment")
        url = target if is_absolute else self.base + path
        if params:
            url += ("&" if "?" in target else "?") + urlencode(params, quote_via=quote)
        if is_final and len(url) <= _LONGEST_FINAL:
            return url
        parsed = _parse(url)
        if parsed is None or not self.owns(parsed):
            raise UnsafeRedirect(f"a URL is not at {self}: nothing was sent there")
        return str(parsed)

    def link(self, target: str, link: str) -> str:
        """Where a link in the answer to a request for ``target`` points to. It may be absolute, or relative to it.

        :raises UnsafeRedirect: not to this origin.
        """
        try:
            url = httpx.URL(self.url(target)).join(link)
        except (httpx.InvalidURL, ValueError):
            url = None
        if url is None or not self.owns(url):
            raise UnsafeRedirect(f"a link in an answer of {self} points to another origin: it was not followed")
        return str(url.copy_with(fragment=None))

    def redirect(self, url: str, location: str) -> str:
        """Where ``location`` points to from ``url``.

        :raises UnsafeRedirect: not to this origin.
        """
        try:
            target = httpx.URL(url).join(location)
        except (httpx.InvalidURL, ValueError):
            target = None
        if target is None or not self.owns(target):
            raise UnsafeRedirect(f"{self} redirected to another origin: nothing was sent there")
        return str(target.copy_with(fragment=None))

    def owns(self, url: httpx.URL) -> bool:
        """Tell whether the URL is at this origin and names no user."""
        return not url.userinfo and (url.scheme, url.host, _port(url)) == (self.scheme, self.host, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}")


def _parse(url: str) -> httpx.URL | None:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return None


def _port(url: httpx.URL) -> int | None:
    return url.port if url.port is not None else _DEFAULT_PORTS.get(url.scheme)
