"""Every error that helmsight raises on purpose.

    HelmsightError
    ├── GateFailed          1   parity or task score below what was allowed
    ├── UsageError          2   an argument that cannot be meant
    ├── MissingExtra        3   an optional package is not installed
    ├── BadArtefact         4   a file that is broken, tampered with, or not what it should be
    ├── DeviceMismatch      5   the artefact and the device or its versions do not fit
    ├── BoardUnavailable    5   a board that cannot be reached, or was lost
    └── CameraUnavailable   6   a source of frames that cannot be opened or was lost

The number is the exit code of the command line. A message is one line: what, the value, what was
expected, the next step. Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType


class HelmsightError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class GateFailed(HelmsightError):
    """A result is worse than what was allowed, so nothing was written."""

    exit_code = 1


class UsageError(HelmsightError):
    """An argument has a value that cannot be meant."""

    exit_code = 2


class MissingExtra(HelmsightError):
    """A package of an optional extra is needed here and not installed."""

    exit_code = 3


class BadArtefact(HelmsightError):
    """A file is broken, tampered with, of a newer schema, or not what it should be."""

    exit_code = 4


class DeviceMismatch(HelmsightError):
    """An artefact does not fit the device or the versions found here."""

    exit_code = 5


class BoardUnavailable(HelmsightError):
    """A board on the network cannot be reached, or the connection to it was lost."""

    exit_code = 5


class CameraUnavailable(HelmsightError):
    """A source of frames cannot be opened, or was lost and did not return."""

    exit_code = 6


LONGEST_REASON = 300
"""Characters of what another library said that a message repeats: such a text may hold a whole name out of a file."""


def reason_of(error: BaseException) -> str:
    """What another library said, on one line that a terminal can show, or the error's class where it said nothing."""
    text = " ".join(str(error).split())
    shown = "".join(c if c.isprintable() else "?" for c in text[: LONGEST_REASON + 1])
    return (shown if len(shown) <= LONGEST_REASON else f"{shown[:LONGEST_REASON]}...") or type(error).__name__


def system_reason(error: OSError) -> str:
    """What the system said, without its number: `connection refused`."""
    return (error.strerror or str(error)).lower()


OPT_OUT = {"onnxruntime": "ORT_DISABLE_TELEMETRY"}
"""Packages that report to their makers unless this variable is set when they are imported. ONNX Runtime 1.32 keeps an
id of the machine and what it has to report in the user's cache folder."""


def import_quietly(module: str) -> ModuleType:
    """Import `module` so that it reports to nobody, unless the user has set the variable to something else."""
    variable = OPT_OUT.get(module, "")
    if not variable or variable in os.environ:
        return import_module(module)
    os.environ[variable] = "1"
    try:
        return import_module(module)
    finally:
        del os.environ[variable]


def need(module: str, extra: str) -> ModuleType:
    """Import `module` (quietly), or raise MissingExtra that names the extra to install."""
    try:
        return import_quietly(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} cannot be imported ({error}); it comes with: pip install 'helmsight[{extra}]'"
        ) from error
