"""The wheel: what it holds, and how it starts in an environment that has the base dependencies only."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "devices", "export", "runtime", "train")
HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "cv2",
    "matplotlib",
    "miniworld",
    "pyglet",
    "safetensors",
    "pynvml",
)
HELP_SECONDS = 0.5


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is built, so that no `build/` of an earlier time gets into the wheel."""
    copy = tmp_path_factory.mktemp("source")
    for folder in (*FOLDERS, "src"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source])
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def empty_environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel and its base dependencies, these taken from the one that runs the tests."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=False, symlinks=True)
    run([sys.executable, "-m", "pip", "--python", home, "install", "--quiet", "--no-deps", "--no-index", wheel])
    (site,) = home.glob("lib/python*/site-packages")
    for name in closure(base_dependencies(wheel)):
        found = distribution(name)
        for top in {Path(file).parts[0] for file in found.files or () if not str(file).startswith("..")}:
            if top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(found.locate_file(top))
    return home


def run(command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done


def base_dependencies(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return needed(metadata.get_all("Requires-Dist") or [])


def needed(requirements: list[str]) -> list[str]:
    """Names of the requirements that hold here, those of extras left out."""
    parsed = [Requirement(text) for text in requirements]
    return [r.name for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def closure(names: list[str]) -> set[str]:
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += needed(distribution(name).requires or [])
    return found


def test_every_package_is_listed():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {"helmsight"}
    for folder in FOLDERS:
        found |= {
            "helmsight." + ".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / folder).rglob("__init__.py")
        }
    assert set(config["tool"]["setuptools"]["packages"]) == found


def test_the_wheel_installs_one_name(names):
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"helmsight"}


def test_the_wheel_holds_every_file_of_the_folders(names, source):
    files = {
        f"helmsight/{p.relative_to(source).as_posix()}" for f in FOLDERS for p in (source / f).rglob("*") if p.is_file()
    }
    assert files - names == set()
    assert "helmsight/py.typed" in names


def test_the_wheel_holds_what_ships(names):
    shipped = "helmsight/runtime/shipped"
    for file in ("face.bundle/manifest.json", "face.bundle/model.onnx", "navigate.bundle/model.onnx", "corridor.mp4"):
        assert f"{shipped}/{file}" in names
    assert "helmsight/devices/catalog.toml" in names


def test_base_dependencies_are_few(wheel):
    assert set(base_dependencies(wheel)) <= {"numpy", "typer", "rich", "tomli"}


def test_help_in_an_empty_environment(empty_environment):
    command = [empty_environment / "bin/helmsight", "--help"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(empty_environment), "COLUMNS": "120"}
    seconds = []
    for _ in range(6):  # the first compiles
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = run(command, cwd=empty_environment, env=environment).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    for name in ("camera", "profile", "export", "devices"):
        assert name in out
    assert min(seconds) < HELP_SECONDS


def test_an_extra_that_is_missing_is_named(empty_environment):
    command = [empty_environment / "bin/helmsight", "camera", "face", "--source", "sample://corridor"]
    done = subprocess.run(command, cwd=empty_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "helmsight[cpu]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["camera", "--help"], ["devices", "--json"]])
def test_light_commands_load_nothing_heavy(arguments):
    """Where everything is installed, too."""
    code = (
        "import contextlib, io, json, sys; sys.argv = ['helmsight', *sys.argv[1:]]\n"
        "from helmsight.cli.main import main\n"
        "code = None\n"
        "try:\n"
        "    with contextlib.redirect_stdout(io.StringIO()): code = main()\n"
        "except SystemExit as end: code = end.code\n"
        "print(json.dumps([code or 0, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = run([sys.executable, "-c", code, *arguments])
    exit_code, modules = json.loads(done.stdout.splitlines()[-1])
    assert exit_code == 0, done.stderr
    assert set(modules) & set(HEAVY) == set()


def test_constraints_pin_every_dependency_to_what_is_tested():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {normal(Requirement(line).name): Requirement(line) for line in lines}
    assert all(len(r.specifier) == 1 and next(iter(r.specifier)).operator == "==" and not r.url for r in pins.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        wanted += [] if extra == "gpu" else requirements  # its ONNX Runtime excludes the one tested here
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate():
            pin = pins[normal(requirement.name)]
            assert requirement.specifier.contains(next(iter(pin.specifier)).version), f"{text} against {pin}"


def normal(name: str) -> str:
    return name.lower().replace("_", "-")
