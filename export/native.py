"""Builds `helmsight-run`, the program for boards without Python: the C++ of `runner/` with ncnn, once a processor.

zig compiles both for the board's processor and its oldest glibc; each lies in the cache under a hash of all that it is
made of, so that ncnn's minutes are spent once. How a network gets into ncnn's files is in `ncnn_model.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from signal import Signals

from ..devices.errors import DeviceMismatch, MissingExtra, need
from ..devices.processor import processor
from ..runtime.fetch import Package, cache_folder, fetch, locked

NCNN = Package(
    "ncnn",
    "1.0.20261020",
    "ncnn-1.0.20261020.tar.gz",
    "ad8cdd63e9755cfa8e23b9b6d9ce46156077d80298a89e7c3ba325ffccfca200",
    "BSD-3-Clause",
)
"""Its source distribution, which also holds stb_image (MIT or public domain)."""

SOURCES = Path(__file__).parent / "runner"
NAME = "helmsight-run"
LICENCES = "LICENCES.txt"
LAYERS = "layers.txt"
LAYER = re.compile(r"^ncnn_add_layer\((\w+)(?!.*\bOFF\b)", re.MULTILINE)
"""A type of layer in ncnn's list of those that it is built with."""
MOST_BYTES = 5_000_000
TOOLS = ("ziglang", "cmake", "ninja")
"""Packages of the extra `tk1` that build."""

# Every layer that pnnx may write, in fp32 only; none of ncnn's own picture code, tools or bindings.
NCNN_ON = ("OPENMP", "SIMPLEOMP")
NCNN_OFF = (
    *(
        "VULKAN",
        "RUNTIME_CPU",
        "INT8",
        "WEIGHT_QUANT",
        "BF16",
        "PIXEL",
        "PIXEL_ROTATE",
        "PIXEL_AFFINE",
        "PIXEL_DRAWING",
    ),
    *("C_API", "SIMPLEOCV", "BUILD_TOOLS", "BUILD_EXAMPLES", "BUILD_BENCHMARK", "BUILD_TESTS"),
)
FLAGS = ("-std=c++17", "-O3", "-Wall", "-Wextra", "-Werror")
EXACT = "-ffp-contract=off"
"""A product and a sum rounded together would differ from Python's."""
OTHERS = ("stb_image.cpp",)
"""Sources that are somebody else's, and warn."""

Say = Callable[[str], None]


class BuildFailed(MissingExtra):
    """The tools are here and do not build the program. Exit code 3: the way out is to mend the tools."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A kind of processor: `machine` as `uname -m` says it, zig's `target` and `cpu`, the oldest `glibc` it runs with.

    `emulator` is the command of qemu-user with the processor and kernel of the oldest board, `root` where Debian's
    cross libc for it lies.
    """

    machine: str
    target: str
    cpu: str
    glibc: tuple[int, int]
    emulator: tuple[str, ...]
    root: str

    @property
    def flags(self) -> tuple[str, ...]:
        """What zig builds for."""
        return "-target", f"{self.target}.{self.glibc[0]}.{self.glibc[1]}", f"-mcpu={self.cpu}"


PLATFORMS = {
    p.machine: p
    for p in (
        # L4T R21: Ubuntu 14.04, glibc 2.19, kernel 3.10.40.
        Platform(
            *("armv7l", "arm-linux-gnueabihf", "cortex_a15", (2, 19)),
            ("qemu-arm", "-cpu", "cortex-a15", "-r", "3.10.40"),
            "/usr/arm-linux-gnueabihf",
        ),
        # JetPack 4: Ubuntu 18.04, glibc 2.27, kernel 4.9; the oldest board has a Cortex-A57, ARMv8.0.
        Platform(
            *("aarch64", "aarch64-linux-gnu", "generic", (2, 27)),
            ("qemu-aarch64", "-cpu", "cortex-a57", "-r", "4.9.253"),
            "/usr/aarch64-linux-gnu",
        ),
    )
}
"""By `machine`."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs that build."""

    zig: Path
    cmake: Path
    ninja: Path


def platform_for(machine: str) -> Platform:
    """The platform of a board. Raises DeviceMismatch for a processor that the program is not built for."""
    if machine not in PLATFORMS:
        raise DeviceMismatch(
            f"{NAME} is not built for {machine or 'an unknown processor'}; only {', '.join(PLATFORMS)}"
        )
    return PLATFORMS[machine]


