"""Whether a request was begun, as far as calls are made over :class:`ratesync.http.HttpCaller`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from attrs import define


@define
class Sending:
    """What is known of the calls made inside :func:`watching`."""

    has_begun: bool = False
    """A request was handed to the network: some of it may have reached the provider."""


_sending: ContextVar[Sending | None] = ContextVar("ratesync_sending", default=None)


def note_sending() -> None:
    """Tell who watches that a request is handed to the network now."""
    watched = _sending.get()
    if watched is not None:
        watched.has_begun = True


@contextmanager
def watching() -> Generator[Sending]:
    """Inside, it is noted whether a request is begun: in this task, and in those it starts."""
    watched = Sending()
    token = _sending.set(watched)
    try:
        yield watched
    finally:
        _sending.reset(token)
