"""What every benchmark prints: figures of ratesync and of its peers from one run, and the bars they must clear."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import asdict, define, field

Measurement = Callable[[bool], Mapping[str, float]]
"""Takes whether to be quick; gives figures by name."""


@define
class Bar:
    """A figure that must not fall short."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the figure clears the bar."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return (
            f"{'met   ' if self.met else 'MISSED'}  {self.name}: {self.value:,.4g} (must be {sign} {self.bound:,.4g})"
        )


@define
class Report:
    """Collects figures and bars of one benchmark."""

    benchmark: str
    quick: bool
    figures: dict[str, float] = field(factory=dict[str, float])
    bars: list[Bar] = field(factory=list[Bar])
    notes: list[str] = field(factory=list[str])

    def at_least(self, name: str, value: float, bound: float) -> None:
        """Add a bar for a figure that must be high."""
        self.bars.append(Bar(name, value, bound, at_least=True))

    def at_most(self, name: str, value: float, bound: float) -> None:
        """Add a bar for a figure that must be low."""
        self.bars.append(Bar(name, value, bound, at_least=False))

    def as_json(self) -> str:
        """The report as one JSON object."""
        content: dict[str, Any] = {
            "benchmark": self.benchmark,
            "quick": self.quick,
            "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "machine": {
                "python": platform.python_version(),
                "system": platform.platform(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
            },
            "figures": self.figures,
            "bars": [asdict(bar) | {"met": bar.met} for bar in self.bars],
            "notes": self.notes,
        }
        return json.dumps(content, indent=2)

    def as_text(self) -> str:
        """The report for a person."""
        width = max(map(len, self.figures), default=0)
        lines = [f"{self.benchmark} on Python {platform.python_version()}, {os.cpu_count()} cores"]
        lines += [f"  {name:<{width}}  {value:>14,.2f}" for name, value in self.figures.items()]
        return "\n".join([*lines, *map(str, self.bars), *self.notes])


def measure_in_turn(module: str, names: Sequence[str], *, rounds: int, quick: bool) -> dict[str, dict[str, float]]:
    """Run each measurement in a fresh process, in turn, ``rounds`` times; the median of every figure."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, "-m", module, "--measure", name] + (["--quick"] if quick else [])
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            samples[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {figure: statistics.median(sample[figure] for sample in taken) for figure in taken[0]}
        for name, taken in samples.items()
    }


def main(measurements: Mapping[str, Measurement], judge: Callable[[bool], Report]) -> int:
    """The command line of a benchmark; 1 if a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="under a minute, with smaller numbers")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--measure", choices=list(measurements), help="one measurement in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measurements[arguments.measure](arguments.quick)))
        return 0
    report = judge(arguments.quick)
    print(report.as_json() if arguments.json else report.as_text())
    return 0 if all(bar.met for bar in report.bars) else 1
