"""Hypothesis strategies for the values of ratesync. What they give is always accepted at submit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields, Kind, Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater, Unknown
from ratesync.model.quota import Concurrency, Quota, QuotaScope, Rate
from ratesync.model.record import Record

_WRITES = {Kind.CREATE, Kind.UPDATE, Kind.UPSERT}
_UNICODE = st.characters(codec="utf-8")  # so no lone surrogates
_PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc"])


def names(max_size: int = 20) -> st.SearchStrategy[str]:
    """Names and ids: non-empty text of any script, without control characters."""
    return st.text(_PRINTABLE, min_size=1, max_size=max_size)


def json_values(max_leaves: int = 10) -> st.SearchStrategy[Any]:
    """What JSON can hold: None, bool, int, finite float, text of any script, lists and objects of such."""
    plain = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(_UNICODE, max_size=20)
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(_UNICODE, max_size=10), inner, max_size=4),
        max_leaves=max_leaves,
    )


def fields(max_size: int = 6) -> st.SearchStrategy[Fields]:
    """A record's fields."""
    return st.dictionaries(st.text(_UNICODE, max_size=15), json_values(), max_size=max_size)


def lanes(providers: Sequence[str] = ("acme", "globex")) -> st.SearchStrategy[Lane]:
    """Lanes of the given providers."""
    return st.builds(Lane, st.sampled_from(providers), names(10))


@st.composite
def operations(
    draw: st.DrawFn,
    providers: Sequence[str] = ("acme",),
    kinds: Sequence[Kind] = tuple(Kind),
    record_ids: st.SearchStrategy[str] | None = None,
) -> Operation:
    """Operations of every kind. Draw ``record_ids`` from few values to have several on one record."""
    kind = draw(st.sampled_from(kinds))
    lane = draw(lanes(providers))
    identity = names() if record_ids is None else record_ids
    return Operation(
        provider=lane.provider,
        connection=lane.connection,
        resource=draw(names(10)),
        kind=kind,
        record_id=draw(st.none() | identity) if kind is Kind.CREATE else draw(identity),
        fields=draw(fields()) if kind in _WRITES else {},
        key=draw(st.none() | names()),
        priority=draw(st.integers(-100, 100)),
        deadline=draw(st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001  bounds are naive
        idempotency_key=draw(st.none() | names()),
        correlation_id=draw(st.none() | names()),
    )


def records() -> st.SearchStrategy[Record]:
    """Records as a provider holds them."""
    return st.builds(Record, names(), fields(), st.none() | names())


def outcomes() -> st.SearchStrategy[Outcome]:
    """Outcomes of every type."""
    optional = st.none() | names()
    waits = st.none() | st.floats(0, 86_400)
    return (
        st.builds(Applied, optional, optional, st.none() | records())
        | st.builds(Conflict, names(), st.none() | records())
        | st.builds(RetryLater, names(), st.sampled_from(Cause), waits)
        | st.builds(Rejected, names(), optional)
        | st.builds(Unknown, names())
    )


def quotas() -> st.SearchStrategy[Quota]:
    """Rates and concurrencies at every scope."""
    permits, scopes = st.integers(1, 1_000), st.sampled_from(QuotaScope)
    return st.builds(Rate, permits, per=st.floats(0.1, 3_600), scope=scopes) | st.builds(
        Concurrency, permits, scope=scopes
    )


def capabilities() -> st.SearchStrategy[Capabilities]:
    """Adapters that can do everything, and adapters that can do little."""
    return st.builds(
        Capabilities,
        kinds=st.frozensets(st.sampled_from(Kind), min_size=1),
        batch_max=st.integers(1, 200) | st.dictionaries(st.sampled_from(Kind), st.integers(1, 200)),
        conditional_write=st.sampled_from(ConditionalWrite),
        create_identity=st.sampled_from(CreateIdentity),
        concurrency=st.none() | st.integers(1, 50),
    )
