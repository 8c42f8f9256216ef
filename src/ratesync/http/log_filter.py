"""Keeping what URLs and headers hold out of the log lines of httpx, httpx2 and what they are built on."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from ratesync.http.sent import may_be_key
from ratesync.model.secret import MASK

_CLIENTS = ("httpx", "httpx2")
_CORES = ("httpcore", "httpcore2")
_PARTS = ("connection", "http11", "http2", "proxy", "socks")
LOGGERS = (*_CLIENTS, *(f"{core}.{part}" for core in _CORES for part in _PARTS))
"""A filter of a logger does not see what its children log, so each is named."""


class _Redaction(logging.Filter):
    """Takes query, user and what may be a key in the path out of URLs, and drops the values that httpcore logs."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_keys(arg) if type(arg).__name__ == "URL" else arg for arg in record.args)
        if record.name.startswith(_CORES) and isinstance(record.msg, str):
            record.msg = record.msg.partition(" ")[0]  # "receive_response_headers.complete return_value=(...)"
        return True


_REDACTION = _Redaction()


def redact_http_logs() -> None:
    """Make the log lines of httpx, httpcore, httpx2 and httpcore2 harmless, in the whole process, from now on.

    httpx logs each request's URL at INFO, with its query and so with keys in it; httpcore logs headers at DEBUG. Lines
    stay; queries become ``?***``, parts of paths with digits or capital letters in them ``***`` if they have eight
    characters or more, and values are left out. Calling it twice does no harm. Every :class:`QueryKey` and
    :class:`HttpCaller` calls it.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_REDACTION)


def _without_keys(url: object) -> str:
    """The URL, of httpx's kind or httpx2's."""
    parts = urlsplit(str(url))
    path = "/".join(MASK if may_be_key(part) else part for part in parts.path.split("/"))
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))
    return f"{bare}?***" if parts.query else bare
