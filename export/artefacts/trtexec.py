"""For boards whose Python is too old for helmsight (JetPack 4 and 5): an ONNX file that their TensorRT reads, and the
line of `trtexec`, which JetPack brings, that builds an engine of it, times it, and tells what it computes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...devices.errors import BadArtefact, need
from ...runtime.bundle import Manifest, sha256
from ...runtime.parity import plain_onnx_run
from ..inputs import Feeds
from ..nvidia import at_fixed_size, cast_first, for_tensorrt, with_float_inputs
from ..older import spell_out_norms, to_opset
from ..precision import read_precision
from ..to_onnx import read_opset
from . import Order, same_network

if TYPE_CHECKING:
    from onnx import ModelProto

MODEL, SCRIPT, README = "trtexec.onnx", "trtexec.sh", "trtexec.md"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARSER_8_2 = _words(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip
    Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity If InstanceNormalization IsNaN LRN LSTM
    LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean Min Mul Neg
    NonMaxSuppression Not Or PRelu Pad Pow QuantizeLinear RNN RandomUniform RandomUniformLike Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence Round Scan Scatter ScatterElements ScatterND Selu Shape
    Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where
    """
)
"""The operators of builtin_op_importers.cpp of onnx-tensorrt at release/8.2-GA."""
_PARSER_8_5 = _PARSER_8_2 | _words(
    """
    GridSample HardSwish MeanVarianceNormalization Mod NonZero OneHot RandomNormal RandomNormalLike RoiAlign Shrink
    Trilu Xor
    """
)
"""The same at release/8.5-GA."""


@dataclass(frozen=True, slots=True)
class _Version:
    """What one TensorRT of JetPack wants.

    `takes_bytes`: it has uint8 inputs; `holds_types`: its trtexec can be told the type of a layer; `workspace` is its
    option for a GiB of scratch memory.
    """

    name: str
    opset: int
    operators: frozenset[str]
    takes_bytes: bool
    holds_types: bool
    workspace: str


VERSIONS = {
    13: _Version("TensorRT 8.2", 13, _PARSER_8_2, takes_bytes=False, holds_types=False, workspace="--workspace=1024"),
    17: _Version(
        "TensorRT 8.5", 17, _PARSER_8_5, takes_bytes=True, holds_types=True, workspace="--memPoolSize=workspace:1024"
    ),
}
"""By the newest operator set that it reads. The options are those of its own samples/common/sampleOptions.cpp."""


def make(order: Order) -> Mapping[str, Any]:
    """Write the file, the line and how to read what it prints; the file is compared with the bundle's.

    Raises BadArtefact with the node's name for what cannot be written in the older operator set or what the parser of
    that TensorRT does not have, GateFailed where an output differs.
    """
    version, manifest = VERSIONS[order.target.row.plan.opset], order.draft.manifest
    model = cast_first(need("onnx", "train").load(order.draft.model))
    model = at_fixed_size(model if version.takes_bytes else with_float_inputs(model), manifest.inputs)
    model = for_tensorrt(to_opset(spell_out_norms(model), version.opset))
    _check_operators(model, version)
    found = read_precision(model)
    file = order.folder / MODEL
    file.write_bytes(model.SerializeToString(deterministic=True))
    run = plain_onnx_run(file, manifest.outputs)
    compared = same_network(order, lambda feeds: run(_as_taken(feeds, version)))
    line = trtexec_line(version, tuple(found.weighted_ops))
    script = order.folder / SCRIPT
    script.write_text(f'#!/bin/sh\nset -e\ncd "$(dirname "$0")"\n{line}\n')
    named = order.target.name
    instead = (
        f"`helmsight-run` out of `-t {named}/ncnn`" if "ncnn" in order.target.row.artefacts else "`helmsight camera`"
    )
    (order.folder / README).write_text(_readme(manifest, named, version, line, instead))
    return {
        "precision": found.name,
        "real": found.to_json(),
        "read_back": "from the ONNX file; what the engine computes in, trtexec writes to trtexec.layers.json there",
        **compared,
        "opset": read_opset(model),
        "inputs": {spec.name: _dtype(spec.dtype, version) for spec in manifest.inputs},
        "engine": version.name,
        "sha256": sha256(file),
        "run": f"sh {SCRIPT}",
    }


def trtexec_line(version: _Version, types: tuple[str, ...]) -> str:
    """The command, for a network whose convolutions and matrix products have these types."""
    flags = [f"--{kind}" for kind in ("fp16", "int8") if kind in types]
    if types == ("fp16",) and version.holds_types:
        flags += ["--precisionConstraints=prefer", "--layerPrecisions=*:fp16"]
    return " ".join(
        [
            "/usr/src/tensorrt/bin/trtexec",
            f"--onnx={MODEL}",
            "--saveEngine=trtexec.engine",
            "--noTF32",
            *flags,
            version.workspace,
            "--timingCacheFile=trtexec.timing",
            "--profilingVerbosity=detailed",
            "--exportLayerInfo=trtexec.layers.json",
            "--exportTimes=trtexec.times.json",
            "--useCudaGraph",
            "--useSpinWait",
            "--separateProfileRun",
        ]
    )


def _check_operators(model: ModelProto, version: _Version) -> None:
    for node in model.graph.node:
        if node.op_type not in version.operators:
            name = node.name or node.output[0]
            raise BadArtefact(
                f"node {name!r}: the parser of {version.name} has no {node.op_type}; write it with other operators"
            )


def _dtype(dtype: str, version: _Version) -> str:
    return "float32" if dtype == "uint8" and not version.takes_bytes else dtype


def _as_taken(feeds: Mapping[str, NDArray[Any]], version: _Version) -> Feeds:
    """The feeds in the dtypes of the older file."""
    return {name: np.asarray(values, _dtype(str(values.dtype), version)) for name, values in feeds.items()}


def _readme(manifest: Manifest, target: str, version: _Version, line: str, instead: str) -> str:
    """`instead` is what runs the network where TensorRT does not build it."""
    inputs = "\n".join(
        f"- `{s.name}`: {_dtype(s.dtype, version)} {'x'.join(map(str, s.shape))}, {s.layout} {s.colour}, values "
        f"{f'{s.range[0]:g} to {s.range[1]:g}' if s.range else 'not stated'}"
        for s in manifest.inputs
    )
    outputs = "\n".join(f"- `{s.name}`: {s.dtype}" for s in manifest.outputs)
    return f"""# {manifest.name} on {target}

{MODEL} is the network in ONNX opset {version.opset}, which {version.name} reads, at one size. Copy this folder to the
board and run

```sh
sh {SCRIPT}
```

which is

```sh
{line}
```

It builds `trtexec.engine` (it fits this TensorRT on this kind of board and no other), times it, and leaves the times in
`trtexec.times.json` and the layers with their types in `trtexec.layers.json`. {version.name} chooses a layer's type
itself among those that it is allowed: look there for what it really computes in.

Inputs:

{inputs}

Outputs:

{outputs}

Neither the file nor the line was run on such a board. {version.name} may fail to build it, as 8.5.3.1 did helmsight's
navigation network on another GPU: then what `trtexec` prints behind `[E]` says why, and {instead}
runs the network on the CPU.
"""
