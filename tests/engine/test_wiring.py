"""What is plugged in wrongly is told at the start, with what is wrong about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ratesync import (
    Applied,
    Batch,
    Capabilities,
    Concurrency,
    CreateIdentity,
    Limiter,
    LooksUp,
    Operation,
    Outcome,
    ProviderClient,
    QueueBackend,
    Rate,
    RateSyncError,
    StateStore,
    SyncEngine,
    Transformer,
)
from ratesync.engine.wiring import check_plugin, check_providers, check_quotas, check_transformers
from ratesync.errors import ConfigurationError
from ratesync.memory import MemoryBackend

PROTOCOLS: tuple[type, ...] = (QueueBackend, Limiter, StateStore, ProviderClient, LooksUp, Transformer)


def members(protocol: type) -> dict[str, Any]:
    return {name: member for name, member in vars(protocol).items() if not name.startswith("_")}


def methods(protocol: type) -> dict[str, Callable[..., Any]]:
    return {name: member for name, member in members(protocol).items() if inspect.isfunction(member)}


def plugin(protocol: type, **replaced: Any) -> Any:
    """Something of class ``Plugin`` that keeps the protocol, but for what is replaced; None: is left out."""
    namespace = {name: member for name, member in (members(protocol) | replaced).items() if member is not None}
    return type("Plugin", (), namespace)()


class Acme:
    """The least that an adapter is."""

    def __init__(self, name: object = "acme", capabilities: object = None) -> None:
        self.name: Any = name
        self.capabilities: Any = capabilities or Capabilities()

    async def execute(self, batch: Batch) -> Mapping[str, Outcome]:
        return {operation.id or "": Applied() for operation in batch.operations}


class Upper:
    """The least that a transformer is."""

    def to_external(self, fields: Mapping[str, Any], kind: object) -> Mapping[str, Any]:
        return {name.upper(): value for name, value in fields.items()}

    def to_local(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name.lower(): value for name, value in fields.items()}


EVERY_MEMBER = [(protocol, name) for protocol in PROTOCOLS for name in members(protocol)]
EVERY_METHOD = [(protocol, name) for protocol in PROTOCOLS for name in methods(protocol)]


def names_of(pairs: list[tuple[type, str]]) -> list[str]:
    return [f"{protocol.__name__}.{name}" for protocol, name in pairs]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_keeps_its_protocol_is_accepted(protocol: type) -> None:
    check_plugin(plugin(protocol), protocol, "part")


@pytest.mark.parametrize(("protocol", "name"), EVERY_MEMBER, ids=names_of(EVERY_MEMBER))
def test_a_missing_member_is_named(protocol: type, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"part 'Plugin'.* {protocol.__name__} .*{name} is missing"):
        check_plugin(plugin(protocol, **{name: None}), protocol, "part")


@pytest.mark.parametrize(("protocol", "name"), EVERY_METHOD, ids=names_of(EVERY_METHOD))
def test_a_member_that_is_no_method_is_named(protocol: type, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not a method"):
        check_plugin(plugin(protocol, **{name: 5}), protocol, "part")


@pytest.mark.parametrize(("protocol", "name"), EVERY_METHOD, ids=names_of(EVERY_METHOD))
def test_a_method_that_is_async_where_it_must_not_be_or_the_reverse_is_named(protocol: type, name: str) -> None:
    async def asynchronous(*args: object, **options: object) -> None: ...

    def synchronous(*args: object, **options: object) -> None: ...

    is_async = inspect.iscoroutinefunction(members(protocol)[name])
    problem = "must be an async method" if is_async else "must not be an async method"
    with pytest.raises(ConfigurationError, match=f"{name} {problem}"):
        check_plugin(plugin(protocol, **{name: synchronous if is_async else asynchronous}), protocol, "part")


@pytest.mark.parametrize(("protocol", "name"), EVERY_METHOD, ids=names_of(EVERY_METHOD))
def test_a_method_that_wants_more_than_it_is_given_is_named(protocol: type, name: str) -> None:
    async def asynchronous(self: object, *args: object, more: object, **options: object) -> None: ...

    def synchronous(self: object, *args: object, more: object, **options: object) -> None: ...

    is_async = inspect.iscoroutinefunction(members(protocol)[name])
    greedy = asynchronous if is_async else synchronous
    with pytest.raises(ConfigurationError, match=rf"{name}\(.* cannot be called so: .*'more'"):
        check_plugin(plugin(protocol, **{name: greedy}), protocol, "part")


def test_a_method_that_takes_too_little_is_named() -> None:
    async def enqueue(self: object, items: object) -> None: ...  # without wait_until

    async def settle(self: object, settlements: object) -> None: ...  # without worker

    with pytest.raises(ConfigurationError) as caught:
        check_plugin(plugin(QueueBackend, enqueue=enqueue, settle=settle), QueueBackend, "queue")
    assert "enqueue(" in str(caught.value)
    assert "wait_until" in str(caught.value)
    assert "settle(" in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_plugin(plugin(Limiter, reserve=None, done=5), Limiter, "limiter")
    assert "reserve is missing" in str(caught.value)
    assert "done is not a method" in str(caught.value)


def test_parameters_of_its_own_do_not_matter_if_they_have_defaults() -> None:
    async def execute(self: object, batch: object, *rest: object, retries: int = 3) -> None: ...

    check_plugin(plugin(ProviderClient, execute=execute), ProviderClient, "provider")


def test_a_member_whose_reading_fails_is_missing() -> None:
    def unconnected(plugin: object) -> Any:
        raise AttributeError("not connected")

    with pytest.raises(ConfigurationError, match="execute is missing"):
        check_providers([plugin(ProviderClient, execute=property(unconnected))])


def test_providers_are_found_by_name() -> None:
    acme, globex = Acme(), Acme("globex")
    assert check_providers([acme, globex]) == {"acme": acme, "globex": globex}


def test_a_class_in_place_of_an_adapter_is_told() -> None:
    with pytest.raises(ConfigurationError, match="provider"):
        check_providers([Acme])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["", None, 5], ids=repr)
def test_a_provider_needs_a_name(name: object) -> None:
    with pytest.raises(ConfigurationError, match="provider 'Acme': name must be a non-empty str"):
        check_providers([Acme(name)])


def test_a_provider_needs_capabilities() -> None:
    with pytest.raises(ConfigurationError, match="'acme': capabilities must be a Capabilities"):
        check_providers([Acme(capabilities={"batch_max": 10})])


def test_two_providers_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two providers are named 'acme'"):
        check_providers([Acme(), Acme("globex"), Acme()])


def test_who_promises_lookup_must_have_it() -> None:
    able = Capabilities(create_identity=CreateIdentity.LOOKUP)
    with pytest.raises(ConfigurationError, match=r"'acme' promises create_identity LOOKUP.*lookup is missing"):
        check_providers([Acme(capabilities=able)])


def test_who_promises_lookup_and_has_it_is_accepted() -> None:
    class Finder(Acme):
        async def lookup(self, operation: Operation) -> Outcome | None:
            return None

    finder = Finder(capabilities=Capabilities(create_identity=CreateIdentity.LOOKUP))
    assert check_providers([finder]) == {"acme": finder}


def test_quotas_by_provider_and_by_connection_are_accepted() -> None:
    quotas: dict[Any, Any] = {"acme": [Rate(1, per=1.0)], ("acme", "berlin"): [Concurrency(2)], "globex": []}
    check_quotas(quotas, {"acme": Acme(), "globex": Acme()})


@pytest.mark.parametrize("key", ["globex", ("globex", "berlin")], ids=str)
def test_quotas_of_an_unknown_provider_are_named(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_quotas({key: [Rate(1, per=1.0)]}, {"acme": Acme()})
    assert f"quotas[{key!r}]" in str(caught.value)
    assert "registered are ['acme']" in str(caught.value)


@pytest.mark.parametrize("key", [("acme",), ("acme", "berlin", "contacts"), ("acme", 5), (), 5, None], ids=repr)
def test_a_quota_key_of_another_form_is_named(key: Any) -> None:
    """It would never apply to any call, and the provider's quota would be exceeded."""
    with pytest.raises(ConfigurationError, match="quotas"):
        check_quotas({key: [Rate(1, per=1.0)]}, {"acme": Acme()})


