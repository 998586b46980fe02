"""Measuring on boards over SSH: a real sshd on the loopback, reached, refused, full, and lost in the middle."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from helmsight.devices.errors import BadArtefact, BoardUnavailable, DeviceMismatch, HelmsightError, UsageError
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import Bundle, open_bundle, write_bundle
from helmsight.runtime.profiler import Limits, ProfileOptions, load_profiles, ssh
from helmsight.runtime.profiler.address import Address, parse_address
from helmsight.runtime.profiler.remote import Measured, profile_on
from helmsight.runtime.profiler.ssh import Connection

from ...bundles import face_manifest, open_face_manifest
from ...sshd import LONG_S, Board, noted, wait_for

SHORT = ProfileOptions(SessionOptions("fake", 1), Limits(0, 20))


def measured(
    board: Board, *bundles: Bundle, options: ProfileOptions = SHORT
) -> tuple[list[Measured], list[HelmsightError]]:
    return profile_on([parse_address(board.uri)], bundles, options, lambda _: None)


def measuring(board: Board) -> Path | None:
    """The file with the number of the helmsight that runs there; short commands before it have one too.

    A shell that is about to become one has the folder's name among its arguments, `helmsight.` and six letters.
    """
    for file in board.tmp.glob("*/pid"):
        with suppress(OSError, ValueError, IndexError):
            if b"\0-m\0helmsight\0" in Path(f"/proc/{noted(file)}/cmdline").read_bytes():
                return file
    return None


def test_a_board_measures_and_is_left_clean(board: Board, face_bundle: Bundle, navigate_bundle: Bundle) -> None:
    board.install()
    steps: list[list[str]] = []
    found, failed = profile_on(
        [parse_address(board.uri)],
        [face_bundle, navigate_bundle],
        SHORT,
        lambda done: steps.append([one.profile.bundle for one in done]),
    )
    assert failed == []
    assert steps == [["face"], ["face", "navigate"]]
    one = found[0].profile
    assert (one.samples.shape, one.device, one.threads) == ((20, 1), "fake", 1)
    assert dict(one.files) == {**face_bundle.manifest.files, "manifest.json": face_bundle.manifest_sha256}
    assert one.machine["cpu"]["model"]
    assert list(board.tmp.iterdir()) == []
    record = json.dumps(one.to_json())
    assert not [private for private in (str(board.folder), str(board.port), getpass.getuser()) if private in record]


def test_options_reach_the_board(board: Board, tmp_path: Path, clip: Path) -> None:
    board.install()
    bundle = write_bundle(tmp_path / "o.bundle", open_face_manifest(), {"model.onnx": b"not read"}).resized((480, 640))
    options = ProfileOptions(SHORT.session, SHORT.limits, stages=True, source=str(clip))
    (found,), failed = measured(board, bundle, options=options)
    assert failed == []
    assert found.profile.stages == ("prepare", "inference", "decode")
    assert found.profile.inputs["image"]["shape"] == [1, 480, 640, 3]
    assert found.profile.feeds == f"12 frames of {clip}"


def test_the_password_of_a_stream_is_not_among_what_runs_there(board: Board, face_bundle: Bundle) -> None:
    (board.bin / "helmsight").write_text(
        f'#!/bin/sh\necho "$@" >{board.folder}/said; stat -c %a source >>{board.folder}/said\n'
        f"cat source >>{board.folder}/said; exit 2\n"
    )
    (board.bin / "helmsight").chmod(0o755)
    source = "rtsp://me:secret@camera/ball"
    _, (error,) = measured(board, face_bundle, options=replace(SHORT, source=source))
    assert isinstance(error, UsageError)
    arguments, mode, sent = (board.folder / "said").read_text().splitlines()
    assert "--source @source" in arguments
    assert "secret" not in arguments
    assert (mode, sent) == ("600", source)
    assert list(board.tmp.iterdir()) == []


def test_a_helmsight_there_that_reads_no_source_from_a_file(board: Board, face_bundle: Bundle) -> None:
    (board.bin / "helmsight").write_text("#!/bin/sh\necho 'helmsight: --source @source: no such file' >&2; exit 6\n")
    (board.bin / "helmsight").chmod(0o755)
    _, (error,) = measured(board, face_bundle, options=replace(SHORT, source="rtsp://me:secret@camera/ball"))
    assert isinstance(error, DeviceMismatch)
    assert "too old" in str(error)
    assert "upgrade it" in str(error)


def test_the_layers_that_helmsight_there_timed(board: Board) -> None:
    board.install()
    options = ProfileOptions(SessionOptions("cpu", 1), Limits(0, 20))
    found, failed = profile_on(
        [parse_address(board.uri)], [open_bundle("navigate")], options, lambda _: None, layers=True
    )
    assert failed == []
    (one,) = found
    assert one.profile.layers is not None
    shown = [event for event in one.trace if event.get("cat") == "layer"]
    assert len(shown) == one.profile.layers.runs * len(one.profile.layers.layers)
    assert one.trace[0]["args"]["name"] == f"navigate on {board.uri}"
    assert list(board.tmp.iterdir()) == []


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("echo 'helmsight: is the disk full?' >&2; exit 4", "is the disk full?"),
        ("echo '{}' >trace.json", "what came back is no trace of this version (it has no traceEvents)"),
        ("rm trace.json", "trace.json cannot be read there"),
    ],
)
def test_what_fails_with_the_layers_leaves_what_was_measured(board: Board, then: str, said: str) -> None:
    board.install()
    genuine = (board.bin / "helmsight").rename(board.bin / "genuine")
    (board.bin / "helmsight").write_text(f'#!/bin/sh\n{genuine} "$@" || exit\n{then}\n')
    (board.bin / "helmsight").chmod(0o755)
    options = ProfileOptions(SessionOptions("cpu", 1), Limits(0, 20))
    kept: list[Measured] = []
    found, (error,) = profile_on(
        [parse_address(board.uri)], [open_bundle("navigate")], options, kept.extend, layers=True
    )
    assert found == kept
    assert [(one.profile.samples.shape, one.trace) for one in found] == [((20, 1), ())]
    assert said in str(error)
    assert isinstance(error, BoardUnavailable if then == "rm trace.json" else BadArtefact)


def test_what_fails_before_anything_is_measured_with_layers_is_said(board: Board, face_bundle: Bundle) -> None:
    (board.bin / "helmsight").write_text("#!/bin/sh\necho 'helmsight: no such option: --trace' >&2; exit 2\n")
    (board.bin / "helmsight").chmod(0o755)
    found, (error,) = profile_on([parse_address(board.uri)], [face_bundle], SHORT, lambda _: None, layers=True)
    assert found == []
    assert isinstance(error, UsageError)
    assert str(error) == f"{board.uri}: no such option: --trace"


def test_several_boards_at_once_and_one_that_is_off(board: Board, face_bundle: Bundle) -> None:
    board.install()
    off = Address("127.0.0.1", port=1)
    here = parse_address(board.uri)
    found, failed = profile_on([here, off, here], [face_bundle], SHORT, lambda _: None)
    assert [one.address for one in found] == [here, here]
    (error,) = failed
    assert isinstance(error, BoardUnavailable)
    assert "ssh://127.0.0.1:1 cannot be reached" in str(error)
    assert "refused" in str(error)


def test_what_helmsight_says_there_is_said_here(board: Board, face_bundle: Bundle) -> None:
    board.install()
    found, (error,) = measured(board, face_bundle, options=ProfileOptions(SessionOptions("abacus", 1), Limits(0, 20)))
    assert found == []
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{board.uri}: --device abacus is unknown")
    assert list(board.tmp.iterdir()) == []


def test_a_key_that_the_board_does_not_know(board: Board, face_bundle: Bundle) -> None:
    (board.folder / "key.pub").write_text("")
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, BoardUnavailable)
    assert "Permission denied" in str(error)
    assert "ssh-copy-id" in str(error)


def test_a_port_that_answers_with_silence(face_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a firewall, or of a board that hangs: the time for connecting is over."""
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not here: apt-get install openssh-client")
    monkeypatch.setattr(ssh, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = parse_address(f"ssh://127.0.0.1:{silent.getsockname()[1]}")
        _, (error,) = profile_on([address], [face_bundle], SHORT, lambda _: None)
    assert isinstance(error, BoardUnavailable)
    assert "timed out" in str(error)
    assert "see that `ssh` gets there by itself" in str(error)


@pytest.mark.parametrize("known", ["", "[127.0.0.1]:{port} ssh-ed25519 " + "A" * 68 + "\n"])
def test_a_host_key_that_is_unknown_or_has_changed(board: Board, face_bundle: Bundle, known: str) -> None:
    board.trust_first("ask")
    (board.folder / "known_hosts").write_text(known.format(port=board.port))
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, BoardUnavailable)
    assert "Host key verification failed" in str(error)
    assert "`ssh` there once and compare it" in str(error)


