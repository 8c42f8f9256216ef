"""Why a provider said no, in few words that are fit for logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.payload import json_array, json_object
from ratesync.http.response import Response
from ratesync.model.secret import Secret
from ratesync.rules.masking import mask_text, shows

LONGEST_MESSAGE = 200
"""Characters of a provider's message that are kept."""

_MESSAGES = ("message", "error_description", "detail", "title", "error")
_CODES = ("code", "errorCode", "error_code", "error", "type", "errno")
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
_LONGEST_TEXT = 4_000
"""Characters that are read to find a message or a code. What is longer is neither."""
_PHRASES = {int(status): status.phrase for status in HTTPStatus}


def reason_of(response: Response, secrets: Iterable[str | Secret] = ()) -> str:
    """The status and what the provider wrote about it: ``HTTP 422 Unprocessable Entity: email is not valid``.

    Of the body only a ``message`` or its like is taken (of the object itself, of its ``error`` or of the first of its
    ``errors``), in one line of at most 200 characters. It may name values of the record, as the dead letter it becomes
    part of does; ``secrets`` and those of the response, the credentials sent, are masked in it
    (:func:`~ratesync.rules.masking.mask_text`).
    """
    status = f"HTTP {response.status}"
    if response.status in _PHRASES:
        status += f" {_PHRASES[response.status]}"
    message = next((text for text in _texts(response, _MESSAGES) if text), None)
    if message is None:
        return status
    line = _UNPRINTABLE.sub(" ", mask_text(message, (*secrets, *response.secrets))).strip()
    return f"{status}: {line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + '…'}"


def code_of(response: Response, secrets: Iterable[str | Secret] = ()) -> str | None:
    """The provider's own code for the failure, if its body has one that looks like a code and is not the status.

    What repeats one of ``secrets``, or of the response's own, is none.
    """
    hidden = (*secrets, *response.secrets)
    codes = (text for text in _texts(response, _CODES) if _CODE.fullmatch(text) and text != str(response.status))
    return next((code for code in codes if not shows(code, hidden)), None)


def _texts(response: Response, names: Iterable[str]) -> list[str]:
    """The short values under any of the names, in the order of the names."""
    places = _error_objects(response)
    found = (place.get(name) for place in places for name in names)
    texts = [str(value) for value in found if isinstance(value, str | int) and not isinstance(value, bool)]
    return [text for text in texts if len(text) <= _LONGEST_TEXT]


def _error_objects(response: Response) -> list[Mapping[str, Any]]:
    """The objects of a JSON body in which errors are described: the innermost first."""
    if "json" not in response.headers.get("content-type", ""):
        return []
    try:
        body = response.json()
    except InvalidResponse:
        return []
    top = json_object(body) or {}
    first = (json_array(body) or json_array(top.get("errors")) or [None])[0]
    places = (json_object(top.get("error")), json_object(first), top)
    return [place for place in places if place]
