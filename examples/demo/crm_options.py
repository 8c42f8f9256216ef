"""How the demo's CRM server is set up: its accounts, their quotas, its latency and its faults.

The options travel to the server process as one JSON text: see `CrmOptions.to_json` and `CrmOptions.from_json`.
"""

from __future__ import annotations

import json
from typing import Literal

import cattrs
from attrs import field, frozen

RetryAfterForm = Literal["seconds", "fraction", "none"]


@frozen
class Window:
    """At most `permits` requests in any `per` seconds."""

    permits: int
    per: float

    @property
    def per_second(self) -> float:
        """The sustained rate, in requests per second."""
        return self.permits / self.per

    @property
    def label(self) -> str:
        """For people: `40/1 s`."""
        return f"{self.permits}/{self.per:g} s"


@frozen
class CrmAccount:
    """One customer of the CRM: a bearer token and the windows that hold for it, all at once."""

    name: str
    token: str = field(repr=False)
    windows: tuple[Window, ...]

    @property
    def per_second(self) -> float:
        """The sustained rate of the tightest window, in requests per second."""
        return min(window.per_second for window in self.windows)


@frozen(kw_only=True)
class CrmOptions:
    """What the server does to its callers.

    `latency` is the (least, most) seconds between the arrival of a request and its effect, drawn uniformly.
    `error_rate` is the share of accepted requests, and of rows in a batch, that are answered 500: half of them before
    the write is applied and half after. `retry_after` is the form of the header beside a 429: whole seconds rounded up,
    a decimal fraction, or no header. With `count_refused` a refused request uses up quota too. `seed` sets the draws.
    """

    accounts: tuple[CrmAccount, ...]
    latency: tuple[float, float] = (0.005, 0.040)
    error_rate: float = 0.01
    retry_after: RetryAfterForm = "seconds"
    count_refused: bool = False
    seed: int = 0

    def to_json(self) -> str:
        """These options as a JSON text."""
        return json.dumps(cattrs.unstructure(self))

    @classmethod
    def from_json(cls, text: str) -> CrmOptions:
        """Read back what `to_json` wrote. Raises `ValueError` or a cattrs error when the text is something else."""
        return cattrs.structure(json.loads(text), cls)


DEMO_ACCOUNTS = (
    CrmAccount("acme", "token-of-acme", (Window(240, 1.0), Window(2_000, 10.0))),
    CrmAccount("globex", "token-of-globex", (Window(180, 1.0), Window(1_500, 10.0))),
    CrmAccount("initech", "token-of-initech", (Window(120, 1.0), Window(1_000, 10.0))),
    CrmAccount("umbrella", "token-of-umbrella", (Window(60, 1.0), Window(500, 10.0))),
)
