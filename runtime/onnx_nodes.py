"""An ONNX graph's nodes, read on a board without onnx: what an engine's layers are called in PyTorch, and their work.

An engine fuses nodes and gives the result a name of its own; `OnnxGraph.find` leads back from that name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from .manifest import DTYPE_BYTES
from .protobuf import BYTES, VARINT, Walk, entry, fields, numbers, text

MODULE_PATH = "pkg.torch.onnx.name_scopes"
"""The entry of a node's metadata in which torch's exporter writes the modules that it lies in, and its own name."""

SOURCE_LINE = "helmsight.source_line"
"""The entry in which export writes the line of the user's code that a node is from: `net.py:12`, no folder."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose multiply-accumulates are counted."""

LONGEST_CHAIN = 6
"""Nodes from one that is looked for to where it is known; a file that was forged may go round in a circle."""

_PASSING = ("DequantizeLinear", "QuantizeLinear", "Cast", "Identity", "Transpose", "Reshape")
"""What may stand between a stored weight and the operator that it belongs to."""

_DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"},
}
"""Numbers of onnx.proto's TensorProto.DataType."""

_NAMES = re.compile(r"[\s+,(){}\[\]]+|\.\.\.")
"""What stands between the names of nodes in the name that TensorRT gives to the layer made of them."""

_WORD = re.compile(r"[\w./:]*\w")
"""What may be the name of a node or of an operator in a message."""

_LINE = re.compile(r"[\w.-]{1,100}:\d{1,9}")
"""What a SOURCE_LINE looks like: whoever made the file may have written anything."""

_WEIGHT = re.compile(r"(?:ConvBnFusion_W_)?(.+)\.weight(?:_\w+)?")
"""The name of a module's weight, and of what quantising makes of it, or ONNX Runtime of a folded normalisation."""

_ADDED = re.compile(r"^InsertedPrecisionFreeCast_|_token_\d+$")
"""What ONNX Runtime writes before the name of a tensor that it cast, and behind that of a node that it fused."""

