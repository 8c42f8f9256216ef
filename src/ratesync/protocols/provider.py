"""The contract of a provider's adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from ratesync.model.batch import Batch, Capabilities, Reply
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome


@runtime_checkable
class ProviderClient(Protocol):
    """Speaks to one provider's API. This is what a plugin author writes.

    ``name`` and ``capabilities`` may be plain attributes. What an adapter can do beyond ``execute`` it says in its
    capabilities, and has the method for it (:class:`LooksUp`; pulling changes will come in the same way). The engine
    checks at its start that the two agree.
    """

    @property
    def name(self) -> str:
        """The provider's name, as operations give it."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What the adapter can do. Read once, at the engine's start."""
        ...

    async def execute(self, batch: Batch) -> Mapping[str, Outcome] | Reply:
        """Carry the batch out in one call; outcomes by operation id.

        Return a plain mapping, or a :class:`~ratesync.model.batch.Reply` to pass on what the answer told of the
        provider's quotas (:func:`ratesync.http.read_feedback` reads it from an answer over HTTP).

        Match the provider's results to operations by id, never by position. An operation without an outcome counts as
        :class:`~ratesync.model.outcome.Unknown`. The engine bounds the call by its own total deadline and cancels it
        then. A :class:`~ratesync.errors.ProviderError` raised here holds for the whole batch; any other exception
        counts as ``Unknown`` for the whole batch, since the request may have been sent.
        """
        ...


@runtime_checkable
class LooksUp(Protocol):
    """Finds out whether a create whose answer was lost was applied (``CreateIdentity.LOOKUP``)."""

    async def lookup(self, operation: Operation) -> Outcome | None:
        """``Applied`` with the record's id if it was applied, None if it surely was not, ``Unknown`` if in doubt.

        Bounded and classified like ``execute``.
        """
        ...


@runtime_checkable
class Charges(Protocol):
    """Knows what a call costs. Needed where a quota counts a unit of the provider's own (points, tokens)."""

    def charge(self, resource: str, kind: Kind, size: int) -> Mapping[str, int]:
        """What a call with ``size`` operations of one ``kind`` on a ``resource`` costs at most: permits by unit.

        "calls" and "operations" need not be named, but may be: where a provider counts a call as several. A unit of
        which a call costs nothing is left out or 0. Pure and quick. What a call cost in the end is told by
        :attr:`ratesync.Feedback.charged`.
        """
        ...
