"""Marked credentials, and how to find them wherever they show and however they are spelt."""

from __future__ import annotations

import html
import json
import pickle
import pprint
import re
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote, quote_plus

import attrs
import cattrs

from ratesync import Secret

MARK = "canary_0123456789"
"""Looks like an error's code, and so is let through wherever one is."""
ODD = 'canary<&"/+>0123456789'
"""Every encoding changes it. It can stand in a header."""

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "quote": lambda text: quote(text, safe=""),
    "quote_plus": lambda text: quote_plus(text, safe="/"),
    "percent": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON of digits": lambda text: re.sub(".", lambda mark: f"\\u{ord(mark[0]):04x}", text),
    "HTML": html.escape,
    "HTML of digits": lambda text: "".join(f"&#{ord(mark)};" for mark in text),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
    "base64 of a pair": lambda text: b64encode(f"ada:{text}".encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "quoted HTML": lambda text: quote(html.escape(text), safe=""),
}
"""How a provider may repeat a credential."""


def mark(name: str, mark: str = MARK) -> str:
    """A credential that is marked."""
    return f"{name}.{mark}"


def _traces() -> Iterator[str]:
    for text in (MARK, ODD):
        yield from (spell(text) for name, spell in SPELLINGS.items() if not name.startswith("base64"))
        for before in ("", "a", "ab"):
            # The digits whose bits are the mark's alone, wherever the mark stands.
            for encode in (b64encode, urlsafe_b64encode):
                yield encode((before + text).encode()).decode().rstrip("=")[4 if before else 0 : -3]


_TRACE = re.compile("|".join(map(re.escape, sorted(set(_traces()), key=len, reverse=True))))


def leaks_in(text: str) -> list[str]:
    """The traces of marked credentials in a text."""
    return _TRACE.findall(text)


def told_by(error: BaseException | None, seen: set[int] | None = None) -> Iterator[str]:
    """All that an exception says, and those that it came from, also those that a traceback leaves out."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield f"{error!r} {error!s} {error.args!r} {vars(error)!r} {getattr(error, '__notes__', '')!r}"
    yield "".join(traceback.format_exception(error))
    with suppress(Exception):
        yield pickle.dumps(error).decode("latin-1")
    yield from told_by(error.__cause__, seen)
    yield from told_by(error.__context__, seen)
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from told_by(each, seen)


def told_of(value: object) -> str:
    """All that a value says of itself: to a print, a log, a debugger, a serialiser."""
    said = [f"{value!r} {value!s} {value}", pprint.pformat([value]), json.dumps([value], default=str)]
    said += [repr(part) for part in _parts(value, set())]
    for take_apart in (lambda: attrs.asdict(cast("Any", value)), lambda: cattrs.unstructure(value)):
        with suppress(Exception):
            said.append(repr(take_apart()))
    try:
        said.append(pickle.dumps(value).decode("latin-1"))
    except Exception as error:  # noqa: BLE001  many things cannot be pickled: what is said about it
        said += told_by(error)
    return "\n".join(said)


def _parts(value: object, seen: set[int]) -> Iterator[object]:
    """What a debugger shows of a value of ours when it is opened, and of those in it. A secret stays closed."""
    if id(value) in seen or isinstance(value, Secret):
        return
    seen.add(id(value))
    if isinstance(value, str | bytes | int | float | None):
        yield value
    elif isinstance(value, dict):
        for name, part in cast("dict[object, object]", value).items():
            yield from (name, *_parts(part, seen))
    elif isinstance(value, list | tuple | set | frozenset):
        for part in cast("Iterable[object]", value):
            yield from _parts(part, seen)
    elif type(value).__module__.split(".")[0] in {"ratesync", "tests"}:
        yield repr(value)
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                yield from _parts(getattr(value, name, None), seen)
        yield from _parts(getattr(value, "__dict__", {}), seen)
    else:
        yield repr(value)
