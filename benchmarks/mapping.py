"""A contact of 20 fields through a mapping, beside a function written by hand and pydantic.

    python -m benchmarks.mapping [--quick] [--json]

Every measurement runs in a process of its own, in turn; figures are medians of the best of several rounds, in
microseconds of CPU for one record. All three read the same record of a provider, check and translate every field, and
write it again. "put" is what a sync does with a record that the other side has too: it keeps the provider's spelling.
"""

from __future__ import annotations

import datetime as dt
import gc
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from benchmarks._report import Report, main, measure_in_turn
from ratesync.mapping import Field
from ratesync.mapping import Mapping as Lens
from ratesync.mapping.codecs import boolean, choice, day, decimal, email, instant, integer, phone, text

CONTACTS = 1_000
"""Different records, as a lone one would be in every cache."""

BAR_US = 30.0
HAND_GET_US, HAND_CREATE_US = 5.4, 5.4
"""Microseconds that the function written by hand took on the machine for which the bar in microseconds was set.

By them the same bar is held as a ratio too, as the speed of one machine changes threefold from day to day.
"""

TEXTS = (
    *("first_name", "last_name", "job_title", "department", "street", "city", "state"),
    *("postal_code", "country", "language", "source", "note"),
)
STAGES = {"lead": "L", "customer": "C", "former": "F"}
NAMES = {spelt: name for name, spelt in STAGES.items()}


def records(count: int = CONTACTS) -> list[dict[str, Any]]:
    """Contacts as a provider has them: every value is text, as with HubSpot."""
    return [
        {
            "id": str(number),
            "properties": {
                **{f"p_{name}": f"{name} {number}" for name in TEXTS},
                "p_email": f"ada{number}@example.org",
                "p_phone": f"+4144668{number:04d}",
                "p_employees": str(number),
                "p_revenue": f"{number}.50",
                "p_active": "true",
                "p_stage": "LCF"[number % 3],
                "p_born": "1985-12-10",
                "p_seen_at": "2026-01-31T09:30:00.123Z",
            },
            "createdAt": "2026-01-01T00:00:00Z",
        }
        for number in range(count)
    ]


def mapping(*, libraries: bool) -> Lens:
    """The mapping; ``libraries``: with the codecs for e-mail addresses and telephone numbers instead of plain text."""
    return Lens(
        *(Field(name, f"properties.p_{name}", text(strip=True)) for name in TEXTS),
        Field("email", "properties.p_email", email() if libraries else text(strip=True, case="lower")),
        Field("phone", "properties.p_phone", phone("CH") if libraries else text(strip=True)),
        Field("employees", "properties.p_employees", integer(wire="text")),
        Field("revenue", "properties.p_revenue", decimal(2)),
        Field("active", "properties.p_active", boolean(true="true", false="false")),
        Field("stage", "properties.p_stage", choice(STAGES)),
        Field("born", "properties.p_born", day()),
        Field("seen_at", "properties.p_seen_at", instant()),
    )


