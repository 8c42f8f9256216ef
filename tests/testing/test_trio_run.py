from __future__ import annotations

import importlib

import anyio
import anyio.lowlevel
import pytest

from ratesync.testing.virtual_time import run_virtual


def scheduler_state() -> tuple[object, object]:
    names = importlib.import_module("trio._core._run").__dict__
    return names["_ALLOW_DETERMINISTIC_SCHEDULING"], names["_r"].getstate()


async def fail() -> None:
    await anyio.sleep(1)
    raise LookupError("lost")


def test_the_scheduler_is_left_as_it_was() -> None:
    before = scheduler_state()
    run_virtual(anyio.sleep, 5, backend="trio", seed=3)
    assert scheduler_state() == before


def test_the_scheduler_is_left_as_it_was_after_an_error() -> None:
    before = scheduler_state()
    with pytest.raises(LookupError, match="lost"):
        run_virtual(fail, backend="trio", seed=3)
    assert scheduler_state() == before


def test_a_busy_instant_lasts_until_all_is_done() -> None:
    async def main() -> float:
        for _ in range(900):
            await anyio.lowlevel.checkpoint()
        return anyio.current_time()

    assert run_virtual(main, backend="trio") == 0.0
