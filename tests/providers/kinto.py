"""A RestProvider for Kinto, by configuration alone."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ratesync.model.batch import ConditionalWrite
from ratesync.providers import Resource, RestProvider, Route
from tests.servers.kinto_server import Kinto

RECORDS = "/collections/{resource}/records"
RECORD = RECORDS + "/{record_id}"

CONTACTS = Resource(
    create=Route("POST", RECORDS),
    create_with_id=Route("PUT", RECORD, {"If-None-Match": "*"}),
    read=Route("GET", RECORD),
    update=Route("PATCH", RECORD),
    upsert=Route("PUT", RECORD),
    delete=Route("DELETE", RECORD),
    envelope="data",
    current_path="details.existing",
)


def kinto_provider(kinto: Kinto, **settings: Any) -> RestProvider:
    """An adapter for the bucket ``crm``; its connection ``stranger`` has a wrong password."""
    return RestProvider(
        "kinto",
        f"{kinto.url}/buckets/crm",
        resources=CONTACTS,
        credentials={
            "default": {"Authorization": basic(*kinto.auth)},
            "stranger": {"Authorization": basic(kinto.user, "guess")},
        },
        conditional_write=ConditionalWrite.STRONG,
        **settings,
    )


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
