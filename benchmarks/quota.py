"""How much of a quota limiters reach, and how often a strict server refuses: ratesync and its peers.

    python -m benchmarks.quota [--quick] [--json] [--cells WORDS] [--contestants WORDS] [--rounds N] [--log FILE]

Each run of a cell has a server process of its own, which counts each call when it arrives and refuses what is over,
and 200 callers in one client process, or in four that share a limiter on Redis. The limiters take turns in each cell,
and the cells in each round. "reached" is the lower one of two figures of the server's: the share, calls accepted beside
the most that a strict window accepts in the measured time (100 in 1 s: 2,000 in 20 s), and the pace, how long so many
whole windows of calls take beside how long they took. Figures are medians over the rounds; refusals are the worst.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from attrs import evolve

from benchmarks._quota_cell import Cell, Result, run_cell
from benchmarks._quota_cells import full_cells, main_cells, quick_cells
from benchmarks._quota_limiters import has_redis_limiter, ours
from benchmarks._quota_redis import running_redis
from benchmarks._quota_speed import ALL
from benchmarks._report import Report, measure_in_turn

NOISE = 0.3
"""Points by which a peer may reach more."""

Results = dict[tuple[str, str], list[Result]]
"""All rounds of each cell and contestant."""


def measure(cells: Sequence[Cell], arguments: argparse.Namespace) -> Results:
    """Run all cells, in turn."""
    results: Results = {}
    with ExitStack() as stack:
        shared = any(cell.processes > 1 for cell in cells)
        redis = stack.enter_context(running_redis()) if shared else None
        for number in range(arguments.rounds):
            for cell in cells:
                for contestant in cell.contestants:
                    if cell.processes > 1 and ours(contestant) and not has_redis_limiter():
                        continue
                    result = run_cell(cell, contestant, redis, seed=number + 1, log=arguments.log)
                    results.setdefault((cell.name, contestant), []).append(result)
                    print(row(cell.name, contestant, [result]), file=sys.stderr, flush=True)
    return results


COLUMNS = "| cell | limiter | reached % | share % | 429s | most in a window | fairness | longest wait s | CPU us |"


def row(cell: str, contestant: str, results: Sequence[Result]) -> str:
    """One line of the table."""
    reached = [result.reached for result in results]
    spread = f" ({min(reached):.2f}-{max(reached):.2f})" if len(reached) > 1 else ""
    refused = sorted({result.refused for result in results})
    cells = (
        cell,
        contestant,
        f"{statistics.median(reached):.2f}{spread}",
        f"{statistics.median(result.share for result in results):.2f}",
        "-".join(map(str, refused[:: max(1, len(refused) - 1)])),
        f"{max(result.peak for result in results)}",
        f"{statistics.median(result.fairness for result in results):.3f}",
        f"{max(result.longest_wait for result in results):.1f}",
        f"{statistics.median(result.cpu_us for result in results):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def table(results: Results) -> str:
    """All results, as Markdown."""
    rows = [row(cell, contestant, found) for (cell, contestant), found in results.items()]
    return "\n".join([COLUMNS, "|" + "---|" * (COLUMNS.count("|") - 1), *rows])


def enter(report: Report, cells: Sequence[Cell], results: Results) -> None:
    """Put the figures of all cells into the report, and hold ratesync's against the bars."""
    for (cell_name, contestant), found in results.items():
        name = f"{cell_name}: {contestant}"
        report.figures[f"{name}, reached %"] = statistics.median(result.reached for result in found)
        if len(found) > 1:
            reached = [result.reached for result in found]
            report.figures[f"{name}, reached %, spread"] = max(reached) - min(reached)
        report.figures[f"{name}, share %"] = statistics.median(result.share for result in found)
        report.figures[f"{name}, 429s"] = max(result.refused for result in found)
        if any(result.refused_later for result in found):
            report.figures[f"{name}, 429s after the restart"] = max(result.refused_later for result in found)
        report.figures[f"{name}, most calls in a window"] = max(result.peak for result in found)
        report.figures[f"{name}, fairness"] = statistics.median(result.fairness for result in found)
        report.figures[f"{name}, CPU us"] = statistics.median(result.cpu_us for result in found)
        calls = [result.redis_calls for result in found if result.redis_calls is not None]
        if calls:
            report.figures[f"{name}, Redis calls per grant"] = statistics.median(calls)
    main_names = {cell.name for cell in main_cells()}
    for cell in cells:
        if cell.processes > 1 and not has_redis_limiter():
            report.notes.append(f"not measured: {cell.name}: ratesync.redis does not exist yet")
        elif cell.name in main_names:
            _judge_main(report, cell, results)
        elif cell.rules.used_before or cell.restart_at is not None:
            _judge_start(report, cell, results)
    report.notes.append("a strict window's share: the calls that whole windows of the measured time can hold")


