"""A HubSpot account in memory, with HubSpot's rules for records: what is valid, unique, archived, and shown when.

Rules are those of https://developers.hubspot.com/docs/api-reference (objects, search, error handling), of the published
OpenAPI documents, and, for the wording of errors, of answers that users have shown.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from attrs import define, field

Json = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SINGULAR = {"contacts": "CONTACT", "companies": "COMPANY", "deals": "DEAL"}
TEXTS = {
    "contacts": "firstname lastname email phone mobilephone jobtitle address city state zip country",
    "companies": "name domain website phone industry address city state zip country description customer_no",
    "deals": "dealname deal_currency_code pipeline description",
    "cars": "plate maker",
}
NUMBERS = {"companies": "numberofemployees annualrevenue", "deals": "amount"}
OTHERS: dict[str, Json] = {
    "contacts": {"associatedcompanyid": {"type": "number", "read_only": True}},
    "deals": {
        "dealstage": {"type": "enumeration", "options": ["appointmentscheduled", "closedwon", "closedlost"]},
        "closedate": {"type": "datetime"},
    },
}
UNIQUE = {"contacts": {"email"}, "companies": {"customer_no"}, "cars": {"plate"}}


def stamp(at: int) -> str:
    """Milliseconds since the epoch as HubSpot shows an instant."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Refused(Exception):
    """An error of HubSpot's."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"status": "error", "message": message, "correlationId": "c0ffee", "category": category}
        self.body |= more


@define
class Row:
    """A record."""

    id: int
    created_at: int
    updated_at: int
    properties: dict[str, str | None]
    archived_at: int | None = None


@define
class Shown:
    """What the search index shows of a record, and from when on. None: nothing."""

    visible_at: int
    properties: dict[str, str | None] | None


@define
class Account:
    """One account."""

    now: int = 1_780_000_000_000
    """Its clock, in milliseconds. Each write moves it on by ``tick``."""
    tick: int = 1
    search_lag: int = 0
    """Milliseconds until a search shows a change."""
    search_rows: int = 10_000
    """Records that a search gives at most, over all of its pages."""
    echo_traces: bool = False
    """Results of batches repeat the objectWriteTraceId. HubSpot's own example shows none."""
    shuffle: random.Random = field(factory=lambda: random.Random(1))
    rows: dict[str, dict[int, Row]] = field(factory=lambda: {name: {} for name in TEXTS})
    index: dict[str, dict[int, list[Shown]]] = field(factory=lambda: {name: {} for name in TEXTS})
    next_id: int = 501

    def changed_property(self, kind: str) -> str:
        """The property with the instant of the last change."""
        return "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"

    def schema(self, kind: str) -> dict[str, Json]:
        """The properties of a type."""
        read_only = {"type": "datetime", "read_only": True}
        return {
            "hs_object_id": {"type": "number", "read_only": True},
            "createdate": read_only,
            self.changed_property(kind): read_only,
            "hubspot_owner_id": {"type": "enumeration", "external": True},
            **{name: {"type": "string"} for name in TEXTS[kind].split()},
            **{name: {"type": "number"} for name in NUMBERS.get(kind, "").split()},
            **OTHERS.get(kind, {}),
        }

    def rows_of(self, kind: str) -> dict[int, Row]:
        """The records of a type."""
        if kind not in self.rows:
            raise Refused(400, "VALIDATION_ERROR", f"Unable to infer object type from: {kind}")
        return self.rows[kind]

    def live(self, kind: str, identity: str, by: str | None = None) -> Row | None:
        """The record with an id, or with a value of a unique property, that is not archived."""
        rows = self.rows_of(kind)
        if by is None:
            found = rows.get(int(identity)) if identity.isdecimal() else None
        else:
            if by not in UNIQUE.get(kind, ()):
                raise Refused(
                    400, "VALIDATION_ERROR", f"Unable to perform update/upsert by non-unique 0-1 property {by}"
                )
            wanted = identity.strip().lower()
            found = next((row for row in rows.values() if self._holds(row, by, wanted)), None)
        return None if found is None or found.archived_at is not None else found

    def checked(self, kind: str, sent: Json) -> dict[str, str | None]:
        """The properties as they are stored; what is wrong with them is named with its code, and with its value."""
        schema, faults, kept = self.schema(kind), list[Json](), dict[str, str | None]()
        for name, value in sent.items():
            described = schema.get(name)
            code = self._fault(described, value)
            if code is not None:
                faults.append({"isValid": False, "message": f"{value} is not right", "error": code, "name": name})
            kept[name] = self._stored(name, described or {}, value)
        if faults:
            listed = ",".join(
                f'{{"isValid":false,"message":"{fault["message"]}","error":"{fault["error"]}","name":"{fault["name"]}"}}'
                for fault in faults
            )
            errors = [
                {"message": fault["message"], "code": fault["error"], "context": {"propertyName": [fault["name"]]}}
                for fault in faults
            ]
            raise Refused(400, "VALIDATION_ERROR", f"Property values were not valid: [{listed}]", errors=errors)
        return kept

    def check(self, kind: str, sent: Json) -> dict[str, str | None]:
        """The properties of a new record as they are stored, if nothing is wrong with it."""
        kept = self.checked(kind, sent)
        self._check_unique(kind, kept, None)
        return kept

    def create(self, kind: str, sent: Json) -> Row:
        """Add a record."""
        kept = self.check(kind, sent)
        self.now += self.tick
        row = Row(self.next_id, self.now, self.now, kept)
        self.next_id += 1
        self.rows_of(kind)[row.id] = row
        self._store(kind, row)
        return row

    def update(self, kind: str, row: Row, sent: Json) -> Row:
        """Change a record."""
        kept = self.checked(kind, sent)
        self._check_unique(kind, kept, row)
        self.now += self.tick
        row.properties |= kept
        row.updated_at = self.now
        self._store(kind, row)
        return row

    def archive(self, kind: str, row: Row) -> None:
        """Move a record into the recycling bin."""
        self.now += self.tick
        row.archived_at = self.now
        self.index[kind][row.id].append(Shown(self.now + self.search_lag, None))

    def seed(self, kind: str, count: int, *, at: int | None = None, **properties: str) -> list[str]:
        """Make many records at once, all changed at one instant if it is given. Gives their ids."""
        ids = list[str]()
        for _ in range(count):
            moment = self.now if at is None else at
            row = Row(self.next_id, moment, moment, dict(properties))
            self.next_id += 1
            self.rows[kind][row.id] = row
            self._store(kind, row)
            ids.append(str(row.id))
        return ids

    def shown(self, kind: str, row: Row, names: Iterable[str]) -> Json:
        """A record as answers show it: the properties that were asked for, and always three more."""
        always = {"hs_object_id": str(row.id), "createdate": stamp(row.created_at)}
        always[self.changed_property(kind)] = stamp(row.updated_at)
        schema = self.schema(kind)
        asked = {name: row.properties.get(name) for name in names if name in schema}
        entry: Json = {
            "id": str(row.id),
            "properties": asked | always,
            "createdAt": stamp(row.created_at),
            "updatedAt": stamp(row.updated_at),
            "archived": row.archived_at is not None,
        }
        return entry if row.archived_at is None else entry | {"archivedAt": stamp(row.archived_at)}

    def searchable(self, kind: str) -> list[tuple[Row, dict[str, str | None]]]:
        """The records that a search sees now, with the properties that it sees."""
        found, rows = list[tuple[Row, dict[str, str | None]]](), self.rows[kind]
        for identity, history in self.index[kind].items():
            for shown in reversed(history):
                if shown.visible_at <= self.now:
                    if shown.properties is not None:
                        found.append((rows[identity], shown.properties))
                    break
        return found

    def _store(self, kind: str, row: Row) -> None:
        marks: dict[str, str | None] = {"hs_object_id": str(row.id), "createdate": stamp(row.created_at)}
        marks[self.changed_property(kind)] = stamp(row.updated_at)
        shown = Shown(row.updated_at + self.search_lag, row.properties | marks)
        self.index[kind].setdefault(row.id, []).append(shown)

    def _holds(self, row: Row, name: str, wanted: str) -> bool:
        return row.archived_at is None and (row.properties.get(name) or "").lower() == wanted

    def _check_unique(self, kind: str, kept: dict[str, str | None], row: Row | None) -> None:
        for name in UNIQUE.get(kind, set()) & kept.keys():
            value = kept[name]
            other = None if value is None else self.live(kind, value, name)
            if other is not None and other is not row:
                thing = SINGULAR.get(kind, kind).capitalize()
                raise Refused(409, "CONFLICT", f"{thing} already exists. Existing ID: {other.id}")

    @staticmethod
    def _fault(described: Json | None, value: Any) -> str | None:
        """The code of what is wrong with a value."""
        if described is None:
            return "PROPERTY_DOESNT_EXIST"
        if described.get("read_only"):
            return "READ_ONLY_VALUE"
        if not isinstance(value, str):
            return "INVALID_TYPE"
        if described["type"] == "number" and value and not value.replace(".", "", 1).lstrip("-").isdecimal():
            return "INVALID_LONG"
        options = described.get("options")
        return "INVALID_OPTION" if options and value and value not in options else None

    @staticmethod
    def _stored(name: str, described: Json, value: Any) -> str | None:
        if value == "" or not isinstance(value, str):
            return None
        if name == "email":
            return value.lower()
        return value.replace(".000Z", "Z") if described.get("type") == "datetime" else value
