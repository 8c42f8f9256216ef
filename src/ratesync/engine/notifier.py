"""Telling the observers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ratesync.model.event import Event
from ratesync.protocols.observer import Observer

_log = logging.getLogger("ratesync")


class Notifier:
    """Passes events on to every observer; an observer that raises harms nobody."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self.active = bool(self._observers)
        """False if nobody listens, so that hot paths need not build events."""

    def __call__(self, event: Event) -> None:
        """Tell every observer."""
        for observer in self._observers:
            try:
                observer(event)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  an observer is the host's code and may raise anything
                # Types only: what an observer is made of, or raises, may be private.
                names = type(observer).__qualname__, type(error).__name__, type(event).__name__
                _log.error("observer %s raised %s on %s", *names)