def bound(cell: Cell) -> float:
    """Percent of the quota that must be reached."""
    if max(per for _, per in cell.rules.limits) >= 10:
        return 99.0
    return 97.0 if cell.is_wide else 98.0


def _judge_main(report: Report, cell: Cell, results: Results) -> None:
    for contestant in filter(ours, cell.contestants):
        found = results[cell.name, contestant]
        reached = statistics.median(result.reached for result in found)
        report.at_least(f"{cell.name}: {contestant}, reached %", reached, bound(cell))
        report.at_most(f"{cell.name}: {contestant}, 429s", max(result.refused for result in found), 0)
    peers = [contestant for contestant in cell.contestants if not ours(contestant)]
    if peers and "ratesync" in cell.contestants and not report.quick:  # a few windows are mostly their start
        best = max(statistics.median(result.reached for result in results[cell.name, peer]) for peer in peers)
        reached = statistics.median(result.reached for result in results[cell.name, "ratesync"])
        report.at_most(f"{cell.name}: points that the best peer reaches more", best - reached, NOISE)


def _judge_start(report: Report, cell: Cell, results: Results) -> None:
    for contestant in filter(ours, cell.contestants):
        refused = max(
            result.refused if cell.restart_at is None else result.refused_later
            for result in results[cell.name, contestant]
        )
        report.at_most(f"{cell.name}: {contestant}, 429s", refused, 1)


def enter_speed(report: Report, *, quick: bool) -> None:
    """Measure what limiters cost, and hold ratesync's against the bars."""
    names = ["ratesync", "aiolimiter", "idle scopes", "scopes seen"] if quick else list(ALL)
    rounds = 1 if quick else 3
    found = measure_in_turn("benchmarks.quota", names, rounds=rounds, quick=quick)
    for name in names:
        report.figures |= {f"{name}, {figure}": value for figure, value in found[name].items()}
    report.at_least("uncontended acquire/s of CPU, in memory", found["ratesync"]["acquire/s"], 300_000)
    report.at_most("10,000 idle scopes: percent of a core", found["idle scopes"]["percent"], 0.1)
    report.at_most("scopes that are over: resident bytes for each", found["scopes seen"]["bytes"], 16)
    if "redis ratesync" in found:
        report.at_least("grants/s on Redis, 50 tasks", found["redis ratesync"]["grants/s"], 50_000)
    else:
        report.notes.append("not measured: grants/s on Redis" + (" (quick)" if quick else ""))


def chosen(arguments: argparse.Namespace) -> list[Cell]:
    """The cells to run, with the contestants to run in them."""
    cells = quick_cells() if arguments.quick else full_cells()
    cells = [cell for cell in cells if any(word in cell.name for word in arguments.cells)]
    return [
        evolve(
            cell,
            contestants=tuple(name for name in cell.contestants if any(word in name for word in arguments.contestants)),
        )
        for cell in cells
    ]


def main() -> int:
    """The command line; 1 if a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute, with few cells")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--cells", nargs="+", default=[""], help="cells whose names contain one of these")
    parser.add_argument("--contestants", nargs="+", default=[""], help="limiters whose names contain one of these")
    parser.add_argument("--rounds", type=int, help="how often each cell is run; default 3, quick 1")
    parser.add_argument("--log", help="a file to add the arrivals of each run to, as JSON lines")
    parser.add_argument("--no-speed", action="store_true", help="cells only")
    parser.add_argument("--measure", choices=list(ALL), help="one measurement of speed in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(ALL[arguments.measure](arguments.quick)))
        return 0
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    report = Report("quota", arguments.quick)
    cells = chosen(arguments)
    results = measure(cells, arguments)
    enter(report, cells, results)
    if not arguments.no_speed:
        enter_speed(report, quick=arguments.quick)
    if arguments.json:
        print(report.as_json())
    else:
        print(table(results))
        print(report.as_text())
    return 0 if all(bar.met for bar in report.bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
