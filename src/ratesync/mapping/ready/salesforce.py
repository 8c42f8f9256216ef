"""Salesforce: Contact, Account and Opportunity, as the REST API has them.

Names, types and lengths are those of the field reference:

- https://developer.salesforce.com/docs/platform/field-reference/references/field-reference/salesforce-field-reference-contact.html
- https://developer.salesforce.com/docs/atlas.en-us.244.0.sfFieldRef.meta/sfFieldRef/salesforce_field_reference_Account.htm
- https://developer.salesforce.com/docs/platform/field-reference/references/field-reference/salesforce-field-reference-opportunity.html

Salesforce has no empty text: it stores null, and takes white space away at both ends.
"""

from __future__ import annotations

from ratesync.mapping.codec import Codec
from ratesync.mapping.codecs import (
    blank_is_none,
    day,
    decimal,
    email,
    instant,
    integer,
    number,
    phone,
    record_id,
    text,
)
from ratesync.mapping.field import Field, Ref
from ratesync.mapping.mapping import Mapping
from ratesync.mapping.part import Line

_LONG = 32_000


def _text(most: int) -> Codec:
    return blank_is_none(text(strip=True, max_length=most))


def contact(*more: Line, region: str | None = None) -> Mapping:
    """A Contact.

    :param more: further lines, such as ``Field("score", "Score__c", integer())``.
    :param region: the country of telephone numbers without a country's code ("CH"). What is no number is kept as it is,
        as is what stands for an e-mail address and is none.
    """
    number_of = blank_is_none(phone(region, invalid="keep"))
    return Mapping(
        Field("first_name", "FirstName", _text(40)),
        Field("last_name", "LastName", _text(80), required=True),
        Field("email", "Email", blank_is_none(email(case="lower", invalid="keep")), match_key=True),
        Field("phone", "Phone", number_of),
        Field("mobile_phone", "MobilePhone", number_of),
        Field("job_title", "Title", _text(128)),
        Field("department", "Department", _text(80)),
        *_address("Mailing"),
        Field("description", "Description", _text(_LONG)),
        Ref("company_id", "AccountId", record_id(), resource="companies"),
        *_common(),
        *more,
    )


def company(*more: Line, region: str | None = None) -> Mapping:
    """An Account. Takes what :func:`contact` takes."""
    return Mapping(
        Field("name", "Name", _text(255), required=True, match_key=True),
        Field("website", "Website", _text(255)),
        Field("phone", "Phone", blank_is_none(phone(region, invalid="keep"))),
        Field("industry", "Industry", _text(255)),
        Field("employees", "NumberOfEmployees", integer(minimum=0, maximum=99_999_999)),
        Field("annual_revenue", "AnnualRevenue", decimal(wire="number")),
        *_address("Billing"),
        Field("description", "Description", _text(_LONG)),
        *_common(),
        *more,
    )


def deal(*more: Line) -> Mapping:
    """An Opportunity. Its stages are those of the org."""
    return Mapping(
        Field("name", "Name", _text(120), required=True),
        Field("amount", "Amount", decimal(2, wire="number")),
        Field("stage", "StageName", _text(255), required=True),
        Field("closes_on", "CloseDate", day(), required=True),
        Field("probability", "Probability", number(minimum=0, maximum=100)),
        Field("next_step", "NextStep", _text(255)),
        Field("description", "Description", _text(_LONG)),
        Ref("company_id", "AccountId", record_id(), resource="companies"),
        *_common(),
        *more,
    )


def _address(prefix: str) -> list[Line]:
    return [
        Field("street", f"{prefix}Street", _text(255)),
        Field("city", f"{prefix}City", _text(40)),
        Field("state", f"{prefix}State", _text(80)),
        Field("postal_code", f"{prefix}PostalCode", _text(20)),
        Field("country", f"{prefix}Country", _text(80)),
    ]


def _common() -> list[Line]:
    return [
        Ref("owner_id", "OwnerId", record_id(), resource="users"),
        Field("updated_at", "LastModifiedDate", instant(), direction="pull"),
    ]
