from pathlib import Path

import pytest

from helmsight.devices.cgroup import cpu_quota, memory_limit
from helmsight.devices.processor import processor

from .boards import NANO_CPUINFO, ORIN_CPUINFO, TK1_CPUINFO, TX2_CPUINFO, XEON_CPUINFO, board, write


@pytest.mark.parametrize(
    ("cpuinfo", "model", "cores", "isa"),
    [
        (TK1_CPUINFO, "4x Cortex-A15", (4, 4), ("NEON", "VFPv4")),
        (NANO_CPUINFO, "4x Cortex-A57", (4, 4), ("NEON",)),
        (TX2_CPUINFO, "4x Cortex-A57 + 2x Denver 2", (6, 6), ("NEON",)),
        (ORIN_CPUINFO, "6x Cortex-A78AE", (6, 6), ("NEON", "FP16", "dotprod")),
        (XEON_CPUINFO, "Intel(R) Xeon(R) CPU E5-2698 v4 @ 2.20GHz", (4, 8), ("AVX", "AVX2", "FMA", "F16C")),
    ],
    ids=["tk1", "nano", "tx2", "orin", "xeon"],
)
def test_model_cores_and_instructions(
    tmp_path: Path, cpuinfo: str, model: str, cores: tuple[int, int], isa: tuple[str, ...]
) -> None:
    found = processor(board(tmp_path, cpuinfo, 4000000))
    assert found.model == model
    assert (found.physical_cores, found.logical_cores) == cores
    assert found.isa == isa


def test_a_core_of_another_maker_keeps_its_numbers(tmp_path: Path) -> None:
    found = processor(board(tmp_path, NANO_CPUINFO.replace("0xd07", "0xfff"), 4000000))
    assert found.model == "4x Arm core 0x41/0xfff"


@pytest.mark.parametrize(("mask", "expected"), [("0-3", 4), ("2", 1), ("0-1,5,7-8", 5)])
def test_the_affinity_mask_is_counted(tmp_path: Path, mask: str, expected: int) -> None:
    root = board(tmp_path, ORIN_CPUINFO, 4000000)
    (root / "proc/self/status").write_text(f"Name:\tx\nCpus_allowed_list:\t{mask}\n")
    assert processor(root).affinity_cores == expected


@pytest.mark.parametrize(
    ("quota", "usable"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_usable_cores_are_the_lesser_of_mask_and_quota(tmp_path: Path, quota: str, usable: int) -> None:
    root = board(tmp_path, ORIN_CPUINFO, 4000000)
    write(root, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": quota + "\n"})
    assert processor(root).usable_cores == usable


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/system.slice/app.service\n",
        "sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/system.slice/app.service/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/system.slice/app.service/memory.max": "max\n",
        "sys/fs/cgroup/system.slice/memory.max": "1073741824\n",
    }
    root = write(tmp_path, files)
    assert cpu_quota(root) == 1.5
    assert memory_limit(root) == 2**30


def test_version_1_in_a_container_whose_path_is_the_hosts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
    }
    root = write(tmp_path, files)
    assert cpu_quota(root) == 3.0
    assert memory_limit(root) == 2**29


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    root = write(tmp_path, files)
    assert cpu_quota(root) is None
    assert memory_limit(root) is None


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_limit(tmp_path) is None
