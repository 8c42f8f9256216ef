"""How many records a pass found in which situation, and what it did about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import define, field

from ratesync.engine.sync.case import Case, CaseState
from ratesync.model.difference import Side
from ratesync.model.link import RecordLink
from ratesync.model.run import MOST_SAMPLES
from ratesync.rules.first_match import Situation


@define
class Sightings:
    """Counts of cases by situation and response, with the ids of some of the records."""

    _done: Counter[str] = field(factory=Counter[str], init=False)
    _left: Counter[str] = field(factory=Counter[str], init=False)
    """Of the sweep under way: a later one looks at them again."""
    _samples: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)

    def begin_sweep(self) -> None:
        """What was left is looked at anew."""
        for key in self._left:
            if key not in self._done:
                self._samples.pop(key, None)
        self._left.clear()

    def note(self, case: Case) -> None:
        """Count a case that came to its end."""
        is_left = case.state is CaseState.LEFT
        if case.situation is None or (_is_put_off(case) and not is_left):
            return
        action = "left" if is_left else case.response or (case.actions[-1] if case.actions else "none")
        key = f"{case.situation}: {action}"
        (self._left if is_left else self._done)[key] += 1
        self._sample(key, _record(case))

    def note_held(self, link: RecordLink) -> None:
        """Count a delete that waits for approval."""
        if link.gone_on is None:
            return
        gone = Situation.MISSING_LOCAL if link.gone_on is Side.LOCAL else Situation.MISSING_EXTERNAL
        key, left = f"{gone}: held", link.gone_on.other
        self._done[key] += 1
        self._sample(key, f"{left} {link.end(left).record_id}")

    def _sample(self, key: str, record: str) -> None:
        samples = self._samples.setdefault(key, [])
        if len(samples) < MOST_SAMPLES and record not in samples:
            samples.append(record)

    @property
    def counts(self) -> Counter[str]:
        """By situation and what was done, as in ``"local only: create"``."""
        return self._done + self._left

    @property
    def samples(self) -> Mapping[str, list[str]]:
        """Ids of some records of each."""
        return self._samples


def _is_put_off(case: Case) -> bool:
    """A delete of it is due: it comes up again at the end of the pass."""
    return case.link is not None and case.link.is_held and not case.actions


def _record(case: Case) -> str:
    if case.met is not None:
        side, record_id = case.met
        return f"{side} {record_id}"
    side = Side.LOCAL if case.record_id(Side.LOCAL) is not None else Side.EXTERNAL
    return f"{side} {case.record_id(side)}"
