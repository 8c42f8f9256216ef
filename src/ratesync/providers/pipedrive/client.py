"""Requests to Pipedrive for one connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from ratesync.clock import Clock
from ratesync.http.caller import HttpCaller
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.operation import Kind
from ratesync.model.quota import CALLS
from ratesync.providers.call import make_call
from ratesync.providers.pipedrive.answer import Answer, interpret
from ratesync.providers.pipedrive.quotas import SEARCHES, TOKENS
from ratesync.providers.pipedrive.throttle import throttle_reader
from ratesync.rules.feedback import join_feedback


@define
class Client:
    """Makes the requests of one call of the adapter, and keeps count of what they cost and told of quotas."""

    caller: HttpCaller
    clock: Clock
    requests: int = field(default=0, init=False)
    tokens: int = field(default=0, init=False)
    searches: int = field(default=0, init=False)
    _told: Feedback = field(default=NO_FEEDBACK, init=False, repr=False)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        cost: int,
        kind: Kind = Kind.READ,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        is_search: bool = False,
    ) -> Answer:
        """Make one request; whatever its status, the answer says what it came to.

        :param cost: tokens that it takes.
        :raises ProviderError: there was no answer, or none that can be understood.
        """
        self.requests += 1
        self.tokens += cost
        self.searches += is_search
        response = await make_call(self.caller, method, path, params=params, json=json)
        answer = interpret(response, kind, self.clock.now(), throttle_reader(cost, is_search=is_search))
        self._told = join_feedback(self._told, answer.feedback)
        return answer

    @property
    def feedback(self) -> Feedback:
        """What the answers told of quotas, and what the requests cost."""
        charged = {CALLS: self.requests, TOKENS: self.tokens, SEARCHES: self.searches}
        return join_feedback(self._told, Feedback(charged=charged))
