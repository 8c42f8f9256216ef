"""What is to be known of a record type at Salesforce."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from ratesync.errors import ConfigurationError
from ratesync.providers.field_names import field_names

ID = "Id"
CHANGED = "SystemModstamp"
"""Tells when a record changed last, also by the system itself. ``LastModifiedDate`` may lie before it."""
DELETED = "IsDeleted"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_PREFIX = re.compile(r"[A-Za-z0-9]{3}")
_LONGEST = 8_000
"""Characters of all names together: they are part of a query's URL, which may have 16,384 with the headers."""


@frozen(kw_only=True)
class SObject:
    """A record type, as the adapter is to speak of it.

    ::

        SObject(name="Invoice__c", fields=("Name", "Total__c"), external_id="Invoice_No__c")
    """

    name: str | None = None
    """Its API name: ``"Contact"``, ``"Invoice__c"``. Default: as operations name it."""
    fields: tuple[str, ...] = field(default=(), converter=field_names)
    """What is read of each record. Default: all fields there are, 200 records on a page."""
    external_id: str | None = None
    """A field that is marked as external id and as unique. By its values records are upserted and read, and creates
    looked up whose answer was lost. Default: none, so none of that is possible."""
    key_prefix: str | None = None
    """The three characters that ids of this type begin with, as its description tells (``keyPrefix``). Needed for
    deletes: Salesforce deletes by id alone, whatever the record's type. Default: none, so nothing can be deleted."""
    changed_field: str = CHANGED
    """Tells when a record changed last."""
    tombstones: bool = True
    """Deleted records are among the changes. Turn it off for types without ``IsDeleted``, such as User."""

    def __attrs_post_init__(self) -> None:
        for name in (self.name, self.external_id, self.changed_field, *self.fields):
            if name is not None and not is_name(name):
                raise ConfigurationError(f"{name!r} is no name of an object or a field at Salesforce")
        if self.key_prefix is not None and _PREFIX.fullmatch(self.key_prefix) is None:
            raise ConfigurationError(f"{self.key_prefix!r} is no key prefix: it has three letters or digits")
        if len(",".join(self.fields)) > _LONGEST:
            raise ConfigurationError(f"the names of the fields have more than {_LONGEST} characters together")

    @property
    def asked(self) -> tuple[str, ...]:
        """The fields to ask for: those to read, and those that the adapter itself looks at. Empty: all."""
        if not self.fields:
            return ()
        own = (self.changed_field,) if self.external_id is None else (self.changed_field, self.external_id)
        return tuple(dict.fromkeys((ID, *self.fields, *own)))


def is_name(text: str) -> bool:
    """Tell whether the text can be the API name of an object or a field."""
    return _NAME.fullmatch(text) is not None


_SYSTEM = ("OwnerId", "LastModifiedDate")


def _address(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{part}" for part in ("Street", "City", "State", "PostalCode", "Country"))


_CONTACT = SObject(
    name="Contact",
    key_prefix="003",
    fields=(
        *("FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title", "Department"),
        *_address("Mailing"),
        *("Description", "AccountId", *_SYSTEM),
    ),
)
_ACCOUNT = SObject(
    name="Account",
    key_prefix="001",
    fields=(
        *("Name", "Website", "Phone", "Industry", "NumberOfEmployees", "AnnualRevenue"),
        *_address("Billing"),
        *("Description", *_SYSTEM),
    ),
)
_OPPORTUNITY = SObject(
    name="Opportunity",
    key_prefix="006",
    fields=(
        *("Name", "Amount", "StageName", "CloseDate", "Probability", "NextStep", "Description"),
        *("AccountId", *_SYSTEM),
    ),
)

OBJECTS: Mapping[str, SObject] = MappingProxyType(
    {
        "contacts": _CONTACT,
        "companies": _ACCOUNT,
        "deals": _OPPORTUNITY,
        "Contact": _CONTACT,
        "Account": _ACCOUNT,
        "Opportunity": _OPPORTUNITY,
    }
)
"""What the ready mappings (:mod:`ratesync.mapping.ready.salesforce`) read. No external id is named: those are the
org's own."""
