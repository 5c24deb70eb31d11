"""Unpacking archives, also hostile ones."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microd.kernel.errors import BadRequest, TooLarge
from microd.services.runtime.archive import unpack

from .conftest import tar_of


class Packer:
    """Builds an archive member by member, with nothing to stop it."""

    def __init__(self, format: int = tarfile.GNU_FORMAT) -> None:
        self._made = io.BytesIO()
        self.tar = tarfile.open(fileobj=self._made, mode="w", format=format)  # noqa: SIM115 - `data` closes it

    def file(self, name: str, content: bytes = b"", mode: int = 0o644) -> Packer:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.tar.addfile(member, io.BytesIO(content))
        return self

    def special(self, name: str, type: bytes, target: str = "", mode: int = 0o644) -> Packer:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.mode = type, target, mode
        self.tar.addfile(member)
        return self

    def link(self, name: str, target: str) -> Packer:
        return self.special(name, tarfile.SYMTYPE, target)

    def hard(self, name: str, target: str) -> Packer:
        return self.special(name, tarfile.LNKTYPE, target)

    def data(self) -> bytes:
        self.tar.close()
        return self._made.getvalue()


def opened(tmp_path: Path, data: bytes, most_bytes: int = 1 << 20, most_files: int = 100) -> Path:
    """The folder into which an archive was unpacked; beside it lies a file that none may touch."""
    (tmp_path / "outside").write_text("untouched")
    (tmp_path / "a.tar").write_bytes(data)
    folder = tmp_path / "into" / "here"
    try:
        unpack(tmp_path / "a.tar", folder, most_bytes, most_files)
    finally:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "into", "outside"]
        assert [path.name for path in (tmp_path / "into").iterdir()] == ["here"]
        assert (tmp_path / "outside").read_text() == "untouched"
    return folder


def test_files(tmp_path: Path) -> None:
    """Files arrive with their content, below folders that need not be in the archive."""
    folder = opened(tmp_path, tar_of({"main.py": b"1", "a/b/c.txt": b"2"}))
    assert (folder / "main.py").read_bytes() == b"1"
    assert (folder / "a/b/c.txt").read_bytes() == b"2"


def test_dot_names(tmp_path: Path) -> None:
    """Archives of C{.}, as C{tar -C folder .} makes them, are fine."""
    folder = opened(tmp_path, Packer().special("./", tarfile.DIRTYPE).file("./main.py", b"1").data())
    assert (folder / "main.py").read_bytes() == b"1"


def test_gzip(tmp_path: Path) -> None:
    """An archive may be gzipped."""
    folder = opened(tmp_path, gzip.compress(tar_of({"main.py": b"1"})))
    assert (folder / "main.py").read_bytes() == b"1"


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_formats(tmp_path: Path, format: int) -> None:
    """All usual formats are read, with long names too."""
    name = "a" * 90 + "/" + "b" * 90
    assert (opened(tmp_path, Packer(format).file(name, b"1").data()) / name).read_bytes() == b"1"


@pytest.mark.parametrize(("packed", "expected"), [(0o4777, 0o755), (0o600, 0o644), (0o000, 0o644)])
def test_modes(tmp_path: Path, packed: int, expected: int) -> None:
    """Whether a file is executable is kept; setuid and the like are not."""
    before = os.umask(0o022)
    try:
        folder = opened(tmp_path, Packer().file("f", b"", packed).data())
    finally:
        os.umask(before)
    assert (folder / "f").stat().st_mode & 0o7777 == expected


def test_same_name_twice(tmp_path: Path) -> None:
    """The last one of a name counts, and is not written through a link of that name."""
    data = Packer().file("target", b"t").link("f", "target").file("f", b"new").data()
    folder = opened(tmp_path, data)
    assert (folder / "target").read_bytes() == b"t"
    assert (folder / "f").read_bytes() == b"new"


def test_inner_links(tmp_path: Path) -> None:
    """Links which stay inside are kept."""
    data = Packer().file("a/f", b"1").link("b/l", "../a/f").link("d", "a").hard("h", "a/f").data()
    folder = opened(tmp_path, data)
    assert (folder / "b/l").read_bytes() == b"1"
    assert (folder / "d/f").read_bytes() == b"1"
    assert (folder / "h").read_bytes() == b"1"


@pytest.mark.parametrize(
    "packer",
    [
        Packer().file("/tmp/x"),
        Packer().file("../outside", b"!"),
        Packer().file("a/../../../outside", b"!"),
        Packer().link("l", "/etc/passwd"),
        Packer().link("l", "../outside"),
        Packer().link("a/l", "../../../outside"),
        Packer().link("l", ""),
        Packer().link("s", ".").link("l", "s/../../outside"),
        Packer().special("d", tarfile.DIRTYPE).link("d/s", ".").link("d/l", "s/../../outside"),
        Packer().link("l", "a").special("a", tarfile.DIRTYPE).file("l/f", b"!"),
        Packer().link("l", "..").file("l/../outside", b"!"),
        Packer().hard("h", "/etc/passwd"),
        Packer().hard("h", "../../outside"),
        Packer().link("l", "m").hard("h", "l"),
        Packer().hard("h", "missing"),
        Packer().special("p", tarfile.FIFOTYPE),
        Packer().special("c", tarfile.CHRTYPE),
        Packer().special("b", tarfile.BLKTYPE),
        Packer().file("f").file("f/g"),
        Packer().file("a/" * 70 + "f"),
        Packer().file("x" * 300),
        Packer().file("."),
    ],
)
def test_refused(tmp_path: Path, packer: Packer) -> None:
    """Whatever leads out of the folder, or is no business of a source, is refused; nothing outside is touched."""
    with pytest.raises(BadRequest):
        opened(tmp_path, packer.data())


def test_sparse(tmp_path: Path) -> None:
    """A sparse file, which is larger than what was sent, is refused."""
    member = tarfile.TarInfo("f")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000"}
    packer = Packer(tarfile.PAX_FORMAT)
    content = b"1\n0\n4\n".ljust(512, b"\0") + b"data"
    member.size = len(content)
    packer.tar.addfile(member, io.BytesIO(content))
    with pytest.raises(BadRequest, match="neither a file"):
        opened(tmp_path, packer.data())


def test_too_large(tmp_path: Path) -> None:
    """Too much content is refused, and the limit is named."""
    with pytest.raises(TooLarge, match="10000 bytes"):
        opened(tmp_path, tar_of({"a": b"x" * 6000, "b": b"x" * 6000}), most_bytes=10_000)


def test_too_many(tmp_path: Path) -> None:
    """Too many files are refused, and the limit is named."""
    with pytest.raises(TooLarge, match="10 files"):
        opened(tmp_path, tar_of({str(number): b"" for number in range(11)}), most_files=10)


def test_bomb(tmp_path: Path) -> None:
    """A gzip of very much is refused before it has filled the disk or the memory."""
    with pytest.raises(TooLarge):
        opened(tmp_path, gzip.compress(tar_of({"a": b"\0" * (50 << 20)})))


def test_header_bomb(tmp_path: Path) -> None:
    """A gzip whose headers are very large is refused as well."""
    member = tarfile.TarInfo("f")
    member.pax_headers = {"comment": "x" * (50 << 20)}
    packer = Packer(tarfile.PAX_FORMAT)
    packer.tar.addfile(member)
    with pytest.raises(TooLarge):
        opened(tmp_path, gzip.compress(packer.data(), 1))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b", gzip.compress(b"hello"), b"\0" * 5000 + b"x"])
def test_no_tar(tmp_path: Path, data: bytes) -> None:
    """What is no tar is refused as such, or holds nothing."""
    try:
        folder = opened(tmp_path, data)
    except BadRequest as error:
        assert "no tar" in error.detail  # noqa: PT017
    else:
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("cut", [100, 600, 1100, 2500])
def test_cut_short(tmp_path: Path, cut: int) -> None:
    """An archive that was cut short is refused."""
    data = tar_of({"a": b"x" * 1000, "b": b"y" * 1000})[:cut]
    with pytest.raises(BadRequest):
        opened(tmp_path, data)


_names = st.sampled_from(
    ["a", "b", "c", "a/b", "a/c", "b/c", "a/b/c", "./a", "a/../b", "../outside", "/a", "."]
)
_targets = st.sampled_from(
    ["a", "b", "a/b", ".", "..", "../..", "../a", "../../outside", "a/..", "b/../..", "/a", ""]
)
_members = st.one_of(
    st.tuples(st.just(tarfile.REGTYPE), _names, st.just("")),
    st.tuples(st.just(tarfile.DIRTYPE), _names, st.just("")),
    st.tuples(st.just(tarfile.SYMTYPE), _names, _targets),
    st.tuples(st.just(tarfile.LNKTYPE), _names, _targets),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_members, max_size=7))
def test_any_archive(members: list[tuple[bytes, str, str]]) -> None:
    """Whatever an archive holds: nothing outside changes, and no link that was unpacked leads out."""
    packer = Packer()
    for type, name, target in members:
        packer.special(name, type, target)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve() / "into" / "here"
        with contextlib.suppress(BadRequest):
            opened(Path(place), packer.data())
        for folder, folders, files in os.walk(root):
            for name in (*folders, *files):
                assert os.path.realpath(os.path.join(folder, name)).startswith(f"{root}")