def runner(platform: Platform, say: Say) -> Path:
    """The folder with `helmsight-run`, LICENCES and LAYERS for `platform`, built where the cache has none.

    One process of several builds, the others wait. Raises MissingExtra where a tool of the extra `tk1` is missing,
    FetchFailed where ncnn's sources cannot be had, BuildFailed with the compiler's own line.
    """
    tools = find_tools()

    def make(work: Path, done: Path) -> None:
        _build_program(platform, tools, _library(platform, tools, say), work, done)

    return _cached(_program_name(platform), make)


def cached_runner(platform: Platform) -> Path | None:
    """What `runner` would give, if it is there already."""
    folder = cache_folder() / "runner" / _program_name(platform)
    return folder if folder.is_dir() else None


def _program_name(platform: Platform) -> str:
    sources = [(file.name, file.read_bytes()) for file in sorted(SOURCES.iterdir())]
    return f"{platform.machine}-{_key(platform, NCNN_ON, NCNN_OFF, FLAGS, EXACT, sources)}"


def _library(platform: Platform, tools: Tools, say: Say) -> Path:
    """The folder with ncnn's library, its headers and its licences for `platform`."""

    def make(work: Path, done: Path) -> None:
        say(f"building ncnn for {platform.machine}, once: some minutes")
        _build_library(platform, tools, work, done)

    return _cached(f"ncnn-{platform.machine}-{_key(platform, NCNN_ON, NCNN_OFF)}", make)


def _cached(name: str, make: Callable[[Path, Path], None]) -> Path:
    """The folder `name` of the cache, whole or not at all; `make` is given one to work in and one to fill."""
    folder = cache_folder() / "runner" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        with locked(folder.with_name(f"{name}.lock")):
            if not folder.is_dir():
                with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                    work, done = Path(made) / "work", Path(made) / "done"
                    work.mkdir()
                    done.mkdir()
                    make(work, done)
                    done.rename(folder)
    return folder


def find_tools() -> Tools:
    """Where they are. Raises MissingExtra that names the one that is not here."""
    return Tools(
        zig=Path(str(need("ziglang", "tk1").__file__)).parent / "zig",
        cmake=Path(need("cmake", "tk1").CMAKE_BIN_DIR) / "cmake",
        ninja=Path(need("ninja", "tk1").BIN_DIR) / "ninja",
    )


def versions() -> dict[str, str]:
    """Of what the program is made with."""
    return {"ncnn": NCNN.version} | {package: metadata.version(package) for package in TOOLS}


def needed_glibc(program: Path) -> tuple[int, int]:
    """The newest version of glibc's symbols that an ELF file names, 0.0 where it names none."""
    found = re.findall(rb"\bGLIBC_(\d+)\.(\d+)", program.read_bytes())
    return max(((int(major), int(minor)) for major, minor in found), default=(0, 0))


def _key(*parts: object) -> str:
    """A hash of what something is made of, with ncnn's sources and the tools."""
    return hashlib.sha256(repr((parts, NCNN.sha256, sorted(versions().items()))).encode()).hexdigest()[:16]


def _build_library(platform: Platform, tools: Tools, work: Path, done: Path) -> None:
    """ncnn, by its own CMake files."""
    ncnn = fetch(NCNN, cache_folder()) / f"{NCNN.name}-{NCNN.version}"
    for name in ("ar", "ranlib"):  # CMake takes no arguments for these
        script = work / f"zig-{name}"
        script.write_text(f'#!/bin/sh\nexec "{tools.zig}" {name} "$@"\n')
        script.chmod(0o755)
    flags = " ".join(platform.flags)
    settings = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": {"armv7l": "armv7"}.get(platform.machine, platform.machine),
        "CMAKE_MAKE_PROGRAM": tools.ninja,
        "CMAKE_C_COMPILER": f"{tools.zig};cc",
        "CMAKE_CXX_COMPILER": f"{tools.zig};c++",
        "CMAKE_C_FLAGS": flags,
        "CMAKE_CXX_FLAGS": flags,
        "CMAKE_AR": work / "zig-ar",
        "CMAKE_RANLIB": work / "zig-ranlib",
        "CMAKE_INSTALL_PREFIX": done,
        "CMAKE_INSTALL_LIBDIR": "lib",
        **{f"NCNN_{name}": "ON" for name in NCNN_ON},
        **{f"NCNN_{name}": "OFF" for name in NCNN_OFF},
    }
    where: tuple[str | Path, ...] = ("-G", "Ninja", "-S", ncnn, "-B", work)
    _run([tools.cmake, *where, *(f"-D{k}={v}" for k, v in settings.items())], work)
    _run([tools.cmake, "--build", work, "--parallel", str(processor().usable_cores)], work)
    _run([tools.cmake, "--install", work], work)
    shutil.copy(ncnn / "src" / "stb_image.h", done / "include" / "ncnn")
    (done / LICENCES).write_text(_licences(ncnn, tools.zig.parent))
    (done / LAYERS).write_text("\n".join(LAYER.findall((ncnn / "src" / "CMakeLists.txt").read_text())) + "\n")


