"""Nothing shows a credential that an answer repeats, however it is spelt: no adapter, engine, endpoint or client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from ratesync.errors import AnswerLost
from ratesync.model.outcome import Outcome
from ratesync.model.secret import Secret
from tests.secrecy.canary import MARK, ODD, leaks_in
from tests.secrecy.echoing import ADAPTERS, LOST, ROWS
from tests.secrecy.walk import (
    CASES,
    CLIENTS,
    FEW,
    KEEPERS,
    SPELT,
    STATUSES_OF_ENGINES,
    Walk,
    client_settings,
    shown_by_adapter,
    shown_by_client,
    shown_by_engine,
    shown_by_token_endpoint,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("name", ADAPTERS)
async def test_no_adapter_shows_what_answers_repeat(name: str) -> None:
    assert not await shown_by_adapter(name, CASES)


async def test_one_adapter_shows_it_in_no_spelling() -> None:
    assert not await shown_by_adapter("kinto", SPELT)


@pytest.mark.parametrize("name", ADAPTERS)
async def test_no_engine_over_an_adapter_shows_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ratesync")
    assert not await shown_by_engine(name, STATUSES_OF_ENGINES)
    assert not leaks_in(caplog.text)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("setting", client_settings("httpx"))
async def test_credentials_of_the_hosts_own_client_are_masked(kind: str, setting: str) -> None:
    assert not await shown_by_client(kind, client_settings(kind)[setting], FEW)


@pytest.mark.parametrize("name", KEEPERS)
async def test_a_token_endpoint_that_repeats_its_request_is_not_repeated(name: str) -> None:
    assert not await shown_by_token_endpoint(KEEPERS[name], FEW)


def nothing_added(url: object, headers: Any, by_client: object = None) -> tuple[Secret, ...]:
    from ratesync.rules.masking import secrets_among

    return secrets_among(headers, ())


def only_plain(text: str) -> Any:
    from ratesync.rules.spelling import Spelling

    return [Spelling.of(text)]


def only_whole(secret: str | Secret) -> set[str]:
    return {secret if isinstance(secret, str) else secret.reveal()}


def as_it_is(outcome: Outcome, _: object) -> Outcome:
    return outcome


def of_no_other(row: Any, within: Any = None, **names: str) -> Any:
    from ratesync.http.embedded import embedded_response as real

    return real(row, None, **names)


def of_adapter(name: str, status: int, word: str = ODD, spelling: str = "plain") -> Walk:
    return lambda: shown_by_adapter(name, [(status, word, spelling)])


def of_engine(name: str, status: int) -> Walk:
    return lambda: shown_by_engine(name, [status])


def of_client(setting: str, kind: str = "httpx") -> Walk:
    return lambda: shown_by_client(kind, client_settings(kind)[setting], ["plain"])


def of_tokens(name: str) -> Walk:
    return lambda: shown_by_token_endpoint(KEEPERS[name], ["plain"])


def nothing(*_: object, **__: object) -> Any:
    return ()


def no_text(_: str) -> None:
    """As if nothing were base64."""


def unmasked(text: str, _: object) -> str:
    return text


def all_told(error: Exception, _: object) -> AnswerLost:
    return AnswerLost(str(error))


def never(*_: object) -> bool:
    return False


MASKING = "ratesync.rules.masking"
BUGS: dict[str, tuple[str, Callable[..., Any], Walk]] = {
    "reasons are not masked": ("ratesync.http.reason.mask_text", unmasked, of_adapter("kinto", 400)),
    "escapes are not undone": (f"{MASKING}.spellings", only_plain, of_adapter("kinto", 400, spelling="quote")),
    "base64 is not undone": (f"{MASKING}.encoded_runs", nothing, of_adapter("kinto", 400, spelling="base64")),
    "words are not told apart": (f"{MASKING}._words", only_whole, of_adapter("kinto", 400)),
    "Basic is not undone": (f"{MASKING}.unfolded", no_text, of_client("auth")),
    "codes are not looked at": ("ratesync.http.reason.shows", never, of_adapter("pipedrive", 400, MARK)),
    "codes of outcomes are not": (f"{MASKING}.shows", never, of_adapter("salesforce", ROWS, MARK)),
    "answers of Salesforce": (
        "ratesync.providers.salesforce.answer.mask_outcome",
        as_it_is,
        of_adapter("salesforce", 400, MARK),
    ),
    "rows of Salesforce": (
        "ratesync.providers.salesforce.execution.mask_outcome",
        as_it_is,
        of_adapter("salesforce", ROWS, MARK),
    ),
    "answers within Salesforce's": (
        "ratesync.providers.salesforce.execution.embedded_response",
        of_no_other,
        of_adapter("salesforce", ROWS, MARK),
    ),
    "answers of HubSpot": (
        "ratesync.providers.hubspot.answer.mask_outcome",
        as_it_is,
        of_adapter("hubspot", 400, MARK),
    ),
    "rows of HubSpot": (
        "ratesync.providers.hubspot.execution.mask_outcome",
        as_it_is,
        of_adapter("hubspot", ROWS, MARK),
    ),
    "rows of requests": ("ratesync.providers.request_batch.embedded_response", of_no_other, of_adapter("kinto", ROWS)),
    "what was sent is not noted": ("ratesync.http.caller.secrets_sent", nothing, of_adapter("rest", 400)),
    "what was lost is told": ("ratesync.http.caller.call_failure", all_told, of_engine("pipedrive", LOST)),
    "what a client adds is not": ("ratesync.http.caller.secrets_sent", nothing_added, of_client("headers")),
    "its parameters are not": ("ratesync.http.sent.query_pairs", nothing, of_client("params")),
    "what an httpx2 client adds": ("ratesync.http.caller.secrets_sent", nothing_added, of_client("auth", "httpx2")),
    "forms are not secret": ("ratesync.http.token_endpoint.secrets_in_form", nothing, of_tokens("refresh token")),
    "nor is a client's secret": (
        "ratesync.http.token_endpoint.secrets_in_form",
        nothing,
        of_tokens("secret in the form"),
    ),
}
"""Each breaks one part of the masking: where, by what, and the walk that must notice."""


@pytest.mark.parametrize("name", BUGS)
async def test_what_would_leak_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, bug, walk = BUGS[name]
    monkeypatch.setattr(place, bug)
    assert await walk()
