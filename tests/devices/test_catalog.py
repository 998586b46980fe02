"""The catalogue is data that people edit: these tests are what checks an entry that they add."""

import re
from pathlib import Path
from typing import get_args

import pytest

from helmsight.devices.device import CATALOG, Confidence, Device, Gpu, catalog, device, read_catalog
from helmsight.devices.errors import BadArtefact, UsageError

GPUS = [(d.id, d.gpu) for d in catalog() if d.gpu]

# Floating-point operations of one tensor core in one cycle, dense FP16: NVIDIA's white papers of V100, A100 and H100.
# Orin's cores run at A100's rate. Blackwell is left out: its catalogue entries say that they are not computed.
TENSOR_FLOP = {"Volta": 128, "Turing": 128, "Ampere": 512, "Hopper": 1024}


def by_id(pairs: list[tuple[str, Gpu]]) -> dict[str, object]:
    return {"argvalues": [gpu for _, gpu in pairs], "ids": [name for name, _ in pairs]}


@pytest.mark.parametrize("d", catalog(), ids=lambda d: d.id)
def test_every_figure_has_a_source_and_a_confidence(d: Device) -> None:
    assert d.groups()
    for group in d.groups().values():
        assert group.known()
        assert set(group.origins) <= set(group.known())
        for figure, record in group.to_json().items():
            assert record["source"], figure
            assert record["confidence"] in get_args(Confidence), figure


@pytest.mark.parametrize("d", catalog(), ids=lambda d: d.id)
def test_a_figure_from_memory_is_never_marked_better(d: Device) -> None:
    for group in d.groups().values():
        for figure, record in group.to_json().items():
            if re.search(r"\bmemory\b|\bnot opened\b", record["source"]):
                assert record["confidence"] == "memory", f"{d.id} {figure}"


@pytest.mark.parametrize("d", catalog(), ids=lambda d: d.id)
def test_figures_are_in_the_units_of_their_names(d: Device) -> None:
    gpu, memory, power, price = d.gpu, d.memory, d.power, d.price
    assert memory.size_gb is None or 1 <= memory.size_gb <= 1000
    assert 10 <= memory.bandwidth_gb_s <= 10_000
    if gpu:
        assert gpu.clock_mhz is None or 100 <= gpu.clock_mhz <= 4000
        assert 100 <= gpu.fp32_gflops <= 200_000
        assert re.fullmatch(r"\d+\.\d", gpu.compute_capability)
        assert (gpu.fp16_gflops is None) == (gpu.fp16_path == "none")
        assert (gpu.int8_gops is None) == (gpu.int8_path == "none")
        assert (gpu.tensor_cores > 0) == (gpu.fp16_path == "tensor")
    if power:
        watts = [*power.modes_w, *(w for w in (power.gpu_max_w, power.board_max_w) if w)]
        assert watts
        assert all(1 <= w <= 20_000 for w in watts)
    if price:
        assert 50 <= price.usd <= 1_000_000
        assert price.usd_high is None or price.usd_high > price.usd


@pytest.mark.parametrize("gpu", **by_id(GPUS))
def test_fp32_peak_is_two_operations_a_core_and_cycle(gpu: Gpu) -> None:
    if gpu.clock_mhz is None:
        pytest.skip("the maker publishes no clock")
    assert gpu.fp32_gflops == pytest.approx(2 * gpu.cuda_cores * gpu.clock_mhz / 1e3, rel=0.02)


@pytest.mark.parametrize("gpu", **by_id([(i, g) for i, g in GPUS if g.fp16_path == "cuda"]))
def test_packed_half_precision_is_twice_fp32(gpu: Gpu) -> None:
    assert gpu.fp16_gflops == pytest.approx(2 * gpu.fp32_gflops, rel=0.02)


@pytest.mark.parametrize("gpu", **by_id([(i, g) for i, g in GPUS if g.architecture in TENSOR_FLOP and g.tensor_cores]))
def test_tensor_peak_follows_from_cores_and_clock(gpu: Gpu) -> None:
    """Within 10 %: Hopper's tensor cores run at a lower clock than its other ones."""
    assert gpu.clock_mhz
    computed = gpu.tensor_cores * TENSOR_FLOP[gpu.architecture] * gpu.clock_mhz / 1e3
    assert gpu.fp16_gflops == pytest.approx(computed, rel=0.1)


