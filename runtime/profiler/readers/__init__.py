"""Readers of results that other programs wrote, recognised by what is in a file and not by its name.

To add one, write a module with a function that recognises a `Content` and one that reads it, and name both in READERS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....devices.errors import BadArtefact, reason_of
from ..record import Profile, load_profiles
from . import loadgen, polygraphy, tegrastats, trtexec, ultralytics
from .foreign import Content, Foreign

__all__ = ["Foreign", "read_results"]

MOST_BYTES = 1 << 28
"""Polygraphy's has all outputs in it; the others are a few megabytes."""


@dataclass(frozen=True, slots=True)
class Reader:
    """`name` is what people call the file. `read` raises ValueError, KeyError or TypeError where it is not whole."""

    name: str
    recognises: Callable[[Content], bool]
    read: Callable[[Content], list[Foreign]]


READERS = (
    Reader("trtexec --exportTimes", trtexec.has_times, trtexec.read_times),
    Reader("trtexec --exportProfile", trtexec.has_layers, trtexec.read_layers),
    Reader("MLPerf's mlperf_log_summary.txt", loadgen.is_summary, loadgen.read_summary),
    Reader("Polygraphy's --save-outputs", polygraphy.is_run, polygraphy.read_run),
    Reader("tegrastats", tegrastats.is_log, tegrastats.read_log),
    Reader("ultralytics' benchmark table", ultralytics.is_table, ultralytics.read_table),
)


def read_results(path: Path) -> tuple[Profile, ...] | tuple[Foreign, ...]:
    """The results in a file: helmsight's own, or what one of READERS makes of it.

    Raises BadArtefact for a file that is missing, none of these, or not whole.
    """
    text = _text(path)
    data, broken = _json(text)
    if text is None or (isinstance(data, dict) and "schema_version" in data) or '"schema_version"' in text[:200]:
        return load_profiles(path)
    content = Content(path.stem, text, data)
    for reader in READERS:
        if reader.recognises(content):
            try:
                return tuple(reader.read(content))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
                raise BadArtefact(
                    f"{path} is of {reader.name}, but not whole ({type(error).__name__}: {reason_of(error)}); "
                    "copy or write it again"
                ) from error
    why = f" (JSON that is cut off or broken: {broken})" if broken else ""
    raise BadArtefact(
        f"{path} is no result that can be compared{why}; expected a file of `helmsight profile -o`, or of "
        f"{', '.join(reader.name for reader in READERS)}"
    )


def _text(path: Path) -> str | None:
    """The file's text, None where it cannot be read."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadArtefact(f"{path} has {size} bytes; at most {MOST_BYTES} are read")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _json(text: str | None) -> tuple[Any, str]:
    """What `text` is as JSON, and why it is none where it begins like some."""
    if text is None or not text.lstrip().startswith(("{", "[")):
        return None, ""
    try:
        return json.loads(text, strict=False), ""
    except (ValueError, RecursionError) as error:
        return None, reason_of(error)
