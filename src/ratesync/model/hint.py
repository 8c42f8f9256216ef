"""A hint: somebody says that a record may have changed. It carries no data, so it may come twice, late or never."""

from __future__ import annotations

from attrs import frozen


@frozen
class Hint:
    """A provider says that a record may have changed, or gone."""

    resource: str
    """As operations name it."""
    record_id: str
    """At the provider."""
    account: str | None = None
    """The account at the provider, by the provider's own name for it; None where it does not tell."""


@frozen
class WebhookAnswer:
    """What became of a delivery to a webhook, and what to answer."""

    status: int
    """HTTP status for the provider: 200; 401 or 400 if the delivery was refused; 503 if it should come again."""
    marked: int = 0
    """Records that will be looked at."""
    unknown: int = 0
    """Records of accounts or resources that nobody syncs. The provider need not send them again: the status is 200."""
    fault: str = ""
    """Why it was refused, as in :class:`~ratesync.errors.WebhookRefused`; ``"replayed"`` if it came before."""
