"""Whether a file can be written, found out before the first frame and by trying it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ...devices.errors import UsageError, system_reason


def check_writable(option: str, path: Path) -> None:
    """Raise UsageError where `path` cannot be written. What is in it stays."""
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{option} {path}: a folder; expected a file, such as {path / 'out'}{path.suffix}")
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
    if path.exists() and not path.is_file():  # a pipe: opening it could wait for its reader
        if not os.access(path, os.W_OK):
            raise UsageError(f"{option} {path}: cannot be written; expected a file in a writable folder")
        return
    try:
        if path.exists():
            with path.open("ab"):
                pass
        else:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".helmsight"):
                pass
    except OSError as error:
        reason = system_reason(error)
        raise UsageError(
            f"{option} {path}: cannot be written: {reason}; expected a file in a writable folder"
        ) from error
