"""The ways in which a text can repeat another: escaped for a URL, JSON or HTML, or in base64 or hexadecimal."""

from __future__ import annotations

import binascii
import html
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

_DEEPEST = 3
"""Escapes within each other that are undone: HTML around JSON around a URL."""
_WIDTH = 4
"""Digits of base64 that stand for whole bytes; a run of them may begin at any of so many places."""


@frozen
class Spelling:
    """A text with escapes undone, in UTF-8. Of each byte it is known which characters of the text it stands for."""

    data: bytes
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, text: str) -> Spelling:
        """The text as it is."""
        data = text.encode("utf-8", "surrogatepass")
        if len(data) == len(text):
            return cls(data, range(len(text)), range(1, len(text) + 1))
        places = [place for place, mark in enumerate(text) for _ in mark.encode("utf-8", "surrogatepass")]
        return cls(data, places, [place + 1 for place in places])

    @property
    def text(self) -> str:
        """It as text."""
        return self.data.decode("utf-8", "replace")

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the bytes from ``start`` to ``end`` come from."""
        return self.starts[start], self.ends[end - 1]

    def undone(self, escape: re.Pattern[bytes], undo: Callable[[bytes], bytes]) -> Spelling:
        """The spelling with every escape of one kind undone."""
        data, starts, ends = bytearray(), list[int](), list[int]()
        done = 0
        for found in escape.finditer(self.data):
            plain = undo(found[0])
            start, end = self.span(*found.span())
            data += self.data[done : found.start()] + plain
            starts += [*self.starts[done : found.start()], *[start] * len(plain)]
            ends += [*self.ends[done : found.start()], *[end] * len(plain)]
            done = found.end()
        return Spelling(bytes(data) + self.data[done:], [*starts, *self.starts[done:]], [*ends, *self.ends[done:]])


def spellings(text: str) -> Iterator[Spelling]:
    """The text as it is, and with escapes undone, in every order of them that makes a difference."""
    layer = [Spelling.of(text)]
    known = {layer[0].data}
    for _ in range(_DEEPEST):
        yield from layer
        deeper: list[Spelling] = []
        for spelling in layer:
            for mark, escape, undo in _ESCAPES:
                if mark in spelling.data and (found := spelling.undone(escape, undo)).data not in known:
                    known.add(found.data)
                    deeper.append(found)
        layer = deeper
    yield from layer


def encoded_runs(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Every run of digits of base64 or hexadecimal: where it begins and ends, and bytes that it may stand for.

    As nobody knows where in a run the bytes begin, it comes several times. Escapes in those bytes are undone too: a
    user's name and password are escaped before they are put into base64 (RFC 6749, section 2.3.1).
    """
    for run in _BASE64.finditer(data):
        digits = _LINE_END.sub(b"", run[0]).rstrip(b"=").translate(_STANDARD)
        for start in range(_WIDTH):
            yield from _read(run, _base64(digits[start:]))
    for run in _HEX.finditer(data):
        for start in (0, 1):
            yield from _read(run, binascii.unhexlify(run[0][start : start + (len(run[0]) - start) // 2 * 2]))


def unfolded(text: str) -> str | None:
    """What the text stands for if it is base64 of a text; None if not."""
    digits = text.encode("utf-8", "surrogatepass")
    if not _DIGITS.fullmatch(digits):
        return None
    plain = _base64(digits.rstrip(b"=").translate(_STANDARD)).decode("utf-8", "replace")
    return plain if plain.isprintable() and "\ufffd" not in plain else None


def _read(run: re.Match[bytes], plain: bytes) -> Iterator[tuple[int, int, bytes]]:
    yield run.start(), run.end(), plain
    for mark, escape, undo in _ESCAPES:
        if mark in plain:
            yield run.start(), run.end(), escape.sub(_whole(undo), plain)


def _whole(undo: Callable[[bytes], bytes]) -> Callable[[re.Match[bytes]], bytes]:
    return lambda found: undo(found[0])


def _base64(digits: bytes) -> bytes:
    usable = digits if len(digits) % _WIDTH != 1 else digits[:-1]
    return b64decode(usable + b"=" * (-len(usable) % _WIDTH))


def _percent(escape: bytes) -> bytes:
    return bytes.fromhex(escape[1:].decode())


def _json(escape: bytes) -> bytes:
    if escape[1:2] != b"u":
        return _SHORT[escape[1:]]
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _html(escape: bytes) -> bytes:
    return html.unescape(escape.decode()).encode("utf-8", "surrogatepass")


_SHORT = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_ESCAPES: tuple[tuple[bytes, re.Pattern[bytes], Callable[[bytes], bytes]], ...] = (
    (b"%", re.compile(rb"%[0-9A-Fa-f]{2}"), _percent),
    (b"\\", re.compile(rb'(?:\\u[0-9A-Fa-f]{4})+|\\["\\/bfnrt]'), _json),
    (b"&", re.compile(rb"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});?"), _html),
)
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-](?:\r?\n)?){10,}[A-Za-z0-9+/_-]={0,2}")
_DIGITS = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_HEX = re.compile(rb"(?<![0-9A-Fa-f])[0-9A-Fa-f]{16,}")
_LINE_END = re.compile(rb"\r?\n")
_STANDARD = bytes.maketrans(b"-_", b"+/")
