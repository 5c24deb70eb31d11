"""Secrets: encrypted where they are kept, shown to those only who ask for them."""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import provider

from microd.kernel.errors import BadRequest, Internal
from microd.services.config.backends.store import StoredDocuments
from microd.services.config.keyring import UnusableKeys, key_id, load_or_make
from microd.services.store.model import Query, Record
from microd.testing.outcome import done
from microd.wire import config_pb2 as pb

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Whatever is logged."""
    found: list[str] = []

    @provider(ILogObserver)
    def keep(event: Any) -> None:
        found.append(repr(event))

    globalLogPublisher.addObserver(keep)
    yield found
    globalLogPublisher.removeObserver(keep)


def kept(scene: Any) -> bytes:
    """All that is on the disk."""
    found = b""
    for table in ("config", "config_history"):
        for record in done(scene.store.read("micro", table, Query())):
            found += record.value
    return found


def test_masked(scene: Any) -> None:
    """A secret is shown to those who ask for secrets; to others, that there is one."""
    scene.set("db.password", "s3cret", secret=True)
    scene.set("db.host", "h")
    assert scene.get("db") == {"host": "h", "password": "[secret]"}
    assert scene.get("db", secret=True) == {"host": "h", "password": "s3cret"}
    found = scene.call("Get", pb.GetRequest(path="db"))
    assert (found.value.masked, scene.call("Get", pb.GetRequest(path="db.host")).value.masked) == (
        True,
        False,
    )


def test_object(scene: Any) -> None:
    """Of an object that is set as secret, every value is; types come back as they were."""
    scene.set("db", b'{"port":42,"deep":{"list":[1.0,null]},"on":true}', secret=True)
    assert scene.get("db") == {"port": "[secret]", "deep": {"list": "[secret]"}, "on": "[secret]"}
    assert scene.text("db", secret=True) == '{"deep":{"list":[1.0,null]},"on":true,"port":42}'


def test_at_rest(scene: Any, logged: list[str]) -> None:
    """No secret is kept in the clear, nor logged: not where it is, not in the history."""
    scene.set("a", "s3cret-one", secret=True)
    scene.set("a", "s3cret-two", secret=True)
    scene.delete("a")
    scene.call("Rollback", pb.RollbackRequest(version=1))
    assert b"s3cret" not in kept(scene)
    assert "s3cret" not in "".join(logged)


def test_same_secret(scene: Any) -> None:
    """To set a secret to what it is makes no version; equal secrets do not look alike on the disk."""
    assert scene.set("a", "x", secret=True) == scene.set("a", "x", secret=True) == 1
    scene.set("b", "x", secret=True)
    root = scene.config._ledger.peek("micro").root
    assert root["a"].text != root["b"].text


def test_stays_secret(scene: Any) -> None:
    """What takes the place of a secret with no word of secrecy is secret too: in the history, and on the disk."""
    scene.set("a", "s3cret-one", secret=True)
    scene.set("a", "s3cret-two")
    assert (scene.get("a"), scene.get("a", secret=True)) == ("[secret]", "s3cret-two")
    (made,) = scene.history().versions[0].differences
    assert (made.before.data, made.after.data) == ('"[secret]"', '"[secret]"')
    assert b"s3cret" not in kept(scene)


@pytest.mark.parametrize("replace", [False, True])
def test_stays_secret_in_objects(scene: Any, replace: bool) -> None:
    """Of an object which is put over one with secrets, those values are secret whose places hold secrets."""
    scene.set("db", {"host": "h", "login": {"user": "u"}})
    scene.set("db.login.password", "s3cret-one", secret=True)
    scene.set(
        "", {"db": {"host": "g", "login": {"user": "v", "password": "s3cret-two"}}, "x": 1}, replace=replace
    )
    assert scene.get() == {"db": {"host": "g", "login": {"user": "v", "password": "[secret]"}}, "x": 1}
    assert scene.get("db.login.password", secret=True) == "s3cret-two"
    assert b"s3cret" not in kept(scene)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("db.password", {"old": "s3cret", "new": 2}, {"password": {"old": "[secret]", "new": "[secret]"}}),
        ("db.password.deep.er", "s3cret", {"password": {"deep": {"er": "[secret]"}}}),
        ("db", "u:s3cret", "[secret]"),
    ],
)
def test_stays_secret_in_another_shape(scene: Any, path: str, value: Any, shown: Any) -> None:
    """What takes a secret's place is secret whatever its shape: an object, a key under it, a leaf over both."""
    scene.set("db.password", "s3cret", secret=True)
    scene.set(path, value)
    assert scene.get("db") == shown
    assert scene.get(path, secret=True) == value
    assert b"s3cret" not in kept(scene)


