"""Queries of the Salesforce of the tests: a part of SOQL, read as its reference describes it.

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from attrs import define, field

from tests.servers.salesforce_org import Org, Refused, Row, schema

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\\n]|\\.)*')|(?P<instant>\d{4}-\d\d-\d\dT[\d:.]+Z)|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z]\w*(?:\(ALL\))?)|(?P<mark>>=|<=|!=|[=<>(),]))"
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
Test = Callable[[Row], bool]


def malformed(what: str) -> Refused:
    return Refused("MALFORMED_QUERY", what)


def id_order(identity: str) -> str:
    """How ids are ordered: not as Python orders text, since no document says that Salesforce would."""
    return identity.swapcase()


@define
class Query:
    """A query, as far as it has been read."""

    tokens: list[tuple[str, str]]
    kind: str = ""
    fields: list[str] | None = None
    """None: all of them."""
    test: Test = field(default=lambda _: True)
    order: list[str] = field(factory=list[str])
    limit: int | None = None

    @classmethod
    def read(cls, text: str) -> Query:
        """The query of a text."""
        tokens, place = list[tuple[str, str]](), 0
        text = text.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise malformed("unexpected token")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        query = cls(tokens)
        query._select()
        return query

    def run(self, org: Org, *, deleted: bool) -> list[Row]:
        """The records that it finds."""
        rows = [
            row
            for row in org.rows.values()
            if row.type == self.kind and row.shown_at <= org.now and (deleted or not row.is_deleted) and self.test(row)
        ]
        for name in reversed(self.order):
            rows.sort(key=partial(_place, name))
        return rows[: self.limit]

    def _select(self) -> None:
        self._expect("SELECT")
        names = [self._word()]
        while self._take(","):
            names.append(self._word())
        self._expect("FROM")
        self.kind = self._word()
        known = schema(self.kind)
        if names == ["FIELDS(ALL)"]:
            self.fields = None
        else:
            if len(set(names)) < len(names):
                raise malformed("duplicate field selected")
            self.fields = names
            for name in names:
                self._check(name, known)
        if self._take("WHERE"):
            self.test = self._either(known)
        if self._take("ORDER"):
            self._order(known)
        if self._take("LIMIT"):
            self.limit = int(self._next("number"))
        if self.tokens:
            raise malformed("unexpected token after the query")
        if self.fields is None and (self.limit is None or self.limit > 200):
            raise malformed("The SOQL FIELDS function must have a LIMIT of at most 200")

    def _order(self, known: dict[str, Any]) -> None:
        self._expect("BY")
        while True:
            name = self._word()
            self._check(name, known)
            self.order.append(name)
            self._take("ASC")
            if not self._take(","):
                return

    def _either(self, known: dict[str, Any]) -> Test:
        tests = [self._both(known)]
        while self._take("OR"):
            tests.append(self._both(known))
        return lambda row: any(test(row) for test in tests)

    def _both(self, known: dict[str, Any]) -> Test:
        tests = [self._one(known)]
        while self._take("AND"):
            tests.append(self._one(known))
        return lambda row: all(test(row) for test in tests)

    def _one(self, known: dict[str, Any]) -> Test:
        if self._take("("):
            test = self._either(known)
            self._expect(")")
            return test
        name = self._word()
        self._check(name, known)
        kind = known[name]["type"]
        if self._take("IN"):
            self._expect("(")
            values = [self._value(name, kind)]
            while self._take(","):
                values.append(self._value(name, kind))
            self._expect(")")
            return lambda row: any(_same(value_of(row, name), value) for value in values)
        operator, value = self._next("mark"), self._value(name, kind)
        if name == "Id":
            return _compared(operator, lambda row: id_order(row.id), id_order(value))
        return _compared(operator, lambda row: value_of(row, name), value)

    def _value(self, name: str, kind: str) -> Any:
        if not self.tokens:
            raise malformed("unexpected end")
        group, text = self.tokens.pop(0)
        is_quoted = group == "text"
        is_instant = kind == "datetime"
        if is_quoted and (is_instant or kind in {"int", "double", "currency", "percent", "boolean"}):
            message = f"value of filter criterion for field '{name}' must be of type {kind} and not in quotes"
            raise Refused("INVALID_FIELD", message)
        if is_instant and group == "instant":
            return datetime.fromisoformat(text)
        if not is_quoted:
            raise malformed("a value of another kind was expected")
        value = unescaped(text[1:-1])
        if kind in {"id", "reference"} and not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", value):
            raise Refused("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {value}")
        return value

    def _check(self, name: str, known: dict[str, Any]) -> None:
        if name not in known:
            raise Refused("INVALID_FIELD", f"No such column '{name}' on entity '{self.kind}'")

    def _next(self, group: str) -> str:
        if not self.tokens or self.tokens[0][0] != group:
            raise malformed(f"a {group} was expected")
        return self.tokens.pop(0)[1]

    def _word(self) -> str:
        return self._next("word")

    def _take(self, text: str) -> bool:
        if self.tokens and self.tokens[0][0] != "text" and self.tokens[0][1].upper() == text:
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise malformed(f"{text} was expected")


def unescaped(text: str) -> str:
    """What a text in quotes means."""

    def meant(match: re.Match[str]) -> str:
        if len(match[1]) > 1:
            return chr(int(match[1][1:], 16))
        if match[1] not in _ESCAPES:
            raise malformed("Invalid string literal: illegal escape sequence")
        return _ESCAPES[match[1]]

    return _ESCAPE.sub(meant, text)


def value_of(row: Row, name: str) -> Any:
    """The value to compare: instants as such."""
    value = row.shown()[name]
    return datetime.fromisoformat(value) if schema(row.type)[name]["type"] == "datetime" else value


def _place(name: str, row: Row) -> str:
    return id_order(row.id) if name == "Id" else str(value_of(row, name))


def _same(held: Any, value: Any) -> bool:
    # An empty text means null.
    if value == "" or held is None:
        return value == "" and held is None
    if re.fullmatch(r"[A-Za-z0-9]{18}", str(held)):
        return str(held)[:15] == str(value)[:15]
    return str(held).casefold() == str(value).casefold()


def _compared(operator: str, left: Callable[[Row], Any], right: Any) -> Test:
    match operator:
        case ">=":
            return lambda row: left(row) >= right
        case ">":
            return lambda row: left(row) > right
        case "=":
            return lambda row: left(row) == right
        case _:
            raise malformed("an operator that is not read here")
