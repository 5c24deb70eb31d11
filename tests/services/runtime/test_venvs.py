"""Virtualenvs: when one is needed, how it is made, who shares it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from microd.kernel.errors import BadRequest
from microd.services.runtime.backends.local.recipe import read_recipe
from microd.services.runtime.model import Key, Status

from .conftest import KEY, MAIN, House, now, settles

OTHER = Key("micro", "other")
NEEDY = {"main.py": MAIN, "requirements.txt": b"left-pad==1.0\n"}


def recipe_key(folder: Path, **files: str) -> str:
    """The key of what a source with these files asks for; empty for nothing."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt").replace("_toml", ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    recipe = read_recipe(folder, folder)
    return recipe.key if recipe else ""


PROJECT = '[project]\nname = "x"\ndependencies = ["a", "b>1"]\n'


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"requirements_txt": "# nothing\n\n"},
        {"pyproject_toml": "[tool.ruff]\n"},
        {"pyproject_toml": '[project]\nname = "x"\n'},
        {"requirements_txt": "", "pyproject_toml": PROJECT},
    ],
)
def test_none(tmp_path: Path, files: dict[str, str]) -> None:
    """Who asks for no packages shares the daemon's interpreter."""
    assert recipe_key(tmp_path, **files) == ""


def test_project(tmp_path: Path) -> None:
    """A pyproject.toml asks for what its project depends on; each requirement is a word, and none an option."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    recipe = read_recipe(tmp_path, tmp_path)
    assert recipe is not None
    assert recipe.arguments == ("--", "a", "b>1")


def test_requirements(tmp_path: Path) -> None:
    """A requirements.txt is installed as it is."""
    (tmp_path / "requirements.txt").write_text("a\n")
    recipe = read_recipe(tmp_path, tmp_path)
    assert recipe is not None
    assert recipe.arguments == ("-r", str(tmp_path / "requirements.txt"))


def test_of_the_root(tmp_path: Path) -> None:
    """A folder which asks for nothing itself gets what its source asks for."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text("a\n")
    recipe = read_recipe(tmp_path / "sub", tmp_path)
    assert recipe is not None
    assert recipe.folder == tmp_path


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[project", "cannot be read"),
        ('[project]\ndependencies = "a"\n', "must be a list"),
        ('[project]\ndynamic = ["dependencies"]\n', "dynamic"),
        ("project = 1\n", "cannot be read"),
    ],
)
def test_bad_project(tmp_path: Path, text: str, error: str) -> None:
    """A pyproject.toml that we cannot follow is refused with the reason."""
    with pytest.raises(BadRequest, match=error):
        recipe_key(tmp_path, pyproject_toml=text)


def test_same_wish(tmp_path: Path) -> None:
    """Two services with the same wish share a virtualenv; with another wish they do not."""
    keys = [
        recipe_key(tmp_path / "a", requirements_txt="x==1\n"),
        recipe_key(tmp_path / "b", requirements_txt="x==1\n"),
        recipe_key(tmp_path / "c", requirements_txt="x==2\n"),
    ]
    assert keys[0] == keys[1] != keys[2]


def test_included(tmp_path: Path) -> None:
    """A requirements file that is named in another one is part of the wish, also around a circle."""
    keys = [
        recipe_key(tmp_path / "a", requirements_txt="-r more.txt\n", more_txt="-r requirements.txt\ny==1\n"),
        recipe_key(tmp_path / "b", requirements_txt="-r more.txt\n", more_txt="-r requirements.txt\ny==2\n"),
    ]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("line", ["-e .", "./lib", "--editable lib", "lib @ file:lib", "/srv/lib"])
def test_local(tmp_path: Path, line: str) -> None:
    """A wish for a folder of the source is shared with nobody: its content counts as well."""
    keys = [recipe_key(tmp_path / name, requirements_txt=f"{line}\n") for name in ("a", "b")]
    assert keys[0] != keys[1]


def finish_build(house: House) -> None:
    house.crash(0)
    house.crash(0)


def test_building(house: House) -> None:
    """While its packages are installed a service is building, and what the build says is in its log."""
    house.create(files=NEEDY)
    assert house.status() is Status.BUILDING
    house.last.says(b"Collecting left-pad\n")
    assert house.messages() == ["Collecting left-pad"]
    assert house.view().metadata["build"]


def test_built(house: House) -> None:
    """Then it is started with the interpreter of its virtualenv, whose programs come first."""
    house.create(files=NEEDY)
    finish_build(house)
    assert house.status() is Status.STARTING
    home = house.folder / "venvs" / house.view().metadata["build"]
    assert house.last.arguments[6] == f"{home}/bin/python"
    assert house.last.environment["PATH"] == f"{home}/bin:/usr/bin"


