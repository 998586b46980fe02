"""Files in the form in which other programs write their results; the figures are made up here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ORIN = (
    "RAM 1205/30623MB (lfb 6429x4MB) SWAP 0/15311MB (cached 0MB) CPU [4%@729,0%@729] EMC_FREQ 0%@204 GR3D_FREQ "
    "{share}%@[305,305] VIC off CV0@-256C cpu@{heat}C tj@{heat}C VDD_GPU_SOC {gpu}mW/{gpu}mW VDD_CPU_CV 800mW/800mW "
    "VIN_SYS_5V0 4000mW/4000mW"
)
NANO = (
    "RAM 1409/3964MB (lfb 28x4MB) SWAP 0/1982MB (cached 0MB) CPU [22%@518,67%@518,off,off] EMC_FREQ 0%@1600 GR3D_FREQ "
    "98%@921 APE 25 PLL@28.5C CPU@32C GPU@30.5C thermal@31.25C POM_5V_IN {watts}/2003 POM_5V_GPU 0/0 POM_5V_CPU 320/320"
)


def times_ms(middle: float = 2.0, n: int = 2000, seed: int = 0) -> Sequence[float]:
    """Latencies of `n` queries about a median."""
    return [float(t) for t in np.random.default_rng(seed).uniform(0.98, 1.02, n) * middle]


def trtexec_times(latencies_ms: Sequence[float], old: bool = False, warm_up: int = 2) -> str:
    """Of `--exportTimes`: `warm_up` queries of 100 ms, and then these. `old`: as TensorRT 7 wrote it."""
    come_in, go_out = ("in", "out") if old else ("h2d", "d2h")
    queries, t = [], 0.0
    for latency in [100.0] * warm_up + list(latencies_ms):
        a, b = 0.1 * latency, 0.05 * latency
        queries.append({
            f"start{come_in.title()}Ms": t, f"end{come_in.title()}Ms": t + a, "startComputeMs": t + a,
            "endComputeMs": t + latency - b, f"start{go_out.title()}Ms": t + latency - b,
            f"end{go_out.title()}Ms": t + latency,
            f"{come_in}Ms": a, "computeMs": latency - a - b, f"{go_out}Ms": b, "latencyMs": latency,
        })  # fmt: skip
        t += latency
    return "[\n  " + "\n, ".join(json.dumps(one) for one in queries) + "\n]\n"


def trtexec_profile(layers_ms: dict[str, float], medians: bool = True) -> str:
    """Of `--exportProfile`, over 100 runs."""
    total = sum(layers_ms.values())
    rows = [
        {"name": name, "timeMs": 110 * ms, "averageMs": 1.1 * ms, "percentage": 100 * ms / total}
        | ({"medianMs": ms} if medians else {})
        for name, ms in layers_ms.items()
    ]
    return "[\n  " + "\n, ".join(json.dumps(one) for one in [{"count": 100}, *rows]) + "\n]\n"


def loadgen_summary(scenario: str = "SingleStream", verdict: str = "VALID") -> str:
    """`mlperf_log_summary.txt`."""
    rule = "=" * 48
    headline = {
        "SingleStream": "90th percentile latency (ns) : 2500000",
        "Offline": "Samples per second: 812.5",
        "Server": "Scheduled samples per second : 400.00",
    }[scenario]
    rates = {"SingleStream": "QPS w/ loadgen overhead         : 410.10\nQPS w/o loadgen overhead        : 425.00\n"}
    rates["Server"] = "Completed samples per second    : 398.50\n"
    return f"""{rule}
MLPerf Results Summary
{rule}
SUT name : made up
Scenario : {scenario}
Mode     : PerformanceOnly
{headline}
Result is : {verdict}
  Min duration satisfied : Yes
  Min queries satisfied : Yes
  Early stopping satisfied: Yes
Early Stopping Result:
 * Processed at least 64 queries (24601).
 * Would discard 2404 highest latency queries.
 * Early stopping 90th percentile estimate: 2500400

{rule}
Additional Stats
{rule}
{rates.get(scenario, "")}
Min latency (ns)                : 2100000
Max latency (ns)                : 9000000
Mean latency (ns)               : 2350000
50.00 percentile latency (ns)   : 2300000
90.00 percentile latency (ns)   : 2500000
95.00 percentile latency (ns)   : 2600000
97.00 percentile latency (ns)   : 2700000
99.00 percentile latency (ns)   : 3100000
99.90 percentile latency (ns)   : 5000000

{rule}
Test Parameters Used
{rule}
samples_per_query : 1
target_qps : 400
target_latency (ns): 0
min_duration (ms): 60000

No warnings encountered during test.

