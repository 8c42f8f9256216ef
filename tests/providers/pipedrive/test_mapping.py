"""The ready mappings, through the adapter to the company and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratesync import Applied, Kind
from ratesync.mapping import Mapping
from ratesync.mapping.ready import pipedrive as ready
from ratesync.providers.pipedrive import PipedriveProvider
from tests.providers.pipedrive.speaking import execute, operation, provider
from tests.servers.pipedrive_company import Company

pytestmark = pytest.mark.anyio

NAMES = st.text("abcdeé Ł山", min_size=1, max_size=6).filter(lambda name: bool(name.strip()) and " " not in name)
VIEWS: dict[str, tuple[Mapping, st.SearchStrategy[dict[str, Any]]]] = {
    "persons": (
        ready.contact(replace_lists=True),
        st.fixed_dictionaries(
            {"first_name": NAMES, "last_name": NAMES},
            optional={
                "email": st.sampled_from(["ada@example.org", "eve@example.com"]),
                "phone": st.just("+41446681800"),
                "company_id": st.integers(1, 99).map(str),
            },
        ),
    ),
    "organizations": (
        ready.company(),
        st.fixed_dictionaries({"name": NAMES}, optional={"address": NAMES, "owner_id": st.integers(1, 9).map(str)}),
    ),
    "deals": (
        ready.deal(),
        st.fixed_dictionaries(
            {"name": NAMES},
            optional={
                "amount": st.sampled_from(["0", "12.50", "1000000"]),
                "currency": st.sampled_from(["EUR", "chf"]),
                "status": st.sampled_from(["open", "won", "lost"]),
                "closes_on": st.dates().map(str),
                "probability": st.integers(0, 100),
                "contact_id": st.integers(1, 99).map(str),
            },
        ),
    ),
}


@pytest.mark.parametrize("resource", VIEWS)
@settings(max_examples=25)
@given(data=st.data())
async def test_what_is_written_is_read_back(resource: str, data: st.DataObject) -> None:
    mapping, views = VIEWS[resource]
    view, newer = data.draw(views), data.draw(views)
    pipedrive = provider(Company())
    create = operation(Kind.CREATE, resource=resource, **mapping.create(view))
    (created,), _ = await execute(pipedrive, [create])
    assert isinstance(created, Applied), created
    record = await read(pipedrive, resource, created.record_id)
    assert given_in(view, mapping.get(record), mapping) == given_in(view, view, mapping)
    patch = mapping.patch(record, newer)
    (updated,), _ = await execute(pipedrive, [operation(Kind.UPDATE, created.record_id, resource=resource, **patch)])
    assert isinstance(updated, Applied), updated
    record = await read(pipedrive, resource, created.record_id)
    assert given_in(newer, mapping.get(record), mapping) == given_in(newer, newer, mapping)
    assert mapping.patch(record, newer) == {}


async def read(pipedrive: PipedriveProvider, resource: str, record_id: str | None) -> dict[str, Any]:
    (outcome,), _ = await execute(pipedrive, [operation(Kind.READ, record_id, resource=resource)])
    assert isinstance(outcome, Applied)
    assert outcome.record is not None
    return dict(outcome.record.fields)


def given_in(view: dict[str, Any], other: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    """Of the other view what this one gives a value, in its canonical form."""
    canonical = mapping.canon(other)
    return {name: canonical[name] for name in view}
