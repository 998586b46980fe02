"""A residual network of ResNet-50's shape (He et al., arXiv:1512.03385), random weights, written with onnx alone.

It stands for a large network where only its cost counts: 25 million parameters, 4.1 billion multiply-accumulates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from helmsight.devices.errors import need

if TYPE_CHECKING:
    from onnx import ModelProto

SIDE = 224
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Width of the narrow convolutions, and blocks."""
OPSET = 17


@dataclass
class _Graph:
    """Nodes and weights as they are added; `dtype` is what it computes in."""

    dtype: np.dtype[Any]
    rng: np.random.Generator
    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(need("onnx", "train").helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def stored(self, values: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(need("onnx", "train").numpy_helper.from_array(values.astype(self.dtype), name))
        return name

    def conv(self, x: str, sides: tuple[int, int], kernel: int, stride: int = 1, gain: float = 1.0) -> str:
        """`sides` are channels in and out. Weights after He et al., arXiv:1502.01852."""
        scale = gain * np.sqrt(2 / (sides[0] * kernel * kernel))
        weight = self.stored(scale * self.rng.standard_normal((sides[1], sides[0], kernel, kernel)))
        bias = self.stored(np.zeros(sides[1]))
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        return self.node("Conv", [x, weight, bias], **shape)


def residual_network(precision: str, seed: int = 0) -> ModelProto:
    """`image` uint8 (1, 224, 224, 3) to `y` float32 (1, 1000), computed in fp32 or fp16."""
    onnx = need("onnx", "train")
    kinds = {"fp32": (np.dtype(np.float32), 1), "fp16": (np.dtype(np.float16), 10)}
    dtype, number = kinds[precision]
    graph = _Graph(dtype, np.random.default_rng(seed))
    x = graph.node("Transpose", [graph.node("Cast", ["image"], to=1)], perm=[0, 3, 1, 2])
    x = graph.node("Cast", [x], to=number) if precision == "fp16" else x
    x = graph.node("Mul", [x, graph.stored(np.array(1 / 255))])
    x = graph.node("Relu", [graph.conv(x, (3, 64), 7, 2)])
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    wide = 64
    for stage, (width, blocks) in enumerate(STAGES):
        for block in range(blocks):
            x = _block(graph, x, (wide, width), 2 if stage and not block else 1)
            wide = 4 * width
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    x = graph.node("Gemm", [x, graph.stored(graph.rng.standard_normal((wide, 1000)) / np.sqrt(wide))])
    graph.nodes.append(onnx.helper.make_node("Cast", [x], ["y"], "y", to=1))
    made: ModelProto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "residual",
            [onnx.helper.make_tensor_value_info("image", 2, [1, SIDE, SIDE, 3])],
            [onnx.helper.make_tensor_value_info("y", 1, [1, 1000])],
            graph.weights,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    return made


def _block(graph: _Graph, x: str, sides: tuple[int, int], stride: int) -> str:
    """A bottleneck of `sides` (channels in, narrow); its sum is kept from growing by a small gain of the last layer."""
    wide, width = sides
    y = graph.node("Relu", [graph.conv(x, (wide, width), 1)])
    y = graph.node("Relu", [graph.conv(y, (width, width), 3, stride)])
    y = graph.conv(y, (width, 4 * width), 1, gain=0.2)
    short = x if wide == 4 * width and stride == 1 else graph.conv(x, (wide, 4 * width), 1, stride, gain=0.7)
    return graph.node("Relu", [graph.node("Add", [y, short])])