No errors encountered during test.
"""


def polygraphy_run(runners: dict[str, Sequence[float | None]], legacy: bool = False) -> str:
    """Of `polygraphy run --save-outputs`: seconds of each runner's iterations."""

    def marked(kind: str, values: dict[str, object]) -> dict[str, object]:
        mark = {f"__polygraphy_encoded_{kind}": "polygraphy_serialized_json_type"} if legacy else {}
        return values | (mark or {"polygraphy_class": kind})

    array = marked("LazyNumpyArray", {"values": marked("ndarray", {"array": "k05VTVBZAQ=="})})
    lst = [
        [
            name,
            [marked("IterationResult", {"outputs": {"y": array}, "runtime": t, "runner_name": name}) for t in runtimes],
        ]
        for name, runtimes in runners.items()
    ]
    return json.dumps(marked("RunResults", {"lst": lst}), indent=4)


def ultralytics_table(polars: bool = False) -> str:
    """Of `yolo benchmark`: formats that failed among others. `polars`: as it wraps cells and leaves out rows."""
    title = "\nBenchmarks complete for yolo-made-up.pt on coco8.yaml at imgsz=640 (47.38s)\n"
    if polars:
        return title + (
            "shape: (5, 7)\n"
            "┌─────┬────────────┬─────────┬───────────┬─────────────────────┬────────────────┬───────┐\n"
            "│     ┆ Format     ┆ Status❔ ┆ Size (MB) ┆ metrics/mAP50-95(B) ┆ Inference time ┆ FPS   │\n"
            "│ --- ┆ ---        ┆ ---     ┆ ---       ┆ ---                 ┆ (ms/im)        ┆ ---   │\n"
            "│ str ┆ str        ┆ str     ┆ str       ┆ str                 ┆ ---            ┆ str   │\n"
            "│     ┆            ┆         ┆           ┆                     ┆ str            ┆       │\n"
            "╞═════╪════════════╪═════════╪═══════════╪═════════════════════╪════════════════╪═══════╡\n"
            "│ 1   ┆ PyTorch    ┆ ✅      ┆ 6.2       ┆ 0.6381              ┆ 102.97         ┆ 9.71  │\n"
            "│ 2   ┆ TensorFlow ┆ ✅      ┆ 30.6      ┆ 0.6092              ┆ 90.53          ┆ 11.05 │\n"
            "│     ┆ SavedModel ┆         ┆           ┆                     ┆                ┆       │\n"
            "│ …   ┆ …          ┆ …       ┆ …         ┆ …                   ┆ …              ┆ …     │\n"
            "│ 5   ┆ TensorRT   ┆ ❌      ┆ 0.0       ┆ -                   ┆ -              ┆ -     │\n"
            "└─────┴────────────┴─────────┴───────────┴─────────────────────┴────────────────┴───────┘\n"
        )
    return title + (
        "                   Format Status❔  Size (MB)  metrics/mAP50-95(B)  Inference time (ms/im)   FPS\n"
        "0                 PyTorch       ✅        6.2               0.6381                  102.97  9.71\n"
        "1             TorchScript       ✅       12.4               0.6092                  250.21  4.00\n"
        "2                    ONNX       ❎       12.2                  NaN                     NaN   NaN\n"
        "3                TensorRT       ❌        0.0                  NaN                     NaN   NaN\n"
        "4   TensorFlow SavedModel       ✅       30.6               0.6092                   90.53 11.05\n"
    )


def tegrastats_log(gpu_mw: Sequence[int] = (4000, 5000, 6000), timed: bool = True) -> str:
    """Of an AGX Orin, a line a second; without `timed` of a Nano, whose JetPack writes no time."""
    if not timed:
        return "".join(NANO.format(watts=mw) + "\n" for mw in gpu_mw)
    lines = [ORIN.format(share=50 + i, heat=43.5 + i, gpu=mw) for i, mw in enumerate(gpu_mw)]
    return "".join(f"10-16-2026 10:59:{22 + i:02d} {line}\n" for i, line in enumerate(lines))


def every_file(folder: Path) -> dict[str, Path]:
    """One of each, by the program that writes it, all with names that say nothing."""
    texts = {
        "trtexec --exportTimes": trtexec_times(times_ms()),
        "trtexec --exportProfile": trtexec_profile({"conv1 + relu1": 0.8, "fc": 0.2}),
        "MLPerf loadgen": loadgen_summary(),
        "Polygraphy": polygraphy_run({"trt-runner": [0.004, 0.002, 0.002]}),
        "tegrastats": tegrastats_log(),
        "ultralytics benchmark": ultralytics_table(),
    }
    found = {}
    for number, (program, text) in enumerate(texts.items()):
        found[program] = folder / f"result-{number}"
        found[program].write_text(text)
    return found