_OF_NONE = ("Reformatting CopyNode", "ReorderInput", "ReorderOutput")
"""Layers that an engine puts between others, though the name of one may be in theirs."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node. `module` is its path in PyTorch, as `named_modules` has it ("": the network), None if not known.

    `line` is that of the code, `net.py:12`, "" if not known.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str | None
    line: str = ""

    @property
    def place(self) -> str:
        """Where it is in the network, "" if nothing is known."""
        inside = f"in {self.module}" if self.module else ""
        return ", ".join(part for part in (inside, f"at {self.line}" if self.line else "") if part)


@dataclass(frozen=True, slots=True)
class Weight:
    """A stored tensor: its shape, the bytes that its numbers take, and those where they are stored in one piece."""

    shape: tuple[int, ...]
    size_bytes: int
    data: memoryview | None = None


# Without slots: what is looked up is kept in the instance's dict.
@dataclass(frozen=True)
class OnnxGraph:
    """The main graph of a file: its nodes in order, and its stored tensors by name."""

    nodes: tuple[Node, ...]
    weights: Mapping[str, Weight]

    def find(self, layer: str, operator: str = "") -> tuple[Node, ...]:
        """The nodes that an engine's `layer` was made of, none where it does not tell or put the layer in itself.

        ONNX Runtime calls a layer as its node, `fused NODE`, `NODE_token_7`, `NODE/FUSION/...`, or by the tensor that
        it gives, `TENSOR_nchwc`, where that may be one of an activation behind the `operator`; TensorRT joins names.
        """
        if layer in self._by_name:
            return (self._by_name[layer],)
        if layer.startswith(_OF_NONE):
            return ()
        layer = _ADDED.sub("", layer)
        if layer.endswith("_nchwc"):
            return self._behind(layer.removesuffix("_nchwc"), operator)
        found = tuple(self._by_name[part] for part in _NAMES.split(layer) if part in self._by_name)
        while layer and not found:
            layer = layer.rpartition("/")[0]
            found = (self._by_name[layer],) if layer in self._by_name else ()
        return found

    def places(self, said: str) -> str:
        """Where the nodes are that a message names, to be put behind it: `; node_det is in blocks.1, at net.py:12`.

        For ncnn, which names operators by PyTorch's or its own names, those of that operator.
        """
        words = dict.fromkeys(_WORD.findall(said))
        named = {word: self._by_name[word] for word in words if word in self._by_name}
        for word in () if named else words:
            kind = word.rpartition(".")[2].replace("_", "").lower() if word.startswith("torch.") else ""
            same = [n for n in self.nodes if n.operator == word or (kind and n.operator.lower() == kind)]
            if same:
                named[word] = same[0]
        return "".join(f"; {word} is {node.place}" for word, node in named.items() if node.place)

    def weight_of(self, node: Node) -> Weight | None:
        """The stored weight of a convolution or a product, through what dequantises or casts it."""
        for name in node.inputs[1:2] if node.operator != "MatMul" else node.inputs[:2][::-1]:
            for _ in range(LONGEST_CHAIN):
                maker = self._makers.get(name)
                if name in self.weights or maker is None or maker.operator not in _PASSING or not maker.inputs:
                    break
                name = maker.inputs[0]
            if name in self.weights:
                return self.weights[name]
        return None

    def _behind(self, tensor: str, operator: str) -> tuple[Node, ...]:
        """The node that makes `tensor`, and those before it up to the one of `operator`."""
        found: list[Node] = []
        while tensor in self._makers and len(found) < LONGEST_CHAIN:
            found.append(self._makers[tensor])
            if found[-1].operator == operator or not found[-1].inputs:
                break
            tensor = found[-1].inputs[0]
        same = [at for at, node in enumerate(found) if node.operator == operator]
        return tuple(reversed(found[: same[0] + 1] if same else found[:1]))

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes if node.name}

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}


def read_graph(data: bytes, name: str) -> OnnxGraph:
    """The graph of an ONNX file that was checked before; `name` says in messages which file it is.

    Raises BadArtefact for what is no protobuf message.
    """
    walk = Walk(name)
    nodes: list[Node] = []
    weights: dict[str, Weight] = {}
    for graph in (one for one in fields(memoryview(data), walk) if one.number == 7 and one.wire == BYTES):
        for one in fields(graph.data, walk):
            if one.number == 1 and one.wire == BYTES:
                nodes.append(_node(one.data, walk))
            elif one.number == 5 and one.wire == BYTES:
                called, weight = _weight(one.data, walk)
                weights[called] = weight
    return OnnxGraph(tuple(nodes), weights)


def read_opset(data: bytes, name: str) -> int:
    """The version of ONNX's own operator set that a file asks for, 0 where it does not say; `name` as in `read_graph`.

    Raises BadArtefact for what is no protobuf message.
    """
    walk = Walk(name)
    versions = [0]
    for one in (one for one in fields(memoryview(data), walk) if one.number == 8 and one.wire == BYTES):
        domain, version = "", 0
        for part in fields(one.data, walk):
            domain = text(part.data) if part.number == 1 and part.wire == BYTES else domain
            version = part.value if part.number == 2 and part.wire == VARINT else version
        versions.append(version if domain in ("", "ai.onnx") else 0)
    return max(versions)


def ranks_fit(operator: str, first: Sequence[int], second: Sequence[int], out: Sequence[int]) -> bool:
    """Whether shapes may be those of one of WEIGHTED, whose `macs` count then; an engine may add sides of 1 behind."""
    if operator == "MatMul":  # numpy's rule: a vector gets a side, which the output then lacks
        vectors = (len(first) == 1) + (len(second) == 1)
        return bool(first and second) and len(out) == max(len(first), len(second), 2) - vectors
    least = 2 if operator == "Gemm" else 3
    return min(len(first), len(second), len(out)) >= least


def macs(operator: str, first: Sequence[int], second: Sequence[int], out: Sequence[int]) -> int:
    """Multiply-accumulates of one of WEIGHTED, 0 for other operators, by the shapes of its inputs and its output.

    Where an engine pads the channels of a convolution's output, those of its weight count.
    """
    if operator == "Conv":  # weight (out, in / groups, kernel...): each output sums over in / groups x kernel
        return prod(out[:1]) * prod(out[2:]) * prod(second)
    if operator == "ConvTranspose":  # weight (in, out / groups, kernel...): each input is spread over the rest
        return prod(first) * prod(second[1:])
    if operator == "Gemm":
        return out[0] * prod(second)
    return prod(out) * first[-1] if operator == "MatMul" else 0


def _node(data: memoryview, walk: Walk) -> Node:
    texts: dict[int, list[str]] = {}
    scopes = line = ""
    for one in fields(data, walk):
        if one.wire == BYTES and one.number in (1, 2, 3, 4):
            texts.setdefault(one.number, []).append(text(one.data))
        elif one.wire == BYTES and one.number == 9:
            key, value = entry(one.data, walk)
            scopes = value if key == MODULE_PATH else scopes
            line = value if key == SOURCE_LINE and _LINE.fullmatch(value) else line
    inputs, outputs = texts.get(1, []), texts.get(2, [])
    name, operator = (texts.get(number, [""])[-1] for number in (3, 4))
    # A batch normalisation that was folded into a convolution gave the node its own path; the weight kept its name.
    weight = _WEIGHT.fullmatch(inputs[1]) if operator in WEIGHTED and len(inputs) > 1 else None
    module = weight[1] if weight else _module(scopes) if scopes else _module_of_name(name)
    return Node(name, operator, tuple(inputs), tuple(outputs), module, line)


def _module(scopes: str) -> str | None:
    """`stem.2` of `['', 'stem.2', 'relu']`."""
    try:
        found = ast.literal_eval(scopes)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return str(found[-2]) if isinstance(found, list) and len(found) > 1 else None


def _module_of_name(name: str) -> str | None:
    """The path in a name that torch's older exporter gave: `layer1.0.conv1` of `/layer1/layer1.0/conv1/Conv`."""
    if not name.startswith("/"):
        return None
    parts: list[str] = []
    for part in name.split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def _weight(data: memoryview, walk: Walk) -> tuple[str, Weight]:
    dims: list[int] = []
    called, kind = "", 0
    raw: memoryview | None = None
    for one in fields(data, walk):
        if one.number == 1:
            dims += numbers(one, walk)
        elif one.number == 2 and one.wire == VARINT:
            kind = one.value
        elif one.number == 8 and one.wire == BYTES:
            called = text(one.data)
        elif one.number == 9 and one.wire == BYTES:
            raw = one.data
    return called, Weight(tuple(dims), prod(dims) * DTYPE_BYTES.get(_DTYPES.get(kind, ""), 0), raw)
