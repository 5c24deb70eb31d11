"""One run of the command: where it looks, whom it speaks to, how it answers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import click

from microd.cli.address import Address, address_from
from microd.cli.config import Config
from microd.cli.credentials import Credentials, Login
from microd.cli.environments import LOCAL, Environment, Environments
from microd.cli.failure import CommandFailed
from microd.cli.issuer import Issuer
from microd.cli.local import LocalDaemon
from microd.cli.naming import DEFAULT_NAMESPACE
from microd.cli.remote import IChannel, Nobody, Remote
from microd.cli.tokens import Tokens


class ITerminal(Protocol):
    """Where a person may sit."""

    @property
    def interactive(self) -> bool:
        """Whether one does."""

    def ask(self, prompt: str, *, hidden: bool = False) -> str:
        """One line of answer; without a person, the next line of standard input (empty at its end)."""


class Session:
    """What every command is given.

    @param environ: the environment variables.
    @param connect: opens a connection to a door.
    @param now: unix seconds.
    @param execute: becomes another program.
    @ivar json: whether answers are for a program.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        connect: Callable[[Address], IChannel],
        terminal: ITerminal,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        execute: Callable[[str, list[str]], object] = os.execv,
    ) -> None:
        self.environ = environ
        self.home = Path(environ.get("MICRO_HOME") or "~/.micro").expanduser()
        self.terminal = terminal
        self.now = now
        self.sleep = sleep
        self.execute = execute
        self.json = False
        self._connect = connect
        self._config_file = environ.get("MICRO_CONFIG_FILE") or ""
        self._env = environ.get("MICRO_ENV") or ""
        self._env_by_flag = False
        self._namespace = environ.get("MICRO_NAMESPACE") or ""
        self._channels: dict[Address, IChannel] = {}

    def choose(
        self, *, json: bool = False, env: str = "", namespace: str = "", config_file: str = ""
    ) -> None:
        """Take the flags that every command has; those which are not given change nothing."""
        self.json = self.json or json
        self._env_by_flag = self._env_by_flag or bool(env)
        self._env = env or self._env
        self._namespace = namespace or self._namespace
        self._config_file = config_file or self._config_file

    @property
    def config(self) -> Config:
        """The client's configuration."""
        return Config(
            Path(self._config_file).expanduser() if self._config_file else self.home / "config.json"
        )

    @property
    def daemon(self) -> LocalDaemon:
        """The daemon of the same user."""
        return LocalDaemon(Path(self.environ.get("MICRO_DATA") or self.home / "server").expanduser())

    @property
    def environments(self) -> Environments:
        """The known deployments."""
        door = self.daemon.doors().get("proxy")
        return Environments(self.config, door.written if door else "")

    @property
    def environment_name(self) -> str:
        """The name of the deployment that this command is about, whether or not there is one."""
        return self._env or self.environments.current

    @property
    def environment(self) -> Environment:
        """The deployment that this command is about."""
        return self.environments.find(self.environment_name)

    @property
    def namespace(self) -> str:
        """The tenant that this command works for."""
        kept = f"namespaces.{self.environment.name}.current"
        return self._namespace or self.config.get(kept) or DEFAULT_NAMESPACE

    @property
    def address(self) -> Address:
        """The proxy door of the environment.

        C{MICRO_PROXY} is where every call of a process goes, unless C{--env} names another place;
        C{MICRO_PROXY_ADDRESS} is where our own daemon was told to listen.
        """
        environment = self.environment
        text = environment.address
        forced, listening = self.environ.get("MICRO_PROXY"), self.environ.get("MICRO_PROXY_ADDRESS")
        if forced and (environment.name == LOCAL or not self._env_by_flag):
            text = forced
        elif listening and environment.name == LOCAL and not listening.endswith(":0"):
            text = listening
        if not text:
            raise CommandFailed(
                f"The environment {environment.name} has no address",
                remedy=f"Run `micro env add {environment.name} ADDRESS`.",
            )
        return address_from(text)

    @property
    def tokens(self) -> Tokens:
        """The stored tokens."""
        return Tokens(self.home / "tokens")

    @property
    def login(self) -> Login:
        """Who is logged in here."""
        return Login(self.config, self.environment.name)

    @property
    def issuer(self) -> Issuer:
        """The auth service."""
        return Issuer(self._remote(Nobody()))

    @property
    def credentials(self) -> Credentials:
        """The tokens for the environment."""
        address = self.address
        return Credentials(
            str(address),
            self.namespace,
            tokens=self.tokens,
            login=self.login,
            issuer=self.issuer,
            admin_secret=self.admin_secret,
            now=self.now,
        )

    def admin_secret(self) -> str:
        """The admin's secret where the environment is our own daemon; else nothing."""
        return self.daemon.admin_secret(self.address) if self.environment.name == LOCAL else ""

    @property
    def remote(self) -> Remote:
        """The environment, as who we are."""
        return self._remote(self.credentials)

    def remote_after(self, last: Remote) -> Remote:
        """The environment again, after it was lost: our own daemon comes back wherever it likes, and until it has, nobody who
        listens where daemons usually do is taken for it."""
        gone = self.environment.name == LOCAL and not self.daemon.doors()
        return last if gone else self.remote

    def node(self, text: str) -> Remote:
        """One node of a service, past the server. Our token is made for the server, and is not shown to it."""
        return Remote(address_from(text), self._channel, Nobody())

    def _remote(self, bearer: Credentials | Nobody) -> Remote:
        remedy = "Start it with `micro server`." if self.environment.name == LOCAL else "See `micro env`."
        return Remote(self.address, self._channel, bearer, remedy=remedy)

    def _channel(self, address: Address) -> IChannel:
        if address not in self._channels:
            self._channels[address] = self._connect(address)
        return self._channels[address]

    def close(self) -> None:
        """Close what was opened."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def say(self, text: str) -> None:
        """Answer a person."""
        click.echo(text)

    def tell(self, text: str) -> None:
        """Say on stderr how it goes, where a program would only be disturbed."""
        if not self.json:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Say on stderr what a program should know, too."""
        click.echo(json.dumps({"warning": text}, ensure_ascii=False) if self.json else text, err=True)

    def answer_list(self, values: Iterable[Any]) -> None:
        """Answer with a list in JSON, one value after the other: there may be many."""
        begun = "["
        for value in values:
            lines = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
            click.echo(f"{begun}\n  {lines}", nl=False)
            begun = ","
        click.echo("\n]" if begun == "," else "[]")

    def answer(self, value: Any, text: Callable[[], str]) -> None:
        """Answer in JSON or, with C{text}, in words; no words print nothing."""
        if self.json:
            click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        elif words := text():
            click.echo(words)
