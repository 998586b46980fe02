"""The pipeline's frames per second over a hand-written loop's, on a 640x480 file with one model.

The loop is what people write first: cv2.VideoCapture, cv2.resize and the same ONNX Runtime session, nothing decoded.
The pipeline does all that and decodes; "recording" also draws every frame and encodes a video. All three
take turns, and ratios are of one turn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.sinks.overlay import Overlay
from helmsight.runtime.sinks.recorder import Recorder
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import Task, task_for
from helmsight.runtime.worker import Model

from .harness import Goal, Result, parser, spread, write_clip


def hand_written(clip: str, session: Session) -> int:
    """What a user would write; returns the number of frames."""
    import cv2

    height, width = session.inputs[0].image_hw
    name = session.inputs[0].name
    capture = cv2.VideoCapture(clip)
    count = 0
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        session.run({name: picture[None]})
        count += 1
    capture.release()
    return count


def pipeline(clip: str, session: Session, task: Task) -> int:
    """The library's loop, without a sink."""
    return Pipeline(open_source(clip), [Model(session, task)]).run([]).results


def recording(clip: str, session: Session, task: Task, video: Path) -> int:
    """The same, with an annotated video of every frame; the time includes finishing the file."""
    source = open_source(clip)
    with Recorder(video, Overlay([task]), source) as recorder:
        Pipeline(source, [Model(session, task)]).run([recorder])
    return recorder.frames


def frames_per_s(run: Callable[[], int], frames: int) -> float:
    """Rate of one run; raises when it did not see every frame."""
    begin = time.perf_counter()
    count = run()
    seconds = time.perf_counter() - begin
    if count != frames:
        raise RuntimeError(f"{count} frames came out of {frames}")
    return frames / seconds


def main() -> None:
    """Run and write the result."""
    made = parser(__doc__ or "")
    made.add_argument("--bundle", default="face")
    made.add_argument("--device", default="cpu")
    made.add_argument("--threads", type=int, default=1, help="of the inference engine")
    made.add_argument("--frames", type=int, default=600)
    made.add_argument("--rounds", type=int, default=7)
    args = made.parse_args()
    bundle = open_bundle(args.bundle)
    task = task_for(bundle.manifest)
    with (
        tempfile.TemporaryDirectory() as folder,
        load(bundle, SessionOptions(args.device, args.threads)) as session,
        OthersWatch() as others,
    ):
        clip = str(write_clip(Path(folder) / "clip.mp4", args.frames))
        runs: dict[str, Callable[[], int]] = {
            "hand-written loop": lambda: hand_written(clip, session),
            "pipeline": lambda: pipeline(clip, session, task),
            "pipeline, recording": lambda: recording(clip, session, task, Path(folder) / "out.mp4"),
        }
        for run in runs.values():
            run()  # warm-up
        turns = [{name: frames_per_s(run, args.frames) for name, run in runs.items()} for _ in range(args.rounds)]
    base = "hand-written loop"
    rows = []
    for name in runs:
        ratio = spread([turn[name] / turn[base] for turn in turns])
        rate = spread([turn[name] for turn in turns])
        rows.append({"what": name, "frames/s": rate["median"], **{f"ratio {k}": v for k, v in ratio.items()}})
    goals = [
        Goal("pipeline over hand-written loop", rows[1]["ratio median"], 1.05, at_least=True),
        Goal("recording over hand-written loop", rows[2]["ratio median"], 0.9, at_least=True),
    ]
    options = {k: getattr(args, k) for k in ("bundle", "device", "threads", "frames", "rounds")}
    Result("pipeline", "Pipeline against a hand-written loop", options, rows, goals, others.cores).write(args.out)


if __name__ == "__main__":
    main()
