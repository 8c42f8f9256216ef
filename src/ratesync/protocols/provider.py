"""The contract of a provider's adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from ratesync.model.batch import Batch, Capabilities, Reply
from ratesync.model.change import ChangePage, RecordPage
from ratesync.model.inquiry import Inquiry
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import Outcome
from ratesync.model.schema import RemoteSchema


@runtime_checkable
class ProviderClient(Protocol):
    """Speaks to one provider's API. This is what a plugin author writes.

    ``name`` and ``capabilities`` may be plain attributes. What an adapter can do beyond ``execute`` it says in its
    capabilities, and has the method for it (:class:`LooksUp`); the engine checks at its start that the two agree. What
    is only about reading needs the method alone: :class:`PullsChanges`, :class:`ListsRecords`, :class:`FindsRecords`,
    :class:`DescribesResources`.
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
        then. A :class:`~ratesync.errors.ProviderError` raised here holds for the whole batch.

        Any other exception is taken for a mistake in the adapter: ``Unknown`` for the whole batch, since the request
        may have been sent; but where the adapter makes all its calls over a :class:`ratesync.http.HttpCaller` that it
        holds, and none was begun, ``Rejected`` for the operations that it fails on. Raise
        :class:`~ratesync.errors.NotSent` for what may pass.
        """
        ...


@runtime_checkable
class LooksUp(Protocol):
    """Finds out whether a create whose answer was lost was applied (``CreateIdentity.LOOKUP``)."""

    async def lookup(self, operation: Operation) -> Outcome | None:
        """``Applied`` with the record's id if it was applied, None if it surely was not, ``Unknown`` if in doubt.

        ``Conflict`` where asking again would not help, as when the record that is there may be another one: a person
        must look. The operation then is a dead letter, and a sync reports the create as in doubt.

        Bounded and classified like ``execute``.
        """
        ...


@runtime_checkable
class Charges(Protocol):
    """Knows what a call costs. Needed where a quota counts a unit of the provider's own (points, tokens)."""

    def charge(self, resource: str, kind: Kind | Inquiry, size: int) -> Mapping[str, int]:
        """What a call with ``size`` operations of one ``kind`` on a ``resource`` costs at most: permits by unit.

        So it is asked for other calls, too: for a page of changes, a search; ``size`` is 1 then.

        "calls" and "operations" need not be named, but may be: where a provider counts a call as several. A unit of
        which a call costs nothing is left out or 0. Pure and quick. What a call cost in the end is told by
        :attr:`ratesync.Feedback.charged`.
        """
        ...


@runtime_checkable
class PullsChanges(Protocol):
    """Tells which records changed since a cursor."""

    async def pull_changes(self, connection: str, resource: str, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes behind ``cursor``, in one call; None: from the beginning, all records there are.

        Changes may come twice, but none may be left out: not one with the same instant as another, not one that the
        provider shows late. (:class:`ratesync.rules.time_cursor.TimeCursor` does that for feeds by instant.) The answer
        for a cursor stays good for as long as the provider remembers it, so a pull can be made again.

        :param limit: most changes on the page, a wish: the provider's own bound may be lower.
        :raises CursorExpired: the provider no longer knows the cursor.
        :raises ProviderError: as for ``execute``. Nothing is lost: the same cursor is tried again.
        """
        ...


@runtime_checkable
class ListsRecords(Protocol):
    """Lists all records of a resource."""

    async def list_records(self, connection: str, resource: str, page: str | None, *, limit: int) -> RecordPage:
        """The page at the position ``page``, in one call; None: the first.

        A record that is there from the first page's call to the last one's is on one of the pages, if not on several.

        :param limit: most records on the page, a wish.
        :raises ProviderError: as for ``execute``; :class:`~ratesync.errors.PagingBroken` where pages lead astray.
        """
        ...


@runtime_checkable
class FindsRecords(Protocol):
    """Finds records by the value of a field: to match records at a first sync, and creates whose answer was lost."""

    async def find(self, connection: str, resource: str, path: str, values: Sequence[str]) -> RecordPage:
        """All records that have one of ``values`` at ``path`` (``"properties.email"``), in one call, on one page.

        At least those whose text is just so, or whose number is written so (``"7"``, ``"1.5"``). A provider may compare
        more generously, such as regardless of case: the caller looks again, and asks for several spellings. More
        records than a page takes are an error, never left out.

        :raises UnsupportedOperation: the provider cannot search by that field; or, with ``path="values"``, not for
            these values, or not for so many: then it is asked for fewer of them. Raised before anything is sent.
        :raises ProviderError: as for ``execute``.
        """
        ...


@runtime_checkable
class DescribesResources(Protocol):
    """Tells what fields a resource has, so that a change of its schema is noticed."""

    async def describe(self, connection: str, resource: str) -> RemoteSchema:
        """The resource's fields, by their path in a record.

        :raises ProviderError: as for ``execute``.
        """
        ...
