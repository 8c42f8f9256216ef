"""A request as a dry run shows it: nothing is sent for it, and no authentication is run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from ratesync.model.preview import PreviewedRequest
from ratesync.model.secret import Secret
from ratesync.rules.masking import mask_headers, mask_query, mask_text, secrets_among, shows


def previewed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    auth: httpx.Auth | None,
    *,
    known: tuple[Secret, ...] = (),
) -> PreviewedRequest:
    """The request with secrets masked.

    An authentication object of ours says by its ``preview`` what it would add, with the values left out. One of the
    host's is named only.

    :param known: secrets that are in it besides, such as those in the base URL's path.
    """
    request = httpx.Request(method, url, headers=headers)
    preview_auth(auth, request)
    given = {name: value for name, value in request.headers.items() if name in headers or name not in _OF_THE_WIRE}
    pairs = request.url.params.multi_items()
    secrets = (*secrets_among(given, pairs), *known)
    query = "&".join(f"{_quote(name)}={_quote(value)}" for name, value in mask_query(pairs))
    bare = str(request.url.copy_with(query=None, fragment=None))
    return PreviewedRequest(
        method=method,
        url=mask_text(f"{bare}?{query}" if query else bare, secrets),
        headers=mask_headers(given),
        body=_body(content, given.get("content-type", ""), secrets),
        auth=None if auth is None else type(auth).__name__,
    )


def preview_auth(auth: httpx.Auth | None, request: httpx.Request) -> None:
    """Let an authentication object add to the request what it would, masked, if it can tell."""
    tell = getattr(auth, "preview", None)
    if tell is not None:
        tell(request)


_OF_THE_WIRE = frozenset({"host", "content-length", "transfer-encoding"})
"""Set by the client when a request is sent."""
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
"""A text in JSON."""


def _quote(text: str) -> str:
    return quote(text, safe="*")


def _body(content: bytes | None, content_type: str, secrets: tuple[Secret, ...]) -> Any:
    if content is None:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        try:
            return _masked(json.loads(content), secrets)
        except ValueError:
            pass
    # A form may hold a client's secret, and bytes of other kinds what cannot be told.
    return f"<{len(content)} bytes of {kind or 'unknown type'}>"


def _masked(value: Any, secrets: tuple[Secret, ...]) -> Any:
    """The JSON value with the secrets in its texts masked.

    :raises ValueError: there is one in it that is no text.
    """
    told = _TEXT.sub(lambda text: _in_json(mask_text(json.loads(text[0]), secrets)), _in_json(value))
    if shows(told, secrets):
        raise ValueError("a secret that is no text")
    return json.loads(told)


def _in_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
