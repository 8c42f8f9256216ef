"""What answers tell of quotas, and how the adapter and the engine keep within them."""

from __future__ import annotations

import anyio
import pytest

from ratesync import Inquiry, Kind, Operation, RetryLater, SyncEngine
from ratesync.errors import Throttled
from ratesync.http import Headers, Response
from ratesync.memory import MemoryBackend
from ratesync.model.batch import CreateIdentity, DeleteFeed
from ratesync.model.feedback import Feedback, Reading, ThrottleCause
from ratesync.providers.pipedrive import DEALS, default_quotas
from ratesync.providers.pipedrive.throttle import throttle_reader
from ratesync.testing.virtual_time import VirtualClock, run_virtual
from tests.providers.pipedrive.speaking import MARK, execute, one, operation, provider
from tests.servers.pipedrive_company import CLOUDFLARE, Company

pytestmark = pytest.mark.anyio


def response(status: int, body: str = "{}", **headers: str) -> Response:
    fields = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Response(status, Headers([(name.encode(), text.encode()) for name, text in fields.items()]), body.encode())


BURST = {"x_ratelimit_limit": "20", "x_ratelimit_remaining": "19", "x_ratelimit_reset": "2"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (response(200), None),
        (response(200, **BURST), Feedback(readings=(Reading(limit=20, remaining=19, reset_after=2.0, per=2.0),))),
        (response(200, x_ratelimit_limit="many"), None),
        (response(403), None),
        (response(403, CLOUDFLARE, content_type="text/html"), Feedback(cause=ThrottleCause.OVERLOAD, hold_for=300.0)),
        (response(429), None),
        (response(429, x_ratelimit_limit="20"), None),
        (response(429, **BURST), Feedback(cause=ThrottleCause.BUDGET)),
        (response(429, x_daily_ratelimit_token_remaining="4"), Feedback(cause=ThrottleCause.BUDGET)),
        (
            response(429, x_daily_ratelimit_token_remaining="5", x_ratelimit_remaining="0"),
            Feedback(readings=(Reading(remaining=0, per=2.0),), cause=ThrottleCause.RATE, hold_for=2.0),
        ),
    ],
)
def test_what_an_answer_tells(answer: Response, expected: Feedback | None) -> None:
    assert throttle_reader(5)(answer) == expected


def test_a_search_tells_of_a_burst_of_its_own() -> None:
    read = throttle_reader(20, is_search=True)
    assert read(response(200, **BURST)) is None
    assert read(response(429, **BURST)) == Feedback(cause=ThrottleCause.OVERLOAD, hold_for=2.0)
    assert read(response(429, x_daily_ratelimit_token_remaining="19")) == Feedback(cause=ThrottleCause.BUDGET)


async def test_too_many_searches_hold_the_connection_for_a_moment(company: Company) -> None:
    company.search_burst = 1
    pipedrive = provider(company)
    await pipedrive.find("default", "persons", "name", ["Ada"])
    with pytest.raises(Throttled) as caught:
        await pipedrive.find("default", "persons", "name", ["Ada"])
    assert caught.value.retry_after == 2.0


async def test_who_goes_on_all_the_same_is_blocked_and_stays_away(company: Company) -> None:
    company.burst, company.patience = 1, 2
    pipedrive = provider(company)
    outcomes = [await one(pipedrive, Kind.READ, "1") for _ in range(4)]
    waits = [outcome.retry_after for outcome in outcomes if isinstance(outcome, RetryLater)]
    assert waits == [2.0, 2.0, 300.0]


async def test_the_reply_tells_how_burst_and_day_stand(company: Company) -> None:
    company.burst, company.tokens = 20, 30_000
    _, reply = await execute(provider(company), [operation(Kind.CREATE, name="Ada") for _ in range(3)])
    assert Reading(limit=20, remaining=17, reset_after=2.0, per=2.0) in reply.feedback.readings
    assert Reading(limit=30_000, remaining=29_985, per=86_400.0) in reply.feedback.readings
    assert reply.feedback.charged == {"calls": 3, "tokens": 15, "searches": 0}