def _text(properties: Mapping[str, Any], name: str) -> str:
    value = properties[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value.strip()


def read_by_hand(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a careful person would write, without missing values, without several mistakes at once."""
    properties = record["properties"]
    view: dict[str, Any] = {name: _text(properties, f"p_{name}") for name in TEXTS}
    view["email"] = _text(properties, "p_email").lower()
    view["phone"] = _text(properties, "p_phone")
    view["employees"] = int(_text(properties, "p_employees"))
    view["revenue"] = str(Decimal(_text(properties, "p_revenue")).quantize(Decimal("0.01")))
    view["active"] = {"true": True, "false": False}[properties["p_active"]]
    view["stage"] = NAMES[properties["p_stage"]]
    view["born"] = dt.date.fromisoformat(_text(properties, "p_born")).isoformat()
    seen_at = dt.datetime.fromisoformat(_text(properties, "p_seen_at"))
    view["seen_at"] = seen_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return view


def write_by_hand(view: Mapping[str, Any]) -> dict[str, Any]:
    """The way back, as careful."""
    properties: dict[str, Any] = {f"p_{name}": _text(view, name) for name in TEXTS}
    properties["p_email"] = _text(view, "email").lower()
    properties["p_phone"] = _text(view, "phone")
    properties["p_employees"] = str(int(view["employees"]))
    properties["p_revenue"] = str(Decimal(_text(view, "revenue")).quantize(Decimal("0.01")))
    properties["p_active"] = "true" if view["active"] else "false"
    properties["p_stage"] = STAGES[view["stage"]]
    properties["p_born"] = dt.date.fromisoformat(_text(view, "born")).isoformat()
    seen_at = dt.datetime.fromisoformat(_text(view, "seen_at"))
    properties["p_seen_at"] = seen_at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return {"properties": properties}


def _timed(function: Callable[[Any], Any], arguments: list[Any], quick: bool) -> float:
    """CPU in microseconds for one call: the best of several rounds over all arguments, as what disturbs only adds."""
    function(arguments[0])
    gc.collect()
    best = float("inf")
    for _ in range(3 if quick else 15):
        began = time.process_time()
        for argument in arguments:
            function(argument)
        best = min(best, time.process_time() - began)
    return best / len(arguments) * 1e6


def by_mapping(quick: bool) -> Mapping[str, float]:
    """The mapping."""
    return _both_ways(mapping(libraries=False), quick)


def by_mapping_with_libraries(quick: bool) -> Mapping[str, float]:
    """The mapping with e-mail addresses and telephone numbers by their libraries, which remember the last 2,048."""
    return _both_ways(mapping(libraries=True), quick)


def _both_ways(lens: Lens, quick: bool) -> Mapping[str, float]:
    sources = records()
    views = [lens.get(source) for source in sources]
    assert [lens.get(lens.create(view)) for view in views] == views
    assert all(lens.put(source, view) == source for source, view in zip(sources, views, strict=True))
    pairs = list(zip(sources, views, strict=True))
    return {
        "get_us": _timed(lens.get, sources, quick),
        "create_us": _timed(lens.create, views, quick),
        "put_us": _timed(lambda pair: lens.put(*pair), pairs, quick),
        "patch_us": _timed(lambda pair: lens.patch(*pair), pairs, quick),
    }


def by_mapping_first_seen(quick: bool) -> Mapping[str, float]:
    """The same when no address and no number was seen before: what the libraries take."""
    sources = records()
    views = [mapping(libraries=True).get(source) for source in sources]

    def first(method: str, arguments: list[Any]) -> float:
        best = float("inf")
        for _ in range(1 if quick else 5):
            call = getattr(mapping(libraries=True), method)
            began = time.process_time()
            for argument in arguments:
                call(argument)
            best = min(best, time.process_time() - began)
        return best / len(arguments) * 1e6

    return {"get_us": first("get", sources), "create_us": first("create", views)}


def by_hand(quick: bool) -> Mapping[str, float]:
    """Two functions that do the same, written by hand."""
    sources = records()
    views = [read_by_hand(source) for source in sources]
    lens = mapping(libraries=False)
    assert views[0] | {"seen_at": ""} == lens.get(sources[0]) | {"seen_at": ""}
    return {"get_us": _timed(read_by_hand, sources, quick), "create_us": _timed(write_by_hand, views, quick)}


def by_pydantic(quick: bool) -> Mapping[str, float]:
    """Pydantic: a model of the provider's record, validated and dumped. It renames fields, but not their values."""
    import pydantic

    stripped = pydantic.StringConstraints(strip_whitespace=True)
    fields: dict[str, Any] = {name: (_annotated(str, stripped), _alias(name)) for name in TEXTS}
    fields |= {
        "email": (_annotated(str, pydantic.StringConstraints(strip_whitespace=True, to_lower=True)), _alias("email")),
        "phone": (_annotated(str, stripped), _alias("phone")),
        "employees": (int, _alias("employees")),
        "revenue": (_annotated(Decimal, pydantic.Field(decimal_places=2)), _alias("revenue")),
        "active": (bool, _alias("active")),
        "stage": (_annotated(str, pydantic.StringConstraints(pattern="^[LCF]$")), _alias("stage")),
        "born": (dt.date, _alias("born")),
        "seen_at": (dt.datetime, _alias("seen_at")),
    }
    properties = pydantic.create_model("Properties", **fields)
    record = pydantic.create_model("Record", id=(str, ...), properties=(properties, ...))
    sources = records()
    models = [record.model_validate(source) for source in sources]
    return {
        "get_us": _timed(record.model_validate, sources, quick),
        "create_us": _timed(lambda model: model.model_dump(mode="json", by_alias=True), models, quick),
    }


def _annotated(kind: Any, constraint: Any) -> Any:
    from typing import Annotated

    return Annotated[kind, constraint]


def _alias(name: str) -> Any:
    import pydantic

    return pydantic.Field(alias=f"p_{name}")


MEASUREMENTS = {
    function.__name__: function
    for function in (by_mapping, by_mapping_with_libraries, by_mapping_first_seen, by_hand, by_pydantic)
}


def judge(quick: bool) -> Report:
    """Measure everything and hold it against the bars."""
    report = Report("mapping", quick)
    enter(report, quick)
    return report


def enter(report: Report, quick: bool) -> None:
    """Measure mappings, for a report that may be about more."""
    found = measure_in_turn("benchmarks.mapping", list(MEASUREMENTS), rounds=1 if quick else 5, quick=quick)
    for name in MEASUREMENTS:
        report.figures |= {f"{name} {figure}": value for figure, value in found[name].items()}
    for name in ("by_mapping", "by_mapping_with_libraries"):
        report.at_most(f"{name}: microseconds to read a contact", found[name]["get_us"], BAR_US)
        report.at_most(f"{name}: microseconds to write a new one", found[name]["create_us"], BAR_US)
        report.at_most(f"{name}: microseconds to write over one", found[name]["put_us"], BAR_US)
    hand = found["by_hand"]
    for figure, on_reference in (("get_us", HAND_GET_US), ("create_us", HAND_CREATE_US)):
        ratio = found["by_mapping_with_libraries"][figure] / hand[figure]
        report.at_most(f"{figure}: mapping / function by hand", ratio, BAR_US / on_reference)
    report.notes.append("first_seen has no bar: phonenumbers takes most of it, and a number is read once")


if __name__ == "__main__":
    raise SystemExit(main(MEASUREMENTS, judge))
