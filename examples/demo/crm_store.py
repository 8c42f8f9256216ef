"""What the CRM keeps: records with strong ETags, and a log of every write it applied. Memory only, no clock, no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from attrs import define, field, frozen

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]
Fields = Mapping[str, JsonValue]
WriteAction = Literal["create", "replace", "update", "delete"]


@frozen(kw_only=True)
class Write:
    """One change that a client asks for. `key` is its idempotency key; `version` is its own number for the change."""

    action: WriteAction
    resource: str
    record_id: str
    fields: Fields = field(factory=dict[str, JsonValue])
    if_match: str | None = None
    key: str | None = None
    version: int | None = None


@frozen(kw_only=True)
class Application:
    """A write that took effect. `answered` is the status the client was given, which may be 500 all the same."""

    resource: str
    record_id: str
    action: WriteAction
    version: int | None
    key: str | None
    answered: int


@frozen(kw_only=True)
class Answer:
    """What came of a request. `body` is JSON, or nothing; `error` names a refusal."""

    status: int
    body: bytes = b""
    etag: str | None = None
    error: str | None = None


@frozen
class StoredRecord:
    """A record at one version. `body` is its JSON text with the id in it."""

    fields: Fields
    body: bytes
    etag: str


def merge_patch(target: Fields, patch: Fields) -> dict[str, JsonValue]:
    """Apply a JSON Merge Patch (RFC 7396): objects are merged, null removes a member, anything else replaces."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            inner = merged.get(name)
            merged[name] = merge_patch(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def encode_record(record_id: str, fields: Fields) -> bytes:
    """The JSON of a record. Raises `ValueError` for NaN, infinities and lone surrogates."""
    return json.dumps({**fields, "id": record_id}, ensure_ascii=False, allow_nan=False).encode()


@define
class RecordStore:
    """The records of one account.

    Revisions count up over the whole store, so a record that was deleted and created again never shows an old ETag.
    """

    records: dict[tuple[str, str], StoredRecord] = field(factory=dict[tuple[str, str], StoredRecord], init=False)
    applications: list[Application] = field(factory=list[Application], init=False)
    _revision: int = field(default=0, init=False)

    def read(self, resource: str, record_id: str) -> Answer:
        """The record as it is, or 404."""
        record = self.records.get((resource, record_id))
        if record is None:
            return Answer(status=404, error="not_found")
        return Answer(status=200, body=record.body, etag=record.etag)

    def apply(self, write: Write, *, answered: int | None = None) -> Answer:
        """Apply a write and log it, or refuse it and change nothing.

        `answered` is what the log shall say the client was told, when that is not the truth. A refusal is 404 (nothing
        to change), 412 (a condition does not hold) or 422 (the fields are no valid JSON record).
        """
        held = self.records.get((write.resource, write.record_id))
        refusal = _refusal(write, held)
        if refusal is not None:
            return refusal
        try:
            answer = self._change(write, held)
        except ValueError as error:
            return Answer(status=422, error=f"invalid_record: {error}")
        self.applications.append(
            Application(
                resource=write.resource,
                record_id=write.record_id,
                action=write.action,
                version=write.version,
                key=write.key,
                answered=answer.status if answered is None else answered,
            )
        )
        return answer

    def _change(self, write: Write, held: StoredRecord | None) -> Answer:
        place = (write.resource, write.record_id)
        if write.action == "delete":
            del self.records[place]
            return Answer(status=204)
        fields = dict(write.fields)
        if fields.pop("id", write.record_id) != write.record_id:
            raise ValueError("the id in the body is not the id in the path")
        if write.action == "update" and held is not None:
            fields = merge_patch(held.fields, fields)
        body = encode_record(write.record_id, fields)
        self._revision += 1
        record = StoredRecord(fields, body, f'"{self._revision}"')
        self.records[place] = record
        return Answer(status=201 if held is None else 200, body=body, etag=record.etag)


def etag_listed(header: str, etag: str) -> bool:
    """Whether an `If-Match` or `If-None-Match` value names this strong ETag. A weak tag in the header never does."""
    return header.strip() == "*" or etag in (tag.strip() for tag in header.split(","))


def _refusal(write: Write, held: StoredRecord | None) -> Answer | None:
    if held is not None and (
        write.action == "create" or (write.if_match is not None and not etag_listed(write.if_match, held.etag))
    ):
        return Answer(status=412, body=held.body, etag=held.etag, error="precondition_failed")
    if held is None and write.if_match is not None and write.action == "replace":
        return Answer(status=412, error="precondition_failed")
    if held is None and write.action in ("update", "delete"):
        return Answer(status=404, error="not_found")
    return None
