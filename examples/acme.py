"""Acme, an imaginary provider with a real HTTP API: what the examples and the tutorial sync to.

    python -m examples.acme [--permits 20]    # serves until you press Enter

    GET    /contacts/{id}            the contact, its version as ETag; 404 if there is none
    PUT    /contacts/{id}            creates it (`If-None-Match: *`); 412 if it exists
    PATCH  /contacts/{id}            sets the given fields, and creates the contact if need be; honours `If-Match`
    DELETE /contacts/{id}            204, or 404
    POST   /contacts:batch           {"rows": [{"reference", "id", "fields"}]}: as PATCH for each row; a row without an
                                     id gets one of Acme's. Answered by {"results": [{"reference", "status", "id"}]}
    GET    /contacts?reference=R     {"ids": [...]} of the contacts that a row of that reference created
    POST   /trouble                  {"status": 503, "calls": 2}: the next 2 requests are answered like this.
                                     With "applied": true they are carried out nevertheless

Requests beyond the quota (in any second, counted when they arrive) are answered 429 with Retry-After. An email without
an @ is answered 422. Everything is kept in memory.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
Answer = tuple[int, Json | None]
"""HTTP status and body."""

WINDOW = 1.0


class Acme:
    """The provider. ``permits`` is its quota: requests in any second."""

    def __init__(self, permits: int) -> None:
        self.url = ""
        self.contacts: dict[str, Json] = {}
        self.versions: dict[str, int] = {}
        self.references: dict[str, str] = {}
        self.served = 0
        """Requests within the quota."""
        self.refused = 0
        """Requests answered 429."""
        self._permits = permits
        self._writes = 0
        self._arrivals: deque[float] = deque()
        self._trouble: Json = {"calls": 0}
        self._lock = threading.Lock()

    def answer(self, method: str, target: str, if_match: str | None, body: Json) -> tuple[int, Json | None, Json]:
        """Status, body and headers of the answer to a request."""
        url = urlsplit(target)
        with self._lock:
            if url.path == "/trouble":
                self._trouble = body
                return 204, None, {}
            wait = self._arrive(time.monotonic())
            if wait > 0:
                return 429, _problem("too_many_requests"), {"Retry-After": math.ceil(wait)}
            if self._trouble["calls"] > 0:
                self._trouble["calls"] -= 1
                if self._trouble.get("applied"):
                    self._carry_out(method, url.path, url.query, if_match, body)
                return self._trouble["status"], _problem("trouble"), {}
            status, answer = self._carry_out(method, url.path, url.query, if_match, body)
            version = self.versions.get(_record_id(url.path))
            return status, answer, {} if version is None else {"ETag": f'"{version}"'}

    def _arrive(self, now: float) -> float:
        """Count a request; seconds until there is room for it, 0 if there is."""
        while self._arrivals and self._arrivals[0] <= now - WINDOW:
            self._arrivals.popleft()
        if len(self._arrivals) >= self._permits:
            self.refused += 1
            return self._arrivals[0] + WINDOW - now
        self._arrivals.append(now)
        self.served += 1
        return 0.0

    def _carry_out(self, method: str, path: str, query: str, if_match: str | None, body: Json) -> Answer:
        if path == "/contacts:batch":
            # In any order but the one asked for, as real providers do.
            return 200, {"results": [self._write_row(row) for row in reversed(body["rows"])]}
        if path == "/contacts":
            found = self.references.get(parse_qs(query)["reference"][0])
            return 200, {"ids": [] if found is None else [found]}
        return self._carry_out_on(_record_id(path), method, if_match, body)

    def _carry_out_on(self, record_id: str, method: str, if_match: str | None, body: Json) -> Answer:
        exists = record_id in self.contacts
        if method == "PUT" and exists:
            return 412, _problem("exists")
        if method in {"PUT", "PATCH"}:
            return self._write(record_id, body, if_match)
        if not exists:
            return 404, _problem("not_found")
        if method == "GET":
            return 200, {"id": record_id, **self.contacts[record_id]}
        del self.contacts[record_id], self.versions[record_id]
        return 204, None

    def _write(self, record_id: str, fields: Json, if_match: str | None = None) -> Answer:
        if "@" not in str(fields.get("email", "@")):
            return 422, _problem("invalid_email")
        if if_match is not None and if_match != f'"{self.versions.get(record_id)}"':
            return 412, _problem("changed")
        self.versions[record_id] = self._writes = self._writes + 1
        self.contacts[record_id] = {**self.contacts.get(record_id, {}), **fields}
        return 200, {"id": record_id, **self.contacts[record_id]}

    def _write_row(self, row: Json) -> Json:
        record_id = row["id"] or f"acme-{self._writes + 1}"
        status, _ = self._write(record_id, row["fields"])
        if status != 200:
            return {"reference": row["reference"], "status": status, "id": None}
        self.references[row["reference"]] = record_id
        return {"reference": row["reference"], "status": status, "id": record_id}


def _record_id(path: str) -> str:
    return unquote(path.removeprefix("/contacts/"))


def _problem(code: str) -> Json:
    return {"error": {"code": code, "message": code.replace("_", " ")}}


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, acme: Acme, *arguments: Any) -> None:
        self._acme = acme
        super().__init__(*arguments)

    def handle(self) -> None:
        """Serve the connection until the client hangs up, in whatever way."""
        with suppress(ConnectionError):
            super().handle()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer, headers = self._acme.answer(
            self.command, self.path, self.headers.get("If-Match"), json.loads(body) if body else {}
        )
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name, str(value))
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = _answer  # noqa: N815  the names that the standard library calls

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep quiet."""


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def running_acme(permits: int = 20, port: int = 0) -> Generator[Acme]:
    """Serve Acme on 127.0.0.1 from a thread while the block runs; ``port`` 0 takes a free one."""
    acme = Acme(permits)
    with _Server(("127.0.0.1", port), partial(_Requests, acme)) as server:
        acme.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield acme
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve until Enter is pressed, or the input ends."""
    parser = argparse.ArgumentParser(description="Serve Acme until you press Enter.")
    parser.add_argument("--permits", type=int, default=20, help="requests in any second (20)")
    with running_acme(parser.parse_args().permits) as acme:
        print(f"export ACME_URL={acme.url}", flush=True)
        with suppress(EOFError):
            input()


if __name__ == "__main__":
    main()
