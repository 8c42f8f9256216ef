"""A column's values as JSON values, and back."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attrs import frozen

from ratesync.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Column


@frozen
class ColumnCodec:
    """Two functions, neither of which is asked about None."""

    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]
    """Raises ValueError or TypeError for a value that the column cannot hold."""


def codec_of(column: Column[Any]) -> ColumnCodec:
    """The codec for a column, by its SQL type.

    Dates and times are ISO 8601, instants in UTC; numbers of fixed scale are text, bytes Base64, enums their names.

    :raises ConfigurationError: its values cannot be JSON.
    """
    import sqlalchemy as sa

    kind = column.type
    if isinstance(kind, sa.TypeDecorator) and not isinstance(kind, sa.Interval):
        kind = kind.impl_instance
    if isinstance(kind, sa.Enum):
        names = kind.enum_class
        if names is None:
            return ColumnCodec(str, partial(_of_type, str))
        return ColumnCodec(lambda value: value.name, partial(_enum, names))
    if isinstance(kind, sa.DateTime):
        return ColumnCodec(_utc, _instant) if kind.timezone else ColumnCodec(datetime.isoformat, _moment)
    if isinstance(kind, sa.Float) or (isinstance(kind, sa.Numeric) and not kind.asdecimal):
        return ColumnCodec(float, _number)
    if isinstance(kind, sa.Uuid) and kind.as_uuid:
        return ColumnCodec(str, _uuid)
    for sql_type, codec in _by_type().items():
        if isinstance(kind, sql_type):
            return codec
    raise ConfigurationError(
        f"column {column.table.name}.{column.name}: a {kind!r} is no JSON value, so it cannot be synced. Leave it out "
        f"of `fields`, or wrap it in a TypeDecorator over a type that can."
    )


def check_instant(column: Column[Any]) -> None:
    """Make sure that a column holds instants.

    :raises ConfigurationError: it does not.
    """
    import sqlalchemy as sa

    if not isinstance(column.type, sa.DateTime):
        raise ConfigurationError(f"column {column.table.name}.{column.name}: changed_at must be a DateTime")


def seconds(instant: datetime) -> float:
    """An instant in seconds since the epoch. Without a zone it is UTC."""
    return _with_zone(instant).timestamp()


def _by_type() -> dict[type[Any], ColumnCodec]:
    import sqlalchemy as sa

    return {
        sa.Boolean: ColumnCodec(bool, partial(_of_type, bool)),
        sa.Integer: ColumnCodec(int, _whole),
        sa.Numeric: ColumnCodec(str, _decimal),
        sa.Date: ColumnCodec(date.isoformat, date.fromisoformat),
        sa.Time: ColumnCodec(time.isoformat, time.fromisoformat),
        sa.Uuid: ColumnCodec(str, partial(_of_type, str)),
        sa.LargeBinary: ColumnCodec(lambda value: b64encode(value).decode(), partial(b64decode, validate=True)),
        sa.JSON: ColumnCodec(_as_it_is, _as_it_is),
        sa.String: ColumnCodec(str, _text),
    }


def _as_it_is(value: Any) -> Any:
    return value


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    text: str = _of_type(str, value)
    text.encode()  # a lone surrogate is a ValueError
    return text


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError("must be a whole number")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("must be a number")
    return float(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError("must be a number, or text that is one")
    number = Decimal(str(value)) if _is_decimal(str(value)) else None
    if number is None:
        raise ValueError("must be a finite decimal number")
    return number


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


def _utc(value: datetime) -> str:
    """Spelt alike whatever zone a connection is set to. SQLite knows no zones: there it is UTC."""
    return _with_zone(value).astimezone(UTC).isoformat()


def _instant(value: Any) -> datetime:
    return _with_zone(datetime.fromisoformat(_of_type(str, value))).astimezone(UTC)


def _moment(value: Any) -> datetime:
    """Of a column without a zone."""
    moment = datetime.fromisoformat(_of_type(str, value))
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _with_zone(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _uuid(value: Any) -> UUID:
    return UUID(_of_type(str, value))


def _enum(names: type[Enum], value: Any) -> Enum:
    try:
        return names[_of_type(str, value)]
    except KeyError:
        raise ValueError(f"must be one of {', '.join(member.name for member in names)}") from None
