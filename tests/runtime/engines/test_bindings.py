"""Every attribute that helmsight uses is in NVIDIA's real Python bindings of TensorRT 8.5, 10.16 and 11.4.

The libraries of the newer two need a GPU and are not on the package index; the bindings import over empty ones, made
here with a C compiler. That shows names, and nothing of what they do.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import pytest

from helmsight.devices.errors import MissingExtra
from helmsight.runtime import engines
from helmsight.runtime.fetch import Package, cache_folder, fetch

VERSIONS = {
    10: Package(
        "tensorrt-cu13-bindings",
        "10.16.1.11",
        "tensorrt_cu13_bindings-10.16.1.11-cp311-none-manylinux_2_28_x86_64.whl",
        "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
        "LicenseRef-NVIDIA-Proprietary",
    ),
    11: Package(
        "tensorrt-cu13-bindings",
        "11.4.0.106",
        "tensorrt_cu13_bindings-11.4.0.106-cp311-none-manylinux_2_28_x86_64.whl",
        "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
        "LicenseRef-NVIDIA-Proprietary",
    ),
}
USED = {
    "": ["Builder", "OnnxParser", "Runtime", "float16", "float32", "__version__", "IProgressMonitor"],
    "Builder": ["create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"],
    "IBuilderConfig": [
        *("clear_flag", "profiling_verbosity", "add_optimization_profile", "progress_monitor"),
        *("create_timing_cache", "set_timing_cache", "get_timing_cache"),
    ],
    "BuilderFlag": ["TF32"],
    "ProfilingVerbosity": ["DETAILED"],
    "ITimingCache": ["serialize"],
    "INetworkDefinition": ["num_inputs", "get_input", "num_layers", "get_layer"],
    "IOptimizationProfile": ["set_shape"],
    "ILayer": ["type", "num_inputs", "num_outputs", "get_input", "get_output"],
    "ITensor": ["name", "shape", "dtype"],
    "LayerType": ["CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM", "DEQUANTIZE"],
    "DataType": ["FLOAT", "HALF", "BF16", "INT8", "FP8", "UINT8", "INT32", "INT64", "BOOL"],
    "OnnxParser": ["parse", "num_errors", "get_error"],
    "ParserError": ["desc", "node", "node_name", "node_operator"],
    "ILogger": ["Severity", "log"],
    "ILogger.Severity": ["ERROR", "INTERNAL_ERROR"],
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        *("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype"),
        *("create_execution_context", "create_engine_inspector"),
    ],
    "TensorIOMode": ["INPUT"],
    "IExecutionContext": [
        *("set_input_shape", "get_tensor_shape", "set_tensor_address", "execute_async_v3", "profiler"),
    ],
    "IProfiler": ["report_layer_time"],
    "EngineInspector": ["execution_context", "get_engine_information"],
    "LayerInformationFormat": ["JSON"],
}
"""By class."""
ONLY_OLD = {
    "NetworkDefinitionCreationFlag": ["EXPLICIT_BATCH"],
    "BuilderFlag": ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"],
    "ILayer": ["precision", "set_output_type", "output_type_is_set"],
    "IBuilderConfig": ["set_flag", "set_preview_feature", "set_tactic_sources", "get_tactic_sources"],
    "": ["PreviewFeature", "TacticSource"],
    "PreviewFeature": ["DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"],
    "TacticSource": ["CUBLAS", "CUBLAS_LT", "CUDNN"],
}
"""What only 8.x has, and is asked for with `hasattr`, or only in a weakly typed network."""
NEWER = {
    *(".IProgressMonitor", "IBuilderConfig.progress_monitor"),
    *(f"IProgressMonitor.{name}" for name in USED["IProgressMonitor"]),
    *("ParserError.node_name", "ParserError.node_operator"),
    *("DataType.BF16", "DataType.FP8", "DataType.INT64"),
}
"""What 8.5 lacks: asked for with `hasattr`, or a type that it does not have."""
NAMES_8_5 = Path(__file__).with_name("tensorrt_8_5_3_1.json")
"""Read from the wheel of TensorRT 8.5.3.1, for Python 3.10; with its libraries it is too large to fetch here."""
STUBS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)
ASK = """
import json, sys
import tensorrt_bindings as trt

