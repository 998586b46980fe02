"""Values of options that typer has no type for."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import UsageError, system_reason

if TYPE_CHECKING:
    from ..devices.device import Device

LONGEST_URI = 4096

log = logging.getLogger(__name__)


def image_size(text: str) -> tuple[int, int]:
    """Height and width in pixels out of `--imgsz WIDTHxHEIGHT`."""
    width, _, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise UsageError(f"--imgsz {text}: expected WIDTHxHEIGHT in pixels, such as 640x480")
    return int(height), int(width)


def boards(names: Sequence[str]) -> list[Device]:
    """The boards of `--on`; which one an alias means is said on stderr."""
    from ..devices.device import alias_in_words, device

    found = [device(name) for name in names]
    for line in dict.fromkeys(map(alias_in_words, names, found)):
        if line:
            print(f"helmsight: --on {line}", file=sys.stderr)
    return found


def numbers(option: str, text: str, names: str, meaning: str) -> tuple[float, ...]:
    """The finite numbers of `--option 1,2`, as many as `names` has: `X,Y`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != names.count(",") + 1 or not all(map(isfinite, values)):
        raise UsageError(f"{option} {text}: expected numbers {names}, {meaning}")
    return values


def source_uri(text: str) -> str:
    """The URI of `--source`, or what stands in FILE of `--source @FILE`: other users see arguments, and a password.

    Warns where a stream's address stands in a file that is not the user's alone.
    """
    if not text.startswith("@"):
        return text
    from ..runtime.sources import is_stream

    try:
        with Path(text[1:]).open(encoding="utf-8") as file:
            lines, mode = file.read(LONGEST_URI + 1).splitlines(), os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        why = system_reason(error) if isinstance(error, OSError) else "no text"
        raise UsageError(f"--source {text}: {why}; expected a file with the source in it") from None
    if len(lines) != 1 or not 0 < len(lines[0].strip()) <= LONGEST_URI:
        raise UsageError(f"--source {text}: expected one line in it, the source, of at most {LONGEST_URI} characters")
    uri = lines[0].strip()
    if is_stream(uri) and stat.S_ISREG(mode) and mode & 0o077:
        log.warning("--source %s: other users may open it (mode %o); chmod 600 %s", text, mode & 0o777, text[1:])
    return uri


def by_model(option: str, texts: Sequence[str], meaning: str) -> dict[str, float]:
    """The finite number for each model out of `--option face=3 --option navigate=1`."""
    values: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = nan
        if not name or not isfinite(value) or name in values:
            raise UsageError(f"{option} {text}: expected MODEL=NUMBER, once a model, {meaning}")
        values[name] = value
    return values


def share(text: str, option: str) -> float:
    """A share out of a percentage with its sign, so that 0.01 and 1 cannot be mistaken for each other."""
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not text.endswith("%") or not isfinite(percent) or percent < 0:
        raise UsageError(f"{option} {text}: expected a percentage of 0 or more with its sign, such as 5%")
    return percent / 100
