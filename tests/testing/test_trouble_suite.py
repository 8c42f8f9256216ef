"""The suite of adapters in trouble notices every mistake that such adapters make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import httpx
import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.errors import AnswerLost, NotSent
from ratesync.http import Account, Response
from ratesync.http.payload import json_object
from ratesync.model.batch import Batch, Reply
from ratesync.model.operation import Kind, Operation
from ratesync.model.outcome import GONE, NO_SUCH_PAGE, Applied, Cause, Outcome, Rejected, RetryLater, Unknown
from ratesync.protocols import ProviderClient
from ratesync.providers import CREATE_ONCE, RequestBatch, Resource, RestProvider, RowBatch
from ratesync.testing import trouble_suite
from ratesync.testing.faulty_transport import FaultyTransport, random_troubles
from ratesync.testing.provider_calls import Sample, applied
from ratesync.testing.trouble import ALLOWED, OF_ROWS, UNSENT, Trouble
from ratesync.testing.trouble_suite import TroubleSuite
from tests.providers.rest_api import RestApi
from tests.testing.suite_run import fails, names_of

pytestmark = pytest.mark.anyio

THINGS = Resource(
    create=None,
    create_with_id=CREATE_ONCE,
    version_path="revision",
    version_form='"{}"',
    read_only={"id", "revision", "updated", "is_deleted"},
)
numbers = count(1)


class Good(RestProvider):
    """Before a transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, size: int = 5) -> None:
        batch = RequestBatch(path="/$batch", size=size, path_name="url", id_name="id") if size > 1 else None
        super().__init__(
            "acme",
            "https://api.example/v2",
            Account(),
            resources=THINGS,
            batch=batch,
            transport=transport,
            timeout=0.3,
            max_response_bytes=200_000,
        )


def all_as(batch: Batch, outcome: Outcome) -> Reply:
    return Reply({operation.id or "": outcome for operation in batch.operations})


class Changes(Good):
    """A mutant of one outcome."""

    def changed(self, outcome: Outcome) -> Outcome:
        return outcome

    @override
    async def execute(self, batch: Batch) -> Reply:
        reply = await super().execute(batch)
        return Reply({identity: self.changed(outcome) for identity, outcome in reply.items()})


class CallsLostAnswersUnsent(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Unknown) and "was lost" in outcome.reason:
            return RetryLater(outcome.reason, Cause.NOT_SENT)
        return outcome


