"""Opens, runs and reads damaged networks; `test_fuzz.py` runs it as a process of its own, which a crash may end.

Arguments: a folder to work in, the first seed, the one after the last. A line says what is tried before it is tried,
a line what came of it afterwards.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from helmsight.export.onnx_file import load_checked, read_onnx
from helmsight.runtime.backends import SessionOptions
from helmsight.runtime.bundle import SHIPPED, Manifest, TensorSpec, open_bundle, write_bundle
from helmsight.runtime.inspection import verify

from .damage import damage_bytes, damage_protobuf, outcome

OPENVINO = SessionOptions("openvino", threads=1)
OPENVINO_EVERY = 7
"""It compiles what it opens, which takes several times as long as all the other ways together."""
MEMORY_BYTES = 12 << 30


def small() -> tuple[Manifest, bytes]:
    """A network of nine operators with a branch, so that most of its bytes say what it is."""
    real, node = TensorProto.FLOAT, helper.make_node
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(kind, ["f"], [name])], name, [], [helper.make_tensor_value_info(name, real, [1, 144])]
        )
        for name, kind in (("then", "Identity"), ("else", "Neg"))
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Constant", [], ["k"], value=numpy_helper.from_array(np.array([1, -1]), "k")),
        node("Reshape", ["r", "k"], ["f"]),
        node("If", ["condition"], ["z"], **branches),
        node("Softmax", ["z"], ["s"], axis=-1),
        node("TopK", ["s", "five"], ["y", "i"]),
    ]
    stored = {"w": np.ones((4, 3, 3, 3), np.float32), "five": np.array([5]), "condition": np.array(True)}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", real, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", real, [1, 5])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    picture = TensorSpec("x", (1, 3, 8, 8), "float32", "NCHW", "RGB", (0.0, 1.0))
    return Manifest("small", "", (picture,), (TensorSpec("y", (1, 5), "float32"),)), model.SerializeToString()


def whole() -> list[tuple[Manifest, bytes]]:
    shipped = [open_bundle(SHIPPED / f"{name}.bundle") for name in ("face", "navigate")]
    return [small()] * 3 + [(replace(one.manifest, files={}), one.read_model()) for one in shipped]


def main(work: Path, first: int, end: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    networks = whole()
    for manifest, data in networks[2:]:
        verify(write_bundle(work / "n.bundle", manifest, {"model.onnx": data}).path)
    for seed in range(first, end):
        rng = random.Random(seed)
        manifest, data = networks[seed % len(networks)]
        data = (damage_protobuf if rng.random() < 0.7 else damage_bytes)(data, rng)
        bundle = work / "n.bundle"
        model = bundle / "model.onnx"
        model.write_bytes(data)
        files = {"files": {"model.onnx": hashlib.sha256(data).hexdigest()}}
        (bundle / "manifest.json").write_text(json.dumps(manifest.to_json() | files))
        ways: dict[str, Callable[[], object]] = {
            "verify": lambda: verify(bundle),  # noqa: B023
            "read": lambda: read_onnx(model, ()),  # noqa: B023
            "load": lambda: load_checked(model),  # noqa: B023
        }
        if seed % OPENVINO_EVERY == 0 and find_spec("openvino"):
            ways["openvino"] = lambda: verify(bundle, OPENVINO)  # noqa: B023
        for name, way in ways.items():
            print(f"{seed}\t{name}", flush=True)
            print(f"{seed}\t{name}\t{outcome(way)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
