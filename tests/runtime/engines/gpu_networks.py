"""Networks for the tests that a GPU runs: in a precision, with what export writes for the TensorRT of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helmsight.devices.errors import DeviceMismatch
from helmsight.runtime.bundle import Bundle, Manifest, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.engines import tensorrt
from helmsight.runtime.engines.network import make_log
from helmsight.runtime.engines.source import reads_older
from helmsight.runtime.sources import open_source
from helmsight.runtime.tasks import task_for


def frames(bundle: Bundle, n: int = 4) -> list[dict[str, np.ndarray]]:
    """Inputs of the network from the clip that ships."""
    task = task_for(bundle.manifest)
    feeds = []
    with open_source("sample://corridor") as source:
        for frame in source:
            feeds.append(dict(task.prepare(frame.image)))
            if len(feeds) == n:
                break
    return feeds


def needs_older() -> bool:
    """Whether TensorRT here is 8.5 or 8.6."""
    try:
        return reads_older(tensorrt())
    except DeviceMismatch:
        return False


def in_precision(name: str, precision: str, folder: Path) -> Bundle:
    """`small`, or one that ships. Without onnx the test is skipped."""
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from helmsight.export.lowering import lower_to

    full = small(folder) if name == "small" else open_bundle(name)
    model = onnx.load(full.model)
    if precision != "fp32":
        work = folder / "work"
        work.mkdir()
        model = lower_to(precision, model, frames(full, 16), work, for_nvidia=True)()
    provenance = {**full.manifest.provenance, "export": {"precision": precision}}
    manifest = replace(full.manifest, parity={"cpu": {"precision": precision}}, provenance=provenance)
    draft = write_bundle(folder / "draft.bundle", manifest, {"model.onnx": model.SerializeToString()})
    target = "jetson-agx-xavier/trtexec" if needs_older() else "dgx-a100/tensorrt"
    return made_for(draft, target, precision, folder / f"{name}-{precision}.bundle")


def small(folder: Path) -> Bundle:
    """Three convolutions, one of them beside a residual, and a matrix product: what a quick build has to tell."""
    from onnx import TensorProto, helper, numpy_helper

    rng, node = np.random.default_rng(7), helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "stem_relu"),
        node("Conv", ["r1", "w2"], ["c2"], "body", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r1"], ["a"], "residual"),
        node("Relu", ["a"], ["r2"], "body_relu"),
        node("Conv", ["r2", "w3"], ["c3"], "tail", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["c3"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flat"),
        node("Gemm", ["f", "w4", "b4"], ["y"], "head", transB=1),
    ]
    shapes = {"w1": (32, 3, 3, 3), "w2": (32, 32, 3, 3), "w3": (64, 32, 3, 3), "w4": (16, 64), "b4": (16,)}
    stored = [
        numpy_helper.from_array(
            (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or (4,)))).astype(np.float32), name
        )
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    picture = TensorSpec("x", (1, 3, 64, 64), "float32", "NCHW", "RGB", (0.0, 1.0))
    manifest = Manifest("small", "", (picture,), (TensorSpec("y", (1, 16), "float32"),))
    return write_bundle(folder / "small.bundle", manifest, {"model.onnx": model.SerializeToString()})


def made_for(draft: Bundle, target: str, precision: str, path: Path) -> Bundle:
    """`draft` with what export makes for a target."""
    from helmsight.export.artefacts import Order, make_all
    from helmsight.export.targets import check_targets
    from helmsight.runtime.parity import tolerance

    (asked,) = check_targets([target], precision)
    folder = path.parent / "targets" / asked.name
    folder.mkdir(parents=True)
    made = make_all(Order(draft, asked, folder, frames(draft), tolerance(precision), lambda line: None))
    files: dict[str, Path | bytes] = {"model.onnx": draft.model}
    files |= {f"targets/{asked.name}/{file.name}": file for file in folder.iterdir()}
    parity = {**draft.manifest.parity, asked.name: made}
    return write_bundle(path, replace(draft.manifest, parity=parity), files)


def verbose_log(file: Path) -> Callable[[Any], Any]:
    """`make_log`, which also writes every line that TensorRT says into `file`."""

    def make(trt: Any) -> Any:
        class Verbose(type(make_log(trt))):  # type: ignore[misc]
            def log(self, severity: Any, message: str) -> None:
                with file.open("a") as lines:
                    lines.write(f"{severity} {message}\n")
                super().log(severity, message)

        return Verbose()

    return make