class GivesUpOnServerErrors(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        return Rejected(outcome.reason) if isinstance(outcome, Unknown) else outcome


class DoubtsEverything(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        return Unknown(outcome.reason) if isinstance(outcome, RetryLater) else outcome


class TakesEveryPageForGone(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        is_page = isinstance(outcome, Rejected) and outcome.code == NO_SUCH_PAGE
        return Rejected("HTTP 404", GONE) if is_page else outcome


class FillsInWhatIsMissing(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        return Applied() if isinstance(outcome, Unknown) and "no row" in outcome.reason else outcome


class TriesAgainByItself(Good):
    @override
    async def execute(self, batch: Batch) -> Reply:
        reply = await super().execute(batch)
        return await super().execute(batch) if any(isinstance(each, Unknown) for each in reply.values()) else reply


class BelievesEverySuccess(Good):
    @override
    async def execute(self, batch: Batch) -> Reply:
        reply = await super().execute(batch)
        return all_as(batch, Applied()) if batch.kind is not Kind.READ and self.was_success else reply

    was_success = False

    @override
    async def send(self, connection: str, method: str, target: str, **request: Any) -> Response:
        response = await super().send(connection, method, target, **request)
        self.was_success = response.is_success
        return response


class FollowsRedirects(Good):
    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(transport)
        self._own = httpx.AsyncClient(transport=transport, follow_redirects=True)

    @override
    async def send(self, connection: str, method: str, target: str, **request: Any) -> Response:
        try:
            answer = await self._own.request(
                method, f"https://api.example/v2{target}", content=request.get("content"), headers=request["headers"]
            )
        except httpx.ConnectError as error:
            raise NotSent("refused") from error
        except httpx.HTTPError as error:
            raise AnswerLost("lost") from error
        return Response(answer.status_code, body=answer.content)


class StaysBusyWhenCancelled(Good):
    is_busy = False

    @override
    async def execute(self, batch: Batch) -> Reply:
        if self.is_busy:
            return all_as(batch, RetryLater("busy"))
        self.is_busy = True
        reply = await super().execute(batch)
        self.is_busy = False
        return reply


class MatchesByPosition(Good):
    """As the rows came, which this provider answers in another order."""

    @override
    async def send(self, connection: str, method: str, target: str, **request: Any) -> Response:
        response = await super().send(connection, method, target, **request)
        if response.is_success and response.headers.get("content-type") == "application/json":
            asked = [row["id"] for row in json.loads(request["content"])["requests"]]
            rows = json_object(response.json()) or {}
            told = [row | {"id": identity} for row, identity in zip(rows.get("responses", []), asked, strict=False)]
            return evolve(response, body=json.dumps({"responses": told}).encode())
        return response


class BelievesOneOfTwo(Good):
    """Of two rows for one request the one that comes first, or last."""

    step = 1

    @override
    async def send(self, connection: str, method: str, target: str, **request: Any) -> Response:
        response = await super().send(connection, method, target, **request)
        if response.is_success and response.headers.get("content-type") == "application/json":
            rows = (json_object(response.json()) or {}).get("responses", [])
            one_each = {row["id"]: row for row in rows[:: self.step]}
            return evolve(response, body=json.dumps({"responses": list(one_each.values())}).encode())
        return response


class BelievesTheFirstOfTwo(BelievesOneOfTwo):
    step = -1


class TakesHugeAnswersForUnsent(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Unknown) and "larger" in outcome.reason:
            return RetryLater(outcome.reason, Cause.NOT_SENT)
        return outcome


class TakesADripForUnsent(Changes):
    @override
    def changed(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Unknown) and "no whole answer" in outcome.reason:
            return Rejected(outcome.reason)
        return outcome


TOLD = "test_trouble_is_told_as_what_it_is"
ROWS = "test_rows_of_an_answer_are_given_to_whom_they_belong"
MUTANTS: dict[Callable[[httpx.AsyncBaseTransport], ProviderClient], str] = {
    CallsLostAnswersUnsent: TOLD,
    GivesUpOnServerErrors: TOLD,
    BelievesEverySuccess: TOLD,
    DoubtsEverything: TOLD,
    TakesEveryPageForGone: TOLD,
    TriesAgainByItself: TOLD,
    FollowsRedirects: TOLD,
    StaysBusyWhenCancelled: "test_a_call_that_is_never_answered_can_be_cancelled",
    TakesHugeAnswersForUnsent: TOLD,
    TakesADripForUnsent: "test_a_call_that_is_never_answered_can_be_cancelled",
    MatchesByPosition: ROWS,
    BelievesOneOfTwo: ROWS,
    BelievesTheFirstOfTwo: ROWS,
    FillsInWhatIsMissing: ROWS,
}


class Numbering:
    """An API that numbers new records: `POST /v2/rows` takes many with references, `GET /v2/things/1` gives one."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            rows = [
                {**row, "id": number} for number, row in enumerate(json.loads(request.content)["rows"], len(self.rows))
            ]
            self.rows += rows
            return httpx.Response(200, json={"results": rows})
        return httpx.Response(200, json=self.rows[int(request.url.path.rpartition("/")[2])])


class Numbered(RestProvider):
    """Before it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        rows = RowBatch(path="/rows", reference="reference")
        shape = Resource(create=None, update=None, delete=None, bulk={Kind.CREATE: rows}, answers_with_record=True)
        super().__init__("acme", "https://api.example/v2", resources=shape, transport=transport)


class NumbersByPosition(Numbered):
    """As the rows came."""

    @override
    async def send(self, connection: str, method: str, target: str, **request: Any) -> Response:
        response = await super().send(connection, method, target, **request)
        if method == "POST":
            asked = [row["reference"] for row in json.loads(request["content"])["rows"]]
            rows = (json_object(response.json()) or {}).get("results", [])
            told = [{**row, "reference": reference} for row, reference in zip(rows, asked, strict=False)]
            return evolve(response, body=json.dumps({"results": told}).encode())
        return response


class NumbersByPositionInSecret(NumbersByPosition):
    """Tells ids, and no records."""

    @override
    async def execute(self, batch: Batch) -> Reply:
        reply = await super().execute(batch)
        return Reply(
            {name: evolve(each, record=None) if isinstance(each, Applied) else each for name, each in reply.items()}
        )


def numbered(make: Callable[[httpx.AsyncBaseTransport], ProviderClient]) -> Mapping[str, Any]:
    async def sample(kind: Kind) -> Operation:
        number = next(numbers)
        operation = Operation.create("acme", "things", {"n": number}, id=f"o{number}", idempotency_key=f"o{number}")
        if kind is Kind.CREATE:
            return operation
        made = await applied(good, operation)
        return Operation.read("acme", "things", made.record_id or "", id=f"r{number}", idempotency_key=f"r{number}")

    wire = httpx.MockTransport(Numbering().answer)
    good = Numbered(wire)
    return {"provider": good, "provider_over": make, "sample": sample, "faulty": FaultyTransport(wire)}


@pytest.mark.parametrize("test", names_of(TroubleSuite))
async def test_records_that_answer_creates_of_many_are_no_mistake(test: str) -> None:
    assert not await fails(TroubleSuite, test, lambda: numbered(Numbered))


@pytest.mark.parametrize("mutant", [NumbersByPosition, NumbersByPositionInSecret])
async def test_the_suite_finds_ids_that_are_given_by_position(mutant: type[Numbered]) -> None:
    assert await fails(TroubleSuite, "test_a_new_id_is_told_to_whom_it_belongs", lambda: numbered(mutant))


def fixtures(make: Callable[[httpx.AsyncBaseTransport], ProviderClient]) -> Mapping[str, Any]:
    api = RestApi()
    good = Good(api.transport)
    return {
        "provider": good,
        "provider_over": make,
        "sample": sampler(good),
        "faulty": FaultyTransport(api.transport),
    }


def sampler(provider: ProviderClient) -> Sample:
    async def sample(kind: Kind) -> Operation:
        number = next(numbers)
        record_id = f"r{number}"
        if kind is not Kind.CREATE:
            await applied(provider, Operation.create("acme", "things", {"a": 1}, record_id=record_id, id=f"c{number}"))
        writes = kind in {Kind.CREATE, Kind.UPDATE}
        fields = {"n": number, "email": f"{number}@example.org"} if writes else {}
        identity = f"o{number}"
        return Operation(
            provider="acme",
            resource="things",
            kind=kind,
            record_id=record_id,
            fields=fields,
            id=identity,
            idempotency_key=identity,
        )

    return sample


@pytest.mark.parametrize("test", names_of(TroubleSuite))
async def test_an_adapter_that_does_nothing_wrong_fails_nothing(test: str) -> None:
    assert not await fails(TroubleSuite, test, lambda: fixtures(Good))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
async def test_the_suite_finds_the_mistake(
    mutant: Callable[[httpx.AsyncBaseTransport], ProviderClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble_suite, "_PATIENCE", 0.5)
    assert await fails(TroubleSuite, MUTANTS[mutant], lambda: fixtures(mutant))


def test_every_trouble_has_its_place() -> None:
    assert set(ALLOWED) == set(Trouble)
    assert not UNSENT & OF_ROWS
    for trouble in UNSENT:
        assert Applied not in ALLOWED[trouble], "nothing was sent"
    for trouble in set(Trouble) - UNSENT:
        assert not {Rejected, RetryLater} & set(ALLOWED[trouble]), "it was done"


def test_a_storm_is_the_same_for_the_same_seed() -> None:
    storms = [random_troubles(seed, share=0.5) for seed in (1, 1, 2)]
    first, again, other = ([next(storm) for _ in range(50)] for storm in storms)
    assert first == again != other
    assert 10 < sum(trouble is not None for trouble in first) < 40


async def test_requests_are_counted_and_other_hosts_are_not_called() -> None:
    transport = FaultyTransport(RestApi().transport, [Trouble.REDIRECTED, None])
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://api.example/v2/things")
        assert (await client.get("https://api.example/v2/things")).status_code == 200
    assert transport.strays == ["elsewhere.invalid"]
    assert (transport.requests, transport.met[Trouble.REDIRECTED]) == (3, 1)
