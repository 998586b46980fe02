"""Which ONNX file of a bundle TensorRT builds from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...devices.errors import BadArtefact
from ..bundle import Bundle

MODEL = "tensorrt.onnx"
"""What export writes for a target of TensorRT, in its folder `targets/TARGET/`."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """`data` was checked against the manifest; `precision` is what export read back from it."""

    name: str
    data: bytes
    sha256: str
    precision: str


def network_file(bundle: Bundle) -> NetworkFile:
    """The file that export made for TensorRT, the same for all its targets; else the bundle's own `model.onnx`.

    Raises BadArtefact when it was changed after the bundle was opened.
    """
    files, parity = bundle.manifest.files, bundle.manifest.parity
    made = [name for name in sorted(files) if name.startswith("targets/") and name.endswith(f"/{MODEL}")]
    name = made[0] if made else "model.onnx"
    data = (bundle.path / name).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != files[name]:
        raise BadArtefact(f"{bundle.path / name} was changed after it was checked; export or copy the bundle again")
    target = name.split("/")[1] if made else "cpu"
    return NetworkFile(name, data, digest, str(parity.get(target, {}).get("precision", "unknown")))
