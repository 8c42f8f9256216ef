"""Keeping what URLs and headers hold out of the log lines of httpx and httpcore."""

from __future__ import annotations

import logging

import httpx
from typing_extensions import override

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
"""A filter of a logger does not see what its children log, so each is named."""


class _Redaction(logging.Filter):
    """Takes the query and the user out of URLs, and drops the values that httpcore logs."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(arg) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        if record.name.startswith("httpcore.") and isinstance(record.msg, str):
            record.msg = record.msg.partition(" ")[0]  # "receive_response_headers.complete return_value=(...)"
        return True


_REDACTION = _Redaction()


def redact_http_logs() -> None:
    """Make httpx's and httpcore's log lines harmless, in the whole process, from now on.

    httpx logs each request's URL at INFO, with its query and so with keys in it; httpcore logs headers at DEBUG. Lines
    stay; queries become ``?***`` and values are left out. Calling it twice does no harm. A :class:`QueryKey` calls it.
    """
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_REDACTION)


def _without_query(url: httpx.URL) -> str:
    bare = url.copy_with(query=None, userinfo=b"", fragment=None)
    return f"{bare}?***" if url.query else str(bare)
