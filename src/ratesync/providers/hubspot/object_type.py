"""What is to be known of a record type at HubSpot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.providers.field_names import field_names

CHANGED = "hs_lastmodifieddate"
"""The property that tells when a record changed last, of all types but contacts."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MARKS = ("hs_object_id", "createdate")


@frozen(kw_only=True)
class ObjectType:
    """A record type, as the adapter is to speak of it.

    ::

        ObjectType(properties=("name", "customer_no"), unique_property="customer_no")
    """

    name: str | None = None
    """In HubSpot's paths: ``"contacts"``, ``"2-3465404"``, ``"p12345_cars"``. Default: as operations name it."""
    properties: tuple[str, ...] = field(default=(), converter=field_names)
    """What is read of each record. Default: what HubSpot gives by itself, which is little."""
    unique_property: str | None = None
    """A property that HubSpot keeps unique. By its values records are upserted, and creates looked up whose answer was
    lost. Default: none, so neither is possible."""
    changed_property: str = CHANGED
    """Tells when a record changed last."""

    def __attrs_post_init__(self) -> None:
        named = (self.name, self.unique_property, self.changed_property, *self.properties)
        for name in named:
            if name is not None and not is_name(name):
                raise ConfigurationError(f"{name!r} is no name of an object type or property at HubSpot")
        if self.unique_property is not None and not self.properties:
            raise ConfigurationError("name the properties to read where there is a unique one, which is one of them")

    @property
    def asked(self) -> tuple[str, ...]:
        """The properties to ask for: those to read, and those that the adapter itself looks at."""
        if not self.properties:
            return ()
        unique = () if self.unique_property is None else (self.unique_property,)
        return tuple(dict.fromkeys((*self.properties, *unique)))

    @property
    def marks(self) -> tuple[str, ...]:
        """The fewest properties by which a change can be told."""
        return (*_MARKS, self.changed_property)


def is_name(text: str) -> bool:
    """Tell whether the text can be the name of an object type or property."""
    return _NAME.fullmatch(text) is not None


_ADDRESS = ("address", "city", "state", "zip", "country")

OBJECT_TYPES: Mapping[str, ObjectType] = MappingProxyType(
    {
        "contacts": ObjectType(
            properties=(
                *("firstname", "lastname", "email", "phone", "mobilephone", "jobtitle"),
                *_ADDRESS,
                *("associatedcompanyid", "hubspot_owner_id", "lastmodifieddate"),
            ),
            unique_property="email",
            changed_property="lastmodifieddate",
        ),
        "companies": ObjectType(
            properties=(
                *("name", "domain", "website", "phone", "industry", "numberofemployees", "annualrevenue"),
                *_ADDRESS,
                *("description", "hubspot_owner_id", CHANGED),
            ),
        ),
        "deals": ObjectType(
            properties=(
                *("dealname", "amount", "deal_currency_code", "dealstage", "pipeline", "closedate", "description"),
                *("hubspot_owner_id", CHANGED),
            ),
        ),
    }
)
"""What the ready mappings (:mod:`ratesync.mapping.ready.hubspot`) read. HubSpot keeps contacts unique by their e-mail
address; of companies (also by their domain) and deals it allows several that are alike."""
