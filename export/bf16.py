"""bf16: the file stays in fp32, and OpenVINO computes it in bfloat16 where a processor has it; gated like others."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from ..devices.errors import GateFailed
from ..runtime.backends import SessionOptions
from ..runtime.backends.openvino import OpenVinoSession
from ..runtime.bundle import write_bundle
from ..runtime.inspection import bf16_in_words
from .inputs import Feeds
from .judge import Judge, Verdict
from .lowered import Attempt, Say, noted
from .timing import times_as_fast

OPENVINO = "openvino"


def in_bf16(full: Attempt, judge: Judge, feeds: Sequence[Feeds], say: Say) -> Attempt:
    """`full`, which passed its gates in fp32, for OpenVINO to run in bf16; `judge` looks at it there.

    Raises GateFailed with the next step, DeviceMismatch where this processor has no bf16.
    """
    say("comparing with the source, in bf16 by OpenVINO")
    wish = noted(full, bf16={"precision": "bf16"}).draft.manifest
    draft = write_bundle(full.draft.path.with_name("bf16.bundle"), wish, {"model.onnx": full.draft.model})
    verdict = judge(draft)
    if verdict.failed is not None:
        missed = str(verdict.failed).removesuffix("; nothing was written")
        raise GateFailed(f"bf16: {missed}; nothing was written; --max-drop and --atol allow more")
    with OpenVinoSession(draft, SessionOptions(OPENVINO, threads=1)) as session:
        computed = {"precision": session.precision, "weighted_ops": dict(session.layer_types)}
    speed = times_as_fast(full.draft, draft, feeds, device=OPENVINO)
    record = {**verdict.record, **computed, "machine": platform.machine(), "speed": speed}
    worth = "" if speed["times_as_fast"] >= 1 else "; fp32 is faster here"
    say(bf16_in_words(record) + worth)
    passed = Attempt(draft, (), Verdict(full.verdict.record, verdict.metrics))
    return noted(passed, bf16=record)
