"""Measuring on boards over SSH: the bundle goes there, helmsight there measures it, the record comes back.

A board without a helmsight runs the program that the bundle may hold for its processor: `native.py`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ...devices.errors import (
    BadArtefact,
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
from .native import find_program, profile_native
from .record import Profile, load_profiles
from .ssh import ANSWER_BYTES, Connection
from .trace import Process, process_of, read_trace

RECORD, TRACE = "profile.json", "trace.json"
SOURCE = "source"
_ERRORS = {e.exit_code: e for e in (UsageError, MissingExtra, BadArtefact, DeviceMismatch, CameraUnavailable)}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, and where; `trace` has its layers over time, where they were asked for."""

    address: Address
    profile: Profile
    trace: Process = ()


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
    what was measured is not lost to what fails later. Returns all of it, and an error for each board that was not
    reached and for each bundle that failed on one; that of a board that was lost names the bundles that it left out.
    With `layers` those are timed too. With `ask`, ssh may ask for a password; boards are connected one by one, so that
    two never ask at once.
    """
    found: dict[tuple[int, int], Measured] = {}
    errors: dict[tuple[int, int], HelmsightError] = {}
    lock = Lock()

    def so_far() -> list[Measured]:
        return [found[key] for key in sorted(found)]

    def measure(at: int, board: Connection) -> None:
        try:
            for number, bundle in enumerate(bundles):
                try:
                    one = profile_there(board, bundle, options, layers)
                except HelmsightError as error:
                    lost = board.lost
                    errors[at, number] = _told(error, bundles[number:], lost) if len(bundles) > 1 else error
                    if lost:
                        break
                else:
                    with lock:
                        found[at, number] = one
                        done(so_far())
        finally:
            board.__exit__(None, None, None)  # at once, not when the slowest board is done

    # Connections close before threads are waited for: Ctrl-C stops what runs on the boards, and so what waits for it.
    with ThreadPoolExecutor(max(1, len(addresses))) as pool, ExitStack() as stack:
        running = []
        for at, address in enumerate(addresses):
            try:
                board = stack.enter_context(Connection(address, ask))
            except HelmsightError as error:
                errors[at, 0] = error
            else:
                running.append(pool.submit(measure, at, board))
        for one in running:
            one.result()
    return so_far(), [errors[key] for key in sorted(errors)]


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
    profile, timeline = profile_native(board, program, bundle, options, layers)
    return Measured(board.address, profile, process_of(timeline, _name(bundle, board)) if timeline else ())


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
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip(" │╭╰─╮╯")]
        line = reason_of(RuntimeError(said[-1])) if said else f"helmsight there ended with {done.returncode}"
        kind = _ERRORS.get(done.returncode, DeviceMismatch)
        if kind is CameraUnavailable and f"@{SOURCE}:" in line:  # it took that for the name of a video
            raise DeviceMismatch(
                f"{board.address}: helmsight there is too old to read a stream's address from a file; upgrade it there"
            )
        raise kind(f"{board.address}: {line.strip('│ ').removeprefix('helmsight: ')}")
    board.warn(done.stderr)
    profile = _checked(board.read(RECORD), bundle, board.address)
    return Measured(board.address, profile, _traced(board, bundle) if layers else ())


def _traced(board: Connection, bundle: Bundle) -> Process:
    content = board.read(TRACE)
    try:
        return read_trace(content, _name(bundle, board), ANSWER_BYTES)
    except (BadArtefact, ValueError) as error:
        raise BadArtefact(
            f"{board.address}: what came back is no trace of this version ({reason_of(error)}); upgrade helmsight there"
        ) from error


def _name(bundle: Bundle, board: Connection) -> str:
    return f"{bundle.manifest.name} on {board.address}"


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
