"""HubSpot: contacts, companies and deals, as the CRM API has them.

Properties, and which of them a new record should have:

- https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide
- https://developers.hubspot.com/docs/api-reference/latest/crm/objects/companies/guide
- https://developers.hubspot.com/docs/api-reference/latest/crm/objects/deals/guide
- https://knowledge.hubspot.com/crm-deals/hubspots-default-deal-properties

Every value of a property is text, and "" is how to clear one. Which contact belongs to which company and deal is said
by associations, which are no properties and not mapped here; a contact's first company can be read.
"""

from __future__ import annotations

from typing import Any

from ratesync.mapping.codec import Codec
from ratesync.mapping.codecs import blank_is_none, day, decimal, email, instant, integer, phone, record_id, text
from ratesync.mapping.field import Field, Ref
from ratesync.mapping.mapping import Mapping
from ratesync.mapping.part import Direction, Line

_TEXT = blank_is_none(text(strip=True))
_LENGTH_OF_DATE = 10


def contact(*more: Line, region: str | None = None) -> Mapping:
    """A contact.

    HubSpot writes e-mail addresses in lower case.

    :param more: further lines, such as ``Field("score", "properties.my_score", integer(wire="text"), null_as="")``.
    :param region: the country of telephone numbers without a country's code ("CH"). What is no number is kept as it is,
        as is what stands for an e-mail address and is none.
    """
    number_of = blank_is_none(phone(region, invalid="keep"))
    return Mapping(
        _property("first_name", "firstname"),
        _property("last_name", "lastname"),
        _property("email", "email", blank_is_none(email(case="lower", invalid="keep")), match_key=True),
        _property("phone", "phone", number_of),
        _property("mobile_phone", "mobilephone", number_of),
        _property("job_title", "jobtitle"),
        *_address(),
        Ref(
            "company_id",
            "properties.associatedcompanyid",
            record_id(),
            null_as="",
            direction="pull",
            resource="companies",
        ),
        *_common("lastmodifieddate"),
        *more,
    )


def company(*more: Line, region: str | None = None) -> Mapping:
    """A company. Takes what :func:`contact` takes. Its domain is what HubSpot knows it by."""
    return Mapping(
        _property("name", "name"),
        _property("domain", "domain", blank_is_none(text(strip=True, case="lower")), match_key=True),
        _property("website", "website"),
        _property("phone", "phone", blank_is_none(phone(region, invalid="keep"))),
        _property("industry", "industry"),
        _property("employees", "numberofemployees", integer(minimum=0, wire="text")),
        _property("annual_revenue", "annualrevenue", decimal()),
        *_address(),
        _property("description", "description"),
        *_common("hs_lastmodifieddate"),
        *more,
    )


def deal(*more: Line) -> Mapping:
    """A deal. Stage and pipeline are HubSpot's internal ids. The closing date is a time there: midnight in UTC."""
    return Mapping(
        _property("name", "dealname", required=True),
        _property("amount", "amount", decimal()),
        _property("currency", "deal_currency_code", blank_is_none(text(strip=True, case="upper", max_length=3))),
        _property("stage", "dealstage", required=True),
        _property("pipeline", "pipeline"),
        _property("closes_on", "closedate", _day_of_instant()),
        _property("description", "description"),
        *_common("hs_lastmodifieddate"),
        *more,
    )


def _property(
    name: str,
    hubspot_name: str,
    codec: Codec = _TEXT,
    *,
    required: bool = False,
    match_key: bool = False,
    direction: Direction = "both",
) -> Field:
    path = f"properties.{hubspot_name}"
    return Field(name, path, codec, null_as="", required=required, match_key=match_key, direction=direction)


def _reference(name: str, hubspot_name: str, resource: str, *, direction: Direction = "both") -> Ref:
    path = f"properties.{hubspot_name}"
    return Ref(name, path, record_id(), null_as="", direction=direction, resource=resource)


def _address() -> list[Line]:
    return [
        _property("street", "address"),
        _property("city", "city"),
        _property("state", "state"),
        _property("postal_code", "zip"),
        _property("country", "country"),
    ]


def _common(changed: str) -> list[Line]:
    return [
        _reference("owner_id", "hubspot_owner_id", "owners"),
        _property("updated_at", changed, instant(), direction="pull"),
    ]


def _day_of_instant() -> Codec:
    moment = instant()

    def decode(value: Any) -> str:
        return str(moment.decode(value))[:_LENGTH_OF_DATE]

    return Codec(decode, lambda value: f"{value}T00:00:00.000Z", day().canon)
