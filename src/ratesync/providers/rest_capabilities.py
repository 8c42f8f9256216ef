"""What follows for an adapter's capabilities from how its REST API is said to be."""

from __future__ import annotations

from collections.abc import Sequence

from ratesync.errors import ConfigurationError
from ratesync.http.origin import Origin
from ratesync.model.batch import Capabilities, ConditionalWrite, CreateIdentity, DeleteFeed
from ratesync.model.operation import Kind
from ratesync.providers.path import PLACES
from ratesync.providers.request_batch import RequestBatch
from ratesync.providers.resource import Resource


def capabilities_of(
    resources: Sequence[Resource],
    *,
    batch: RequestBatch | None,
    conditional_write: ConditionalWrite,
    create_identity: CreateIdentity | None,
    idempotency_header: str | None,
    concurrency: int | None,
) -> Capabilities:
    """What an adapter with these resources promises: no more than holds for each of them.

    :raises ConfigurationError: some operations would go out in bulk and others one by one.
    """
    return Capabilities(
        kinds=frozenset(kind for resource in resources for kind in resource.kinds),
        batch_max=_batch_max(resources, batch),
        conditional_write=conditional_write,
        create_identity=create_identity or _create_identity(resources, idempotency_header),
        concurrency=concurrency,
        deletes=_deletes(resources),
    )


def check_paths(resources: Sequence[Resource]) -> None:
    """Fail now rather than at the first operation.

    :raises ConfigurationError: a path cannot be sent.
    """
    somewhere, sample = Origin.of("https://api.example"), dict.fromkeys(PLACES, "x")
    for resource in resources:
        for path in resource.paths:
            somewhere.url(path.fill(sample))


def _batch_max(resources: Sequence[Resource], batch: RequestBatch | None) -> int:
    sizes = [rows.size for resource in resources for rows in resource.bulk.values()]
    if batch is not None:
        return min([batch.size, *sizes])
    if sizes and any(frozenset(resource.bulk) != resource.kinds for resource in resources):
        raise ConfigurationError("where a kind has a bulk call all must have one, or be None: a batch is one call")
    return min(sizes, default=1)


def _create_identity(resources: Sequence[Resource], idempotency_header: str | None) -> CreateIdentity:
    if any(Kind.CREATE in resource.bulk for resource in resources):
        return CreateIdentity.NONE  # rows carry no header, neither a key nor If-None-Match
    if idempotency_header is not None:
        return CreateIdentity.IDEMPOTENCY_KEY
    chosen = any(resource.create_with_id is not None for resource in resources)
    return CreateIdentity.CLIENT_ID if chosen else CreateIdentity.NONE


def _deletes(resources: Sequence[Resource]) -> DeleteFeed:
    if all(resource.changes is not None and resource.changes.deleted_path is not None for resource in resources):
        return DeleteFeed.TOMBSTONES
    return DeleteFeed.LISTING if all(resource.listing is not None for resource in resources) else DeleteFeed.NONE
