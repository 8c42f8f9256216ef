"""The conformance suite of observers."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ratesync.engine.wiring import check_observers
from ratesync.model import event as events
from ratesync.model.event import CircuitState, Event
from ratesync.model.lane import Lane
from ratesync.model.operation import Kind
from ratesync.model.schema import DriftKind, FieldDrift
from ratesync.protocols import Observer
from ratesync.testing.suite import Suite

_LANE = Lane("acme", "ada")

SAMPLES: Sequence[Event] = (
    events.Submitted(1.0, _LANE, 3),
    events.CallFinished(1.0, _LANE, "contacts", Kind.UPDATE, 2, 0.5, {"Applied": 2}, throttled=False),
    events.Settled(1.0, _LANE, 2, 1, 0),
    events.LaneParked(1.0, _LANE, 2.0, "quota"),
    events.LanePaused(1.0, _LANE, "HTTP 401"),
    events.CircuitChanged(1.0, _LANE, CircuitState.CLOSED, CircuitState.OPEN),
    events.OperationDied(1.0, _LANE, "id", "HTTP 422"),
    events.LeaseRefused(1.0, _LANE, "contacts/1"),
    events.UnexpectedResult(1.0, _LANE, ("id",)),
    events.LoopBlocked(1.0, 2.5, "app.py:7 in slow"),
    events.SlowTransformer(1.0, _LANE, "contacts", 0.3),
    events.BackendFailed(1.0, "QueueError", 1.0),
    events.SchemaDrifted(1.0, _LANE, "contacts", (FieldDrift("Email", DriftKind.GONE, is_used=True),), stops=True),
    events.SchemaUnread(1.0, _LANE, "contacts", "HTTP 503"),
    events.SyncProgressed(1.0, _LANE, "contacts", "id", "pull", 3, 600, None),
    events.SyncFinished(1.0, _LANE, "contacts", "id", "changes", 0.5, {"push": 2}, 1, 0, 0, ("external: Unavailable",)),
    events.SyncPutOff(1.0, _LANE, "contacts", 2.0, "paused"),
    events.WebhookTaken(1.0, "acme", 2, 0),
)
"""One event of every type."""


class ObserverSuite(Suite):
    """Subclass it and give the fixture ``observer``: what is tested."""

    def test_it_keeps_the_protocol(self, observer: Observer) -> None:
        check_observers([observer])

    @pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
    def test_it_takes_every_event(self, observer: Observer, event: Event) -> None:
        observer(event)  # must not raise

    def test_it_may_be_called_from_another_thread(self, observer: Observer) -> None:
        raised: list[BaseException] = []

        def tell() -> None:
            try:
                observer(events.LoopBlocked(1.0, 2.5, "app.py:7 in slow"))
            except BaseException as error:  # noqa: BLE001  reported by the assertion
                raised.append(error)

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        assert raised == []
