"""What every vault must do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from microd.services.auth.backends.memory import MemoryVault
from microd.services.auth.backends.store import StoreVault
from microd.services.auth.interface import Vault
from microd.services.store.backends.memory import MemoryStore
from microd.testing.outcome import done


@pytest.fixture(params=[MemoryVault, lambda: StoreVault(MemoryStore())], ids=["memory", "store"])
def vault(request: pytest.FixtureRequest) -> Vault:
    """One of the vaults, empty."""
    make: Callable[[], Vault] = request.param
    return make()


def test_read(vault: Vault) -> None:
    """A value is read as it was written last; where there is none, None is."""
    assert done(vault.read("a/b")) is None
    done(vault.apply({"a/b": b"1"}))
    done(vault.apply({"a/b": b"2"}))
    assert done(vault.read("a/b")) == b"2"


def test_forget(vault: Vault) -> None:
    """A key whose value is None is forgotten, whether or not it was there."""
    done(vault.apply({"a": b"1", "b": b"2"}))
    done(vault.apply({"a": None, "c": None}))
    assert done(vault.under("")) == [("b", b"2")]


def test_under(vault: Vault) -> None:
    """All keys with a prefix are found, in their order, however many they are."""
    entries = {f"account/micro/{number:04}": b"%d" % number for number in range(1201)}
    for entry in entries.items():
        done(vault.apply(dict([entry])))
    done(vault.apply({"account/microbe/x": b"", "name/micro/x": b""}))
    assert done(vault.under("account/micro/")) == sorted(entries.items())
