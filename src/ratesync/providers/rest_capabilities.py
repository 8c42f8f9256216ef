"""What follows for an adapter's capabilities from how its REST API is said to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    key_lasts: float | None,
    concurrency: int | None,
) -> Capabilities:
    """What an adapter with these resources promises: no more than holds for each of them."""
    create_identity = create_identity or _create_identity(resources, idempotency_header)
    return Capabilities(
        kinds=frozenset(kind for resource in resources for kind in resource.kinds),
        batch_max=_batch_max(resources, batch),
        conditional_write=conditional_write,
        create_identity=create_identity,
        concurrency=concurrency,
        lookup_after=_lookup_after(resources) if create_identity is CreateIdentity.LOOKUP else 0.0,
        key_lasts=key_lasts,
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


def _batch_max(resources: Sequence[Resource], batch: RequestBatch | None) -> int | Mapping[Kind, int]:
    single = 1 if batch is None else batch.size
    kinds = frozenset(kind for resource in resources for kind in resource.kinds)
    sizes = {
        kind: min(_size(resource, kind, single) for resource in resources if kind in resource.kinds) for kind in kinds
    }
    return sizes if len(set(sizes.values())) > 1 else min(sizes.values(), default=single)


def _size(resource: Resource, kind: Kind, single: int) -> int:
    rows = resource.bulk.get(kind)
    return single if rows is None else rows.size


def _create_identity(resources: Sequence[Resource], idempotency_header: str | None) -> CreateIdentity:
    has_rows = any(Kind.CREATE in resource.bulk for resource in resources)  # without a header of their own
    if idempotency_header is not None and not has_rows:
        return CreateIdentity.IDEMPOTENCY_KEY
    creating = [resource for resource in resources if Kind.CREATE in resource.kinds]
    if creating and all(resource.mark_field is not None for resource in creating):
        return CreateIdentity.LOOKUP
    if has_rows:
        return CreateIdentity.NONE
    chosen = any(resource.create_with_id is not None for resource in resources)
    return CreateIdentity.CLIENT_ID if chosen else CreateIdentity.NONE


def _lookup_after(resources: Sequence[Resource]) -> float:
    return max((resource.mark_lag for resource in resources if resource.mark_field is not None), default=0.0)


def _deletes(resources: Sequence[Resource]) -> DeleteFeed:
    if all(resource.changes is not None and resource.changes.deleted_path is not None for resource in resources):
        return DeleteFeed.TOMBSTONES
    return DeleteFeed.LISTING if all(resource.listing is not None for resource in resources) else DeleteFeed.NONE
