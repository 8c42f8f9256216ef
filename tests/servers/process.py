"""Servers that run as processes of their own: waiting for one to serve, and ending it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

STOP_TIMEOUT = 10.0


@contextmanager
def ended_after(process: subprocess.Popen[bytes]) -> Generator[None]:
    """End it when the block is left: it is asked to, and killed if it dawdles."""
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(process: subprocess.Popen[bytes], url: str, log: Path) -> Callable[[], bool]:
    """A question to be asked until it is true: whether the server answers at that URL. Fails if it has ended."""

    def ask() -> bool:
        assert process.poll() is None, f"{process.args!r} ended:\n{log.read_text(encoding='utf-8')}"
        try:
            return httpx.get(url, trust_env=False).status_code > 0
        except httpx.TransportError:
            return False

    return ask
