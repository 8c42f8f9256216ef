"""The cells of the quota benchmark."""

from __future__ import annotations

from benchmarks._quota_cell import Cell
from benchmarks._quota_limiters import CONTESTANTS, SHARED
from benchmarks._quota_windows import Limit, Rules

SECOND: Limit = (100, 1.0)
TEN_SECONDS: Limit = (190, 10.0)

EVERYBODY = tuple(
    name for name in CONTESTANTS if name not in {"ratesync doubtful", "throttled token", "throttled gcra"}
)
BURSTING = ("ratesync", "aiolimiter burst=limit", "pyrate-limiter", "limits moving")
BY_ITSELF = ("ratesync", "ratesync doubtful", "aiolimiter burst=limit", "aiolimiter burst=1", "pyrate-limiter")
"""For what happens to a limiter that does not know what was used."""


def main_cells() -> list[Cell]:
    """The share of the quota that is reached, by one process and by four that share a Redis."""
    cells: list[Cell] = []
    on_redis = tuple(name for name in CONTESTANTS if name in SHARED)
    for processes in (1, 4):
        for is_wide in (False, True):
            contestants = on_redis if processes > 1 else EVERYBODY
            where = f"{'wan' if is_wide else 'lan'}, {processes} process{'es' if processes > 1 else ''}"
            for name, limits, seconds in (("100/1 s", (SECOND,), 20.0), ("190/10 s", (TEN_SECONDS,), 30.0)):
                cells.append(
                    Cell(
                        name=f"{name}, {where}",
                        rules=Rules(limits=limits),
                        is_wide=is_wide,
                        processes=processes,
                        seconds=seconds,
                        contestants=contestants,
                    )
                )
            if processes == 1:
                both = Rules(limits=(SECOND, TEN_SECONDS))
                name = f"100/1 s and 190/10 s, {where}"
                cells.append(Cell(name=name, rules=both, is_wide=is_wide, seconds=20.0, contestants=BURSTING))
    return cells


def start_cells() -> list[Cell]:
    """Starts that do not know what was used: by somebody else, or by the process that was killed."""
    cells: list[Cell] = []
    for name, limit, seconds, restart_at in (("100/1 s", SECOND, 6.0, 2.5), ("190/10 s", TEN_SECONDS, 20.0, 5.0)):
        used = Rules(limits=(limit,), used_before=True)
        cells.append(Cell(name=f"cold start, {name}, lan", rules=used, seconds=seconds, contestants=BY_ITSELF))
        cells.append(
            Cell(
                name=f"restart, {name}, lan",
                rules=Rules(limits=(limit,)),
                seconds=seconds,
                restart_at=restart_at,
                contestants=BY_ITSELF,
            )
        )
    return cells


def adversary_cells() -> list[Cell]:
    """Servers that are not fair."""
    rules = {
        "counts refused, 100/1 s, lan": (Rules(limits=(SECOND,), counts_refused=True), 10.0),
        "fixed window, 100/1 s, lan": (Rules(limits=(SECOND,), kind="fixed"), 20.0),
        "30 s penalty, 50/1 s, wan": (Rules(limits=((50, 1.0),), penalty=30.0), 40.0),
        "limit 100, 40, 150 in 1 s, lan": (Rules(limits=(SECOND,), steps=((0.0, 100), (20.0, 40), (40.0, 150))), 60.0),
    }
    return [
        Cell(
            name=name,
            rules=each,
            is_wide="wan" in name,
            seconds=seconds,
            contestants=BURSTING if not each.steps else ("ratesync", "ratesync untold", "aiolimiter burst=limit"),
        )
        for name, (each, seconds) in rules.items()
    ]


def full_cells() -> list[Cell]:
    """Everything."""
    return main_cells() + start_cells() + adversary_cells()


def quick_cells() -> list[Cell]:
    """What fits into a minute, with the measurements of speed."""
    second, ten_seconds = Rules(limits=(SECOND,)), Rules(limits=(TEN_SECONDS,))
    few = ("ratesync", "aiolimiter burst=limit", "pyrate-limiter")
    return [
        Cell(name="100/1 s, lan, 1 process", rules=second, seconds=4.0, contestants=few),
        Cell(name="100/1 s, wan, 1 process", rules=second, is_wide=True, seconds=9.0, contestants=few[:1]),
        Cell(name="190/10 s, lan, 1 process", rules=ten_seconds, seconds=10.0, contestants=few[:1]),
        Cell(name="restart, 100/1 s, lan", rules=second, seconds=4.0, restart_at=1.5, contestants=few[:1]),
    ]
