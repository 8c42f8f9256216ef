"""When an answer was given, by the provider's own clock."""

from __future__ import annotations

from datetime import UTC, datetime

from ratesync.http.feedback import server_time
from ratesync.http.response import Response


def told_time(response: Response) -> datetime | None:
    """The instant of the answer's Date; None if it has none that can be read."""
    instant = server_time(response, 0.0)
    return datetime.fromtimestamp(instant, UTC) if instant > 0 else None
