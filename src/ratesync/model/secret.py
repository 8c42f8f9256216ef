"""A password, key or token that does not show itself."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any, Never, Self, final

MASK = "***"
"""What is shown in place of a secret."""


class Sealed:
    """A part of what holds credentials, or objects that do: it cannot be pickled, and a copy of it is itself."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any, /) -> Never:
        what = type(self).__name__
        raise TypeError(f"a {what} cannot be pickled, as it holds credentials: make it anew where it is needed")


@final
class Secret(Sealed):
    """Text that nobody sees by accident: only :meth:`reveal` gives it.

    ``repr``, ``str``, ``format`` and whatever is built on them (logs, tracebacks with locals, ``json.dumps`` with
    ``default=str``) show ``***``. It stays itself in ``copy``, ``attrs.asdict``, ``dataclasses.asdict`` and cattrs'
    ``unstructure``. It cannot be pickled and is no JSON value. Two are compared in a time that does not depend on what
    they hold.

    :raises TypeError: the value is no text. :raises ValueError: it is empty, which is surely a mistake.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is text, not <{type(value).__name__}>")
        if not value:
            raise ValueError("a secret must not be empty: is the setting it comes from there?")
        self.__value = value

    @classmethod
    def of(cls, value: str | Secret) -> Secret:
        """The value as a secret, if it is not one yet."""
        return value if isinstance(value, Secret) else cls(value)

    def reveal(self) -> str:
        """The text itself. Call it where it is sent, and keep the result in no variable for long."""
        return self.__value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self.__bytes(), other.__bytes())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str, /) -> str:
        return format(MASK, spec)

    def __reduce_ex__(self, protocol: Any, /) -> Never:
        raise TypeError("a secret cannot be pickled: pass on where it is kept, and read it there")

    def __getstate__(self) -> Never:
        raise TypeError("a secret has no state to show")

    def __bytes(self) -> bytes:
        return self.__value.encode("utf-8", "surrogatepass")
