"""Makes the virtual environment of the peers: `python -m benchmarks.faces.environment`.

They need numpy 1, OpenCV 4 and an old protobuf, which do not go with helmsight's. The versions are those of
`benchmarks/requirements-faces.txt`, which has all that is needed and is installed without looking at what packages ask
for beyond it (MediaPipe asks for JAX, a sound library and an OpenCV with windows).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from helmsight.runtime.fetch import cache_folder

REQUIREMENTS = Path(__file__).parents[1] / "requirements-faces.txt"


def default_folder() -> Path:
    """Where it lies when no option says otherwise."""
    return cache_folder() / "benchmarks" / "faces"


def python_in(folder: Path) -> Path:
    """The interpreter of the environment in `folder`; where there is none, this one, which has hardly a peer."""
    python = folder / "venv" / "bin" / "python"
    if python.is_file():
        return python
    print(f"no {python}, so no peers; `python -m benchmarks.faces.environment` makes it", file=sys.stderr)
    return Path(sys.executable)


def main() -> None:
    """Make it, package by package: one that is not to be had on this machine is named and left out."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--folder", type=Path, default=default_folder(), help="its `venv` is made; the cache lies beside")
    made.add_argument("--python", default=sys.executable, help="3.11 or 3.12")
    args = made.parse_args()
    subprocess.run([args.python, "-m", "venv", str(args.folder / "venv")], check=True)
    pip = [str(python_in(args.folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=False).returncode:
        lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
        missing = [line for line in lines if subprocess.run([*pip, line], check=False).returncode]
        print(f"not installed: {', '.join(missing)}; the benchmark says so in their rows", file=sys.stderr)
    print(python_in(args.folder))


if __name__ == "__main__":
    main()
