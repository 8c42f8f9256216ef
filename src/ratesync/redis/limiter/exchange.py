"""One exchange with the server, as bytes: see ``scripts/limiter/exchange.lua``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from ratesync.model.quota import Scope
from ratesync.redis.limiter.bucket import Bucket, Report
from ratesync.redis.limiter.names import KeyNames
from ratesync.redis.limiter.plan import Want
from ratesync.redis.server.clock import BASE, ServerClock
from ratesync.rules.hold import connection_of

NEVER = 1e14
"""Instants beyond this one never come."""

ROOT_LIFE = 86_400.0
"""Seconds for which the server remembers that a provider's quotas were in use."""

STALE, LOST, GONE, OK = "stale", "lost", "gone", "ok"


@define(eq=False, kw_only=True)
class Membership:
    """What this process is to the server."""

    holder: str
    """A name of its own."""
    alive: float
    """Seconds of silence after which it is taken for dead."""
    beat: float
    """Seconds between two signs of life while it holds permits."""
    cold: bool
    epoch: str = ""
    seq: int = 0
    acked: int = 0
    sent_at: float = 0.0
    """Instant of ours at which the last request was sent that was answered."""
    joins: int = 0
    batch: int = 0


@define(eq=False, kw_only=True)
class Request:
    """What to say and ask."""

    buckets: Sequence[Bucket]
    reports: Mapping[Bucket, Report]
    wants: Sequence[Want]
    needed: Mapping[Bucket, int]
    """Idle permits that are not for these."""
    holds: Mapping[Scope, float]
    """Connections that are to be left alone, and until when by our clock."""
    leaves: bool = False
    own: dict[Bucket, int] = field(factory=dict[Bucket, int], init=False)
    """Permits held, as they were told."""

    def wire(self, names: KeyNames, member: Membership, clock: ServerClock, now: float) -> tuple[list[str], str]:
        """Keys and argument of the script."""
        keys = [names.root, names.holders, names.holder_prefix + member.holder]
        places = {bucket: place for place, bucket in enumerate(self.buckets, 1)}
        for bucket in self.buckets:
            beside = names.bucket_holders if bucket.kind == "calls" else names.log
            keys += [bucket.key, beside(bucket.key)]
        hold_places: dict[Scope, int] = {}
        for scope in [*self.holds, *(connection_of(bucket.scope) for bucket in self.buckets)]:
            if scope is not None and scope not in hold_places:
                keys.append(names.hold(scope))
                hold_places[scope] = len(keys)
        specs = [self._spec(bucket, member, hold_places, clock, now) for bucket in self.buckets]
        argument: dict[str, Any] = {
            "base": BASE,
            "fresh": f"{member.holder}-{member.seq}",
            "cold": member.cold,
            "epoch": member.epoch,
            "seq": member.seq,
            "acked": member.acked,
            "elapsed": now - member.sent_at if member.sent_at > 0 else -1,
            "joins": member.joins,
            "batch": member.batch,
            "holder": member.holder,
            "prefix": names.holder_prefix,
            "alive": member.alive,
            "root_ttl": ROOT_LIFE + max((bucket.span for bucket in self.buckets), default=0.0),
            "buckets": specs,
            "holds": [[hold_places[scope], clock.latest(until)] for scope, until in self.holds.items()],
            "wants": [self._want(want, places) for want in self.wants],
            "leaves": self.leaves,
        }
        return [*keys, names.absent], json.dumps(argument, separators=(",", ":"))

    def _spec(
        self, bucket: Bucket, member: Membership, holds: Mapping[Scope, int], clock: ServerClock, now: float
    ) -> dict[str, Any]:
        spec = bucket.spec(clock, now)
        self.own[bucket] = spec["own"]
        spec["idle"] = max(0, bucket.idle - self.needed.get(bucket, 0))
        connection = connection_of(bucket.scope)
        spec["hold"] = 0 if connection is None else holds[connection]
        spec["beat"] = 2 * member.beat
        spec["heard"], bucket.is_heard = bucket.is_heard, False
        report = self.reports.get(bucket)
        if report is not None:
            spec["report"] = report.wire(bucket.idle)
        return spec

    @staticmethod
    def _want(want: Want, places: Mapping[Bucket, int]) -> dict[str, Any]:
        return {
            "units": want.units,
            "privileged": want.lane.is_privileged,
            "horizon": want.horizon,
            "reuse": want.reuse,
            "asks": want.asks,
            "share": want.is_share,
            "places": [places[bucket] for bucket, _ in want.costs],
            "costs": [cost for _, cost in want.costs],
        }
