"""Names of keys. All keys of a provider carry it as their hash tag, so that they live in one slot of a cluster."""

from __future__ import annotations

from urllib.parse import quote

from attrs import frozen

from ratesync.model.quota import Adaptive, Budget, Countable, FixedWindow, LeakyBucket, Penalty, Quota, Rate, Scope
from ratesync.redis.server.lua import ABSENT


@frozen
class KeyNames:
    """The keys of one provider's quotas."""

    prefix: str
    provider: str

    @property
    def tag(self) -> str:
        """What every key begins with."""
        return f"{self.prefix}{{{quote(self.provider, safe='')}}}:"

    @property
    def root(self) -> str:
        """Hash: the epoch of the data, and the server's time."""
        return f"{self.tag}root"

    @property
    def holders(self) -> str:
        """Sorted set: each process that may hold permits, and when it is taken for dead."""
        return f"{self.tag}holders"

    @property
    def absent(self) -> str:
        """A key that never exists; see :data:`ratesync.redis.server.lua.ABSENT`."""
        return f"{self.tag}{ABSENT}"

    @property
    def holder_prefix(self) -> str:
        """What the key of a process begins with."""
        return f"{self.tag}holder:"

    def hold(self, scope: Scope) -> str:
        """String: until when a connection is to be left alone."""
        return f"{self.tag}hold:{quote(scope.connection, safe='')}"

    def bucket(self, scope: Scope, quota: Quota) -> str:
        """Hash: how much of a quota is used at a scope."""
        place = f"{quote(scope.connection, safe='')}/{quote(scope.resource, safe='')}"
        return f"{self.tag}quota:{place}:{quota_name(quota)}"

    def bell(self, holder: str) -> str:
        """Stream: what a process is told between its exchanges."""
        return f"{self.holder_prefix}{holder}:bell"

    @staticmethod
    def log(bucket: str) -> str:
        """Sorted set: when permits come free."""
        return f"{bucket}:log"

    @staticmethod
    def bucket_holders(bucket: str) -> str:
        """Set: the processes that hold permits of calls."""
        return f"{bucket}:holders"


def quota_name(quota: Quota) -> str:
    """All that tells one quota from another at the same scope."""
    parts: list[object] = [type(quota).__name__.lower()]
    match quota:
        case Rate() | FixedWindow():
            parts.append(quota.per)
        case Budget():
            parts += [quota.every, quota.resets_at]
        case LeakyBucket():
            parts.append(quota.restore)
        case Penalty():
            parts.append(quota.seconds)
        case Adaptive():
            parts += [quota.per, quota.unit]
        case _:
            pass
    if isinstance(quota, Countable):
        parts += [quota.permits, quota.unit, quota.reserve]
    if isinstance(quota, FixedWindow | Budget):
        parts.append(quota.zone)
    return ":".join(quote(str(part), safe="") for part in [*parts, quota.scope, quota.resource or ""])
