"""The first admin and its secret."""

from __future__ import annotations

import stat
from typing import Any

import pytest
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from microd.services.auth.model import WrongSecret


@pytest.fixture
def fresh(key: Any, tmp_path: Any, scene: Any) -> Any:
    """An auth about to start for the first time."""
    made = type(scene)(key, tmp_path / "data")
    made.chosen = ""
    return made


def test_made(fresh: Any) -> None:
    """The first start makes an admin, and keeps its secret in a file which nobody else may read."""
    fresh.start()
    file = fresh.data / "admin-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = fresh.token(id="admin", secret=file.read_text().strip())
    assert fresh.auth.inspect_cached(token.access).is_admin


def test_told_once(fresh: Any) -> None:
    """The log says where the secret is, at the first start only, and never what it is."""
    told: list[str] = []

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        told.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    try:
        fresh.start()
        fresh.start()
    finally:
        globalLogPublisher.removeObserver(observe)
    file = fresh.data / "admin-secret"
    assert [line for line in told if str(file) in line] == [f"the secret of the account admin is in {file}"]
    assert not any(file.read_text().strip() in line for line in told)


def test_no_default_password(fresh: Any) -> None:
    """Each installation has another secret, and the reference's default is not one."""
    fresh.start()
    with pytest.raises(WrongSecret):
        fresh.token(id="admin", secret="micro")
    assert len((fresh.data / "admin-secret").read_text().strip()) >= 32


def test_chosen(fresh: Any) -> None:
    """The operator's choice is the secret, and is written nowhere."""
    fresh.chosen = "mine"
    fresh.start()
    fresh.token(id="admin", secret="mine")
    assert not (fresh.data / "admin-secret").exists()


def test_chosen_is_the_first_one(fresh: Any) -> None:
    """Choosing changes nothing once there is a user."""
    fresh.chosen = "mine"
    fresh.start()
    fresh.chosen = "another"
    fresh.start()
    fresh.token(id="admin", secret="mine")


def test_name_taken(scene: Any) -> None:
    """Where a service has taken the admin's name, a daemon whose users are all gone starts all the same."""
    robot = scene.enrol("robot", type="service", scopes=("service",))
    scene.now(scene.auth.delete("micro", "admin", robot))
    scene.enrol("admin", type="service")
    scene.start()
    assert [account.type for account in scene.now(scene.auth.accounts("micro"))] == ["service", "service"]


def test_last_user(scene: Any) -> None:
    """Where the last user was deleted, the next start makes the admin anew."""
    robot = scene.enrol("robot", type="service", scopes=("service",))
    scene.now(scene.auth.delete("micro", "admin", robot))
    scene.start()
    scene.token(id="admin", secret="first-secret")


def test_cut_off(fresh: Any) -> None:
    """A start which ended between the file and the account is made good by the next, with the same secret."""
    fresh.start()
    secret = (fresh.data / "admin-secret").read_text().strip()
    fresh.vault = type(fresh.vault)()
    fresh.start()
    fresh.token(id="admin", secret=secret)


def test_changed(fresh: Any) -> None:
    """The file is gone once the admin has another secret."""
    fresh.start()
    fresh.now(fresh.auth.change_secret("micro", "admin", "", "mine", fresh.admin))
    assert not (fresh.data / "admin-secret").exists()
    fresh.start()
    fresh.token(id="admin", secret="mine")
