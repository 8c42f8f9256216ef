"""Receiving webhooks: deliveries that are surely from the provider, from now, and new."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Protocol, cast

from attrs import define, field, frozen, validators

from ratesync.clock import Clock, SystemClock
from ratesync.errors import InvalidResponse, StateConflict, WebhookRefused
from ratesync.http.payload import decode_json
from ratesync.model.stored import Write
from ratesync.protocols.state import StateStore
from ratesync.rules.webhook import TOLERANCE, Delivery, Scheme, check


class SeenStore(Protocol):
    """Remembers the ids of deliveries."""

    async def has(self, identity: str) -> bool:
        """Tell whether the id was added before."""
        ...

    async def add(self, identity: str, until: float) -> None:
        """Remember an id at least until an instant."""
        ...


@frozen
class Webhook:
    """A delivery that may be acted on."""

    id: str
    """The provider's, or a digest of what was signed. The same for each repetition of the delivery."""
    sent_at: float | None
    """The instant of its timestamp, which was checked; None if the scheme has none."""
    body: bytes = field(repr=False)
    """As it came, byte for byte."""

    def json(self) -> Any:
        """The body as a JSON value.

        :raises WebhookRefused: it is no strict JSON in UTF-8, or nested too deep.
        """
        try:
            return decode_json(self.body)
        except InvalidResponse:
            pass
        raise WebhookRefused("the delivery's body is no strict JSON in UTF-8, or nested too deep", fault="body")


@define
class WebhookVerifier:
    """Verifies deliveries.

    ::

        webhook = await verifier.verify(request.headers.items(), await request.body())
        await engine.submit(...)          # first act on it,
        await verifier.done(webhook)      # then remember it: a crash between the two repeats, and loses nothing

    Args:
        scheme: How the provider signs: StandardWebhooks, StripeSignature, HubSpotV3, HmacSignature.
        seen: Remembers ids, so that a delivery is not acted on twice. Default: nobody does.
        tolerance: Seconds that a timestamp may be off, both ways. Ids are remembered for twice as long. Default 300.
        clock: Tells how old a timestamp is. Default: the system's.

    Raises:
        ValueError: ``tolerance`` is not positive.
    """

    scheme: Scheme
    seen: SeenStore | None = field(default=None, repr=False)
    tolerance: float = field(default=TOLERANCE, validator=validators.gt(0.0))
    clock: Clock = field(factory=SystemClock, repr=False)

    async def verify(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]],
        body: bytes,
        *,
        method: str = "POST",
        url: str = "",
    ) -> Webhook:
        """The delivery, if it is good.

        :param headers: as they came, a mapping or pairs, names in any case. A name that came twice is refused.
        :param body: the raw bytes. :param url: in full, for schemes that sign it (HubSpot's).
        :raises WebhookRefused: it is not. Whatever comes in, nothing else is raised, but what ``seen`` raises.
        """
        delivery = Delivery(read_headers(headers), body, method, url)
        identity, sent_at = check(self.scheme, delivery, self.clock.now(), self.tolerance)
        if self.seen is not None and await self.seen.has(identity):
            raise WebhookRefused("the delivery came before", fault="replayed")
        return Webhook(identity, sent_at, body)

    async def done(self, webhook: Webhook) -> None:
        """Remember that the delivery was acted on."""
        if self.seen is not None:
            await self.seen.add(webhook.id, self.clock.now() + 2 * self.tolerance)


@define
class StateSeen:
    """Ids in a :class:`~ratesync.protocols.StateStore`, shared by all processes that share it.

    Args:
        store: The host opens and closes it.
        name: The webhook's name, unique in the store.
    """

    store: StateStore = field(repr=False)
    name: str

    async def has(self, identity: str) -> bool:
        """Tell whether the id was added before."""
        (stored,) = await self.store.load([self._key(identity)])
        return stored is not None

    async def add(self, identity: str, until: float) -> None:
        """Remember an id until it is forgotten."""
        with suppress(StateConflict):
            await self.store.commit([Write(self._key(identity), str(until).encode(), if_revision=0)])

    async def forget(self, now: float, *, limit: int = 1000) -> int:
        """Forget ids whose time is over, at most ``limit``; how many they were. Call it now and then."""
        forgotten = 0
        after: str | None = None
        prefix = self._key("")
        while forgotten < limit and (page := await self.store.scan(prefix, after=after, limit=100)):
            old = [stored for stored in page if float(stored.value) < now][: limit - forgotten]
            if old:
                await self.store.commit([Write(stored.key, None) for stored in old])
            forgotten += len(old)
            after = page[-1].key
        return forgotten

    def _key(self, identity: str) -> str:
        """Ids are hashed: they may be longer than keys."""
        return f"webhook/{self.name}/" + (sha256(identity.encode()).hexdigest() if identity else "")


def read_headers(headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    """Headers as they came, by name in lower case.

    One that came twice is taken out: which of the two was signed is anybody's guess.
    """
    pairs: Iterable[tuple[str | bytes, str | bytes]]
    pairs = cast("Mapping[str, str]", headers).items() if isinstance(headers, Mapping) else headers
    fields: dict[str, str] = {}
    twice: set[str] = set()
    for raw_name, raw_value in pairs:
        name, value = _text(raw_name).lower(), _text(raw_value)
        twice.update({name} & fields.keys())
        fields[name] = value
    return {name: value for name, value in fields.items() if name not in twice}


def _text(part: str | bytes) -> str:
    return part.decode("latin-1") if isinstance(part, bytes) else part