def test_stays_secret_of_same(scene: Any) -> None:
    """To set a secret to what it is makes no version, said to be secret or not."""
    assert scene.set("a", "x", secret=True) == scene.set("a", "x") == 1


def test_declassified(scene: Any) -> None:
    """A value is a secret no longer if that is said, or if the secret was deleted before."""
    scene.set("a", {"x": "1", "y": "2"}, secret=True)
    scene.set("a", {"x": "3"}, plain=True)
    scene.delete("a.y")
    scene.set("a.y", "4")
    assert scene.get("a") == {"x": "3", "y": "4"}


def test_secret_and_plain(scene: Any) -> None:
    """A value is not both."""
    with pytest.raises(BadRequest, match=r"options.secret and plain exclude each other"):
        scene.set("a", "x", secret=True, plain=True)


def test_stays_secret_under_new_key(scene: Any) -> None:
    """The key which sealed because a secret was there is one that is needed from then on."""
    scene.keys = [OLD]
    scene.start()
    scene.set("a", "one", secret=True)
    scene.keys = [NEW, OLD]
    scene.start()
    scene.set("a", "two")
    assert key_id(NEW) in done(StoredDocuments(scene.store).keys())


def test_mask_written_back(scene: Any) -> None:
    """Who writes back what they read, unable to see secrets, does not overwrite them."""
    scene.set("db", {"password": "s3cret", "deep": {"k": 1}}, secret=True)
    scene.set("db.host", "h")
    seen = scene.get("db")
    scene.set("db", {**seen, "host": "other"})
    assert scene.get("db", secret=True) == {"password": "s3cret", "deep": {"k": 1}, "host": "other"}
    scene.set("db", {"password": "[secret]"}, replace=True)
    assert scene.get("db", secret=True) == {"password": "s3cret"}
    scene.set("plain", "[secret]")
    assert scene.get("plain", secret=True) == "[secret]"


def test_history(scene: Any) -> None:
    """The history shows secrets to those only who ask for them."""
    scene.set("a", "one", secret=True)
    scene.set("a", "two", secret=True)
    (made,) = scene.history().versions[0].differences
    assert (made.before.data, made.after.data, made.after.masked) == ('"[secret]"', '"[secret]"', True)
    (made,) = scene.history(secret=True).versions[0].differences
    assert (made.before.data, made.after.data) == ('"one"', '"two"')


def test_watch(scene: Any) -> None:
    """A watcher without the word is told that a secret changed, not what it is."""
    scene.set("a", "one", secret=True)
    plain, allowed = scene.watch("a"), scene.watch("a", secret=True)
    assert (plain.next().value.data, allowed.next().value.data) == ('"[secret]"', '"one"')
    scene.set("a", "two", secret=True)
    assert (plain.next().value.data, allowed.next().value.data) == ('"[secret]"', '"two"')


def test_rollback(scene: Any) -> None:
    """A secret that comes back is the one it was, and still a secret."""
    scene.set("a", "one", secret=True)
    scene.set("a", {"b": 1})
    scene.call("Rollback", pb.RollbackRequest(version=1))
    assert (scene.get("a"), scene.get("a", secret=True)) == ("[secret]", "one")


def test_moved(scene: Any) -> None:
    """A secret that was moved to another place underneath does not open there."""
    scene.set("a", "one", secret=True)
    packed = done(scene.store.read_one("micro", "config", "document/micro")).value
    done(scene.store.write("micro", "config", Record("document/micro", packed.replace(b'"a"', b'"b"'))))
    scene.start()
    with pytest.raises(
        Internal, match=r"^Error in config structure: Can't decode secret: what is kept for b was"
    ):
        scene.get("b", secret=True)
    scene.set("b", "new", secret=True)
    assert scene.get("b", secret=True) == "new"


def test_wrong_key(scene: Any) -> None:
    """With the wrong key a secret is an error that names the key; the rest is readable, and nothing is garbage."""
    scene.set("a", "one", secret=True)
    scene.set("b", 1)
    scene.keys = [NEW]
    scene.start()
    with pytest.raises(
        Internal, match=rf"a was encrypted with the key {key_id(b'k' * 32)}, which is not among"
    ):
        scene.get("a", secret=True)
    assert scene.get() == {"a": "[secret]", "b": 1}


