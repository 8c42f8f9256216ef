"""Translating records between the host's terms and a provider's, both ways. Some codecs need the extra ``mapping``."""

from __future__ import annotations

from ratesync.mapping.codec import Codec
from ratesync.mapping.computed import Computed
from ratesync.mapping.field import Field, Ref
from ratesync.mapping.field_error import FieldError, InvalidFields, Refused
from ratesync.mapping.first_of import FirstOf
from ratesync.mapping.mapping import Mapping
from ratesync.mapping.missing import MISSING, Missing
from ratesync.mapping.split import Join, Split
from ratesync.mapping.splitter import Splitter, full_name, separated
from ratesync.mapping.typed import TypedMapping

__all__ = [
    "MISSING",
    "Codec",
    "Computed",
    "Field",
    "FieldError",
    "FirstOf",
    "InvalidFields",
    "Join",
    "Mapping",
    "Missing",
    "Ref",
    "Refused",
    "Split",
    "Splitter",
    "TypedMapping",
    "full_name",
    "separated",
]
