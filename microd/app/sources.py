"""From file, environment and command line to L{Settings}. Pure but for reading the one file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microd.app.settings import CORE_SERVICES, DOORS, SECTIONS, TABLE, Settings


class BadSettings(Exception):
    """A sentence which names the place, the setting, what is wrong with it and the nearest known one."""


def load(conf: str | None, environ: Mapping[str, str], options: Mapping[str, str]) -> Settings:
    """Merge the three sources, later ones winning.

    @param conf: the settings file's path, or None for none.
    @param options: C{section.key} to what the command line said.
    @raise BadSettings: the first thing that is wrong.
    """
    chosen: dict[str, Any] = {}
    if conf is not None:
        chosen.update(_from_file(Path(conf)))
    for row in TABLE.values():
        if environ.get(row.env):
            chosen[row.name] = _read(row.name, environ[row.env], f"environment: {row.env}")
    for name, value in options.items():
        chosen[name] = _read(name, value, f"command line: --{TABLE[name].option}")
    _check_only(chosen.get("daemon.only", ()))
    sections = {
        section: kind(
            **{name.partition(".")[2]: v for name, v in chosen.items() if name.startswith(section + ".")}
        )
        for section, kind in SECTIONS.items()
    }
    return Settings(**sections)


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each name in the environment that seems to be a setting's, mistyped.

    A warning and no mistake: services and the CLI have C{MICRO_*} names of their own.
    """
    known = {row.env for row in TABLE.values()}
    return [
        f"environment: {name} is no setting{_nearest(name, known, 0.9)}"
        for name in sorted(environ)
        if name.startswith("MICRO_") and name not in known and _nearest(name, known, 0.9)
    ]


def unreadable(complaint: str) -> str:
    """What to say where getopt complains of an option: what it wants, or which one may have been meant."""
    rows = {f"--{row.option}": row for row in TABLE.values()}
    word = next((word for word in complaint.split() if word.startswith("-")), "")
    if "requires argument" in complaint and word in rows:
        try:
            rows[word].read("")
        except ValueError as wanted:
            return f"{word} {wanted}"
        return f"{word} wants a value"
    near = _nearest(word, rows) if "not recognized" in complaint else ""
    return f"{complaint.rstrip('.')}{near or '; see `micro server --help`'}"


def data_folder(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Where everything that is kept is kept."""
    if settings.daemon.data:
        return Path(settings.daemon.data).expanduser().absolute()
    home = environ.get("MICRO_HOME")
    return (Path(home) if home else Path.home() / ".micro").absolute() / "server"


def _from_file(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as problem:
        raise BadSettings(f"{path}: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise BadSettings(f"{path}: not valid TOML: {problem}") from problem
    found: dict[str, Any] = {}
    for section, entries in tables.items():
        if section not in SECTIONS:
            raise BadSettings(f"{path}: unknown section [{section}]{_nearest(section, SECTIONS)}")
        if not isinstance(entries, dict):
            raise BadSettings(f"{path}: {section} is a section; write it as [{section}]")
        for key, value in entries.items():
            name = f"{section}.{key}"
            if name not in TABLE:
                raise BadSettings(f"{path}: unknown setting {name}{_nearest(name, TABLE)}")
            found[name] = _read(name, value, str(path))
    return found


def _read(name: str, value: object, where: str) -> Any:
    try:
        return TABLE[name].read(value)
    except ValueError as problem:
        raise BadSettings(f"{where}: {name} {problem}, got {value!r}") from problem


def _check_only(only: tuple[str, ...]) -> None:
    known = CORE_SERVICES + DOORS
    for name in only:
        if name not in known:
            raise BadSettings(
                f"daemon.only: there is no core service or door {name!r}{_nearest(name, known)}; "
                f"known are {', '.join(known)}"
            )


def _nearest(word: str, known: Any, cutoff: float = 0.6) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""
