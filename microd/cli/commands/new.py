"""C{micro new}."""

from __future__ import annotations

import re
from pathlib import Path

import click

from microd.cli.failure import CommandFailed
from microd.cli.lazy import MicroCommand, pass_session
from microd.cli.naming import CORE
from microd.cli.scaffold import files_of
from microd.cli.session import Session

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*")


@click.command(cls=MicroCommand, short_help="Make a folder with a new service")
@click.argument("name", default="")
@pass_session
def new(session: Session, name: str) -> None:
    """Make the folder NAME with a service of that name, ready to run."""
    if not name:
        raise CommandFailed("specify service name, as in `micro new greeter`")
    folder = Path(name).expanduser()
    service = folder.name.lower()
    if not _NAME.fullmatch(service):
        raise CommandFailed(
            f"{folder.name!r} cannot name a service: use letters, digits and -, as in `micro new greeter`"
        )
    if service in CORE:
        raise CommandFailed(f"the name {service} belongs to the platform", remedy="Choose another.")
    if folder.exists():
        raise CommandFailed(f"the folder {name} already exists")
    files = files_of(service)
    try:
        folder.mkdir(parents=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{error.filename or folder} cannot be made: {error.strerror}") from error
    session.answer(
        {"name": service, "folder": str(folder), "files": list(files)}, lambda: _told(name, service, files)
    )


def _told(folder: str, service: str, files: dict[str, str]) -> str:
    *first, last = files
    tree = [f"├── {file}" for file in first] + [f"└── {last}"]
    return "\n".join(
        [
            *(f"Creating service {service}", "", ".", *tree, ""),
            *("Run it, and call it:", "", f"    micro run {folder}", f"    micro {service} hello --name=Ada"),
        ]
    )
