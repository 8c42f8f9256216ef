"""What an error of the host's database means for a sync. No statement and no value of it is passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratesync.errors import Unavailable
from ratesync.model.outcome import Outcome, Rejected, RetryLater, Unknown

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

_MAY_PASS = ("08", "25", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE."""


def described(error: SQLAlchemyError) -> str:
    """The kind of an error and the database's code for it."""
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    kind = type(error if original is None else original).__name__
    return f"{kind} ({code})" if code else kind


def unreadable(error: SQLAlchemyError) -> Unavailable:
    """The error of a read."""
    return Unavailable(f"the host's database could not be read: {described(error)}")


def outcome_of(error: SQLAlchemyError, *, is_committing: bool) -> Outcome:
    """What a write came to that raised this."""
    import sqlalchemy.exc as of_sqlalchemy

    what = f"the host's database refused: {described(error)}"
    if is_committing and not isinstance(error, of_sqlalchemy.IntegrityError):  # deferred constraints are checked then
        return Unknown(f"the commit was not answered: {described(error)}")
    if isinstance(error, of_sqlalchemy.IntegrityError | of_sqlalchemy.DataError):
        return Rejected(what, code=getattr(error.orig, "sqlstate", None))
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    is_passing = isinstance(
        error, of_sqlalchemy.OperationalError | of_sqlalchemy.InterfaceError | of_sqlalchemy.TimeoutError
    )
    if is_passing or (isinstance(state, str) and state.startswith(_MAY_PASS)):
        return RetryLater(what)
    return Rejected(what, code=state)
