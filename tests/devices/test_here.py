import json
import platform
from pathlib import Path

import pytest

from helmsight.devices.here import here, there

from .boards import NANO_CPUINFO, ORIN_CPUINFO, TEGRA, TK1_CPUINFO, TX2_CPUINFO, XEON_CPUINFO, board

L4T_R36 = TEGRA.format(release="R36", revision="4.3", board="generic", abi="aarch64")
L4T_R32 = TEGRA.format(release="R32", revision="7.1", board="t210ref", abi="aarch64")
L4T_R21 = TEGRA.format(release="R21", revision="4.0", board="ardbeg", abi="hard")

SUPER = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"


@pytest.mark.parametrize(
    ("model", "cpuinfo", "mem_total_kb", "l4t", "expected"),
    [
        ("NVIDIA Tegra124 Jetson TK1", TK1_CPUINFO, 1893016, L4T_R21, ("jetson-tk1", "R21.4.0")),
        ("jetson-tk1", TK1_CPUINFO, 1893016, L4T_R21, ("jetson-tk1", "R21.4.0")),
        ("NVIDIA Jetson Nano Developer Kit", NANO_CPUINFO, 4059328, L4T_R32, ("jetson-nano", "R32.7.1")),
        ("NVIDIA Jetson Nano 2GB Developer Kit", NANO_CPUINFO, 2027000, L4T_R32, (None, "R32.7.1")),
        ("quill", TX2_CPUINFO, 8037684, L4T_R32, ("jetson-tx2", "R32.7.1")),
        ("Jetson-AGX", NANO_CPUINFO, 32692948, L4T_R32, ("jetson-agx-xavier", "R32.7.1")),
        ("NVIDIA Jetson Orin Nano Developer Kit", ORIN_CPUINFO, 7802496, L4T_R36, ("jetson-orin-nano-8g", "R36.4.3")),
        (SUPER, ORIN_CPUINFO, 7802496, L4T_R36, ("jetson-orin-nano-super", "R36.4.3")),
        ("NVIDIA Jetson AGX Orin Developer Kit", ORIN_CPUINFO, 64349344, L4T_R36, ("jetson-agx-orin-64g", "R36.4.3")),
        ("NVIDIA Jetson AGX Orin Developer Kit", ORIN_CPUINFO, 31346940, L4T_R36, (None, "R36.4.3")),
        ("NVIDIA Jetson Xavier NX Developer Kit", NANO_CPUINFO, 15822000, L4T_R32, (None, "R32.7.1")),
        ("Raspberry Pi 4 Model B Rev 1.4", NANO_CPUINFO, 3884360, "", ("rpi4b", None)),
    ],
)
def test_an_arm_board_is_known_by_its_device_tree_and_its_memory(
    tmp_path: Path, model: str, cpuinfo: str, mem_total_kb: int, l4t: str, expected: tuple[str | None, str | None]
) -> None:
    found = here(board(tmp_path, cpuinfo, mem_total_kb, model, l4t))
    assert (found.device, found.l4t) == expected
    assert found.board == model
    if found.device is None:
        assert "is not in the catalogue" in found.device_note


@pytest.mark.parametrize(
    ("product", "expected"),
    [
        ("DGX-1", "dgx-1-p100"),
        ("DGX-1 with V100-32", "dgx-1-v100"),
        ("DGXA100 920-23687-2531-001", "dgx-a100"),
        ("Standard PC (Q35 + ICH9, 2009)", None),
    ],
)
def test_a_server_is_known_by_its_dmi_product_name(tmp_path: Path, product: str, expected: str | None) -> None:
    found = here(board(tmp_path, XEON_CPUINFO, 528000000, dmi=product))
    assert found.device == expected
    assert found.l4t is None


def test_a_machine_without_a_name_says_why_it_is_none(tmp_path: Path) -> None:
    found = here(board(tmp_path, XEON_CPUINFO, 16000000))
    assert found.board is None
    assert found.device_note.startswith("not available: neither device tree nor DMI")


def test_the_system_is_read(tmp_path: Path) -> None:
    found = here(board(tmp_path, ORIN_CPUINFO, 7802496, SUPER, L4T_R36))
    assert (found.os, found.kernel) == ("Ubuntu 22.04.5 LTS", "5.15.148-tegra")
    assert found.python == platform.python_version()
    assert found.memory_bytes == 7802496 * 1024


def test_this_machine_is_a_record_that_says_what_it_lacks() -> None:
    found = here()
    assert found.memory_bytes > 2**28
    assert 1 <= found.cpu.usable_cores <= found.cpu.logical_cores
    assert bool(found.gpus) != found.gpus_note.startswith("not available: ")
    assert bool(found.device) != bool(found.device_note)
    again = json.loads(json.dumps(found.to_json()))
    assert again["cpu"]["usable_cores"] == found.cpu.usable_cores
    assert platform.node() not in again.values()


def test_another_machine_that_tells_little_is_not_taken_for_this_one(tmp_path: Path) -> None:
    board(tmp_path, NANO_CPUINFO, 4059328)
    for file in ("proc/sys/kernel/osrelease", "etc/os-release"):
        (tmp_path / file).unlink(missing_ok=True)
    found = there(tmp_path, "", "")
    assert (found.os, found.kernel, found.cpu.architecture, found.libc) == ("unknown",) * 4
    assert here(tmp_path).kernel == platform.release()
