"""What packages a service asks for, and the key under which its virtualenv is kept."""

from __future__ import annotations

import hashlib
import re
import site
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import microd
from microd.kernel.errors import BadRequest

_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", re.MULTILINE)
#: A requirement which is a folder: then its content matters as well, and nobody else can share the result.
_LOCAL = re.compile(r"^\s*(?:-e\b|--editable\b|\.|/|file:|[^#]*@\s*file:)", re.MULTILINE)
_SOMETHING = re.compile(r"^\s*[^#\s]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A virtualenv to be made.

    @ivar folder: where the packages are asked for; relative paths start there.
    @ivar arguments: what C{pip install} is told.
    """

    key: str
    folder: Path
    arguments: tuple[str, ...]


def own_packages() -> tuple[str, ...]:
    """The folders which the daemon's own packages come from."""
    found = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    found += site.getsitepackages()
    found.append(str(Path(microd.__file__).resolve().parents[1]))
    return tuple(dict.fromkeys(path for path in found if Path(path).is_dir()))


def read_recipe(folder: Path, root: Path) -> Recipe | None:
    """What a service in C{folder} asks for; None for one which is content with the daemon's own packages.

    @raise BadRequest: it asks in a way that we cannot understand.
    """
    for place in dict.fromkeys((folder, root)):
        listed, project = place / "requirements.txt", place / "pyproject.toml"
        if listed.is_file():
            text = _with_included(listed, root, set())
            if _SOMETHING.search(text) is None:
                return None
            own = str(place) if _LOCAL.search(text) else ""
            return Recipe(_key(text, own), place, ("-r", str(listed)))
        if project.is_file():
            wanted = _dependencies(project)
            return Recipe(_key("\n".join(wanted), ""), place, ("--", *wanted)) if wanted else None
    return None


def _with_included(file: Path, root: Path, seen: set[Path]) -> str:
    """A requirements file, and all those which it names."""
    file = file.resolve()
    if file in seen or not file.is_relative_to(root.resolve()) or not file.is_file():
        return ""
    seen.add(file)
    text = file.read_text(errors="replace")
    return text + "".join(
        f"\n{_with_included(file.parent / other, root, seen)}" for other in _INCLUDED.findall(text)
    )


def _dependencies(project: Path) -> list[str]:
    try:
        found = tomllib.loads(project.read_text()).get("project", {})
        wanted = found.get("dependencies", [])
        dynamic = found.get("dynamic", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise BadRequest(f"pyproject.toml cannot be read: {error}") from error
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise BadRequest("pyproject.toml: project.dependencies must be a list of strings")
    if "dependencies" in dynamic:
        raise BadRequest("pyproject.toml: dependencies are dynamic; list them, or add a requirements.txt")
    return wanted


def _key(text: str, own: str) -> str:
    facts = (text, own, sys.executable, sys.version, microd.__version__, *own_packages())
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]
