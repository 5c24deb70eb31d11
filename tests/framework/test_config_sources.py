"""Where configuration comes from, and which place wins."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from microd.framework import BlockingClient, ConfigError, File, Service, Sources
from microd.framework.config.environment import Environment
from microd.framework.config.sources import Layers
from microd.framework.node import CannotStart
from microd.framework.running import node_for
from microd.kernel.caller import Account
from microd.kernel.errors import BadRequest
from microd.testing.outcome import done
from microd.testing.services import ServiceTester

WHO = Account("somebody", "service", "micro", scopes=("service",))


def written(folder: Path, name: str, text: str) -> Path:
    """A file."""
    file = folder / name
    file.write_text(text)
    return file


def serving(sources: Sources, **platform: Any) -> ServiceTester:
    """A service with these sources, on a platform with this configuration."""
    made = ServiceTester(Service("greeter", config=sources, environ={}))
    if platform:
        done(made.daemon.config.set("micro", "", json.dumps(platform), WHO))
    return made


def get(made: ServiceTester, *asked: Any, **more: Any) -> Any:
    async def ask() -> Any:
        return await made.service.config.get(*asked, **more)

    return done(ask())


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults, then files in their order, then the platform, then the environment: the later wins, key by key."""
    for number in range(1, 6):
        monkeypatch.delenv(f"GREETER_K{number}", raising=False)
    monkeypatch.setenv("GREETER_K5", "environment")
    first = written(tmp_path, "one.toml", 'k2="first"\nk3="first"\nk4="first"\nk5="first"')
    second = written(tmp_path, "two.json", '{"k3":"second","k4":"second","k5":"second"}')
    sources = Sources(
        defaults={f"k{number}": "default" for number in range(1, 6)},
        files=[first, second],
        prefix="GREETER",
    )
    made = serving(sources, k4="platform", k5="platform")
    wanted = {"k1": "default", "k2": "first", "k3": "second", "k4": "platform", "k5": "environment"}
    assert get(made, "") == wanted
    assert {key: get(made, key) for key in wanted} == wanted


def test_explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place that says something about a value can be had by its name, the one that wins last."""
    monkeypatch.setenv("GREETER_DB_HOST", "e")
    file = written(tmp_path, "one.toml", 'db.host="f"')
    made = serving(Sources({"db.host": "d"}, [file], "GREETER"), db={"host": "p"})

    async def ask() -> Any:
        return await made.service.config.explain("db.host")

    assert done(ask()) == [
        ("defaults", "d"),
        (str(file), "f"),
        ("the config service", "p"),
        ("the environment (GREETER_DB_HOST)", "e"),
    ]


def test_merge(tmp_path: Path) -> None:
    """Objects are merged across places; a value that is no object takes the place of one, and null is nothing."""
    file = written(tmp_path, "a.json", '{"db":{"host":"f","pool":{"size":1},"x":null},"list":[1,2]}')
    made = serving(Sources({"db.port": 1, "list": [0], "db.x": 5}, [file]), db={"pool": {"max": 9}})
    assert get(made, "db") == {"port": 1, "x": 5, "host": "f", "pool": {"size": 1, "max": 9}}
    assert get(made, "db.pool.size", type=int) == 1
    assert get(made, "list") == [1, 2]


def test_watch_under_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that the environment hides is none; one of another key of the same object is."""
    monkeypatch.setenv("GREETER_DB_HOST", "e")
    service = Service("greeter", config=Sources({"db.port": 1}, prefix="GREETER"), environ={})
    told: list[Any] = []
    service.config.watch("db")(told.append)
    made = ServiceTester(service)
    for change in ('{"host":"a"}', '{"port":2}', '{"host":"b"}'):
        done(made.daemon.config.set("micro", "db", change, WHO))
        made.clock.pump([0] * 5)
    assert told == [{"port": 1, "host": "e"}, {"port": 2, "host": "e"}]


