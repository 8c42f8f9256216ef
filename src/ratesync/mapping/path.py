"""Places in nested data, such as ``properties.email`` or ``emails[0].value``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from ratesync.errors import ConfigurationError
from ratesync.mapping.field_error import Refused
from ratesync.mapping.missing import MISSING

Path = tuple[str | int, ...]
"""Keys of objects and indexes of lists, from the outermost."""
Tree: TypeAlias = "dict[str | int, Tree]"
"""Paths that share their beginnings."""

Fetch = Callable[[Any], Any]
Store = Callable[[Any, Any], None]
Remove = Callable[[Any], None]

_PLAIN = re.compile(r"[^.\[\]]+")
_TOKEN = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d{1,3})\]|\[(?P<quote>['\"])(?P<quoted>.+?)(?P=quote)\]")


def parse_path(text: str) -> Path:
    """Read a path. ``["a.b"]`` is a name with a dot in it.

    :raises ConfigurationError: it is no path, or ends with an index.
    """
    path: list[str | int] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or (at == 0 and token[0].startswith(".")):
            raise ConfigurationError(f"path {text!r} makes no sense at character {at}: write it like a.b[0].c")
        path.append(int(token["index"]) if token["index"] else token["quoted"] or token["name"])
        at = token.end()
    if not path or isinstance(path[0], int) or isinstance(path[-1], int):
        raise ConfigurationError(f"path {text!r} must begin and end with a name: for a list use FirstOf or items()")
    return tuple(path)


def show(path: Path) -> str:
    """The path as text, which :func:`parse_path` reads."""
    return "".join(map(_shown, path)).removeprefix(".")


def _shown(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if _PLAIN.fullmatch(part):
        return f".{part}"
    quote = '"' if "'" in part else "'"
    return f"[{quote}{part}{quote}]"


def fetcher(path: Path) -> Fetch:
    """A function that gives what is at a place, MISSING if nothing is there."""
    if len(path) == 1:
        (name,) = path
        return lambda record: record.get(name, MISSING)
    if len(path) == 2 and isinstance(path[1], str):  # noqa: PLR2004  the usual depth, made quick
        outer, inner = path

        def fetch_pair(record: Any) -> Any:
            held = record.get(outer)
            if held.__class__ is dict:
                return held.get(inner, MISSING)
            return MISSING if held is None else _fetch(record, path)

        return fetch_pair
    return lambda record: _fetch(record, path)


def _fetch(record: Any, path: Path) -> Any:
    held = record
    for depth, part in enumerate(path):
        if held is None:
            return MISSING
        _check_container(held, part, path[:depth])
        if isinstance(part, int) and part >= len(held):
            return MISSING
        held = held[part] if isinstance(part, int) else held.get(part, MISSING)
        if held is MISSING:
            return MISSING
    return held


def _check_container(held: object, part: str | int, path: Path) -> None:
    if isinstance(held, list if isinstance(part, int) else Mapping):
        return
    expected = "a list" if isinstance(part, int) else "an object"
    raise Refused("type", f"{show(path)} must be {expected}", held)


def storer(path: Path) -> Store:
    """A function that puts a value at a place, with the objects and lists around it where they are not there.

    The path must end with a name.
    """
    *outer, last = path
    if not outer:

        def store_flat(record: Any, value: Any) -> None:
            record[last] = value

        return store_flat

    def store(record: Any, value: Any) -> None:
        held = record
        for depth, part in enumerate(outer):
            held = _enter(held, part, path[depth + 1], path[:depth])
        _check_container(held, last, tuple(outer))
        held[last] = value

    if len(path) != 2:  # noqa: PLR2004  the usual depth, made quick
        return store
    outermost, inner = path

    def store_pair(record: Any, value: Any) -> None:
        held = record.get(outermost)
        if held.__class__ is dict:
            held[inner] = value
        else:
            store(record, value)

    return store_pair


def _enter(held: Any, part: str | int, following: str | int, path: Path) -> Any:
    """The container at ``part``, made if it is not there."""
    _check_container(held, part, path)
    if isinstance(part, int):
        # A list that is too short is filled up with empty objects, in which every field is missing.
        held.extend([] if isinstance(following, int) else {} for _ in range(part + 1 - len(held)))
    elif held.get(part) is None:
        held[part] = [] if isinstance(following, int) else {}
    if held[part] is None:
        held[part] = [] if isinstance(following, int) else {}
    return held[part]


def remover(path: Path) -> Remove:
    """A function that takes away what is at a place, and nothing around it."""
    *outer, last = path
    fetch = fetcher(tuple(outer)) if outer else None

    def remove(record: Any) -> None:
        held = record if fetch is None else fetch(record)
        if isinstance(held, dict):
            cast("dict[object, object]", held).pop(last, None)

    return remove


def tree_of(paths: Iterable[Path]) -> Tree:
    """The containers that paths lead through."""
    tree: Tree = {}
    for path in paths:
        branch = tree
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
    return tree


def copy_along(record: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    """A copy that shares with the original what lies outside the tree, so that writing along its paths is safe."""
    return cast("dict[str, Any]", _copy(dict(record), tree))


def _copy(fresh: Any, tree: Tree) -> Any:
    """Copy what the tree leads through below ``fresh``, which is a copy already."""
    for part, branch in tree.items():
        held = _held(fresh, part)
        if held is not None:
            fresh[part] = _copy(held.copy(), branch)
    return fresh


def _held(container: Any, part: str | int) -> Any:
    """The object or list at a place, None if there is none."""
    if isinstance(part, int):
        entries = cast("list[object]", container) if isinstance(container, list) else []
        held = entries[part] if part < len(entries) else None
    else:
        held = cast("dict[str, object]", container).get(part) if isinstance(container, dict) else None
    return cast("Any", held) if isinstance(held, (dict, list)) else None
