"""Sensors of a board without Python: its shell copies the kernel's files once a second, and they are read here.

What makes figures of them is `devices/probes.py`, as on any other machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...devices.errors import reason_of
from ...devices.probes import FILES, cpu_probes
from ...devices.reading import Probe
from ...devices.sensors import LARGEST, SampleLog
from .conditions import idle_of

SCRIPT, LOG, TIMES = "measure.sh", "sensors.log", "times"
INTERVAL_S = 1.0
IDLE_S = 3
END = "--helmsight-sample"
UPTIME = "proc/uptime"
NOT_KNOWN = "other_cores"
"""What needs more than one file and the time: the processes of the program itself would have to be taken off."""
NOT_COPIED = {
    "power_w": "no power rail of a Jetson is there; RAPL is not read over SSH",
    "cpu_throttle_events": "not read over SSH",
}

# One grep a second reads all files. Power is also read before the program starts, where something measures it.
_SCRIPT = """\
trap 'kill $s $r 2>/dev/null; exit 143' HUP INT TERM
f=$(ls -d {files} 2>/dev/null)
( while :; do grep -sH . /{uptime} $f; echo {end}; sleep {interval}; done ) >{log} 2>/dev/null & s=$!
case $f in *in_power*|*curr1_input*|*power1_input*) sleep {idle};; esac
cat /{uptime} >{times}
{command} & r=$!
wait $r
rc=$?
cat /{uptime} >>{times}
kill $s
exit $rc
"""


def script(command: str) -> str:
    """For a board's plain shell: run `command`, and beside it copy what its sensors say into `LOG`."""
    files = " ".join(f"/{pattern}" for pattern in FILES)
    return _SCRIPT.format(
        files=files,
        uptime=UPTIME,
        end=END,
        interval=int(INTERVAL_S),
        idle=IDLE_S,
        log=LOG,
        times=TIMES,
        command=command,
    )


def sensors_during(log: bytes, times: bytes, duration_s: float, after_s: float = 0.0) -> dict[str, Any]:
    """As the record keeps sensors: in the `duration_s` of the run, and idle before the program started.

    The run ended `after_s` before the program did. `times` has the board's uptime at the program's start and end. What
    cannot be read is not available, with the reason: the run is kept.
    """
    try:
        started, ended = (_uptime(line) for line in times.decode().splitlines())
        ended -= after_s
        begin, snapshots = ended - duration_s, list(_snapshots(log.decode(errors="replace")))
        idle_s = started - min((t for t, _ in snapshots), default=started)
        said = _replayed((t - begin, files) for t, files in snapshots if begin <= t <= ended)
        before = _replayed((t, files) for t, files in snapshots if t < started)
    except (OSError, ValueError, IndexError, KeyError) as error:
        reason = f"what the board's sensors said cannot be read ({reason_of(error)})"
        return unread(reason)
    record = said.summary(duration_s, INTERVAL_S).to_json() | {"samples": said.series()}
    return record | {"idle": idle_of(before.summary(max(0.0, idle_s), INTERVAL_S))}


def unread(reason: str) -> dict[str, Any]:
    """As the record keeps sensors that could not be read, with the reason."""
    return {"readings": {"all": {"not_available": reason}}, "samples": {}, "idle": {}}


def _snapshots(log: str) -> Iterator[tuple[float, Mapping[str, str]]]:
    """The uptime of each whole copy, and its files by path; a path may hold a colon, what is in them does not."""
    for part in log.split(f"{END}\n")[:-1]:
        lines = (line.rpartition(":") for line in part.splitlines())
        files = {path.lstrip("/"): content for path, _, content in lines}
        yield _uptime(files[UPTIME]), files


def _uptime(text: str) -> float:
    seconds = float(text.split()[0])
    if not 0 <= seconds < LARGEST:
        raise ValueError(f"an uptime of {seconds:g} s")
    return seconds


def _replayed(snapshots: Iterable[tuple[float, Mapping[str, str]]]) -> SampleLog:
    said = None
    with tempfile.TemporaryDirectory(prefix="helmsight-") as folder:
        for number, (at_s, files) in enumerate(snapshots):
            # Each in a folder of its own behind one name: a file that was not there is not there.
            root, link = Path(folder) / str(number), Path(folder) / "root"
            for name, content in files.items():
                _write(root, PurePosixPath(name), content)
            root.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(root)
            said = said or SampleLog(_probes(link))
            said.sample(lambda at_s=at_s: at_s)  # type: ignore[misc]
    return said or SampleLog({"all": "the run was too short to read a sensor in"})


def _probes(root: Path) -> dict[str, Probe | str]:
    """Those of what was copied. What was not, the kernel of the board may well have."""
    probes = {name: probe for name, probe in cpu_probes(root).items() if name != NOT_KNOWN}
    return {name: NOT_COPIED.get(name, probe) if isinstance(probe, str) else probe for name, probe in probes.items()}


def _write(root: Path, name: PurePosixPath, content: str) -> None:
    if name.parts[:1] in (("sys",), ("proc",)) and ".." not in name.parts:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
