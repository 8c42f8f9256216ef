"""Every example is run, as a reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_KINTO = "two_way_sync"
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if path.stem != WITH_KINTO)


def run(*arguments: str, seconds: float) -> None:
    answer = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    assert answer.returncode == 0, f"{answer.stdout}\n{answer.stderr}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example: str) -> None:
    run("-m", f"examples.{example}", seconds=50)


@pytest.mark.skipif(sys.platform == "win32", reason="kinto is a server for POSIX systems")
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_example_of_a_two_way_sync_runs_and_finds_no_difference() -> None:
    run("-m", f"examples.{WITH_KINTO}", seconds=180)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_demo_runs_and_finds_no_difference() -> None:
    run("-m", "examples.demo", "--quick", seconds=180)
