"""Where a connection's tokens are kept, and the lock under which they are renewed."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from attrs import define, evolve, field, frozen

from ratesync.errors import ConfigurationError, StateConflict
from ratesync.model.secret import Secret
from ratesync.model.stored import Stored, Write
from ratesync.protocols.state import StateStore
from ratesync.rules.tokens import Tokens, load_tokens, write_tokens

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet


@frozen
class Held:
    """What a vault holds."""

    tokens: Tokens | None
    revision: int
    """Of the tokens; 0 if there are none."""
    lock: int
    """The lock's revision; 0 if nobody holds it."""


class Vault(Protocol):
    """Keeps the tokens of one connection. All processes that use the connection share one."""

    async def read(self) -> Held:
        """What is kept now."""
        ...

    async def lock(self, revision: int) -> int | None:
        """Take or renew the lock if it still has that revision: its new one, or None if somebody was quicker."""
        ...

    async def unlock(self, revision: int) -> None:
        """Give the lock back, if it still has that revision."""
        ...

    async def save(self, tokens: Tokens, revision: int) -> bool:
        """Keep the tokens if those kept still have that revision; tells whether they had."""
        ...


class Cipher(Protocol):
    """Encrypts what is stored."""

    def encrypt(self, data: bytes) -> bytes:
        """Encrypted, and protected against changes."""
        ...

    def decrypt(self, data: bytes) -> bytes:
        """The bytes again.

        :raises ValueError: they were changed, or encrypted with another key.
        """
        ...


class FernetCipher:
    """Fernet: AES-128 in CBC mode with an HMAC. Needs ``pip install 'ratesync[auth]'``.

    :param keys: as ``cryptography.fernet.Fernet.generate_key()`` makes them. The first encrypts; all decrypt, so that a
        key can be replaced: put the new one first.
    :raises ConfigurationError: cryptography is not installed, or a key is none.
    """

    def __init__(self, *keys: str | Secret) -> None:
        if find_spec("cryptography") is None:
            raise ConfigurationError("cryptography is not installed: pip install 'ratesync[auth]'")
        try:
            self._keys = tuple(Secret.of(key) for key in keys)
            self._fernet()
        except ValueError:
            pass
        else:
            return
        raise ConfigurationError("give Fernet keys of 32 bytes in URL-safe base64, as Fernet.generate_key() makes")

    def _fernet(self) -> MultiFernet:
        """Made for each use: one that is kept could be pickled, with its keys."""
        from cryptography.fernet import Fernet, MultiFernet

        return MultiFernet([Fernet(key.reveal()) for key in self._keys])

    def encrypt(self, data: bytes) -> bytes:
        """Encrypted with the first key."""
        return self._fernet().encrypt(data)

    def decrypt(self, data: bytes) -> bytes:
        """The bytes again.

        :raises ValueError: no key fits.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(data)
        except InvalidToken:
            pass
        raise ValueError("the stored tokens cannot be decrypted: is their key among those given?")


@define
class StateVault:
    """Tokens in a :class:`~ratesync.protocols.StateStore`, which the host opens and closes.

    Processes that share the store share the tokens, and one of them renews for all.

    Args:
        store: Where they are kept.
        name: The connection's name, unique in the store: ``"hubspot/acme"``.
        cipher: Encrypts them. Without one they are stored in the clear.
    """

    store: StateStore = field(repr=False)
    name: str
    cipher: Cipher | None = field(default=None, repr=False)

    async def read(self) -> Held:
        """What is kept now.

        :raises ValueError: it cannot be decrypted, or is of another connection.
        """
        tokens, lock = await self.store.load([self._tokens_key, self._lock_key])
        return Held(
            None if tokens is None else self._open(tokens),
            0 if tokens is None else tokens.revision,
            0 if lock is None else lock.revision,
        )

    async def lock(self, revision: int) -> int | None:
        """Take or renew the lock."""
        try:
            (taken,) = await self.store.commit([Write(self._lock_key, b"", if_revision=revision)])
        except StateConflict:
            return None
        return taken

    async def unlock(self, revision: int) -> None:
        """Give the lock back."""
        with suppress(StateConflict):
            await self.store.commit([Write(self._lock_key, None, if_revision=revision)])

    async def save(self, tokens: Tokens, revision: int) -> bool:
        """Keep the tokens."""
        data = self.name.encode() + b"\0" + write_tokens(tokens)
        if self.cipher is not None:
            data = self.cipher.encrypt(data)
        try:
            await self.store.commit([Write(self._tokens_key, data, if_revision=revision)])
        except StateConflict:
            return False
        return True

    @property
    def _tokens_key(self) -> str:
        return f"oauth/{self.name}/tokens"

    @property
    def _lock_key(self) -> str:
        return f"oauth/{self.name}/lock"

    def _open(self, stored: Stored) -> Tokens:
        data = stored.value if self.cipher is None else self.cipher.decrypt(stored.value)
        name, _, tokens = data.partition(b"\0")
        if name != self.name.encode():
            raise ValueError(f"what is stored for {self.name!r} are the tokens of another connection")
        return load_tokens(tokens)


@define
class LocalVault:
    """Tokens in this process's memory: for grants that can be repeated, and one process."""

    _held: Held = field(default=Held(None, 0, 0), repr=False)
    _locks: int = 0

    async def read(self) -> Held:
        """What is kept now."""
        return self._held

    async def lock(self, revision: int) -> int | None:
        """Take or renew the lock."""
        if self._held.lock != revision:
            return None
        self._locks += 1
        self._held = evolve(self._held, lock=self._locks)
        return self._locks

    async def unlock(self, revision: int) -> None:
        """Give the lock back."""
        if self._held.lock == revision:
            self._held = evolve(self._held, lock=0)

    async def save(self, tokens: Tokens, revision: int) -> bool:
        """Keep the tokens."""
        if self._held.revision != revision:
            return False
        self._held = evolve(self._held, tokens=tokens, revision=revision + 1)
        return True
