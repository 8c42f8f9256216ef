"""What goes over a connection to a Redis: commands as bytes, and answers again (RESP 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

END = b"\r\n"
_ERROR, _INTEGER, _BULK, _ARRAY, _SIMPLE = b"-:$*+"


class ReplyError(Exception):
    """The server's answer is an error; the text begins with its code."""


class Garbled(Exception):
    """What came is no answer of a Redis."""


class Words:
    """Some words of a command that are said again and again, as bytes already."""

    __slots__ = ("data", "words")

    def __init__(self, *words: Word) -> None:
        self.words = words
        whole = packed(words)
        self.data = whole[whole.index(END) + len(END) :]


Word: TypeAlias = str | bytes | int | float
Argument: TypeAlias = Word | Words


def packed(arguments: Sequence[Argument]) -> bytes:
    """A command."""
    parts = [b""]
    count = len(arguments)
    for word in arguments:
        if isinstance(word, bytes):
            told = word
        elif isinstance(word, str):
            told = word.encode()
        elif isinstance(word, Words):
            parts.append(word.data)
            count += len(word.words) - 1
            continue
        else:
            told = repr(word).encode()
        size = len(told)
        parts += (_HEADS[size] if size < _MANY else b"$%d\r\n" % size, told, END)
    parts[0] = b"*%d\r\n" % count
    return b"".join(parts)


def unpacked(arguments: Sequence[Argument]) -> list[str | bytes | int]:
    """The words one by one, for a client that packs them itself."""
    words: list[Word] = []
    for word in arguments:
        words += word.words if isinstance(word, Words) else (word,)
    return [repr(word) if isinstance(word, float) else word for word in words]


class Answers:
    """Takes bytes as they come, and gives the answers that are complete. Texts in them are bytes, errors are values."""

    __slots__ = ("_at", "_data", "_open")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._open: list[tuple[list[Any], int]] = []
        """Arrays of which something is missing, each with its length."""

    def feed(self, data: bytes) -> None:
        """There is more."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def __iter__(self) -> Answers:
        return self

    def __next__(self) -> Any:
        """The next answer.

        :raises Garbled: this is none.
        """
        while True:
            end = self._data.find(END, self._at)
            if end < 0:
                raise StopIteration
            kind = self._data[self._at]
            text = self._data[self._at + 1 : end]
            if kind == _ARRAY and (size := _number(text)) > 0:
                self._at = end + 2
                self._open.append(([], size))
                self._take_texts()
                continue
            value = self._whole(kind, text, end + 2)
            while self._open:
                array, size = self._open[-1]
                array.append(value)
                if len(array) < size:
                    self._take_texts()
                    break
                self._open.pop()
                value = array
            else:
                return value

    def _whole(self, kind: int, text: bytes, at: int) -> Any:
        """The value that begins so, and goes on there."""
        value: Any = text
        if kind == _BULK:
            size = _number(text)
            if size >= 0:
                end = at + size
                if len(self._data) < end + 2:
                    raise StopIteration
                value, at = self._data[at:end], end + 2
            else:
                value = None
        elif kind == _INTEGER:
            value = _number(text)
        elif kind == _ARRAY:
            value = [] if text == b"0" else None
        elif kind == _ERROR:
            value = ReplyError(text.decode(errors="replace"))
        elif kind != _SIMPLE:
            raise Garbled(f"an answer begins with {bytes([kind])!r}")
        self._at = at
        return value

    def _take_texts(self) -> None:
        """The texts that come next in the innermost array, all but its last value: most of what comes."""
        data, at = self._data, self._at
        find, sizes = data.find, _SIZES
        array, size = self._open[-1]
        take = array.append
        for _ in range(size - len(array) - 1):
            end = find(END, at)
            length = sizes.get(data[at:end]) if end > 0 else None
            if length is None or len(data) < end + 4 + length:
                break
            at = end + 4 + length
            take(data[end + 2 : at - 2])
        self._at = at


_MANY = 4096
_HEADS = [b"$%d\r\n" % size for size in range(_MANY)]
_SIZES = {b"$%d" % size: size for size in range(_MANY)}
"""How texts begin that are not long."""


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise Garbled("a length is not a number") from None
