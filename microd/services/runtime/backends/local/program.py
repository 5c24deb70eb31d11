"""What to run for a service, found in its source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microd.kernel.errors import BadRequest
from microd.services.runtime.model import Spec


@dataclass(frozen=True, slots=True)
class Program:
    """A command and the folder in which it runs.

    @ivar python: the command is to be given to a Python interpreter.
    """

    command: tuple[str, ...]
    folder: Path
    python: bool = False

    def line(self, interpreter: str) -> Sequence[str]:
        """The whole command."""
        return (interpreter, *self.command) if self.python else self.command


def find_program(spec: Spec, root: Path) -> Program:
    """Decide what is run: the command that was asked for, else the entrypoint, else its C{main.py}.

    @param root: the service's source.
    @raise BadRequest: there is nothing to run; says what would help.
    """
    place = _inside(root, spec.entrypoint)
    if place.is_dir():
        folder, file = place, place / "main.py"
    else:
        folder, file = place.parent, place
    if spec.command:
        return Program((*spec.command, *spec.args), folder)
    if file.is_file():
        if file.suffix == ".py":
            return Program((str(file), *spec.args), folder, python=True)
        if os.access(file, os.X_OK):
            return Program((str(file), *spec.args), folder)
        raise BadRequest(f"{spec.entrypoint} is neither Python (.py) nor executable")
    what = spec.entrypoint or "the source"
    if place.is_dir():
        raise BadRequest(f"there is no main.py in {what}: name an entrypoint, or a command")
    raise BadRequest(f"there is no {what} in the source")


def _inside(root: Path, entrypoint: str) -> Path:
    place = Path(os.path.normpath(root / entrypoint))
    if entrypoint.startswith("/") or not place.resolve().is_relative_to(root.resolve()):
        raise BadRequest("the entrypoint must be inside the source")
    return place