def test_capabilities_say_what_the_configuration_gives(company: Company) -> None:
    plain = provider(company).capabilities
    assert (plain.create_identity, plain.deletes) == (CreateIdentity.NONE, DeleteFeed.LISTING)
    deals = provider(company, resources={"deals": DEALS}, identity_fields={"deals": MARK}).capabilities
    assert (deals.create_identity, deals.deletes) == (CreateIdentity.LOOKUP, DeleteFeed.TOMBSTONES)
    some = provider(company, identity_fields={"deals": MARK}).capabilities
    assert some.create_identity is CreateIdentity.NONE
    assert Kind.UPSERT not in some.kinds


def test_calls_on_what_is_unknown_have_no_price(company: Company) -> None:
    assert provider(company).charge("people", Kind.READ, 5) == {}


def test_a_batch_of_writes_is_made_small_enough_for_the_burst(company: Company) -> None:
    charge = provider(company).charge
    assert charge("persons", Kind.UPDATE, 20) == {"calls": 20, "tokens": 100}
    assert charge("persons", Kind.READ, 10) == {"calls": 10, "tokens": 10}
    assert charge("persons", Kind.READ, 11) == {"calls": 1, "tokens": 10}
    assert charge("persons", Kind.READ, 100) == {"calls": 1, "tokens": 10}
    assert charge("deals", Kind.READ, 100) == {"calls": 3, "tokens": 40}
    assert charge("deals", Kind.DELETE, 1) == {"calls": 1, "tokens": 3}


def test_what_is_no_operation_has_its_price(company: Company) -> None:
    charge = provider(company).charge
    assert (
        charge("persons", Inquiry.CHANGES, 1) == charge("persons", Inquiry.DESCRIPTION, 1) == {"calls": 1, "tokens": 10}
    )
    assert charge("deals", Inquiry.LISTING, 1) == {"calls": 1, "tokens": 20}
    assert charge("persons", Inquiry.FIND, 1) == {"calls": 11, "tokens": 210, "searches": 10}
    assert charge("deals", Inquiry.LOOKUP, 1) == {"calls": 5, "tokens": 70, "searches": 1}


def test_an_engine_keeps_within_the_burst_that_it_is_told() -> None:
    company, took = run_creates(burst=20, plan="lite", records=100, is_app=False)
    assert len(company.asked) == 100  # no request was refused
    assert took <= 12.0


def test_an_engine_that_was_told_too_much_learns() -> None:
    company, _ = run_creates(burst=5, plan="ultimate", records=60, is_app=True)
    assert len(company.asked) < 120


def test_an_engine_waits_for_the_next_day_when_the_tokens_are_used_up() -> None:
    company, took = run_creates(burst=1000, plan="lite", records=40, is_app=False, tokens=100)
    assert took > 3600.0
    assert len(company.asked) < 150  # it does not go on asking through the day


def run_creates(*, burst: int, plan: str, records: int, is_app: bool, tokens: int = 1_000_000) -> tuple[Company, float]:
    """Create records through an engine in virtual time; how long it took."""
    company, clock = Company(burst=burst, tokens=tokens, patience=100), VirtualClock()
    company.clock = clock.now

    async def create() -> float:
        started_at = clock.now()
        async with (
            provider(company, clock=clock) as pipedrive,
            SyncEngine(
                backend=MemoryBackend(clock=clock, cold_start=False),
                providers=[pipedrive],
                quotas={"pipedrive": default_quotas(plan, is_app=is_app)},
                clock=clock,
            ) as engine,
        ):
            await engine.submit_many(Operation.create("pipedrive", "persons", {"name": str(n)}) for n in range(records))
            if tokens < 1000:
                await anyio.sleep(4000)
                company.tokens = 1_000_000
            assert await engine.drain(timeout=100_000)
            assert await engine.dead_letters() == []
        return clock.now() - started_at

    took = run_virtual(create)
    assert sorted(row["name"] for row in company.held("persons").values()) == sorted(map(str, range(records)))
    return company, took
