from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratesync.errors import ConfigurationError, InvalidPayload
from ratesync.providers.path import Path

CONTACT = Path("/crm/{connection}/{resource}/{record_id}/details?fields=all")


def fill(record_id: str) -> str:
    return CONTACT.fill({"connection": "default", "resource": "contacts", "record_id": record_id})


def test_places_are_filled() -> None:
    assert fill("42") == "/crm/default/contacts/42/details?fields=all"
    assert Path("/all").fill({}) == "/all"
    assert Path("/{{x}}").fill({}) == "/{x}"


@given(st.text(min_size=1))
def test_an_id_stays_within_its_segment(record_id: str) -> None:
    try:
        path = fill(record_id)
    except InvalidPayload:
        assert {".", ".."} & set(record_id.replace("\\", "/").split("/"))
        return
    parts = path.partition("?")[0].split("/")
    assert parts[:4] == ["", "crm", "default", "contacts"]
    assert parts[5:] == ["details"]
    assert unquote(parts[4]) == record_id
    sent = httpx.URL("https://api.acme.example" + path)
    assert sent.raw_path.decode() == path, "no client reads it as another path"
    assert (sent.query, sent.fragment) == (b"fields=all", "")


@pytest.mark.parametrize("record_id", ["", ".", "..", "../admin", "a/../b", "..\\x", "a/./b", "\ud800"])
def test_an_id_that_would_lead_elsewhere_is_refused(record_id: str) -> None:
    with pytest.raises(InvalidPayload, match="record_id: cannot be part of a path"):
        fill(record_id)


@pytest.mark.parametrize(
    "template", ["/{id}", "/{}", "/{0}", "/{record_id", "/{record_id!r}", "/{record_id:>9}", "/{record_id.x}", "/}"]
)
def test_a_template_that_could_not_be_filled_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationError, match="path"):
        Path(template)
