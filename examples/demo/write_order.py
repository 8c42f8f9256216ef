"""The history of one record on the server, held against the plan: what was repeated, what came in the wrong order.

The log is read in the order in which the server applied the writes:

- a version lower than one before it is out of order;
- a version equal to the one before it was applied twice: `re_applied` when the client had been told 500 the time before
  (it could not know that the write had succeeded), `duplicated` when it had been told so;
- a version that is skipped was folded into a later one, which is allowed. Whether its fields arrived all the same shows
  in a comparison of the records, as each create and update of the plan leaves a field of its own;
- a delete that names no version stands for the next delete of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from .crm_store import Application


@frozen
class Step:
    """An applied write that stands out. `after` is the highest version that had been applied before it."""

    connection: str
    record_id: str
    action: str
    version: int | None
    after: int


@define
class WriteOrder:
    """The steps that stand out, over all records followed so far, and the number of versions that were applied."""

    applied_versions: int = 0
    duplicated: list[Step] = field(factory=list[Step])
    re_applied: list[Step] = field(factory=list[Step])
    out_of_order: list[Step] = field(factory=list[Step])
    unplanned: list[Step] = field(factory=list[Step])

    def follow(
        self, connection: str, record_id: str, applied: Iterable[Application], planned: Mapping[int, str]
    ) -> None:
        """Go through the applied writes of one record, oldest first. `planned` maps its versions to their actions."""
        last, last_answered = 0, 0
        for application in applied:
            version = _version(application, planned, last)
            step = Step(connection, record_id, application.action, version, last)
            if version is None or version not in planned:
                self.unplanned.append(step)
                continue
            if version < last:
                self.out_of_order.append(step)
                continue
            if version > last:
                self.applied_versions += 1
            else:
                (self.re_applied if last_answered >= 500 else self.duplicated).append(step)
            last, last_answered = version, application.answered


def _version(application: Application, planned: Mapping[int, str], last: int) -> int | None:
    if application.version is not None or application.action != "delete":
        return application.version
    deletes = sorted(version for version, action in planned.items() if action == "delete")
    # One that comes after all planned deletes repeats the last of them.
    return next((version for version in deletes if version > last), deletes[-1] if deletes else None)
