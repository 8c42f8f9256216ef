"""Calls as one account, for one piece of work of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, field, frozen

from ratesync.clock import Clock
from ratesync.errors import ProviderError
from ratesync.http.caller import HttpCaller
from ratesync.http.feedback import ThrottleReader, read_feedback, server_time
from ratesync.http.response import Response
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.quota import CALLS
from ratesync.providers.call import make_call
from ratesync.providers.row import object_in
from ratesync.rules.feedback import join_feedback


@frozen
class Ask:
    """One request."""

    method: str
    path: str
    params: Mapping[str, str] = field(factory=dict[str, str])
    json: Any = field(default=None, repr=False)
    unit: str | None = None
    """Unit of a quota of its own that it takes one of, besides being a call; None: there is none."""


@define
class Client:
    """Makes the calls of one piece of work, and remembers what they cost and what their answers told of quotas."""

    caller: HttpCaller
    clock: Clock
    throttle: ThrottleReader
    refusal: Callable[[Response, float], ProviderError | None]
    """The error that an answer to a reading call stands for, by the answer and the instant; None for a success."""
    path: Callable[[str], str]
    """A request's path, as it is called."""
    units: tuple[str, ...] = ()
    """Units besides calls that some of its calls are charged in."""
    charged: dict[str, int] = field(
        init=False, default=Factory(lambda self: dict.fromkeys((CALLS, *self.units), 0), takes_self=True)
    )
    """What the calls cost so far, by unit."""
    answered_at: float = field(default=0.0, init=False)
    """The provider's time of the last answer."""
    _told: Feedback = field(default=NO_FEEDBACK, init=False)

    async def send(self, ask: Ask) -> Response:
        """Make a call, whatever its answer.

        :raises ProviderError: there was none.
        """
        for unit in (CALLS, ask.unit):
            if unit is not None:
                self.charged[unit] += 1
        response = await make_call(self.caller, ask.method, self.path(ask.path), params=ask.params, json=ask.json)
        now = self.clock.now()
        self.answered_at = server_time(response, now)
        self._told = join_feedback(self._told, read_feedback(response, now, self.throttle))
        return response

    async def read(self, ask: Ask) -> dict[str, Any]:
        """The JSON object that a reading call is answered with.

        :raises ProviderError: there was no answer, or it is a refusal, or it is none.
        """
        response = await self.send(ask)
        error = self.refusal(response, self.clock.now())
        if error is not None:
            raise error
        return object_in(response)

    @property
    def feedback(self) -> Feedback:
        """What the answers told of quotas, and what the calls cost."""
        return join_feedback(self._told, Feedback(charged=dict(self.charged)))