def test_rotation(scene: Any) -> None:
    """A new key before the old one: what is there is encrypted anew on the start, and the history is readable still."""
    scene.keys = [OLD]
    scene.start()
    scene.set("a", {"b": "one"}, secret=True)
    scene.set("a", {"b": "two"}, secret=True)
    scene.keys = [NEW, OLD]
    scene.start()
    assert scene.set("c", "x", secret=True) == 3
    assert (scene.get("a", secret=True), scene.get("a", version=1, secret=True)) == (
        {"b": "two"},
        {"b": "one"},
    )
    scene.keys = [NEW]
    scene.start()
    assert scene.get("", secret=True) == {"a": {"b": "two"}, "c": "x"}


def test_rotation_of_damage(scene: Any, logged: list[str]) -> None:
    """A secret that does not open keeps nobody from starting: it stays as it is, and is said."""
    scene.set("a", "one", secret=True)
    packed = done(scene.store.read_one("micro", "config", "document/micro")).value
    done(scene.store.write("micro", "config", Record("document/micro", packed.replace(b'"a"', b'"b"'))))
    scene.set("a", "two", secret=True, namespace="foo")
    scene.keys = [NEW, b"k" * 32]
    scene.start()
    assert scene.get("a", secret=True, namespace="foo") == "two"
    with pytest.raises(Internal, match="changed or moved"):
        scene.get("b", secret=True)
    assert "stay under their former key" in "".join(logged)


def test_encryption_fails(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret which cannot be encrypted is not kept, and the caller is told."""

    def broken(*_: Any) -> str:
        raise MemoryError

    monkeypatch.setattr(scene.config._secrecy._ring, "seal", broken)
    with pytest.raises(MemoryError):
        scene.set("a", "x", secret=True)
    monkeypatch.undo()
    assert scene.set("b", 1) == 1


# -- keys


def text(*keys: bytes) -> str:
    return " ".join(base64.b64encode(key).decode() for key in keys)


def test_made(tmp_path: Path) -> None:
    """The first start makes a key for its owner's eyes only, and the next one finds it."""
    made = load_or_make(tmp_path, [])
    file = tmp_path / "config_secret_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text(), validate=False)) == 32
    assert load_or_make(tmp_path, [made.current]).current == made.current


def test_given(tmp_path: Path) -> None:
    """A key which was given is used, and none is made; the first of several seals."""
    ring = load_or_make(tmp_path, [], given=text(NEW, OLD).replace(" ", ",\n"))
    assert (ring.current, key_id(OLD) in ring, list(tmp_path.iterdir())) == (key_id(NEW), True, [])
    file = tmp_path / "keys"
    file.write_text(text(OLD))
    assert load_or_make(tmp_path, [], file=str(file)).current == key_id(OLD)


@pytest.mark.parametrize("given", ["nope", "AAAA", text(b"x" * 31), text(b"x" * 32) + " AAAA", "ü"])
def test_no_key(tmp_path: Path, given: str) -> None:
    """What is no key is refused, with how to make one, and without showing it."""
    with pytest.raises(UnusableKeys, match=r"config.secret_key holds something else.*openssl rand") as caught:
        load_or_make(tmp_path, [], given=given)
    assert given not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    """A key file which is not there, or empty, is an error and not a new key."""
    with pytest.raises(UnusableKeys, match=r"gone: No such file"):
        load_or_make(tmp_path, [], file=str(tmp_path / "gone"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UnusableKeys, match=r"empty holds no key"):
        load_or_make(tmp_path, [], file=str(tmp_path / "empty"))


@pytest.mark.parametrize("given", ["", text(NEW)])
def test_missing_key(tmp_path: Path, given: str) -> None:
    """The daemon does not start without a key which it needs: not with another, and not by making one."""
    used = [key_id(OLD)]
    with pytest.raises(UnusableKeys, match=rf"a key that is missing \(id {used[0]}\).*config.lost_keys"):
        load_or_make(tmp_path, used, given=given)
    assert list(tmp_path.iterdir()) == []
    assert load_or_make(tmp_path, used, given=text(NEW, OLD)).current == key_id(NEW)
    assert key_id(OLD) not in load_or_make(tmp_path, used, given=given, lost=used)
