"""int8: pairs of QuantizeLinear and DequantizeLinear by ONNX Runtime's static quantiser, calibrated on real inputs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices.errors import BadArtefact, need
from .inputs import Feeds
from .loading import first_line
from .lowering import MOVES, named

if TYPE_CHECKING:
    from onnx import ModelProto

FORMAT = "QDQ, activations uint8, weights int8 by channel"
"""U8S8: with int8 activations a CPU takes 1.5 to 2.4 times as long."""
NVIDIA_FORMAT = (
    "QDQ before convolutions, matrix products and sums, activations int8 with zero points of 0, weights int8 by "
    "channel with their pairs, biases float"
)
"""What every version of TensorRT reads: no uint8, no other zero point than 0, weights as QuantizeLinear gives them and
no quantised biases (docs/operators.md and QuantDequantLinearHelper of onnx-tensorrt, 8.2 to 10.0).

Pairs stand before what gains by int8 alone, as NVIDIA advises (Developer Guide, Q/DQ placement): the inputs of
weighted layers and of residual sums. What decodes their last outputs (Sigmoid, Log) stays in float; TensorRT fuses an
activation behind a convolution, and the pair behind that, by itself."""
NVIDIA_TYPES = ("Add", "Conv", "ConvTranspose", "Gemm", "MatMul")
_NVIDIA_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(NVIDIA_TYPES),
}


class Quantiser:
    """A `Lower` (see lowering.py) to int8. The ranges of activations are measured once, at the first call.

    `for_nvidia` makes it in NVIDIA_FORMAT in place of FORMAT.
    """

    def __init__(self, model: ModelProto, calibration: Sequence[Feeds], work: Path, for_nvidia: bool = False) -> None:
        need("onnxruntime", "cpu")
        from onnxruntime.quantization.quant_utils import add_pre_process_metadata
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        self._model, self._calibration, self._for_nvidia = model, calibration, for_nvidia
        self._ranges, self._file = work / "ranges.json", work / "int8.onnx"
        add_pre_process_metadata(model)  # or the quantiser complains that nobody folded it
        every = (QDQRegistry.keys() | QLinearOpsRegistry.keys()) - MOVES
        self._types = NVIDIA_TYPES if for_nvidia else tuple(every)
        self.layers: Mapping[str, str]
        self.layers, self.weighted = named(node for node in model.graph.node if node.op_type in self._types)

    def __call__(self, kept: Collection[str] = ()) -> ModelProto:
        onnx = need("onnx", "train")
        from onnxruntime import quantization as ort

        source = type(self._model)()
        source.CopyFrom(self._model)
        # Before 1.32 it measures at every call, and newer than 1.23 there is none for Python 3.10.
        remembers = "calibration_cache_path" in signature(ort.quantize_static).parameters
        try:
            ort.quantize_static(
                source,
                self._file,
                None if self._ranges.exists() else _Reader(self._calibration),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                activation_type=ort.QuantType.QInt8 if self._for_nvidia else ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
                op_types_to_quantize=list(self._types) if self._for_nvidia else None,
                nodes_to_exclude=list(kept),
                calibrate_method=ort.CalibrationMethod.MinMax,
                extra_options=_NVIDIA_OPTIONS if self._for_nvidia else {},
                **({"calibration_cache_path": self._ranges} if remembers else {}),
            )
            model: ModelProto = onnx.load(self._file)
            del model.graph.value_info[:]
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:  # the quantiser and the checker share no class
            raise BadArtefact(f"the network cannot be had in int8 ({first_line(error)})") from error
        return model

    def faithful(self, model: ModelProto) -> ModelProto:
        """`model` itself: ONNX Runtime has the kernels."""
        return model


class _Reader:
    """Feeds as the calibrator asks for them: one after the other, then None."""

    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self._feeds: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        return next(self._feeds, None)
