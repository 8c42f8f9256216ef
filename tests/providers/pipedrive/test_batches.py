"""Many operations in one call: reads in one request, writes one after the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync import Applied, Kind, Outcome, Rejected, RetryLater, Unknown
from ratesync.errors import InvalidResponse
from ratesync.model.batch import Batch
from ratesync.model.outcome import Cause
from tests.providers.pipedrive.speaking import execute, operation, provider
from tests.servers.pipedrive_company import Asked, Company, Told

pytestmark = pytest.mark.anyio


async def test_a_hundred_reads_are_one_request(company: Company) -> None:
    for number in range(100):
        company.add("persons", {"name": f"Ada {number}"})
    company.delete("persons", 13)
    reads = [operation(Kind.READ, str(number)) for number in range(100, 0, -1)]
    outcomes, reply = await execute(provider(company), reads)
    assert len(company.asked) == 1
    assert reply.feedback.charged == {"calls": 1, "tokens": 10, "searches": 0}
    for read, outcome in zip(reads, outcomes, strict=True):
        if read.record_id == "13":
            assert isinstance(outcome, Rejected)
            assert outcome.code == "404"
        else:
            assert isinstance(outcome, Applied)
            assert outcome.record is not None
            assert outcome.record.record_id == read.record_id
            assert outcome.record.fields == company.held("persons")[read.record_id or ""]


async def test_archived_deals_are_read_from_the_archive(company: Company) -> None:
    for number in range(4):
        company.add("deals", {"title": str(number), "is_archived": number == 2})
    reads = [operation(Kind.READ, str(number), resource="deals") for number in range(1, 12)]
    outcomes, reply = await execute(provider(company), reads)
    assert [type(outcome) for outcome in outcomes] == [Applied] * 4 + [Rejected] * 7
    assert [asked.query["ids"] for asked in company.asked] == [
        "1,2,3,4,5,6,7,8,9,10,11",
        "3,5,6,7,8,9,10,11",
        "5,6,7,8,9,10,11",
    ]
    assert reply.feedback.charged == {"calls": 3, "tokens": 40, "searches": 0}


async def test_a_deal_that_leaves_the_archive_while_it_is_read_is_not_gone() -> None:
    class Restless(Company):
        """The deals move once they were looked for among the live ones."""

        def answer(self, asked: Asked) -> Told:
            told = super().answer(asked)
            if len(self.asked) == 1:
                for identity in self.rows["deals"]:
                    self.change("deals", identity, {"is_archived": False})
            return told

    company = Restless()
    for number in range(11):
        company.add("deals", {"title": str(number), "is_archived": True})
    reads = [operation(Kind.READ, str(number), resource="deals") for number in range(1, 12)]
    outcomes, _ = await execute(provider(company), reads)
    assert [type(outcome) for outcome in outcomes] == [Applied] * 11


async def test_the_same_record_may_be_asked_for_twice(company: Company) -> None:
    company.add("persons", {"name": "Ada"})
    outcomes, _ = await execute(provider(company), [operation(Kind.READ, "1") for _ in range(11)])
    assert [type(outcome) for outcome in outcomes] == [Applied] * 11


async def test_few_reads_go_alone_as_that_takes_fewer_tokens(company: Company) -> None:
    for _ in range(3):
        company.add("persons", {"name": "Ada"})
    outcomes, reply = await execute(provider(company), [operation(Kind.READ, str(number)) for number in (3, 9, 1)])
    assert [type(outcome) for outcome in outcomes] == [Applied, Rejected, Applied]
    assert reply.feedback.charged == {"calls": 3, "tokens": 3, "searches": 0}


class Muddled(Company):
    """Answers reads by ids with whatever rows it was given."""

    rows_told: list[Any]

    def answer(self, asked: Asked) -> Told:
        return self.success(self.rows_told, {"next_cursor": None})


ROWS: st.SearchStrategy[list[Any]] = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(1, 5) | st.sampled_from(["2", None, True, "x"])},
        optional={"name": st.sampled_from(["a", "b"]), "is_deleted": st.booleans()},
    )
    | st.sampled_from([None, 7, [], "row"]),
    max_size=8,
)


@given(rows=ROWS)
async def test_rows_are_matched_by_id_whatever_comes(rows: list[Any]) -> None:
    company = Muddled()
    company.rows_told = rows
    outcomes, _ = await execute(provider(company), [operation(Kind.READ, str(number)) for number in range(1, 12)])
    for number, outcome in enumerate(outcomes, start=1):
        objects: list[dict[str, Any]] = [row for row in rows if isinstance(row, dict)]
        own = [row for row in objects if str(row["id"]) == str(number) and row["id"] is not True]
        told = {"gone" if row.get("is_deleted") else json.dumps(row, sort_keys=True) for row in own} or {"gone"}
        if len(told) > 1:
            assert isinstance(outcome, Unknown)
        elif told == {"gone"}:
            assert isinstance(outcome, Rejected)
        else:
            assert isinstance(outcome, Applied)
            assert outcome.record is not None
            assert outcome.record.record_id == str(number)


async def test_a_page_of_reads_that_goes_on_is_not_taken_for_whole(company: Company) -> None:
    company.before.append(company.success([{"id": 1}], {"next_cursor": "more"}))
    reads = [operation(Kind.READ, str(number)) for number in range(1, 12)]
    batch = Batch(reads[0].lane, "persons", Kind.READ, tuple(reads))
    with pytest.raises(InvalidResponse, match="another page"):
        await provider(company).execute(batch)


async def test_a_page_of_reads_without_rows_is_none(company: Company) -> None:
    company.before.append(company.success({"id": 1}))
    reads = [operation(Kind.READ, str(number)) for number in range(1, 12)]
    with pytest.raises(InvalidResponse, match="no list"):
        await provider(company).execute(Batch(reads[0].lane, "persons", Kind.READ, tuple(reads)))


async def test_reads_of_what_is_no_id_are_not_sent(company: Company) -> None:
    outcomes, reply = await execute(provider(company), [operation(Kind.READ, "a b") for _ in range(11)])
    assert [type(outcome) for outcome in outcomes] == [Rejected] * 11
    assert company.asked == []
    assert reply.feedback.charged == {"calls": 0, "tokens": 0, "searches": 0}


async def test_many_reads_that_are_refused_together_are_refused_each(company: Company) -> None:
    company.before.append(company.failure(400, "Validation failed: ids"))
    outcomes, _ = await execute(provider(company), [operation(Kind.READ, str(number)) for number in range(11)])
    assert [type(outcome) for outcome in outcomes] == [Rejected] * 11


async def test_one_bad_write_does_not_stop_the_others(company: Company) -> None:
    creates = [operation(Kind.CREATE, name=name) for name in ("Ada", "", "Grace")]
    outcomes, reply = await execute(provider(company), creates)
    assert [type(outcome) for outcome in outcomes] == [Applied, Rejected, Applied]
    assert [row["name"] for row in company.held("persons").values()] == ["Ada", "Grace"]
    assert reply.feedback.charged == {"calls": 3, "tokens": 15, "searches": 0}


@pytest.mark.parametrize(
    ("status", "first", "rest"),
    [
        (429, Cause.THROTTLED, Cause.THROTTLED),
        (401, Cause.UNAUTHORISED, Cause.UNAUTHORISED),
        (503, Cause.UNAVAILABLE, Cause.UNAVAILABLE),
        (500, None, Cause.NOT_SENT),
    ],
)
async def test_trouble_leaves_the_rest_unsent(company: Company, status: int, first: Cause | None, rest: Cause) -> None:
    company.before.extend([None, company.failure(status, "trouble")])
    creates = [operation(Kind.CREATE, name=name) for name in ("Ada", "Eve", "Grace", "Mary")]
    outcomes, reply = await execute(provider(company), creates)
    assert isinstance(outcomes[0], Applied)
    assert cause_of(outcomes[1]) == first
    assert [cause_of(outcome) for outcome in outcomes[2:]] == [rest, rest]
    assert len(company.held("persons")) == 1
    assert reply.feedback.charged == {"calls": 2, "tokens": 10, "searches": 0}


async def test_writes_that_take_too_long_leave_the_rest_for_another_call(company: Company) -> None:
    class Slow:
        """Ten seconds pass between two looks at it."""

        at = 0.0
        is_virtual = True

        def now(self) -> float:
            self.at += 10.0
            return self.at

    creates = [operation(Kind.CREATE, name="Ada") for _ in range(10)]
    outcomes, _ = await execute(provider(company, clock=Slow()), creates)
    sent = [outcome for outcome in outcomes if isinstance(outcome, Applied)]
    assert 1 <= len(sent) < 5
    assert len(company.held("persons")) == len(sent)
    assert {cause_of(outcome) for outcome in outcomes[len(sent) :]} == {Cause.NOT_SENT}


def cause_of(outcome: Outcome) -> Cause | None:
    return outcome.cause if isinstance(outcome, RetryLater) else None
