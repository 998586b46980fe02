"""A back end with no engine: constant outputs of the manifest's shapes after a set time. Real code for tests and
for measuring what the runtime itself costs."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact
from ..bundle import Bundle, TensorSpec
from . import Feeds, Outputs, SessionOptions

LONGEST_MS = 60_000.0


def load(bundle: Bundle, options: SessionOptions) -> FakeSession:
    """A session that answers zeros; `decoding["fake_latency_ms"]` in the manifest is how long it takes.

    `decoding["fake_outputs"]` may have, by an output's name, what it answers instead: numbers that can be spread over
    the output's shape, or "nan".
    """
    latency_ms = bundle.manifest.decoding.get("fake_latency_ms", 0.0)
    if not isinstance(latency_ms, (int, float)) or not 0 <= latency_ms <= LONGEST_MS:
        raise BadArtefact(f"{bundle.path}: decoding.fake_latency_ms is {latency_ms!r}; expected 0 to {LONGEST_MS}")
    return FakeSession(bundle, float(latency_ms))


class FakeSession:
    """Answers the same each time, in each output's shape, a varying dimension counting as 1."""

    def __init__(self, bundle: Bundle, latency_ms: float = 0.0) -> None:
        self.inputs = bundle.manifest.inputs
        self.outputs = bundle.manifest.outputs
        self.device = "fake"
        self.precision = "fp32"
        self.latency_ms = latency_ms
        self._closed = False
        answers = bundle.manifest.decoding.get("fake_outputs", {})
        try:
            self._answers = {name: np.asarray(answer, np.float32) for name, answer in answers.items()}
            for output in self.outputs:
                np.broadcast_to(self._answers.get(output.name, np.float32(0)), _shape(output))
        except (ValueError, TypeError, AttributeError) as error:
            raise BadArtefact(f"{bundle.path}: decoding.fake_outputs cannot be given ({error})") from error

    def run(self, feeds: Feeds) -> Outputs:
        if self._closed:
            raise RuntimeError("this session is closed")
        missing = {i.name for i in self.inputs} - set(feeds)
        if missing:
            raise ValueError(f"no feed for input {', '.join(sorted(missing))}")
        if self.latency_ms:
            time.sleep(self.latency_ms / 1e3)
        return {o.name: self._answer(o) for o in self.outputs}

    def _answer(self, output: TensorSpec) -> NDArray[np.float32]:
        return np.broadcast_to(self._answers.get(output.name, np.float32(0)), _shape(output)).copy()

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shape(output: TensorSpec) -> list[int]:
    return [d if isinstance(d, int) else 1 for d in output.shape]
