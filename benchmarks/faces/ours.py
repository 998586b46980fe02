"""The bundle that is measured, with the surface that the peers have."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType

from helmsight.runtime.backends import Session, SessionOptions, load
from helmsight.runtime.bundle import Bundle
from helmsight.runtime.results import Faces, Image
from helmsight.runtime.tasks.face import FaceTask

Hw = tuple[int, int]


class Ours:
    """A face bundle on one thread, at the input size that suits a picture. A context manager."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        self.threshold = float(bundle.manifest.decoding["score_threshold"])
        self.usual_hw = bundle.manifest.inputs[0].image_hw
        self._bundle, self._device = bundle, device
        self._loaded: dict[tuple[Hw, float], tuple[FaceTask, Session]] = {}
        self._sessions: dict[Hw, Session] = {}
        self._stack = ExitStack()

    def input_hw(self, image_hw: Hw) -> Hw:
        """The network's input for pictures of a size: theirs, rounded up to what it takes, or its only one."""
        multiple = self._bundle.manifest.inputs[0].multiple
        if not multiple or image_hw == self.usual_hw:
            return self.usual_hw
        return -(-image_hw[0] // multiple) * multiple, -(-image_hw[1] // multiple) * multiple

    def detect(self, image: Image, threshold: float, input_hw: Hw | None = None) -> Faces:
        """Fit the picture, run, decode and suppress, as the camera does; at the usual size where none is given."""
        key = input_hw or self.usual_hw, threshold
        if key not in self._loaded:
            self._loaded[key] = self._load(*key)
        task, session = self._loaded[key]
        return task.decode(session.run(task.prepare(image)), (image.shape[0], image.shape[1]))

    def _load(self, hw: Hw, threshold: float) -> tuple[FaceTask, Session]:
        bundle = self._bundle if hw == self.usual_hw else self._bundle.resized(hw)
        if hw not in self._sessions:
            self._sessions[hw] = self._stack.enter_context(load(bundle, SessionOptions(self._device, threads=1)))
        decoding = {**bundle.manifest.decoding, "score_threshold": threshold}
        return FaceTask(replace(bundle.manifest, decoding=decoding)), self._sessions[hw]

    def __enter__(self) -> Ours:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
