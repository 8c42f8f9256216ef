"""Calls to Salesforce as one account."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from ratesync.clock import Clock
from ratesync.errors import ConfigurationError, NotSent
from ratesync.http.caller import HttpCaller
from ratesync.http.feedback import server_time
from ratesync.http.response import Response
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.providers.salesforce.answer import read_object, read_quotas, refusal
from ratesync.providers.salesforce.requests import Request
from ratesync.rules.feedback import join_feedback


@define
class Client:
    """Makes the calls of one piece of work, and remembers what their answers told of quotas."""

    caller: HttpCaller
    clock: Clock
    root: str
    """Where paths begin: ``/services/data/v65.0``."""
    feedback: Feedback = field(default=NO_FEEDBACK, init=False)
    calls: int = field(default=0, init=False)
    answered_at: float = field(default=0.0, init=False)
    """Salesforce's time of the last answer."""

    async def send(self, request: Request) -> Response:
        """Make a call, whatever its answer.

        :raises ProviderError: there was none.
        """
        self.calls += 1
        try:
            response = await self.caller.send(
                request.method, self.root + request.path, params=request.params, json=request.json
            )
        except ConfigurationError as error:
            raise NotSent(str(error)) from None
        now = self.clock.now()
        self.answered_at = server_time(response, now)
        self.feedback = join_feedback(self.feedback, read_quotas(response, now))
        return response

    async def read(self, request: Request) -> dict[str, Any]:
        """The JSON object that a reading call is answered with.

        :raises ProviderError: there was no answer, or it is a refusal, or it is none.
        """
        response = await self.send(request)
        error = refusal(response, self.clock.now())
        if error is not None:
            raise error
        return read_object(response)
