"""What most adapters over HTTP need: an account for each connection, one pool, and answers judged alike."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Unpack

from attrs import evolve

from ratesync.errors import CursorExpired, PagingBroken, ProviderError
from ratesync.http.accounts import Accounts
from ratesync.http.feedback import ThrottleReader, read_feedback
from ratesync.http.outcome import NOT_FOUND, read_answer
from ratesync.http.pages import Page
from ratesync.http.reason import reason_of
from ratesync.http.refusal import refusal_in
from ratesync.http.response import Response
from ratesync.model.batch import Batch, Reply
from ratesync.model.feedback import Feedback
from ratesync.model.operation import Kind
from ratesync.model.outcome import NO_SUCH_PAGE, Outcome, Rejected
from ratesync.providers.account_provider import AccountOptions, AccountProvider
from ratesync.providers.bulk import Bulk
from ratesync.providers.call import RequestOptions, make_call
from ratesync.rules.paging import Content, Pager, Trail, items_at, step
from ratesync.rules.provider_errors import outcome_for_error


class HttpOptions(AccountOptions, total=False):
    """What may be said of an :class:`HttpProvider`, by keyword."""

    throttle: ThrottleReader


class HttpProvider(AccountProvider):
    """The part of an adapter that has nothing to do with what the API is about.

    A subclass has ``capabilities`` and ``execute``; it calls with :meth:`send`, :meth:`ask` and :meth:`send_bulk`, and
    is left after the engine that uses it. No adapter needs to be one: the engine knows the protocol only.

    :param name: the provider's name, as operations give it.
    :param base_url: where paths begin, for accounts that have no address of their own.
    :param accounts: how to authenticate: one :class:`~ratesync.http.Account` for all connections, or each by the
        connection's name, or a function from the name to it.
    :param throttle: tells throttling where the status does not.
    :param options: as for :class:`~ratesync.providers.AccountProvider`.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None,
        accounts: Accounts,
        *,
        throttle: ThrottleReader | None = None,
        **options: Unpack[AccountOptions],
    ) -> None:
        super().__init__(name, base_url, accounts, **options)
        self._throttle = throttle

    async def send(self, connection: str, method: str, target: str, **request: Unpack[RequestOptions]) -> Response:
        """Make one call for a connection; the whole answer, whatever its status.

        Parameters and errors are those of :meth:`ratesync.http.HttpCaller.send`, and:

        :raises Unauthorised: the connection has no account. :raises NotSent: asking for it failed, or its settings
            cannot be used.
        """
        return await make_call(self.caller(connection), method, target, **request)

    async def ask(
        self, connection: str, target: str, params: Mapping[str, str] | None = None, *, json: Any = None
    ) -> Response:
        """Make one call that must succeed: for a page of a listing, a description. A POST where there is ``json``.

        :raises ProviderError: as :meth:`send` does, and where the answer is a refusal.
        """
        method = "GET" if json is None else "POST"
        return self.checked(await self.send(connection, method, target, params=params, json=json))

    async def page(
        self,
        connection: str,
        target: str,
        pager: Pager,
        position: str | None,
        *,
        params: Mapping[str, str] | None = None,
        link_header: str = "link",
        can_expire: bool = False,
    ) -> Page:
        """Read the one page of a listing at a position; None: the first. It may be the position of another process.

        :param link_header: as for :class:`~ratesync.providers.Listing`.
        :param can_expire: a cursor is asked with, so that 410 means that it is no longer known.
        :raises CursorExpired: that is so.
        :raises ProviderError: as :meth:`ask` does.
        :raises PagingBroken: the page leads back to itself, or the position is none of this listing.
        """
        try:
            asked = pager.ask(position)
        except ValueError:
            raise PagingBroken("the position is none of this listing", fault="position", page=0) from None
        query = {**(params or {}), **asked.params}
        if asked.target is not None:
            origin = self.caller(connection).origin
            target, query = origin.link(target, asked.target), dict(asked.params)
        response = await self.send(connection, "GET", target, params=query)
        if can_expire and response.status == HTTPStatus.GONE:
            raise CursorExpired(f"{reason_of(response)}: list all records anew")
        self.checked(response)
        body, link = response.json(), response.headers.get(link_header, "")
        if link and link_header.lower() != "link":
            link = f'<{link}>; rel="next"'
        content, trail = Content(items_at(body, pager.items_path), body, link), Trail()
        if position is not None:
            trail.leave(position)
        following = step(pager, position, content, trail)
        return Page(1, tuple(content.items), response, position, following)

    async def send_bulk(self, batch: Batch, bulk: Bulk) -> Reply:
        """Carry a batch out in one call. Raises nothing for a call that fails: each operation has its outcome."""
        sent = bulk.prepare(batch.operations)
        if not sent.operations:
            return Reply(sent.refused)
        headers = {"content-type": "application/json", **bulk.headers}
        try:
            response = await self.send(
                batch.connection, bulk.method, bulk.target, content=sent.content, headers=headers
            )
        except ProviderError as error:
            return Reply(sent.all_as(outcome_for_error(error)))
        # As of an upsert: a 404 for a path of many records is no success of a delete,
        whole, feedback = self.judge(response, Kind.UPSERT)
        if isinstance(whole, Rejected) and response.status in NOT_FOUND:
            whole = evolve(whole, code=NO_SUCH_PAGE)  # and does not tell that one of them is gone.
        return Reply(bulk.outcomes(sent, response, whole), feedback)

    def judge(self, response: Response, kind: Kind) -> tuple[Outcome, Feedback]:
        """What an answer says of an operation of ``kind``, and of quotas: :func:`ratesync.http.read_answer`."""
        return read_answer(response, kind, now=self._clock.now(), throttle=self._throttle)

    def checked(self, response: Response) -> Response:
        """The answer, if it is a success.

        :raises ProviderError: what it is instead: :func:`ratesync.http.refusal_in`.
        """
        refusal = refusal_in(response, now=self._clock.now(), throttle=self._throttle)
        if refusal is not None:
            raise refusal
        return response

    def feedback(self, response: Response) -> Feedback:
        """What an answer tells of quotas."""
        return read_feedback(response, self._clock.now(), self._throttle)
