from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import WebhookRefused
from ratesync.http import WebhookVerifier
from ratesync.http.webhooks import StateSeen
from ratesync.memory import MemoryBackend
from ratesync.rules.webhook import (
    MAX_BODY,
    Delivery,
    HmacSignature,
    HubSpotV3,
    Scheme,
    StandardWebhooks,
    StripeSignature,
    check,
)

NOW = 1_700_000_000
URL = "https://host.example/hook?a=%3Ab%20c"
KEY = "a key of more than twenty-four bytes"
WHSEC = "whsec_" + b64encode(KEY.encode()).decode()
Headers = dict[str, str]
Signer = Callable[[bytes, int], Headers]


@frozen
class FixedClock:
    is_virtual: bool = False

    def now(self) -> float:
        return float(NOW)


def digest(message: bytes, hash_name: str = "sha256") -> bytes:
    return hmac.digest(KEY.encode(), message, hash_name)


def standard(body: bytes, at: int) -> Headers:
    signature = b64encode(digest(f"msg_1.{at}.".encode() + body)).decode()
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": f"v1a,xx v1,AAAA v1,{signature}"}


def stripe(body: bytes, at: int) -> Headers:
    return {"Stripe-Signature": f"t={at},v1=00,v1={digest(f'{at}.'.encode() + body).hex()},v0=11"}


def hubspot(body: bytes, at: int) -> Headers:
    message = b"POSThttps://host.example/hook?a=:b%20c" + body + f"{at}000".encode()
    return {
        "X-HubSpot-Signature-V3": b64encode(digest(message)).decode(),
        "X-HubSpot-Request-Timestamp": f"{at}000",
    }


def generic(body: bytes, at: int) -> Headers:
    return {"X-Hub-Signature": f"sha512={digest(f'{at}.'.encode() + body, 'sha512').hex()}", "X-Time": str(at)}


SCHEMES: dict[str, tuple[Scheme, Signer]] = {
    "standard": (StandardWebhooks(WHSEC), standard),
    "stripe": (StripeSignature(["an older key", KEY]), stripe),
    "hubspot": (HubSpotV3(KEY), hubspot),
    "generic": (
        HmacSignature(
            secrets=KEY, header="X-Hub-Signature", prefix="sha512=", hash_name="sha512", timestamp_header="X-Time"
        ),
        generic,
    ),
}
schemes = pytest.mark.parametrize(("scheme", "sign"), SCHEMES.values(), ids=SCHEMES)


def judge(scheme: Scheme, headers: Mapping[str, str], body: bytes, now: float = NOW) -> str | None:
    """The fault found, None for none."""
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        check(scheme, Delivery(lower, body, "POST", URL), now, 300)
    except WebhookRefused as error:
        return error.fault
    return None


@schemes
def test_a_good_delivery_is_taken(scheme: Scheme, sign: Signer) -> None:
    assert judge(scheme, sign(b'{"a": 1}', NOW), b'{"a": 1}') is None
    assert judge(scheme, sign(b"\xff\x00", NOW), b"\xff\x00") is None, "the raw bytes count"


@schemes
def test_changed_bodies_and_keys_are_refused(scheme: Scheme, sign: Signer) -> None:
    assert judge(scheme, sign(b'{"a": 1}', NOW), b'{"a":1}') == "signature"
    other = StandardWebhooks(b64encode(b"x" * 24).decode()) if isinstance(scheme, StandardWebhooks) else None
    assert other is None or judge(other, sign(b"{}", NOW), b"{}") == "signature"
    assert judge(scheme, {}, b"{}") == "headers"
    assert judge(scheme, sign(b"", NOW), b"x" * (MAX_BODY + 1)) == "body"


@schemes
@pytest.mark.parametrize(("age", "fault"), [(300, None), (-300, None), (301, "timestamp"), (-301, "timestamp")])
def test_old_and_future_deliveries_are_refused(scheme: Scheme, sign: Signer, age: int, fault: str | None) -> None:
    assert judge(scheme, sign(b"{}", NOW - age), b"{}") == fault


def test_a_delivery_without_a_timestamp_can_only_be_told_by_its_id() -> None:
    scheme = HmacSignature(secrets=KEY, encoding="base64")
    headers = {"X-Signature": b64encode(digest(b"{}")).decode()}
    assert judge(scheme, headers, b"{}", now=0) is None
    assert judge(scheme, {"X-Signature": "not base64"}, b"{}") == "signature"
    assert judge(HmacSignature(secrets=KEY, prefix="sha256="), headers, b"{}") == "signature"


HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "",
        "v1,",
        "v1,=",
        "v1,A",
        "v1,é",
        "t=1,v1=zz",
        "t=1,t=2,v1=00",
        "1e9",
        "-1",
        "٣",
        "9" * 400,
        "\x00",
        "\ud800",
        "nan",
    ]
)


@schemes
@given(data=st.data())
def test_a_signed_delivery_with_one_part_changed_raises_nothing_else(
    scheme: Scheme, sign: Signer, data: st.DataObject
) -> None:
    """A valid delivery is the start, so that the checks behind the first are reached, too."""
    body = data.draw(st.binary(max_size=40))
    headers = sign(body, NOW)
    name = data.draw(st.sampled_from(sorted(headers)))
    value = headers[name]
    cut = data.draw(st.integers(0, len(value)))
    changed = data.draw(HOSTILE | HOSTILE.map(lambda text: value[:cut] + text + value[cut:]) | st.just(value[:cut]))
    fault = judge(scheme, headers | {name: changed}, body)
    signed = max(re.split("[ ,=]", value), key=len)
    assert fault in {"headers", "signature", "timestamp"} or signed.lower() in changed.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [("Webhook-Timestamp", "1e9"), ("Webhook-Timestamp", "-1"), ("Webhook-Id", ""), ("Webhook-Id", "\u0663")],
)
def test_a_malformed_header_is_refused_before_its_signature_is_looked_at(name: str, value: str) -> None:
    assert judge(StandardWebhooks(WHSEC), standard(b"{}", NOW) | {name: value}, b"{}") == "headers"


def test_too_many_signatures_are_refused_unread() -> None:
    headers = standard(b"{}", NOW)
    headers["Webhook-Signature"] = "v1,AAAA " * 9
    assert judge(StandardWebhooks(WHSEC), headers, b"{}") == "headers"
    headers["Webhook-Signature"] = "v1," + "A" * 5000
    assert judge(StandardWebhooks(WHSEC), headers, b"{}") == "headers"


@pytest.mark.parametrize("secrets", [(), "whsec_", "whsec_not base64!"])
def test_a_secret_that_is_none_is_refused_at_once(secrets: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        StandardWebhooks(secrets)


@pytest.mark.parametrize("scheme", [scheme for scheme, _ in SCHEMES.values()], ids=SCHEMES)
def test_no_secret_in_a_repr(scheme: Scheme) -> None:
    assert KEY not in repr(scheme)
    assert WHSEC not in repr(scheme)


@pytest.mark.anyio
async def test_a_delivery_that_was_acted_on_is_refused_when_it_comes_again() -> None:
    clock = FixedClock()
    seen = StateSeen(MemoryBackend().state, "acme")
    verifier = WebhookVerifier(StandardWebhooks(WHSEC), seen, clock=clock)
    body = b'{"a": 1}'
    headers = standard(body, int(clock.now()))
    assert (await verifier.verify(headers, body)).id == "msg_1"
    webhook = await verifier.verify(headers, body)  # it was not acted on: the process died
    assert webhook.json() == {"a": 1}
    await verifier.done(webhook)
    await verifier.done(webhook)
    with pytest.raises(WebhookRefused) as caught:
        await verifier.verify(headers, body)
    assert caught.value.fault == "replayed"
    assert await seen.forget(clock.now() + 599) == 0
    assert await seen.forget(clock.now() + 601) == 1
    assert not await seen.has("msg_1")


@pytest.mark.anyio
async def test_headers_come_as_pairs_of_bytes_and_a_double_is_refused() -> None:
    clock = FixedClock()
    verifier = WebhookVerifier(StripeSignature(KEY), clock=clock)
    pairs = [(name.encode(), value.encode()) for name, value in stripe(b"{}", int(clock.now())).items()]
    webhook = await verifier.verify(pairs, b"{}")
    await verifier.done(webhook)
    with pytest.raises(WebhookRefused) as caught:
        await verifier.verify([*pairs, *pairs], b"{}")
    assert caught.value.fault == "headers"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"NaN", b'{"a": 1e999}', b"[" * 100_000, b'"\\ud800"', b"[" * 65 + b"]" * 65]
)
async def test_a_signed_body_that_is_no_json_is_refused_as_such(body: bytes) -> None:
    clock = FixedClock()
    verifier = WebhookVerifier(StripeSignature(KEY), clock=clock)
    webhook = await verifier.verify(stripe(body, int(clock.now())), body)
    with pytest.raises(WebhookRefused) as caught:
        webhook.json()
    assert caught.value.fault == "body"
