"""Adapters leave the event loop to what is below and above them, so their tests need but one."""

from __future__ import annotations

import ast
from pathlib import Path

import ratesync.providers

LOOPS = {"anyio", "asyncio", "trio", "threading"}


def test_no_adapter_imports_an_event_loop() -> None:
    files = sorted(Path(*ratesync.providers.__path__).rglob("*.py"))
    assert len(files) > 20
    assert {path.name: found for path in files if (found := imported(path) & LOOPS)} == {}


def imported(path: Path) -> set[str]:
    """The packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found
