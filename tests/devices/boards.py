"""Copies of what boards show in /proc, /sys and /etc, to be laid out under a temporary folder."""

from pathlib import Path

STATUS = "Name:\tpython3\nState:\tR (running)\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t0\n"

TK1_CPUINFO = (
    "".join(
        f"""processor\t: {core}
model name\t: ARMv7 Processor rev 3 (v7l)
BogoMIPS\t: 2.32
Features\t: swp half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt
CPU implementer\t: 0x41
CPU architecture: 7
CPU variant\t: 0x3
CPU part\t: 0xc0f
CPU revision\t: 3

"""
        for core in range(4)
    )
    + "Hardware\t: jetson-tk1\nRevision\t: 0000\nSerial\t\t: 0000000000000000\n"
)


def arm64_cpuinfo(cores: list[tuple[str, str]], features: str) -> str:
    """One block a core with its (implementer, part)."""
    return "\n".join(
        f"processor\t: {i}\nBogoMIPS\t: 62.50\nFeatures\t: {features}\nCPU implementer\t: {implementer}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for i, (implementer, part) in enumerate(cores)
    )


A57 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
A78AE = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat ilrcpc"
)
NANO_CPUINFO = arm64_cpuinfo([("0x41", "0xd07")] * 4, A57)
TX2_CPUINFO = arm64_cpuinfo([("0x41", "0xd07"), ("0x4e", "0x003"), ("0x4e", "0x003")] + [("0x41", "0xd07")] * 3, A57)
ORIN_CPUINFO = arm64_cpuinfo([("0x41", "0xd42")] * 6, A78AE)

XEON_CPUINFO = "\n".join(
    f"processor\t: {thread}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU E5-2698 v4 @ 2.20GHz\n"
    f"physical id\t: {thread // 2 % 2}\ncore id\t\t: {thread % 2}\n"
    "flags\t\t: fpu vme sse2 fma avx f16c avx2 bmi2\n"
    for thread in range(8)
)

TEGRA = (
    "# {release} (release), REVISION: {revision}, GCID: 29818004, BOARD: {board}, EABI: {abi}, DATE: Sat Feb 19 2022\n"
)


def write(root: Path, files: dict[str, str]) -> Path:
    """Lay the files out under `root` and return it."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def board(root: Path, cpuinfo: str, mem_total_kb: int, model: str = "", l4t: str = "", dmi: str = "") -> Path:
    """A board's tree. `model` is its device tree's, `l4t` the text of /etc/nv_tegra_release, `dmi` its product name."""
    files = {
        "proc/cpuinfo": cpuinfo,
        "proc/meminfo": f"MemTotal:       {mem_total_kb} kB\nMemFree:        123456 kB\n",
        "proc/self/status": STATUS,
        "proc/sys/kernel/osrelease": "5.15.148-tegra\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\n',
    }
    files |= {"proc/device-tree/model": model + "\0"} if model else {}
    files |= {"etc/nv_tegra_release": l4t} if l4t else {}
    files |= {"sys/class/dmi/id/product_name": dmi + "\n"} if dmi else {}
    return write(root, files)


def hwmon(number: int, chip: str, **files: str) -> dict[str, str]:
    """A monitor's files in /sys/class/hwmon, by name."""
    folder = f"sys/class/hwmon/hwmon{number}"
    return {f"{folder}/name": f"{chip}\n"} | {f"{folder}/{name}": f"{text}\n" for name, text in files.items()}


def ina3221(number: int, *channels: tuple[str, int, int]) -> dict[str, str]:
    """An INA3221 with (label, millivolts, milliamperes) by channel, as the kernel of JetPack 5 and 6 shows it."""
    files = {}
    for at, (label, millivolts, milliamperes) in enumerate(channels, 1):
        files |= {f"in{at}_label": label, f"in{at}_input": str(millivolts), f"curr{at}_input": str(milliamperes)}
    shunts = {"in7_label": "sum of shunt voltages", "in7_input": "40", "curr1_crit_alarm": "0", "in1_enable": "1"}
    return hwmon(number, "ina3221", **files, **shunts)


def ina3221x(address: str, *channels: tuple[str, int]) -> dict[str, str]:
    """One with (name, milliwatts) by channel, as JetPack 4 shows it."""
    folder = f"sys/bus/i2c/drivers/ina3221x/{address}/iio:device0"
    files = {f"{folder}/name": "ina3221x\n"}
    for at, (name, milliwatts) in enumerate(channels):
        files |= {f"{folder}/rail_name_{at}": f"{name}\n", f"{folder}/in_power{at}_input": f"{milliwatts}\n"}
    return files


NVPMODEL = """# MAXN is the NONE power model to release all constraints
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
GPU MAX_FREQ -1

< POWER_MODEL ID=1 NAME=MODE_15W_6CORE >
CPU_ONLINE CORE_0 1

< PM_CONFIG DEFAULT=0 >
"""
