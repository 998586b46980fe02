"""Files that a forger or a broken disk could make: each is refused in one line, by helmsight's own errors, or whole.

`HELMSIGHT_FUZZ` says how many there are of each sort. Networks are opened in processes of their own, many in each:
where ONNX Runtime crashes on one, that is a finding with its seed and the next process goes on behind it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from helmsight.cli._bundle import print_description
from helmsight.export.ncnn_model import check_layers
from helmsight.runtime.backends import SessionOptions, load
from helmsight.runtime.bundle import SHIPPED, open_bundle
from helmsight.runtime.inspection import describe
from helmsight.runtime.tasks import task_for

from .damage import damage_bytes, damage_json, outcome

CASES = int(os.environ.get("HELMSIGHT_FUZZ", "1000"))
SHARES = [range(CASES * part // 4, CASES * (part + 1) // 4) for part in range(4)]
"""The seeds of each sort, in parts that run beside each other."""
BATCH = 250
BATCH_S = 600
"""A batch takes some 10 s; one that takes this long does not end."""
PARAM = b"""7767517
5 6
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 1 0=16 1=3 11=3 5=1 6=432
Split                    splitncnn_0              1 2 1 2 3
BinaryOp                 add_0                    2 1 2 3 4 0=0
Sigmoid                  sigmoid_0                1 1 4 out0
"""

pytestmark = pytest.mark.fuzz


def use(folder: Path) -> None:
    """All that is done with what a manifest says, on a back end that is not real."""
    bundle = open_bundle(folder)
    described = describe(folder)
    with redirect_stdout(StringIO()):
        print_description(described, as_json=True)
        print_description(described, as_json=False)
    task = task_for(bundle.manifest)
    if not bundle.manifest.task:
        return
    with load(bundle, SessionOptions(device="fake")) as session:
        task.decode(session.run(task.prepare(np.zeros((48, 64, 3), np.uint8))), (48, 64))


def report(what: str, found: Counter[str], findings: list[str]) -> None:
    said = ", ".join(f"{number} {name}" for name, number in sorted(found.items()))
    print(f"\n{sum(found.values())} {what}: {said}")
    assert not findings, f"{len(findings)} findings, first: {findings[:5]}"
    assert len(found) > 1, "damage that is always refused, or never, tests nothing"


@pytest.mark.parametrize("seeds", SHARES, ids=str)
def test_damaged_manifests(seeds: range, tmp_path: Path) -> None:
    whole = []
    for name in ("face", "navigate"):
        shutil.copytree(SHIPPED / f"{name}.bundle", tmp_path / name)
        whole.append((tmp_path / name, (tmp_path / name / "manifest.json").read_bytes()))
    found: Counter[str] = Counter()
    findings = []
    for seed in seeds:
        rng = random.Random(seed)
        folder, data = whole[seed % 2]
        (folder / "manifest.json").write_bytes((damage_json if rng.random() < 0.6 else damage_bytes)(data, rng))
        came = outcome(lambda: use(folder))  # noqa: B023
        found[came.split(":")[0]] += 1
        if "BUG" in came:
            findings.append(f"seed {seed}: {came}")
    report("manifests", found, findings)


@pytest.mark.parametrize("seeds", SHARES, ids=str)
def test_damaged_networks(seeds: range, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the networks of this test are written with onnx")
    pytest.importorskip("onnxruntime", reason="what opens the networks")
    found: Counter[str] = Counter()
    findings = []
    seed = seeds.start
    while seed < seeds.stop:
        end = min(seed + BATCH, seeds.stop)
        lines, code = run_batch(tmp_path, seed, end)
        for line in lines:
            at, way, came = (*line.split("\t"), "")[:3]
            if came:
                found[f"{way}: {came.split(':')[0]}"] += 1
            if "BUG" in came:
                findings.append(f"seed {at}, {way}: {came}")
        if code == 0:
            seed = end
            continue
        assert lines, f"the process of seeds {seed} to {end} ended with {code} before the first"
        at, way = lines[-1].split("\t")[:2]
        findings.append(f"seed {at}, {way}: the process ended with {code}")
        found[f"{way}: crash"] += 1
        seed = int(at) + 1
    report(f"ways into {len(seeds)} networks", found, findings)


def run_batch(work: Path, first: int, end: int) -> tuple[list[str], int | str]:
    """What the process said of the seeds up to where it ended, and how it ended: 0, another code or "no time"."""
    command = [sys.executable, "-m", "tests.damaged_networks", str(work), str(first), str(end)]
    with (work / "said").open("w+") as said:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=said, stderr=subprocess.DEVNULL)
        try:
            code: int | str = process.wait(BATCH_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = "no time"
        said.seek(0)
        return [line for line in said.read().splitlines() if "\t" in line], code


def test_damaged_ncnn_files() -> None:
    known = {"Input", "Convolution", "Split", "BinaryOp", "Sigmoid"}
    found: Counter[str] = Counter()
    findings = []
    for seed in range(CASES):
        text = damage_bytes(PARAM, random.Random(seed)).decode("latin-1")
        came = outcome(lambda: check_layers(text, known, 1))  # noqa: B023
        found[came.split(":")[0]] += 1
        if "BUG" in came:
            findings.append(f"seed {seed}: {came}")
    report("ncnn files", found, findings)
