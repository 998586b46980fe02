"""Loops over a video file with one ONNX file, each in a process of its own: `python contenders.py NAME CLIP MODEL`.

What people write or install for it, and helmsight's pipeline. Each reads and decodes the same clip with OpenCV, shrinks
frames to the network's size and runs ONNX Runtime with the same settings; helmsight also decodes the network's outputs.
The process prints one line of JSON: frames, seconds from the first frame asked for to the last result, and its peak
resident memory. It needs nothing but numpy, OpenCV and ONNX Runtime, so it also runs in an environment of the peer's.
"""

from __future__ import annotations

import argparse
import json
import queue
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """`run` takes a frame (H, W, 3) uint8 BGR to the network's outputs; helmsight's `model` is the same."""

    clip: str
    run: Callable[[Any], Any]
    model: Any = None


def hand_written(job: Job, record: bool = False) -> int:
    """What a user would write first; returns the number of frames. With `record`, a line of text is drawn into each
    frame, and they are written beside the clip."""
    import cv2

    capture, count, writer = cv2.VideoCapture(job.clip), 0, None
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        job.run(frame)
        if record:
            if writer is None:
                size, codec = (frame.shape[1], frame.shape[0]), cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(Path(job.clip).with_name("out.mp4")), codec, 30, size)
            cv2.putText(frame, f"frame {count}", (8, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (245, 245, 245))
            writer.write(frame)
        count += 1
    capture.release()
    if writer is not None:
        writer.release()
    return count


def reader_thread(job: Job) -> int:
    """The usual second try: a thread that reads ahead into a queue of 128 frames, as imutils' FileVideoStream does."""
    import cv2

    frames: queue.Queue[Any] = queue.Queue(128)

    def read() -> None:
        capture = cv2.VideoCapture(job.clip)
        while True:
            ok, frame = capture.read()
            frames.put(frame if ok else None)
            if not ok:
                return

    threading.Thread(target=read, daemon=True).start()
    count = 0
    while (frame := frames.get()) is not None:
        job.run(frame)
        count += 1
    return count


def streamvision(job: Job) -> int:
    """Roboflow's InferencePipeline with a function of one's own."""
    from streamvision.stream.pipeline import InferencePipeline

    count = 0

    def look(video_frames: list[Any]) -> list[Any]:
        return [job.run(frame.image) for frame in video_frames]

    def take(_prediction: Any, _frame: Any) -> None:
        nonlocal count
        count += 1

    pipeline = InferencePipeline.init_with_custom_logic(job.clip, look, take)
    pipeline.start()
    pipeline.join()
    return count


def helmsight(job: Job, record: bool = False) -> int:
    """The library's pipeline; with `record`, and an annotated video of every frame, written beside the clip."""
    from helmsight.runtime.pipeline import Pipeline
    from helmsight.runtime.sinks.overlay import Overlay
    from helmsight.runtime.sinks.recorder import Recorder
    from helmsight.runtime.sources import open_source

    source = open_source(job.clip)
    pipeline = Pipeline(source, [job.model])
    if not record:
        return pipeline.run([]).results
    with Recorder(Path(job.clip).with_name("out.mp4"), Overlay([job.model.task]), source) as recorder:
        return pipeline.run([recorder]).results


CONTENDERS: dict[str, Callable[[Job], int]] = {
    "hand-written loop": hand_written,
    "loop with a reader thread": reader_thread,
    "streamvision": streamvision,
    "helmsight": helmsight,
    "hand-written loop, recording": lambda job: hand_written(job, record=True),
    "helmsight, recording": lambda job: helmsight(job, record=True),
}


def plain_run(model: Path) -> Callable[[Any], Any]:
    """Resize and run, as a user would write it: one thread that does not spin, as helmsight sets it."""
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    # Sizes that the graph leaves open stand in the manifest beside it.
    manifest = json.loads(model.with_name("manifest.json").read_text())
    name, (_, height, width, _) = manifest["inputs"][0]["name"], manifest["inputs"][0]["shape"]

    def run(frame: Any) -> Any:
        picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        return session.run(None, {name: picture[None]})

    return run


def our_model(folder: str) -> Any:
    """The model as helmsight's pipeline takes it, one thread."""
    from helmsight.runtime.backends import SessionOptions, load
    from helmsight.runtime.bundle import open_bundle
    from helmsight.runtime.heap import share_one_heap
    from helmsight.runtime.model import Model
    from helmsight.runtime.tasks import task_for

    share_one_heap()  # as the command does
    bundle = open_bundle(folder)
    return Model(load(bundle, SessionOptions(threads=1)), task_for(bundle.manifest))


def main() -> None:
    """Run one contender and print its line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("name", choices=CONTENDERS)
    made.add_argument("clip")
    made.add_argument("bundle", help="a bundle's folder")
    args = made.parse_args()
    if args.name.startswith("helmsight"):
        job = Job(args.clip, lambda _: None, our_model(args.bundle))
    else:
        job = Job(args.clip, plain_run(Path(args.bundle) / "model.onnx"))
    begin = time.perf_counter()
    frames = CONTENDERS[args.name](job)
    seconds = time.perf_counter() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"frames": frames, "seconds": seconds, "peak_rss_mb": peak_mb}))


if __name__ == "__main__":
    main()