@pytest.mark.parametrize("value", [10, "10/s", None], ids=repr)
def test_what_is_no_quota_is_named(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"quotas\['acme'\].*is no quota"):
        check_quotas({"acme": [Rate(1, per=1.0), value]}, {"acme": Acme()})


@pytest.mark.parametrize("values", [Rate(1, per=1.0), 5, None], ids=["rate", "number", "none"])
def test_a_quota_that_does_not_stand_in_a_list_is_named(values: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"quotas\['acme'\]"):
        check_quotas({"acme": values}, {"acme": Acme()})


def test_transformers_of_known_providers_are_accepted() -> None:
    check_transformers({("acme", "contacts"): Upper()}, {"acme": Acme()})


@pytest.mark.parametrize("key", ["acme", "ac", ("acme",), ("acme", "contacts", "x"), 5], ids=repr)
def test_a_transformer_key_of_another_form_is_named(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_transformers({key: Upper()}, {"acme": Acme()})
    assert f"transformers[{key!r}]: the key must be (provider, resource)" in str(caught.value)


def test_a_transformer_of_an_unknown_provider_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\('globex', 'contacts'\).*registered are \['acme'\]"):
        check_transformers({("globex", "contacts"): Upper()}, {"acme": Acme()})


def test_what_is_no_transformer_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"transformers\[\('acme', 'contacts'\)\].*to_external is missing"):
        check_transformers({("acme", "contacts"): str.upper}, ["acme"])  # type: ignore[dict-item]