# -- files


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'n = 1\n[db]\nhost = "h"\nsince = 2024-01-31\n'),
        ("a.json", '{"n": 1, "db": {"host": "h", "since": "2024-01-31"}}'),
        ("a.yaml", "n: 1\ndb:\n  host: h\n  since: 2024-01-31\n"),
        ("a.YML", "{n: 1, db.host: h, db.since: 2024-01-31}"),
    ],
)
def test_kinds(tmp_path: Path, name: str, text: str) -> None:
    """TOML, JSON and YAML say the same; dates are text, as in JSON."""
    layers = Layers(Sources(files=[written(tmp_path, name, text)]), {})
    assert layers.over("", None) == {"n": 1, "db": {"host": "h", "since": "2024-01-31"}}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "a = hunter2", r"a\.toml: .*line 1"),
        ("a.json", "{", r"a\.json: .*line 1"),
        ("a.json", "[1]", r"a\.json: it holds list, not an object"),
        ("a.json", '{"a..b": 1}', r"a\.json: the path 'a\.\.b' has an empty key"),
        ("a.yaml", "a: [hunter2", r"a\.yaml: .* in line 1"),
        ("a.yaml", "!!python/object/apply:os.system [hunter2]", r"a\.yaml: "),
        ("a.ini", "a=1", r"a\.ini: configuration is in files named \.toml, \.json, \.yaml, \.yml"),
    ],
)
def test_bad_file(tmp_path: Path, name: str, text: str, said: str) -> None:
    """A file that cannot be used is named, with the place; what is in it is not shown."""
    file = written(tmp_path, name, text)
    with pytest.raises(ConfigError, match=said) as caught:
        Layers(Sources(files=[file]), {})
    assert "hunter2" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    """A file must be there, unless it is optional."""
    gone = tmp_path / "gone.toml"
    with pytest.raises(ConfigError, match=r"gone\.toml: there is no such file"):
        Layers(Sources(files=[gone]), {})
    assert Layers(Sources({"a": 1}, [File(gone, optional=True)]), {}).over("", None) == {"a": 1}
    assert Layers(Sources(files=[written(tmp_path, "empty.yaml", "")]), {}).over("a", None) is None


def test_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML it is said what to install."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"pip install 'microd\[yaml\]'"):
        Layers(Sources(files=[written(tmp_path, "a.yaml", "a: 1")]), {})


def test_service_does_not_start(tmp_path: Path) -> None:
    """A service whose files cannot be read does not start, and says why."""
    service = Service("greeter", config=Sources(files=[tmp_path / "gone.toml"]), environ={})
    made = ServiceTester(service)
    node = node_for(service, Clock(), _daemon(), _bridge(), {"MICRO_PROXY": "127.0.0.1:1"})
    node._client = made.service.client
    with pytest.raises(CannotStart, match=r"gone\.toml: there is no such file"):
        done(node._configure())


def _daemon() -> Any:
    from microd.framework.daemon import find_daemon

    return find_daemon({"MICRO_PROXY": "127.0.0.1:1"})


def _bridge() -> Any:
    from microd.framework.bridge import NoBridge

    return NoBridge()


# -- the environment


@dataclass
class Pool:
    max_size: int = 1
    names: list[str] = field(default_factory=list)
    on: bool = False


@dataclass
class Database:
    host: str = ""
    pool: Pool = field(default_factory=Pool)
    ratio: float | None = None


def over(environ: Mapping[str, str], path: str = "", found: Any = None, sources: Any = None) -> Any:
    """What is at a path with this environment."""
    return Layers(Sources(sources or {}, prefix="APP"), environ).over(path, found)


def test_names() -> None:
    """A variable's name is the path's, in capitals, with _ for all that is no letter or digit."""
    environment = Environment("APP", {})
    assert environment.name(("db", "maxSize", "a-b c")) == "APP_DB_MAXSIZE_A_B_C"
    for path in ("db.max_size", "db.max-size", "db.max.size"):
        assert over({"APP_DB_MAX_SIZE": "5"}, path) == "5"


