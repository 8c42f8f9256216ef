"""What is stored can be read again, or is refused with one of two errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from ratesync.codec import FORMAT, decode_operation, decode_outcome, encode_operation, encode_outcome
from ratesync.errors import CodecError, CorruptItem, InvalidPayload, NewerFormat
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.record import Record

LANE = Lane("acme", "berlin")
OFFSETS = (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11)))

text = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=10)
fields = st.dictionaries(text, values)
# Up to here the microseconds of an instant survive being a float.
instants = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from(OFFSETS))  # noqa: DTZ001  the strategy adds the zone
operations = st.builds(
    Operation,
    provider=st.just(LANE.provider),
    connection=st.just(LANE.connection),
    id=names,
    resource=names,
    kind=st.sampled_from(Kind),
    record_id=st.none() | names,
    fields=fields,
    priority=st.integers(-100, 100),
    not_before=st.none() | instants,
    deadline=st.none() | instants,
    key=st.none() | names,
    idempotency_key=st.none() | names,
    correlation_id=st.none() | names,
    if_version=st.none() | names,
)
times = st.floats(0, 1e9)
records = st.builds(Record, text, fields, st.none() | text, st.none() | times, st.dictionaries(text, times, max_size=2))
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Applied, st.none() | text, st.none() | text, st.none() | records),
    st.builds(Conflict, text, st.none() | records),
    st.builds(RetryLater, text, st.sampled_from(Cause), st.none() | st.floats(0, 1e9)),
    st.builds(Rejected, text, st.none() | text),
    st.builds(Unknown, text),
)
EVERY_KEY = ["v", "k", "r", "i", "f", "p", "n", "d", "key", "idempotency_key", "correlation_id", "if_version"]
FULL = Operation.update(
    "acme",
    "contacts",
    "42",
    {"name": "Zoë", "tags": [1, 2.5, None, True, {"ключ": "值"}]},
    connection="berlin",
    id="op-1",
    key="k",
    priority=-7,
    not_before=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    deadline=datetime(2026, 1, 3, tzinfo=UTC),
    idempotency_key="i",
    correlation_id="c",
    if_version='W/"7"',
)


def read(data: bytes) -> Operation:
    return decode_operation(data, LANE, "op-1")


def stored(**changes: Any) -> bytes:
    """A small stored operation with some of its values replaced."""
    return json.dumps({"v": FORMAT, "k": "update", "r": "contacts", "i": "42"} | changes).encode()


@given(operations)
def test_an_operation_is_read_as_it_was_written(operation: Operation) -> None:
    identity = operation.id or ""
    expected = evolve(operation, idempotency_key=operation.idempotency_key or identity)
    assert decode_operation(encode_operation(operation), LANE, identity) == expected


@given(outcomes)
def test_an_outcome_is_read_as_it_was_written(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


def test_an_instant_of_any_year_is_read_to_the_millisecond() -> None:
    late = datetime(9998, 12, 31, 23, 59, 59, 999999, UTC)
    found = read(encode_operation(evolve(FULL, deadline=late))).deadline
    assert found is not None
    assert abs(found - late) < timedelta(milliseconds=1)


def test_a_mapping_of_any_kind_is_written_as_an_object() -> None:
    operation = evolve(FULL, fields=MappingProxyType({"a": (1, 2)}))
    assert read(encode_operation(operation)).fields == {"a": [1, 2]}


def test_an_operation_without_an_idempotency_key_gets_its_id() -> None:
    assert read(encode_operation(evolve(FULL, idempotency_key=None))).idempotency_key == "op-1"


def test_the_lane_and_the_id_are_not_in_the_bytes() -> None:
    data = encode_operation(FULL)
    assert not any(name.encode() in data for name in ("acme", "berlin", "op-1"))
    assert decode_operation(data, Lane("other", "lane"), "op-2").lane == Lane("other", "lane")


def test_bytes_of_format_1_stay_readable() -> None:
    """What was stored before an upgrade. Never change these bytes; a new format adds a new test."""
    data = (
        '{"v":1,"k":"update","r":"contacts","i":"42","f":{"name":"Zoë","tags":[1,2.5,null,true,{"ключ":"值"}]},'
        '"p":-7,"n":1767323045.678901,"d":1767398400.0,"key":"k","idempotency_key":"i","correlation_id":"c",'
        '"if_version":"W/\\"7\\""}'
    ).encode()
    assert read(data) == FULL
    assert encode_operation(FULL) == data


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        ('{"v":1,"o":"applied"}', Applied()),
        (
            '{"v":1,"o":"applied","i":"7","w":"e","x":{"i":"7","f":{"a":"ü"},"w":null}}',
            Applied("7", "e", Record("7", {"a": "ü"})),
        ),
        ('{"v":1,"o":"conflict","t":"r"}', Conflict("r")),
        ('{"v":1,"o":"retry","t":"r","c":"throttled","a":1.5}', RetryLater("r", Cause.THROTTLED, 1.5)),
        ('{"v":1,"o":"rejected","t":"r","c":"422"}', Rejected("r", "422")),
        ('{"v":1,"o":"unknown","t":"r"}', Unknown("r")),
    ],
)
def test_outcomes_of_format_1_stay_readable(data: str, outcome: Outcome) -> None:
    assert decode_outcome(data.encode()) == outcome
    assert encode_outcome(outcome) == data.encode()


@given(operations, st.data())
def test_an_operation_cut_short_is_corrupt(operation: Operation, data: st.DataObject) -> None:
    whole = encode_operation(operation)
    with pytest.raises(CorruptItem):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(outcomes, st.data())
def test_an_outcome_cut_short_is_corrupt(outcome: Outcome, data: st.DataObject) -> None:
    whole = encode_outcome(outcome)
    with pytest.raises(CorruptItem):
        decode_outcome(whole[: data.draw(st.integers(0, len(whole) - 1))])


DAMAGED = {
    "nothing": b"",
    "null": b"null",
    "empty list": b"[]",
    "list": b"[1]",
    "number": b"7",
    "text": b'"v"',
    "empty object": b"{}",
    "version alone": b'{"v":1}',
    "not utf-8": b"\xff\xfe\x00",
    "pickle": b"\x80\x04K\x01.",
    "surrogate in utf-8": b'{"v":1,"k":"update","r":"contacts","i":"\xed\xa0\x80","o":"applied"}',
    "unknown kind": b'{"v":1,"k":"destroy","r":"contacts","o":"exploded"}',
    "kind is a list": b'{"v":1,"k":["update"],"r":"contacts","o":["applied"]}',
    "nan": b'{"v":1,"k":"update","r":"contacts","o":"applied","f":{"a":NaN}}',
    "infinity": b'{"v":1,"k":"update","r":"contacts","o":"applied","f":{"a":-Infinity}}',
    "year out of range": b'{"v":1,"k":"update","r":"contacts","n":1e300,"o":"retry","t":"t","c":"never"}',
    "instant is text": b'{"v":1,"k":"update","r":"contacts","d":"soon","o":"applied","x":"record"}',
    "too many digits": b'{"v":1,"k":"update","r":"contacts","o":"applied","p":' + b"9" * 5000 + b"}",
    "too deep": b'{"v":1,"k":"update","r":"contacts","o":"applied","f":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("decode", [read, decode_outcome])
@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_or_foreign_bytes_are_corrupt(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(CorruptItem):
        decode(data)


@pytest.mark.parametrize("version", [FORMAT + 1, 1000])
def test_a_newer_format_is_told_apart_from_damage(version: int) -> None:
    for decode in (read, decode_outcome):
        with pytest.raises(NewerFormat, match=f"{version}.*upgrade"):
            decode(json.dumps({"v": version, "whatever": "comes"}).encode())


@pytest.mark.parametrize("version", [0, -1, None, "1", "2", [2], {}, True, False, 1.5], ids=repr)
def test_a_version_that_was_never_written_is_damage_and_not_a_newer_format(version: object) -> None:
    """A mailbox of a newer format waits for a newer worker, so damage must not look like one."""
    for decode in (read, decode_outcome):
        with pytest.raises(CorruptItem):
            decode(stored(v=version, o="applied"))


def test_a_number_too_large_for_a_float_is_corrupt() -> None:
    """JSON can spell it, a float cannot hold it, and no provider could be sent it."""
    with pytest.raises(CorruptItem):
        read(stored(f={}).replace(b"{}", b'{"a":1e999}'))


@given(operations, st.data())
def test_a_damaged_byte_gives_an_operation_or_a_codec_error(operation: Operation, data: st.DataObject) -> None:
    whole = bytearray(encode_operation(operation))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert_codec_error_or_well_typed(bytes(whole))


@given(st.binary())
def test_any_bytes_give_a_codec_error(data: bytes) -> None:
    for decode in (read, decode_outcome):
        with pytest.raises(CodecError):
            decode(data)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(EVERY_KEY, values)), st.sampled_from(Kind))
@example({"r": "c", "i": "1", "f": "ab"}, Kind.UPDATE)
@example({"r": ["c"], "i": "1"}, Kind.UPDATE)
@example({"r": "c", "i": 1}, Kind.UPDATE)
@example({"r": "c", "i": "1", "p": "high"}, Kind.UPDATE)
@example({"r": "c", "i": "1", "idempotency_key": None}, Kind.UPDATE)
def test_an_object_with_any_values_gives_a_well_typed_operation_or_is_corrupt(
    value: dict[str, Any], kind: Kind
) -> None:
    assert_codec_error_or_well_typed(json.dumps({"v": FORMAT, "k": kind} | value).encode())


@given(st.sampled_from(["applied", "conflict", "retry", "rejected", "unknown"]), st.data())
@example("applied", None)
def test_an_object_with_any_values_gives_a_well_typed_outcome_or_is_corrupt(
    kind: str, data: st.DataObject | None
) -> None:
    record = st.fixed_dictionaries({"i": values, "f": values}, optional={"w": values})
    keys = {"i": values, "w": values, "t": values, "c": values | st.sampled_from(Cause), "a": values}
    parts = st.fixed_dictionaries({}, optional={**keys, "x": values | record})
    drawn = {"i": 5, "x": {"i": "1", "f": "ab"}} if data is None else data.draw(parts)
    try:
        outcome = decode_outcome(json.dumps({"v": FORMAT, "o": kind} | drawn).encode())
    except CorruptItem:
        return
    assert_well_typed_outcome(outcome)


def assert_codec_error_or_well_typed(data: bytes) -> None:
    try:
        found = read(data)
    except CodecError:
        return
    assert isinstance(found.resource, str)
    assert isinstance(found.kind, Kind)
    assert isinstance(found.fields, Mapping)
    assert type(found.priority) is int
    assert isinstance(found.idempotency_key, str)
    for extra in (found.record_id, found.key, found.correlation_id, found.if_version):
        assert extra is None or isinstance(extra, str)


def assert_well_typed_outcome(outcome: Outcome) -> None:
    if isinstance(outcome, Applied):
        texts, record = (outcome.record_id, outcome.version), outcome.record
    elif isinstance(outcome, Conflict):
        texts, record = (outcome.reason, None), outcome.current
    elif isinstance(outcome, RetryLater):
        texts, record = (outcome.reason, None), None
        assert outcome.retry_after is None or type(outcome.retry_after) in {int, float}
    elif isinstance(outcome, Rejected):
        texts, record = (outcome.reason, outcome.code), None
    else:
        texts, record = (outcome.reason, None), None
    assert all(text is None or isinstance(text, str) for text in texts)
    if record is not None:
        assert isinstance(record.record_id, str)
        assert isinstance(record.fields, Mapping)
        assert record.version is None or isinstance(record.version, str)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, "\ud800", {1, 2}, b"bytes", datetime(2026, 1, 1, tzinfo=UTC), 10**5000],
    ids=["nan", "infinity", "surrogate", "set", "bytes", "datetime", "too many digits"],
)
def test_what_is_not_json_is_refused_without_showing_it(value: object) -> None:
    secret = "hunter2"
    with pytest.raises(InvalidPayload) as caught:
        encode_operation(evolve(FULL, fields={"password": secret, "odd": value}), path="operations[4]")
    assert caught.value.path == "operations[4]"
    assert secret not in str(caught.value)


def test_fields_that_contain_themselves_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(InvalidPayload):
        encode_operation(evolve(FULL, fields=loop))


@pytest.mark.parametrize(
    "outcome",
    [Applied(record=Record("1", {"a": math.nan})), Rejected("\ud800"), Applied(record=Record("1", {"a": object()}))],
    ids=["nan", "surrogate", "object"],
)
def test_an_outcome_that_is_not_json_is_refused(outcome: Outcome) -> None:
    with pytest.raises(InvalidPayload):
        encode_outcome(outcome)


@pytest.mark.parametrize("fields", [None, 7, ["a"]], ids=repr)
def test_an_outcome_whose_record_has_no_mapping_of_fields_is_refused(fields: Any) -> None:
    """An adapter's or a transformer's mistake, so the codec must say so like of any other."""
    with pytest.raises(InvalidPayload):
        encode_outcome(Applied(record=Record("1", fields)))
