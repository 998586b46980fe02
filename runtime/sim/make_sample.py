"""Makes the sample clip `runtime/shipped/corridor.mp4` and its `corridor.json`; run by hand, needs ffmpeg:

    python -m helmsight.runtime.sim.make_sample astronaut.png grace_hopper.jpg

The expert drives past framed portraits of Eileen Collins (NASA, in scikit-image's wheel as skimage/data/astronaut.png)
and Grace Hopper (US Navy, in matplotlib as mpl-data/sample_data/grace_hopper.jpg), both in the public domain.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from ..bundle import SHIPPED
from ..results import Image
from ..sources import CameraGeometry
from . import expert
from .course import Course, Picture, make_course
from .furnish import wall_spots
from .robot import Pose
from .simulator import Simulator, SimulatorOptions

COURSE, SEED, START = "office", 9, 384
SECONDS, FPS, IMAGE_HW = 18, 20, (480, 640)
CAMERA = CameraGeometry(fov_y_deg=75.0, height_m=0.35, pitch_deg=0.0)
CROPS = {"astronaut": (92, 0, 270, 270), "grace_hopper": (70, 10, 390, 390)}
"""x, y, width, height in pixels of the head and shoulders in each photograph."""
SOURCES = {
    "astronaut": "Eileen Collins, NASA, public domain; scikit-image, skimage/data/astronaut.png",
    "grace_hopper": "Grace Hopper, US Navy, public domain; matplotlib, mpl-data/sample_data/grace_hopper.jpg",
}


def main(photographs: list[str]) -> None:
    """Render the drive and write the clip and its record."""
    with tempfile.TemporaryDirectory() as work:
        portraits = [_crop(Path(p), Path(work)) for p in photographs]
        course = with_portraits(make_course(COURSE, SEED), portraits)
        frames, poses = drive(course)
    _encode(frames, SHIPPED / "corridor.mp4")
    record = {
        "fps": FPS,
        "camera": asdict(CAMERA),
        "made_by": f"python -m helmsight.runtime.sim.make_sample: course {COURSE}, seed {SEED}, driven by the expert",
        "pictures": list(SOURCES.values()),
        "surfaces": "textures and meshes of miniworld 2.1.0, Apache-2.0",
        "pose_columns": ["x_m", "y_m", "heading_rad"],
        "poses": [[round(v, 3) for v in (p.x, p.y, p.heading_rad)] for p in poses],
    }
    (SHIPPED / "corridor.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")


def with_portraits(course: Course, portraits: list[Path]) -> Course:
    """The course with a portrait, in turns, on every wall that has the room."""
    spots = wall_spots(list(course.rects), 1.0)
    pictures = [
        Picture(x, y, 0.95, facing, 0.75, portraits[i % len(portraits)]) for i, (x, y, facing) in enumerate(spots)
    ]
    return replace(course, pictures=tuple(pictures))


def drive(course: Course) -> tuple[list[Image], list[Pose]]:
    """The frames of the expert's drive and the pose of each."""
    frames, poses = [], []
    with Simulator(course, options=SimulatorOptions(CAMERA)) as simulator:
        simulator.place(simulator.pose_on_line(START))
        for _ in range(SECONDS * FPS):
            frames.append(simulator.render(IMAGE_HW))
            poses.append(simulator.pose)
            steer = expert.steer(course, simulator.pose, simulator.nearest)
            simulator.step(steer, expert.speed(course, simulator.pose), 1 / FPS)
    return frames, poses


def _crop(photograph: Path, folder: Path) -> Path:
    import cv2

    x, y, width, height = CROPS[photograph.stem]
    image = cv2.imread(str(photograph))
    if image is None:
        raise FileNotFoundError(f"{photograph} is no picture")
    file = folder / f"{photograph.stem}.png"
    cv2.imwrite(str(file), image[y : y + height, x : x + width])
    return file


def _encode(frames: list[Image], clip: Path) -> None:
    height, width = IMAGE_HW
    clip.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *("ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}"),
        *("-r", str(FPS), "-i", "-", "-c:v", "libx264", "-preset", "slow", "-crf", "27", "-pix_fmt", "yuv420p"),
        *("-movflags", "+faststart", str(clip)),
    ]
    subprocess.run(command, input=b"".join(f.tobytes() for f in frames), check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
