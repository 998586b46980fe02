"""What a network would take on a GPU that is not at hand, with an interval that says how sure that is.

A power law with a fixed cost in front of it: t = a + exp(b . x), x being logarithms of the time at the GPU's peak rate,
of its multiprocessors, of the time to read the weights and of the layers, and marks for precision and depthwise
convolutions. The more multiprocessors, the less of them one picture fills; the more layers, the smaller each is, and
each is launched.
`latency_model.json` has the coefficients, fitted by `python -m benchmarks.prediction` to published figures of
TensorRT at batch 1 (benchmarks/data/published_latency.csv); docs/prediction.md has how far off it is.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .device import Device, Gpu
from .errors import DeviceMismatch, UsageError

MODEL = Path(__file__).with_name("latency_model.json")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
FIRST_CAPABILITY = 5.0
"""TensorRT began with Maxwell."""
COVERAGE = 0.9
"""How often the interval holds the published figure, by cross-validation."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one query of a network asks for: `operations` (two a multiply-accumulate) and weights.

    `layers`: convolutions and matrix products. `depthwise`: a good part of its convolutions are.
    """

    operations: float
    parameters: float
    layers: int
    depthwise: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """Milliseconds of a network alone on `device`, batch 1, by TensorRT; the interval holds it `coverage` of the time.

    `outside` says in what it is not like anything that the model was fitted to: there the interval may be too narrow.
    """

    device: str
    precision: str
    ms: float
    low_ms: float
    high_ms: float
    coverage: float
    outside: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"predicted": True, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a GPU could do at the most in a precision, in 1e9 operations and 1e9 bytes a second."""

    peak_gflops: float
    bandwidth_gb_s: float
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """The coefficients; features are standardised by `mean` and `scale` first.

    `constant_ms` is a. `factor` bounds the interval: prediction over it, and times it. `operations` and `peak_gflops`
    are what it was fitted to, from the least to the most.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    constant_ms: float
    factor: float
    operations: tuple[float, float]
    peak_gflops: tuple[float, float]

    def ms(self, load: Load, precision: str, limits: Limits) -> float:
        """The prediction."""
        x = features(load, precision, limits)
        terms = zip(self.weights, x, self.mean, self.scale, strict=True)
        return self.constant_ms + math.exp(sum(w * (v - mean) / scale for w, v, mean, scale in terms))


def features(load: Load, precision: str, limits: Limits) -> tuple[float, ...]:
    """What the power law is of; the first is always 1."""
    at_peak_ms = load.operations / limits.peak_gflops / 1e6
    weights_ms = load.parameters * BYTES[precision] / limits.bandwidth_gb_s / 1e6
    logarithms = map(math.log, (at_peak_ms, limits.multiprocessors, weights_ms, load.layers))
    marks = (precision == "int8", precision == "fp16", load.depthwise)
    return (1.0, *logarithms, *map(float, marks))


def predict(device: Device, precision: str, load: Load) -> Prediction:
    """What `load` takes on `device` in `precision` (fp32, fp16 or int8).

    Raises DeviceMismatch where the device has no GPU that TensorRT ran on or not that precision, UsageError for another
    precision or a network without weighted operations.
    """
    if precision not in BYTES:
        raise UsageError(f"precision {precision}: no figures are published; expected {', '.join(BYTES)}")
    if not load.operations > 0 or not load.parameters > 0 or not load.layers > 0:
        raise UsageError("the network has no operations that could be counted; a prediction needs convolutions or such")
    gpu = device.gpu
    if gpu is None or float(gpu.compute_capability) < FIRST_CAPABILITY:
        raise DeviceMismatch(
            f"--on {device.id}: only GPUs that TensorRT runs on are predicted, and {device.name} has none such; "
            "measure on the board, with `helmsight profile` or the runner of docs/tk1.md"
        )
    limits = limits_of(device, precision)
    if limits is None:
        raise DeviceMismatch(f"--on {device.id}: {device.name} does not compute in {precision}; expected another")
    model = latency_model()
    ms = model.ms(load, precision, limits)
    outside = tuple(_outside(model, load, limits.peak_gflops))
    return Prediction(device.id, precision, ms, ms / model.factor, ms * model.factor, COVERAGE, outside)


def limits_of(device: Device, precision: str) -> Limits | None:
    """Of the device's GPU by the catalogue; None where it does not compute in that precision."""
    gpu = device.gpu
    peak = None if gpu is None else peak_gflops(gpu, precision)
    if gpu is None or peak is None or gpu.sm_count is None:
        return None
    return Limits(peak, device.memory.bandwidth_gb_s, gpu.sm_count)


def peak_gflops(gpu: Gpu, precision: str) -> float | None:
    """Peak rate in 1e9 operations a second. Where fp16 is storage only it runs as fast as fp32; int8 may be missing."""
    return {"fp32": gpu.fp32_gflops, "fp16": gpu.fp16_gflops or gpu.fp32_gflops, "int8": gpu.int8_gops}[precision]


@cache
def latency_model() -> LatencyModel:
    """The coefficients that ship."""
    data: dict[str, Any] = json.loads(MODEL.read_text())["model"]
    values: Any = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
    return LatencyModel(**values)


def _outside(model: LatencyModel, load: Load, peak: float) -> list[str]:
    low, high = model.operations
    said = []
    if not low <= load.operations <= high:
        than = "less than the least" if load.operations < low else "more than the most"
        said.append(f"{load.operations / 1e9:.3g}e9 operations are {than} of what it was fitted to")
    if not model.peak_gflops[0] <= peak <= model.peak_gflops[1]:
        rate = f"{peak / 1e3:,.0f}" if peak >= 1e5 else f"{peak / 1e3:.3g}"
        said.append(f"a peak of {rate}e12 a second is beyond what it was fitted to")
    return said
