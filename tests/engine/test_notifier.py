"""Observers are told, and harm nobody."""

from __future__ import annotations

import functools
import logging

import pytest

from ratesync import Lane, Observer
from ratesync.engine.notifier import Notifier
from ratesync.model.event import Event, Submitted

EVENT = Submitted(1.0, Lane("acme"), 3)
SECRET = "hunter2"


def fail(event: Event) -> None:
    raise LookupError(SECRET)


def test_every_observer_is_told_in_order() -> None:
    told: list[tuple[str, Event]] = []
    notify = Notifier([lambda event: told.append(("first", event)), lambda event: told.append(("second", event))])
    notify(EVENT)
    assert told == [("first", EVENT), ("second", EVENT)]


def test_it_is_active_only_if_somebody_listens() -> None:
    assert Notifier([fail]).active
    assert not Notifier([]).active


def test_observers_added_later_to_the_same_list_are_not_told() -> None:
    observers: list[Observer] = []
    notify = Notifier(observers)
    observers.append(fail)
    notify(EVENT)
    assert not notify.active


def test_an_observer_that_fails_is_logged_and_keeps_nobody_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []

    def note(event: Event) -> None:
        told.append(event)

    with caplog.at_level(logging.ERROR, logger="ratesync"):
        Notifier([fail, note])(EVENT)
    assert told == [EVENT]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("ratesync", "ERROR")
    assert "LookupError" in record.getMessage()
    assert "Submitted" in record.getMessage()


def test_the_log_does_not_show_what_an_observer_raised(caplog: pytest.LogCaptureFixture) -> None:
    Notifier([fail])(EVENT)
    assert SECRET not in caplog.text


def test_the_log_does_not_show_what_an_observer_was_made_of(caplog: pytest.LogCaptureFixture) -> None:
    """The repr of a partial, or of a bound method, holds its arguments: here the key of a metrics service."""

    def send(api_key: str, event: Event) -> None:
        raise LookupError

    Notifier([functools.partial(send, SECRET)])(EVENT)
    assert caplog.records
    assert SECRET not in caplog.text


def test_an_observer_that_wants_to_exit_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """An observer runs in the engine's tasks and in its watchdog: what it raises would stop their work."""

    def leave(event: Event) -> None:
        raise SystemExit

    Notifier([leave])(EVENT)
    assert "SystemExit" in caplog.text


def test_ctrl_c_passes_through() -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Notifier([interrupt])(EVENT)
