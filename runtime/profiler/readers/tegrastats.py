"""A log of Jetson's tegrastats: one line a reading, of power rails, clocks and temperatures.

Since JetPack 5 a line begins with its time; before, the time between lines is not in the log, and nothing is drawn over
time.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime
from statistics import mean

from ....devices.power import meter
from ....devices.tegrastats import rails_of
from .foreign import Content, Foreign

_LINE = re.compile(r"\bRAM \d+/\d+MB\b")
_WHEN = re.compile(r"^(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) ")
_HEAT = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_GPU_MHZ = re.compile(r"\bGR3D_FREQ \d+%@\[?(\d+)")
_GPU_SHARE = re.compile(r"\bGR3D_FREQ (\d+)%")
_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_ABSENT_C = -200.0
"""Rails that are off are shown as -256 C."""


def is_log(content: Content) -> bool:
    """Whether one of its first lines is a reading."""
    lines = [line for line in content.text.splitlines()[:5] if line.strip()]
    return bool(lines) and any(_LINE.search(line) and ("@" in line) for line in lines)


def read_log(content: Content) -> list[Foreign]:
    """Means over the log, of the module's power where its rails are in it. Lines that are no reading are left out."""
    lines = [line for line in content.text.splitlines() if _LINE.search(line)]
    whens = [_when(line) for line in lines]
    begin = whens[0]
    values: dict[str, list[tuple[float | None, float]]] = defaultdict(list)
    for line, when in zip(lines, whens, strict=True):
        t = (when - begin).total_seconds() if when and begin else None
        for name, value in _readings(line).items():
            values[name].append((t, value))
    means = {name: mean(value for _, value in found) for name, found in values.items()}
    module = meter(means, on_gpu=False)
    series = {
        name: [(t, value) for t, value in found if t is not None] for name, found in values.items() if None not in whens
    }
    unread = sum(1 for line in content.text.splitlines() if line.strip()) - len(lines)
    return [
        Foreign(
            program="tegrastats",
            name=content.name,
            stage="",
            watts=sum(means[name] for name in module.sensors) if module else None,
            watts_of=module.of if module else "",
            series=series,
            facts=(("readings", str(len(lines))), *((name, f"{value:.4g}") for name, value in means.items())),
            warnings=(f"{unread} lines of the log are no readings and were left out",) if unread else (),
        )
    ]


def _when(line: str) -> datetime | None:
    found = _WHEN.match(line)
    return datetime.strptime(found[1], "%m-%d-%Y %H:%M:%S") if found else None


def _readings(line: str) -> dict[str, float]:
    """By the names that helmsight's own sensors have."""
    found = {f"power_w.{rail}": watts for rail, watts in rails_of(line).items()}
    found |= {f"temperature_c.{name}": float(c) for name, c in _HEAT.findall(line) if float(c) > _ABSENT_C}
    for name, pattern in (("gpu_mhz", _GPU_MHZ), ("gpu_percent", _GPU_SHARE), ("ram_used_mb", _RAM)):
        if said := pattern.search(line):
            found[name] = float(said[1])
    return found
