"""From the bytes of a request to the writes it asks for. Raises `BadRequest` with a sentence for the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import cast, get_args

from .crm_store import JsonValue, Write, WriteAction

MOST_ROWS = 100
METHOD_ACTIONS: dict[str, WriteAction] = {"PUT": "replace", "PATCH": "update", "DELETE": "delete"}
ALL_ACTIONS: tuple[WriteAction, ...] = get_args(WriteAction)
ROW_ACTIONS: dict[str, WriteAction] = {action: action for action in ALL_ACTIONS}


class BadRequest(ValueError):
    """The request can't be understood: answered 400 with this text."""


def json_object(body: bytes) -> dict[str, JsonValue]:
    """The JSON object in a body."""
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    return _object(parsed, "the body")


def record_write(
    method: str, resource: str, record_id: str, *, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> Write:
    """The write that a PUT, PATCH or DELETE of one record asks for."""
    action = METHOD_ACTIONS[method]
    if action == "replace" and headers.get("if-none-match", "").strip() == "*":
        action = "create"
    fields: dict[str, JsonValue] = {} if action == "delete" else json_object(body)
    return Write(
        action=action,
        resource=resource,
        record_id=record_id,
        fields=fields,
        if_match=headers.get("if-match"),
        key=headers.get("idempotency-key"),
        version=_whole_number(query.get("version")) if action == "delete" else _whole_number(fields.get("version")),
    )


def collection_write(resource: str, key: str | None, body: bytes, next_id: Callable[[], str]) -> Write:
    """The create that a POST to a collection asks for; without an `id` in the body it takes the next one."""
    fields = json_object(body)
    record_id = fields["id"] if "id" in fields else next_id()
    if not isinstance(record_id, str) or not record_id:
        raise BadRequest("`id` is not a string with something in it")
    version = _whole_number(fields.get("version"))
    return Write(action="create", resource=resource, record_id=record_id, fields=fields, key=key, version=version)


def batch_writes(resource: str, body: bytes) -> list[Write]:
    """The writes of a batch, in order."""
    rows = json_object(body).get("rows")
    if not isinstance(rows, list):
        raise BadRequest("`rows` is not a list")
    if len(rows) > MOST_ROWS:
        raise BadRequest(f"{len(rows)} rows in one batch; at most {MOST_ROWS} are allowed")
    return [_row_write(resource, _object(row, f"row {number}"), number) for number, row in enumerate(rows)]


def _row_write(resource: str, row: dict[str, JsonValue], number: int) -> Write:
    action = ROW_ACTIONS.get(str(row.get("action")))
    record_id = row.get("id")
    if_match = row.get("if_match")
    key = row.get("idempotency_key")
    if action is None or not isinstance(record_id, str) or not record_id:
        raise BadRequest(f"row {number} needs an `action` ({', '.join(ROW_ACTIONS)}) and an `id`")
    fields = {} if action == "delete" else _object(row.get("fields"), f"`fields` of row {number}")
    return Write(
        action=action,
        resource=resource,
        record_id=record_id,
        fields=fields,
        if_match=if_match if isinstance(if_match, str) else None,
        key=key if isinstance(key, str) else None,
        version=_whole_number(row.get("version", fields.get("version"))),
    )


def _object(parsed: object, what: str) -> dict[str, JsonValue]:
    if not isinstance(parsed, dict):
        raise BadRequest(f"{what} is not a JSON object")
    return cast("dict[str, JsonValue]", parsed)


def _whole_number(value: JsonValue) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None
