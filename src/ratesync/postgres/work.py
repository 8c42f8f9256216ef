"""What is done with a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connection

T = TypeVar("T")


class Work(Generic[T]):
    """Something to do with a connection, in a thread. It may be tried several times."""

    name: str
    """For errors."""

    def attempt(self) -> Callable[[Connection], T]:
        """The next try."""
        raise NotImplementedError

    @property
    def is_unknown(self) -> bool:
        """Whether what was tried so far may have been carried out, or may be yet."""
        return False


class Simple(Work[T]):
    """What may be done twice as well as once."""

    def __init__(self, name: str, do: Callable[[Connection], T]) -> None:
        self.name = name
        self._do = do

    def attempt(self) -> Callable[[Connection], T]:
        """The same each time."""
        return self._do