def _build_program(platform: Platform, tools: Tools, library: Path, work: Path, done: Path) -> None:
    """The program of `runner/`, linked with the library: stripped, and with nothing of the system but its C library."""
    include: tuple[str | Path, ...] = ("-isystem", library / "include" / "ncnn")
    objects = [work / f"{file.stem}.o" for file in sorted(SOURCES.glob("*.cpp"))]

    def compiled(out: Path) -> None:
        source = SOURCES / f"{out.stem}.cpp"
        flags = [*platform.flags, *FLAGS, EXACT, *(["-w"] if source.name in OTHERS else [])]
        _run([tools.zig, "c++", *flags, *include, "-c", source, "-o", out], work)

    with ThreadPoolExecutor(processor().usable_cores) as pool:
        list(pool.map(compiled, objects))
    program = done / NAME
    _run([tools.zig, "c++", *platform.flags, *objects, library / "lib" / "libncnn.a", "-s", "-o", program], work)
    _check(program, platform)
    for file in (LICENCES, LAYERS):
        shutil.copy(library / file, done)


def _run(command: Sequence[str | Path], work: Path) -> None:
    """Run a tool; zig keeps its C++ library, which it builds once a platform, in our cache."""
    cache = cache_folder()
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache / "zig"), "ZIG_LOCAL_CACHE_DIR": str(work / "zig")}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        log = cache / "runner" / "build.log"
        log.write_text(done.stdout)
        lines = [line for line in done.stdout.splitlines() if re.search("error|killed", line, re.IGNORECASE)]
        if done.returncode < 0:
            by = f"{Path(command[0]).name} was ended by {Signals(-done.returncode).name}"
            lines.insert(0, f"{by}, as a system short of memory does it")
        lines = lines or [f"{Path(command[0]).name} ended with {done.returncode} and told no error"]
        raise BuildFailed(f"{NAME} cannot be built: {lines[0].strip()}; all of it is in {log}")


def _check(program: Path, platform: Platform) -> None:
    """Raises BuildFailed for a program that the board could not start."""
    size, glibc = program.stat().st_size, needed_glibc(program)
    if size > MOST_BYTES or glibc > platform.glibc:
        raise BuildFailed(
            f"{NAME} has {size:,} bytes and needs glibc {glibc[0]}.{glibc[1]}; expected at most {MOST_BYTES:,} and "
            f"{platform.glibc[0]}.{platform.glibc[1]}"
        )


def _licences(ncnn: Path, zig: Path) -> str:
    """Of what is inside the program beside helmsight itself."""
    stb = (ncnn / "src" / "stb_image.h").read_text()
    parts = {
        f"ncnn {NCNN.version}": (ncnn / "LICENSE.txt").read_text(),
        "stb_image": stb[stb.rindex("This software is available under 2 licenses") :].removesuffix("*/\n"),
        "libc++": (zig / "lib" / "libcxx" / "LICENSE.TXT").read_text(),
        "libc++abi": (zig / "lib" / "libcxxabi" / "LICENSE.TXT").read_text(),
        "libunwind": (zig / "lib" / "libunwind" / "LICENSE.TXT").read_text(),
    }
    return "\n\n".join(f"{name}\n{'=' * len(name)}\n\n{text.strip()}" for name, text in parts.items()) + "\n"
