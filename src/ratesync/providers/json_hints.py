"""Which records a webhook's delivery is about, where plain JSON tells it at known places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from ratesync.errors import InvalidResponse, WebhookRefused
from ratesync.model.hint import Hint
from ratesync.providers.row import text_at
from ratesync.rules.paging import items_at


@frozen(kw_only=True)
class JsonHints:
    """Reads hints at paths with dots, such as ``"data.object.id"``.

    ::

        JsonHints(resource="contacts", record_id="id")                              # {"id": 42}
        JsonHints(items="events", resource_at="type", record_id="object.id")        # {"events": [{"type": ...

    An item that names no record is left out: deliveries tell of other things, too.

    :raises ValueError: neither ``resource`` nor ``resource_at`` is given, or both are.
    """

    record_id: str
    """Where the record's id stands in an item: a text or a whole number."""
    resource: str = ""
    """The resource that all deliveries are about; or"""
    resource_at: str = ""
    """where its name stands in an item."""
    names: Mapping[str, str] = field(factory=dict[str, str])
    """Resources by the provider's names for them, where those are others."""
    account_at: str = ""
    """Where the account's name stands in an item. Default: it is not told."""
    items: str | None = None
    """Where the list of items stands. Default: the body is a list of them, or one."""

    def __attrs_post_init__(self) -> None:
        if bool(self.resource) == bool(self.resource_at):
            raise ValueError("give resource= or resource_at=, and not both")

    def hints(self, body: Any) -> Iterator[Hint]:
        """The records that a delivery is about.

        :raises WebhookRefused: there is no list where one must be.
        """
        for item in self._items(body):
            resource = self.resource or text_at(item, self.resource_at)
            record_id = text_at(item, self.record_id)
            if resource is not None and record_id is not None:
                account = text_at(item, self.account_at or None)
                yield Hint(self.names.get(resource, resource), record_id, account)

    def _items(self, body: Any) -> list[Any]:
        if self.items is None and not isinstance(body, list):
            return [body]
        try:
            return list(items_at(body, self.items))
        except InvalidResponse:
            pass
        raise WebhookRefused("the delivery has no list of items where one must be", fault="body")
