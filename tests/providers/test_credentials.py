from __future__ import annotations

import pytest

from ratesync.errors import NotSent, Unauthorised
from ratesync.providers import Credentials
from ratesync.providers.credentials import credential_headers

TOKENS = {"default": {"Authorization": "Bearer default-token"}, "other": {"Authorization": "Bearer other-token"}}


@pytest.mark.parametrize("credentials", [TOKENS, TOKENS.__getitem__], ids=["mapping", "function"])
def test_each_connection_has_its_own_credentials(credentials: Credentials) -> None:
    assert credential_headers(credentials, "other") == TOKENS["other"]
    with pytest.raises(Unauthorised, match="'third'") as caught:
        credential_headers(credentials, "third")
    assert caught.value.__context__ is None


def test_a_credentials_function_that_breaks_down_sends_nothing() -> None:
    def broken(connection: str) -> dict[str, str]:
        raise OSError(f"vault sealed: token for {connection}")

    with pytest.raises(NotSent, match="failed with OSError") as caught:
        credential_headers(broken, "default")
    assert "vault" not in str(caught.value)
