"""From file, environment and command line to settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from microd.app.settings import SECTIONS, TABLE, Settings
from microd.app.sources import BadSettings, data_folder, load, unknown_names, unreadable
from microd.app.values import endpoint_string, is_local

CONF = Path(__file__).parents[2] / "conf" / "microd.toml"


def write(folder: Path, text: str) -> str:
    path = folder / "microd.toml"
    path.write_text(text)
    return str(path)


def test_defaults() -> None:
    """With nothing said, every setting has its default, and all doors are on loopback."""
    settings = load(None, {}, {})
    assert settings == Settings()
    for door in (settings.api, settings.proxy, settings.network, settings.nats, settings.ops):
        assert door.address.startswith("127.0.0.1:")


def test_shipped_file_is_the_defaults() -> None:
    """conf/microd.toml loads, and says what holds anyway."""
    assert load(str(CONF), {}, {}) == Settings()


def test_shipped_file_is_complete() -> None:
    """conf/microd.toml lists every setting there is, each with its environment variable and option."""
    text = CONF.read_text()
    listed = {f"{section}.{key}" for section, entries in tomllib.loads(text).items() for key in entries}
    assert listed == set(TABLE)
    for row in TABLE.values():
        assert row.env in text, row.name
        assert re.search(rf"--{row.option}\b", text), row.name


def test_precedence(tmp_path: Path) -> None:
    """The command line wins over the environment, which wins over the file."""
    conf = write(
        tmp_path,
        '[api]\naddress = "127.0.0.1:1"\n[proxy]\naddress = "127.0.0.1:1"\n[network]\naddress = ":1"',
    )
    environ = {"MICRO_API_ADDRESS": "127.0.0.1:2", "MICRO_PROXY_ADDRESS": "127.0.0.1:2"}
    settings = load(conf, environ, {"api.address": "127.0.0.1:3"})
    assert (settings.api.address, settings.proxy.address, settings.network.address) == (
        "127.0.0.1:3",
        "127.0.0.1:2",
        ":1",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nadress = ':1'", ("microd.toml", "api.adress", "did you mean api.address?")),
        ("[apy]\naddress = ':1'", ("microd.toml", "[apy]", "did you mean api?")),
        ("api = 1", ("microd.toml", "[api]")),
        ("[api]\nenable_cors = 'perhaps'", ("microd.toml", "api.enable_cors", "true or false", "perhaps")),
        ("[api]\nmax_body = true", ("microd.toml", "api.max_body", "size", "True")),
        ("[daemon]\ndrain = 'soon'", ("microd.toml", "daemon.drain", "duration", "soon")),
        ("[daemon]\nonly = ['registri']", ("daemon.only", "registri", "did you mean registry?")),
        ("[api]\naddress = '127.0.0.1:99999'", ("api.address", "127.0.0.1:99999")),
        ("[api", ("microd.toml", "not valid TOML")),
    ],
)
def test_bad_file(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """A mistake in the file is refused with the file, the setting, and the nearest known one."""
    with pytest.raises(BadSettings) as caught:
        load(write(tmp_path, text), {}, {})
    for word in words:
        assert word in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    """A settings file that is not there is an error that names it."""
    with pytest.raises(BadSettings, match=r"nowhere\.toml: No such file"):
        load(str(tmp_path / "nowhere.toml"), {}, {})


def test_bad_environment() -> None:
    """A mistake in the environment names the variable."""
    with pytest.raises(BadSettings, match="MICRO_API_MAX_BODY"):
        load(None, {"MICRO_API_MAX_BODY": "huge"}, {})


def test_bad_option() -> None:
    """A mistake on the command line names the option."""
    with pytest.raises(BadSettings, match="--api-max-body"):
        load(None, {}, {"api.max_body": "huge"})


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        ("option --access-log requires argument", "--access-log wants true or false"),
        ("option --api-timeout requires argument", '--api-timeout wants a duration such as "20s" or "1m30s"'),
        ("option --data requires argument", "--data wants a value"),
        ("option --conf requires argument", "option --conf requires argument; see `micro server --help`"),
        (
            "option --acess-log not recognized",
            "option --acess-log not recognized; did you mean --access-log?",
        ),
        ("option --zzz not recognized", "option --zzz not recognized; see `micro server --help`"),
        ("Wrong number of arguments.", "Wrong number of arguments; see `micro server --help`"),
    ],
)
def test_unreadable_option(complaint: str, said: str) -> None:
    """An option without its value is told what it wants; one that is unknown, which may have been meant."""
    assert unreadable(complaint) == said


def test_data_folder(tmp_path: Path) -> None:
    """The data folder is the one set, else server/ under MICRO_HOME."""
    assert data_folder(Settings(), {"MICRO_HOME": str(tmp_path)}) == tmp_path / "server"
    chosen = load(None, {}, {"daemon.data": str(tmp_path / "elsewhere")})
    assert data_folder(chosen, {"MICRO_HOME": str(tmp_path)}) == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("127.0.0.1:8080", "tcp:8080:interface=127.0.0.1:backlog=4096"),
        (":8080", "tcp:8080:backlog=4096"),
        ("[::1]:8080", "tcp6:8080:interface=\\:\\:1:backlog=4096"),
        ("unix:/run/micro.sock", "unix:/run/micro.sock"),
    ],
)
def test_endpoints(address: str, endpoint: str) -> None:
    """Addresses become endpoint strings with a queue for thousands, and endpoint strings stay what they are."""
    assert endpoint_string(address) == endpoint


def test_sections_are_documented() -> None:
    """Every section and every setting says what it is."""
    assert all(kind.__doc__ for kind in SECTIONS.values())
    assert all(row.help for row in TABLE.values())


def test_mistyped_environment() -> None:
    """A name in the environment that is nearly a setting's is pointed out; other programs' names are not."""
    environ = {
        "MICRO_API_ADRESS": ":1",
        "MICRO_API_ADDRESS": ":1",
        "MICRO_PROXY": "x",
        "MICRO_NAMESPACE": "y",
        "HOME": "/",
    }
    assert unknown_names(environ) == [
        "environment: MICRO_API_ADRESS is no setting; did you mean MICRO_API_ADDRESS?"
    ]


@pytest.mark.parametrize("word", ["", "off"])
def test_no_ops_door(word: str) -> None:
    """The ops door can be left out; no other."""
    assert load(None, {}, {"ops.address": word}).ops.address == ""
    with pytest.raises(BadSettings):
        load(None, {}, {"api.address": word})


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *(("127.0.0.1:8099", True), ("127.1.2.3:1", True), ("localhost:1", True), ("[::1]:1", True)),
        *(("unix:/run/x.sock", True), ("tcp:1:interface=127.0.0.1", True), (r"tcp6:1:interface=\:\:1", True)),
        *((":8099", False), ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("8099", False)),
        *(("tcp:1", False), ("ssl:1:privateKey=k", False), ("systemd:domain=INET:index=0", False)),
        *(("127.0.0.1.example:1", False), ("tcp:1:interface=10.0.0.1", False)),
    ],
)
def test_local(address: str, local: bool) -> None:
    """Only what nobody beyond this host can reach counts as local."""
    assert is_local(address) is local
