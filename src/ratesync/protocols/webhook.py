"""The contracts of what receives webhooks: who sent a delivery, and which records it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from ratesync.model.hint import Hint

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""As they came: a mapping or pairs, names in any case."""


class VerifiedDelivery(Protocol):
    """A delivery that is surely from the provider, and from now."""

    @property
    def id(self) -> str:
        """The same for each repetition of the delivery."""
        ...

    def json(self) -> Any:
        """The body as a JSON value.

        :raises WebhookRefused: it is none.
        """
        ...


@runtime_checkable
class VerifiesDeliveries(Protocol):
    """Tells whether a delivery is from the provider. ``ratesync.http.WebhookVerifier`` is one."""

    async def verify(self, headers: Headers, body: bytes, *, method: str = "POST", url: str = "") -> VerifiedDelivery:
        """The delivery, if it is good.

        :param body: the raw bytes, before anybody parsed them.
        :param url: in full, for providers that sign it.
        :raises WebhookRefused: it is not.
        """
        ...


@runtime_checkable
class ReadsHints(Protocol):
    """Finds out which records a delivery is about. ``ratesync.providers.json_hints.JsonHints`` is one."""

    def hints(self, body: Any) -> Iterable[Hint]:
        """The records, as far as it tells; from the delivery's JSON value.

        :raises WebhookRefused: it is nothing that the provider sends.
        """
        ...
