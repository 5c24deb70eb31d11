"""`micro env`."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import User

LISTED = """\
* local      127.0.0.1:8081    Local running Micro Server
  platform   none              Cloud hosted Micro Platform
"""


def test_list(user: User) -> None:
    """The built-in environments are listed by name, the current one marked, in the reference's columns."""
    assert user.micro("env").out == LISTED
    assert user.micro("env", "list").out == LISTED


def test_list_json(user: User) -> None:
    """With --json each environment is an object."""
    assert user.micro("env", "--json").json[0] == {
        "name": "local",
        "address": "127.0.0.1:8081",
        "description": "Local running Micro Server",
        "current": True,
    }


def test_life(user: User) -> None:
    """An environment is added, chosen, shown, left and deleted, all silently."""
    assert user.micro("env", "add", "foo", "127.0.0.1:9081").out == ""
    assert "  foo        127.0.0.1:9081" in user.micro("env").out
    assert user.micro("env", "set", "foo").out == ""
    assert user.micro("env", "get").out == "foo\n"
    assert "* foo" in user.micro("env").out
    assert user.micro("env", "set", "local").code == 0
    assert user.micro("env", "del", "foo").out == ""
    assert "foo" not in user.micro("env").out


def test_without_address(user: User) -> None:
    """An environment may wait for its address, and says what to do meanwhile."""
    user.micro("env", "add", "foo")
    assert "  foo        none" in user.micro("env").out
    got = user.micro("services", "--env=foo")
    assert got.err == "The environment foo has no address. Run `micro env add foo ADDRESS`.\n"


def test_current_not_deleted(user: User) -> None:
    """The one in use cannot be deleted."""
    user.micro("env", "add", "foo", "h:1")
    user.micro("env", "set", "foo")
    got = user.micro("env", "del", "foo")
    assert got.code == 128
    assert got.err.startswith(
        "Environment 'foo' is your current environment. Before deleting it, please change your current environment."
    )
    assert "foo" in user.micro("env").out


def test_unknown(user: User) -> None:
    """An environment that does not exist is named."""
    for command in ("set", "del"):
        got = user.micro("env", command, "bar")
        assert (got.code, got.err) == (128, "Environment 'bar' does not exist. See `micro env`.\n")
    got = user.micro("services", "-e", "bar")
    assert got.err == 'Env "bar" not found. See `micro env` for available environments.\n'


def test_way_back(user: User) -> None:
    """Where the current environment does not exist, the others are listed, and one can be chosen."""
    user.micro("user", "config", "set", "env", "gone")
    assert "  local" in user.micro("env").out
    assert user.micro("env", "set", "local").code == 0
    assert "* local" in user.micro("env").out


def test_kept_as_the_reference_does(user: User) -> None:
    """The file has the reference's keys: a string of JSON under C{envs}, the name under C{env}."""
    user.micro("env", "add", "foo", "h:1")
    user.micro("env", "set", "foo")
    content = user.config()
    assert content["env"] == "foo"
    assert json.loads(content["envs"])["foo"] == {"Name": "foo", "ProxyAddress": "h:1", "Description": ""}


def test_dotted_name(user: User) -> None:
    """A name that would break the paths of the configuration is refused."""
    assert user.micro("env", "add", "a.b", "h:1").code == 1


def test_bad_address(user: User) -> None:
    """An address is looked at before it is kept."""
    assert user.micro("env", "add", "foo", "nonsense:port").code == 1
    assert "foo" not in user.micro("env").out


def test_other_config_file(user: User, tmp_path: Path) -> None:
    """C{-c} names another configuration."""
    user.micro("-c", str(tmp_path / "other.json"), "env", "add", "foo", "h:1")
    assert "foo" not in user.micro("env").out
    user.environ["MICRO_CONFIG_FILE"] = str(tmp_path / "other.json")
    assert "foo" in user.micro("env").out


def test_daemon_elsewhere(user: User) -> None:
    """The local environment is where the user's own daemon says it listens."""
    user.has_a_daemon("127.0.0.1:18081")
    assert "* local      127.0.0.1:18081" in user.micro("env").out
