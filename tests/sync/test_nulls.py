"""A field is emptied at a provider that leaves what is written as null."""

from __future__ import annotations

import pytest
from attrs import evolve
from typing_extensions import override

from ratesync.model.batch import Capabilities, NullMeaning
from ratesync.model.link import LinkStatus
from ratesync.model.operation import Operation
from ratesync.model.outcome import Outcome
from tests.sync.desk import Desk
from tests.sync.fake_crm import FakeCrm

pytestmark = pytest.mark.anyio


class IgnoresNull(FakeCrm):
    """Leaves a field that is written as null."""

    @property
    @override
    def capabilities(self) -> Capabilities:
        return evolve(super().capabilities, nulls=NullMeaning.IGNORE)

    @override
    def _write(self, operation: Operation) -> Outcome:
        sent = {name: value for name, value in operation.fields.items() if value is not None}
        return super()._write(evolve(operation, fields=sent))


async def test_a_field_that_the_provider_cannot_empty_is_told_and_never_taken_for_emptied() -> None:
    desk = Desk(crm=IgnoresNull)
    desk.local.put("l1", {"name": "Ada", "phone": "1", "fax": None})
    desk.local.put("l2", {"name": "Bob"})
    await desk.sync()
    await desk.sync()
    desk.local.put("l1", {"name": "Ada", "fax": None})
    desk.local.change("l2", name="Bobby")
    run = await desk.sync()
    assert ([trouble.reason[:6] for trouble in run.troubles], run.errors) == (["phone:"], [])
    assert desk.names()[1] == ["Ada", "Bobby"]
    (link,) = [link for link in await desk.links() if link.status is LinkStatus.QUARANTINED]
    assert (link.external.base or {})["phone"] == "1"
    desk.local.change("l1", phone="2")  # what can be written goes on
    run = await desk.sync()
    assert (run.troubles, {record.fields.get("phone") for record in desk.crm.records.values()}) == ([], {"2", None})
