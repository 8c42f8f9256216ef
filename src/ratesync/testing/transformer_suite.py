"""The conformance suite of transformers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import pytest

from ratesync.engine.wiring import check_plugin
from ratesync.model.operation import Fields, Kind
from ratesync.model.policy import PayloadLimits
from ratesync.protocols import Transformer
from ratesync.rules.payload import check_fields
from ratesync.testing.suite import Suite

_WRITES = [Kind.CREATE, Kind.UPDATE, Kind.UPSERT]


class TransformerSuite(Suite):
    """Subclass it and give the fixtures ``transformer`` (what is tested), ``local_samples`` and ``external_samples``.

    The samples are lists of fields: records in the host's terms, and records as the provider sends them.
    """

    def test_it_keeps_the_protocol(self, transformer: Transformer) -> None:
        check_plugin(transformer, Transformer, "transformer")

    @pytest.mark.parametrize("kind", _WRITES)
    def test_what_goes_out_can_be_sent(
        self, transformer: Transformer, local_samples: Sequence[Fields], kind: Kind
    ) -> None:
        for sample in local_samples:
            check_fields(dict(transformer.to_external(sample, kind)), PayloadLimits(), "to_external")

    @pytest.mark.parametrize("kind", _WRITES)
    def test_a_second_attempt_sends_the_same(
        self, transformer: Transformer, local_samples: Sequence[Fields], kind: Kind
    ) -> None:
        for sample in local_samples:
            assert transformer.to_external(sample, kind) == transformer.to_external(copy.deepcopy(sample), kind)

    @pytest.mark.parametrize("kind", _WRITES)
    def test_what_goes_out_is_not_the_hosts_own_object_changed(
        self, transformer: Transformer, local_samples: Sequence[Fields], kind: Kind
    ) -> None:
        for sample in local_samples:
            before = copy.deepcopy(sample)
            transformer.to_external(sample, kind)
            assert sample == before

    def test_what_comes_in_is_a_record_and_the_same_each_time(
        self, transformer: Transformer, external_samples: Sequence[Fields]
    ) -> None:
        for sample in external_samples:
            before = copy.deepcopy(sample)
            local = transformer.to_local(sample)
            assert isinstance(local, Mapping)
            assert sample == before
            assert transformer.to_local(sample) == local
