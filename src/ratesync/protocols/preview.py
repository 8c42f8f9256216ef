"""Dry runs: the contract of an adapter that shows requests by itself, and where calls are noted instead of made."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

from ratesync.model.batch import Batch
from ratesync.model.preview import PreviewedRequest


@runtime_checkable
class PreviewsRequests(Protocol):
    """Shows what ``execute`` would send. For adapters that make their calls by other means than ``HttpCaller``.

    One whose calls all go over :class:`ratesync.http.HttpCaller` needs nothing: it is run with calls noted instead of
    made (:func:`recording`).
    """

    async def preview(self, batch: Batch) -> Sequence[PreviewedRequest]:
        """The requests, secrets masked. Must send nothing, also no request for a token.

        :raises ProviderError: they cannot be told.
        """
        ...


@runtime_checkable
class RecordsRequests(Protocol):
    """Makes calls, and inside :func:`recording` notes them instead: whoever calls gets ``NotSent``."""

    @property
    def records_requests(self) -> bool:
        """True."""
        ...


_requests: ContextVar[list[PreviewedRequest] | None] = ContextVar("ratesync_recording", default=None)


def recorded() -> list[PreviewedRequest] | None:
    """Where calls of this task are to be noted instead of being made; None: they are to be made."""
    return _requests.get()


@contextmanager
def recording() -> Generator[list[PreviewedRequest]]:
    """Inside, calls are noted in the list and not made: in this task, and in those it starts."""
    noted: list[PreviewedRequest] = []
    token = _requests.set(noted)
    try:
        yield noted
    finally:
        _requests.reset(token)
