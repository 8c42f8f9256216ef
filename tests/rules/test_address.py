from __future__ import annotations

from ipaddress import ip_network

import pytest

from ratesync.rules.address import is_public, may_call, read_address


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses(text: str) -> None:
    address = read_address(text)
    assert address is not None
    assert is_public(address)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *(
            "255.255.255.255",
            "192.88.99.1",
            "240.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1%eth0",
            "fc00::1",
            "ff02::1",
        ),
        *("64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "fec0::1", "::127.0.0.1", "::ffff:127.0.0.1"),
        *("2001:db8::1", "5f00::1"),
    ],
)
def test_addresses_that_lead_elsewhere(text: str) -> None:
    address = read_address(text)
    assert address is not None
    assert not is_public(address)
    assert not may_call(address, (ip_network("203.0.113.0/24"),), encrypted=True)
    assert may_call(address, (ip_network(address),), encrypted=False)


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "1.1.1.1.1"])
def test_what_is_no_address_in_its_proper_form(text: str) -> None:
    assert read_address(text) is None
