"""Codecs: how values are spelt by a provider and in the view."""

from __future__ import annotations

from ratesync.mapping.codecs.blank import blank_is_none
from ratesync.mapping.codecs.boolean import boolean
from ratesync.mapping.codecs.choice import choice
from ratesync.mapping.codecs.email import email
from ratesync.mapping.codecs.html import html
from ratesync.mapping.codecs.items import items
from ratesync.mapping.codecs.moment import day, instant, time_of_day
from ratesync.mapping.codecs.money import decimal
from ratesync.mapping.codecs.number import integer, number
from ratesync.mapping.codecs.phone import phone
from ratesync.mapping.codecs.record_id import record_id
from ratesync.mapping.codecs.text import text

__all__ = [
    "blank_is_none",
    "boolean",
    "choice",
    "day",
    "decimal",
    "email",
    "html",
    "instant",
    "integer",
    "items",
    "number",
    "phone",
    "record_id",
    "text",
    "time_of_day",
]
