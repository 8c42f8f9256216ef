"""Answers within an answer: what a batch endpoint tells of each of its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ratesync.errors import InvalidResponse
from ratesync.http.headers import Headers
from ratesync.http.payload import encode_json, json_object
from ratesync.http.response import STATUSES, Response
from ratesync.rules.paging import items_at


def embedded_response(
    row: Any, within: Response | None = None, *, status: str = "status", headers: str = "headers", body: str = "body"
) -> Response:
    """A row of a batch's answer as the response that it stands for, to be read as any other.

    For endpoints that take whole requests and answer with whole responses, such as those of Kinto and Microsoft Graph,
    or with ``status="httpStatusCode", headers="httpHeaders"`` of Salesforce.

    :param within: the answer that the row came in: what is secret in it is so in the row, and its Date is the row's.
    :param status: name of the row's member with the HTTP status, a number or its digits.
    :param headers: that of an object with the header fields; they may be missing.
    :param body: that of the JSON value; it may be missing.
    :raises InvalidResponse: the row is no object, or has no HTTP status.
    """
    members = json_object(row)
    number = 0 if members is None else _whole(members.get(status))
    if members is None or number not in STATUSES:
        raise InvalidResponse("a row of the batch's answer has no HTTP status")
    fields = {name.lower(): str(value) for name, value in (json_object(members.get(headers)) or {}).items()}
    fields.pop("content-type", None)
    if within is not None and "date" in within.headers:
        fields["date"] = within.headers["date"]
    raw = [(_latin(name), _latin(text)) for name, text in fields.items()]
    secrets = () if within is None else within.secrets
    value = members.get(body)
    if value is None or value == "":
        return Response(number, Headers(raw), secrets=secrets)
    raw.append((b"content-type", b"application/json"))
    return Response(number, Headers(raw), encode_json(value), secrets)


def embedded_responses(
    response: Response, wanted: Sequence[str], *, rows_path: str | None, key_of_row: Callable[[Any], str | None]
) -> list[Response]:
    """The rows that answer the requests of the keys ``wanted``, in their order, each as a response of its own.

    For reads that are made together. Rows are matched by key, as for :func:`ratesync.http.match_rows`.

    :raises InvalidResponse: one of them is missing or there twice.
    """
    rows: dict[str, list[Any]] = {key: [] for key in wanted}
    for row in items_at(response.json(), rows_path):
        rows.get(key_of_row(row) or "", []).append(row)
    if any(len(found) != 1 for found in rows.values()):
        raise InvalidResponse("the batch's answer does not have one row for each request")
    return [embedded_response(rows[key][0], response) for key in wanted]


def _whole(value: Any) -> int:
    if isinstance(value, str) and value.isdecimal() and value.isascii():
        return int(value[:4])
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")
