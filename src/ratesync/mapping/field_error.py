"""What is wrong with a record, field by field."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from attrs import frozen

from ratesync.errors import InvalidPayload

_SHOWN = 20
"""Most field errors that a message names."""


@frozen
class FieldError:
    """One field that cannot be translated."""

    path: str
    """Where: a name of the view for what goes out, a path in the provider's record for what comes in."""
    code: str
    """What kind of mistake: "type", "invalid", "required", "too_long", "range", "precision", "unknown_choice",
    "unknown_field", "read_only", "no_zone", "ambiguous", "needs_current", or a code of your own."""
    message: str
    """The mistake in words, without the value."""
    value: str = ""
    """What sort of value it was, such as "str(12)". Never the value itself, as it may be private."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message} ({self.code})"


class InvalidFields(InvalidPayload):
    """A record that a mapping cannot translate. ``errors`` has every mistake; the message names the first 20."""

    def __init__(self, errors: Sequence[FieldError], *, path: str = "fields") -> None:
        shown = [str(error) for error in errors[:_SHOWN]]
        if len(errors) > _SHOWN:
            shown.append(f"and {len(errors) - _SHOWN} more")
        super().__init__("; ".join(shown), path=path)
        self.errors = tuple(errors)


class Refused(Exception):
    """Raised by a codec that cannot translate a value.

    ``message`` must not have the value in it. ``at`` is the place below the field ("[3]"), where there is one.
    """

    def __init__(self, code: str, message: str, value: object = None, *, at: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.shape = shape_of(value)
        self.at = at


def shape_of(value: object) -> str:
    """What sort of value it is, for a message: its type, and its length where it has one."""
    name = type(value).__name__
    return f"{name}({len(value)})" if isinstance(value, Sized) else name


def mistake(error: Exception, place: str) -> FieldError:
    """The field error for what a codec or a function of the host's raised."""
    if isinstance(error, Refused):
        return FieldError(f"{place}{error.at}", error.code, error.message, error.shape)
    # The message of a foreign error may hold the value.
    return FieldError(place, "invalid", f"its function raised {type(error).__name__}")
