"""Dates, times of day and instants."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal

from ratesync.mapping.codec import Codec
from ratesync.mapping.field_error import Refused

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MILLISECOND, _MICROSECOND = timedelta(seconds=1), timedelta(milliseconds=1), timedelta(microseconds=1)
_UNITS = {"s": _SECOND, "ms": _MILLISECOND, "us": _MICROSECOND}

Precision = Literal["s", "ms", "us"]


def day(*, wire: Literal["iso", "epoch_ms", "epoch_ms_text"] = "iso") -> Codec:
    """A date without a time. The view has "2026-01-31"; the host may also give a date, but no datetime.

    :param wire: "iso"; or "epoch_ms", its midnight in UTC as milliseconds since the epoch, or the same as text.
    """

    def canon(value: Any) -> str:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.isoformat()
        if not isinstance(value, str):
            raise Refused("type", "must be a date like 2026-01-31", value)
        try:
            return date.fromisoformat(value).isoformat() if _DAY.fullmatch(value) else _no_date(value)
        except ValueError:
            return _no_date(value)

    def decode_epoch(value: Any) -> str:
        moment = _from_epoch(_whole(value, as_text=wire == "epoch_ms_text"), _MILLISECOND)
        if moment != moment.replace(hour=0, minute=0, second=0, microsecond=0):
            raise Refused("precision", "must be midnight in UTC", value)
        return moment.date().isoformat()

    def encode_epoch(value: str) -> int | str:
        count = (datetime.fromisoformat(value).replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
        return str(count) if wire == "epoch_ms_text" else count

    return Codec(canon, canon, canon) if wire == "iso" else Codec(decode_epoch, encode_epoch, canon)


def _no_date(value: str) -> str:
    raise Refused("invalid", "must be a date like 2026-01-31", value)


def time_of_day() -> Codec:
    """A time of day without a date or a zone. The view has "09:30:00"; the host may also give a time."""

    def canon(value: Any) -> str:
        if isinstance(value, time):
            if value.tzinfo is not None:
                raise Refused("invalid", "must have no time zone", value)
            return value.isoformat()
        if not isinstance(value, str):
            raise Refused("type", "must be a time like 09:30:00", value)
        try:
            if _TIME.fullmatch(value):
                return time.fromisoformat(value).isoformat()
        except ValueError:
            pass
        raise Refused("invalid", "must be a time like 09:30:00", value)

    return Codec(canon, canon, canon)


def instant(
    *,
    wire: Literal["iso", "epoch_s", "epoch_ms", "epoch_ms_text"] = "iso",
    zone: tzinfo | None = None,
    precision: Precision = "ms",
) -> Codec:
    """An instant. The view has ISO 8601 in UTC ("2026-01-31T09:30:00Z"); the host may also give an aware datetime.

    :param wire: "iso", or seconds or milliseconds since the epoch, the latter also as text.
    :param zone: the zone of a provider that writes local time without a zone ("2026-01-31 09:30:00"); with it, that is
        also how it is written. None: a time without a zone is a mistake ("no_zone"), as is one that the zone's clocks
        show twice or never ("ambiguous").
    :param precision: what the provider keeps; the rest is cut off.
    """
    unit = _UNITS["s" if wire == "epoch_s" else precision]

    def write(moment: datetime) -> str:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise Refused("range", "must lie in the years from 1 to 9999", moment) from None
        cut = moment - (moment - _EPOCH) % unit
        return cut.isoformat().removesuffix("+00:00") + "Z"

    def canon(value: Any) -> str:
        moment = value if isinstance(value, datetime) else _parsed(value)
        if moment.utcoffset() is None:
            raise Refused("no_zone", "must have a time zone", value)
        return write(moment)

    if wire == "iso":
        return Codec(_local_decoder(zone, write), _iso_encoder(zone, write), canon)
    step = _SECOND if wire == "epoch_s" else _MILLISECOND
    as_text = wire == "epoch_ms_text"

    def encode(value: str) -> int | str:
        count = (datetime.fromisoformat(value) - _EPOCH) // step
        return str(count) if as_text else count

    return Codec(lambda value: write(_from_epoch(_whole(value, as_text=as_text), step)), encode, canon)


def _local_decoder(zone: tzinfo | None, write: Callable[[datetime], str]) -> Callable[[Any], str]:
    def decode(value: Any) -> str:
        moment = _parsed(value)
        if moment.utcoffset() is not None:
            return write(moment)
        if zone is None:
            raise Refused("no_zone", "must have a time zone: name the provider's as `zone`", value)
        return write(moment.replace(tzinfo=zone))

    return decode


def _iso_encoder(zone: tzinfo | None, write: Callable[[datetime], str]) -> Callable[[str], str]:
    if zone is None:
        return lambda value: value

    def encode(value: str) -> str:
        try:
            local = datetime.fromisoformat(value).astimezone(zone).replace(tzinfo=None, fold=0)
        except OverflowError:
            raise Refused("range", "must lie in the years from 1 to 9999", value) from None
        if write(local.replace(tzinfo=zone)) != value:
            raise Refused("ambiguous", "is a time that the clocks of the provider's zone show twice", value)
        return local.isoformat(sep=" ")

    return encode


def _parsed(value: Any) -> datetime:
    if not isinstance(value, str):
        raise Refused("type", "must be an instant like 2026-01-31T09:30:00Z", value)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise Refused("invalid", "must be an instant like 2026-01-31T09:30:00Z", value) from None


def _whole(value: Any, *, as_text: bool) -> int:
    if as_text and isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value, re.ASCII):
        return int(value)
    if as_text or value.__class__ is not int:
        raise Refused("type", "must be a whole number" + (" as text" if as_text else ""), value)
    return int(value)


def _from_epoch(count: int, step: timedelta) -> datetime:
    try:
        return _EPOCH + count * step
    except OverflowError:
        raise Refused("range", "must lie in the years from 1 to 9999", count) from None
