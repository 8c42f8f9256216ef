"""TLS certificates of an authority that only these tests trust: a good one and the ways in which one can be bad."""

from __future__ import annotations

import datetime as dt
import ssl

import trustme

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Authority:
    """A certificate authority, and what it issued for a server on 127.0.0.1."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def client(self) -> ssl.SSLContext:
        """What a client needs to trust this authority, and to check names and dates as always."""
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=self._authority.cert_pem.bytes().decode())
        return context

    def good(self) -> ssl.SSLContext:
        """For a server whose certificate is in order."""
        return _server(self._authority.issue_cert("127.0.0.1"))

    def expired(self) -> ssl.SSLContext:
        """For a server whose certificate ran out long ago."""
        day = dt.timedelta(days=1)
        return _server(self._authority.issue_cert("127.0.0.1", not_before=LONG_AGO - day, not_after=LONG_AGO))

    def wrong_host(self) -> ssl.SSLContext:
        """For a server that shows the certificate of another."""
        return _server(self._authority.issue_cert("elsewhere.example"))


def _server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with certificate.private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    return context
