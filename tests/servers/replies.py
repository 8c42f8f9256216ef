"""Replies for a `FaultServer`: good ones, and every way in which a provider's answer can go wrong.

A function returns one reply to be scripted. The tables below the functions give names to whole families, for
parametrised tests: `NEVER_ENDING`, `BROKEN_ON_THE_WIRE`, `UNREADABLE_BODIES`, `OVERSIZE_BODIES`, and
`retry_after_values`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Mapping
from email.utils import formatdate
from functools import cache
from http import HTTPStatus

from tests.servers.fault_server import Reply, Wire

HTML = b"<!doctype html><html><body><h1>Something went wrong</h1></body></html>"
MEBIBYTE = 1024 * 1024


def answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
    """A complete and correct answer; the connection stays open for more."""

    async def reply(wire: Wire) -> None:
        wire.keep_alive = True
        await wire.send(head(status, {**(headers or {}), "content-length": str(len(body))}) + body)

    return reply


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A complete answer with a JSON body."""
    return answer(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def problem(status: int, retry_after: str | None = None) -> Reply:
    """A refusal with a JSON body that says why, as APIs give it; 429 and 503 may name a wait."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return json_answer({"error": HTTPStatus(status).phrase, "fields": {"email": "is not valid"}}, status, headers)


def html(status: int) -> Reply:
    """A page of HTML, as gateways answer."""
    return answer(status, HTML, {"content-type": "text/html"})


def redirect(location: str, status: int = 307) -> Reply:
    """An order to go elsewhere. 307 and 308 ask for the method and the body again."""
    return answer(status, b"", {"location": location})


async def hang(wire: Wire) -> None:
    """Take the request and never answer."""
    await wire.until_client_leaves()


def slow_headers(every: float = 0.05) -> Reply:
    """A status line, and then one letter of a header every so many seconds, for ever."""
    return _drip(b"HTTP/1.1 200 OK\r\nx-slow: ", every)


def slow_body(every: float = 0.05) -> Reply:
    """All headers, and then one byte of the body every so many seconds, for ever."""
    return _drip(head(200, {"content-type": "application/json", "content-length": "1000000"}), every)


async def reset_before_answer(wire: Wire) -> None:
    """Take the request and drop the connection."""
    wire.reset()


async def reset_in_body(wire: Wire) -> None:
    """Drop the connection half-way through the body."""
    await wire.send(head(200, {"content-length": "1000"}) + b'{"id": ')
    await asyncio.sleep(0.02)  # else the reset may overtake the bytes
    wire.reset()


def raw(data: bytes) -> Reply:
    """Bytes as they are, and the connection closed after them."""

    async def reply(wire: Wire) -> None:
        await wire.send(data)

    return reply


def endless_body(declared: int | None = None) -> Reply:
    """A body that goes on for as long as the client reads; with a declared length, or in chunks."""

    async def reply(wire: Wire) -> None:
        how = {"transfer-encoding": "chunked"} if declared is None else {"content-length": str(declared)}
        await wire.send(head(200, {"content-type": "application/json", **how}))
        block = b"[" * 16_384
        while True:
            await wire.send(block if declared is not None else b"4000\r\n" + block + b"\r\n")

    return reply


def gzip_bomb(decoded: int = 200 * MEBIBYTE, layers: int = 1) -> Reply:
    """A small gzip body that inflates to `decoded` bytes; compressed once more for each further layer."""

    async def reply(wire: Wire) -> None:
        encoding = ", ".join(["gzip"] * layers)
        body = _zeros_gzipped(decoded, layers)
        headers = {"content-type": "application/json", "content-encoding": encoding, "content-length": str(len(body))}
        await wire.send(head(200, headers) + body)

    return reply


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """A status line and headers, up to the empty line."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _drip(start: bytes, every: float) -> Reply:
    async def reply(wire: Wire) -> None:
        await wire.send(start)
        while True:
            await asyncio.sleep(every)
            await wire.send(b"a")

    return reply


@cache
def _zeros_gzipped(decoded: int, layers: int) -> bytes:
    squeeze = zlib.compressobj(level=9, wbits=31)
    block = bytes(MEBIBYTE)
    body = b"".join(squeeze.compress(block) for _ in range(decoded // MEBIBYTE)) + squeeze.flush()
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return body


def _json(body: bytes) -> Reply:
    return answer(200, body, {"content-type": "application/json"})


NEVER_ENDING: dict[str, Reply] = {"hang": hang, "slow headers": slow_headers(), "slow body": slow_body()}

BROKEN_ON_THE_WIRE: dict[str, Reply] = {
    "closed without an answer": raw(b""),
    "reset before the answer": reset_before_answer,
    "reset in the body": reset_in_body,
    "truncated body": raw(head(200, {"content-length": "1000"}) + b'{"id": 1}'),
    "truncated chunk": raw(head(200, {"transfer-encoding": "chunked"}) + b"3e8\r\nabc"),
    "bad chunk size": raw(head(200, {"transfer-encoding": "chunked"}) + b"zz\r\nabc\r\n0\r\n\r\n"),
    "garbage status line": raw(b"\x16\x03\x01 garbage\r\n\r\n"),
    "two content lengths": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 9\r\n\r\n{}"),
    "header of 200 KB": raw(head(200, {"x-large": "a" * 200_000, "content-length": "2"}) + b"{}"),
    "gzip that is none": answer(200, b"{}", {"content-encoding": "gzip"}),
}

UNREADABLE_BODIES: dict[str, Reply] = {
    "HTML": html(200),
    "nothing with 200": _json(b""),
    "invalid JSON": _json(b'{"id": 1,'),
    "bad UTF-8": _json(b'{"name": "\xff\xfe\xfa"}'),
    "JSON 10,000 deep": _json(b"[" * 10_000 + b"]" * 10_000),
    "NaN": _json(b'{"score": NaN}'),
    "number beyond floats": _json(b'{"score": 1e999}'),
    "number of 5,000 digits": _json(b'{"count": ' + b"9" * 5_000 + b"}"),
    "lone surrogate": _json(b'{"name": "\\ud800"}'),
}

OVERSIZE_BODIES: dict[str, Reply] = {
    "endless chunks": endless_body(),
    "declared 10 GB": endless_body(declared=10_000 * MEBIBYTE),
    "gzip bomb": gzip_bomb(),
    "nested gzip": gzip_bomb(layers=2),
}


def retry_after_values(now: float) -> dict[str, str | None]:
    """What providers put into `Retry-After`, 2 seconds where they mean it. `now` is seconds since the epoch."""
    return {
        "seconds": "2",
        "HTTP date": formatdate(now + 2, usegmt=True),
        "date in the past": formatdate(now - 3600, usegmt=True),
        "date without a zone": formatdate(now + 2).removesuffix(" -0000"),
        "date of an unknown zone": formatdate(now + 2),
        "obsolete date": "Sunday, 06-Nov-94 08:49:37 GMT",
        "fraction": "2.5",
        "zero": "0",
        "negative": "-5",
        "1e9": "1e9",
        "a billion": "1000000000",
        "inf": "inf",
        "nan": "nan",
        "garbage": "soon",
        "empty": "",
        "none": None,
    }
