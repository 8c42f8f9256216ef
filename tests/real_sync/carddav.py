"""An adapter for CardDAV (RFC 6352): the cards of an address book, with its feed of changes (RFC 6578)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Unpack
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import vobject
from vobject.vcard import Name

from ratesync import Applied, Batch, Capabilities, Conflict, CreateIdentity, Kind, Operation, Outcome
from ratesync.errors import CursorExpired
from ratesync.http import Accounts, Response
from ratesync.mapping import FirstOf
from ratesync.mapping import Mapping as CardMapping
from ratesync.model.batch import ConditionalWrite, DeleteFeed
from ratesync.model.change import Change, ChangePage
from ratesync.model.operation import Fields
from ratesync.model.record import Record
from ratesync.providers import HttpProvider
from ratesync.providers.http_provider import HttpOptions

_OWN = frozenset({"uid", "version", "rev", "prodid"})
_ONCE = {"if-none-match": "*"}
_REPORT = """<sync-collection xmlns="DAV:"><sync-token>{}</sync-token><sync-level>1</sync-level>
<prop><getetag/></prop></sync-collection>"""
_INVALID_TOKEN = b"valid-sync-token"

_VCARDS: Any = vobject  # its types are unknown in parts

CONTACTS = CardMapping(
    FirstOf("name", "fn", required=True), FirstOf("email", "email"), FirstOf("phone", "tel"), FirstOf("note", "note")
)
"""Contacts as an application has them: the first of what a card may have several of."""


class CardDavProvider(HttpProvider):
    """A resource is an address book of the account's.

    A record's fields are the card's properties that are texts, by name: a list of values each. All else of a card (the
    photo, parameters such as TYPE, groups, what nobody knows) is left as it is by an update: it reads the card, changes
    those lines, and writes it back if nobody else has written it in between.

    :param url: of the account's address books.
    """

    capabilities = Capabilities(
        kinds=[Kind.CREATE, Kind.READ, Kind.UPDATE, Kind.DELETE],
        conditional_write=ConditionalWrite.STRONG,
        create_identity=CreateIdentity.CLIENT_ID,
        deletes=DeleteFeed.TOMBSTONES,
    )

    def __init__(self, url: str, accounts: Accounts, **options: Unpack[HttpOptions]) -> None:
        super().__init__("carddav", url, accounts, **options)

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        """Carry out one operation."""
        (operation,) = batch.operations
        return {operation.id or "": await self._carry_out(operation)}

    async def _carry_out(self, operation: Operation) -> Outcome:
        match operation.kind:
            case Kind.CREATE:
                card = new_card(operation.record_id or "", operation.fields)
                return await self._put(operation, card, _ONCE)
            case Kind.DELETE:
                condition = {} if operation.if_version is None else {"if-match": operation.if_version}
                return self._judged(operation, await self._send(operation, "DELETE", headers=condition))
            case _:
                return await self._read_or_update(operation)

    async def _read_or_update(self, operation: Operation) -> Outcome:
        answer = await self._send(operation, "GET")
        if not answer.is_success:
            return self._judged(operation, answer)
        card, etag = _VCARDS.readOne(answer.body.decode()), answer.headers["etag"]
        record = Record(operation.record_id or "", fields_of(card), etag)
        if operation.kind is Kind.READ:
            return Applied(record=record)
        if operation.if_version not in {None, etag}:
            return Conflict("the card has another ETag", record)
        change(card, operation.fields)
        return await self._put(operation, card, {"if-match": etag})

    async def _put(self, operation: Operation, card: Any, condition: Mapping[str, str]) -> Outcome:
        headers = {"content-type": "text/vcard", **condition}
        return self._judged(
            operation, await self._send(operation, "PUT", content=card.serialize().encode(), headers=headers)
        )

    async def _send(self, operation: Operation, method: str, **request: Any) -> Response:
        path = f"/{quote(operation.resource)}/{quote(operation.record_id or '', safe='')}.vcf"
        return await self.send(operation.connection, method, path, **request)

    def _judged(self, operation: Operation, answer: Response) -> Outcome:
        outcome, _ = self.judge(answer, operation.kind)
        return Applied(operation.record_id, outcome.version) if isinstance(outcome, Applied) else outcome

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """All changes since the sync token; Radicale knows no pages."""
        answer = await self.send(
            connection,
            "REPORT",
            f"/{quote(resource)}/",
            content=_REPORT.format(cursor or "").encode(),
            headers={"content-type": "application/xml"},
        )
        if answer.status == HTTPStatus.FORBIDDEN and _INVALID_TOKEN in answer.body:
            raise CursorExpired("the server does not know the sync token any more: list all cards anew")
        told = ET.fromstring(self.checked(answer).body)  # noqa: S314  of a server that the tests started
        changes = [_change(part) for part in told.iterfind("{DAV:}response")]
        return ChangePage(tuple(changes), told.findtext("{DAV:}sync-token", ""), has_more=False)


def _change(part: ET.Element) -> Change:
    record_id = unquote(part.findtext("{DAV:}href", "")).rpartition("/")[2].removesuffix(".vcf")
    etag = part.findtext("{DAV:}propstat/{DAV:}prop/{DAV:}getetag")
    return Change(record_id, etag, is_deleted=etag is None)


def new_card(uid: str, fields: Fields) -> Any:
    """A card; its N, without which there is none, is made of FN."""
    card = _VCARDS.vCard()
    card.add("uid").value = uid
    change(card, fields)
    given, _, family = card.fn.value.rpartition(" ")
    card.add("n").value = Name(family=family, given=given)
    return card


def fields_of(card: Any) -> dict[str, list[str]]:
    """The texts of a card."""
    names = (name for name in card.contents if name not in _OWN)
    return {name: [line.value for line in lines] for name in names if (lines := _texts(card, name))}


def change(card: Any, fields: Fields) -> None:
    """Give properties other values. A line keeps its parameters."""
    for name, wanted in fields.items():
        lines, values = _texts(card, name), [value or "" for value in wanted or ()]
        for line, value in zip(lines, values, strict=False):
            line.value = value
        for line in lines[len(values) :]:
            card.remove(line)
        for value in values[len(lines) :]:
            card.add(name).value = value


def _texts(card: Any, name: str) -> list[Any]:
    return [line for line in card.contents.get(name, ()) if isinstance(line.value, str)]
