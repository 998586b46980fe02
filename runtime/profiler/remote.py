"""Measuring on boards over SSH: the bundle goes there, helmsight there measures it, the record comes back.

A board without a helmsight runs the program that the bundle may hold for its processor: `native.py`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Lock

from ...devices.errors import (
    BadArtefact,
    BoardUnavailable,
    CameraUnavailable,
    DeviceMismatch,
    HelmsightError,
    MissingExtra,
    UsageError,
    reason_of,
)
from ..bundle import Bundle
from ..manifest import MANIFEST, SIGNATURE
from ..sources import is_stream
from .address import Address
from .measure import ProfileOptions
from .measured import Measured
from .native import find_program, profile_native
from .record import Profile, load_profiles
from .ssh import ANSWER_BYTES, Connection
from .trace import read_trace

RECORD, TRACE = "profile.json", "trace.json"
SOURCE = "source"
_ERRORS = {e.exit_code: e for e in (UsageError, MissingExtra, BadArtefact, DeviceMismatch, CameraUnavailable)}


def profile_on(
    addresses: Sequence[Address],
    bundles: Sequence[Bundle],
    options: ProfileOptions,
    done: Callable[[Sequence[Measured]], None],
    ask: bool = False,
    layers: bool = False,
) -> tuple[list[Measured], list[HelmsightError]]:
    """Measure every bundle on every board: one bundle after the other, the boards at the same time.

    `done` is given all that was measured so far, in the order of `addresses` and `bundles`, each time there is more;
    what was measured is not lost to what fails later, as its own layers may. Returns all of it, and an error for each
    board that was not reached and for each bundle that failed on one; that of a board that was lost names the bundles
    that it left out. With `layers` those are timed too. With `ask`, ssh may ask for a password; boards are connected
    one by one, so that two never ask at once.
    """
    findings = _Findings(done)
    # Connections close before threads are waited for: Ctrl-C stops what runs on the boards, and so what waits for it.
    with ThreadPoolExecutor(max(1, len(addresses))) as pool, ExitStack() as stack:
        running = []
        for at, address in enumerate(addresses):
            try:
                board = stack.enter_context(Connection(address, ask))
            except HelmsightError as error:
                findings.fail((at, 0), error)
            else:
                running.append(pool.submit(_measure_all, at, board, bundles, options, layers, findings))
        for one in running:
            one.result()
    return findings.measured, findings.failed


class _Findings:
    """What was measured and what failed, by the numbers of board and bundle; the boards add to it at the same time."""

    def __init__(self, done: Callable[[Sequence[Measured]], None]) -> None:
        self._done, self._lock = done, Lock()
        self._found: dict[tuple[int, int], Measured] = {}
        self._errors: dict[tuple[int, int], HelmsightError] = {}

    @property
    def measured(self) -> list[Measured]:
        return [self._found[key] for key in sorted(self._found)]

    @property
    def failed(self) -> list[HelmsightError]:
        return [self._errors[key] for key in sorted(self._errors)]

    def keep(self, key: tuple[int, int], one: Measured) -> None:
        with self._lock:
            self._found[key] = one
            self._done(self.measured)

    def fail(self, key: tuple[int, int], error: HelmsightError) -> None:
        self._errors[key] = error


def _measure_all(
    at: int, board: Connection, bundles: Sequence[Bundle], options: ProfileOptions, layers: bool, findings: _Findings
) -> None:
    """Every bundle on the board of number `at`, until it is lost."""
    try:
        for number, bundle in enumerate(bundles):
            failed: HelmsightError | None
            try:
                one = profile_there(board, bundle, options, layers)
            except HelmsightError as error:
                failed = error
            else:
                findings.keep((at, number), one)
                failed = one.failed
            if failed is not None:
                lost = board.lost
                told = _told(failed, bundles[number:], lost) if len(bundles) > 1 else failed
                findings.fail((at, number), told)
                if lost:
                    break
    finally:
        board.__exit__(None, None, None)  # at once, not when the slowest board is done


def _told(error: HelmsightError, bundles: Sequence[Bundle], lost: bool) -> HelmsightError:
    """What failed with the first of `bundles`, and where the board is lost that the others are not measured."""
    first, *others = (bundle.manifest.name for bundle in bundles)
    return type(error)(f"{first}: {error}" + (f"; not measured there: {', '.join(others)}" if lost and others else ""))


def profile_there(board: Connection, bundle: Bundle, options: ProfileOptions, layers: bool = False) -> Measured:
    """Measure one bundle on a connected board, with its helmsight or else with the bundle's program for it.

    Raises DeviceMismatch where it has neither, or no room; what helmsight raised there; BoardUnavailable when it is
    lost; BadArtefact for a record that is none of this bundle.
    """
    command = board.address.helmsight or board.facts.get("helmsight", "")
    if command:
        return _profile_in_python(board, command, bundle, options, layers)
    program = find_program(bundle, board.facts.get("machine", ""))
    if program is None:
        name, machine = bundle.manifest.name, board.facts.get("machine") or "unknown processor"
        raise DeviceMismatch(
            f"{board.address}: no helmsight is found there, and {name} has no program for its {machine}; say "
            "where helmsight is (ssh://HOST/path/of/helmsight), install it there, or export for the board (docs/tk1.md)"
        )
    return profile_native(board, program, bundle, options, layers)


def _profile_in_python(
    board: Connection, command: str, bundle: Bundle, options: ProfileOptions, layers: bool
) -> Measured:
    name = "it.bundle"
    board.run(
        f"rm -rf {name} {RECORD} {TRACE}", f"while {bundle.manifest.name} was copied there"
    )  # of the bundle before
    board.check_room(sum(bundle.bytes_of.values()))
    board.send((f"{name}/{relative}", content, mode) for relative, content, mode in _files(bundle))
    if options.source and is_stream(options.source):
        board.send([(SOURCE, options.source.encode(), 0o600)])  # its password is not among what runs there
    words = [command, "profile", f"./{name}", *_arguments(bundle, options), "-o", RECORD]
    words += ["--layers", "--trace", TRACE] if layers else []
    done = board.run(shlex.join(words), f"while {bundle.manifest.name} was measured")
    failed = _failure(board, done) if done.returncode else None
    if failed is None:
        board.warn(done.stderr)
    elif not layers:
        raise failed
    try:
        one = Measured(board.address, _checked(board.read(RECORD), bundle, board.address), failed=failed)
    except HelmsightError as error:
        raise failed or error from None  # it failed before it had measured
    return _with_trace(one, board) if layers and failed is None else one


def _failure(board: Connection, done: subprocess.CompletedProcess[bytes]) -> HelmsightError:
    """What helmsight there ended with."""
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip(" │╭╰─╮╯")]
    line = reason_of(RuntimeError(said[-1])) if said else f"helmsight there ended with {done.returncode}"
    kind = _ERRORS.get(done.returncode, DeviceMismatch)
    if kind is CameraUnavailable and f"@{SOURCE}:" in line:  # it took that for the name of a video
        return DeviceMismatch(
            f"{board.address}: helmsight there is too old to read a stream's address from a file; upgrade it there"
        )
    return kind(f"{board.address}: {line.strip('│ ').removeprefix('helmsight: ')}")


def _with_trace(one: Measured, board: Connection) -> Measured:
    """`one` with its trace, or with why there is none."""
    try:
        return replace(one, trace=read_trace(board.read(TRACE), one.title, ANSWER_BYTES))
    except BoardUnavailable as error:
        return replace(one, failed=error)
    except (BadArtefact, ValueError) as error:
        said = f"what came back is no trace of this version ({reason_of(error)}); upgrade helmsight there"
        return replace(one, failed=BadArtefact(f"{board.address}: {said}"))


def _arguments(bundle: Bundle, options: ProfileOptions) -> Iterator[str]:
    """`options` as `helmsight profile` takes them; the size only where it is not the usual one."""
    yield from ("--duration", str(options.limits.duration_s), "--queries", str(options.limits.queries))
    yield from ("--threads", str(options.session.threads), "--device", options.session.device)
    if options.stages:
        yield "--stages"
    yield from options.scenario.arguments()
    if options.source:
        yield from ("--source", f"@{SOURCE}" if is_stream(options.source) else options.source)
    if bundle.resizable:
        height, width = next(spec for spec in bundle.manifest.inputs if spec.multiple).image_hw
        yield from ("--imgsz", f"{width}x{height}")


def _files(bundle: Bundle) -> Iterator[tuple[str, bytes, int]]:
    """All of a bundle, as it was checked, with each file's mode."""
    manifest = (bundle.path / MANIFEST).read_bytes()
    if hashlib.sha256(manifest).hexdigest() != bundle.manifest_sha256:
        raise BadArtefact(f"{bundle.path / MANIFEST} was changed after it was checked; export or copy the bundle again")
    yield MANIFEST, manifest, 0o644
    if signature := bundle.read_signature():
        yield SIGNATURE, signature, 0o644
    for relative in bundle.manifest.files:
        runs = os.access(bundle.path / relative, os.X_OK)
        yield relative, bundle.read(relative), 0o755 if runs else 0o644


def _checked(record: bytes, bundle: Bundle, address: Address) -> Profile:
    """The one profile in what came back, if it is of this bundle."""
    with tempfile.TemporaryDirectory(prefix="helmsight-") as folder:
        path = Path(folder) / RECORD
        path.write_bytes(record)
        try:
            profiles = load_profiles(path)
        except BadArtefact as error:
            raise BadArtefact(f"{address}: what came back is no record of this version: {error}") from error
    expected = {**bundle.manifest.files, MANIFEST: bundle.manifest_sha256}
    if len(profiles) != 1 or dict(profiles[0].files) != expected:
        raise BadArtefact(f"{address}: what came back is of another bundle than {bundle.path}; measure again")
    return profiles[0]
