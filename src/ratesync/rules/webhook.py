"""Whether a delivery to a webhook is from the provider: signatures, and how old they may be."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal, Protocol

from attrs import field, frozen

from ratesync.errors import WebhookRefused
from ratesync.model.secret import Secret
from ratesync.rules.signature import HashName, any_matches, decode_signature, hmac_digest

TOLERANCE = 300.0
"""Seconds that a timestamp may be off, both ways."""
MAX_BODY = 1024 * 1024
"""Bytes of a delivery."""

_LONGEST_HEADER = 4096
_MOST_SIGNATURES = 8
_LONGEST_ID = 256
_TIMESTAMP = re.compile(r"[0-9]{1,13}")
_ID = re.compile(r"[\x21-\x7e]+")


@frozen
class Delivery:
    """A delivery as it came: the raw bytes, not a parsed and rewritten body."""

    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    method: str = "POST"
    url: str = field(default="", repr=False)
    """The full URL as the provider calls it, for schemes that sign it."""


@frozen
class Claim:
    """What a delivery claims, and what is to be compared."""

    id: str | None
    timestamp: float | None
    """Seconds since the epoch; None where the scheme has none."""
    message: bytes = field(repr=False)
    """What was signed."""
    signatures: tuple[bytes, ...] = field(repr=False)
    hash_name: HashName = "sha256"


class Scheme(Protocol):
    """A way to sign deliveries."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The shared secrets that are good now: two while one is being replaced."""
        ...

    def claim(self, delivery: Delivery) -> Claim:
        """What the delivery claims.

        :raises WebhookRefused: headers are missing or malformed.
        """
        ...


def check(scheme: Scheme, delivery: Delivery, now: float, tolerance: float) -> tuple[str, float | None]:
    """The delivery's id and instant. The id is a digest of what was signed where the scheme has none.

    :raises WebhookRefused: it is not from the provider, or not from now. Nothing else, whatever comes in.
    """
    if len(delivery.body) > MAX_BODY:
        raise WebhookRefused(f"the delivery is larger than {MAX_BODY} bytes", fault="body")
    claim = scheme.claim(delivery)
    expected = [hmac_digest(key, claim.message, claim.hash_name) for key in scheme.keys]
    if not any_matches(expected, claim.signatures):
        raise WebhookRefused("no signature of the delivery fits", fault="signature")
    if claim.timestamp is not None and abs(now - claim.timestamp) > tolerance:
        raise WebhookRefused(f"the delivery is more than {tolerance:g} s old, or from the future", fault="timestamp")
    return claim.id or sha256(claim.message).hexdigest(), claim.timestamp


def _secrets(values: Iterable[str | Secret]) -> tuple[Secret, ...]:
    secrets = (values,) if isinstance(values, str | Secret) else tuple(values)
    if not secrets:
        raise ValueError("give the secret that deliveries are signed with")
    return tuple(Secret.of(secret) for secret in secrets)


def _standard_secrets(values: Iterable[str | Secret]) -> tuple[Secret, ...]:
    secrets = _secrets(values)
    if not all(_standard_key(secret) for secret in secrets):
        raise ValueError("a secret of Standard Webhooks is base64, perhaps behind whsec_")
    return secrets


def _standard_key(secret: Secret) -> bytes | None:
    return decode_signature(secret.reveal().removeprefix("whsec_"), "base64")


@frozen
class StandardWebhooks:
    """Standard Webhooks 1.0 with a shared secret (``v1``): headers ``webhook-id``, ``-timestamp``, ``-signature``.

    ::

        StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    :raises ValueError: a secret is no base64.
    """

    secrets: tuple[Secret, ...] = field(converter=_standard_secrets, repr=False)
    """One secret, or several while one is being replaced."""
    prefix: str = "webhook"
    """Of the headers' names: ``svix`` at providers that were earlier than the standard."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The secrets, decoded."""
        return [b64decode(secret.reveal().removeprefix("whsec_")) for secret in self.secrets]

    def claim(self, delivery: Delivery) -> Claim:
        """What the delivery claims."""
        identity = _id(_header(delivery, f"{self.prefix}-id"))
        timestamp = _timestamp(_header(delivery, f"{self.prefix}-timestamp"))
        pairs = [part.partition(",") for part in _header(delivery, f"{self.prefix}-signature").split(" ")]
        given = [signature for version, _, signature in pairs if version == "v1"]
        message = f"{identity}.{timestamp}.".encode() + delivery.body
        return Claim(identity, float(timestamp), message, _signatures(given, "base64"))


