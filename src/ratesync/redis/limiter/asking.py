"""When to talk to the server, and about what."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ratesync.redis.limiter.bucket import Bucket, Report
from ratesync.redis.limiter.exchange import Request
from ratesync.redis.limiter.lane import SLOT
from ratesync.redis.limiter.plan import Plan, Want
from ratesync.redis.limiter.root import FLUSH, QuotaRoot

MOST_REPORTS = 200
"""Buckets to tell of in one exchange."""


def next_request(root: QuotaRoot, now: float) -> tuple[Request | None, float]:
    """What to send now; if nothing, when to look again."""
    root.trim(now)
    if not root.clock.is_known and (root.line or root.probes or root.questions):
        return Request(buckets=[], reports={}, wants=[], needed={}, holds={}), now  # what time is it there?
    plan = Plan(now, root.workers, root.lead)
    if not root.member.joins:
        plan.add_all(root.line.in_order())
        plan.lease_ahead()
        for probe in root.probes:
            plan.add_probe(probe)
    questions = [
        Want(lane, lane.costs, 0, asks=True, question=question)
        for question in root.questions
        for lane in question.lanes
    ]
    if questions and not root.member.joins:
        root.trim(now, all_of_it=True)
    due_at = min(plan.next_ask, _report_at(root, now), _beat_at(root))
    if not (plan.wants or questions or root.member.joins or due_at <= now):
        if root.stocked or root.spare:
            due_at = min(due_at, now + SLOT)
        return None, due_at
    if root.granted and now - root.refreshed_at > root.member.alive:
        root.refreshed_at = now
        root.dirty.update((bucket, None) for bucket in root.book.buckets.values() if bucket.out)
    wants = [] if root.member.joins else [*plan.wants, *questions]
    return _request(root, wants, plan.needed, now), now


def _report_at(root: QuotaRoot, now: float) -> float:
    if not (root.dirty or root.new_holds or root.unacked):
        return math.inf
    if root.urgent:
        return now
    return root.report_at if root.report_at < math.inf else now + FLUSH


def _beat_at(root: QuotaRoot) -> float:
    holds_any = root.granted or root.stocked or root.spare
    return root.asked_at + root.member.beat if holds_any else math.inf


def _request(root: QuotaRoot, wants: list[Want], needed: Mapping[Bucket, int], now: float) -> Request:
    told: dict[Bucket, None] = {bucket: None for want in wants for bucket, _ in want.costs}
    for bucket in list(root.dirty)[:MOST_REPORTS]:
        told[bucket] = None
    if root.unacked is None:
        reports: dict[Bucket, Report] = {}
        for bucket in told:
            report = bucket.take_report()
            if report is not None:
                reports[bucket] = report
        if reports:
            root.unacked = reports
            root.member.batch += 1
    for bucket in root.unacked or ():
        told[bucket] = None
    for bucket in told:
        root.dirty.pop(bucket, None)
    root.report_at = now if root.dirty else math.inf
    root.urgent = False
    root.requests += 1
    return Request(
        buckets=list(told),
        reports=root.unacked or {},
        wants=wants,
        needed=needed,
        holds={scope: until for scope, until in root.new_holds.items() if until > now},
    )