def has(kind, name):
    found = trt
    for part in kind.split("."):
        found = getattr(found, part) if part else found
    return hasattr(found, name)

used = json.loads(sys.argv[1])
missing = [f"{kind}.{name}" for kind, names in used.items() for name in names if not has(kind, name)]
flags = list(trt.BuilderFlag.__members__), list(trt.NetworkDefinitionCreationFlag.__members__)
print(json.dumps({"version": trt.__version__, "missing": missing, "flags": flags[0], "creation": flags[1]}))
"""


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda major: f"TensorRT-{major}")
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the bindings answer to ASK in a child."""
    major = request.param
    if sys.version_info[:2] != (3, 11) or sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the wheel of the bindings is for CPython 3.11 on x86-64 Linux")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the empty libraries")
    try:
        wheel = fetch(VERSIONS[major], cache_folder())  # unpacked
    except MissingExtra as error:
        pytest.skip(f"the bindings cannot be fetched: {error}")
    folder = tmp_path_factory.mktemp(f"trt{major}")
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in STUBS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source]
        subprocess.run(command, check=True, capture_output=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(USED)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_every_attribute_is_there(bindings: dict[str, object]) -> None:
    assert bindings["missing"] == []


def lacking(names: Mapping[str, Sequence[str]], wanted: Mapping[str, Sequence[str]]) -> set[str]:
    return {f"{kind}.{name}" for kind, used in wanted.items() for name in used if name not in names.get(kind, ())}


def test_8_5_has_every_attribute_but_those_that_it_is_asked_for() -> None:
    names = json.loads(NAMES_8_5.read_text())
    assert lacking(names, USED) == NEWER
    assert lacking(names, ONLY_OLD) == set()


def test_what_is_installed_here_has_every_attribute() -> None:
    """Real libraries, which need no GPU to be imported; of 8.5.3.1 the list that stands for it above is checked too."""
    trt = pytest.importorskip("tensorrt", reason="TensorRT is not installed here", exc_type=ImportError)
    known = json.loads(NAMES_8_5.read_text())
    names = {kind: names_of(trt, kind) for kind in {*known, *USED, *ONLY_OLD}}
    old = trt.__version__.startswith("8.")
    assert lacking(names, USED) <= (NEWER if old else set())
    if old:
        assert lacking(names, ONLY_OLD) == set()
    if trt.__version__ == "8.5.3.1":
        assert lacking(names, known) == set()


def names_of(module: object, kind: str) -> list[str]:
    try:
        return dir(attrgetter(kind)(module) if kind else module)
    except AttributeError:
        return []


def test_a_version_has_strong_typing_or_nothing_else(bindings: dict[str, object]) -> None:
    """From 11 on the flags that choose a precision are gone: with them a tool builds fp32 and says nothing."""
    assert "STRONGLY_TYPED" in bindings["creation"]  # type: ignore[operator]
    old = str(bindings["version"]).startswith("10.")
    assert ({"FP16", "INT8"} <= set(bindings["flags"])) == old  # type: ignore[call-overload]


def test_the_list_is_of_what_the_code_uses() -> None:
    """Names after a dot in the code that are TensorRT's by their receiver; each is in USED or ONLY_OLD."""
    receivers = {"trt", "builder", "network", "config", "parser", "layer", "profile", "_context", "_engine", "_runtime"}
    receivers |= {"_trt", "inspector", "error", "BuilderFlag", "ProfilingVerbosity", "flags", "Severity", "LayerType"}
    listed = {name for one in (USED, ONLY_OLD) for kind, names in one.items() for name in (kind, *names)}
    found = set()
    for file in ("network.py", "engine.py", "progress.py", "layers.py"):
        tree = ast.parse((Path(engines.__file__).with_name(file)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                of = node.value
                receiver = of.id if isinstance(of, ast.Name) else of.attr if isinstance(of, ast.Attribute) else ""
                if receiver in receivers:
                    found.add(node.attr)
    assert {"execute_async_v3", "set_tensor_address", "clear_flag", "precision"} <= found
    ours = {"errors", "close"}
    assert found - listed - ours == set()
