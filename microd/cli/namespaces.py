"""The namespaces that a user works in: noted in the configuration, for each environment."""

from __future__ import annotations

from microd.cli.config import Config
from microd.cli.failure import CommandFailed
from microd.cli.naming import DEFAULT_NAMESPACE


class Namespaces:
    """Those of one environment."""

    def __init__(self, config: Config, environment: str) -> None:
        self._config = config
        self._current = f"namespaces.{environment}.current"
        self._all = f"namespaces.{environment}.all"

    def all(self) -> list[str]:
        """Those noted, the default one among them."""
        noted = self._config.get(self._all).split(",")
        return sorted({DEFAULT_NAMESPACE, *(name for name in noted if name)})

    def choose(self, name: str) -> None:
        """Work in C{name} from now on."""
        self._config.update({self._current: _checked(name), self._all: self._joined({*self.all(), name})})

    def add(self, name: str) -> None:
        """Note a namespace."""
        self._config.set(self._all, self._joined({*self.all(), _checked(name)}))

    def remove(self, name: str) -> None:
        """Forget one; who works in it goes back to the default."""
        if name == DEFAULT_NAMESPACE:
            raise CommandFailed("The default namespace cannot be removed")
        if name not in self.all():
            raise CommandFailed("Namespace does not exists", remedy="See `micro user namespace list`.")
        changed = {self._all: self._joined({*self.all()} - {name})}
        if self._config.get(self._current) == name:
            changed[self._current] = DEFAULT_NAMESPACE
        self._config.update(changed)

    @staticmethod
    def _joined(names: set[str]) -> str:
        return ",".join(sorted(names - {DEFAULT_NAMESPACE}))


def _checked(name: str) -> str:
    if not name or any(sign in name for sign in ",/*: "):
        raise CommandFailed(f"{name!r} cannot be the name of a namespace")
    return name
