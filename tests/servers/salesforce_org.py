"""A Salesforce org in memory, with its rules for records: what is valid, unique, locked, deleted, and shown when.

Rules are those of the REST API Developer Guide (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta) and,
for the wording of errors, of answers that users have shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Any

from attrs import define, field

Json = dict[str, Any]
PREFIXES = {"Account": "001", "Contact": "003", "User": "005", "Opportunity": "006", "Invoice__c": "a01"}
TEXTS: dict[str, dict[str, int]] = {
    "Account": {"Name": 255, "Website": 255, "Industry": 255, "Description": 32_000, "Customer_No__c": 20},
    "Contact": {
        "FirstName": 40,
        "LastName": 80,
        "Title": 128,
        "Department": 80,
        "Description": 32_000,
        "Customer_No__c": 20,
    },
    "Opportunity": {"Name": 120, "NextStep": 255, "Description": 32_000},
    "Invoice__c": {"Name": 80},
    "User": {"Name": 121},
}
ADDRESSES = {"Account": "Billing", "Contact": "Mailing"}
REQUIRED = {"Account": {"Name"}, "Contact": {"LastName"}, "Opportunity": {"Name", "StageName", "CloseDate"}}
OTHERS: dict[str, dict[str, Json]] = {
    "Account": {
        "Phone": {"type": "phone", "length": 40},
        "NumberOfEmployees": {"type": "int"},
        "AnnualRevenue": {"type": "currency"},
    },
    "Contact": {
        "Email": {"type": "email", "length": 80},
        "Phone": {"type": "phone", "length": 40},
        "MobilePhone": {"type": "phone", "length": 40},
        "Level__c": {"type": "picklist", "length": 255, "values": ["Primary", "Secondary"], "restricted": True},
        "HasOptedOutOfEmail": {"type": "boolean"},
        "AccountId": {"type": "reference", "to": "Account"},
    },
    "Opportunity": {
        "StageName": {"type": "picklist", "length": 255, "values": ["Prospecting", "Closed Won"]},
        "CloseDate": {"type": "date"},
        "Amount": {"type": "currency"},
        "Probability": {"type": "percent"},
        "AccountId": {"type": "reference", "to": "Account"},
    },
    "Invoice__c": {"Invoice_No__c": {"type": "double"}, "Total__c": {"type": "currency"}},
}
UNIQUE = {"Account": "Customer_No__c", "Contact": "Customer_No__c", "Invoice__c": "Invoice_No__c"}
SYSTEM = ("Id", "CreatedDate", "LastModifiedDate", "SystemModstamp")
USER = "005000000000001AAA"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_BASE = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Refused(Exception):
    """One or more errors of Salesforce's about one thing."""

    def __init__(self, code: str, message: str, fields: Iterable[str] = (), *, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.fields, self.more = status, code, message, list(fields), more

    @property
    def whole(self) -> list[Json]:
        """As the body of an answer."""
        error: Json = {"message": self.message, "errorCode": self.code, **self.more}
        return [error | {"fields": self.fields} if self.fields else error]

    @property
    def of_row(self) -> Json:
        """As a row of a collection."""
        error = {"statusCode": self.code, "message": self.message, "fields": self.fields, **self.more}
        return {"success": False, "errors": [error]}


def long_id(short: str) -> str:
    """The 18 characters of an id of 15: the last three say which letters are capitals."""
    parts = [short[first : first + 5] for first in (0, 5, 10)]
    sums = [sum(1 << place for place, letter in enumerate(part) if letter.isupper()) for part in parts]
    return short + "".join(_LETTERS[number] for number in sums)


def stamp(at: int) -> str:
    """Milliseconds since the epoch as Salesforce shows an instant: in whole seconds."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


@define
class Row:
    """A record."""

    id: str
    type: str
    fields: Json
    created_at: int
    changed_at: int
    shown_at: int
    """When its last change is shown to queries: at the end of its transaction."""
    is_deleted: bool = False

    def shown(self, names: Iterable[str] | None = None) -> Json:
        """The record with those fields; all for None."""
        system = {
            "Id": self.id,
            "CreatedDate": stamp(self.created_at),
            "LastModifiedDate": stamp(self.changed_at),
            "SystemModstamp": stamp(self.changed_at),
            **({} if self.type == "User" else {"IsDeleted": self.is_deleted}),
        }
        held: Json = {**dict.fromkeys(schema(self.type)), **self.fields, **system}
        picked = held if names is None else {name: held[name] for name in names}
        url = f"/services/data/v65.0/sobjects/{self.type}/{self.id}"
        return {"attributes": {"type": self.type, "url": url}, **picked}


def schema(kind: str) -> dict[str, Json]:
    """The fields of a type, as they are described."""
    if kind not in PREFIXES:
        raise Refused("NOT_FOUND", "The requested resource does not exist", status=404)
    fields: dict[str, Json] = {name: {"type": "string", "length": length} for name, length in TEXTS[kind].items()}
    if kind in ADDRESSES:
        sizes = {"Street": 255, "City": 40, "State": 80, "PostalCode": 20, "Country": 80}
        fields |= {f"{ADDRESSES[kind]}{part}": {"type": "string", "length": most} for part, most in sizes.items()}
    fields |= OTHERS.get(kind, {})
    fields["OwnerId"] = {"type": "reference", "to": "User", "defaulted": True}
    fields |= {name: {"type": "id" if name == "Id" else "datetime", "system": True} for name in SYSTEM}
    return fields if kind == "User" else fields | {"IsDeleted": {"type": "boolean", "system": True}}


@define
class Org:
    """One org."""

    now: int = 1_780_000_000_000
    """Its clock, in milliseconds. Each write moves it on by ``tick``."""
    tick: int = 1
    commit_delay: int = 0
    """Milliseconds between the stamp of a change and the end of its transaction."""
    rows: dict[str, Row] = field(factory=dict[str, Row])
    locked: set[str] = field(factory=set[str])
    """Ids that another transaction holds."""
    has_duplicate_rule: bool = False
    """A Contact's Email must not be another one's."""
    _numbers: count[int] = field(factory=lambda: count(1), init=False)

    def seed(self, kind: str, number: int, **fields: Any) -> list[str]:
        """Make records, all stamped with the same second; their ids."""
        return [self._make(kind, dict(fields)).id for _ in range(number)]

    def find(self, identity: str, kind: str | None = None) -> Row | None:
        """The live record of that id."""
        row = self.rows.get(identity[:15])
        return row if row is not None and not row.is_deleted and kind in {None, row.type} else None

    def by_value(self, kind: str, name: str, value: Any) -> list[Row]:
        """The live records with a value, which is compared regardless of case."""
        return [
            row
            for row in self.rows.values()
            if row.type == kind and not row.is_deleted and _same(row.fields.get(name), value)
        ]

    def create(self, kind: str, sent: Json) -> Row:
        """Make a record."""
        missing = sorted(name for name in REQUIRED.get(kind, ()) if sent.get(name) in (None, ""))
        if missing:
            raise Refused("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", missing)
        fields = self._checked(kind, sent, None)
        return self._make(kind, fields)

    def update(self, kind: str, identity: str, sent: Json) -> Row:
        """Change a record."""
        row = self._target(identity, kind)
        fields = self._checked(kind, sent, row)
        row.fields |= fields
        self._touch(row)
        return row

    def delete(self, identity: str) -> Row:
        """Put a record into the recycle bin."""
        row = self._target(identity, None)
        row.is_deleted = True
        self._touch(row)
        return row

    def purge(self) -> None:
        """Empty the recycle bin."""
        self.rows = {identity: row for identity, row in self.rows.items() if not row.is_deleted}

    def check_names(self, kind: str, sent: Json) -> None:
        """Refuse the whole call for a field that there is not."""
        for name in sent:
            if name not in schema(kind) and name.lower() not in {"id", "attributes"}:
                raise Refused("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")

    def _target(self, identity: str, kind: str | None) -> Row:
        if not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", identity):
            raise Refused("MALFORMED_ID", f"bad id {identity}", ["Id"])
        row = self.rows.get(identity[:15])
        if row is None or kind not in {None, row.type}:
            raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.is_deleted:
            raise Refused("ENTITY_IS_DELETED", "entity is deleted")
        if row.id in self.locked:
            raise Refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record or 1 records")
        return row

    def _checked(self, kind: str, sent: Json, row: Row | None) -> Json:
        self.check_names(kind, sent)
        fields: Json = {}
        for name, value in sent.items():
            described = schema(kind).get(name, {"system": True})
            if described.get("system"):
                code = "INVALID_FIELD_FOR_INSERT_UPDATE"
                raise Refused(code, f"Unable to create/update fields: {name}.", [name])
            fields[name] = self._valid(name, described, value)
        if fields.get("LastName") == "Forbidden":
            raise Refused("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Not that name", ["LastName"])
        if fields.get("LastName") == "Triggering lock":
            message = "ContactTrigger: execution of AfterUpdate caused by: UNABLE_TO_LOCK_ROW, unable to obtain access"
            raise Refused("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message)
        self._check_unique(kind, fields, row)
        return fields

    def _valid(self, name: str, described: Json, value: Any) -> Any:
        value = value.strip() or None if isinstance(value, str) else value
        if value is None:
            return None
        kind, length = described["type"], described.get("length")
        if length and len(str(value)) > length:
            raise Refused("STRING_TOO_LONG", f"{name}: data value too large: {value} (max length={length})", [name])
        if kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", str(value)):
            raise Refused("INVALID_EMAIL_ADDRESS", f"{name}: invalid email address: {value}", [name])
        if kind == "picklist" and described.get("restricted") and value not in described["values"]:
            code = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
            raise Refused(code, f"{name}: bad value for restricted picklist field: {value}", [name])
        if kind == "reference" and value != USER and self.find(value, described["to"]) is None:
            raise Refused("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [name])
        return float(value) if kind in {"double", "currency", "percent"} else value

    def _check_unique(self, kind: str, fields: Json, row: Row | None) -> None:
        unique = UNIQUE.get(kind)
        others = [other for other in self.by_value(kind, unique or "", fields.get(unique or "")) if other is not row]
        if unique and fields.get(unique) is not None and others:
            message = f"duplicate value found: {unique} duplicates value on record with id: {others[0].id}"
            raise Refused("DUPLICATE_VALUE", message, [unique])
        if self.has_duplicate_rule and kind == "Contact" and fields.get("Email"):
            found = [other for other in self.by_value(kind, "Email", fields["Email"]) if other is not row]
            if found:
                raise _duplicates(kind, found)

    def _make(self, kind: str, fields: Json) -> Row:
        number, digits = next(self._numbers), ""
        for _ in range(12):
            number, digit = divmod(number, 62)
            digits = _BASE[digit] + digits
        identity = long_id(PREFIXES[kind] + digits)
        row = Row(identity, kind, {"OwnerId": USER, **fields}, self.now, self.now, self.now)
        self.rows[identity[:15]] = row
        self._touch(row)
        return row

    def _touch(self, row: Row) -> None:
        row.changed_at, row.shown_at = self.now, self.now + self.commit_delay
        self.now += self.tick


def _duplicates(kind: str, rows: list[Row]) -> Refused:
    records: list[Json] = [
        {
            "matchConfidence": 100.0,
            "record": {"attributes": {"type": kind}, "Id": row.id},
        }
        for row in rows
    ]
    match: Json = {"entityType": kind, "matchEngine": "ExactMatchEngine", "matchRecords": records}
    result: Json = {
        "allowSave": False,
        "duplicateRule": "Contacts",
        "matchResults": [match | {"size": 1, "success": True}],
    }
    return Refused("DUPLICATES_DETECTED", "Use one of these records?", duplicateResut=result)


def _same(held: Any, value: Any) -> bool:
    if isinstance(held, float):
        try:
            return held == float(value)
        except (TypeError, ValueError):
            return False
    return held is not None and str(held).casefold() == str(value).casefold()
