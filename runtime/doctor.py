"""What of helmsight works on this machine: packages, back ends, OpenCV's abilities, the simulator's EGL, cameras,
sensors.

Packages are looked up by their metadata; only ONNX Runtime and OpenCV are imported, because only they can tell what
they were built with. Nothing here opens a camera or loads a network.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..devices.errors import DeviceMismatch, MissingExtra, import_quietly
from ..devices.here import Here, here
from ..devices.power import meter
from ..devices.sensors import Stat, sample_sensors
from .backends.onnxruntime import PROVIDERS
from .extras import EXCLUSIVE, Extra, advice, extras, version

Status = Literal["ok", "absent", "problem"]

# Back end: product, Python module, distribution with its version, and how to get it.
ENGINES = {
    "tensorrt": (
        "TensorRT",
        "tensorrt",
        "tensorrt",
        "on a Jetson it comes with JetPack: a virtual environment with "
        "--system-site-packages; elsewhere pip install tensorrt 'helmsight[tensorrt]'",
    ),
    "tensorrt-rtx": ("TensorRT-RTX", "tensorrt_rtx", "tensorrt-rtx-cu13", "pip install 'helmsight[rtx,tensorrt]'"),
}

SENSORS_S = 0.3
"""Between two readings: a rate needs both."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing. `absent` is no fault, a `problem` breaks a command; `fix` says what to do."""

    subject: str
    status: Status
    detail: str
    fix: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `helmsight doctor` prints."""

    helmsight: str
    here: Here
    extras: tuple[Extra, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that break a basic command."""
        return tuple(f for f in self.findings if f.status == "problem")

    @property
    def exit_code(self) -> int:
        """0, or that of the first problem: 3 for a package that is missing, 5 for versions that do not fit."""
        return next((f.exit_code for f in self.problems), 0)

    def to_json(self) -> dict[str, Any]:
        return {
            "helmsight": self.helmsight,
            "here": self.here.to_json(),
            "extras": [extra.to_json() for extra in self.extras],
            "findings": [asdict(finding) for finding in self.findings],
            "exit_code": self.exit_code,
        }


def examine(root: Path = Path("/")) -> Report:
    """Examine this machine; `root` holds /proc, /sys and /dev."""
    machine = here(root)
    findings = [
        *_clashes(),
        *_onnxruntime(machine),
        _openvino(),
        *_engines(machine),
        _opencv(machine),
        _simulator(),
        *_cameras(root),
        *_sensors(root),
    ]
    return Report(__version__, machine, extras(), tuple(findings))


def _clashes() -> Iterable[Finding]:
    for group in EXCLUSIVE:
        both = [name for name in group if version(name)]
        if len(both) > 1:
            yield Finding(
                "packages",
                "problem",
                f"{' and '.join(both)} are both installed, and they overwrite each other's files",
                f"pip uninstall {' '.join(both)}, then install one of them again",
                DeviceMismatch.exit_code,
            )


def _onnxruntime(machine: Here) -> Iterable[Finding]:
    """One finding a back end that ONNX Runtime serves."""
    try:
        ort = import_quietly("onnxruntime")
        available = ort.get_available_providers()
    except (ImportError, AttributeError) as error:
        yield _broken("back end cpu", EXCLUSIVE[0], error, "camera, profile, verify and evaluate cannot run")
        return
    for device, provider in PROVIDERS.items():
        name = f"ONNX Runtime {ort.__version__}, {provider}"
        if provider not in available:
            fix = next((advice(extra, machine) for extra in extras() if extra.name == "gpu"), "")
            yield Finding(f"back end {device}", "absent", f"this ONNX Runtime has no {provider}", fix)
        elif device == "cpu":
            yield Finding("back end cpu", "ok", name)
        else:
            yield _on_gpu(device, name, machine)


def _openvino() -> Finding:
    """Not loaded, as the engines below: its package is large."""
    if found := version("openvino"):
        return Finding("back end openvino", "ok", f"OpenVINO {found}, not loaded here")
    return Finding("back end openvino", "absent", "OpenVINO is not installed", "pip install 'helmsight[openvino]'")


def _engines(machine: Here) -> Iterable[Finding]:
    """One finding for each of NVIDIA's libraries, which are not loaded: `helmsight build` and `verify` tell more."""
    for device, (product, module, distribution, fix) in ENGINES.items():
        subject, name = f"back end {device}", f"{product} {version(distribution) or '(version not told)'}"
        if find_spec(module) is None:
            yield Finding(subject, "absent", f"{product} is not installed", fix)
        else:
            yield _on_gpu(device, name, machine)


