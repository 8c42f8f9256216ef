"""Adapters of other distributions, found by their entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from attrs import frozen

from ratesync.errors import ConfigurationError
from ratesync.protocols import ProviderClient

GROUP = "ratesync.providers"
"""The group of entry points: ``[project.entry-points."ratesync.providers"]`` in a distribution's pyproject.toml."""


@frozen
class InstalledProvider:
    """An adapter that a distribution offers. Nothing of it was imported yet."""

    name: str
    """The name of its entry point, to be given to :func:`load_provider`."""
    target: str
    """What it points to: ``"acme_ratesync:AcmeProvider"``."""
    distribution: str
    """Name and version of the distribution, or "unknown"."""


def installed_providers() -> tuple[InstalledProvider, ...]:
    """All adapters that the distributions in this environment offer, by name."""
    found = {_described(point) for point in entry_points(group=GROUP)}
    return tuple(sorted(found, key=lambda each: (each.name, each.distribution, each.target)))


def load_provider(name: str) -> Callable[..., ProviderClient]:
    """Import an adapter: its class, or the function that makes it. Its own documentation says what to call it with.

    The engine looks at its start whether what was made keeps the protocol; of a class it is seen here.

    :param name: the entry point's name.
    :raises ConfigurationError: there is none of that name, or more than one; it cannot be imported; it is nothing that
        makes an adapter.
    """
    points = {_described(point): point for point in entry_points(group=GROUP, name=name)}
    if not points:
        raise ConfigurationError(f"no provider {name!r} is installed: {_choice()}")
    if len(points) > 1:
        rivals = " and ".join(sorted(each.distribution for each in points))
        raise ConfigurationError(f"provider {name!r} is offered by {rivals}: uninstall all but one")
    ((told, point),) = points.items()
    where = f"provider {name!r} of {told.distribution} ({told.target})"
    try:
        made = point.load()
    except Exception as error:
        raise ConfigurationError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    problem = _problem(made)
    if problem is not None:
        raise ConfigurationError(f"{where} {problem}")
    return cast("Callable[..., ProviderClient]", made)


def _described(point: EntryPoint) -> InstalledProvider:
    owner = None if point.dist is None else point.dist.metadata
    return InstalledProvider(
        point.name, point.value, "unknown" if owner is None else f"{owner['Name']} {owner['Version']}"
    )


def _choice() -> str:
    names = ", ".join(f"{each.name} ({each.distribution})" for each in installed_providers())
    return f"there are {names}" if names else f"no distribution here has an entry point in {GROUP!r}"


def _problem(made: object) -> str | None:
    """What is wrong with what an entry point gave."""
    if not callable(made):
        return f"is a {type(made).__name__}, not a class or function that makes an adapter"
    if not isinstance(made, type):
        return None
    execute = getattr(made, "execute", None)
    if execute is None:
        return "does not keep the ProviderClient protocol: execute is missing"
    if not inspect.iscoroutinefunction(execute):
        return "does not keep the ProviderClient protocol: execute must be an async method"
    return None
