"""Deliveries to webhooks become marks: verified, each once, and nothing is taken from them but which record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote

from attrs import field, frozen, validators

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.engine.sync.binding import Binding
from ratesync.engine.sync.hinting import Hinting, Place
from ratesync.engine.sync.keys import Keys
from ratesync.engine.sync.link_codec import from_bytes, to_bytes
from ratesync.errors import StateConflict, WebhookRefused
from ratesync.model.difference import Side
from ratesync.model.event import WebhookTaken
from ratesync.model.hint import Hint, WebhookAnswer
from ratesync.model.lane import Lane
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
BindingsOf = Callable[[Lane], Iterable[Binding] | Awaitable[Iterable[Binding]]]
"""Tells the bindings that an account takes part in. It may be async."""


@frozen(kw_only=True)
class WebhookEndpoint:
    """A webhook of one provider: how its deliveries are verified and read, and whose records they are about."""

    provider: str
    verifier: VerifiesDeliveries = field(repr=False)
    """Such as :class:`ratesync.http.WebhookVerifier`. It need not remember what it has ``seen``: that is done here."""
    reader: ReadsHints = field(repr=False)
    resources: Collection[str] = ()
    """Those that are synced with records of the host's."""
    bindings: Collection[Binding] | BindingsOf = field(default=(), repr=False)
    """Bindings of two providers that the deliveries may be about, or a function that tells those of an account. A hint
    that concerns neither these nor ``resources`` is ignored."""
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
                await self.hinting.mark_all(places, known)
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


async def _sorted(endpoint: WebhookEndpoint, hints: Iterable[Hint]) -> tuple[Mapping[Place, list[str]], int]:
    """Record ids by the side of a binding that they belong to, each once, and how many hints concern none."""
    places: dict[Place, dict[str, None]] = defaultdict(dict)
    accounts: dict[str | None, _Account | None] = {}
    unknown = 0
    for hint in hints:
        found: Sequence[Place] = ()
        is_wanted = bool(endpoint.bindings) or hint.resource in endpoint.resources
        if is_wanted and _is_possible(hint.record_id):
            if hint.account not in accounts:
                accounts[hint.account] = await _account(endpoint, hint.account)
            account = accounts[hint.account]
            found = () if account is None else account.places(hint.resource, endpoint.resources)
        unknown += not found
        for place in found:
            places[place][hint.record_id] = None
    return {place: list(ids) for place, ids in places.items()}, unknown


@frozen
class _Account:
    """One whose records are synced."""

    lane: Lane
    bindings: Collection[Binding]

    def places(self, resource: str, with_host: Collection[str]) -> Sequence[Place]:
        """The sides of bindings that are its records of a resource."""
        found = [(Keys.of(*self.lane, resource), Side.EXTERNAL)] if resource in with_host else []
        return found + [
            (binding.keys_of(binding.resource), side)
            for binding in self.bindings
            for side, records in binding.providers.items()
            if (records.lane, records.resource) == (self.lane, resource)
        ]


async def _account(endpoint: WebhookEndpoint, name: str | None) -> _Account | None:
    """The account of that name at the provider; None if nobody syncs it."""
    connection = await _connection(endpoint.connections, name)
    if connection is None:
        return None
    lane, bindings = Lane(endpoint.provider, connection), endpoint.bindings
    if callable(bindings):
        told = bindings(lane)
        bindings = list(await told if isinstance(told, Awaitable) else told)
    return _Account(lane, bindings)


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
