"""In which types a network computes before TensorRT 10: halves flow from cast to cast, and layers are held to them.

The layers here answer as those of 8.5.3.1 did on an H200: what no cast made says FLOAT.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from helmsight.runtime.engines import Library
from helmsight.runtime.engines.network import Parsed, configure, graph_types, tensor_types


class Layer:
    """`made` are the tensors that it makes, with a type where the parser set one, as it does for a cast."""

    def __init__(self, kind: str, takes: list[str], made: dict[str, str | None]) -> None:
        self.type = f"LayerType.{kind}"
        self.precision: Any = None
        self.held: dict[int, str] = {}
        self._takes, self._made = takes, made
        self.num_inputs, self.num_outputs = len(takes), len(made)

    def get_input(self, i: int) -> Any:
        return SimpleNamespace(name=self._takes[i]) if self._takes[i] else None

    def get_output(self, i: int) -> Any:
        name, kind = list(self._made.items())[i]
        return SimpleNamespace(name=name, dtype=f"DataType.{kind or 'FLOAT'}")

    def output_type_is_set(self, i: int) -> bool:
        return list(self._made.values())[i] is not None

    def set_output_type(self, i: int, kind: str) -> None:
        self.held[i] = kind


class Config:
    def __init__(self) -> None:
        self.flags = {"TF32"}

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)


def parsed(*layers: Layer) -> Parsed:
    flags = SimpleNamespace(**{name: name for name in ("TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")})
    module = SimpleNamespace(
        __version__="8.5.3.1",
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
        BuilderFlag=flags,
        ProfilingVerbosity=SimpleNamespace(DETAILED=1),
        float32="fp32",
        float16="fp16",
    )
    network = SimpleNamespace(num_inputs=0, num_layers=len(layers), get_layer=layers.__getitem__)
    builder = SimpleNamespace(create_builder_config=Config)
    return Parsed(Library("TensorRT", module), None, builder, network, None)


def half_network() -> tuple[Layer, ...]:
    return (
        Layer("IDENTITY", ["image"], {"float": "FLOAT"}),
        Layer("SHUFFLE", ["float"], {"turned": None}),
        Layer("IDENTITY", ["turned"], {"half": "HALF"}),
        Layer("CONSTANT", [], {"mean": None}),
        Layer("ELEMENTWISE", ["half", "mean"], {"centred": None}),
        Layer("CONVOLUTION", ["centred", ""], {"found": None}),
        Layer("SHAPE", ["found"], {"size": "INT32"}),
        Layer("IDENTITY", ["found"], {"same": None}),
        Layer("MATRIX_MULTIPLY", ["mean", "same"], {"product": None}),
        Layer("IDENTITY", ["product"], {"scores": "FLOAT"}),
        Layer("ACTIVATION", ["scores"], {"out": None}),
    )


def test_halves_flow_from_a_cast_to_the_next_one() -> None:
    types = tensor_types(parsed(*half_network()))
    assert {name for name, kind in types.items() if kind == "HALF"} == {"half", "centred", "found", "same", "product"}
    assert types["size"] == "INT32"
    assert graph_types(parsed(*half_network())) == {"fp16": 2}


def test_layers_of_floats_are_held_to_the_types_of_the_graph() -> None:
    layers = half_network()
    config = configure(parsed(*layers), {})
    assert config.flags == {"FP16", "OBEY_PRECISION_CONSTRAINTS"}
    held = {next(iter(layer._made)): (layer.precision, layer.held) for layer in layers if layer.precision}
    assert held == {
        "turned": ("fp32", {0: "fp32"}),
        "centred": ("fp16", {0: "fp16"}),
        "found": ("fp16", {0: "fp16"}),
        "product": ("fp16", {0: "fp16"}),
        "out": ("fp32", {0: "fp32"}),
    }


def test_a_network_in_float32_allows_nothing_else() -> None:
    layers = (Layer("CONVOLUTION", ["image"], {"found": None}),)
    assert configure(parsed(*layers), {}).flags == {"OBEY_PRECISION_CONSTRAINTS"}
    assert layers[0].precision == "fp32"


def test_pairs_of_q_and_dq_say_where_int8_is() -> None:
    layers = (
        Layer("QUANTIZE", ["image"], {"q": "INT8"}),
        Layer("DEQUANTIZE", ["q"], {"dq": None}),
        Layer("CONVOLUTION", ["dq"], {"found": None}),
    )
    assert configure(parsed(*layers), {}).flags == {"INT8"}
    assert layers[2].precision is None
    assert graph_types(parsed(*layers)) == {"int8": 1}
