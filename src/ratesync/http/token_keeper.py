"""Having a good token at all times: renewed once, whatever number of tasks and processes want it."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from random import Random
from typing import TypeGuard, TypeVar

import anyio
from attrs import define, evolve, field, validators

from ratesync.clock import Clock, SystemClock
from ratesync.errors import NeedsReauth, NotSent, ProviderError
from ratesync.http.grants import Grant
from ratesync.http.token_endpoint import TokenEndpoint
from ratesync.http.vault import Held, LocalVault, Vault
from ratesync.randomness import system_random
from ratesync.rules.tokens import LockView, Tokens, spent

T = TypeVar("T")

LEEWAY = 60.0
"""Seconds before its end at which a token is renewed."""
LEASE = 10.0
"""Seconds without a sign of life after which a lock counts as left behind by a dead process."""

_SHORTEST_LOOK, _LONGEST_LOOK = 0.02, 0.5
"""Seconds between looks at a lock that another process holds."""
_SAVE_DELAYS = (0.0, 0.1, 0.5, 2.0)
"""Seconds before each try to store new tokens."""


@define
class _Lock:
    """The lock while it is held. Its revision is 0 once it was lost."""

    revision: int


@define(kw_only=True)
class TokenKeeper:
    """Gives the tokens of one connection, and renews them.

    Of all tasks in this process one asks the token endpoint, and of all processes that share the vault one does. The
    others wait for what it gets. It holds a lock in the vault and keeps renewing it; if it dies, another takes over
    after ``lease`` seconds. New tokens are stored before anybody uses them, as a refresh token may be good only once.
    Once it has begun to ask, a renewal is not cancelled: it ends by itself, within the endpoint's timeout and about 3
    seconds more if the vault does not answer.

    A refused refresh token is looked up once more, as another process may have used it; then it is remembered as spent,
    and :class:`~ratesync.errors.NeedsReauth` is raised until :meth:`store` gets new ones.

    Args:
        grant: What tokens are asked for with.
        endpoint: Where.
        vault: Where they are kept. Default: this process's memory, which will do for a grant that can be repeated.
        leeway: A token is renewed so many seconds before it runs out. Default 60.
        lease: Seconds until a dead process's lock is taken over. Default 10.
        clock: Tells whether a token has run out. Default: the system's.
        random: Spreads the looks at another process's lock. Default: the system's.

    Raises:
        ValueError: ``leeway`` is negative, or ``lease`` not positive.
    """

    grant: Grant = field(repr=False)
    endpoint: TokenEndpoint
    vault: Vault = field(factory=LocalVault)
    leeway: float = field(default=LEEWAY, validator=validators.ge(0.0))
    lease: float = field(default=LEASE, validator=validators.gt(0.0))
    clock: Clock = field(factory=SystemClock, repr=False)
    random: Random = field(factory=system_random, repr=False)
    _known: Tokens | None = field(default=None, init=False, repr=False)
    _unsaved: Tokens | None = field(default=None, init=False, repr=False)
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False, repr=False)
    _failures: int = field(default=0, init=False, repr=False)
    _failure: ProviderError | None = field(default=None, init=False, repr=False)

    async def tokens(self, refused: Tokens | None = None) -> Tokens:
        """Tokens that will do now.

        :param refused: those that the provider has just refused: then newer ones.
        :raises NeedsReauth: there are none, and none can be had without consent.
        :raises NotSent: not now: endpoint or vault do not answer. :raises Throttled: :raises Unavailable: nor does the
            endpoint want to.
        :raises ConfigurationError: the grant cannot be used as it is set up, such as a key that cannot sign.
        """
        if self._will_do(self._known, refused):
            return self._known
        failures = self._failures
        async with self._turn:
            if self._will_do(self._known, refused):
                return self._known
            if self._failure is not None and self._failures > failures:
                raise self._failure  # of the task that we have waited for: it is not asked again by each who waited
            try:
                self._known = await self._obtain(refused)
            except ProviderError as error:
                self._failure, self._failures = error.with_traceback(None), self._failures + 1
                raise
            return self._known

    async def store(self, tokens: Tokens) -> None:
        """Keep tokens that somebody has just consented to, in place of all others.

        :raises NotSent: the vault does not answer.
        """
        async with self._turn:
            while True:
                held = await self._read()
                newer = _after(held.tokens, tokens)
                if await self._save(newer, held.revision):
                    self._known, self._unsaved, self._failure = newer, None, None
                    return

    def _will_do(self, tokens: Tokens | None, refused: Tokens | None) -> TypeGuard[Tokens]:
        return tokens is not None and tokens.will_do(self.clock.now(), self.leeway, refused)

    async def _obtain(self, refused: Tokens | None) -> Tokens:
        """What the vault holds if it will do, or else new ones, by us or by whoever holds the lock."""
        view, look = LockView(-1), _SHORTEST_LOOK
        while True:
            held = await self._read()
            if self._will_do(held.tokens, refused):
                return held.tokens
            now = self.clock.now()
            view = view.seen(held.lock, now)
            if view.is_stale(now, self.lease):
                revision = await self._guarded(self.vault.lock(held.lock))
                if revision is not None:
                    return await self._lead(_Lock(revision), refused)
            await anyio.sleep(look * self.random.uniform(0.5, 1.0))
            look = min(look * 2, _LONGEST_LOOK)

    async def _lead(self, lock: _Lock, refused: Tokens | None) -> Tokens:
        """Renew under the lock. Shielded: a refresh token that was sent must not be forgotten half-way."""
        result: Tokens | Exception = NotSent("no token could be had in time")
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hold, lock)
                try:
                    result = await self._renew(refused)
                except Exception as error:  # noqa: BLE001  taken out of the group, which would wrap it
                    result = error
                tasks.cancel_scope.cancel()
            if lock.revision:
                with suppress(NotSent):  # then it runs out by itself
                    await self._guarded(self.vault.unlock(lock.revision))
        if isinstance(result, Exception):
            raise result
        return result

    async def _hold(self, lock: _Lock) -> None:
        """Renew the lock until cancelled, or lost."""
        while lock.revision:
            await anyio.sleep(self.lease / 3)
            with anyio.CancelScope(shield=True):  # so that its revision is known when it is given back
                with suppress(NotSent):
                    renewed = await self._guarded(self.vault.lock(lock.revision))
                    lock.revision = renewed or 0

    async def _renew(self, refused: Tokens | None) -> Tokens:
        held = await self._read()
        if self._will_do(held.tokens, refused):
            return held.tokens
        if self._unsaved is not None:
            return await self._keep(self._unsaved, held)
        try:
            form = self.grant.form(held.tokens, self.clock.now())
            fresh = await self.endpoint.ask(form, held.tokens)
        except NeedsReauth as error:
            return await self._look_again(held, refused, error)
        return await self._keep(fresh, held)

    async def _look_again(self, held: Held, refused: Tokens | None, error: NeedsReauth) -> Tokens:
        """After a refusal: the tokens that another process got meanwhile, or else the end."""
        again = await self._read()
        if self._will_do(again.tokens, refused):
            return again.tokens
        if again.revision != held.revision:
            raise NotSent("the tokens were replaced while new ones were asked for")
        if again.tokens is not None and again.tokens.refresh is not None and error.code == "invalid_grant":
            await self._save(spent(again.tokens), again.revision)
        raise error

    async def _keep(self, fresh: Tokens, held: Held) -> Tokens:
        """Store new tokens; those that another process has stored meanwhile are as good."""
        self._unsaved = fresh
        for delay in _SAVE_DELAYS:
            await anyio.sleep(delay)
            try:
                if await self._save(fresh, held.revision):
                    break
                held = await self._read()
            except NotSent:
                continue
            if held.tokens is not None and held.tokens.generation >= fresh.generation and not held.tokens.is_spent:
                fresh = held.tokens
                break
            self._unsaved = fresh = _after(held.tokens, fresh)
        else:
            raise NotSent("new tokens cannot be stored: they are kept, and stored before the next call")
        self._unsaved = None
        return fresh

    async def _read(self) -> Held:
        return await self._guarded(self.vault.read())

    async def _save(self, tokens: Tokens, revision: int) -> bool:
        return await self._guarded(self.vault.save(tokens, revision))

    async def _guarded(self, call: Awaitable[T]) -> T:
        """What a vault says; whatever it raises, no operation was sent."""
        try:
            return await call
        except Exception as error:  # noqa: BLE001  stores may raise anything
            problem = f"{type(error).__name__}: {error}" if isinstance(error, ValueError) else type(error).__name__
        raise NotSent(f"the vault of tokens failed ({problem})")


def _after(held: Tokens | None, tokens: Tokens) -> Tokens:
    """The tokens, newer than those held."""
    return evolve(tokens, generation=1 if held is None else held.generation + 1, is_spent=False)
