"""What a mapping does with single records."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from ratesync import Kind, Operation
from ratesync.errors import ConfigurationError, InvalidPayload
from ratesync.mapping import (
    MISSING,
    Codec,
    Computed,
    Field,
    FieldError,
    FirstOf,
    InvalidFields,
    Join,
    Mapping,
    Missing,
    Ref,
    Refused,
    Split,
    separated,
)
from ratesync.mapping.codecs import blank_is_none, choice, decimal, integer, items, record_id, text
from ratesync.mapping.path import parse_path, show
from tests.mapping.contact import CONTACT

SECRET = "hunter2"


def errors_of(call: Any, *arguments: Any) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        call(*arguments)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.errors)
    return {error.path: error.code for error in caught.value.errors}


def test_a_record_is_read_into_a_flat_view() -> None:
    record = {
        "id": 7,
        "properties": {"email": " Ada@Example.org", "nick": "", "amount": "12.5", "stage": "W", "tags": "a;b"},
        "phones": ["1", "2"],
        "emails": [{"value": "x@y.z", "label": "work"}],
        "meta": {"seen": {"at": "2026-01-31T10:30:00.123456+01:00"}},
        "company": {"id": 12},
        "place": "Zurich ZH",
        "score": 3,
    }
    assert CONTACT.get(record) == {
        "email": "ada@example.org",
        "nickname": None,
        "language": "en",
        "amount": "12.50",
        "stage": "won",
        "tags": ["a", "b"],
        "seen_at": "2026-01-31T09:30:00.123000Z",
        "phone": "1",
        "work_email": "x@y.z",
        "city": "Zurich",
        "region": "ZH",
        "company_id": "12",
        "score": 3,
        "is_new": False,
    }


def test_missing_null_and_empty_are_three_things() -> None:
    lens = Mapping(Field("note", "note"))
    assert [lens.get(record) for record in ({}, {"note": None}, {"note": ""})] == [{}, {"note": None}, {"note": ""}]
    assert [lens.create(view) for view in ({}, {"note": None}, {"note": ""})] == [{}, {"note": None}, {"note": ""}]
    assert lens.put({"note": "x", "other": 1}, {}) == {"other": 1}
    assert lens.put({"note": "x"}, {"note": None}) == {"note": None}
    assert repr(MISSING) == "MISSING"
    assert not MISSING
    assert MISSING is Missing.MISSING


def test_the_provider_keeps_its_spelling_until_the_value_changes() -> None:
    record = {"properties": {"email": " ADA@Example.org ", "amount": "12.5", "first": " Ada ", "last": "King"}}
    seen = CONTACT.get(record)
    assert CONTACT.put(record, seen) == record
    assert CONTACT.patch(record, seen) == {}
    assert CONTACT.patch(record, {"email": "ada@EXAMPLE.org"}) == {}
    assert CONTACT.patch(record, {"email": "bob@example.org"}) == {"properties": {"email": "bob@example.org"}}


def test_a_patch_leaves_alone_what_it_is_not_told() -> None:
    record = {"properties": {"email": "a", "nick": "b"}, "phones": ["1", "2"]}
    assert CONTACT.patch(record, {"phone": "9"}) == {"phones": ["9", "2"]}
    assert CONTACT.patch(record, {"nickname": None}) == {"properties": {"nick": ""}}
    assert CONTACT.patch(record, {"full_name": "Ada King", "email": "a"}) == {
        "properties": {"first": "Ada", "last": "King", "display": "Ada King"}
    }


def test_what_cannot_be_sent_is_refused_unless_it_is_what_the_provider_has() -> None:
    assert CONTACT.patch({"score": 3}, {"score": 3}) == {}
    assert errors_of(CONTACT.patch, {"score": 3}, {"score": 4}) == {"score": "read_only"}
    assert errors_of(CONTACT.to_external, {"score": 4}, Kind.CREATE) == {"score": "read_only"}
    assert errors_of(CONTACT.to_external, {"score": 4}, Kind.UPDATE) == {"score": "read_only"}


def test_an_update_sends_what_is_given_and_nothing_else() -> None:
    view = {"email": "A", "nickname": None, "full_name": "Ada King", "city": "Zug", "region": None, "source": "web"}
    assert CONTACT.to_external(view, Kind.UPDATE) == {
        "properties": {"email": "a", "nick": "", "first": "Ada", "last": "King", "source": "web"},
        "place": "Zug",
    }
    assert CONTACT.update({}) == {}


def test_an_update_that_would_drop_what_it_does_not_know_is_refused() -> None:
    assert errors_of(CONTACT.update, {"phone": "1", "street": "High Street", "city": "Zug"}) == {
        "phone": "needs_current",
        "street": "needs_current",
        "city, region": "needs_current",
    }
    lens = Mapping(FirstOf("phone", "phones", replaces=True, item="value", new={"label": "work"}))
    assert lens.update({"phone": "1"}) == {"phones": [{"label": "work", "value": "1"}]}
    assert lens.update({"phone": None}) == {"phones": []}


def test_a_create_has_defaults_and_what_is_computed() -> None:
    assert CONTACT.to_external({"full_name": "Ada"}, Kind.CREATE) == {
        "properties": {"language": "en", "first": None, "last": "Ada", "display": "Ada"},
    }


REQUIRED = Mapping(
    Field("email", "email", required=True),
    Split("name", ("first", "last"), required=True),
    Join(("city", "region"), "place", required=True),
    FirstOf("phone", "phones", required=True, replaces=True),
)
FULL = {"email": "a", "name": "Ada King", "city": "Zug", "region": "ZG", "phone": "1"}


def test_what_is_required_must_be_created_and_cannot_be_cleared() -> None:
    missing = {"email": "required", "name": "required", "city, region": "required", "phone": "required"}
    record = REQUIRED.create(FULL)
    assert record == {"email": "a", "first": "Ada", "last": "King", "place": "Zug ZG", "phones": ["1"]}
    nothing = dict.fromkeys(FULL)
    assert errors_of(REQUIRED.create, {}) == missing
    assert errors_of(REQUIRED.create, nothing) == missing
    assert errors_of(REQUIRED.put, record, {}) == missing
    assert errors_of(REQUIRED.put, record, nothing) == missing
    assert errors_of(REQUIRED.update, nothing) == missing
    assert errors_of(REQUIRED.to_external, {}, Kind.UPSERT) == missing
    assert REQUIRED.to_external({}, Kind.UPDATE) == {}
    assert REQUIRED.put({}, REQUIRED.get({})) == {}
    nulls = {"email": None, "first": None, "place": None, "phones": None}
    assert REQUIRED.put(nulls, REQUIRED.get(nulls)) == nulls
    assert REQUIRED.put(nulls, {}) == {"place": None, "phones": None}


def test_every_mistake_is_told_at_once_and_no_value() -> None:
    view = {"email": 5, "amount": "0.123", "stage": SECRET, "age": "5", "full_name": [SECRET], "tags": ["a", 1]}
    wanted = {
        "email": "type",
        "amount": "precision",
        "stage": "unknown_choice",
        "age": "type",
        "full_name": "type",
        "tags[1]": "invalid",
        "unknown": "unknown_field",
    }
    for call in (CONTACT.create, CONTACT.update, CONTACT.canon):
        assert errors_of(call, view | {"unknown": SECRET}) == wanted
    assert errors_of(CONTACT.put, {}, view | {"unknown": SECRET}) == wanted
    record = {"properties": {"amount": SECRET, "active": "yes"}, "phones": SECRET, "emails": ["x"], "born": "31.1.26"}
    assert errors_of(CONTACT.get, record) == {
        "properties.amount": "invalid",
        "properties.active": "type",
        "phones": "type",
        "emails[0]": "type",
        "born": "invalid",
    }


def test_the_message_of_many_mistakes_stays_short() -> None:
    with pytest.raises(InvalidPayload, match=r"and 5 more") as caught:
        Mapping().create({f"field{number}": number for number in range(25)})
    assert isinstance(caught.value, InvalidFields)
    assert len(caught.value.errors) == 25
    assert caught.value.path == "fields"


def test_a_field_error_tells_what_sort_of_value_it_was() -> None:
    with pytest.raises(InvalidFields) as caught:
        CONTACT.create({"stage": SECRET})
    assert caught.value.errors == (
        FieldError("stage", "unknown_choice", "must be one of open, won", f"str({len(SECRET)})"),
    )


def failing(value: Any) -> Any:
    raise ValueError(f"cannot do {value}")


def test_functions_of_the_host_may_raise_anything() -> None:
    lens = Mapping(
        Field("a", "a", Codec(failing, failing, failing)),
        Computed("b", failing, direction="pull"),
        Computed("c", failing, direction="push"),
    )
    assert errors_of(lens.get, {"a": SECRET}) == {"a": "invalid", "b": "invalid"}
    assert errors_of(lens.create, {"a": SECRET}) == {"a": "invalid"}
    assert errors_of(lens.create, {}) == {"c": "invalid"}


def test_what_the_provider_has_and_cannot_be_read_is_replaced() -> None:
    lens = Mapping(Field("a", "a", integer()), FirstOf("b", "b", integer()), Split("c", ("c", "d")))
    assert lens.put({"a": "x", "b": ["x", 2], "c": 5}, {"a": 1, "b": 2, "c": "e f"}) == {
        "a": 1,
        "b": [2, 2],
        "c": "e",
        "d": "f",
    }


def test_a_computed_value_that_could_not_be_read_before_is_sent() -> None:
    lens = Mapping(Field("a", "a", integer()), Computed("b", lambda view: view["a"] + 1, direction="push"))
    assert lens.put({"a": "x"}, {"a": 1}) == {"a": 1, "b": 2}
    assert lens.put({"a": 1}, {"a": 1}) == {"a": 1}


def test_an_entry_of_a_list_is_found_by_its_members() -> None:
    lens = Mapping(FirstOf("email", "emails", item="value", where={"primary": True}, new={"label": "work"}))
    home, work = {"value": "h", "primary": False}, {"value": "w", "primary": True, "id": 3}
    assert lens.get({"emails": [home, work]}) == {"email": "w"}
    assert lens.put({"emails": [home, work]}, {"email": "x"}) == {"emails": [home, {**work, "value": "x"}]}
    assert lens.put({"emails": [home, work]}, {"email": None}) == {"emails": [home]}
    assert lens.put({"emails": [work, work]}, {"email": None}) == {"emails": [{**work, "value": None}, work]}
    assert lens.put({"emails": [home]}, {"email": "x"}) == {
        "emails": [{"label": "work", "primary": True, "value": "x"}, home]
    }


def test_taking_away_the_first_of_several_does_not_move_the_next_up() -> None:
    lens = Mapping(FirstOf("phone", "phones"))
    assert lens.put({"phones": ["1", "2"]}, {"phone": None}) == {"phones": [None, "2"]}
    assert lens.put({"phones": ["1"]}, {"phone": None}) == {"phones": []}
    lens = Mapping(FirstOf("phone", "phones", item="n"))
    assert lens.put({"phones": [{"n": "1"}, {"n": "2"}]}, {"phone": None}) == {"phones": [{"n": None}, {"n": "2"}]}


def test_a_line_in_a_list_makes_the_entries_before_it() -> None:
    lens = Mapping(Field("second", "lines[1].text"), Field("cell", "rows[0][1].x"))
    assert lens.create({"second": "b", "cell": 1}) == {"lines": [{}, {"text": "b"}], "rows": [[{}, {"x": 1}]]}
    assert lens.put({"lines": [{"text": "a"}, {"text": "b", "n": 1}]}, {}) == {"lines": [{"text": "a"}, {"n": 1}]}
    assert lens.put({"lines": [None, None]}, {"second": "b"}) == {"lines": [None, {"text": "b"}]}
    assert lens.get({"lines": [{"text": "a"}]}) == {}


def test_a_container_of_the_wrong_kind_is_told_not_broken() -> None:
    lens = Mapping(Field("a", "x.a"), Field("b", "y[0].b"), Field("c", "z.z.c"))
    record: dict[str, Any] = {"x": "text", "y": {"b": 1}, "z": {"z": [1]}}
    assert errors_of(lens.get, record) == {"x.a": "type", "y[0].b": "type", "z.z.c": "type"}
    assert errors_of(lens.put, record, {"a": 1, "b": 1, "c": 1}) == {"a": "type", "b": "type", "c": "type"}


def test_a_null_container_has_nothing_in_it() -> None:
    lens = Mapping(Field("a", "x.a"), Field("b", "y.y.b"))
    record = {"x": None, "y": {"y": None}}
    assert lens.get(record) == {}
    assert lens.put(record, {}) == record
    assert lens.put(record, {"a": 1, "b": None}) == {"x": {"a": 1}, "y": {"y": {"b": None}}}


def test_other_mappings_than_dicts_are_taken() -> None:
    record, view = MappingProxyType({"properties": {"email": "A"}}), MappingProxyType({"email": "b"})
    assert CONTACT.get(record)["email"] == "a"
    assert CONTACT.put(record, view)["properties"] == {"email": "b"}
    assert CONTACT.create(view)["properties"]["email"] == "b"


def test_what_passes_through_goes_both_ways() -> None:
    lens = Mapping(Field("email", "data.email"), passthrough=True)
    assert lens.get({"data": {"email": "a", "x": 1}, "extra": 2}) == {"email": "a", "extra": 2}
    assert lens.put({"data": {"email": "a", "x": 1}, "extra": 2, "old": 3}, {"email": "b", "extra": 4}) == {
        "data": {"email": "b", "x": 1},
        "extra": 4,
    }
    assert lens.update({"extra": 5}) == {"extra": 5}
    assert lens.canon({"extra": 5}) == {"extra": 5}
    # A name that the provider uses for something mapped is no way round the mapping.
    assert errors_of(lens.create, {"data": {"email": SECRET}}) == {"data": "unknown_field"}
    # What has the name of a field of the view cannot pass, and stays.
    assert lens.get({"email": "not mapped"}) == {}
    assert lens.put({"email": "not mapped"}, {"email": "a"}) == {"email": "not mapped", "data": {"email": "a"}}


def test_fields_that_the_provider_changed_can_be_left_out() -> None:
    lens = Mapping(
        Field("email", "data.email"),
        Field("city", "address.city"),
        Field("seen", "address", direction="pull"),
        Field("name", "name"),
        passthrough=True,
    )
    less = lens.without(["data.email", "address", "new"]).without(["newer.part"])
    record = {"data": {"email": "a"}, "address": {"city": "b"}, "name": "c", "new": 1, "newer": 2, "other": 3}
    assert less.get(record) == {"name": "c", "other": 3}
    assert less.put(record, {"name": "d", "other": 3}) == {**record, "name": "d"}
    assert errors_of(less.create, {"new": 1}) == {"new": "unknown_field"}
    assert lens.get(record)["email"] == "a"


def test_references_and_match_keys_are_known() -> None:
    assert CONTACT.refs == {"company_id": "companies"}
    assert CONTACT.match_keys == {"email": "properties.email"}
    assert "addresses[0].street" in CONTACT.paths
    assert Mapping(Ref("owner", "owner", record_id(), resource="users")).get({"owner": "u1"}) == {"owner": "u1"}


def test_a_mapping_checks_at_submit_if_it_is_eager() -> None:
    line = Field("a", "a", text())
    with pytest.raises(InvalidFields) as caught:
        Mapping(line).check_at_submit({"a": 5}, Kind.UPDATE, "operations[3].fields")
    assert caught.value.path == "operations[3].fields"
    Mapping(line).check_at_submit({"a": "5"}, Kind.UPDATE, "fields")
    Mapping(line, eager=False).check_at_submit({"a": 5}, Kind.UPDATE, "fields")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([Field("a", "x"), Field("a", "y")], "name 'a'"),
        ([Field("a", "x"), Field("b", "x.y")], "overlap"),
        ([Field("a", "x[0].y"), FirstOf("b", "x")], "overlap"),
        ([Field("a", "x[0]")], "end with a name"),
        ([Field("a", "[0].x")], "begin and end with a name"),
        ([Field("a", "")], "begin and end"),
        ([Field("a", "x..y")], "character 1"),
        ([Field("a", ".x")], "character 0"),
        ([Field("a", "x", integer(), default="5")], "default of field 'a'"),
        ([FirstOf("a", "x", where={"b": 1})], "need `item`"),
        ([Join(("a",), "x")], "at least two"),
    ],
)
def test_lines_that_make_no_sense_are_refused(lines: list[Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Mapping(*lines)


def test_directions_are_checked() -> None:
    with pytest.raises(ValueError, match="direction"):
        Field("a", "a", direction="up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="direction"):
        Computed("a", len, direction="both")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_what_is_only_read_may_lie_where_something_is_written() -> None:
    lens = Mapping(Field("a", "x.y"), Field("all", "x", direction="pull"))
    assert lens.get({"x": {"y": 1, "z": 2}}) == {"a": 1, "all": {"y": 1, "z": 2}}


@pytest.mark.parametrize("path", ["a", "a.b", "a[0].b", "a['b.c'].d", "a[0][12].b", "a['b[c]']", 'a["b.c\'s"]'])
def test_a_path_is_shown_as_it_is_written(path: str) -> None:
    assert show(parse_path(path)) == path


def test_a_quoted_name_may_have_a_dot() -> None:
    assert parse_path('a["b.c"]') == ("a", "b.c")


def test_an_update_with_a_blank_value_clears_the_list() -> None:
    lens = Mapping(FirstOf("phone", "phones", blank_is_none(text()), item="n", replaces=True))
    assert lens.update({"phone": " "}) == lens.update({"phone": None}) == {"phones": []}
    required = Mapping(FirstOf("phone", "phones", blank_is_none(text()), required=True, replaces=True))
    assert errors_of(required.update, {"phone": " "}) == {"phone": "required"}


def test_pieces_with_a_separator_between_them() -> None:
    lens = Mapping(Join(("city", "region"), "place", separated("/", 2)))
    assert lens.get({"place": " Zug/ZG / CH"}) == {"city": "Zug", "region": "ZG / CH"}
    assert lens.create({"city": " Zug ", "region": None}) == {"place": "Zug"}
    assert lens.create({"city": None, "region": "ZG"}) == {"place": "/ ZG"}
    assert lens.get({"place": "/ ZG"}) == {"city": None, "region": "ZG"}
    assert errors_of(lens.create, {"city": 5}) == {"city, region": "type"}


def test_a_refusal_of_a_codec_of_the_hosts_is_told_in_its_words() -> None:
    def odd(value: Any) -> Any:
        if value % 2:
            return value
        raise Refused("even", "must be odd", value)

    lens = Mapping(Field("a", "a", Codec(odd, odd, odd)), Field("b", "b", items(Codec(odd, odd, odd))))
    assert errors_of(lens.create, {"a": 2, "b": [1, 3, 4]}) == {"a": "even", "b[2]": "even"}


def test_a_default_is_in_canonical_form() -> None:
    lens = Mapping(Field("a", "a", decimal(2), default=1), Field("b", "b", choice("xy"), default=None))
    assert lens.get({}) == {"a": "1.00", "b": None}
    assert lens.put({}, {"a": "1", "b": None}) == {}
    assert lens.create({}) == {"a": "1.00", "b": None}


def test_an_operation_can_carry_every_view() -> None:
    view = CONTACT.get({"properties": {"amount": "5"}, "meta": {"seen": {"at": "2026-01-31T09:30:00Z"}}})
    assert Operation.update("acme", "contacts", "1", view).fields["seen_at"] == "2026-01-31T09:30:00Z"
