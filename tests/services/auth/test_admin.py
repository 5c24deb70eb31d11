"""The first admin and its secret."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from microd.services.auth.model import InvalidToken, WrongSecret


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
    told = fresh.told(fresh.start) + fresh.told(fresh.start)
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


def test_id_taken(scene: Any) -> None:
    """Who took the admin's id, in a platform without an admin, has nothing by it: neither secret nor token is good."""
    scene.lose("admin")
    scene.start()
    scene.lose("admin")
    scene.chosen = ""
    scene.enrol("admin", type="service", scopes=("service",), secret="theirs", metadata={"a": "b"})
    taken = scene.token(id="admin", secret="theirs")
    auth = scene.start()
    (account,) = scene.now(auth.accounts("micro"))
    assert (account.id, account.type, account.scopes, dict(account.metadata)) == (
        "admin",
        "user",
        ("admin",),
        {},
    )
    assert auth.inspect_cached(taken.access) is None
    with pytest.raises(InvalidToken):
        scene.token(refresh_token=taken.refresh)
    with pytest.raises(WrongSecret):
        scene.token(id="admin", secret="theirs")
    secret = (scene.data / "admin-secret").read_text().strip()
    assert auth.inspect_cached(scene.token(id="admin", secret=secret).access).is_admin


def test_name_taken(scene: Any) -> None:
    """Where another account has the admin's name, the admin is made all the same, and the other keeps it."""
    scene.lose("admin")
    scene.enrol("impostor", name="admin")
    auth = scene.start()
    assert [(each.id, each.name) for each in scene.now(auth.accounts("micro"))] == [
        ("admin", "admin-2"),
        ("impostor", "admin"),
    ]
    assert auth.inspect_cached(scene.token(id="admin", secret="first-secret").access).id == "admin"


def test_no_admin_left(scene: Any) -> None:
    """Users who are no admins, and admins of other namespaces, do not keep the next start from making the admin anew."""
    scene.lose("admin")
    scene.enrol("ada")
    scene.enrol("boss", "foo", scopes=("admin",))
    scene.start()
    scene.token(id="admin", secret="first-secret")


def test_another_admin(scene: Any) -> None:
    """Where somebody else administers the platform, no start makes the account admin."""
    boss = scene.enrol("boss", scopes=("admin",))
    scene.now(scene.auth.delete("micro", "admin", boss))
    auth = scene.start()
    assert [account.id for account in scene.now(auth.accounts("micro"))] == ["boss"]


def test_former_secret(fresh: Any) -> None:
    """The file goes with the account admin, and an admin who is made anew never has a secret which a former one knew."""
    fresh.start()
    file = fresh.data / "admin-secret"
    former = file.read_text()
    boss = fresh.enrol("boss", scopes=("admin",))
    fresh.now(fresh.auth.delete("micro", "admin", boss))
    assert not file.exists()
    file.write_text(former)
    fresh.lose("boss")
    fresh.start()
    with pytest.raises(WrongSecret):
        fresh.token(id="admin", secret=former.strip())
    fresh.token(id="admin", secret=file.read_text().strip())


def test_reset(fresh: Any) -> None:
    """A reset gives the admin a fresh secret, in a file which nobody else may read, and makes void whatever it had."""
    fresh.chosen = "forgotten"
    fresh.start()
    fresh.enrol("boss", scopes=("admin",))
    had = fresh.token(id="admin", secret="forgotten")
    fresh.chosen, fresh.reset = "", True
    told = fresh.told(fresh.start)
    file = fresh.data / "admin-secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert fresh.auth.inspect_cached(had.access) is None
    with pytest.raises(InvalidToken):
        fresh.token(refresh_token=had.refresh)
    with pytest.raises(WrongSecret):
        fresh.token(id="admin", secret="forgotten")
    secret = file.read_text().strip()
    assert fresh.auth.inspect_cached(fresh.token(id="admin", secret=secret).access).is_admin
    assert f"the secret of the account admin is in {file}" in told
    assert any("take auth.reset_admin away" in line for line in told)
    assert not any(secret in line for line in told)


def test_reset_to_choice(fresh: Any) -> None:
    """A reset gives the admin the secret which the operator chose, if any, and the file with the former one is gone."""
    fresh.start()
    fresh.chosen, fresh.reset = "mine", True
    fresh.start()
    fresh.token(id="admin", secret="mine")
    assert not (fresh.data / "admin-secret").exists()


def test_reset_of_nobody(fresh: Any) -> None:
    """A reset makes the account admin where it was deleted, whoever else administers the platform."""
    fresh.start()
    boss = fresh.enrol("boss", scopes=("admin",))
    fresh.now(fresh.auth.delete("micro", "admin", boss))
    fresh.reset = True
    fresh.start()
    fresh.token(id="admin", secret=(fresh.data / "admin-secret").read_text().strip())
    fresh.token(id="boss", secret="s3cret")


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
