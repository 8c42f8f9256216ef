"""An adapter for REST APIs, by configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from attrs import evolve
from typing_extensions import override

from ratesync.clock import Clock, SystemClock
from ratesync.errors import ConfigurationError, InvalidOperation, ProviderError
from ratesync.http.caller import DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_RESPONSE_BYTES, DEFAULT_TIMEOUT, HttpCaller
from ratesync.http.exchange import HttpClient, RequestT
from ratesync.http.feedback import ThrottleReader
from ratesync.http.headers import checked_headers
from ratesync.http.outcome import read_answer
from ratesync.http.response import Response
from ratesync.model.batch import Batch, Capabilities, ConditionalWrite, CreateIdentity, Reply
from ratesync.model.feedback import NO_FEEDBACK, Feedback
from ratesync.model.operation import Operation
from ratesync.model.outcome import Applied, Cause, Conflict, Outcome, Rejected, RetryLater
from ratesync.providers.answer import read_applied, read_current
from ratesync.providers.path import PLACES
from ratesync.providers.request import Credentials, Request, RequestBuilder
from ratesync.providers.resource import Resource
from ratesync.rules.feedback import join_feedback
from ratesync.rules.provider_errors import outcome_for_error

if TYPE_CHECKING:
    import httpx


class RestProvider:
    """Speaks to a REST API that takes one record in each call.

    ::

        async with RestProvider(
            "acme",
            "https://api.acme.example/v1",
            credentials={"default": {"Authorization": "Bearer ..."}},
        ) as acme:
            ...  # SyncEngine(providers=[acme], ...)

    That is enough where records are JSON objects with an ``id`` under ``/{resource}/{record_id}``; ``resources`` says
    what is otherwise. How calls are made, and what bounds them, is told by :class:`~ratesync.http.HttpCaller`. Leave
    the provider after the engine that uses it: it then closes its connections.

    Its capabilities follow from the configuration: the kinds that some resource has a route for; one operation in a
    call; creates are safe to repeat if the provider honours idempotency keys (``idempotency_header`` given), or where
    the client may choose the id (a resource has ``create_with_id``).

    :param name: the provider's name, as operations give it.
    :param base_url: where paths begin. Default: that of ``client``.
    :param resources: one resource for all names, or each by its name; another name is then rejected. Default:
        ``Resource()`` for all.
    :param headers: sent with every request.
    :param credentials: headers for each connection, by name, or a function from the name to them, called for each
        request. A connection without (LookupError) is paused by the engine. Default: none.
    :param idempotency_header: where the operation's idempotency key is sent with every write, such as
        ``"Idempotency-Key"``; give it only if the provider honours it. Default None.
    :param conditional_write: STRONG if the provider compares If-Match with the record's version and refuses with 412.
    :param create_identity: overrides what follows from the configuration.
    :param throttle: tells throttling where the status does not, such as :func:`ratesync.http.hubspot_throttle`.
    :param concurrency: most calls at once for each connection, None for no bound. Default 10.
    :param client: the host's own ``httpx.AsyncClient`` or httpx2's. :param transport: another transport.
    :param timeout: seconds for a whole call. Default 30.
    :param max_response_bytes: largest answer. Default 10 MiB.
    :param max_connections: of the connection pool. Default 10.
    :param clock: for dates in Retry-After.
    :raises ConfigurationError: something of it cannot be used.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        *,
        resources: Resource | Mapping[str, Resource] | None = None,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
        idempotency_header: str | None = None,
        conditional_write: ConditionalWrite = ConditionalWrite.NONE,
        create_identity: CreateIdentity | None = None,
        throttle: ThrottleReader | None = None,
        concurrency: int | None = 10,
        client: HttpClient[RequestT] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        clock: Clock | None = None,
    ) -> None:
        resources = Resource() if resources is None else resources
        checked_headers({} if idempotency_header is None else {idempotency_header: "key"})
        every = [resources] if isinstance(resources, Resource) else list(resources.values())
        self.name = name
        self.capabilities = Capabilities(
            kinds=frozenset(kind for resource in every for kind in resource.kinds),
            conditional_write=conditional_write,
            create_identity=create_identity or _create_identity(every, idempotency_header),
            concurrency=concurrency,
        )
        self._builder = RequestBuilder(
            resources=resources,
            headers=checked_headers(headers or {}),
            credentials=credentials,
            idempotency_header=idempotency_header,
            conditional_write=conditional_write,
        )
        self._caller = HttpCaller(
            base_url,
            client=client,
            transport=transport,
            timeout=timeout,
            max_response_bytes=max_response_bytes,
            max_connections=max_connections,
        )
        self._throttle = throttle
        self._clock = clock or SystemClock()
        _check_routes(every, self._caller)

    async def execute(self, batch: Batch) -> Reply:
        """Carry the operations out, one call each; outcomes by operation id, and what the answers told of quotas.

        Raises nothing for a call that fails.
        """
        outcomes: dict[str, Outcome] = {}
        feedback = NO_FEEDBACK
        for operation in batch.operations:
            outcomes[operation.id or ""], told = await self._carry_out(operation)
            feedback = join_feedback(feedback, told)
        return Reply(outcomes, feedback)

    async def _carry_out(self, operation: Operation) -> tuple[Outcome, Feedback]:
        try:
            request = self._builder.build(operation)
            response = await self._caller.send(request.method, request.path, json=request.json, headers=request.headers)
        except ProviderError as error:
            return outcome_for_error(error), NO_FEEDBACK
        except InvalidOperation as error:
            return Rejected(str(error), code=type(error).__name__), NO_FEEDBACK
        except ConfigurationError as error:
            # Nothing is wrong with the operation: it waits until the host has put its settings right.
            return RetryLater(str(error), Cause.NOT_SENT), NO_FEEDBACK
        return self._read(response, operation, request)

    def _read(self, response: Response, operation: Operation, request: Request) -> tuple[Outcome, Feedback]:
        outcome, feedback = read_answer(
            response, operation.kind, now=self._clock.now(), secrets=request.secrets, throttle=self._throttle
        )
        try:
            return self._complete(outcome, response, operation), feedback
        except ProviderError as error:
            return outcome_for_error(error), feedback

    def _complete(self, outcome: Outcome, response: Response, operation: Operation) -> Outcome:
        """The outcome with what only the body tells."""
        resource = self._builder.resource(operation.resource)
        match outcome:
            case Applied() if response.is_success:
                return read_applied(response, operation, resource, outcome.version)
            case Conflict():
                return evolve(outcome, current=read_current(response, operation, resource))
            case _:
                return outcome

    async def aclose(self) -> None:
        """Close the connections; a client of the host's stays open."""
        await self._caller.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @override
    def __repr__(self) -> str:
        return f"RestProvider({self.name!r}, '{self._caller.origin}')"


def _create_identity(resources: list[Resource], idempotency_header: str | None) -> CreateIdentity:
    if idempotency_header is not None:
        return CreateIdentity.IDEMPOTENCY_KEY
    chosen = any(resource.create_with_id is not None for resource in resources)
    return CreateIdentity.CLIENT_ID if chosen else CreateIdentity.NONE


def _check_routes(resources: list[Resource], caller: HttpCaller) -> None:
    """Fail now rather than at the first operation."""
    sample = dict.fromkeys(PLACES, "x")
    for resource in resources:
        for route in resource.routes:
            caller.origin.url(route.path.fill(sample))
