"""The tasks that can be trained here, by name: what `helmsight train` and `helmsight evaluate` pick from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..devices.errors import UsageError
from ..runtime.backends import Session
from ..runtime.bundle import Manifest
from ..runtime.inspection import GENERIC
from .mixed import cpu_gains
from .problem import Options, Problem

TASKS = ("face", "navigate")
MOST_WORKERS = 256


def defaults(task: str, out: Path, device: str = "cpu") -> Options:
    """The options that the shipped networks were trained by, or nearly (docs/train.md has each step).

    On a CPU navigation learns on two threads, and in mixed precision where that gains (`benchmarks/training_speed.py`).
    """
    on_cpu = device == "cpu"
    if task == "face":
        return Options(
            out,
            epochs=110,
            batch_size=16,
            optimizer="adamw",
            lr=2e-3,
            lr_divide=2,
            min_lr=5e-5,
            weight_decay=0.02,
            patience=3,
            min_gain=0.003,
            ema=0.998,
            freeze_norm=50,
            device=device,
        )
    if task == "navigate":
        return Options(
            out,
            epochs=10,
            batch_size=48,
            optimizer="adamw",
            lr=1e-3,
            schedule="cosine",
            min_lr=1e-5,
            weight_decay=0.02,
            ema=0.999,
            freeze_norm=9,
            device=device,
            amp=on_cpu and cpu_gains(),
            threads=2 if on_cpu else 1,
        )
    raise _unknown(task)


def problem_for(
    task: str, options: Options, size: int | None = None, data: str | None = None, workers: int | None = None
) -> Problem:
    """The problem of `task`; `size` is how much it learns from: pictures an epoch (face), courses (navigate).

    `data` are annotated pictures for faces: `wider:DIR` or a folder with `boxes.json`. `workers` processes make
    pictures; how many changes none of them.
    """
    if data and task != "face":
        raise UsageError(f"--data {data}: only faces are learnt from a folder; expected no --data for {task}")
    if size is not None and size < 1:
        raise UsageError(f"--size is {size}; expected 1 or more")
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise UsageError(f"--workers is {workers}; expected 0 (none beside this one) to {MOST_WORKERS}")
    common = {"seed": options.seed, "batch_size": options.batch_size}
    if workers is not None:
        common["workers"] = workers
    if task == "face":
        from .face.problem import FaceOptions, FaceProblem

        return FaceProblem(FaceOptions(data=data, **common, **({"pictures": size} if size else {})))
    if task == "navigate":
        from .navigate.problem import NavigateOptions, NavigateProblem

        # All parts grow and shrink with the expert's courses.
        sizes = {"courses": size, "round_courses": max(1, size // 3)} if size else {}
        amp = options.amp and options.device == "cpu"  # where the networks that only collect are trained
        return NavigateProblem(NavigateOptions(amp=amp, **common, **sizes))
    raise _unknown(task)


def evaluate(
    session: Session, manifest: Manifest, data: str | None, drive: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """The metrics of the bundle's task.

    Faces: on `data`, a folder with `boxes.json` or `wider:DIR`, or else on the photographs held back. Navigation: laps
    in the simulator, `drive` being the fields of `DriveTest` and of `Conditions` and how many `boxes` to drop, or,
    without, the frames of the validation courses.
    """
    if manifest.task == "face":
        from .face.evaluate import evaluate_data, score

        return evaluate_data(session.run, manifest, data) if data else score(session.run, manifest)
    if data:
        raise UsageError(f"--data {data}: bundle {manifest.name} has task {manifest.task!r}; only faces take a folder")
    if manifest.task == "navigate":
        from .navigate.drive import Conditions, DriveTest
        from .navigate.drive import evaluate as closed_loop
        from .navigate.evaluate import score as open_loop
        from .navigate.stops import evaluate as before_boxes

        if not drive:
            return open_loop(session.run, manifest)
        hard = {name: drive[name] for name in Conditions.__dataclass_fields__ if name in drive}
        fields = {name: value for name, value in drive.items() if name not in (*hard, "boxes")}
        test = DriveTest(**fields, conditions=Conditions(**hard))
        laps = closed_loop(session.run, manifest, test) if test.courses else {}
        return laps | before_boxes(session.run, manifest, test, drive.get("boxes", 0))
    raise _unknown(manifest.task)


def _unknown(task: str) -> UsageError:
    return UsageError(f"task {task or GENERIC!r} cannot be trained or evaluated here; expected {' or '.join(TASKS)}")
