"""Deliveries to webhooks become marks: verified, each once, and nothing is taken from them but which record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from hashlib import sha256
from urllib.parse import quote

from attrs import field, frozen, validators

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.engine.sync.hinting import Hinting
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import StateConflict, WebhookRefused
from ratesync.model.event import WebhookTaken
from ratesync.model.hint import Hint, WebhookAnswer
from ratesync.model.stored import Stored, Write
from ratesync.protocols.webhook import Headers, ReadsHints, VerifiedDelivery, VerifiesDeliveries

_BAD_REQUEST = 400
_UNAUTHORISED = 401
_UNAVAILABLE = 503
_OK = 200

_TRIES = 10
_LONGEST_ID = 256


ConnectionOf = Callable[[str | None], str | Awaitable[str | None] | None]
"""Tells the connection of an account, by the provider's name for it; None if nobody syncs it. It may be async."""


@frozen(kw_only=True)
class WebhookEndpoint:
    """A webhook of one provider: how its deliveries are verified and read, and whose records they are about."""

    provider: str
    verifier: VerifiesDeliveries = field(repr=False)
    """Such as :class:`ratesync.http.WebhookVerifier`. It need not remember what it has ``seen``: that is done here."""
    reader: ReadsHints = field(repr=False)
    resources: Collection[str]
    """Those that are synced. Hints of others are ignored."""
    connections: Mapping[str, str] | ConnectionOf | None = field(default=None, repr=False)
    """The connection of each account, by the provider's name for it, or a function that tells it. Default: there is
    one connection, ``"default"``."""
    remember: float = field(default=3600.0, validator=validators.gt(0.0))
    """Seconds for which a delivery is known again. Default an hour."""
    slots: int = field(default=65_536, validator=validators.ge(1))
    """Deliveries that are remembered at most. Default 65,536. Two that share a place push each other out."""


@frozen
class WebhookDesk:
    """Takes deliveries in."""

    hinting: Hinting
    clock: Clock
    notify: Notifier

    async def take(
        self, endpoint: WebhookEndpoint, headers: Headers, body: bytes, *, method: str, url: str
    ) -> WebhookAnswer:
        """Mark what a delivery is about. Nothing is read or written before its signature holds.

        The delivery's id is stored with the last of its marks: so a crash loses nothing, and a delivery that was taken
        in whole counts once. Most fit in one commit: up to 500 records of one binding.
        """
        try:
            delivery = await endpoint.verifier.verify(headers, body, method=method, url=url)
        except WebhookRefused as refused:
            return _refused(refused, _UNAUTHORISED)
        try:
            hints = list(endpoint.reader.hints(delivery.json()))
        except WebhookRefused as refused:
            return _refused(refused, _BAD_REQUEST)
        places, unknown = await _sorted(endpoint, hints)
        if not places:
            return WebhookAnswer(_OK, unknown=unknown)
        for _ in range(_TRIES):
            known = await self._look_up(endpoint, delivery)
            if known is None:
                return WebhookAnswer(_OK, fault="replayed")
            try:
                await self.hinting.mark_external(places, known)
            except StateConflict:  # it comes twice at once, or another one shares its place: look again
                continue
            marked = sum(map(len, places.values()))
            if self.notify.active:
                self.notify(WebhookTaken(self.clock.now(), endpoint.provider, marked, unknown))
            return WebhookAnswer(_OK, marked, unknown)
        return WebhookAnswer(_UNAVAILABLE, fault="busy")

    async def _look_up(self, endpoint: WebhookEndpoint, delivery: VerifiedDelivery) -> Write | None:
        """What remembers the delivery; None if it came before.

        Each delivery has a place by its id, in a table of a fixed size: so nothing need ever be swept up.
        """
        digest = sha256(delivery.id.encode("utf-8", "surrogatepass")).digest()
        slot = int.from_bytes(digest[:8], "big") % endpoint.slots
        key, now = f"delivery/{quote(endpoint.provider, safe='')}/{slot}", self.clock.now()
        (stored,) = await self.hinting.state.load([key])
        if _is_remembered(stored, digest.hex(), now):
            return None
        written = to_bytes({"id": digest.hex(), "until": now + endpoint.remember})
        return Write(key, written, 0 if stored is None else stored.revision)


def _is_remembered(stored: Stored | None, digest: str, now: float) -> bool:
    if stored is None:
        return False
    value = from_bytes(stored.value)
    return bool(value["id"] == digest and now < value["until"])


def _refused(refused: WebhookRefused, status: int) -> WebhookAnswer:
    status = {"replayed": _OK, "body": _BAD_REQUEST}.get(refused.fault, status)
    return WebhookAnswer(status, fault=refused.fault)


async def _sorted(endpoint: WebhookEndpoint, hints: Iterable[Hint]) -> tuple[Mapping[Keys, list[str]], int]:
    """Record ids by the binding that they belong to, each once, and how many belong to none."""
    places: dict[Keys, dict[str, None]] = defaultdict(dict)
    connections: dict[str | None, str | None] = {}
    unknown = 0
    for hint in hints:
        account = hint.account
        if hint.resource not in endpoint.resources or not _is_possible(hint.record_id):
            unknown += 1
            continue
        if account not in connections:
            connections[account] = await _connection(endpoint.connections, account)
        connection = connections[account]
        if connection is None:
            unknown += 1
        else:
            places[Keys.of(endpoint.provider, connection, hint.resource)][hint.record_id] = None
    return {keys: list(ids) for keys, ids in places.items()}, unknown


async def _connection(known: Mapping[str, str] | ConnectionOf | None, account: str | None) -> str | None:
    if known is None:
        return "default"
    if not callable(known):
        return None if account is None else known.get(account)
    found = known(account)
    return found if found is None or isinstance(found, str) else await found


def _is_possible(record_id: str) -> bool:
    """Whether a state store can have it in a key: a delivery is signed, but its sender may be mistaken."""
    try:
        return 0 < len(record_id.encode()) <= _LONGEST_ID and "\0" not in record_id
    except UnicodeEncodeError:
        return False
