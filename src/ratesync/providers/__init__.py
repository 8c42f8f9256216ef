"""Adapters, built on ratesync.http."""

from __future__ import annotations

from ratesync.providers.request import Credentials
from ratesync.providers.resource import CREATE_ONCE, Resource, Route
from ratesync.providers.rest import RestProvider

__all__ = ["CREATE_ONCE", "Credentials", "Resource", "RestProvider", "Route"]
