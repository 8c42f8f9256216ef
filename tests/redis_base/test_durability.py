"""What a server's settings are worth, and what is said of them."""

from __future__ import annotations

import pytest

from ratesync.model.work import Durability
from ratesync.redis.server.durability import Settings, given, warnings_for

SILENT = Settings()
NOTHING = Settings(appendonly=False, appendfsync="everysec", policy="noeviction")
EVERY_SECOND = Settings(appendonly=True, appendfsync="everysec", policy="noeviction")
ALWAYS = Settings(appendonly=True, appendfsync="always", policy="noeviction")
NEVER = Settings(appendonly=True, appendfsync="no", policy="noeviction")


@pytest.mark.parametrize(
    ("settings", "declared", "durability", "warning"),
    [
        (SILENT, None, "process", "CONFIG"),
        (SILENT, "fsync", "fsync", ""),
        (SILENT, "replicated", "replicated", ""),
        (NOTHING, None, "process", "appendonly"),
        (NOTHING, "process", "process", ""),
        (NOTHING, "fsync", "process", "appendonly"),
        (NOTHING, "replicated", "replicated", ""),
        (EVERY_SECOND, None, "fsync-1s", ""),
        (EVERY_SECOND, "process", "fsync-1s", ""),
        (EVERY_SECOND, "fsync", "fsync-1s", "appendfsync"),
        (EVERY_SECOND, "replicated", "replicated", ""),
        (ALWAYS, None, "fsync", ""),
        (ALWAYS, "fsync", "fsync", ""),
        (NEVER, None, "process", "appendonly"),
        (Settings(appendonly=True, appendfsync="always", policy="volatile-ttl"), None, "fsync", "volatile-ttl"),
    ],
)
def test_what_the_server_tells_counts_before_what_is_declared(
    settings: Settings, declared: str | None, durability: str, warning: str
) -> None:
    known = None if declared is None else Durability(declared)
    assert given(settings, known) == durability
    found = warnings_for("the server", settings, known)
    assert len(found) == bool(warning)
    assert warning in "".join(found)


def test_the_answer_to_config_get_is_read() -> None:
    told = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    assert Settings.of(told) == ALWAYS
    assert Settings.of({}) == SILENT
