"""Pipedrive: persons, organisations and deals, as version 2 of its API has them.

Names and types are those of the API's OpenAPI document, from which Pipedrive's own client is made, and its guide:

- https://developers.pipedrive.com/docs/api/v1/Persons
- https://github.com/pipedrive/client-nodejs (``src/versions/v2/models``)
- https://pipedrive.readme.io/docs/pipedrive-api-v2-migration-guide

Version 2 takes no text for a number, and has times in RFC 3339. Fields of an account's own lie in ``custom_fields``.
"""

from __future__ import annotations

from ratesync.mapping.codec import Codec
from ratesync.mapping.codecs import (
    blank_is_none,
    choice,
    day,
    decimal,
    email,
    instant,
    number,
    phone,
    record_id,
    text,
)
from ratesync.mapping.field import Field, Ref
from ratesync.mapping.first_of import FirstOf
from ratesync.mapping.mapping import Mapping
from ratesync.mapping.part import Line
from ratesync.mapping.split import Join

_TEXT = blank_is_none(text(strip=True))
_ID = record_id(wire="number")


def contact(*more: Line, region: str | None = None, replace_lists: bool = False) -> Mapping:
    """A person: its name in two, and of its e-mail addresses and telephone numbers the primary one.

    :param more: further lines, such as ``Field("score", "custom_fields.d4de1c…", integer())``.
    :param region: the country of telephone numbers without a country's code ("CH"). What is no number is kept as it is,
        as is what stands for an e-mail address and is none.
    :param replace_lists: what an update does that does not know the person's other addresses and numbers: send this one
        only, so that the others are lost, or (the default) be refused. :meth:`Mapping.patch` knows them.
    """
    return Mapping(
        Join(("first_name", "last_name"), "name", required=True),
        _primary("email", "emails", email(case="lower", invalid="keep"), replaces=replace_lists, match_key=True),
        _primary("phone", "phones", phone(region, invalid="keep"), replaces=replace_lists),
        Ref("company_id", "org_id", _ID, resource="companies"),
        *_common(),
        *more,
    )


def company(*more: Line) -> Mapping:
    """An organisation. Pipedrive reads the parts of its address out of the whole, so that they can only be read."""
    return Mapping(
        Field("name", "name", _TEXT, required=True, match_key=True),
        Field("address", "address.value", _TEXT),
        Field("street", "address.route", _TEXT, direction="pull"),
        Field("city", "address.locality", _TEXT, direction="pull"),
        Field("state", "address.admin_area_level_1", _TEXT, direction="pull"),
        Field("postal_code", "address.postal_code", _TEXT, direction="pull"),
        Field("country", "address.country", _TEXT, direction="pull"),
        *_common(),
        *more,
    )


def deal(*more: Line) -> Mapping:
    """A deal. Stage and pipeline are Pipedrive's ids; won, lost or open is its status."""
    return Mapping(
        Field("name", "title", _TEXT, required=True),
        Field("amount", "value", decimal(wire="number")),
        Field("currency", "currency", blank_is_none(text(strip=True, case="upper", max_length=3))),
        Field("stage", "stage_id", _ID),
        Field("pipeline", "pipeline_id", _ID),
        Field("status", "status", choice(["open", "won", "lost", "deleted"], unknown="keep")),
        Field("closes_on", "expected_close_date", day()),
        Field("probability", "probability", number(minimum=0, maximum=100)),
        Field("lost_reason", "lost_reason", _TEXT),
        Ref("company_id", "org_id", _ID, resource="companies"),
        Ref("contact_id", "person_id", _ID, resource="contacts"),
        *_common(),
        *more,
    )


def _primary(name: str, path: str, codec: Codec, *, replaces: bool, match_key: bool = False) -> FirstOf:
    return FirstOf(
        name,
        path,
        blank_is_none(codec),
        item="value",
        where={"primary": True},
        new={"label": "work"},
        replaces=replaces,
        match_key=match_key,
    )


def _common() -> list[Line]:
    return [
        Ref("owner_id", "owner_id", _ID, resource="users"),
        Field("updated_at", "update_time", instant(), direction="pull"),
    ]
