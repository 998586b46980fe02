"""The layers of a network in a record: their times, what they compute and move, how much of the roofline that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..json_form import NUMBER, Fields, Rows
from .rates import Rates

_MAYBE = (int, float, type(None))
FORM = Fields(
    {
        "profiler": str,
        "runs": int,
        "run_ms": NUMBER,
        "rates": Fields({"peak_gflops": _MAYBE, "bandwidth_gb_s": _MAYBE, "origin": str}),
        "layers": Rows(
            Fields(
                {
                    "name": str,
                    "module": (str, type(None)),
                    "operator": str,
                    "ms": NUMBER,
                    "operations": _MAYBE,
                    "moved_bytes": _MAYBE,
                }
            )
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as the engine runs it, which may be several nodes of the graph in one.

    `module` is the path in PyTorch of what was written there ("": the network itself), None where it is not known, as
    of a layer that the engine put in. `ms` is the median over the runs. `operations` (two a multiply-accumulate; 0
    where there are none) and `moved_bytes` (inputs, weights and outputs, each once) are None where they are not known.
    """

    name: str
    module: str | None
    operator: str
    ms: float
    operations: int | None
    moved_bytes: int | None

    @property
    def title(self) -> str:
        """Its place in PyTorch, or else its name, with what it does: `stem.2 (Conv)`."""
        return f"{self.module or self.name}{f' ({self.operator})' if self.operator else ''}"


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """The layers in the order in which they ran, over `runs` runs; `run_ms` is the median of a whole one, profiled."""

    profiler: str
    runs: int
    run_ms: float
    rates: Rates
    layers: tuple[Layer, ...]

    @property
    def layers_ms(self) -> float:
        """All layers together; what is missing to `run_ms` the engine spends between them."""
        return sum(layer.ms for layer in self.layers)

    def slowest(self, n: int) -> list[Layer]:
        """The first `n` by time, the slowest first."""
        return sorted(self.layers, key=lambda layer: -layer.ms)[:n]

    def shares(self, n: int) -> list[str]:
        """The slowest `n` in words, such as `stem.2 (Conv) 10.3 %`."""
        return [f"{layer.title} {100 * layer.ms / max(self.layers_ms, 1e-9):.1f} %" for layer in self.slowest(n)]

    def of_roofline(self, layer: Layer) -> tuple[float, str] | None:
        """The share of the roofline that `layer` reaches, and what bounds it: `compute` or `memory`.

        That is the least time that peak and bandwidth allow, over its own (Williams et al., CACM 52(4), 2009). It is
        above 1 where data stayed in a cache. None where its bytes or a rate that it needs are not known.
        """
        peak, bandwidth = self.rates.peak_gflops, self.rates.bandwidth_gb_s
        if layer.operations is None or layer.moved_bytes is None or bandwidth is None or not layer.ms:
            return None
        if peak is None and layer.operations:
            return None
        compute_ms = layer.operations / peak / 1e6 if peak else 0.0
        memory_ms = layer.moved_bytes / bandwidth / 1e6
        return max(compute_ms, memory_ms) / layer.ms, "compute" if compute_ms > memory_ms else "memory"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"layers_ms": self.layers_ms}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerProfile:
        """What `to_json` made; `FORM` is its form."""
        rates = Rates(*(data["rates"][f.name] for f in fields(Rates)))
        layers = tuple(Layer(*(one[f.name] for f in fields(Layer))) for one in data["layers"])
        return cls(data["profiler"], data["runs"], data["run_ms"], rates, layers)
