"""Was it done right? Compares what the server holds and what it applied with the plan, and trusts nothing else.

verification = verify(operations, crm.report(), crm.options.accounts)
for line in verification.lines():
    print(line)
sys.exit(0 if verification.passed else 1)
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from attrs import frozen

from .crm_options import CrmAccount
from .crm_process import AccountReport
from .crm_store import Application, Fields, JsonValue
from .dataset import RESOURCE, OperationPlace, PlannedOperation, expected_state
from .quota_use import QuotaUse, quota_share
from .write_order import Step, WriteOrder

SHOWN = 5


@frozen
class Place:
    """A record: its connection and its id."""

    connection: str
    record_id: str


@frozen
class Difference:
    """A field whose value on the server is not the expected one. On the side that lacks the field it is `None`."""

    place: Place
    field: str
    expected: JsonValue
    found: JsonValue


@frozen(kw_only=True)
class AccountVerification:
    """The server's counts for one connection. `refused` are answers 429; `errors` are 500s, also of batch rows."""

    connection: str
    requests: int
    accepted: int
    refused: int
    errors: int
    applied: int
    quota: tuple[QuotaUse, ...]

    @property
    def quota_used(self) -> float | None:
        """The share used of the window that was used most: the one that held the connection back. From 0 to 1."""
        return max((use.share for use in self.quota if use.share is not None), default=None)


@frozen(kw_only=True)
class Verification:
    """What was found.

    Six lists must be empty. `lost` records should be on the server and are not; `unexpected` ones are and should not;
    `differing` fields have other values. `duplicated`, `out_of_order` and `unplanned` are applied writes: see
    `write_order`. Three things are allowed, and told: `re_applied`, the price of a 500 that hid a success; `repeated`,
    what was under way when the client was killed; and `folded`, planned operations that were not applied themselves
    because a later one included or undid them.
    """

    operations: int
    records: int
    lost: tuple[Place, ...]
    unexpected: tuple[Place, ...]
    differing: tuple[Difference, ...]
    duplicated: tuple[Step, ...]
    out_of_order: tuple[Step, ...]
    unplanned: tuple[Step, ...]
    re_applied: tuple[Step, ...]
    repeated: tuple[Step, ...]
    folded: int
    accounts: tuple[AccountVerification, ...]

    @property
    def findings(self) -> dict[str, Sequence[Place | Difference | Step]]:
        """The six lists that must be empty, by name."""
        return {
            "lost": self.lost,
            "unexpected": self.unexpected,
            "differing fields": self.differing,
            "duplicated": self.duplicated,
            "out of order": self.out_of_order,
            "unplanned": self.unplanned,
        }

    @property
    def passed(self) -> bool:
        """Whether every record is as the plan says, and every write took effect once and in order."""
        return not any(self.findings.values())

    def lines(self) -> Iterator[str]:
        """The findings as text. Of a long list the first few are shown."""
        yield f"{self.operations:,} operations planned, {self.records:,} records compared field by field"
        for name, found in self.findings.items():
            yield f"{name}: {len(found):,}"
            yield from (f"    {case}" for case in found[:SHOWN])
        yield f"applied again after a 500 that hid the success: {len(self.re_applied):,}"
        yield f"applied again as the client was killed before it knew of the success: {len(self.repeated):,}"
        yield f"folded into later operations: {self.folded:,}"
        for account in self.accounts:
            quotas = ", ".join(use.label for use in account.quota)
            yield (
                f"{account.connection}: requests {account.requests:,}, 429s {account.refused:,}, "
                f"500s {account.errors:,}, quota used {quotas}"
            )


def verify(
    operations: Sequence[PlannedOperation],
    reports: Mapping[str, AccountReport],
    accounts: Sequence[CrmAccount],
    in_doubt: Collection[OperationPlace] = (),
) -> Verification:
    """Compare the server's reports, by account, with the plan, whose connections bear the names of the accounts.

    `in_doubt` were under way when the client was killed, so it may not know that they were applied: they may be
    applied once more.
    """
    expected = expected_state(operations)
    records = _RecordComparison()
    order = WriteOrder()
    planned = _planned_actions(operations)
    for account in accounts:
        report = reports[account.name]
        records.compare(account.name, expected.pop(account.name, {}), _found(report))
        for record_id, applied in _by_record(report.applications).items():
            order.follow(account.name, record_id, applied, planned.get((account.name, record_id), {}))
    if expected:
        raise ValueError(f"the plan names connections that are no accounts: {', '.join(expected)}")
    duplicated, repeated = _by_doubt(order.duplicated, in_doubt)
    return Verification(
        operations=len(operations),
        records=records.compared,
        lost=tuple(records.lost),
        unexpected=tuple(records.unexpected),
        differing=tuple(records.differing),
        duplicated=duplicated,
        out_of_order=tuple(order.out_of_order),
        unplanned=tuple(order.unplanned),
        re_applied=tuple(order.re_applied),
        repeated=repeated,
        folded=len(operations) - order.applied_versions,
        accounts=tuple(_account(account, reports[account.name]) for account in accounts),
    )


def _by_doubt(steps: Sequence[Step], in_doubt: Collection[OperationPlace]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Writes that were applied twice: those that should not have been, and those that were in doubt."""
    doubtful = [OperationPlace(step.connection, step.record_id, step.version or 0) in in_doubt for step in steps]
    return (
        tuple(step for step, is_doubtful in zip(steps, doubtful, strict=True) if not is_doubtful),
        tuple(step for step, is_doubtful in zip(steps, doubtful, strict=True) if is_doubtful),
    )


class _RecordComparison:
    def __init__(self) -> None:
        self.compared = 0
        self.lost: list[Place] = []
        self.unexpected: list[Place] = []
        self.differing: list[Difference] = []

    def compare(self, connection: str, expected: Mapping[str, Fields], found: Mapping[str, Fields]) -> None:
        self.compared += len(expected)
        self.lost.extend(Place(connection, record_id) for record_id in expected.keys() - found.keys())
        self.unexpected.extend(Place(connection, record_id) for record_id in found.keys() - expected.keys())
        for record_id in expected.keys() & found.keys():
            wanted, held = expected[record_id], found[record_id]
            self.differing.extend(
                Difference(Place(connection, record_id), name, wanted.get(name), held.get(name))
                for name in sorted(wanted.keys() | held.keys())
                if name not in wanted or name not in held or not _same(wanted[name], held[name])
            )


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two JSON values are the same: unlike `==`, true is not 1 and 1 is not 1.0."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _found(report: AccountReport) -> dict[str, Fields]:
    return {record_id: fields for (resource, record_id), fields in report.records.items() if resource == RESOURCE}


def _planned_actions(operations: Sequence[PlannedOperation]) -> dict[tuple[str, str], dict[int, str]]:
    planned: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for operation in operations:
        planned[operation.connection, operation.record_id][operation.version] = operation.action
    return planned


def _by_record(applications: Sequence[Application]) -> dict[str, list[Application]]:
    histories: defaultdict[str, list[Application]] = defaultdict(list)
    for application in applications:
        histories[application.record_id].append(application)
    return histories


def _account(account: CrmAccount, report: AccountReport) -> AccountVerification:
    counts = report.counts
    return AccountVerification(
        connection=account.name,
        requests=counts.get("requests", 0),
        accepted=counts.get("accepted", 0),
        refused=counts.get("refused", 0),
        errors=counts.get("status_500", 0),
        applied=counts.get("applied", 0),
        quota=tuple(
            QuotaUse(window=window, share=quota_share(report.accepted_at, window), peak=peak)
            for window, peak in zip(account.windows, report.peaks, strict=True)
        ),
    )