@frozen
class StripeSignature:
    """Stripe's: ``Stripe-Signature: t=1700000000,v1=...``, also under other names at other providers."""

    secrets: tuple[Secret, ...] = field(converter=_secrets, repr=False)
    """One secret, or several while one is being replaced."""
    header: str = "Stripe-Signature"
    """Holds the timestamp and the signatures."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The secrets' bytes."""
        return [secret.reveal().encode() for secret in self.secrets]

    def claim(self, delivery: Delivery) -> Claim:
        """What the delivery claims."""
        pairs = [part.strip().partition("=") for part in _header(delivery, self.header).split(",")]
        timestamps = [value for name, _, value in pairs if name == "t"]
        timestamp = _timestamp(timestamps[0] if len(timestamps) == 1 else "")
        given = [value for name, _, value in pairs if name == "v1"]
        return Claim(None, float(timestamp), f"{timestamp}.".encode() + delivery.body, _signatures(given, "hex"))


_HUBSPOT_DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_HUBSPOT_ESCAPE = re.compile("|".join(_HUBSPOT_DECODED), re.IGNORECASE)


@frozen
class HubSpotV3:
    """HubSpot's version 3: the app's secret signs method, URL, body and timestamp.

    The URL must be the one that HubSpot calls, also behind a proxy that rewrites it.
    """

    secrets: tuple[Secret, ...] = field(converter=_secrets, repr=False)
    """One secret, or several while one is being replaced."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The secrets' bytes."""
        return [secret.reveal().encode() for secret in self.secrets]

    def claim(self, delivery: Delivery) -> Claim:
        """What the delivery claims."""
        timestamp = _timestamp(_header(delivery, "X-HubSpot-Request-Timestamp"))
        given = [_header(delivery, "X-HubSpot-Signature-v3")]
        url = _HUBSPOT_ESCAPE.sub(lambda escape: _HUBSPOT_DECODED[escape[0].upper()], delivery.url)
        message = f"{delivery.method}{url}".encode("utf-8", "surrogatepass") + delivery.body + timestamp.encode()
        return Claim(None, int(timestamp) / 1000, message, _signatures(given, "base64"))


@frozen(kw_only=True)
class HmacSignature:
    """HMAC of the body, or of ``timestamp.body`` where there is a header for the time.

    Without a timestamp nobody can tell how old a delivery is; then only its id, while it is remembered, tells a replay.
    """

    secrets: tuple[Secret, ...] = field(converter=_secrets, repr=False)
    """One secret, or several while one is being replaced."""
    header: str = "X-Signature"
    """Holds the signature."""
    prefix: str = ""
    """Stands before the signature, such as ``"sha256="``."""
    hash_name: HashName = "sha256"
    """The hash function of the HMAC."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is spelt."""
    timestamp_header: str | None = None
    """Whole seconds since the epoch."""

    @property
    def keys(self) -> Iterable[bytes]:
        """The secrets' bytes."""
        return [secret.reveal().encode() for secret in self.secrets]

    def claim(self, delivery: Delivery) -> Claim:
        """What the delivery claims."""
        text = _header(delivery, self.header)
        given = [text.removeprefix(self.prefix)] if text.startswith(self.prefix) else []
        signatures = _signatures(given, self.encoding)
        if self.timestamp_header is None:
            return Claim(None, None, delivery.body, signatures, self.hash_name)
        timestamp = _timestamp(_header(delivery, self.timestamp_header))
        return Claim(None, float(timestamp), f"{timestamp}.".encode() + delivery.body, signatures, self.hash_name)


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name.lower())
    if value is None or len(value) > _LONGEST_HEADER:
        raise WebhookRefused(f"the delivery has no header {name}, or too long a one", fault="headers")
    return value


def _timestamp(text: str) -> str:
    if not _TIMESTAMP.fullmatch(text):
        raise WebhookRefused("the delivery's timestamp is no whole number", fault="headers")
    return text


def _id(text: str) -> str:
    if len(text) > _LONGEST_ID or not _ID.fullmatch(text):
        raise WebhookRefused("the delivery's id is empty, too long or not printable ASCII", fault="headers")
    return text


def _signatures(texts: list[str], encoding: Literal["hex", "base64"]) -> tuple[bytes, ...]:
    if len(texts) > _MOST_SIGNATURES:
        raise WebhookRefused(f"the delivery has more than {_MOST_SIGNATURES} signatures", fault="headers")
    decoded = (decode_signature(text, encoding) for text in texts)
    return tuple(signature for signature in decoded if signature is not None)
