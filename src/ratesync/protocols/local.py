"""The contract of the host's own side of a sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ratesync.model.change import ChangePage
from ratesync.model.difference import View
from ratesync.model.outcome import Outcome
from ratesync.model.record import Record


@runtime_checkable
class LocalStore(Protocol):
    """Records of the host's, to be kept like those of a provider.

    A record may tell when it was changed (``changed_at``), and its fields (``field_times``): then
    :func:`~ratesync.rules.resolvers.latest` can decide.

    A record's fields are a flat mapping of JSON values, under the names that the mapping's view has. Every method may
    be cancelled at any await; it has then done all of its work or none of it. What is raised ends the pass; records
    that were not reached stay marked.
    """

    async def changes(self, cursor: str | None, *, limit: int) -> ChangePage:
        """The next page of changes behind ``cursor``; None: from the beginning, all records there are.

        Changes may come twice, but none may be left out, and a deleted record is told as such. An outbox that is
        written in the transaction of each change keeps that; a query for ``updated_at > cursor`` does not, for it
        misses what commits late. Our own writes may be told too: they are recognised.

        :param limit: most changes on the page, a wish.
        :raises CursorExpired: the cursor is not known any more. All records are then read anew.
        """
        ...

    async def read(self, record_ids: Sequence[str]) -> Mapping[str, Record]:
        """Those of the records that exist, as they are now, by id."""
        ...

    async def find(self, name: str, values: Sequence[Any]) -> Sequence[Record]:
        """All records that have one of ``values`` in the field ``name``. More may be given: the caller looks again.

        :param values: texts, each also in lower case; and the number, where a text is one (``"7"`` and 7). A value that
            the field cannot hold is in no record.
        """
        ...

    async def apply(self, record_id: str | None, patch: View, *, if_version: str | None, op_id: str) -> Outcome:
        """Make a record (``record_id`` None), or change the fields of one that are in ``patch``, in one transaction.

        A value may be :data:`~ratesync.model.difference.ABSENT`: the field is to be taken away, or emptied.

        :param if_version: change the record only if it has this version; None: whatever it has, or it has none.
        :param op_id: a record is made once for each: asked again, answer with the one that was made, as it was made,
            whatever became of it since. Otherwise a crash between your commit and our note of it makes two.
            Give it no id that another record had a while ago: as long as the delete of that one is not carried over,
            the new one would be taken for it.
        :return: :class:`~ratesync.Applied` with the id, the new version, and in ``record`` what the store made of it;
            :class:`~ratesync.Conflict` if the record is gone or has another version; :class:`~ratesync.Rejected` if the
            fields are wrong.
        """
        ...

    async def delete(self, record_id: str, *, if_version: str | None, op_id: str) -> Outcome:
        """Delete a record; one that is gone counts as deleted.

        :return: :class:`~ratesync.Applied`; :class:`~ratesync.Conflict` if it has another version.
        """
        ...
