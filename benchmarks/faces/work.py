"""Parameters and floating-point operations of a network, counted in its ONNX graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from helmsight.export.graph import summarise


def count(model: bytes, shapes: Mapping[str, Sequence[int]]) -> tuple[int, float | None]:
    """Parameters, and MFLOPs (two a multiply-accumulate) where the inputs have `shapes`."""
    import onnx
    import onnxruntime

    graph = onnx.load_from_string(model)
    stored = {t.name for t in graph.graph.initializer}
    for tensor in [t for t in graph.graph.input if t.name in stored]:
        graph.graph.input.remove(tensor)  # old exporters list weights as inputs
    for tensor in graph.graph.input:
        for dim, size in zip(tensor.type.tensor_type.shape.dim, shapes[tensor.name], strict=True):
            dim.dim_value = size
    for tensor in graph.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    del graph.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    # Folds what is computed from the input's size, without which a network of any size has no shapes to count by.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "fixed.onnx")
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        macs = summarise(onnx.load(options.optimized_model_filepath)).macs
    return summarise(graph).parameters, None if macs is None else 2 * macs / 1e6
