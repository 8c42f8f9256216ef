"""Why an operation cannot be asked for at Salesforce."""

from __future__ import annotations

from ratesync.errors import InvalidPayload
from ratesync.http.payload import encode_json
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Rejected
from ratesync.providers.salesforce.record_id import external_value, is_id, plain_value
from ratesync.providers.salesforce.sobject import SObject

_RESERVED = frozenset({"attributes", "id"})


def objection_to(operation: Operation, described: SObject) -> Rejected | None:
    """Why the operation cannot be asked for; None if it can."""
    problem = _naming_problem(operation, described) or _field_problem(operation, described)
    if problem is not None:
        return Rejected(problem, code="invalid_operation")
    try:
        encode_json([operation.record_id, dict(operation.fields)])
    except InvalidPayload as error:
        return Rejected(str(error), code=type(error).__name__)
    return None


def _naming_problem(operation: Operation, described: SObject) -> str | None:
    """What is wrong with how the operation names its record; None: nothing."""
    kind, record_id = operation.kind, operation.record_id
    if kind is Kind.CREATE:
        return None if record_id is None else "Salesforce assigns the ids of new records: leave record_id out"
    is_valued = external_value(record_id, described) is not None
    if kind is Kind.UPSERT and described.external_id is None:
        return "an upsert needs an external_id of the object type"
    if kind is Kind.UPSERT:
        return None if is_valued else f"record_id must be '{described.external_id}/' and the value"
    if kind is Kind.DELETE and is_id(record_id):
        return _prefix_problem(record_id or "", described)
    if is_id(record_id) or (kind is Kind.READ and is_valued):
        return None
    return "record_id is not one of Salesforce's ids, which have 15 or 18 letters and digits"


def _prefix_problem(record_id: str, described: SObject) -> str | None:
    """Why the record must not be deleted by that id: Salesforce would not look at its type."""
    prefix = described.key_prefix
    if prefix is None:
        return "a delete needs the key_prefix of the object type, as Salesforce deletes by id alone"
    return (
        None
        if record_id.startswith(prefix)
        else f"record_id is of another object type: ids of this begin with {prefix}"
    )


def _field_problem(operation: Operation, described: SObject) -> str | None:
    """What is wrong with the fields to write; None: nothing."""
    if operation.kind in {Kind.READ, Kind.DELETE}:
        return None
    reserved = [name for name in operation.fields if name.lower() in _RESERVED]
    if reserved:
        return f"{reserved[0]!r} is no field that can be written: record_id names the record"
    if operation.kind is Kind.UPSERT:
        written = operation.fields.get(described.external_id or "")
        value = external_value(operation.record_id, described)
        if written is not None and plain_value(written) != plain_value(value):
            return f"{described.external_id} is not what record_id says"
    return None
