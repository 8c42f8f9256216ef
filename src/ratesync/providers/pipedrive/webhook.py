"""Pipedrive's webhooks, version 2: hints that a record has changed or gone.

https://pipedrive.readme.io/docs/guide-for-webhooks-v2. They are not signed: a user and a password of the host's choice
come with each (HTTP Basic). While the endpoint is out of reach for long, deliveries are lost, so changes have to be
pulled all the same.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from attrs import field, frozen

from ratesync.errors import InvalidResponse, WebhookRefused
from ratesync.http.payload import decode_json, json_object
from ratesync.http.webhooks import Webhook, read_headers
from ratesync.model.change import Change
from ratesync.model.hint import Hint
from ratesync.model.secret import Secret
from ratesync.protocols.webhook import Headers
from ratesync.providers.pipedrive.resource import RESOURCES, PipedriveResource
from ratesync.rules.webhook import MAX_BODY

_ACTIONS = frozenset({"create", "change", "delete"})


def _passwords(values: str | Secret | Iterable[str | Secret]) -> tuple[Secret, ...]:
    given = (values,) if isinstance(values, str | Secret) else tuple(values)
    if not given:
        raise ValueError("give the password that the webhook was made with")
    return tuple(Secret.of(value) for value in given)


@frozen
class Delivery:
    """One delivery."""

    id: str
    """The event's, the same for each repetition of the delivery."""
    resource: str
    """The record type, as the provider's configuration names it."""
    change: Change
    """Which record. What it holds is not taken from a delivery, where it has another form: read the record."""
    company_id: str | None = None
    """Which company it is of."""


@frozen
class WebhookReader:
    """Reads deliveries, and refuses those that do not bring the user and the password.

    It keeps :class:`ratesync.protocols.webhook.VerifiesDeliveries` and
    :class:`~ratesync.protocols.webhook.ReadsHints`, so that it can be an endpoint's ``verifier`` and its ``reader``.
    """

    user: str
    passwords: tuple[Secret, ...] = field(converter=_passwords, repr=False)
    """One, or several while one is being replaced."""
    resources: Mapping[str, PipedriveResource] = field(default=RESOURCES, repr=False)
    """Those of the provider. Default: persons, organizations and deals."""

    def read(self, headers: Mapping[str, str], body: bytes) -> Delivery | None:
        """What a delivery tells; None if it is about a record type that is not one of the provider's.

        :param headers: by name, in any case. :param body: the raw bytes.
        :raises WebhookRefused: it is not from Pipedrive, or nothing that version 2 sends.
        """
        return self._told(self._checked(headers.items(), body))

    async def verify(self, headers: Headers, body: bytes, *, method: str = "POST", url: str = "") -> Webhook:
        """The delivery, if it brings the user and the password.

        :raises WebhookRefused: it does not, or is nothing that version 2 sends.
        """
        meta = self._checked(read_headers(headers).items(), body)
        return Webhook(_text(meta, "id") or sha256(body).hexdigest(), None, body)

    def hints(self, body: Any) -> list[Hint]:
        """The record that a verified delivery is about, if it is of a type that is one of the provider's.

        :raises WebhookRefused: it is nothing that version 2 sends.
        """
        told = self._told(_meta_in(body))
        return [] if told is None else [Hint(told.resource, told.change.record_id, told.company_id)]

    def _checked(self, headers: Iterable[tuple[str, str]], body: bytes) -> dict[str, Any]:
        self._check(headers)
        if len(body) > MAX_BODY:
            raise WebhookRefused(f"the delivery is larger than {MAX_BODY} bytes", fault="body")
        return _meta(body)

    def _told(self, meta: dict[str, Any]) -> Delivery | None:
        event, record_id, action = (_text(meta, name) for name in ("entity", "entity_id", "action"))
        name = next((name for name, resource in self.resources.items() if resource.event == event), None)
        if name is None:
            return None
        if record_id is None or action not in _ACTIONS:
            raise WebhookRefused("the delivery does not tell which record it is about, or what happened", fault="body")
        change = Change(record_id, is_deleted=action == "delete")
        return Delivery(_text(meta, "id") or "", name, change, _text(meta, "company_id"))

    def _check(self, headers: Iterable[tuple[str, str]]) -> None:
        given = [value for name, value in headers if name.lower() == "authorization"]
        if len(given) != 1:
            raise WebhookRefused("the delivery has no header Authorization, or several", fault="headers")
        scheme, _, pair = given[0].partition(" ")
        fits = [
            compare_digest(pair.strip().encode("utf-8", "surrogatepass"), self._pair(password))
            for password in self.passwords
        ]
        if scheme.lower() != "basic" or not any(fits):
            raise WebhookRefused("the delivery's user and password are not those of the webhook", fault="signature")

    def _pair(self, password: Secret) -> bytes:
        return b64encode(f"{self.user}:{password.reveal()}".encode())


def _meta(body: bytes) -> dict[str, Any]:
    try:
        delivery = decode_json(body)
    except InvalidResponse:
        delivery = None
    return _meta_in(delivery)


def _meta_in(delivery: Any) -> dict[str, Any]:
    meta = json_object((json_object(delivery) or {}).get("meta"))
    if meta is None or not str(meta.get("version", "")).startswith("2"):
        raise WebhookRefused("the delivery is not one of version 2 of Pipedrive's webhooks", fault="body")
    return meta


def _text(meta: dict[str, Any], name: str) -> str | None:
    value = meta.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None
