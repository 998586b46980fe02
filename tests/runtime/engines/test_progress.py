"""How far a build is, out of phases within phases; with a clock of the test's, and with the real TensorRT-RTX."""

from __future__ import annotations

from itertools import count

import pytest

from helmsight.devices.errors import BadArtefact
from helmsight.runtime.bundle import open_bundle
from helmsight.runtime.engines.progress import Progress, State


def test_a_share_is_made_of_phases_within_phases() -> None:
    said: list[State] = []
    progress = Progress(said.append, now=lambda: 0.0)
    progress.phase_start("all", None, 4)
    assert progress.step_complete("all", 0)
    progress.phase_start("tactics", "all", 2)
    progress.step_complete("tactics", 0)
    assert said[-1].share == pytest.approx((1 + 0.5) / 4)
    progress.phase_start("one", "tactics", 2)
    progress.step_complete("one", 0)
    assert said[-1].share == pytest.approx((1 + (1 + 0.5) / 2) / 4)
    for name in ("one", "tactics"):
        progress.phase_finish(name)
    assert said[-1].share == pytest.approx((1 + (1 + 0.5) / 2) / 4), "it never falls"
    progress.step_complete("all", 3)
    progress.phase_finish("all")
    assert said[-1].share == 1.0


def test_what_is_left_follows_from_what_was_spent() -> None:
    said: list[State] = []
    clock = count(0, 10)
    progress = Progress(said.append, now=lambda: float(next(clock)))
    progress.phase_start("all", None, 10)
    assert said[-1].left_s is None, "nothing to tell it from yet"
    progress.step_complete("all", 3)  # 20 s for 4 of 10
    assert said[-1].left_s == pytest.approx(30)


def test_words_about_phases_that_nobody_opened_change_nothing() -> None:
    progress = Progress(lambda state: None)
    assert progress.step_complete("unknown", 3)
    progress.phase_finish("unknown")
    progress.cancelled = True
    assert not progress.step_complete("unknown", 4)


def test_the_real_builder_of_tensorrt_rtx_tells_and_is_stopped() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'helmsight[rtx]'")
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.nvidia import at_fixed_size, cast_first
    from helmsight.runtime.engines import build, tensorrt_rtx
    from helmsight.runtime.engines.network import configure, parse

    navigate = open_bundle("navigate")
    model = at_fixed_size(cast_first(onnx.load(navigate.model)), navigate.manifest.inputs).SerializeToString()
    said: list[State] = []

    def compile_once(stop: bool) -> bytes:
        parsed = parse(tensorrt_rtx(), model, "the network")
        config = configure(parsed, {})
        trt = parsed.product.module
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM89, 0)

        class Stopped(Progress):
            def step_complete(self, name: str, step: int) -> bool:
                return super().step_complete(name, step) and not stop

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build, "Progress", Stopped)
            return build.compile_network(parsed, config, said.append)

    assert len(compile_once(stop=False)) > 100_000
    shares = [state.share for state in said]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len({state.phase for state in said}) > 3
    with pytest.raises(BadArtefact, match=r"TensorRT-RTX .* cannot build the network"):
        compile_once(stop=True)
