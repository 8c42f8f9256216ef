"""Listing records, finding them by the values of a field, and looking up creates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ratesync.errors import InvalidResponse, PagingBroken, UnsupportedOperation
from ratesync.model.change import RecordPage
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Outcome, Rejected, RetryLater, Unknown
from ratesync.providers.client import Client
from ratesync.providers.lookup import another_found
from ratesync.providers.row import instant_in, object_in
from ratesync.providers.salesforce.answer import read_problem, read_whole
from ratesync.providers.salesforce.record import has_more, read_records
from ratesync.providers.salesforce.record_id import external_value, is_id, plain_value
from ratesync.providers.salesforce.requests import query, read_by_value
from ratesync.providers.salesforce.sobject import ID, SObject, is_name
from ratesync.providers.salesforce.soql import behind_id, one_of, page_max, select
from ratesync.rules.provider_errors import error_for_outcome

LONGEST_QUERY = 12_000
"""Characters of a query in a URL. Salesforce takes 16,384 bytes of URL and headers together."""


async def list_page(client: Client, name: str, described: SObject, page: str | None, *, limit: int) -> RecordPage:
    """The page of records behind an id, in Salesforce's order of ids.

    :raises PagingBroken: the page does not lie behind the id.
    """
    if page is not None and not is_id(page):
        raise PagingBroken("this is no position of Salesforce's listing: begin anew", fault="position", page=1)
    limit = max(1, min(limit, page_max(described)))
    body = await client.read(query(select(described, name, behind_id(page), limit=limit)))
    records = read_records(body, described)
    ids = [record.record_id for record in records]
    if len(set(ids)) < len(ids) or page in ids:
        raise PagingBroken("Salesforce's answer does not lie behind its position", fault="position", page=1)
    following = ids[-1] if has_more(body, records, limit) else None
    return RecordPage(tuple(records), following, client.feedback)


async def find_records(client: Client, name: str, described: SObject, path: str, values: Sequence[str]) -> RecordPage:
    """All records that have one of the values.

    :raises UnsupportedOperation: the path is no field, or the values are too long for one query.
    :raises InvalidResponse: more records have them than one page takes, or the field is none of text.
    """
    if not is_name(path):
        raise UnsupportedOperation("Salesforce is searched by a field, such as Email", path="path")
    # An empty text means null to Salesforce, which is no value.
    asked = [value for value in dict.fromkeys(values) if (is_id(value) if path == ID else value.strip())]
    if not asked:
        return RecordPage((), feedback=client.feedback)
    most = page_max(described)
    soql = select(described, name, one_of(path, asked), limit=most)
    if any(not _is_text(value) for value in asked) or len(quote(soql, safe="")) > LONGEST_QUERY:
        raise UnsupportedOperation("the values are too many or too long for one query: give fewer", path="values")
    body = await client.read(query(soql))
    records = read_records(body, described)
    if has_more(body, records, most):
        raise InvalidResponse(f"{most} records or more have one of the values: ask for fewer of them")
    return RecordPage(tuple(records), feedback=client.feedback)


async def look_up(client: Client, name: str, described: SObject, operation: Operation) -> Outcome | None:
    """Whether a create was applied, by its value of the external id.

    ``Unknown`` where it has no such value. ``Conflict`` where the record with that value has others than it wrote: that
    may be an older record, for which Salesforce has refused it, or its own that somebody has changed since.
    """
    written = operation.fields.get(described.external_id or "")
    value = None if written is None else external_value(f"{described.external_id}/{_plain(written)}", described)
    if value is None:
        return Unknown("it cannot be looked up: it has no value of an external id")
    response = await client.send(read_by_value(name, described, value))
    outcome = read_whole(response, Kind.READ, client.clock.now())
    match outcome:
        case RetryLater():
            raise error_for_outcome(outcome)
        case Rejected() if read_problem(response).is_missing:
            return None
        case Applied():
            return _found(object_in(response), operation.fields)
        case _:
            return Unknown(outcome.reason)


def _found(held: dict[str, Any], sent: Mapping[str, Any]) -> Outcome:
    identity = held.get(ID)
    if not isinstance(identity, str) or not is_id(identity):
        return Unknown("Salesforce's answer to a read is no record")
    if not all(agrees(value, held.get(name)) for name, value in sent.items() if not isinstance(value, dict)):
        return another_found(identity, "external id")
    return Applied(record_id=identity)


def agrees(sent: Any, held: Any) -> bool:
    """Tell whether Salesforce's value is what was sent, as far as it stores it in a spelling of its own."""
    if sent in (None, "") or held is None:
        return sent in (None, "") and held is None
    if isinstance(sent, bool) or isinstance(held, bool):
        return plain_value(sent) == plain_value(held)
    number, other = _number(sent), _number(held)
    if number is not None and other is not None:
        return number == other
    moment = instant_in(sent)
    if moment is not None and moment == instant_in(held):
        return True
    return plain_value(sent).split() == plain_value(held).split() or is_same_id(sent, held)


def is_same_id(sent: Any, held: Any) -> bool:
    """Tell whether two texts are one id of Salesforce, in its short and its long form."""
    texts = str(sent), str(held)
    return all(map(is_id, texts)) and texts[0][:15] == texts[1][:15]


def _plain(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
