"""Which network addresses are public, that is, lead into nobody's own network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64: an IPv4 address, also a private one, is inside
        "64:ff9b:1::/48",  # NAT64 of a network's own
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local, deprecated
        "5f00::/16",  # segment routing
    )
)
"""Networks that ``is_global`` counts as public, on some version of Python, and that lead elsewhere."""


def read_address(text: str) -> Address | None:
    """The address that a text is, in its one proper form; an IPv4 address mapped into IPv6 is unwrapped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def is_public(address: Address) -> bool:
    """Tell whether the address is one of the public internet."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def may_call(address: Address, allowed: tuple[Network, ...], *, encrypted: bool) -> bool:
    """Tell whether the address is public, and called with encryption, or explicitly allowed."""
    return (encrypted and is_public(address)) or any(address in network for network in allowed)
