"""A database that is away, or dies in the middle: what was done is told, and nobody's secret is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from ratesync.errors import Unavailable
from ratesync.model.outcome import Applied, Rejected, RetryLater, Unknown
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.postgres_server import Postgres
from tests.sql.conftest import postgres_engine
from tests.sql.host import Host

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """What is tested is the database."""
    return "asyncio"


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def host(postgres: Postgres, proxy: CuttingProxy) -> Iterator[Host]:
    database = postgres.new_database().rpartition("/")[2]
    engine = postgres_engine(f"postgresql://postgres:s3cret@127.0.0.1:{proxy.port}/{database}")
    yield Host(engine)
    engine.dispose()


async def test_a_database_that_is_away_is_told_and_picked_up_again(host: Host, proxy: CuttingProxy) -> None:
    record_id = host.add("ada")
    proxy.cut_all(refuse=True)
    for _ in range(2):
        with pytest.raises(Unavailable) as error:
            await host.records.read([record_id])
        assert "s3cret" not in f"{error.value!r}{error.value.__cause__!r}"
    outcome = await host.records.apply(record_id, {"name": "new"}, if_version=None, op_id="o1")
    assert isinstance(outcome, RetryLater)
    assert "s3cret" not in outcome.reason
    proxy.heal()
    assert (await host.records.read([record_id]))[record_id].fields["name"] == "ada"


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_that_is_not_answered_is_in_doubt_and_can_be_asked_again(
    host: Host, proxy: CuttingProxy, *, arrives: bool
) -> None:
    @event.listens_for(host.engine, "commit")
    def cut(connection: sa.Connection) -> None:
        if arrives:
            proxy.cut_replies()
        else:
            proxy.cut_all()

    outcome = await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1")
    event.remove(host.engine, "commit", cut)
    assert isinstance(outcome, Unknown)
    proxy.heal()
    host.engine.dispose()
    assert isinstance(await host.records.apply(None, {"name": "ada"}, if_version=None, op_id="o1"), Applied)
    assert host.say("SELECT name FROM contact") == [("ada",)]


async def test_a_lock_that_others_hold_for_too_long_may_pass(on_sqlite: sa.Engine) -> None:
    engine = sa.create_engine(on_sqlite.url, connect_args={"timeout": 0.05})
    host = Host(engine)
    with engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        assert isinstance(await host.records.apply(None, {"name": "a"}, if_version=None, op_id="o1"), RetryLater)
    assert isinstance(await host.records.apply(None, {"name": "a"}, if_version=None, op_id="o1"), Applied)
    engine.dispose()


async def test_a_table_that_is_gone_is_a_mistake(engine: sa.Engine) -> None:
    host = Host(engine)
    host.say("DROP TABLE contact")
    with pytest.raises(Unavailable):
        await host.records.read(["1"])
    outcome = await host.records.apply(None, {"name": "a"}, if_version=None, op_id="o1")
    assert isinstance(outcome, Rejected | RetryLater)
