from __future__ import annotations

from collections.abc import Mapping

import pytest

from ratesync import Applied, Feedback, Outcome, Reading, Reply, Unknown
from ratesync.model.feedback import NO_FEEDBACK


def test_a_reply_stands_wherever_its_outcomes_alone_would_do() -> None:
    outcomes: dict[str, Outcome] = {"o1": Applied("42"), "o2": Unknown("lost")}
    reply = Reply(outcomes)
    assert isinstance(reply, Mapping)
    assert dict(reply) == outcomes
    assert (len(reply), "o2" in reply, reply.get("o3")) == (2, True, None)
    with pytest.raises(KeyError):
        reply["o3"]


def test_replies_are_equal_if_they_told_the_same() -> None:
    told = Feedback(readings=(Reading(limit=100, remaining=99),))
    assert Reply({"o1": Applied()}).feedback is NO_FEEDBACK
    assert Reply({"o1": Applied()}, told) == Reply({"o1": Applied()}, told)
    assert Reply({"o1": Applied()}, told) != Reply({"o1": Applied()})
