from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from examples.demo.crm_options import CrmAccount, Window
from examples.demo.crm_process import AccountReport
from examples.demo.crm_store import Application, RecordStore, Write
from examples.demo.dataset import RESOURCE, PlannedOperation, plan
from examples.demo.progress import ConnectionProgress, LiveProgress, QuotaProgress
from examples.demo.quota_use import quota_share
from examples.demo.verification import Verification, verify

ACCOUNTS = tuple(CrmAccount(name, f"token-{name}", (Window(5, 1.0),)) for name in ("a", "b"))
OPERATIONS = plan(records=80, shares={"a": 1.0, "b": 2.0}, seed=3)


def served(operations: Sequence[PlannedOperation]) -> dict[str, AccountReport]:
    """What a server reports that was given these operations, each once and in order."""
    stores = {account.name: RecordStore() for account in ACCOUNTS}
    for connection, action, record_id, version, fields in operations:
        known = None if action == "delete" else version
        write = Write(action=action, resource=RESOURCE, record_id=record_id, fields=fields, version=known)
        stores[connection].apply(write)
    return {
        name: AccountReport(
            records={place: record.fields for place, record in store.records.items()},
            applications=tuple(store.applications),
            accepted_at=(),
            counts={},
            peaks=(0,),
        )
        for name, store in stores.items()
    }


def verified(
    operations: Sequence[PlannedOperation] = OPERATIONS,
    applications: Callable[[list[Application]], list[Application]] = lambda log: log,
) -> Verification:
    """Verify the whole plan against a server that was given `operations` and whose log for `a` was tampered with."""
    reports = served(operations)
    tampered = tuple(applications(list(reports["a"].applications)))
    return verify(OPERATIONS, {**reports, "a": attrs.evolve(reports["a"], applications=tampered)}, ACCOUNTS)


def found(verification: Verification) -> set[str]:
    return {name for name, cases in verification.findings.items() if cases}


def updated_twice() -> str:
    return next(row.record_id for row in OPERATIONS if row.connection == "a" and row.version == 3)


class TestVerification:
    def test_a_faithful_server_passes(self) -> None:
        verification = verified()
        assert verification.passed
        assert found(verification) == set()
        assert verification.folded == 0
        assert "lost: 0" in list(verification.lines())

    @given(st.integers(0, len(OPERATIONS) - 1))
    def test_each_lost_operation_is_found_or_was_undone_by_a_later_one(self, index: int) -> None:
        rest = [*OPERATIONS[:index], *OPERATIONS[index + 1 :]]
        gone = OPERATIONS[index]
        later = [row.action for row in rest if row.record_id == gone.record_id and row.version > gone.version]
        assert verified(rest).passed == ("delete" in later)

    def test_a_folded_update_is_counted_and_no_fault(self) -> None:
        record_id = updated_twice()
        create, update = (row for row in OPERATIONS if row.record_id == record_id and row.version <= 2)
        folded = create._replace(fields={**create.fields, **update.fields}, version=2)
        verification = verified([folded if row is create else row for row in OPERATIONS if row is not update])
        assert verification.passed
        assert verification.folded == 1

    def test_a_changed_field_is_named_and_true_is_not_one(self) -> None:
        reports = served(OPERATIONS)
        place = next(place for place, fields in reports["b"].records.items() if fields["version"] == 1)
        fields = {**reports["b"].records[place], "population": None, "version": True}
        records = {**reports["b"].records, place: fields}
        verification = verify(OPERATIONS, {**reports, "b": attrs.evolve(reports["b"], records=records)}, ACCOUNTS)
        assert [difference.field for difference in verification.differing] == ["population", "version"]
        assert found(verification) == {"differing fields"}

    def test_a_record_nobody_planned_is_unexpected(self) -> None:
        stranger = PlannedOperation("a", "create", "stranger", 1, {})
        assert found(verified([*OPERATIONS, stranger])) == {"unexpected", "unplanned"}

    def test_a_repeated_write_is_a_duplicate_unless_its_success_had_been_hidden(self) -> None:
        def twice(answered: int) -> Callable[[list[Application]], list[Application]]:
            return lambda log: [attrs.evolve(log[0], answered=answered), *log]

        duplicated, re_applied = verified(applications=twice(201)), verified(applications=twice(500))
        assert found(duplicated) == {"duplicated"}
        assert re_applied.passed
        assert len(re_applied.re_applied) == 1

    @given(st.integers(0, 2**32))
    def test_two_swapped_writes_of_one_record_are_out_of_order(self, seed: int) -> None:
        def swapped(log: list[Application]) -> list[Application]:
            places = [number for number, row in enumerate(log) if row.record_id == updated_twice()]
            one, other = random.Random(seed).sample(places, 2)
            log[one], log[other] = log[other], log[one]
            return log

        assert "out of order" in found(verified(applications=swapped))

    def test_a_connection_without_an_account_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no accounts: b"):
            verify(OPERATIONS, served(OPERATIONS), ACCOUNTS[:1])


class TestQuotaUse:
    def test_bursts_at_the_limit_and_even_pacing_at_the_limit_both_use_all(self) -> None:
        bursts = [float(second) for second in range(10) for _ in range(5)]
        paced = [number / 5 for number in range(50)]
        assert quota_share(bursts, Window(5, 1.0)) == quota_share(paced, Window(5, 1.0)) == 1.0

    def test_an_idle_half_is_seen_and_the_tail_is_left_out(self) -> None:
        slow = [number / 2.5 for number in range(50)]
        assert quota_share(slow, Window(5, 1.0)) == pytest.approx(0.5, abs=0.05)
        assert quota_share([*(number / 5 for number in range(50)), 1_000.0], Window(5, 1.0)) == 1.0

    def test_work_that_ends_within_one_window_has_no_share(self) -> None:
        assert quota_share([0.0, 0.1, 0.2], Window(5, 1.0)) is None
        assert quota_share([0.0] * 6, Window(5, 1.0)) is None


def state(done: int, total: int = 100) -> ConnectionProgress:
    quotas = (QuotaProgress(40, 1.0, 12),)
    return ConnectionProgress(name="acme", done=done, total=total, queued=7, retries=3, refused=2, quotas=quotas)


class TestProgress:
    def test_without_a_terminal_a_line_now_and_then_and_one_at_the_end(self) -> None:
        screen = io.StringIO()
        with LiveProgress(Console(file=screen, force_terminal=False)) as progress:
            for second in range(11):
                progress.show([state(second * 5)], elapsed=float(second))
            progress.show([state(100)], elapsed=10.5)
        lines = screen.getvalue().splitlines()
        assert [line.split(":")[0].split()[0] for line in lines] == ["0.0", "5.0", "10.0", "10.5"]
        assert "50/100 done, 7 queued, 3 retries, 429s 2, quota used 12/40 per 1 s, ETA 10 s" in lines[2]
        assert lines[3].endswith("ETA done")

    def test_on_a_terminal_a_table_is_redrawn(self) -> None:
        screen = io.StringIO()
        with LiveProgress(Console(file=screen, force_terminal=True, width=100, legacy_windows=False)) as progress:
            progress.show([state(0)], elapsed=0.0)
            progress.show([state(50)], elapsed=5.0)
        assert "50/100" in screen.getvalue()
        assert "5 s" in screen.getvalue()
