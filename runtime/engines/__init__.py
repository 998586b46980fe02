"""Engines of NVIDIA's two inference libraries, TensorRT and TensorRT-RTX, which share an API: parsed, built, kept.

Nothing here runs one on frames; `runtime/backends/tensorrt.py` does. The libraries are different products with files
that do not fit each other, so every message and record names the one it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...devices.errors import DeviceMismatch, MissingExtra


@dataclass(frozen=True, slots=True)
class Library:
    """`module` is the Python module, `name` what the product is called."""

    name: str
    module: Any

    @property
    def version(self) -> str:
        """Such as 10.16.1.11."""
        return str(self.module.__version__)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def tensorrt() -> Library:
    """TensorRT of this machine. Raises DeviceMismatch where there is none, or one too old for Python here."""
    try:
        library = Library("TensorRT", import_module("tensorrt"))
        release = library.release
    except (ImportError, OSError, AttributeError) as error:  # OSError: its shared libraries are not there
        reason = " ".join(str(error).split())
        raise DeviceMismatch(
            f"no TensorRT here ({reason}); on a Jetson it comes with JetPack (make the virtual environment with "
            "--system-site-packages), elsewhere with pip install tensorrt"
        ) from error
    if release < (8, 5):
        raise DeviceMismatch(f"{library} is here, helmsight drives 8.5 and later; for 8.2 export with -t for the board")
    return library


def tensorrt_rtx() -> Library:
    """TensorRT-RTX. Raises MissingExtra where it is not installed."""
    try:
        return Library("TensorRT-RTX", import_module("tensorrt_rtx"))
    except (ImportError, OSError) as error:
        raise MissingExtra(
            f"TensorRT-RTX cannot be imported ({error}); it comes with: pip install "
            "'helmsight[rtx]', for Python 3.11 and 3.12 on Linux"
        ) from error
