"""Checking at the start that everything plugged in keeps its protocol."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ratesync.engine.quotas import QuotaKey
from ratesync.errors import ConfigurationError
from ratesync.model.batch import Capabilities, CreateIdentity
from ratesync.model.quota import CALLS, OPERATIONS, Adaptive, Countable, Penalty
from ratesync.model.schema import SchemaWatch
from ratesync.protocols import (
    Charges,
    DescribesResources,
    LooksUp,
    NamesPaths,
    Observer,
    ProviderClient,
    Transformer,
)

TransformerKey = tuple[str, str]
"""(provider, resource)."""


def check_plugin(plugin: object, protocol: type, role: str) -> None:
    """Make sure that ``plugin`` has every member of ``protocol`` in the right form.

    :raises ConfigurationError: names each member that is missing or of the wrong form.
    """
    problems = [
        problem
        for name, member in vars(protocol).items()
        if not name.startswith("_") and (problem := _problem(plugin, name, member))
    ]
    if problems:
        raise ConfigurationError(
            f"{role} {type(plugin).__name__!r} does not keep the {protocol.__name__} protocol: {'; '.join(problems)}"
        )


def _problem(plugin: object, name: str, member: Any) -> str | None:
    try:
        value = getattr(plugin, name)
    except AttributeError:
        return f"{name} is missing"
    if isinstance(member, property):
        return None
    if not callable(value):
        return f"{name} is not a method"
    if inspect.iscoroutinefunction(member) and not inspect.iscoroutinefunction(value):
        return f"{name} must be an async method"
    if inspect.iscoroutinefunction(value) and not inspect.iscoroutinefunction(member):
        return f"{name} must not be an async method"
    return _signature_problem(value, name, member)


def _signature_problem(value: Any, name: str, member: Any) -> str | None:
    wanted = list(inspect.signature(member).parameters.values())[1:]
    positional = [object()] * sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in wanted)
    keywords = {parameter.name: object() for parameter in wanted if parameter.kind is parameter.KEYWORD_ONLY}
    try:
        inspect.signature(value).bind(*positional, **keywords)
    except TypeError as error:
        return f"{name}{inspect.signature(member)} cannot be called so: {error}"
    except ValueError:
        return None  # a callable written in C has no signature to look at
    return None


def check_providers(providers: Iterable[ProviderClient]) -> dict[str, ProviderClient]:
    """The adapters by name.

    :raises ConfigurationError: an adapter does not keep its protocol, or two have one name.
    """
    found: dict[str, ProviderClient] = {}
    for provider in providers:
        check_plugin(provider, ProviderClient, "provider")
        if not isinstance(provider.name, str) or not provider.name:
            raise ConfigurationError(f"provider {type(provider).__name__!r}: name must be a non-empty str")
        if not isinstance(provider.capabilities, Capabilities):
            raise ConfigurationError(f"provider {provider.name!r}: capabilities must be a Capabilities")
        if provider.name in found:
            raise ConfigurationError(f"two providers are named {provider.name!r}: give one of them another name")
        if provider.capabilities.create_identity is CreateIdentity.LOOKUP:
            check_plugin(provider, LooksUp, f"provider {provider.name!r} promises create_identity LOOKUP, but")
        found[provider.name] = provider
    return found


def check_quotas(quotas: Mapping[QuotaKey, Iterable[object]], providers: Mapping[str, ProviderClient]) -> None:
    """Make sure that quotas are quotas, of providers that exist and can tell what a call costs.

    :raises ConfigurationError: names the quota.
    """
    known = sorted(providers)
    for key, values in quotas.items():
        provider = _provider_of(key)
        if provider not in known:
            raise ConfigurationError(f"quotas[{key!r}]: no such provider; registered are {known}")
        if not isinstance(values, Sequence):
            raise ConfigurationError(f"quotas[{key!r}]: must be a list of quotas, not a {type(values).__name__}")
        for value in values:
            if not isinstance(value, Countable | Penalty | Adaptive):
                raise ConfigurationError(
                    f"quotas[{key!r}]: {value!r} is no quota: give a Rate, Concurrency or the like"
                )
            if isinstance(value, Countable | Adaptive) and value.unit not in {CALLS, OPERATIONS}:
                owner = f"quotas[{key!r}] counts {value.unit!r}, so that provider {provider!r} must tell the cost, but"
                check_plugin(providers[provider], Charges, owner)


def _provider_of(key: object) -> str:
    match key:
        case str():
            return key
        case (str() as provider, str()):
            return provider
        case _:
            raise ConfigurationError(f"quotas[{key!r}]: the key must be a provider's name or (provider, connection)")


def check_schemas(
    watches: Mapping[TransformerKey, object],
    transformers: Mapping[TransformerKey, object],
    providers: Mapping[str, object],
    state: object | None,
) -> None:
    """Make sure that what is to be watched can be: described, judged and remembered.

    :raises ConfigurationError: names the watch.
    """
    for key, watch in watches.items():
        owner = f"schemas[{key!r}]"
        if not isinstance(watch, SchemaWatch):
            raise ConfigurationError(f"{owner}: give a SchemaWatch, not a {type(watch).__name__}")
        if not (isinstance(key, tuple) and len(key) == 2) or key not in transformers:  # noqa: PLR2004  a pair
            raise ConfigurationError(f"{owner}: there is no transformer for it, so nobody knows which fields are used")
        check_plugin(providers[key[0]], DescribesResources, f"{owner}: the provider")
        check_plugin(transformers[key], NamesPaths, f"{owner}: the transformer")
        if state is None:
            raise ConfigurationError(f"{owner}: no state store to remember schemas: give backend= or state=")


def check_observers(observers: Iterable[object]) -> None:
    """Make sure that observers can be called with one event and need not be awaited.

    :raises ConfigurationError: names the observer's type.
    """
    for observer in observers:
        name = type(observer).__qualname__
        if not callable(observer):
            raise ConfigurationError(f"observer of type {name}: must be callable with one event")
        if inspect.iscoroutinefunction(observer) or inspect.iscoroutinefunction(type(observer).__call__):
            raise ConfigurationError(f"observer of type {name}: must not be async, as nobody would await it")
        problem = _signature_problem(observer, "observer", Observer.__call__)
        if problem is not None:
            raise ConfigurationError(f"observer of type {name}: {problem}")


def check_transformers(transformers: Mapping[TransformerKey, Transformer], names: Iterable[str]) -> None:
    """Make sure that transformers keep their protocol and belong to providers that exist.

    :raises ConfigurationError: names the transformer.
    """
    known = sorted(names)
    for key, transformer in transformers.items():
        if not (isinstance(key, tuple) and len(key) == 2):  # noqa: PLR2004  a pair
            raise ConfigurationError(f"transformers[{key!r}]: the key must be (provider, resource)")
        if key[0] not in known:
            raise ConfigurationError(f"transformers[{key!r}]: no such provider; registered are {known}")
        check_plugin(transformer, Transformer, f"transformers[{key!r}]")
