"""What is done with a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from ratesync.postgres.connect import Connection

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """Something to do with a connection, in a thread. It may be tried several times."""

    @property
    def name(self) -> str:
        """What it is called in errors."""
        ...

    @property
    def is_unknown(self) -> bool:
        """Whether what was tried so far may have been carried out, or may be yet."""
        ...

    def attempt(self) -> Callable[[Connection], T_co]:
        """The next try."""
        ...


class Simple(Generic[T]):
    """What may be done twice as well as once."""

    is_unknown = False

    def __init__(self, name: str, do: Callable[[Connection], T]) -> None:
        self.name = name
        self._do = do

    def attempt(self) -> Callable[[Connection], T]:
        """The same each time."""
        return self._do