def test_a_login_that_is_never_ready(
    board: Board, face_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    (board.bin / "uname").write_text(f"#!/bin/sh\necho $$ >{pid}\nexec sleep 600\n")
    (board.bin / "uname").chmod(0o755)
    monkeypatch.setattr(ssh, "GREETING_S", 5)
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, BoardUnavailable)
    assert "its login was not ready in 5 s" in str(error)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    wait_for(lambda: not list(board.tmp.iterdir()))


def test_a_board_without_helmsight_and_without_a_program(board: Board, face_bundle: Bundle) -> None:
    uname = board.bin / "uname"
    uname.write_text("#!/bin/sh\necho riscv64\n")
    uname.chmod(0o755)
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, DeviceMismatch)
    assert "no program for its riscv64" in str(error)
    assert list(board.tmp.iterdir()) == []


def test_a_board_that_is_full(board: Board, face_bundle: Bundle) -> None:
    board.install()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "t", board.tmp], check=False).returncode:
        pytest.skip("only root may mount the small file system that this fills")
    try:
        _, (error,) = measured(board, face_bundle)
        assert isinstance(error, DeviceMismatch)
        assert "0.1 MB of room, 4.2 MB are needed" in str(error)
        with (
            Connection(parse_address(board.uri)) as connection,
            pytest.raises(DeviceMismatch, match=r"does not take the files.*; make room"),
        ):
            connection.send([("large", bytes(1 << 20), 0o644)])
        assert list(board.tmp.iterdir()) == []
    finally:
        subprocess.run(["umount", board.tmp], check=True)