def test_steps(house: House) -> None:
    """The virtualenv sees the daemon's packages before pip looks for what is missing."""
    house.create(files=NEEDY)
    house.crash(0)
    assert house.last.arguments[7:10] == ["-m", "pip", "install"]
    (pth,) = house.folder.glob("venvs/*/lib/*/site-packages/*.pth")
    assert "site.addsitedir" in pth.read_text()


def test_no_secrets(house: House) -> None:
    """A build sees neither the daemon's secrets nor the service's, and bears our mark."""
    house.create(files=NEEDY, secrets={"S": "t"})
    environment = house.last.environment
    mark = environment.pop("MICRO_SERVICE_PROCESS")
    assert mark.endswith(".build")
    assert not [name for name in environment if name.startswith("MICRO_") or name == "S"]


def test_cached(house: House) -> None:
    """A second service with the same wish needs no build, nor does a restart."""
    house.create(files=NEEDY)
    finish_build(house)
    house.create(files=NEEDY, key=OTHER)
    assert house.view(OTHER).status is Status.STARTING
    house.restart()
    assert house.status() is Status.STARTING


def test_shared(house: House) -> None:
    """Two services which want the same at the same time wait for one build, and both have its output."""
    house.create(files=NEEDY)
    house.create(files=NEEDY, key=OTHER)
    assert len(house.processes.alive) == 1
    house.last.says(b"Collecting\n")

    async def other() -> list[str]:
        return [line.text async for line in house.runtime.logs(OTHER)]

    assert now(other()) == house.messages() == ["Collecting"]
    finish_build(house)
    assert house.status() is house.view(OTHER).status is Status.STARTING


def test_failed(house: House) -> None:
    """A failed build is an error with pip's last words, and is not tried again by itself."""
    house.create(files=NEEDY)
    house.crash(0)
    house.last.says(b"ERROR: No matching distribution\n", 2)
    house.crash(1)
    view = house.view()
    assert view.status is Status.ERROR
    assert view.metadata["error"] == (
        "installing its packages failed: pip exited with code 1\nERROR: No matching distribution"
    )
    house.clock.advance(1000)
    assert house.processes.alive == []


def test_failed_is_not_cached(house: House) -> None:
    """After a failed build the same wish is built from the beginning."""
    house.create(files=NEEDY)
    house.crash(0)
    house.crash(1)
    house.create(files=NEEDY, force=True)
    assert house.status() is Status.BUILDING
    finish_build(house)
    assert house.status() is Status.STARTING


def test_too_long(house: House) -> None:
    """A build that does not end is ended."""
    house.create(files=NEEDY)
    house.clock.advance(900)
    assert house.last.signals == ["SIGUSR1"]


def test_deleted(house: House) -> None:
    """Deleting the only service that waits for a build ends the build."""
    house.create(files=NEEDY)
    now(house.runtime.delete(KEY))
    assert house.last.signals == ["SIGUSR1"]
    house.crash(1)
    house.clock.advance(100)
    assert house.processes.alive == []


def test_one_of_two_deleted(house: House) -> None:
    """Deleting one of two that wait for a build leaves it to the other."""
    house.create(files=NEEDY)
    house.create(files=NEEDY, key=OTHER)
    now(house.runtime.delete(KEY))
    assert house.last.signals == []
    finish_build(house)
    assert house.view(OTHER).status is Status.STARTING


def test_wanted_again_while_ending(house: House) -> None:
    """Who wants a build that is just being ended gets a new one when it has."""
    house.create(files=NEEDY)
    now(house.runtime.delete(KEY))
    ending = house.last
    house.create(files=NEEDY)
    assert house.processes.alive == [ending]
    house.crash(1, ending)
    assert house.status() is Status.BUILDING
    finish_build(house)
    assert house.status() is Status.STARTING


def test_cut_short(house: House) -> None:
    """What a killed daemon left of a build is removed and made anew."""
    house.create(files=NEEDY)
    house.crash(0)
    (half,) = (house.folder / "venvs").iterdir()
    house.restart()
    assert not half.exists()
    finish_build(house)
    assert house.status() is Status.STARTING


def test_unused(house: House) -> None:
    """A virtualenv that nobody has used for long is removed at the start."""
    house.create(files=NEEDY)
    finish_build(house)
    deleted = settles(house.runtime.delete(KEY))
    house.crash(0)
    deleted.result()
    (home,) = (house.folder / "venvs").iterdir()
    os.utime(home / "complete", (1, 1))
    house.restart()
    assert list((house.folder / "venvs").iterdir()) == []


def test_refused_at_once(house: House) -> None:
    """A wish which cannot be understood is refused when the service is created."""
    with pytest.raises(BadRequest, match="pyproject"):
        house.create(files={"main.py": MAIN, "pyproject.toml": b"[project"})
