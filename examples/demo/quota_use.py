"""How much of a quota was used while there was work."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from attrs import frozen

from .crm_options import Window


@frozen(kw_only=True)
class QuotaUse:
    """The use of one window.

    `share` is accepted / allowed over as many whole windows as fit between the first request and the last quota-full of
    requests (left out, as the work runs dry there). It can't exceed 1 at a strict server. It is `None` when the work
    was done before one window had passed. `peak` is the most requests that arrived within one window, refused ones
    included.
    """

    window: Window
    share: float | None
    peak: int

    @property
    def label(self) -> str:
        """For people: `99.5% of 40/1 s (peak 40)`."""
        share = "-" if self.share is None else f"{self.share:.1%}"
        return f"{share} of {self.window.label} (peak {self.peak})"


def quota_share(accepted_at: Sequence[float], window: Window) -> float | None:
    """Accepted / allowed as `QuotaUse.share` tells, from the instants of the accepted requests in order."""
    if len(accepted_at) <= window.permits:
        return None
    started_at = accepted_at[0]
    windows = int((accepted_at[-window.permits] - started_at) // window.per)
    if windows < 1:
        return None
    counted = bisect_left(accepted_at, started_at + windows * window.per)
    return counted / (windows * window.permits)