def test_typed() -> None:
    """Variables are text, which becomes what is wanted."""
    environ = {
        "APP_DB_HOST": "123",
        "APP_DB_POOL_MAX_SIZE": "9",
        "APP_DB_POOL_NAMES": "a, b",
        "APP_DB_POOL_ON": "yes",
        "APP_DB_RATIO": "0.5",
        "APP_X_Y": "1",
        "OTHER": "1",
    }
    service = Service("greeter", config=Sources(prefix="APP"), environ={})
    made = ServiceTester(service)
    made.service.client.config._environ = environ
    assert get(made, "db", type=Database) == Database("123", Pool(9, ["a", "b"], True), 0.5)
    assert get(made, "db.host") == 123
    assert get(made, "db.host", "x") == "123"
    assert get(made, "db.pool.on", True) is True
    with pytest.raises(ConfigError, match=r"^db\.host: true or false is wanted, not this text$"):
        get(made, "db.host", type=bool)


def test_known_keys() -> None:
    """In an object a variable is the key that other places know it by; unknown ones have a key for each part."""
    environ = {"APP_DB_MAX_SIZE": "5", "APP_DB_NEW_KEY": "6"}
    assert over(environ, "db", {"max_size": 1}) == {"max_size": "5", "new": {"key": "6"}}
    assert over(environ, "", {"db": {"max": {"size": 1}}})["db"]["max"] == {"size": "5"}


def test_json_object() -> None:
    """A variable may hold a JSON object, for all that is under its path."""
    environ = {"APP_DB": '{"host":"h","pool":{"size":2}}', "APP_DB_POOL_SIZE": "3"}
    assert over(environ, "db", {"host": "x", "port": 1}) == {"host": "h", "port": 1, "pool": {"size": "3"}}
    assert over(environ, "db.host", "x") == "h"
    assert over({"APP_DB": "{broken"}, "db") == "{broken"


@pytest.mark.parametrize("prefix", ["MICRO", "MICRO_X", "app", "A-B", "1A"])
def test_bad_prefix(prefix: str) -> None:
    """A prefix is in capitals, and not that of the platform, whose variables hold secrets."""
    with pytest.raises(ConfigError, match=prefix):
        Layers(Sources(prefix=prefix), {})


def test_bad_path() -> None:
    """A path with an empty key is refused."""
    with pytest.raises(BadRequest, match="empty key"):
        over({}, "a..b")


# -- scripts


def test_blocking(tmp_path: Path) -> None:
    """A script has the same, and waits."""
    made = serving(Sources(), db={"port": 5})
    file = written(tmp_path, "a.toml", 'db.host="f"\ndb.port=1')

    class Channel:
        """Calls the daemon in memory, and waits."""

        def unary_unary(self, path: str) -> Any:
            call = made.client._channel.unary_unary(path)

            def wait(data: bytes, **options: Any) -> bytes:
                async def ask() -> bytes:
                    found: bytes = await call(data, **options)
                    return found

                answer: bytes = done(ask())
                return answer

            return wait

        def close(self) -> None:
            """Nothing is open."""

    client = BlockingClient(
        credentials=("tester", "secret of tester"),
        config=Sources(files=[file], prefix="APP"),
        environ={"APP_DB_USER": "u"},
        channel=Channel(),
        now=made.clock.seconds,
    )
    assert client.config.get("db") == {"host": "f", "port": 5, "user": "u"}
    assert client.config.get("db.port", type=str) == "5"
    assert client.config.get("nope", 3) == 3
    version = client.config.set("db.port", 6)
    assert client.config.get("db.port", type=int) == 6
    assert client.config.delete("db", if_version=version) == version + 1
    assert client.config.get("db.port", type=int) == 1