def test_a_record_of_another_bundle_is_refused(
    board: Board, face_bundle: Bundle, navigate_bundle: Bundle, tmp_path: Path
) -> None:
    board.install()
    program = board.bin / "helmsight"
    genuine = program.rename(board.bin / "genuine")
    program.write_text(f'#!/bin/sh\nshift 2\nexec {genuine} profile {navigate_bundle.path} "$@"\n')
    program.chmod(0o755)
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, BadArtefact)
    assert "of another bundle" in str(error)
    program.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho \'{"schema_version": 9}\' >"$2"\n')
    _, (error,) = measured(board, face_bundle)
    assert isinstance(error, BadArtefact)
    assert "schema_version 9" in str(error)


def test_what_fails_for_one_bundle_leaves_the_next(
    board: Board, face_bundle: Bundle, navigate_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails for the first; for the second it warns, and finds nothing of the first."""
    board.install()
    genuine = (board.bin / "helmsight").rename(board.bin / "genuine")
    (board.bin / "helmsight").write_text(
        '#!/bin/sh\ngrep -q \'"name": "face"\' it.bundle/manifest.json && touch it.bundle/left && exit 4\n'
        "[ -e it.bundle/left ] && exit 4\n"
        f'echo "helmsight: bf16 is run as fp32" >&2\nexec {genuine} "$@"\n'
    )
    (board.bin / "helmsight").chmod(0o755)
    found, (error,) = measured(board, face_bundle, navigate_bundle)
    assert [one.profile.bundle for one in found] == ["navigate"]
    assert str(error).startswith(f"face: {board.uri}: helmsight there ended with 4")
    assert caplog.messages == [f"{board.uri}: bf16 is run as fp32"]


def test_a_connection_that_breaks_in_the_middle(
    board: Board, face_bundle: Bundle, navigate_bundle: Bundle, tmp_path: Path
) -> None:
    """The first bundle's record is kept; the board stops what runs, and removes its folder."""
    board.install()
    slow = write_bundle(tmp_path / "slow.bundle", face_manifest(fake_latency_ms=500), {"model.onnx": b"fake"})
    kept: list[Measured] = []
    result: list[tuple[list[Measured], list[HelmsightError]]] = []

    def run() -> None:
        result.append(profile_on([parse_address(board.uri)], [face_bundle, slow, navigate_bundle], SHORT, kept.extend))

    worker = threading.Thread(target=run)
    worker.start()
    wait_for(lambda: kept)
    wait_for(lambda: measuring(board))
    running = measuring(board)
    assert running
    pid = noted(running)
    board.drop()
    worker.join(LONG_S)
    ((found, (error,)),) = result
    assert [one.profile.bundle for one in found] == ["face"]
    assert isinstance(error, BoardUnavailable)
    assert "the connection was lost while face was measured" in str(error)
    assert str(error).endswith("; not measured there: navigate")
    assert str(running.parent) in str(error)
    wait_for(lambda: not list(board.tmp.iterdir()))
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.parametrize(
    ("ended_by", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_whatever_ends_helmsight_ends_the_board_too(
    board: Board, face_bundle: Bundle, tmp_path: Path, ended_by: signal.Signals, code: int
) -> None:
    """The signal reaches helmsight alone here; off a terminal its ssh does not get it."""
    board.install()
    record = tmp_path / "p.json"
    slow = write_bundle(tmp_path / "slow.bundle", face_manifest(fake_latency_ms=50_000), {"model.onnx": b"fake"})
    command = [sys.executable, "-m", "helmsight", "profile", str(face_bundle.path), str(slow.path), "--on", board.uri]
    command += ["--device", "fake", "--duration", "0", "--queries", "20", "-o", str(record)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as running:
        wait_for(record.exists)
        wait_for(lambda: measuring(board))
        running_there = measuring(board)
        assert running_there
        pid = noted(running_there)
        running.send_signal(ended_by)
        try:
            _, said = running.communicate(timeout=LONG_S)
        finally:
            running.kill()  # else a run that goes on, as where SIGINT is ignored, would be waited for without end
    assert running.returncode == code, said
    assert "Traceback" not in said
    assert [p.bundle for p in load_profiles(record)] == ["face"]
    if ended_by == signal.SIGINT:
        assert list(board.tmp.iterdir()) == [], "it waits for the board"
    wait_for(lambda: not list(board.tmp.iterdir()))
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_the_command_keeps_prints_and_ends_with_the_boards_code(
    board: Board, face_bundle: Bundle, tmp_path: Path
) -> None:
    board.install()
    record = tmp_path / "p.json"
    command = [sys.executable, "-m", "helmsight", "profile", str(face_bundle.path), "--device", "fake"]
    command += ["--duration", "0", "--queries", "20", "--on", board.uri, "--on", "ssh://127.0.0.1:1", "-o", str(record)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 5
    assert f"face on {board.uri}" in done.stdout
    assert [p.bundle for p in load_profiles(record)] == ["face"]
    assert "helmsight: ssh://127.0.0.1:1 cannot be reached" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_measured_and_predicted_side_by_side(board: Board, tmp_path: Path) -> None:
    board.install()
    record = tmp_path / "p.json"
    command = [sys.executable, "-m", "helmsight", "profile", "face", "--duration", "0", "--queries", "20"]
    command += ["--device", "fake", "--on", "jetson-nano", "--on", board.uri]
    run = partial(subprocess.run, capture_output=True, text=True, timeout=120, check=False)
    done = run([*command, "-o", str(record)])
    assert done.returncode == 0, done.stderr
    measured, predicted = done.stdout.split("PREDICTED")
    assert "MEASURED latency in ms" in measured
    assert f"face on {board.uri}" in measured
    assert "jetson-nano" not in measured
    assert "jetson-nano" in predicted
    assert "nothing was measured on these boards" in predicted
    assert [p.bundle for p in load_profiles(record)] == ["face"]
    both = json.loads(run([*command, "--json"]).stdout)
    assert len(both["profiles"]) == 1
    assert {one["device"] for one in both["predictions"]} == {"jetson-nano"}
    assert all(one["predicted"] for one in both["predictions"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--on", "ssh://a", "--on", "ssh://b", "--on", "ssh://a"), "--on ssh://a is given twice"),
        (("--on", "ssh://a", "--on", "ssh://A:22/opt/helmsight"), "--on ssh://A:22 is given twice"),
        (("--on", "ssh://a", "--on", "abacus"), "abacus"),
        (("--on", "ssh://a", "--on", "t4", "--imgsz", "320x320"), "--on t4 predicts the network alone, at its usual"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_board_is_asked(arguments: tuple[str, ...], said: str) -> None:
    command = [sys.executable, "-m", "helmsight", "profile", "face", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
