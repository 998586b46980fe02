"""Which networks fit a board's memory, and what is told where one does not."""

from __future__ import annotations

import pytest

from helmsight.devices.errors import DeviceMismatch
from helmsight.export.graph import GraphSummary
from helmsight.export.memory import check_memory
from helmsight.export.targets import Target, check_targets, row

MEGABYTE = 1_000_000


def summary(weights: int, peak: int | None) -> GraphSummary:
    return GraphSummary(0, 0, weights, peak, 1, 18, {}, peak)


def refused(name: str, precision: str, weights_mb: int, peak_mb: int) -> str:
    (target,) = check_targets([name], precision)
    with pytest.raises(DeviceMismatch) as caught:
        check_memory(target, summary(weights_mb * MEGABYTE, peak_mb * MEGABYTE))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_network_that_does_not_fit_is_refused_with_what_would() -> None:
    nano = Target(row("jetson-nano"), "fp32", "trtexec")
    # 4 GB, of which the system keeps 1 and TensorRT takes 0.8
    assert check_memory(nano, summary(500 * MEGABYTE, 600 * MEGABYTE)) == 2_900 * MEGABYTE
    said = refused("jetson-nano/trtexec", "fp32", 700, 600)
    assert "takes about 3.50 GB" in said
    assert "it has 3.00 GB" in said
    # fp16: 1.05 + 0.3 + 0.8 GB; the TX1 and the Nano have 4 GB, the next one has 8
    assert said.endswith(
        "use --precision fp16, or -t jetson-tx2, the smallest that holds it; or give it a smaller input"
    )


@pytest.mark.parametrize(
    ("name", "precision", "weights_mb", "step"),
    [
        ("jetson-nano", "fp32", 800, "use -t jetson-nano/ncnn, or --precision fp16, or"),
        ("jetson-nano", "fp16", 1500, "use -t jetson-tx2, the smallest"),
        ("jetson-tk1", "fp32", 500, "use -t jetson-tx1, the smallest"),
        ("jetson-orin-nano", "fp16", 4200, "use -t jetson-orin-nx-16g, the smallest"),
        ("rpi4b", "fp16", 2000, "use --precision int8; or give it"),
        ("jetson-thor", "int8", 90_000, "no larger board of its kind holds it; or give it a smaller input"),
    ],
)
def test_the_nearest_that_fits(name: str, precision: str, weights_mb: int, step: str) -> None:
    assert step in refused(name, precision, weights_mb, 50)


def test_a_lower_precision_takes_less() -> None:
    def takes(name: str, precision: str) -> int:
        (target,) = check_targets([name], precision)
        return check_memory(target, summary(100 * MEGABYTE, 10 * MEGABYTE)) // MEGABYTE

    assert [takes("jetson-orin-nano", p) for p in ("fp32", "fp16", "int8")] == [1110, 955, 960]
    assert [takes("rpi4b", p) for p in ("fp32", "fp16", "int8")] == [460, 305, 235]


def test_memory_that_nobody_knows_refuses_nothing() -> None:
    (cpu,) = check_targets(["cpu"], "fp32")
    assert check_memory(cpu, summary(10**12, None)) > 10**12
