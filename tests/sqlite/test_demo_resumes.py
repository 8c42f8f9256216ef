"""The main job of the README is killed half-way and started again: failure cases 1 to 3 as a host sees them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
HALF = 400
"""About half of the writes that there will be."""


def start(folder: Path, output: Path) -> subprocess.Popen[bytes]:
    # Into a file: the CRM outlives the demo and would hold a pipe open.
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "examples.demo", "--quick", "--folder", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def applied(folder: Path) -> int:
    """Writes that the CRM has applied; 0 while it is not there."""
    try:
        url = json.loads((folder / "run.json").read_text())["url"]
        statistics = httpx.get(f"{url}/_admin/statistics", trust_env=False).raise_for_status().json()
    except (OSError, ValueError, httpx.HTTPError):
        return 0
    return sum(account["applied"] for account in statistics.values())


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_killed_demo_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    folder, output = tmp_path / "run", tmp_path / "output"
    with start(folder, output) as process:
        give_up_at = time.monotonic() + PATIENCE
        while applied(folder) < HALF and process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9, output.read_text()
    with start(folder, output) as process:
        assert process.wait(PATIENCE) == 0, output.read_text()
    told = output.read_text()
    assert "going on with it: 1,738 operations submitted" in told
    assert "\nlost: 0\n" in told
    assert "\nevery record is right\n" in told
    assert not (folder / "run.json").exists(), "the next run starts anew"


@pytest.mark.slow
def test_two_demos_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with start(tmp_path, tmp_path / "first") as first:
        while not applied(tmp_path):
            assert first.poll() is None
            time.sleep(0.02)
        with start(tmp_path, tmp_path / "second") as second:
            assert second.wait(PATIENCE) == 1
        assert "another run is under way" in (tmp_path / "second").read_text()
        url = json.loads((tmp_path / "run.json").read_text())["url"]
        first.kill()
    httpx.post(f"{url}/_admin/stop", trust_env=False)
