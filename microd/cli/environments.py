"""Environments: the deployments that this CLI knows by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from microd.cli.config import Config
from microd.cli.failure import OTHER, CommandFailed

LOCAL = "local"
_DEFAULT_ADDRESS = "127.0.0.1:8081"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class Environment(NamedTuple):
    """A deployment: its name and the address of its proxy door."""

    name: str
    address: str = ""
    description: str = ""


#: Names that everybody has. The second has no address until its user gives it one: a name in a program is no reason
#: to send anybody's password to whoever owns a domain today.
BUILT_IN = (
    Environment(LOCAL, _DEFAULT_ADDRESS, "Local running Micro Server"),
    Environment("platform", "", "Cloud hosted Micro Platform"),
)


class Environments:
    """The environments kept in the configuration."""

    def __init__(self, config: Config, local_address: str = "") -> None:
        """
        @param local_address: where the daemon of this user listens, if it has told.
        """
        self._config = config
        self._local = local_address

    @property
    def current(self) -> str:
        """The name of the one in use."""
        return self._config.get("env") or LOCAL

    def all(self) -> list[Environment]:
        """Every known one, by name."""
        found = self._kept()
        local = found[LOCAL]
        if self._local and local.address == _DEFAULT_ADDRESS:
            found[LOCAL] = Environment(LOCAL, self._local, local.description)
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Environment:
        """The one called C{name}.

        @raise CommandFailed: there is none.
        """
        for known in self.all():
            if known.name == name:
                return known
        raise CommandFailed(f'Env "{name}" not found. See `micro env` for available environments.')

    def choose(self, name: str) -> None:
        """Use the one called C{name} from now on."""
        self._known(name)
        self._config.set("env", name)

    def add(self, name: str, address: str) -> None:
        """Keep one, in place of another of the same name."""
        if not _NAME.fullmatch(name):
            raise CommandFailed(f"An environment's name has letters, digits, - and _ only, unlike {name!r}")
        found = self._kept()
        found[name] = Environment(name, address, found[name].description if name in found else "")
        self._keep(found)

    def delete(self, name: str) -> None:
        """Forget one."""
        self._known(name)
        if name == self.current:
            raise CommandFailed(
                f"Environment '{name}' is your current environment. Before deleting it, please change your current "
                "environment.",
                OTHER,
                remedy="Run `micro env set local`." if name != LOCAL else "",
            )
        found = self._kept()
        del found[name]
        self._keep(found)

    def _known(self, name: str) -> None:
        if name not in self._kept():
            raise CommandFailed(f"Environment '{name}' does not exist", OTHER, remedy="See `micro env`.")

    def _kept(self) -> dict[str, Environment]:
        found = {known.name: known for known in BUILT_IN}
        text = self._config.get("envs")
        if text:
            try:
                for name, entry in json.loads(text).items():
                    found[name] = Environment(
                        name, str(entry.get("ProxyAddress", "")), str(entry.get("Description", ""))
                    )
            except (ValueError, AttributeError) as error:
                raise CommandFailed(
                    f"The environments in {self._config.path} cannot be read", remedy="Mend its key `envs`."
                ) from error
        return found

    def _keep(self, found: Mapping[str, Environment]) -> None:
        entries = {
            known.name: {"Name": known.name, "ProxyAddress": known.address, "Description": known.description}
            for known in found.values()
        }
        self._config.set("envs", json.dumps(entries))
