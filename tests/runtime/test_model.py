"""The library's own loop, as README has it, and the same results by the pipeline and by the command's object."""

from pathlib import Path

import numpy as np
import pytest

from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.camera import Camera, CameraOptions
from helmsight.runtime.model import load
from helmsight.runtime.pipeline import Pipeline
from helmsight.runtime.results import Faces
from helmsight.runtime.sources import open_source


def test_the_loop_gives_what_the_command_gives() -> None:
    pytest.importorskip("onnxruntime")
    seen: list[Faces] = []
    with open_source("sample://corridor") as source, load("face") as model:
        for frame in source:
            faces = model(frame)
            seen.append(faces)
            if frame.index == 11:
                break
    with load("face") as model:
        pipeline = Pipeline(open_source("sample://corridor"), [model])
        piped = [result.readings["face"].record for result, _ in zip(pipeline.results(), range(12), strict=False)]
    commanded: list[Faces] = []
    camera = Camera(CameraOptions(["face"], "sample://corridor"))

    def keep(result) -> None:
        commanded.append(result.readings["face"].record)
        if len(commanded) == 12:
            camera.stop()

    camera.run([keep])
    assert len(seen) == len(piped) == len(commanded) == 12
    assert sum(len(faces.score) for faces in seen) > 0
    for one, other, third in zip(seen, piped, commanded, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.xyxy, third.xyxy)


def test_a_model_that_is_closed_does_not_run(face_bundle: Bundle, clip: Path) -> None:
    with open_source(str(clip)) as source, load(face_bundle.path, SessionOptions("fake")) as model:
        frame = next(iter(source))
        assert isinstance(model(frame), Faces)
    with pytest.raises(RuntimeError, match="closed"):
        model(frame)