def _on_gpu(device: str, name: str, machine: Here) -> Finding:
    """A library that is installed and wants a GPU."""
    if not machine.gpus and not machine.l4t:
        return Finding(f"back end {device}", "absent", f"{name} is installed; a GPU for it is {machine.gpus_note}")
    tries = f"helmsight verify BUNDLE --device {device} tries it"
    return Finding(f"back end {device}", "ok", f"{name}, not loaded here", tries)


def _opencv(machine: Here) -> Finding:
    try:
        cv2 = import_module("cv2")
        build = {k.strip(): v.strip() for k, _, v in (x.partition(":") for x in cv2.getBuildInformation().splitlines())}
    except (ImportError, AttributeError) as error:
        return _broken("OpenCV", EXCLUSIVE[1], error, "camera cannot run")
    gui, gstreamer = build.get("GUI", "NONE"), build.get("GStreamer", "NO")
    detail = f"OpenCV {cv2.__version__}, window: {gui}, FFmpeg: {build.get('FFMPEG', 'NO')}, GStreamer: {gstreamer}"
    if machine.l4t and gstreamer.startswith("NO"):
        fix = "for a CSI camera use JetPack's own OpenCV: a virtual environment with --system-site-packages"
        return Finding("OpenCV", "ok", detail, fix)
    return Finding("OpenCV", "ok", detail)


def _broken(subject: str, packages: Iterable[str], error: Exception, effect: str) -> Finding:
    """A package that cannot be imported, by any of its names: not installed, or installed and not loadable."""
    names = tuple(packages)
    installed = [f"{name} {version(name)}" for name in names if version(name)]
    if installed:
        why = f"{' and '.join(installed)} does not load ({error}): {effect}"
        fix = "install the system library that is named, or the package again"
        return Finding(subject, "problem", why, fix, DeviceMismatch.exit_code)
    why, fix = f"{names[0]} is not installed: {effect}", "pip install 'helmsight[cpu]'"
    return Finding(subject, "problem", why, fix, MissingExtra.exit_code)


def _simulator() -> Finding:
    installed = version("miniworld")
    if not installed:
        return Finding("simulator", "absent", "miniworld is not installed", "pip install 'helmsight[sim]'")
    missing = _egl()
    if missing:
        fix = "Debian, Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libglu1-mesa"
        return Finding("simulator", "absent", f"miniworld {installed}, but {missing}", fix)
    return Finding("simulator", "ok", f"miniworld {installed}, EGL draws without a display")


def _egl() -> str:
    """Why EGL cannot draw without a display, or "". Asks as the simulator's pyglet does, for the EGL devices."""
    try:
        ctypes.CDLL("libGLU.so.1")
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        return f"a library is missing ({error})"
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return "this EGL has no device platform"
    signature: Callable[[int], Any] = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    count = ctypes.c_int(0)
    signature(address)(0, None, ctypes.byref(count))
    return "" if count.value else "EGL finds no device to draw with"


def _cameras(root: Path) -> Iterable[Finding]:
    nodes = sorted(root.glob("dev/video*"), key=lambda node: (len(node.name), node.name))
    if not nodes:
        yield Finding(
            "camera", "absent", "no /dev/video* here", "a file, pictures or sample://corridor serve as --source"
        )
    for node in nodes:
        label = root / "sys/class/video4linux" / node.name / "name"
        name = label.read_text().strip() if label.is_file() else "unnamed"
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding("camera", "ok", f"/dev/{node.name}: {name}")
        else:
            fix = "usermod -aG video USER, then log in again"
            yield Finding("camera", "absent", f"/dev/{node.name}: {name}, not readable for this user", fix)


def _sensors(root: Path) -> Iterable[Finding]:
    """What `profile` reads beside a run, as it is now, and what energy would be of."""
    with sample_sensors(SENSORS_S, root) as sensors:
        time.sleep(SENSORS_S)
    readings = sensors.summary().readings
    said = {name: f"{name} {one.mean:.4g}" for name, one in readings.items() if isinstance(one, Stat)}
    yield Finding("sensors", "ok" if said else "absent", ", ".join(said.values()) or "none answers")
    for name, reason in readings.items():
        if isinstance(reason, str):
            yield Finding(f"sensor {name}", "absent", reason)
    meters = dict.fromkeys(found.of for on_gpu in (False, True) if (found := meter(said, on_gpu)))
    detail = f"measured of {' or '.join(meters)}" if meters else "no sensor tells the power of one device alone"
    yield Finding("energy a query", "ok" if meters else "absent", detail)
