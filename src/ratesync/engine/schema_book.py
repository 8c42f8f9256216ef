"""What this worker knows of the schemas that it watches."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen

from ratesync.clock import Clock
from ratesync.engine.notifier import Notifier
from ratesync.engine.wiring import TransformerKey
from ratesync.model.event import SchemaDrifted
from ratesync.model.lane import Lane
from ratesync.model.operation import Fields
from ratesync.model.schema import FieldDrift, RemoteSchema
from ratesync.protocols import NamesPaths, Transformer
from ratesync.rules.schema_drift import SchemaJudgement, choices_in, unknown_choices

SchemaKey = tuple[Lane, str]
"""Lane and resource."""
_MOST_TOLD = 1_000
"""Unknown choices that are remembered as told, for each resource."""


@frozen
class _Page:
    schema: RemoteSchema
    judgement: SchemaJudgement
    transformer: Transformer | None
    told: set[FieldDrift] = field(factory=set[FieldDrift], eq=False)


@define
class SchemaBook:
    """Says by which transformer records are translated, and whether a resource has to wait."""

    transformers: Mapping[TransformerKey, Transformer]
    clock: Clock
    notify: Notifier
    surprised: set[SchemaKey] = field(factory=set[SchemaKey], init=False)
    """Where a record had a value that its schema does not name: the schema is to be read again."""
    _pages: dict[SchemaKey, _Page] = field(factory=dict[SchemaKey, _Page], init=False)

    def transformer(self, lane: Lane, resource: str) -> Transformer | None:
        """The transformer for a resource, without the fields that are left out."""
        page = self._pages.get((lane, resource)) if self._pages else None
        return self.transformers.get((lane.provider, resource)) if page is None else page.transformer

    def stops(self, lane: Lane, resource: str) -> bool:
        """Whether the resource's operations wait until its schema is accepted."""
        page = self._pages.get((lane, resource)) if self._pages else None
        return page is not None and page.judgement.decision.stops

    def write(self, lane: Lane, resource: str, schema: RemoteSchema, judgement: SchemaJudgement) -> None:
        """Take note of what a look came to, and tell the observers what is news."""
        before = self._pages.get((lane, resource))
        if before is not None and (before.schema, before.judgement) == (schema, judgement):
            return
        transformer = self.transformers.get((lane.provider, resource))
        decision = judgement.decision
        if decision.left_out and isinstance(transformer, NamesPaths):
            transformer = transformer.without(decision.left_out)
        self._pages[lane, resource] = _Page(schema, judgement, transformer)
        if judgement.drift:
            self.notify(
                SchemaDrifted(self.clock.now(), lane, resource, judgement.drift, decision.stops, decision.left_out)
            )

    def look_at_record(self, lane: Lane, resource: str, record: Fields) -> None:
        """Tell of values that the schema does not name, each once."""
        page = self._pages.get((lane, resource)) if self._pages else None
        transformer = self.transformers.get((lane.provider, resource))
        if page is None or not isinstance(transformer, NamesPaths):
            return
        unknown = unknown_choices(page.schema, choices_in(page.schema, record, transformer.paths))
        news = tuple(each for each in unknown if each not in page.told)
        if news and len(page.told) < _MOST_TOLD:
            page.told.update(news)
            self.surprised.add((lane, resource))
            self.notify(SchemaDrifted(self.clock.now(), lane, resource, news))
