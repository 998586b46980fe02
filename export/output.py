"""Where a bundle is written: checked before the work, and never over what is not a bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ..devices.errors import BadArtefact, UsageError
from ..runtime.bundle import Bundle, Manifest, write_bundle
from ..runtime.manifest import MANIFEST, SIGNATURE
from ..runtime.strict_json import parse_json


def check_output(out: Path) -> None:
    """Raises UsageError when a bundle cannot be written to `out`; called before minutes of work, not after."""
    if out.suffix != ".bundle":
        raise UsageError(f"-o {out}: a bundle's folder ends in .bundle; use -o {out.name or 'NAME'}.bundle")
    if out.exists() or out.is_symlink():
        _check_replaceable(out)
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"-o {out}: cannot write into {folder} ({error.strerror}); choose another folder") from error


def _check_replaceable(out: Path) -> None:
    """Only a bundle is overwritten, a damaged one too, and never a file that is not its own."""
    try:
        listed = {*parse_json((out / MANIFEST).read_bytes(), MANIFEST)["files"], MANIFEST, SIGNATURE}
    except (OSError, BadArtefact, KeyError, TypeError):
        raise UsageError(f"-o {out} is there and is no bundle, so it is not overwritten; choose another name") from None
    found = [str(file.relative_to(out)) for file in out.rglob("*") if not file.is_dir()]
    foreign = sorted(set(found) - listed)
    if foreign:
        raise UsageError(
            f"-o {out} holds {foreign[0]}, which is not the bundle's; move it away, or choose another name"
        )


def write_output(
    out: Path, manifest: Manifest, files: Mapping[str, Path | bytes], seal: Callable[[Path], None] | None = None
) -> Bundle:
    """Write the bundle whole or not at all, signed by `seal`; what the disk says becomes a UsageError."""
    try:
        return write_bundle(out, manifest, files, seal)
    except OSError as error:
        raise UsageError(f"-o {out}: cannot be written ({error.strerror}); choose another folder") from error