@pytest.mark.parametrize("gpu", **by_id([(i, g) for i, g in GPUS if g.int8_path != "none"]))
def test_int8_peak_follows_from_its_path(gpu: Gpu) -> None:
    assert gpu.fp16_gflops
    expected = 2 * gpu.fp16_gflops if gpu.int8_path == "tensor" else 4 * gpu.fp32_gflops
    assert gpu.int8_gops == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("d", catalog(), ids=lambda d: d.id)
def test_power_modes_rise(d: Device) -> None:
    if d.power:
        assert list(d.power.modes_w) == sorted(set(d.power.modes_w))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jetson-tk1", "jetson-tk1"),
        ("TK1", "jetson-tk1"),
        ("jetson-orin-nano", "jetson-orin-nano-8g"),
        ("jetson-agx-orin", "jetson-agx-orin-64g"),
        ("jetson-thor", "jetson-thor-t5000"),
        ("dgx-1", "dgx-1-p100"),
        (" dgx-spark ", "dgx-spark"),
    ],
)
def test_a_device_is_found_by_id_and_alias(name: str, expected: str) -> None:
    assert device(name).id == expected


def test_an_unknown_device_names_close_ones() -> None:
    with pytest.raises(UsageError, match=r"no device 'jetson-nanoo'; did you mean jetson-nano"):
        device("jetson-nanoo")


def test_an_unknown_device_without_a_likeness_names_all() -> None:
    with pytest.raises(UsageError, match=r"known are jetson-tk1, .*dgx-spark"):
        device("zzz")


def test_the_two_prices_that_span_the_catalogue() -> None:
    tk1, dgx1 = device("jetson-tk1").price, device("dgx-1").price
    assert tk1
    assert (tk1.usd, tk1.usd_high) == (192, 199.99)
    assert tk1.origin_of("usd").confidence == "secondary"
    assert tk1.origin_of("usd_high").confidence == "memory"
    assert dgx1
    assert dgx1.usd == 129_000


def test_only_what_ran_is_said_to_have_run() -> None:
    """The README says the same, with what of it ran."""
    assert {d.served_by.key for d in catalog() if d.served_by.state == "works"} == {"cpu"}
    assert {d.served_by.key for d in catalog() if d.served_by.state == "ran"} == {"tensorrt-h200"}


@pytest.mark.parametrize("name", ["jetson-tk1", "jetson-nano", "jetson-tx2", "jetson-agx-xavier"])
def test_a_board_whose_python_is_too_old_is_said_to_run_nothing(name: str) -> None:
    assert device(name).served_by.today.startswith("nothing")


GOOD = """
[serving.cpu]
how = "ONNX Runtime on the CPU"
state = "built"
today = "ONNX Runtime on the CPU"
[[device]]
id = "toy"
name = "Toy"
family = "reference"
served_by = "cpu"
[device.memory]
from = { source = "its data sheet", confidence = "verified" }
bandwidth_gb_s = 10
unified = true
"""


def test_a_block_that_a_user_adds_is_read(tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(GOOD)
    (toy,) = read_catalog(file)
    assert toy.memory.origin_of("bandwidth_gb_s").source == "its data sheet"
    assert toy.gpu is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bandwidth_gb_s = 10", "", "toy.*bandwidth_gb_s"),
        ("bandwidth_gb_s = 10", "bandwidth_gb_s = 10\nbandwith = 11", "toy.*bandwith"),
        (
            "bandwidth_gb_s = 10",
            'bandwidth_gb_s = 10\nsize_gb_from = { source = "x", confidence = "memory" }',
            "size_gb",
        ),
        ('confidence = "verified"', 'confidence = "sure"', "toy.*sure.*verified, secondary, memory"),
        ('served_by = "cpu"', 'served_by = "gpu"', "toy.*gpu"),
        ('served_by = "cpu"', 'served_by = "cpu"\naliases = ["toy"]', "toy more than once"),
        ("[[device]]", "[[device]", "is no catalogue"),
    ],
)
def test_a_block_with_a_mistake_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(BadArtefact, match=said):
        read_catalog(file)


def test_a_catalogue_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=r"nothing\.toml is no catalogue"):
        read_catalog(tmp_path / "nothing.toml")


def test_the_catalogue_ships_beside_its_reader() -> None:
    assert CATALOG.is_file()
