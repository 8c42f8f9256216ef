"""A collection at a real Kinto, for its users: they change records by HTTP, each only as they saw it."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx
from attrs import field, frozen

from ratesync.mapping import Field, Mapping
from tests.real_sync.users import Fields

_MADE_BY_USERS = "user-"
_ONCE = {"if-none-match": "*"}
_NAMES = {"origin": "origin", "name": "full_name", "city": "city", "note": "remarks"}
_OURS = {there: here for here, there in _NAMES.items()}

MAPPING = Mapping(*(Field(here, there) for here, there in _NAMES.items()))
"""From the collection's records to the application's, and back."""


@frozen
class Collection:
    """The records of one collection."""

    client: httpx.Client
    url: str
    """Of the records."""
    _etags: dict[str, str] = field(factory=dict[str, str], init=False)
    """Of the records as they were last seen."""
    _numbers: Any = field(factory=count, init=False)

    def records(self) -> dict[str, Fields]:
        """All records by id."""
        found = self.client.get(self.url).raise_for_status().json()["data"]
        records: dict[str, Fields] = {}
        for row in found:
            record_id = row.pop("id")
            self._etags[record_id] = f'"{row.pop("last_modified")}"'
            if record_id.startswith(_MADE_BY_USERS):
                assert row["secret"] == f"of {row['origin']}", "a field that nobody maps was changed"
            records[record_id] = {_OURS[name]: value for name, value in row.items() if name in _OURS}
        return records

    def writes(self) -> object:
        """Something that is another after each write, whoever made it."""
        return self.client.head(self.url).raise_for_status().headers["etag"]

    def create(self, fields: Fields) -> None:
        """Make a record, with a field that nobody maps."""
        path = f"{self.url}/{_MADE_BY_USERS}{next(self._numbers)}"
        data = _as_there(fields) | {"secret": f"of {fields['origin']}"}
        self.client.put(path, headers=_ONCE, json={"data": data}).raise_for_status()

    def change(self, record_id: str, seen: Fields, patch: Fields) -> bool:
        """Change a record, if it is still as it was seen."""
        return self._if_seen("PATCH", record_id, {"data": _as_there(patch)})

    def delete(self, record_id: str, seen: Fields) -> bool:
        """Delete a record, if it is still as it was seen."""
        return self._if_seen("DELETE", record_id, None)

    def _if_seen(self, method: str, record_id: str, body: object) -> bool:
        condition = {"if-match": self._etags[record_id]}
        answer = self.client.request(method, f"{self.url}/{record_id}", headers=condition, json=body)
        if answer.status_code in {404, 412}:  # the sync was faster
            return False
        answer.raise_for_status()
        return True


def _as_there(fields: Fields) -> dict[str, Any]:
    return {_NAMES[name]: value for name, value in fields.items()}