def make_engine(**parts: Any) -> SyncEngine:
    options: dict[str, Any] = {"backend": MemoryBackend(), "providers": [Acme()]}
    return SyncEngine(**(options | parts))


WRONG_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to queue with": ({"backend": None}, "no queue: give backend="),
    "nothing to limit with": ({"backend": None, "queue": plugin(QueueBackend)}, "no limiter: give backend="),
    "queue": ({"queue": plugin(QueueBackend, claim=None)}, "queue 'Plugin'.*claim is missing"),
    "limiter": ({"limiter": plugin(Limiter, acquire=None)}, "limiter 'Plugin'.*acquire is missing"),
    "state": ({"state": plugin(StateStore, scan=None)}, "state 'Plugin'.*scan is missing"),
    "provider": ({"providers": [plugin(ProviderClient, execute=None)]}, "provider 'Plugin'.*execute is missing"),
    "one name twice": ({"providers": [Acme(), Acme()]}, "two providers"),
    "quota": ({"quotas": {"globex": [Rate(1, per=1.0)]}}, "quotas.*no such provider"),
    "transformer": ({"transformers": {("acme", "contacts"): object()}}, "transformers.*to_local is missing"),
    "role": ({"role": "boss"}, "role 'boss': must be one of.*submit"),
    "observer": ({"observers": [5]}, "observer.*int"),
    "observer that wants nothing": ({"observers": [lambda: None]}, "observer"),
}


@pytest.mark.parametrize(("parts", "problem"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_an_engine_of_wrong_parts_is_not_made(parts: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make_engine(**parts)


def test_an_observer_that_is_async_is_refused() -> None:
    """Nobody would await it, so it would never run."""

    async def observe(event: object) -> None: ...

    with pytest.raises(ConfigurationError, match="observer"):
        make_engine(observers=[observe])


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), "15", None], ids=repr)
def test_a_queue_whose_leases_last_no_time_is_refused(seconds: object) -> None:
    """The heartbeat is a part of the lease, so it would spin or fail once the engine runs."""
    queue = plugin(QueueBackend, lease_seconds=seconds if seconds is not None else property(lambda _: None))
    with pytest.raises(ConfigurationError, match="lease_seconds"):
        make_engine(queue=queue)


def test_errors_of_configuration_are_ours() -> None:
    assert issubclass(ConfigurationError, RateSyncError)
