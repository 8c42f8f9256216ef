"""A worker process is killed after each step of some operations' lives, on each queue that outlives a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.valkey_server import Valkey

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")]


moods = pytest.mark.parametrize("mood", ["calm", "moody"])


def killed_at_each_point(kind: str, where: str, folder: Path, mood: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.chaos.crash_points", kind, where, str(folder), mood]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def check(points: list[dict[str, Any]]) -> None:
    assert [point for point in points if not point["clean"]] == []
    assert {point["before"] for point in points} == {0, 1, 2}, "it died before, between and after the calls"
    assert {point["calls"] for point in points} == {2, 3}, "at most the call under way was repeated, and sometimes was"


@moods
@pytest.mark.timeout(180)
def test_a_worker_on_redis_killed_after_each_step(durable_valkey: Valkey, tmp_path: Path, mood: str) -> None:
    check(killed_at_each_point("redis", durable_valkey.url, tmp_path, mood))


@moods
@pytest.mark.timeout(180)
def test_a_worker_on_sqlite_killed_after_each_step(tmp_path: Path, mood: str) -> None:
    check(killed_at_each_point("sqlite", "", tmp_path, mood))
