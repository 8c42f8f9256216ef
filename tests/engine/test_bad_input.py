"""Bad input gets a clear error at submit, and changes nothing."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve, frozen

from ratesync import Capabilities, ConditionalWrite, Kind, Operation, PayloadLimits, Settings, SyncEngine
from ratesync.errors import InvalidOperation, InvalidPayload, UnknownProvider, UnsupportedOperation
from ratesync.model.event import Event
from ratesync.testing.fake_provider import FakeProvider
from tests.engine.conftest import EngineFactory

pytestmark = pytest.mark.anyio

CANARY = "hunter2"
"""Part of every offending value: no message may show it."""
GOOD = Operation.update("fake", "contacts", "42", {"email": "ada@example.org"})
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAIVE = datetime(2026, 1, 1, 12)  # noqa: DTZ001  what is tested


@frozen
class Bad:
    """A bad operation, made when it is needed, the error it must get, and the place that the error must name."""

    make: Callable[[], Any]
    place: str
    error: type[InvalidOperation] = InvalidOperation


def attribute(name: str, value: Any, error: type[InvalidOperation] = InvalidOperation) -> Bad:
    """A good operation with one bad attribute."""
    return Bad(lambda: evolve(GOOD, **{name: value}), f".{name}", error)


def payload(make: Callable[[], object], place: str) -> Bad:
    """An operation with a bad value in the field ``a``."""
    return Bad(lambda: evolve(GOOD, fields={"password": CANARY, "a": make()}), f".fields{place}", InvalidPayload)


def nested_lists(depth: int) -> list[Any]:
    outer: list[Any] = [CANARY]
    for _ in range(depth):
        outer = [outer]
    return outer


def nested_objects(depth: int) -> dict[str, Any]:
    outer: dict[str, Any] = {"a": CANARY}
    for _ in range(depth):
        outer = {"a": outer}
    return outer


def inside_itself() -> dict[str, Any]:
    loop: dict[str, Any] = {"password": CANARY}
    loop["a"] = [loop]
    return loop


def list_inside_itself() -> list[Any]:
    loop: list[Any] = [CANARY]
    loop.append(loop)
    return loop


def doubled(times: int) -> list[Any]:
    """Small in memory, and 2 to the power of ``times`` strings long as JSON."""
    shared: list[Any] = [CANARY]
    for _ in range(times):
        shared = [shared, shared]
    return shared


BAD: dict[str, Bad] = {
    "no operation": Bad(lambda: {"provider": "fake", "password": CANARY}, ""),
    "a text": Bad(lambda: CANARY, ""),
    "none": Bad(lambda: None, ""),
    "unknown provider": attribute("provider", CANARY, UnknownProvider),
    "provider of another case": attribute("provider", "FAKE", UnknownProvider),
    "no provider": attribute("provider", None),
    "provider is a number": attribute("provider", 5),
    "provider is a list": attribute("provider", [CANARY]),
    "empty resource": attribute("resource", ""),
    "resource is bytes": attribute("resource", CANARY.encode()),
    "resource with a control character": attribute("resource", f"{CANARY}\n"),
    "resource too long": attribute("resource", CANARY * 100),
    "no connection": attribute("connection", None),
    "connection is a number": attribute("connection", 7),
    "kind is a text": attribute("kind", "update"),
    "kind is unknown": attribute("kind", CANARY),
    "update of nothing": attribute("record_id", None),
    "record id is a number": attribute("record_id", 42),
    "record id with NUL": attribute("record_id", f"{CANARY}\0"),
    "record id with a lone surrogate": attribute("record_id", f"{CANARY}\ud800"),
    "record id too long": attribute("record_id", CANARY * 1000),
    "id is a number": attribute("id", 42),
    "id with a lone surrogate": attribute("id", f"{CANARY}\udfff"),
    "empty id": attribute("id", ""),
    "key with NUL": attribute("key", f"{CANARY}\0"),
    "idempotency key is bytes": attribute("idempotency_key", CANARY.encode()),
    "correlation id is an object": attribute("correlation_id", object()),
    "priority is a text": attribute("priority", "5"),
    "priority is a float": attribute("priority", 1.0),
    "priority is a bool": attribute("priority", True),
    "priority is NaN": attribute("priority", math.nan),
    "priority too high": attribute("priority", 10**6),
    "naive not_before": attribute("not_before", NAIVE),
    "naive deadline": attribute("deadline", NAIVE),
    "not_before is a number": attribute("not_before", 1_767_225_600.0),
    "deadline is a text": attribute("deadline", "2026-01-01T12:00:00Z"),
    "deadline out of range": attribute("deadline", datetime(9999, 1, 1, tzinfo=UTC)),
    "deadline before it may begin": Bad(lambda: evolve(GOOD, not_before=NOON, deadline=NOON), ".deadline"),
    "condition on a read": Bad(lambda: Operation.read("fake", "contacts", "42", if_version=CANARY), ".if_version"),
    "condition the provider cannot check": Bad(
        lambda: evolve(GOOD, provider="plain", if_version=CANARY), ".if_version", UnsupportedOperation
    ),
    "kind the provider cannot do": Bad(
        lambda: Operation.delete("plain", "contacts", "42"), ".kind", UnsupportedOperation
    ),
    "fields are missing": attribute("fields", None, InvalidPayload),
    "fields are a list": attribute("fields", [CANARY], InvalidPayload),
    "fields are a text": attribute("fields", CANARY, InvalidPayload),
    "a read with fields": Bad(lambda: evolve(GOOD, kind=Kind.READ, fields={"a": CANARY}), ".fields"),
    "nan": payload(lambda: math.nan, ".a"),
    "nan inside": payload(lambda: {"b": [0, {"c": math.nan}]}, ".a.b[1].c"),
    "infinity": payload(lambda: [math.inf], ".a[0]"),
    "minus infinity": payload(lambda: -math.inf, ".a"),
    "lone surrogate": payload(lambda: f"{CANARY}\ud83d", ".a"),
    "lone surrogate inside": payload(lambda: [{"b": f"{CANARY}\udc00"}], ".a[0].b"),
    "lone surrogate in a name": payload(lambda: {"\udc00": CANARY}, ".a"),
    "number as a name": payload(lambda: {1: CANARY}, ".a"),
    "none as a name": payload(lambda: {"b": {None: CANARY}}, ".a.b"),
    "bytes as a name": payload(lambda: {b"b": CANARY}, ".a"),
    "number as a name on top": attribute("fields", {1: CANARY}, InvalidPayload),
    "datetime": payload(lambda: NOON, ".a"),
    "decimal": payload(lambda: Decimal("1.5"), ".a"),
    "bytes": payload(CANARY.encode, ".a"),
    "set": payload(lambda: {CANARY}, ".a"),
    "object": payload(object, ".a"),
    "5000 digits": payload(lambda: 10**4999, ".a"),
    "1,000 lists deep": payload(lambda: nested_lists(1_000), ".a"),
    "1,000 objects deep": payload(lambda: nested_objects(1_000), ".a"),
    "100,000 lists deep": payload(lambda: nested_lists(100_000), ".a"),
    "100,000 objects deep": payload(lambda: nested_objects(100_000), ".a"),
    "one level too deep": payload(lambda: nested_lists(PayloadLimits().max_depth - 1), ".a"),
    "inside itself": Bad(lambda: evolve(GOOD, fields=inside_itself()), ".fields", InvalidPayload),
    "list inside itself": payload(list_inside_itself, ".a"),
    "10 MB of text": payload(lambda: CANARY * 1_500_000, ""),
    "10 MB of names": payload(lambda: dict.fromkeys((f"{CANARY}{number}" for number in range(700_000)), 0), ""),
    "10 MB of numbers": payload(lambda: list(range(1_500_000)), ""),
    "doubled 40 times": payload(lambda: doubled(40), ""),
}

every_bad_one = pytest.mark.parametrize("bad", BAD.values(), ids=BAD)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def engine(make_engine: EngineFactory, events: list[Event]) -> SyncEngine:
    """An engine that is entered by the test; it only takes in, so that what is queued stays as it is."""
    able = Capabilities(batch_max=10, conditional_write=ConditionalWrite.STRONG)
    plain = FakeProvider("plain", Capabilities(kinds=frozenset({Kind.UPDATE})))
    return make_engine(
        providers=[FakeProvider("fake", able), plain],
        role="submit",
        observers=[events.append],
    )


def assert_clear(error: InvalidOperation, bad: Bad, root: str) -> None:
    """The error is of the right class, names the place, and shows no value, not even in its traceback."""
    assert type(error) is bad.error
    assert error.path.startswith(f"{root}{bad.place}")
    message = str(error)
    assert message.startswith(f"{error.path}: ")
    assert len(message) < 500
    whole = "".join(traceback.format_exception_only(error))
    while (earlier := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        whole += str(earlier)
        error = earlier  # type: ignore[assignment]
    assert CANARY not in whole
    assert "ada@example.org" not in whole


@every_bad_one
async def test_it_gets_a_clear_error_and_changes_nothing(engine: SyncEngine, events: list[Event], bad: Bad) -> None:
    async with engine:
        await engine.submit(GOOD)
        before, told = await engine.stats(), len(events)
        with pytest.raises(InvalidOperation) as caught:
            await engine.submit(bad.make())
        assert_clear(caught.value, bad, "operation")
        assert await engine.stats() == before
        assert len(events) == told


@every_bad_one
async def test_as_the_last_of_a_thousand_it_keeps_all_out(engine: SyncEngine, events: list[Event], bad: Bad) -> None:
    good = [evolve(GOOD, record_id=str(number)) for number in range(999)]
    async with engine:
        await engine.submit(GOOD)
        before, told = await engine.stats(), len(events)
        with pytest.raises(InvalidOperation) as caught:
            await engine.submit_many([*good, bad.make()])
        assert_clear(caught.value, bad, "operations[999]")
        assert await engine.stats() == before
        assert len(events) == told
        assert len(await engine.submit_many(good)) == 999


async def test_what_is_large_only_once_encoded_is_refused_with_its_size(make_engine: EngineFactory) -> None:
    limits = PayloadLimits(max_bytes=1_000)
    async with make_engine(role="submit", settings=Settings(limits=limits)) as engine:
        # Each of these characters is one of Python's, and four bytes of UTF-8.
        with pytest.raises(InvalidPayload, match=r"operation: \d{4} bytes when encoded, at most 1000"):
            await engine.submit(evolve(GOOD, fields={"a": "🦄" * 500}))
        assert (await engine.stats()).pending == 0


@pytest.mark.parametrize("error", [LookupError, SystemExit])
async def test_operations_that_cannot_be_enumerated_change_nothing(
    engine: SyncEngine, error: type[BaseException]
) -> None:
    def failing() -> Iterator[Operation]:
        yield GOOD
        raise error("the host's own")

    async with engine:
        with pytest.raises(error, match="the host's own"):
            await engine.submit_many(failing())
        assert (await engine.stats()).pending == 0


async def test_what_is_good_is_accepted_though_it_looks_odd(make_engine: EngineFactory, provider: FakeProvider) -> None:
    """The reverse: checks that refuse too much would pass every test above."""
    odd: dict[str, Any] = {
        "": "an empty name",
        "a.b[0]": "a name like a path",
        "nul": "\0",
        "bidi": "\u202eevil",
        "astral": "🦄",
        "numbers": [0, -0.0, 1e308, 10**4000, True],
        "deep": nested_lists(PayloadLimits().max_depth - 3),
        "tuple": (1, 2),
        "empty": [None, {}, [], ""],
    }
    operation = Operation.create(
        "fake",
        "\u202econtacts",
        odd,
        record_id="Zoë/%2F ?#",
        deadline=datetime.now(UTC) + timedelta(days=365 * 100),
        correlation_id="ключ",
    )
    async with make_engine() as engine:
        await (await engine.submit(operation)).outcome(timeout=60)
    (write,) = provider.writes
    assert write.record_id == "Zoë/%2F ?#"
    assert write.fields == odd | {"tuple": [1, 2]}


async def test_what_the_host_changes_after_submit_is_not_sent(
    make_engine: EngineFactory, provider: FakeProvider
) -> None:
    fields: dict[str, Any] = {"tags": ["a"]}
    async with make_engine() as engine:
        ticket = await engine.submit(Operation.upsert("fake", "contacts", "1", fields))
        fields["tags"].append("b")
        fields["new"] = 1
        await ticket.outcome(timeout=60)
    assert [write.fields for write in provider.writes] == [{"tags": ["a"]}]
