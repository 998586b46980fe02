"""Layers of ncnn: which nodes of the ONNX file they are, and what a program may tell of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from helmsight.runtime.onnx_nodes import Node, OnnxGraph, Weight
from helmsight.runtime.profiler.native_layers import check_layers, layers_in, named_by_ncnn

A, B, C = (bytes([i]) * 36 for i in (1, 2, 3))
"""Of three 3x3 kernels in float32, each of one channel."""
PARAM = """7767517
5 5
Input in0 0 1 in0
Convolution conv_7 1 1 in0 1 0=1 1=3 5=1 6=9
ReLU relu_8 1 1 1 2
ConvolutionDepthWise convdw_0 1 1 2 3 0=1 1=3 6=9 7=1
Convolution conv_9 1 1 3 out0 0=1 1=3 6=9
"""


def graph(*weights: bytes) -> OnnxGraph:
    nodes = [Node(f"n{i}", "Conv", (f"x{i}", f"w{i}"), (f"x{i + 1}",), f"part.{i}") for i in range(len(weights))]
    stored = {f"w{i}": Weight((1, 1, 3, 3), 36, memoryview(data)) for i, data in enumerate(weights)}
    return OnnxGraph((*nodes, Node("relu", "Relu", ("x1",), ("y",), "act")), stored)


def test_layers_get_the_nodes_whose_weights_they_have() -> None:
    found = named_by_ncnn(graph(A, B, C), PARAM, b"...." + A + b"...." + B + b"...." + C)
    assert [(node.name, node.module) for node in found.nodes] == [
        ("conv_7", "part.0"),
        ("convdw_0", "part.1"),
        ("conv_9", "part.2"),
    ]


def test_a_weight_that_was_changed_is_known_by_its_place() -> None:
    """As where a batch normalisation was folded into it."""
    found = named_by_ncnn(graph(A, B, C), PARAM, A + bytes(36) + C)
    assert [node.module for node in found.nodes] == ["part.0", "part.1", "part.2"]


@pytest.mark.parametrize(
    ("weights", "stored"),
    [
        ((A, B, C), A + C + B),
        ((A, B, C), bytes(36) + B + bytes(36)),
        ((A, B), A + B),
        ((A, B, C, C), A + B + C),
        ((), b""),
    ],
)
def test_nothing_is_said_where_it_is_not_sure(weights: tuple[bytes, ...], stored: bytes) -> None:
    assert named_by_ncnn(graph(*weights), PARAM, stored).nodes == ()


@pytest.mark.parametrize("param", ["", "7767517", "Convolution x 1 1 a b 6=9", "a\nb\nConvolution c 1 1 x y 6=nine"])
def test_a_param_that_is_none(param: str) -> None:
    assert named_by_ncnn(graph(A), param, A).nodes == ()


def said() -> dict[str, Any]:
    layers = [
        {"name": "conv_7", "type": "Convolution", "inputs": [[1, 8, 8]], "outputs": [[1, 6, 6]]},
        {"name": "fc_0", "type": "InnerProduct", "inputs": [[36]], "outputs": [[2]]},
    ]
    runs = []
    for begin in range(0, 7 * 10**4, 10**4):
        calls = [[0, begin + 1000, begin + 4000], [1, begin + 5000, begin + 7000]]
        runs.append({"begin_ns": begin, "end_ns": begin + 9000, "calls": calls})
    return {"layers": layers, "runs": runs, "speed": {"gflops": 10.0, "gb_s": 2.0}, "seconds": 3.5}


def test_what_a_program_told() -> None:
    check_layers(said())
    nodes = (Node("conv_7", "Conv", ("x", "w"), ("y",), "stem"),)
    found, timeline = layers_in(said(), 2, OnnxGraph(nodes, {"w": Weight((1, 1, 3, 3), 36)}))
    conv, product = found.layers
    assert (found.runs, found.run_ms, len(timeline.runs)) == (2, 0.009, 2)
    assert (conv.module, conv.ms, conv.operations, conv.moved_bytes) == ("stem", 0.003, 2 * 9 * 36, 4 * (64 + 36) + 36)
    assert (product.module, product.operations) == (None, None), "a product whose weight is not known, not no work"
    assert found.rates.origin.startswith("measured on that machine with 2 threads")
    assert timeline.stages[0]["inference"].begin_us == 0


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("runs", 0, "calls", 0, 0), 2, "layer 2 of 2"),
        (("runs", 0, "calls", 0, 2), -5, "a figure of -"),
        (("runs", 6, "end_ns"), 0, "a figure of -"),
        (("layers", 0, "inputs", 0, 0), -1, "a figure of -1"),
        (("layers", 0, "outputs", 0, 0), 10**17, r"a figure of 1e\+17"),
        (("speed", "gflops"), -1.0, "a figure of -1"),
    ],
)
def test_what_no_run_can_have_told(where: tuple[Any, ...], value: Any, message: str) -> None:
    changed = copy.deepcopy(said())
    inner: Any = changed
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(ValueError, match=message):
        check_layers(changed)
